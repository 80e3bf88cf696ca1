package resource_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// anyCall is an AcquireAny on a goroutine of its own.
type anyCall struct {
	h      *keyedHarness
	cancel context.CancelFunc
	ended  chan struct{}
	key    string
	lease  resource.Lease[*keyedItem]
	err    error
	after  time.Duration
}

func (h *keyedHarness) goAny(r resource.Request, keys ...string) *anyCall {
	ctx, cancel := context.WithCancel(h.t.Context())
	c := &anyCall{h: h, cancel: cancel, ended: make(chan struct{})}
	began := time.Now()
	go func() {
		defer close(c.ended)
		c.key, c.lease, c.err = h.k.AcquireAny(ctx, keys, r)
		c.after = time.Since(began)
	}()
	return c
}

// waits checks that the call has not returned though nothing else happens.
func (c *anyCall) waits() {
	c.h.t.Helper()
	synctest.Wait()
	select {
	case <-c.ended:
		c.h.t.Fatalf("returned %q, %v after %v; it was to wait", c.key, c.err, c.after)
	default:
	}
}

// got waits for the lease of that key.
func (c *anyCall) got(key string) resource.Lease[*keyedItem] {
	c.h.t.Helper()
	<-c.ended
	if c.err != nil || c.key != key || c.lease.Value().key != key {
		c.h.t.Fatalf("got %q, %v; want one of %q; %v", c.key, c.err, key, c.h.k.Stats())
	}
	return c.lease
}

// failed waits for the error.
func (c *anyCall) failed(want error) *resource.AcquireError {
	c.h.t.Helper()
	<-c.ended
	var err *resource.AcquireError
	if !errors.As(c.err, &err) || !errors.Is(c.err, want) {
		c.h.t.Fatalf("got %q, %v; want the error %v", c.key, c.err, want)
	}
	return err
}

// noneWait checks that no caller is in any line, as the pools and the Keyed see it.
func (h *keyedHarness) noneWait() {
	h.t.Helper()
	synctest.Wait()
	for key, p := range h.k.All() {
		if n := p.Stats().Waiting; n != 0 {
			h.t.Errorf("%d wait at %s", n, key)
		}
	}
	if n := h.k.Stats().Waiting; n != 0 {
		h.t.Errorf("%d wait", n)
	}
}

// An idle resource of the first key that has one is lent at once.
func TestAnyIdle(t *testing.T) {
	keyed(t, 9, 3, nil, func(h *keyedHarness) {
		h.acquire("b").Release()
		h.acquire("c").Release()
		c := h.goAny(resource.Request{}, "a", "b", "c")
		l := c.got("b")
		if c.after != 0 {
			t.Errorf("it took %v", c.after)
		}
		h.goAny(resource.Request{}, "b", "c").got("c").Release()
		l.Release()
		if n := h.begun["a"]; n != 0 {
			t.Errorf("%d creations at a", n)
		}
	})
}

// The caller waits in every line; a release at any key serves it, and no line has it any more.
func TestAnyServedByEachLine(t *testing.T) {
	for _, served := range []string{"a", "b", "c"} {
		t.Run(served, func(t *testing.T) {
			keyed(t, 3, 1, nil, func(h *keyedHarness) {
				held := map[string]resource.Lease[*keyedItem]{}
				for _, key := range []string{"a", "b", "c"} {
					held[key] = h.acquire(key)
				}
				c := h.goAny(resource.Request{}, "a", "b", "c")
				c.waits()
				if s := h.k.Stats(); s.Waiting != 1 || s.Waited != 4 {
					t.Errorf("%d of %d wait in the sum of three lines", s.Waiting, s.Waited)
				}
				time.Sleep(time.Minute)
				held[served].Release()
				l := c.got(served)
				if c.after != time.Minute || l.Waited() != time.Minute {
					t.Errorf("served after %v, %v", c.after, l.Waited())
				}
				h.noneWait()
				s := h.k.Stats()
				if s.Waited != 4 || s.WaitsServed != 4 || s.WaitTime != time.Minute {
					t.Errorf("%d waited, %d served, for %v", s.Waited, s.WaitsServed, s.WaitTime)
				}
				for _, l := range held {
					l.Release()
				}
				l.Release()
			})
		})
	}
}

// A dead first endpoint costs attemptDelay; no more than two creations begin.
func TestAnyDeadFirst(t *testing.T) {
	keyed(t, 9, 3, func(h *keyedHarness) { h.makeTime = 50 * time.Millisecond }, func(h *keyedHarness) {
		hang := make(chan struct{})
		h.fails = func(key string) error {
			if key == "a" {
				<-hang
			}
			return nil
		}
		c := h.goAny(resource.Request{}, "a", "b", "c", "d")
		c.got("b").Release()
		if c.after != 300*time.Millisecond {
			t.Errorf("served after %v", c.after)
		}
		if h.begun["a"] != 1 || h.begun["b"] != 1 || h.begun["c"]+h.begun["d"] != 0 {
			t.Errorf("creations: %v", h.begun)
		}
		h.noneWait()
		close(hang)
	})
}

// A canceled caller is in no line any more.
func TestAnyCanceled(t *testing.T) {
	keyed(t, 3, 1, nil, func(h *keyedHarness) {
		a, b, c := h.acquire("a"), h.acquire("b"), h.acquire("c")
		call := h.goAny(resource.Request{}, "a", "b", "c")
		call.waits()
		call.cancel()
		err := call.failed(context.Canceled)
		if err.Reason != resource.ReasonCanceled {
			t.Errorf("%v", err.Reason)
		}
		h.noneWait()
		a.Release()
		b.Release()
		c.Release()
	})
}
