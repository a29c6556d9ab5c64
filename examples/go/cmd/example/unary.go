package main

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	runwrightv1 "runwright.dev/examples/go/gen/runwright/v1"
	"runwright.dev/examples/go/runwright"
)

// unary runs one agent for two users at the same time, each with a token of their own.
func unary(ctx context.Context, client *runwright.Client) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return askAs(ctx, client, "alice", "Alice") })
	group.Go(func() error { return askAs(ctx, client, "bob", "Bob") })
	return group.Wait()
}

func askAs(ctx context.Context, client *runwright.Client, user, name string) error {
	// What the backend's own caller sent, or its middleware made.
	requestID := "example-go-" + user
	headers, err := runwright.Bearer(ctx, shop, tokenOf(user))
	if err != nil {
		return err
	}
	response, err := client.Run(runwright.WithRequestID(ctx, requestID), &runwrightv1.RunRequest{
		Agent:            "support",
		Input:            "Who am I, and what have I ordered?",
		PerRunMcpHeaders: headers,
	})
	if err != nil {
		return err
	}
	if !strings.Contains(response.GetFinalOutput(), name) {
		return fmt.Errorf("the answer for %s is %q", name, response.GetFinalOutput())
	}
	if response.GetRequestId() != requestID {
		return fmt.Errorf("request id %q came back as %q", requestID, response.GetRequestId())
	}
	return nil
}
