package main

import (
	"context"
	"fmt"

	runwrightv1 "runwright.dev/examples/go/gen/runwright/v1"
	"runwright.dev/examples/go/runwright"
)

// streamed prints the answer as it comes.
func streamed(ctx context.Context, client *runwright.Client) error {
	headers, err := runwright.Bearer(ctx, shop, tokenOf("alice"))
	if err != nil {
		return err
	}
	run, err := client.RunStreamed(ctx, &runwrightv1.RunRequest{
		Agent:            "support",
		Input:            "Who am I, and what have I ordered?",
		PerRunMcpHeaders: headers,
	})
	if err != nil {
		return err
	}
	defer run.Close()
	var sequence int32
	var response *runwrightv1.RunResponse
	for event, err := range run.Events() {
		if err != nil {
			return err
		}
		if sequence++; event.GetSequence() != sequence {
			return fmt.Errorf("event %d came as %d", sequence, event.GetSequence())
		}
		switch event := event.GetEvent().(type) {
		case *runwrightv1.RunEvent_TextDelta:
			fmt.Print(event.TextDelta.GetText())
		case *runwrightv1.RunEvent_RunCompleted:
			response = event.RunCompleted
		}
	}
	fmt.Println()
	if response.GetFinishReason() != runwrightv1.FinishReason_FINISH_REASON_STOP {
		return fmt.Errorf("the run ended with %s", response.GetFinishReason())
	}
	return nil
}
