package main

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"

	runwrightv1 "runwright.dev/examples/go/gen/runwright/v1"
	"runwright.dev/examples/go/runwright"
)

// cancelled ends runs midway: one by ending its call, as a backend does whose own caller leaves, and one by CancelRun, as
// a backend does where somebody else ends it.
func cancelled(ctx context.Context, client *runwright.Client) error {
	left, leave := context.WithCancel(ctx)
	defer leave()
	err := endMidway(left, client, func(*runwright.StreamedRun) error {
		leave()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("a run whose caller left ended with %v", err)
	}

	err = endMidway(ctx, client, func(run *runwright.StreamedRun) error {
		return run.Cancel(ctx, "the customer closed the chat")
	})
	failure, ok := errors.AsType[*runwright.Error](err)
	if !ok || failure.Code != codes.Aborted || failure.Reason != runwrightv1.ErrorReason_ERROR_REASON_RUN_CANCELLED {
		return fmt.Errorf("a run that was cancelled ended with %v", err)
	}
	return nil
}

// endMidway runs an agent whose tool takes long, and ends the run when the tool is called; gives the stream's error.
func endMidway(ctx context.Context, client *runwright.Client, end func(*runwright.StreamedRun) error) error {
	headers, err := runwright.Bearer(ctx, shop, tokenOf("alice"))
	if err != nil {
		return err
	}
	run, err := client.RunStreamed(ctx, &runwrightv1.RunRequest{
		Agent:            "deliveries",
		Input:            "Has my order arrived?",
		PerRunMcpHeaders: headers,
	})
	if err != nil {
		return err
	}
	defer run.Close()
	for event, err := range run.Events() {
		if err != nil {
			return err
		}
		if event.GetToolCallStarted() != nil {
			if err := end(run); err != nil {
				return err
			}
		}
	}
	return errors.New("the run was not ended")
}
