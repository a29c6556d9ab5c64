package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	runwrightv1 "runwright.dev/examples/go/gen/runwright/v1"
	"runwright.dev/examples/go/runwright"
)

const cancelOrder = "Please cancel my order #1001."

// approved lets a tool be called that needs somebody's word: once while the run waits, and once in a run that goes on
// where another one ended.
func approved(ctx context.Context, client *runwright.Client) error {
	headers, err := runwright.Bearer(ctx, shop, tokenOf("alice"))
	if err != nil {
		return err
	}
	if err := approveStreamed(ctx, client, headers); err != nil {
		return fmt.Errorf("streamed: %w", err)
	}
	if err := approveUnary(ctx, client, headers); err != nil {
		return fmt.Errorf("unary: %w", err)
	}
	return nil
}

func approveStreamed(ctx context.Context, client *runwright.Client, headers runwright.Headers) error {
	run, err := client.RunStreamed(ctx, &runwrightv1.RunRequest{
		Agent: "orders", Input: cancelOrder, PerRunMcpHeaders: headers,
	})
	if err != nil {
		return err
	}
	defer run.Close()
	for event, err := range run.Events() {
		if err != nil {
			return err
		}
		switch event := event.GetEvent().(type) {
		case *runwrightv1.RunEvent_ApprovalRequired:
			if err := run.Answer(ctx, answer(event.ApprovalRequired)); err != nil {
				return err
			}
		case *runwrightv1.RunEvent_RunCompleted:
			return checkCancelled(event.RunCompleted)
		}
	}
	return errors.New("the run was not completed")
}

// approveUnary may take days between its two runs, and another instance for the second: nothing is kept of the first.
func approveUnary(ctx context.Context, client *runwright.Client, headers runwright.Headers) error {
	response, err := client.Run(ctx, &runwrightv1.RunRequest{
		Agent: "orders", Input: cancelOrder, PerRunMcpHeaders: headers,
	})
	if err != nil {
		return err
	}
	if response.GetFinishReason() != runwrightv1.FinishReason_FINISH_REASON_AWAITING_INPUT {
		return fmt.Errorf("the first run ended with %s", response.GetFinishReason())
	}
	var answers []*runwrightv1.InputAnswer
	for _, pending := range response.GetPending() {
		answers = append(answers, answer(pending))
	}
	response, err = client.Run(ctx, &runwrightv1.RunRequest{
		Agent: "orders", Messages: response.GetNewMessages(), Answers: answers, PerRunMcpHeaders: headers,
	})
	if err != nil {
		return err
	}
	return checkCancelled(response)
}

// answer is what a person would say who is shown the call.
func answer(pending *runwrightv1.PendingInput) *runwrightv1.InputAnswer {
	if pending.GetApproval().GetTool() != "cancel_order" {
		return runwright.Approval(pending.GetInputId(), false, "Nobody asked for that.")
	}
	return runwright.Approval(pending.GetInputId(), true, "")
}

func checkCancelled(response *runwrightv1.RunResponse) error {
	if !strings.Contains(response.GetFinalOutput(), "is cancelled") {
		return fmt.Errorf("the answer is %q", response.GetFinalOutput())
	}
	return nil
}
