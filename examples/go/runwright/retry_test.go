package runwright

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

var policy = RetryPolicy{MaxAttempts: 3, BaseDelay: 100 * time.Millisecond, MaxDelay: 150 * time.Millisecond}

func TestOnlyWhatNeverRanIsSentAgain(t *testing.T) {
	for name, test := range map[string]struct {
		attempts int
		failure  Error
		again    bool
	}{
		"refused":                     {1, Error{Code: codes.Unavailable, Admitted: NotAdmitted}, true},
		"refused for the second time": {2, Error{Code: codes.Unavailable, Admitted: NotAdmitted}, true},
		"refused too often":           {3, Error{Code: codes.Unavailable, Admitted: NotAdmitted}, false},
		"failed after it had begun":   {1, Error{Code: codes.Unavailable, Admitted: Admitted}, false},
		"a connection that broke":     {1, Error{Code: codes.Unavailable}, false},
		"failed after a tool call":    {1, Error{Code: codes.Aborted, Admitted: Admitted}, false},
		"a wrong request":             {1, Error{Code: codes.InvalidArgument, Admitted: NotAdmitted}, false},
		"forbidden by pushback":       {1, Error{Code: codes.Unavailable, Admitted: NotAdmitted, pushback: "-1"}, false},
		"pushback that is no number":  {1, Error{Code: codes.Unavailable, Admitted: NotAdmitted, pushback: "soon"}, false},
	} {
		if _, again := policy.next(test.attempts, &test.failure); again != test.again {
			t.Errorf("%s: sent again: %t", name, again)
		}
	}
}

func TestTheWaitIsWhatTheServiceAsksForOrLongerEachTime(t *testing.T) {
	refused := Error{Code: codes.Unavailable, Admitted: NotAdmitted}
	asking, pushing := refused, refused
	asking.RetryDelay = time.Second
	pushing.RetryDelay, pushing.pushback = time.Second, "30"
	for name, test := range map[string]struct {
		attempts    int
		failure     Error
		least, most time.Duration
	}{
		"the first":         {1, refused, 0, 100 * time.Millisecond},
		"the second":        {2, refused, 0, 150 * time.Millisecond},
		"asked by details":  {1, asking, time.Second, 1100 * time.Millisecond},
		"asked by pushback": {1, pushing, 30 * time.Millisecond, 30 * time.Millisecond},
	} {
		for range 100 {
			if wait, _ := policy.next(test.attempts, &test.failure); wait < test.least || wait > test.most {
				t.Errorf("%s: %s", name, wait)
			}
		}
	}
}
