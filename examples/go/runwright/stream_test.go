package runwright_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"runwright.dev/examples/go/internal/fake"
	"runwright.dev/examples/go/runwright"
)

// controls are all the control calls of a run.
func controls(run *runwright.StreamedRun) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Cancel":        func(ctx context.Context) error { return run.Cancel(ctx, "enough") },
		"UpdateHeaders": func(ctx context.Context) error { return run.UpdateHeaders(ctx, nil) },
		"Answer":        func(ctx context.Context) error { return run.Answer(ctx) },
	}
}

func TestControlCallsHaveTheRunsRequestIDAndADeadlineOfTheirOwn(t *testing.T) {
	service := &fake.Service{}
	// The last id that is set is the one that is sent.
	ctx := runwright.WithRequestID(runwright.WithRequestID(t.Context(), "first"), "second")
	run, err := connect(t, service).RunStreamed(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	if run.RequestID != "second" {
		t.Errorf("the run's request id is %q", run.RequestID)
	}
	for name, control := range controls(run) {
		if err := control(runwright.WithRequestID(t.Context(), "another")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	came := service.Controls()
	if len(came) != 3 {
		t.Errorf("%d control calls came", len(came))
	}
	for _, control := range came {
		if !slices.Equal(control.RequestIDs, []string{"second"}) {
			t.Errorf("request ids %q", control.RequestIDs)
		}
		if control.Deadline.IsZero() || time.Until(control.Deadline) > 10*time.Second {
			t.Errorf("the deadline is %s", control.Deadline)
		}
	}
}

func TestControlCallsDoNotWaitForAServiceThatIsGone(t *testing.T) {
	service := &fake.Service{}
	target, stop, err := service.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	client, err := runwright.New(target, runwright.DefaultRetryPolicy,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	run, err := client.RunStreamed(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	stop()
	for name, control := range controls(run) {
		failure, ok := errors.AsType[*runwright.Error](control(t.Context()))
		if !ok || failure.Code != codes.Unavailable {
			t.Errorf("%s: %v", name, failure)
		}
	}
}

func TestARunThatIsPrintedShowsItsIDAlone(t *testing.T) {
	run, err := connect(t, &fake.Service{}).RunStreamed(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	const inGo = `runwright.StreamedRun{ID: "run"}`
	for format, want := range map[string]string{"%v": "run", "%+v": "run", "%s": "run", "%#v": inGo} {
		if got := fmt.Sprintf(format, run); got != want {
			t.Errorf("%s of a run: %s", format, got)
		}
		if got := fmt.Sprintf(format, *run); got != want {
			t.Errorf("%s of its copy: %s", format, got)
		}
	}
}
