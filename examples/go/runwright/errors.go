package runwright

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	runwrightv1 "runwright.dev/examples/go/gen/runwright/v1"
)

const (
	domain       = "runwright.dev"
	reasonPrefix = "ERROR_REASON_"
	pushbackKey  = "grpc-retry-pushback-ms"
)

// Admission says whether a run that failed had begun.
type Admission int

const (
	// AdmissionUnknown is that of an error which is not the service's own, e.g. of a connection that broke.
	AdmissionUnknown Admission = iota
	// NotAdmitted means that nothing ran and no upstream was asked.
	NotAdmitted
	// Admitted means that models and tools may have been asked.
	Admitted
)

// Error is a run or a control call that failed. It wraps the gRPC status, and is context.Canceled or
// context.DeadlineExceeded where its code says so.
type Error struct {
	Code    codes.Code
	Message string
	// Reason is unspecified where the error is not the service's own, or a newer service's; Metadata has more.
	Reason runwrightv1.ErrorReason
	// ReasonName is the reason as it was sent, also one of a newer service. Empty: the error is not the service's own.
	ReasonName string
	Metadata   map[string]string
	// RequestID finds the request in the service's log. Empty: the service said nothing of it.
	RequestID string
	// RunID is empty for a run that was not admitted.
	RunID    string
	Admitted Admission
	// Violations are all fields of the request that are wrong.
	Violations []*errdetails.BadRequest_FieldViolation
	// RetryDelay is how long to wait before the next attempt. Zero: the service does not say.
	RetryDelay time.Duration
	// Challenge is an MCP server's refusal of a credential.
	Challenge *runwrightv1.AuthChallenge
	// Progress is what an admitted run had done.
	Progress *runwrightv1.RunProgress

	// pushback is the word of a server or a proxy about the next attempt (gRFC A6). Empty: there is none.
	pushback string
	cause    error
}

// Error tells the code, the reason and the service's message.
func (e *Error) Error() string {
	if e.ReasonName == "" {
		return fmt.Sprintf("runwright: %s: %s", e.Code, e.Message)
	}
	return fmt.Sprintf("runwright: %s, %s: %s (request %s)", e.Code, e.ReasonName, e.Message, e.RequestID)
}

// Unwrap gives the gRPC status.
func (e *Error) Unwrap() error {
	return e.cause
}

// Is makes the caller's own cancellation and deadline look as they do elsewhere in Go.
func (e *Error) Is(target error) bool {
	return e.Code == codes.Canceled && target == context.Canceled ||
		e.Code == codes.DeadlineExceeded && target == context.DeadlineExceeded
}

// newError reads what the service told of a failure; nil for nil.
func newError(err error, trailer metadata.MD) *Error {
	if err == nil {
		return nil
	}
	told := status.Convert(err)
	e := &Error{Code: told.Code(), Message: told.Message(), cause: err}
	if pushback := trailer.Get(pushbackKey); len(pushback) > 0 {
		e.pushback = pushback[0]
	}
	// Details of a type that is not known here come as errors, and are passed over.
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			e.inform(detail)
		case *errdetails.BadRequest:
			e.Violations = detail.GetFieldViolations()
		case *errdetails.RetryInfo:
			e.RetryDelay = detail.GetRetryDelay().AsDuration()
		case *runwrightv1.AuthChallenge:
			e.Challenge = detail
		case *runwrightv1.RunProgress:
			e.Progress = detail
		}
	}
	return e
}

// asError is newError for a call without a retry, whose trailers do not matter.
func asError(err error) error {
	if err == nil {
		return nil
	}
	return newError(err, nil)
}

func (e *Error) inform(info *errdetails.ErrorInfo) {
	// A proxy has reasons of its own.
	if info.GetDomain() != domain {
		return
	}
	e.ReasonName = info.GetReason()
	e.Reason = runwrightv1.ErrorReason(runwrightv1.ErrorReason_value[reasonPrefix+e.ReasonName])
	e.Metadata = info.GetMetadata()
	e.RequestID = e.Metadata["request_id"]
	e.RunID = e.Metadata["run_id"]
	switch admitted, err := strconv.ParseBool(e.Metadata["admitted"]); {
	case err != nil:
	case admitted:
		e.Admitted = Admitted
	default:
		e.Admitted = NotAdmitted
	}
}
