package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	runwrightv1 "runwright.dev/examples/go/gen/runwright/v1"
	"runwright.dev/examples/go/internal/fake"
	"runwright.dev/examples/go/runwright"
)

// retryAfter is what the fake service asks for.
const retryAfter = 50 * time.Millisecond

// retried shows what the retry policy repeats and what it does not, against a service that refuses as it is told to.
func retried(ctx context.Context, _ *runwright.Client) error {
	overloaded := &fake.Service{Refuse: 2, Refusal: fake.Overloaded(retryAfter)}
	if err := runAgainst(ctx, overloaded); err != nil {
		return fmt.Errorf("a run that was refused twice: %w", err)
	}
	runs := overloaded.Runs()
	if len(runs) != 3 {
		return fmt.Errorf("a run that was refused twice was sent %d times", len(runs))
	}
	for i := range 2 {
		if waited := runs[i+1].Sub(runs[i]); waited < retryAfter {
			return fmt.Errorf("the client waited %s, not %s", waited, retryAfter)
		}
	}

	failing := &fake.Service{Refuse: 1, Refusal: fake.ModelUnavailable}
	err := runAgainst(ctx, failing)
	failure, ok := errors.AsType[*runwright.Error](err)
	if !ok || failure.Reason != runwrightv1.ErrorReason_ERROR_REASON_MODEL_UNAVAILABLE {
		return fmt.Errorf("a run that failed after it was admitted ended with %v", err)
	}
	if sent := len(failing.Runs()); sent != 1 {
		return fmt.Errorf("a run that failed after it was admitted was sent %d times", sent)
	}
	return nil
}

func runAgainst(ctx context.Context, service *fake.Service) error {
	target, stop, err := service.Start()
	if err != nil {
		return err
	}
	defer stop()
	client, err := runwright.New(target, runwright.DefaultRetryPolicy, dialOptions()...)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Run(ctx, &runwrightv1.RunRequest{Agent: "support", Input: "Who am I?"})
	return err
}
