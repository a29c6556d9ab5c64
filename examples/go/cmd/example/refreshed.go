package main

import (
	"context"
	"errors"
	"fmt"

	runwrightv1 "runwright.dev/examples/go/gen/runwright/v1"
	"runwright.dev/examples/go/runwright"
)

// refreshed begins with a token that has expired, and brings a fresh one when the run asks for it.
func refreshed(ctx context.Context, client *runwright.Client) error {
	expired, err := runwright.Bearer(ctx, shop, tokenOf("expired"))
	if err != nil {
		return err
	}
	run, err := client.RunStreamed(ctx, &runwrightv1.RunRequest{
		Agent:            "support",
		Input:            "Who am I, and what have I ordered?",
		PerRunMcpHeaders: expired,
		Options:          &runwrightv1.RunOptions{OnUnauthorized: runwrightv1.OnUnauthorized_ON_UNAUTHORIZED_WAIT},
	})
	if err != nil {
		return err
	}
	defer run.Close()
	var asked int
	for event, err := range run.Events() {
		if err != nil {
			return err
		}
		switch event := event.GetEvent().(type) {
		case *runwrightv1.RunEvent_CredentialsRequired:
			asked++
			fresh, err := runwright.Bearer(ctx, event.CredentialsRequired.GetCredentials().GetMcpServer(), tokenOf("alice"))
			if err != nil {
				return err
			}
			if err := run.UpdateHeaders(ctx, fresh); err != nil {
				return err
			}
		case *runwrightv1.RunEvent_RunCompleted:
			if asked != 1 {
				return fmt.Errorf("the run asked for credentials %d times", asked)
			}
			return nil
		}
	}
	return errors.New("the run was not completed")
}
