package resource_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// A hit and its release call none.
func TestTrace_HitIsSilent(t *testing.T) {
	var calls atomic.Int64
	edit := func(h *harness) {
		h.cfg.Trace = traceAll(func(string) { calls.Add(1) })
		h.cfg.Trace.Leased, h.cfg.Trace.Ended = nil, nil
	}
	script(t, 2, edit, func(h *harness) {
		h.stock(1)
		if calls.Load() == 0 {
			t.Error("a make called none")
		}
		calls.Store(0)
		for range 3 {
			h.acquire().wantLease().Release()
		}
		h.settle()
		if n := calls.Load(); n != 0 {
			t.Errorf("called %d, want none", n)
		}
	})
}

// Waited has the caller's context and what came of it.
func TestTrace_Waited(t *testing.T) {
	var events []resource.WaitEvent
	edit := func(h *harness) {
		h.cfg.Trace = &resource.Trace{Waited: func(ctx context.Context, e resource.WaitEvent) {
			if ctx.Value(classKey{}) != "mine" {
				t.Error("the context is not the caller's")
			}
			events = append(events, e)
		}}
	}
	script(t, 1, edit, func(h *harness) {
		ctx := context.WithValue(context.Background(), classKey{}, "mine")
		r := resource.Request{Priority: 7, Class: "batch"}
		c := h.acquireCtx(ctx, r)
		time.Sleep(time.Second)
		h.wantMake().finish()
		l := c.wantLease()
		h.settle()
		if len(events) != 1 || events[0] != (resource.WaitEvent{Request: r, Waited: time.Second, ID: l.Info().ID}) {
			t.Fatalf("the events are %+v", events)
		}
		c = h.acquireCtx(ctx, r)
		time.Sleep(2 * time.Second)
		c.cancel()
		c.wantErr(context.Canceled)
		if len(events) != 2 || events[1].ID != 0 || events[1].Waited != 2*time.Second || !errors.Is(events[1].Err, context.Canceled) {
			t.Errorf("the events are %+v", events)
		}
	})
}

// Made has the values of the caller for whom it was begun.
func TestTrace_Made(t *testing.T) {
	boom := errors.New("boom")
	var events []resource.MakeEvent
	edit := func(h *harness) {
		h.cfg.Trace = &resource.Trace{Made: func(ctx context.Context, e resource.MakeEvent) {
			if ctx.Value(classKey{}) != "mine" {
				t.Error("the context has not the caller's values")
			}
			events = append(events, e)
		}}
	}
	script(t, 1, edit, func(h *harness) {
		ctx := context.WithValue(context.Background(), classKey{}, "mine")
		c := h.acquireCtx(ctx, resource.Request{})
		m := h.wantMake()
		time.Sleep(time.Second)
		m.fail(boom)
		c.wantErr(boom)
		c = h.acquireCtx(ctx, resource.Request{})
		m = h.wantMakeWithin(time.Minute)
		began := m.began
		time.Sleep(2 * time.Second)
		m.finish()
		c.wantLease()
		h.settle()
		took := time.Since(began)
		if len(events) != 2 || !errors.Is(events[0].Err, boom) || events[0].Took != time.Second || events[0].ID != 0 {
			t.Fatalf("the events are %+v", events)
		}
		if events[1].Err != nil || events[1].Took != took || events[1].ID == 0 {
			t.Errorf("the events are %+v", events)
		}
	})
}

// An AcquireError says how long the caller waited and how the pool was.
func TestAcquireError_Says(t *testing.T) {
	boom := errors.New("dial: refused")
	script(t, 2, nil, func(h *harness) {
		c := h.acquire()
		h.wantMake().fail(boom)
		e := c.wantErr(boom)
		if e.Load.Waiting != 0 {
			t.Errorf("the caller counts itself as waiting: %v", e.Load)
		}
		if e.LastMake == nil || !errors.Is(e.LastMake, boom) {
			t.Errorf("LastMake is %v", e.LastMake)
		}
		if strings.Count(e.Error(), boom.Error()) != 1 {
			t.Errorf("%q does not say the cause once", e)
		}

		h.lend()
		c = h.acquireFor(3 * time.Second)
		h.wantMakeWithin(time.Second).fail(boom)
		h.wantMakeWithin(time.Second).hang()
		time.Sleep(3 * time.Second)
		e = c.wantErr(context.DeadlineExceeded)
		if e.Waited != 3*time.Second {
			t.Errorf("waited %v, want 3s", e.Waited)
		}
		if e.Load.Max != 2 || e.Load.Leased != 1 || e.Load.Making != 1 {
			t.Errorf("the load is %v", e.Load)
		}
		for _, part := range []string{"deadline exceeded", "waited 3s", "max 2", "1 leased", "1 making", "dial: refused"} {
			if !strings.Contains(fmt.Sprintf("%+v", e), part) {
				t.Errorf("%+v does not say %q", e, part)
			}
		}
	})
}

