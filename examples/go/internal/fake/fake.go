// Package fake is a service that answers as it is told to, for what the real one can't be made to do at will.
package fake

import (
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	runwrightv1 "runwright.dev/examples/go/gen/runwright/v1"
)

// Service refuses the first runs that it is sent, and answers all others.
type Service struct {
	runwrightv1.UnimplementedAgentServiceServer

	// Refuse is how many runs are refused.
	Refuse int
	// Refusal makes their error, and may set trailers.
	Refusal func(ctx context.Context) error

	lock     sync.Mutex
	runs     []time.Time
	ids      []string
	controls []Control
}

// Control is a control call that came.
type Control struct {
	// RequestIDs are its x-request-id.
	RequestIDs []string
	// Deadline is zero if it has none.
	Deadline time.Time
}

// Start serves on a free port; tells where, and how to stop.
func (s *Service) Start() (target string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := grpc.NewServer()
	runwrightv1.RegisterAgentServiceServer(server, s)
	go func() { _ = server.Serve(listener) }()
	return listener.Addr().String(), server.Stop, nil
}

// Runs tells when each run came.
func (s *Service) Runs() []time.Time {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.runs
}

// RequestIDs tells the request id of each run.
func (s *Service) RequestIDs() []string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.ids
}

// Controls tells the control calls that came.
func (s *Service) Controls() []Control {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.controls
}

// Run answers `done`.
func (s *Service) Run(ctx context.Context, _ *runwrightv1.RunRequest) (*runwrightv1.RunResponse, error) {
	if err := s.admit(ctx); err != nil {
		return nil, err
	}
	return &runwrightv1.RunResponse{FinalOutput: "done"}, nil
}

// RunStreamed begins and ends.
func (s *Service) RunStreamed(_ *runwrightv1.RunRequest, events grpc.ServerStreamingServer[runwrightv1.RunEvent]) error {
	if err := s.admit(events.Context()); err != nil {
		return err
	}
	started := &runwrightv1.RunEvent_RunStarted{RunStarted: &runwrightv1.RunStarted{
		ControlToken: "token",
		RequestId:    strings.Join(metadata.ValueFromIncomingContext(events.Context(), "x-request-id"), ","),
	}}
	if err := events.Send(&runwrightv1.RunEvent{RunId: "run", Sequence: 1, Event: started}); err != nil {
		return err
	}
	completed := &runwrightv1.RunEvent_RunCompleted{RunCompleted: &runwrightv1.RunResponse{FinalOutput: "done"}}
	return events.Send(&runwrightv1.RunEvent{RunId: "run", Sequence: 2, Event: completed})
}

// CancelRun only notes the call.
func (s *Service) CancelRun(ctx context.Context, _ *runwrightv1.CancelRunRequest) (*runwrightv1.CancelRunResponse, error) {
	s.note(ctx)
	return &runwrightv1.CancelRunResponse{}, nil
}

// UpdateRunHeaders only notes the call.
func (s *Service) UpdateRunHeaders(
	ctx context.Context, _ *runwrightv1.UpdateRunHeadersRequest,
) (*runwrightv1.UpdateRunHeadersResponse, error) {
	s.note(ctx)
	return &runwrightv1.UpdateRunHeadersResponse{}, nil
}

// SubmitRunInput only notes the call.
func (s *Service) SubmitRunInput(
	ctx context.Context, _ *runwrightv1.SubmitRunInputRequest,
) (*runwrightv1.SubmitRunInputResponse, error) {
	s.note(ctx)
	return &runwrightv1.SubmitRunInputResponse{}, nil
}

func (s *Service) note(ctx context.Context) {
	deadline, _ := ctx.Deadline()
	s.lock.Lock()
	defer s.lock.Unlock()
	s.controls = append(s.controls, Control{metadata.ValueFromIncomingContext(ctx, "x-request-id"), deadline})
}

func (s *Service) admit(ctx context.Context) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.runs = append(s.runs, time.Now())
	s.ids = append(s.ids, metadata.ValueFromIncomingContext(ctx, "x-request-id")...)
	if len(s.runs) <= s.Refuse {
		return s.Refusal(ctx)
	}
	return nil
}

// Overloaded is a refusal before anything ran.
func Overloaded(retryAfter time.Duration) func(context.Context) error {
	return func(context.Context) error {
		return unavailable("OVERLOADED", "false", &errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	}
}

// ModelUnavailable is a run that failed after it was admitted, and that no client may repeat by itself.
func ModelUnavailable(ctx context.Context) error {
	if err := grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "-1")); err != nil {
		return err
	}
	return unavailable("MODEL_UNAVAILABLE", "true", &errdetails.RetryInfo{})
}

func unavailable(reason, admitted string, retry *errdetails.RetryInfo) error {
	info := &errdetails.ErrorInfo{
		Reason:   reason,
		Domain:   "runwright.dev",
		Metadata: map[string]string{"admitted": admitted, "request_id": "request"},
	}
	refused, err := status.New(codes.Unavailable, "try again").WithDetails(info, retry)
	if err != nil {
		return err
	}
	return refused.Err()
}
