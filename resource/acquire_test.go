package resource_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// A waiter takes the first resource that becomes available; no waiter is tied to a
// make.

// A make that no waiter needs any more goes to the idle list.
func TestLateBinding_ReleaseBeatsMake(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		c := h.acquire()
		m := h.wantMake()
		l.Release()
		c.wantItem(it)
		late := m.finish()
		h.wantLoad(resource.Load{Idle: 1, Leased: 1})
		h.acquire().wantItem(late)
		h.wantNoMake()
	})
}

// A make serves the longest waiter, not the caller that started it.
func TestLateBinding_MakeServesTheFirst(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		c1, c2 := h.acquire(), h.acquire()
		ms := h.wantMakes(2)
		second := ms[1].finish()
		c1.wantItem(second)
		first := ms[0].finish()
		c2.wantItem(first)
	})
}

// A make that fails is reported to one waiter; the other make still serves the
// other.
func TestLateBinding_OneFailsOneServes(t *testing.T) {
	boom := errors.New("boom")
	script(t, 2, nil, func(h *harness) {
		c1, c2 := h.acquire(), h.acquire()
		ms := h.wantMakes(2)
		ms[0].fail(boom)
		c1.wantErr(boom)
		h.wantWaiting(c2)
		ms[1].finish()
		c2.wantLease()
	})
}

// When all callers have left, what was begun for them is kept, and nothing
// more is begun.
func TestLateBinding_CallersLeave(t *testing.T) {
	script(t, 3, nil, func(h *harness) {
		c1, c2 := h.acquire(), h.acquire()
		ms := h.wantMakes(2)
		c1.cancel()
		c2.cancel()
		h.wantLoad(resource.Load{Making: 2})
		for _, m := range ms {
			m.finish()
		}
		h.wantLoad(resource.Load{Idle: 2})
		time.Sleep(time.Minute)
		h.wantNoMake()
	})
}

// Makes without a waiter left are not started: the releases served the waiters that
// they were meant for.
func TestLateBinding_SurplusIsNotStarted(t *testing.T) {
	script(t, 10, nil, func(h *harness) {
		ls, _ := h.lendN(2)
		cs := []*call{h.acquire(), h.acquire(), h.acquire(), h.acquire()}
		m := h.wantMake() // one at once
		for range 2 {
			for _, l := range ls {
				l.Release()
			}
			ls = ls[:0]
			for _, c := range cs[:2] {
				ls = append(ls, c.wantLease())
			}
			cs = cs[2:]
		}
		time.Sleep(10 * time.Second)
		h.wantNoMake()
		m.finish()
		h.wantLoad(resource.Load{Idle: 1, Leased: 2})
	})
}

// The waiter gets it at once, in the same instant.
func TestLateBinding_HandOffTakesNoTime(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		c := h.acquire()
		time.Sleep(time.Second)
		l.Release()
		got := c.wantLease()
		if c.got.after != time.Second {
			t.Errorf("the acquire took %v, want 1s", c.got.after)
		}
		if i := got.Info(); i.Leases != 2 || i.Idle > 20*time.Millisecond {
			t.Errorf("Info is %+v, want the second lease and no idle time", i)
		}
	})
}

// Trap 11: an acquirer waited for its own 500 ms dial although a resource was
// released after 10.
func TestPuddleTrap11_WaitsForOwnMake(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		c := h.acquire()
		m := h.wantMake()
		time.Sleep(10 * time.Millisecond)
		l.Release()
		c.wantItem(it)
		m.finish()
		h.wantLoad(resource.Load{Idle: 1, Leased: 1})
	})
}

// Trap 26: a dial in the background ran with the context of the caller that
// had set it off, and died with it.
func TestPuddleTrap26_CallerContextKillsMake(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		ctx := context.WithValue(context.Background(), classKey{}, "mine")
		c := h.acquireCtx(ctx, resource.Request{})
		m := h.wantMake()
		c.cancel()
		c.wantErr(context.Canceled)
		if m.ctx.Err() != nil {
			t.Error("the make's context ended with the caller's")
		}
		if m.ctx.Value(classKey{}) != "mine" {
			t.Error("the make's context does not have the caller's values")
		}
		it := m.finish()
		h.acquire().wantItem(it)
	})
}

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

// A waiter that gave up is passed over.
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

// A make does not serve a caller that has left: it serves the next waiter, or goes
// to the idle list.
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

// Cancel and hand-off at the same moment, many times over: a caller that returns
// without the resource has not taken it along. The second waiter gets it in the
// same instant.
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
// hands; at the end every resource is on the idle list.
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

// Cancellations race a Queue that has just popped their waiter: no waiter is
// forgotten and no resource is lost.
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

// I8: a caller whose context ends while the Admission looks at it gets nothing,
// though it was admitted and one is idle; and its permit goes back.
func TestI8_EndsWhileAdmitted(t *testing.T) {
	ledger := &ledger{}
	slow := false
	edit := func(h *harness) {
		h.cfg.Admission = admitFunc(func(ctx context.Context, r resource.Request) (resource.Done, error) {
			if slow {
				<-ctx.Done()
			}
			return ledger.Admit(ctx, r)
		})
	}
	script(t, 1, edit, func(h *harness) {
		h.lend().Release()
		slow = true
		c := h.acquireFor(time.Second)
		time.Sleep(2 * time.Second)
		c.wantErr(context.DeadlineExceeded)
		h.wantLoad(resource.Load{Idle: 1})
		if err := ledger.check(); err != nil || ledger.given() != 2 || ledger.last().Verdict != resource.Ignored {
			t.Errorf("%d permits, the last outcome %+v: %v", ledger.given(), ledger.last(), err)
		}
		if s := h.p.Stats(); s.Canceled != 1 {
			t.Errorf("%d canceled, want 1", s.Canceled)
		}
	})
}

// I8: nor is a caller whose context ends during a check that the resource passes.
// The result of the check is not forgotten.
func TestI8_EndsDuringPassedCheck(t *testing.T) {
	var checks atomic.Int64
	var seen resource.Info
	edit := func(h *harness) {
		h.cfg.Health = checkFunc(func(ctx context.Context, it *item, i resource.Info) error {
			if seen = i; checks.Add(1) == 2 {
				<-ctx.Done()
			}
			return nil
		})
		h.cfg.SweepInterval = time.Hour
	}
	script(t, 1, edit, func(h *harness) {
		l := h.lend()
		it := l.Value()
		l.Release()
		time.Sleep(time.Minute)
		c := h.acquireFor(time.Second)
		time.Sleep(10 * time.Second)
		c.wantErr(context.DeadlineExceeded)
		h.wantLoad(resource.Load{Idle: 1})
		h.acquire().wantItem(it).Release()
		if seen.Checked != 9*time.Second {
			t.Errorf("the next check has Checked %v, want 9 s", seen.Checked)
		}
	})
}
