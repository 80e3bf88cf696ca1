package resource_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// refusingQueue refuses every caller with err.
type refusingQueue struct {
	listQueue
	err error
}

func (q *refusingQueue) Pop(now time.Duration) (*resource.Waiter, error) {
	w, _ := q.listQueue.Pop(now)
	if w == nil {
		return nil, nil
	}
	return w, q.err
}

// A refusal by a Queue names the policy that its error names, and the field of Config only if
// the error names none. The caller and Trace get the same error.
func TestQueue_RefusalNamesThePolicy(t *testing.T) {
	no := errors.New("no")
	for _, test := range []struct {
		name, policy, text string
		err                error
		retry              time.Duration
	}{
		{"bare", "Queue", "resource: acquire: rejected by Queue: no", no, 0},
		{"named", "codel", "resource: acquire: rejected by codel: no",
			&resource.Rejection{Policy: "codel", RetryAfter: time.Minute, Err: no}, time.Minute},
		{"wrapped", "codel", "resource: acquire: late: rejected by codel: no",
			wrapped{&resource.Rejection{Policy: "codel", RetryAfter: time.Minute, Err: no}}, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			var traced []error
			edit := func(h *harness) {
				h.cfg.Queue = &refusingQueue{err: test.err}
				h.cfg.Trace = &resource.Trace{Rejected: func(_ context.Context, err error) { traced = append(traced, err) }}
			}
			script(t, 1, edit, func(h *harness) {
				c := h.acquire()
				h.wantMake().finish()
				e := c.wantErr(no)
				if e.Error() != test.text || e.Reason != resource.ReasonQueue || e.RetryAfter != test.retry {
					t.Errorf("%q, %v, RetryAfter %v; want %q, %v", e, e.Reason, e.RetryAfter, test.text, test.retry)
				}
				for _, err := range append(traced, e) {
					var r *resource.Rejection
					if !errors.As(err, &r) || r.Policy != test.policy || !errors.Is(err, resource.ErrRejected) {
						t.Errorf("%v: want the policy %q", err, test.policy)
					}
				}
				if len(traced) != 1 {
					t.Errorf("Trace.Rejected was called %d times", len(traced))
				}
			})
		})
	}
}

// wrapped is a Queue's own error around another.
type wrapped struct{ err error }

func (e wrapped) Error() string { return "late: " + e.err.Error() }
func (e wrapped) Unwrap() error { return e.err }
