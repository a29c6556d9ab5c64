package runwright_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	runwrightv1 "runwright.dev/examples/go/gen/runwright/v1"
	"runwright.dev/examples/go/internal/fake"
	"runwright.dev/examples/go/runwright"
)

var request = &runwrightv1.RunRequest{Agent: "support", Input: "Who am I?"}

func connect(t *testing.T, service *fake.Service) *runwright.Client {
	t.Helper()
	target, stop, err := service.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	client, err := runwright.New(target, runwright.DefaultRetryPolicy,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestAStreamThatIsRefusedIsOpenedAgain(t *testing.T) {
	service := &fake.Service{Refuse: 2, Refusal: fake.Overloaded(time.Millisecond)}
	run, err := connect(t, service).RunStreamed(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	var last *runwrightv1.RunEvent
	for event, err := range run.Events() {
		if err != nil {
			t.Fatal(err)
		}
		last = event
	}
	if last.GetRunCompleted() == nil || last.GetSequence() != 2 {
		t.Errorf("the last event is %v", last)
	}
	if len(service.Runs()) != 3 {
		t.Errorf("it was sent %d times", len(service.Runs()))
	}
}

func TestAllAttemptsHaveOneRequestID(t *testing.T) {
	service := &fake.Service{Refuse: 1, Refusal: fake.Overloaded(time.Millisecond)}
	if _, err := connect(t, service).Run(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if ids := service.RequestIDs(); len(ids) != 2 || ids[0] == "" || ids[0] != ids[1] {
		t.Errorf("request ids %q", ids)
	}
}

// This is what a connection looks like that breaks in the middle of a run, or a proxy that lost its upstream.
func TestUnavailableWithoutTheServicesWordIsNotSentAgain(t *testing.T) {
	lost := func(context.Context) error { return status.Error(codes.Unavailable, "connection reset") }
	service := &fake.Service{Refuse: 1, Refusal: lost}
	client := connect(t, service)
	_, err := client.Run(t.Context(), request)
	if failure, ok := errors.AsType[*runwright.Error](err); !ok || failure.Admitted != runwright.AdmissionUnknown {
		t.Errorf("the run ended with %v", err)
	}
	if len(service.Runs()) != 1 {
		t.Errorf("it was sent %d times", len(service.Runs()))
	}
}

func TestAWaitThatTheDeadlineDoesNotAllowIsNotBegun(t *testing.T) {
	service := &fake.Service{Refuse: 1, Refusal: fake.Overloaded(2 * time.Minute)}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := connect(t, service).Run(ctx, request)
	failure, ok := errors.AsType[*runwright.Error](err)
	if !ok || failure.Reason != runwrightv1.ErrorReason_ERROR_REASON_OVERLOADED || failure.RetryDelay != 2*time.Minute {
		t.Errorf("the run ended with %v", err)
	}
	if ctx.Err() != nil {
		t.Error("the time is over")
	}
}
