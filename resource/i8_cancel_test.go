package resource_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// I8: a caller whose context has ended is never given a resource that it will
// not use: the next one gets it.

// Nothing is lent to a context that has ended, even if something is idle; and
// nothing is made for it.
func TestI8_EndedContext(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		ctx, cancel := context.WithCancelCause(context.Background())
		why := errors.New("why")
		cancel(why)
		h.acquireCtx(ctx, resource.Request{}).wantErr(context.Canceled)
		h.wantNoMake()
		h.stock(1)
		h.acquireCtx(ctx, resource.Request{}).wantErr(context.Canceled)
		h.wantLoad(resource.Load{Idle: 1})
		if n := h.p.Stats().Canceled; n != 2 {
			t.Errorf("%d canceled, want 2", n)
		}
	})
}

// One that gave up while it waited is passed over.
func TestI8_CancelledWaiterIsPassedOver(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		c1, c2, c3 := h.acquire(), h.acquireFor(time.Second), h.acquire()
		c1.cancel()
		c1.wantErr(context.Canceled)
		time.Sleep(time.Second)
		c2.wantErr(context.DeadlineExceeded)
		h.wantLoad(resource.Load{Leased: 1, Waiting: 1})
		l.Release()
		c3.wantItem(it)
	})
}

// A make does not serve one that has left: it serves the next, or goes to the
// shelf.
func TestI8_MakeAfterCancel(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		c1 := h.acquire()
		m := h.wantMake()
		c1.cancel()
		c1.wantErr(context.Canceled)
		if m.ctx.Err() != nil {
			t.Error("the caller's cancellation ended the make")
		}
		c2 := h.acquire()
		it := m.finish()
		c2.wantItem(it)
		h.wantNoMake()
	})
}

// Cancel and hand-off at the same moment, many times over: whoever returns
// without the resource has not taken it along. The second waiter gets it in
// the same instant.
func TestI8_CancelRacesHandOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlain(t, 1, nil)
		served := 0
		for round := range 3000 {
			l := p.must(context.Background())
			ctx, cancel := context.WithCancel(context.Background())
			first, second := make(chan bool, 1), make(chan bool, 1)
			go func() { first <- useOnce(p, ctx) }()
			synctest.Wait()
			go func() { second <- useOnce(p, context.Background()) }()
			synctest.Wait()
			began := time.Now()
			go cancel()
			go l.Release()
			if round%2 == 0 {
				l.Release()
			}
			if <-first {
				served++
			}
			if !<-second {
				t.Fatalf("round %d: the second waiter was not served", round)
			}
			synctest.Wait()
			if took := time.Since(began); took != 0 {
				t.Fatalf("round %d: took %v", round, took)
			}
			if s := p.Stats(); s.Idle != 1 || s.Waiting != 0 {
				t.Fatalf("round %d: %v", round, s.Load)
			}
		}
		t.Logf("the first waiter was served in %d of 3000 rounds", served)
	})
}

// useOnce acquires, uses and releases; false if it got nothing.
func useOnce(p *plain, ctx context.Context) bool {
	l, err := p.Acquire(ctx)
	if err != nil {
		return false
	}
	p.hold(l.Value())
	p.drop(l.Value())
	l.Release()
	return true
}

// The same with real goroutines and deadlines that end while resources change
// hands; at the end everything is on the shelf.
func TestI8_DeadlineStorm(t *testing.T) {
	p := newPlain(t, 2, nil)
	stop, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := 0; stop.Err() == nil; i++ {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%50)*time.Microsecond)
				useOnce(p, ctx)
				cancel()
			}
		})
	}
	within(t, 30*time.Second, wg.Wait)
	s := p.Stats()
	if s.Leased != 0 || s.Waiting != 0 {
		t.Errorf("after the storm: %v", s.Load)
	}
	if s.Canceled == 0 || s.Acquired == 0 {
		t.Errorf("%d canceled and %d acquired: no storm", s.Canceled, s.Acquired)
	}
	within(t, 10*time.Second, func() {
		for range 2 {
			if l := p.must(context.Background()); l.Value() != nil {
				defer l.Release()
			}
		}
	})
}

// Cancel races the end of a make.
func TestI8_CancelRacesMake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 300 {
			gate := make(chan struct{})
			p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
				make := cfg.Make
				cfg.Make = func(ctx context.Context) (*token, error) { <-gate; return make(ctx) }
			})
			ctx, cancel := context.WithCancel(context.Background())
			first, second := make(chan bool, 1), make(chan bool, 1)
			go func() { first <- useOnce(p, ctx) }()
			synctest.Wait()
			go func() { second <- useOnce(p, context.Background()) }()
			synctest.Wait()
			go cancel()
			close(gate)
			<-first
			if !<-second {
				t.Fatal("the second waiter was not served")
			}
			synctest.Wait()
			if s := p.Stats(); s.Idle != 1 || s.Made != 1 {
				t.Fatalf("made %d: %v", s.Made, s.Load)
			}
		}
	})
}

// A cancelled waiter's own error wins over what it caused, and its cause is
// found in it.
func TestI8_Cause(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		h.lend()
		why := errors.New("the user went away")
		ctx, cancel := context.WithCancelCause(context.Background())
		c := h.acquireCtx(ctx, resource.Request{})
		cancel(why)
		e := c.wantErr(context.Canceled)
		if !errors.Is(e, why) {
			t.Errorf("%v does not match the context's cause", e)
		}
	})
}

// Cancellations race a Queue that has just given their waiter out: nobody is
// forgotten and nothing lost.
func TestI8_CancelRacesQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
			cfg.Queue = &listQueue{less: func(a, b *resource.Waiter) bool { return a.Since > b.Since }}
		})
		for round := range 2000 {
			l := p.must(context.Background())
			ctx, cancel := context.WithCancel(context.Background())
			first, second := make(chan bool, 1), make(chan bool, 1)
			go func() { second <- useOnce(p, context.Background()) }()
			go func() { first <- useOnce(p, ctx) }()
			synctest.Wait()
			began := time.Now()
			go cancel()
			l.Release()
			<-first
			if !<-second {
				t.Fatalf("round %d: the second waiter was not served", round)
			}
			synctest.Wait()
			if s := p.Stats(); time.Since(began) != 0 || s.Idle != 1 || s.Waiting != 0 {
				t.Fatalf("round %d: after %v: %+v", round, time.Since(began), s.Load)
			}
		}
	})
}
