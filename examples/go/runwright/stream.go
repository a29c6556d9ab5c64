package runwright

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	runwrightv1 "runwright.dev/examples/go/gen/runwright/v1"
)

// controlTimeout is a control call's own deadline: the service answers at once.
const controlTimeout = 10 * time.Second

// StreamedRun is a run that says what happens while it does. Its control calls go over the connection that it came by, to
// the instance that holds it; they may be made while another goroutine reads the events.
type StreamedRun struct {
	// ID is the run's id. It is logged; what controls a run is a token, which only this stream was told.
	ID string
	// RequestID is the id of WithRequestID, or the one that was made.
	RequestID string
	// Instance names the process that holds the run.
	Instance string

	agents       runwrightv1.AgentServiceClient
	controlToken string
	first        *runwrightv1.RunEvent
	events       grpc.ServerStreamingClient[runwrightv1.RunEvent]
	end          context.CancelFunc
}

// String is the run's id alone: what is logged must not have the control token. It has no pointer for a receiver, so that
// a copy does not tell more.
func (r StreamedRun) String() string {
	return r.ID
}

// GoString is String for %#v.
func (r StreamedRun) GoString() string {
	return fmt.Sprintf("runwright.StreamedRun{ID: %q}", r.ID)
}

// open starts a run and waits for its first event.
func (c *Client) open(ctx context.Context, request *runwrightv1.RunRequest) (*StreamedRun, *Error) {
	ctx, end := context.WithCancel(ctx)
	events, err := c.agents.RunStreamed(ctx, request)
	if err != nil {
		end()
		return nil, newError(err, nil)
	}
	first, err := events.Recv()
	if err != nil {
		end()
		return nil, newError(ended(err), events.Trailer())
	}
	started := first.GetRunStarted()
	return &StreamedRun{
		ID:           first.GetRunId(),
		RequestID:    started.GetRequestId(),
		Instance:     started.GetInstance(),
		agents:       c.agents,
		controlToken: started.GetControlToken(),
		first:        first,
		events:       events,
		end:          end,
	}, nil
}

// Events are the run's events, to be read once: from `run_started` to `run_completed`, or to an error of type *Error. To
// leave the loop before ends the run. A reader that takes no event for 30 s has its run ended.
func (r *StreamedRun) Events() iter.Seq2[*runwrightv1.RunEvent, error] {
	return func(yield func(*runwrightv1.RunEvent, error) bool) {
		defer r.Close()
		for event := r.first; yield(event, nil) && event.GetRunCompleted() == nil; {
			var err error
			if event, err = r.events.Recv(); err != nil {
				yield(nil, newError(ended(err), r.events.Trailer()))
				return
			}
			if event.GetRunCompleted() != nil {
				// Reads the status behind the last event, or a call that went well would look cancelled in traces.
				_, _ = r.events.Recv()
			}
		}
	}
}

// Close ends the run if it is live. It need not be called where Events was read, and does no harm there.
func (r *StreamedRun) Close() {
	r.end()
}

// Cancel ends the run for a reason that its reader is told: the events end with ABORTED, RUN_CANCELLED.
func (r *StreamedRun) Cancel(ctx context.Context, reason string) error {
	ctx, done := r.control(ctx)
	defer done()
	_, err := r.agents.CancelRun(ctx, &runwrightv1.CancelRunRequest{
		RunId: r.ID, ControlToken: r.controlToken, Reason: reason,
	}, grpc.WaitForReady(false))
	return asError(err)
}

// UpdateHeaders replaces the run's headers for the servers that are named: in answer to `credentials_required`, or before
// a token expires.
func (r *StreamedRun) UpdateHeaders(ctx context.Context, headers Headers) error {
	ctx, done := r.control(ctx)
	defer done()
	_, err := r.agents.UpdateRunHeaders(ctx, &runwrightv1.UpdateRunHeadersRequest{
		RunId: r.ID, ControlToken: r.controlToken, PerRunMcpHeaders: headers,
	}, grpc.WaitForReady(false))
	return asError(err)
}

// Answer answers `approval_required` and `client_tool_required` events: all of the answers are taken or none.
func (r *StreamedRun) Answer(ctx context.Context, answers ...*runwrightv1.InputAnswer) error {
	ctx, done := r.control(ctx)
	defer done()
	_, err := r.agents.SubmitRunInput(ctx, &runwrightv1.SubmitRunInputRequest{
		RunId: r.ID, ControlToken: r.controlToken, Answers: answers,
	}, grpc.WaitForReady(false))
	return asError(err)
}

// control is the context of a control call: it has the run's request id. Such a call does not wait for a connection, for
// the run is gone with its own.
func (r *StreamedRun) control(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(WithRequestID(ctx, r.RequestID), controlTimeout)
}

// Approval answers a PendingInput that asks whether a tool may be called.
func Approval(inputID string, approved bool, reason string) *runwrightv1.InputAnswer {
	approval := &runwrightv1.ApprovalAnswer{Approved: approved, Reason: reason}
	return &runwrightv1.InputAnswer{InputId: inputID, Answer: &runwrightv1.InputAnswer_Approval{Approval: approval}}
}

// ended makes an error of a stream that says OK before the run has ended: no run ends so, but a proxy may.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return status.Error(codes.Internal, "the stream ended before the run did")
	}
	return err
}