// Text and matching, without a pool.
func TestErrors_Text(t *testing.T) {
	cause := errors.New("cause")
	load := resource.Load{Max: 4, Idle: 1, Leased: 2, Making: 1, Waiting: 3}
	for _, test := range []struct {
		err  error
		text []string
		is   []error
	}{
		{
			&resource.AcquireError{Err: cause, Waited: time.Second, RetryAfter: 2 * time.Second, Load: load, LastMake: errSick},
			[]string{"cause", "last creation: no pulse"}, // the rest: see TestErrors_TextsAreFixed
			[]error{cause},
		},
		{&resource.Rejection{Policy: "rate", Err: cause}, []string{"rejected by rate: cause"}, []error{cause, resource.ErrRejected}},
		{&resource.Rejection{}, []string{"rejected"}, []error{resource.ErrRejected}},
		{&resource.PanicError{Where: "Evict", Value: cause}, []string{"panic in Evict: cause"}, []error{cause}},
		{&resource.PanicError{Where: "Evict", Value: 7}, []string{"panic in Evict: 7"}, nil},
		{&resource.CloseError{Err: cause, Load: load, Leased: []uint64{3, 9}}, []string{"cause"}, []error{cause}},
	} {
		for _, part := range test.text {
			if !strings.Contains(test.err.Error(), part) {
				t.Errorf("%q does not say %q", test.err, part)
			}
		}
		for _, target := range test.is {
			if !errors.Is(test.err, target) {
				t.Errorf("%q does not match %q", test.err, target)
			}
		}
		if errors.Is(test.err, resource.ErrClosed) {
			t.Errorf("%q matches ErrClosed", test.err)
		}
	}
}

// A rejected caller's error leads to the Rejection, or to one around what the
// Admission said.
func TestErrors_Rejection(t *testing.T) {
	boom := errors.New("boom")
	for _, refusal := range []error{boom, &resource.Rejection{Policy: "rate", RetryAfter: time.Second, Err: boom}} {
		script(t, 1, func(h *harness) { h.cfg.Admission = refusing(refusal) }, func(h *harness) {
			e := h.acquire().wantErr(boom)
			var r *resource.Rejection
			if !errors.As(e, &r) || !errors.Is(e, resource.ErrRejected) {
				t.Fatalf("%v has no Rejection", e)
			}
			if r.RetryAfter != e.RetryAfter {
				t.Errorf("RetryAfter is %v outside and %v inside", e.RetryAfter, r.RetryAfter)
			}
		})
	}
}

// The counters, one by one, in a script that does each thing once.
func TestStats_Counts(t *testing.T) {
	boom := errors.New("boom")
	script(t, 2, nil, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		time.Sleep(time.Second)
		m.finish()
		l := c.wantLease()
		c = h.acquire()
		time.Sleep(time.Second)
		c.cancel()
		c.wantErr(context.Canceled)
		h.wantMake().fail(boom)
		h.settle()
		l.Release()
		h.lend().Discard(boom)
		h.settle()
		h.hijack(h.lend())
		h.settle()
		got := h.p.Stats()
		want := resource.Stats{
			Load:     resource.Load{Max: 2},
			Acquired: 3, Released: 3, Canceled: 1, AcquireTime: time.Second,
			Waited: 3, WaitTime: 2 * time.Second, WaitsServed: 2, WaitsServedTime: time.Second,
			WaitsFailed: 1, WaitsFailedTime: time.Second,
			Begun: resource.MakesBegun{Callers: 3},
			Made:  2, MakeTime: time.Second, Failed: 1, Destroyed: 1, Hijacked: 1,
			Failures: resource.AcquireFailures{Canceled: 1},
		}
		if got != want {
			t.Errorf("Stats are\n%+v, want\n%+v", got, want)
		}
	})
}

// A Trace.Destroyed that takes long keeps neither the place of the resource nor
// the next Destroyed; but Close waits for it.
func TestTrace_DestroyedKeepsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made, told atomic.Int64
		let := make(chan struct{})
		p, err := resource.New(resource.Config[int64]{
			MaxSize: 1,
			Make:    func(context.Context) (int64, error) { return made.Add(1), nil },
			Trace: &resource.Trace{Destroyed: func(resource.DestroyEvent) {
				told.Add(1)
				<-let
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for n := range int64(3) {
			l, err := p.Acquire(t.Context())
			if err != nil || l.Value() != n+1 || time.Since(start) != 0 {
				t.Fatalf("%d after %v: %v", n, time.Since(start), err)
			}
			l.Discard(nil)
		}
		synctest.Wait()
		if s := p.Stats(); told.Load() != 3 || s.Destroyed != 3 || s.Destroying != 0 {
			t.Fatalf("%d told; %v", told.Load(), s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var out *resource.CloseError
		if err := p.Close(ctx); !errors.As(err, &out) || out.Busy != 3 {
			t.Fatal(err)
		}
		close(let)
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
