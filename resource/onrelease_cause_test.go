package resource_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// causes has an OnRelease that waits until its context ends and returns the cause.
type causes struct{ seen []error }

func (c *causes) clean(ctx context.Context, _ *item) error {
	<-ctx.Done()
	c.seen = append(c.seen, context.Cause(ctx))
	return context.Cause(ctx)
}

// The cause of OnRelease's context says why it ended. If OnRelease returns that cause, the
// item is destroyed with it, and the text names it once.
func TestOnRelease_Cause(t *testing.T) {
	reason := errors.New("the server has moved")
	for name, test := range map[string]struct {
		end  func(h *harness)
		want error
	}{
		"timeout":       {func(h *harness) { time.Sleep(time.Second) }, resource.ErrReleaseTimeout},
		"reset":         {func(h *harness) { h.p.Reset(reason) }, reason},
		"reset for nil": {func(h *harness) { h.p.Reset(nil) }, resource.ErrReset},
		"close":         {func(h *harness) { h.close(time.Minute) }, resource.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			c := &causes{}
			edit := func(h *harness) {
				h.cfg.OnRelease = c.clean
				h.cfg.ReleaseTimeout = time.Second
			}
			script(t, 1, edit, func(h *harness) {
				l := h.lend()
				it := l.Value()
				l.Release()
				h.settle()
				test.end(h)
				h.wantDestroyed(it, test.want)
				if len(c.seen) != 1 || c.seen[0] != test.want {
					t.Errorf("the context ended with %v, want %v", c.seen, test.want)
				}
				if got := h.causes[it].Error(); got != test.want.Error() {
					t.Errorf("destroyed for %q, want %q", got, test.want)
				}
			})
		})
	}
}
