package runwright

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	runwrightv1 "runwright.dev/examples/go/gen/runwright/v1"
)

// info is an ErrorInfo as the service sends it.
func info(reason, admitted string) *errdetails.ErrorInfo {
	told := map[string]string{"admitted": admitted, "request_id": "request", "run_id": "run"}
	return &errdetails.ErrorInfo{Reason: reason, Domain: "runwright.dev", Metadata: told}
}

func failure(t *testing.T, code codes.Code, details ...protoadapt.MessageV1) error {
	t.Helper()
	told, err := status.New(code, "what was wrong").WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return told.Err()
}

func TestAnErrorHasAllThatTheServiceTold(t *testing.T) {
	err := newError(failure(t, codes.FailedPrecondition,
		info("MCP_UNAUTHORIZED", "true"),
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "input"}}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)},
		&runwrightv1.AuthChallenge{McpServer: "shop"},
		&runwrightv1.RunProgress{Turns: 2},
	), nil)
	if err.Reason != runwrightv1.ErrorReason_ERROR_REASON_MCP_UNAUTHORIZED || err.Admitted != Admitted {
		t.Errorf("reason %s, admission %d", err.Reason, err.Admitted)
	}
	if err.RequestID != "request" || err.RunID != "run" {
		t.Errorf("request %q, run %q", err.RequestID, err.RunID)
	}
	if len(err.Violations) != 1 || err.RetryDelay != time.Second {
		t.Errorf("violations %v, retry after %s", err.Violations, err.RetryDelay)
	}
	if err.Challenge.GetMcpServer() != "shop" || err.Progress.GetTurns() != 2 {
		t.Errorf("challenge %v, progress %v", err.Challenge, err.Progress)
	}
	const want = "runwright: FailedPrecondition, MCP_UNAUTHORIZED: what was wrong (request request)"
	if err.Error() != want {
		t.Errorf("it says %q", err)
	}
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("it is no gRPC status")
	}
}

func TestWhatAProxySaysIsNotTheServicesWord(t *testing.T) {
	for name, err := range map[string]error{
		"no details":     failure(t, codes.Unavailable),
		"another domain": failure(t, codes.Unavailable, &errdetails.ErrorInfo{Domain: "proxy", Metadata: info("", "false").Metadata}),
		"no status":      errors.New("broken"),
	} {
		told := newError(err, nil)
		if told.Admitted != AdmissionUnknown || told.Reason != runwrightv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
			t.Errorf("%s: reason %s, admission %d", name, told.Reason, told.Admitted)
		}
	}
}

func TestANewerServicesReasonIsUnspecifiedButNamed(t *testing.T) {
	err := newError(failure(t, codes.Aborted, info("NEVER_HEARD_OF", "true")), nil)
	if err.Reason != runwrightv1.ErrorReason_ERROR_REASON_UNSPECIFIED || err.Admitted != Admitted {
		t.Errorf("reason %s, admission %d", err.Reason, err.Admitted)
	}
	const want = "runwright: Aborted, NEVER_HEARD_OF: what was wrong (request request)"
	if err.ReasonName != "NEVER_HEARD_OF" || err.Error() != want {
		t.Errorf("reason name %q, it says %q", err.ReasonName, err)
	}
}

func TestTheCallersOwnEndLooksLikeGos(t *testing.T) {
	var cancelled, late error = newError(failure(t, codes.Canceled), nil), newError(failure(t, codes.DeadlineExceeded), nil)
	if !errors.Is(cancelled, context.Canceled) || errors.Is(cancelled, context.DeadlineExceeded) {
		t.Errorf("%v", cancelled)
	}
	if !errors.Is(late, context.DeadlineExceeded) || errors.Is(late, context.Canceled) {
		t.Errorf("%v", late)
	}
}

func TestNoErrorIsNil(t *testing.T) {
	if err := asError(nil); err != nil {
		t.Errorf("%v", err)
	}
}

func TestPushbackIsReadFromTrailers(t *testing.T) {
	err := newError(failure(t, codes.Unavailable), metadata.Pairs("grpc-retry-pushback-ms", "-1"))
	if err.pushback != "-1" {
		t.Errorf("pushback %q", err.pushback)
	}
}
