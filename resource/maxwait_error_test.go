package resource_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// The error of MaxWait does not name a context, since the caller's has not ended, but matches
// context.DeadlineExceeded, wherever the time ends.
func TestMaxWait_Error(t *testing.T) {
	waits := admitFunc(func(ctx context.Context, _ resource.Request) (resource.Done, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	for name, admission := range map[string]resource.Admission{"in the queue": nil, "in the Admission": waits} {
		t.Run(name, func(t *testing.T) {
			script(t, 1, func(h *harness) { h.cfg.Admission = admission }, func(h *harness) {
				if admission == nil {
					h.lend()
				}
				c := h.acquireWith(resource.Request{MaxWait: time.Second})
				time.Sleep(time.Second)
				e := c.wantErr(resource.ErrMaxWait)
				if want := "resource: acquire: resource: no resource within MaxWait"; e.Error() != want {
					t.Errorf("%q, want %q", e, want)
				}
				var timeout interface{ Timeout() bool }
				if !errors.Is(e, context.DeadlineExceeded) || e.Reason != resource.ReasonMaxWait || !errors.As(e, &timeout) || !timeout.Timeout() {
					t.Errorf("%#v: want a DeadlineExceeded with ReasonMaxWait", e)
				}
			})
		})
	}
	if errors.Is(context.DeadlineExceeded, resource.ErrMaxWait) {
		t.Error("the end of every context matches ErrMaxWait")
	}
}
