package runwright

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
)

// RetryPolicy says when a run that failed is sent again: if its status is UNAVAILABLE and says that the run was not
// admitted, so that nothing ran. It waits as long as the service asks, or else longer each time.
//
// gRPC's own retries, by service config, heed `grpc-retry-pushback-ms` but read no details. UNAVAILABLE is what they see,
// too, when a connection breaks in the middle of a run, without any pushback: they would have the run, and what its tools
// do, twice. ABORTED is a run that failed after a tool call had begun, and is never sent again. What gRPC does by itself
// is harmless: it repeats a call only if it surely never arrived.
type RetryPolicy struct {
	// MaxAttempts is how often a run is sent at most. One: it is not sent again.
	MaxAttempts int
	// BaseDelay is the longest wait before the second attempt; it doubles with each one, up to MaxDelay.
	BaseDelay time.Duration
	MaxDelay  time.Duration
}

// DefaultRetryPolicy is for a backend whose own caller waits.
var DefaultRetryPolicy = RetryPolicy{MaxAttempts: 4, BaseDelay: 100 * time.Millisecond, MaxDelay: 5 * time.Second}

// next tells whether to send a run again after so many attempts, and how long to wait before.
func (p RetryPolicy) next(attempts int, failure *Error) (time.Duration, bool) {
	if attempts >= p.MaxAttempts || failure.Code != codes.Unavailable || failure.Admitted != NotAdmitted {
		return 0, false
	}
	if failure.pushback != "" {
		// -1, and by gRFC A6 whatever is no number, forbids another attempt.
		wait, err := strconv.ParseUint(failure.pushback, 10, 31)
		return time.Duration(wait) * time.Millisecond, err == nil
	}
	// All of the wait is jitter, so that callers that were refused together do not come back together; what the service
	// asks for is the least of it.
	longest := p.BaseDelay << min(attempts-1, 20)
	return failure.RetryDelay + rand.N(min(longest, p.MaxDelay)+1), true
}

// send makes a call as often as the policy allows.
func send[T any](ctx context.Context, policy RetryPolicy, call func() (T, *Error)) (T, error) {
	for attempts := 1; ; attempts++ {
		result, failure := call()
		if failure == nil {
			return result, nil
		}
		wait, again := policy.next(attempts, failure)
		if !again || !waits(ctx, wait) {
			return result, failure
		}
	}
}

// waits for a time, unless the context ends by then: its caller is told of the failure at once.
func waits(ctx context.Context, wait time.Duration) bool {
	if deadline, has := ctx.Deadline(); has && time.Until(deadline) <= wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
