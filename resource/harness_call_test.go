package resource_test

import (
	"context"
	"errors"
	"time"

	"github.com/respool/respool/resource"
)

// call is one Acquire on a goroutine of its own.
type call struct {
	h      *harness
	cancel context.CancelFunc
	done   chan outcome
	got    *outcome // once it has returned
}

type outcome struct {
	lease resource.Lease[*item]
	err   error
	after time.Duration // how long it took
}

// acquire begins an Acquire.
func (h *harness) acquire() *call {
	return h.acquireCtx(context.Background(), resource.Request{})
}

// acquireWith begins an AcquireWith.
func (h *harness) acquireWith(r resource.Request) *call {
	return h.acquireCtx(context.Background(), r)
}

// acquireFor begins an Acquire that gives up after d.
func (h *harness) acquireFor(d time.Duration) *call {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	h.t.Cleanup(cancel)
	return h.acquireCtx(ctx, resource.Request{})
}

// acquireCtx begins an AcquireWith with ctx, and waits until it is at rest.
func (h *harness) acquireCtx(ctx context.Context, r resource.Request) *call {
	h.t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	c := &call{h: h, cancel: cancel, done: make(chan outcome, 1)}
	h.calls = append(h.calls, c)
	began := time.Now()
	go func() {
		l, err := h.p.AcquireWith(ctx, r)
		c.done <- outcome{l, err, time.Since(began)}
	}()
	h.settle()
	return c
}

// poll takes in the outcome, if there is one.
func (c *call) poll() *outcome {
	if c.got == nil {
		select {
		case o := <-c.done:
			c.got = &o
		default:
		}
	}
	return c.got
}

// wantLease checks that the acquire has returned a lease.
func (c *call) wantLease() resource.Lease[*item] {
	c.h.t.Helper()
	c.h.settle()
	o := c.poll()
	switch {
	case o == nil:
		c.h.t.Fatalf("still waits, want a lease: %+v", c.h.p.Stats().Load)
	case o.err != nil:
		c.h.t.Fatalf("acquire failed: %v", o.err)
	}
	return o.lease
}

// wantItem is wantLease, and checks which item it is.
func (c *call) wantItem(it *item) resource.Lease[*item] {
	c.h.t.Helper()
	l := c.wantLease()
	if got := l.Value(); got != it {
		c.h.t.Fatalf("got item %d, want item %d", got.n, it.n)
	}
	return l
}

// wantErr checks that the acquire has failed with an AcquireError that
// matches target.
func (c *call) wantErr(target error) *resource.AcquireError {
	c.h.t.Helper()
	c.h.settle()
	o := c.poll()
	if o == nil {
		c.h.t.Fatalf("still waits, want %v: %+v", target, c.h.p.Stats().Load)
	}
	return wantAcquireError(c.h.t, o.err, target)
}

// wantFailed checks that the acquire has failed.
func (c *call) wantFailed() *resource.AcquireError {
	c.h.t.Helper()
	c.h.settle()
	o := c.poll()
	if o == nil {
		c.h.t.Fatalf("still waits, want an error: %+v", c.h.p.Stats().Load)
	}
	return wantAcquireError(c.h.t, o.err, o.err)
}

// await lets virtual time pass until the acquire has returned, at most d.
func (c *call) await(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Millisecond) {
		c.h.settle()
		if c.poll() != nil {
			return
		}
	}
}

// wantLeaseWithin is wantLease within d.
func (c *call) wantLeaseWithin(d time.Duration) resource.Lease[*item] {
	c.h.t.Helper()
	c.await(d)
	return c.wantLease()
}

// wantFailedWithin is wantFailed within d.
func (c *call) wantFailedWithin(d time.Duration) *resource.AcquireError {
	c.h.t.Helper()
	c.await(d)
	return c.wantFailed()
}

// wantWaiting checks that none of cs has returned.
func (h *harness) wantWaiting(cs ...*call) {
	h.t.Helper()
	h.settle()
	for i, c := range cs {
		if o := c.poll(); o != nil {
			h.t.Fatalf("caller %d of %d does not wait: %v, %v", i+1, len(cs), o.lease, o.err)
		}
	}
}

// lend acquires one item, letting a make finish if one begins.
func (h *harness) lend() resource.Lease[*item] {
	h.t.Helper()
	if h.auto != nil {
		return h.acquire().wantLeaseWithin(time.Minute)
	}
	before := h.begun()
	c := h.acquire()
	if h.begun() > before {
		h.wantMake().finish()
	}
	return c.wantLease()
}

// lendN lends n items, first 1, then 2, ….
func (h *harness) lendN(n int) (ls []resource.Lease[*item], its []*item) {
	h.t.Helper()
	for range n {
		l := h.lend()
		ls, its = append(ls, l), append(its, l.Value())
	}
	return ls, its
}

// stock puts n items on the shelf, the first made longest idle.
func (h *harness) stock(n int) []*item {
	h.t.Helper()
	ls, its := h.lendN(n)
	for _, l := range ls {
		l.Release()
	}
	h.settle()
	return its
}

// close begins a Close with d to go.
func (h *harness) close(d time.Duration) <-chan error {
	h.t.Helper()
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		done <- h.p.Close(ctx)
	}()
	h.settle()
	return done
}

// fataler is the part of testing.T that the checks below need, so that their
// own tests can see them fail.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// wantAcquireError checks that err is an AcquireError that matches target.
func wantAcquireError(t fataler, err, target error) *resource.AcquireError {
	t.Helper()
	var ae *resource.AcquireError
	switch {
	case err == nil:
		t.Fatalf("acquire succeeded, want %v", target)
	case !errors.As(err, &ae):
		t.Fatalf("the error is a %T, not an AcquireError: %v", err, err)
	case !errors.Is(err, target):
		t.Fatalf("the error is %v, want %v", err, target)
	}
	return ae
}
