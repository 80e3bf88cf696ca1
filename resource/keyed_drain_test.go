package resource_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// An acquire of a key that is being drained fails with another error than one of a Keyed that
// is closed: the first may succeed later.
func TestKeyedDrain_Error(t *testing.T) {
	keyed(t, 2, 1, nil, func(h *keyedHarness) {
		draining := func(when string, err error, want bool) {
			h.t.Helper()
			if !errors.Is(err, resource.ErrClosed) || errors.Is(err, resource.ErrDraining) != want {
				h.t.Errorf("%s: %v", when, err)
			}
			var failed *resource.AcquireError
			if !errors.As(err, &failed) || failed.Reason != resource.ReasonClosed {
				h.t.Errorf("%s: %#v", when, err)
			} else if wait := failed.Wait(h.t.Context()); !errors.Is(wait, resource.ErrClosed) {
				h.t.Errorf("%s: Wait: %v", when, wait)
			}
		}
		leaked := h.acquire("a")
		waits := h.begin("a")
		waits.wantWaiting()
		ctx, cancel := context.WithTimeout(h.t.Context(), time.Second)
		defer cancel()
		var left *resource.CloseError
		if err := h.k.Drain(ctx, "a"); !errors.As(err, &left) {
			h.t.Errorf("Drain: %v", err)
		}
		if !waits.poll() {
			h.t.Fatal("a caller waits for a key that is closed")
		}
		draining("a caller that waited", waits.err, true)
		_, err := h.k.Acquire(h.t.Context(), "a")
		draining("an acquire while the lease lasts", err, true)
		_, err = h.k.AcquireWith(h.t.Context(), "a", resource.Request{NoWait: true})
		draining("AcquireWith", err, true)
		leaked.Release()
		if err := h.k.Drain(h.t.Context(), "a"); err != nil {
			h.t.Errorf("Drain: %v", err)
		}
		h.acquire("a").Release()
		leaked = h.acquire("a")
		waits = h.begin("a")
		_ = h.k.Close(ctx)
		waits.poll()
		draining("a caller that waited for a closed Keyed", waits.err, false)
		_, err = h.k.Acquire(h.t.Context(), "a")
		draining("an acquire of a closed Keyed", err, false)
		leaked.Release()
	})
}
