package resource_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// A lease says how long its caller waited, and no longer when it has ended.
func TestWaited_Lease(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		time.Sleep(time.Second)
		m.finish()
		l := c.wantLease()
		c = h.acquire()
		time.Sleep(2 * time.Second)
		if d := l.Waited(); d != time.Second {
			t.Errorf("the waiter for the make waited %v, want 1 s", d)
		}
		l.Release()
		if d := l.Waited(); d != 0 {
			t.Errorf("after its end a lease has waited %v", d)
		}
		next := c.wantLease()
		if d := next.Waited(); d != 2*time.Second {
			t.Errorf("the waiter for the release waited %v, want 2 s", d)
		}
		if d := l.Waited(); d != 0 {
			t.Errorf("a lease that has ended says what the next one waited, %v", d)
		}
		next.Release()
		hit := h.acquire().wantLease()
		if d := hit.Waited(); d != 0 {
			t.Errorf("a caller that found something idle waited %v", d)
		}
		hit.Release()
		if d := (resource.Lease[*item]{}).Waited(); d != 0 {
			t.Errorf("the zero lease has waited %v", d)
		}
	})
}

// Waits that end with a resource and waits that do not are counted apart, each with
// its time.
func TestWaited_Stats(t *testing.T) {
	boom := errors.New("boom")
	check := func(h *harness, served, failed int64, servedTime, failedTime time.Duration) {
		t.Helper()
		h.settle()
		s := h.p.Stats()
		if s.WaitsServed != served || s.WaitsFailed != failed || s.WaitsServedTime != servedTime || s.WaitsFailedTime != failedTime {
			t.Errorf("served %d in %v, failed %d in %v; want %d in %v, %d in %v", s.WaitsServed, s.WaitsServedTime,
				s.WaitsFailed, s.WaitsFailedTime, served, servedTime, failed, failedTime)
		}
	}
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		time.Sleep(time.Second)
		h.wantMake().fail(boom)
		c.wantErr(boom)
		check(h, 0, 1, 0, time.Second)
		l := h.lend()
		check(h, 1, 1, 0, time.Second)
		late := h.acquireFor(2 * time.Second)
		c = h.acquire()
		time.Sleep(3 * time.Second)
		late.wantErr(context.DeadlineExceeded)
		check(h, 1, 2, 0, 3*time.Second)
		l.Release()
		c.wantLease().Release()
		check(h, 2, 2, 3*time.Second, 3*time.Second)
		l = h.acquire().wantLease()
		c = h.acquire()
		time.Sleep(time.Second)
		closed := h.close(time.Minute)
		c.wantErr(resource.ErrClosed)
		check(h, 2, 3, 3*time.Second, 4*time.Second)
		l.Release()
		h.settle()
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
	// A waiter whose resource a Health rejects continues to wait: that is one wait.
	slow, ill := false, false
	edit := func(h *harness) {
		h.cfg.Health = checkFunc(func(context.Context, *item, resource.Info) error {
			if slow {
				time.Sleep(time.Second)
			}
			if ill {
				return boom
			}
			return nil
		})
	}
	script(t, 1, edit, func(h *harness) {
		l := h.lend()
		check(h, 1, 0, 0, 0)
		c := h.acquire()
		time.Sleep(time.Second)
		slow, ill = true, true
		l.Release()
		h.settle()
		if s := h.p.Stats(); s.WaitsServed != 1 || s.WaitsFailed != 0 || s.Waiting != 0 {
			t.Errorf("while it is checked: %v", s)
		}
		time.Sleep(2 * time.Second)
		h.settle()
		ill = false
		h.wantMake().finish()
		c.await(10 * time.Second)
		c.wantLease().Release()
		check(h, 2, 0, 3*time.Second, 0)
	})
}

// Why makes were begun.
func TestBegun_Reasons(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.MinIdle = 2
		h.auto = func(m *makeCall) { m.finish() }
	}
	script(t, 8, edit, func(h *harness) {
		h.settle()
		want := resource.MakesBegun{MinIdle: 2}
		check := func() {
			t.Helper()
			h.settle()
			if got := h.p.Stats().Begun; got != want {
				t.Errorf("begun: %+v, want %+v", got, want)
			}
		}
		check()
		if err := h.p.Warm(context.Background(), 3); err != nil {
			t.Fatal(err)
		}
		want.Warm = 1
		check()
		if err := h.p.MakeOne(context.Background()); err != nil {
			t.Fatal(err)
		}
		want.MakeOne = 1
		check()
	})
	script(t, 2, nil, func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		if _, ok := h.p.TryAcquire(); ok {
			t.Fatal("a lease from an empty pool")
		}
		h.settle()
		h.acquire().wantLease()
		h.acquire().wantLease()
		h.settle()
		if got, want := h.p.Stats().Begun, (resource.MakesBegun{NoWait: 1, Callers: 1}); got != want {
			t.Errorf("begun: %+v, want %+v", got, want)
		}
	})
}

// How long acquires take that do not wait is extrapolated from a sample of them.
func TestAcquireTime(t *testing.T) {
	const late, n = 7 * time.Millisecond, 1000
	edit := func(h *harness) { h.cfg.Admission = gate(func() error { time.Sleep(late); return nil }) }
	script(t, 1, edit, func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		for range n {
			l := lendOne(t, h.p)
			time.Sleep(time.Millisecond)
			l.Release()
		}
		s := h.p.Stats()
		if got, want := s.AcquireTime, n*late; got < want*9/10 || got > want*11/10 {
			t.Errorf("%d acquires took %v, want about %v", n, got, want)
		}
	})
	// Without a policy it is nothing that virtual time would show.
	script(t, 1, nil, func(h *harness) {
		h.lend().Release()
		for range n {
			h.acquire().wantLease().Release()
			time.Sleep(time.Millisecond)
		}
		if s := h.p.Stats(); s.AcquireTime != 0 || s.Acquired != n+1 {
			t.Errorf("%d acquires took %v, want nothing", s.Acquired, s.AcquireTime)
		}
	})
}

// Every sum of Stats is right at each moment, whatever happens. The sums are in
// unbalanced, which every script checks at each step.
func TestStats_Reconcile(t *testing.T) {
	seed := rand.Uint64()
	for round := range 30 {
		rng, mu := rand.New(rand.NewPCG(seed, uint64(round))), new(sync.Mutex)
		dice := func(n int) int {
			mu.Lock()
			defer mu.Unlock()
			return rng.IntN(n)
		}
		edit := func(h *harness) {
			h.auto = func(m *makeCall) {
				switch dice(6) {
				case 0:
					m.fail(errors.New("boom"))
				case 1: // it hangs
				default:
					time.Sleep(time.Duration(dice(300)) * time.Millisecond)
					m.finish()
				}
			}
			h.cfg.MinIdle = dice(3)
			h.cfg.Outage = resource.OutageMode(dice(2))
			if dice(2) == 0 {
				h.cfg.MakeGate = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
					if dice(3) == 0 {
						return nil, &resource.Rejection{Policy: "gate", RetryAfter: time.Duration(dice(2)) * time.Second}
					}
					return nil, nil
				})
			}
			if dice(2) == 0 {
				h.cfg.Health = checkFunc(func(context.Context, *item, resource.Info) error {
					if dice(5) == 0 {
						return errors.New("unhealthy")
					}
					return nil
				})
			}
		}
		script(t, 4, edit, func(h *harness) {
			var before resource.Stats
			for range 150 {
				switch dice(8) {
				case 0, 1, 2:
					h.acquireFor(time.Duration(dice(2000)) * time.Millisecond)
				case 3:
					h.acquireWith(resource.Request{Fresh: dice(2) == 0, NoWait: dice(2) == 0})
				case 4:
					if l, ok := h.p.TryAcquire(); ok {
						l.Release()
					}
				case 5:
					for _, l := range h.p.AcquireAllIdle() {
						l.ReleaseUnused()
					}
				default:
					for _, c := range h.calls {
						if o := c.poll(); o != nil && o.err == nil {
							o.lease.Release()
							o.lease = resource.Lease[*item]{}
						}
					}
				}
				if dice(10) == 0 {
					h.p.Reset(nil)
				}
				time.Sleep(time.Duration(dice(100)) * time.Millisecond)
				h.settle()
				after := h.p.Stats()
				if after.WaitsServed < before.WaitsServed || after.WaitsFailed < before.WaitsFailed ||
					after.AcquireTime < before.AcquireTime || after.WaitTime < before.WaitTime {
					h.t.Errorf("seed %d: a counter shrinks, from\n%+v to\n%+v", seed, before, after)
				}
				before = after
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

// Released was counted from parts read at different moments, and was now and
// then less than before; and there were fewer than none idle.
func TestStats_ReleasedNeverGoesBack(t *testing.T) {
	p := newPlain(t, 4, nil)
	if err := p.Warm(context.Background(), 2); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				l, err := p.Acquire(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				l.Release()
			}
		})
	}
	var last int64
	back, below := 0, 0
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		s := p.Stats()
		if s.Released < last {
			back++
		}
		if s.Leased < 0 || s.Idle < 0 {
			below++
		}
		last = s.Released
	}
	stop.Store(true)
	wg.Wait()
	if back+below > 0 || last == 0 {
		t.Errorf("Released went back %d times, levels were negative %d times; %d released", back, below, last)
	}
}

// Trap 23: the cost of Stat grew with the number of resources, under the lock that
// every call needed.
func TestPuddleTrap23_StatCost(t *testing.T) {
	cost := func(n int) time.Duration {
		p := newPlain(t, n, nil)
		if err := p.Warm(context.Background(), n); err != nil {
			t.Fatalf("Warm: %v", err)
		}
		if got := p.Stats().Idle; got != n {
			t.Fatalf("%d idle, want %d", got, n)
		}
		best := time.Hour
		for range 50 {
			began := time.Now()
			for range 1000 {
				p.Stats()
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	few, many := cost(10), cost(5000)
	if many > 5*few {
		t.Errorf("1000 Stats cost %v with 10 resources and %v with 5000", few, many)
	}
}

// Trap 24: the number of waiters and their wait times could not be seen.
func TestPuddleTrap24_WaitersUncounted(t *testing.T) {
	var events []resource.WaitEvent
	edit := func(h *harness) {
		h.cfg.Trace = &resource.Trace{Waited: func(_ context.Context, e resource.WaitEvent) { events = append(events, e) }}
	}
	script(t, 1, edit, func(h *harness) {
		l := h.lend()
		events = nil
		before := h.p.Stats()
		c := h.acquire()
		h.wantLoad(resource.Load{Leased: 1, Waiting: 1})
		time.Sleep(time.Second)
		l.Release()
		c.wantLease()
		s := h.p.Stats()
		if n, d := s.Waited-before.Waited, s.WaitTime-before.WaitTime; n != 1 || d != time.Second {
			t.Errorf("%d waited for %v, want 1 for 1s", n, d)
		}
		if len(events) != 1 || events[0].Waited != time.Second {
			t.Errorf("the events are %v, want one of 1s", events)
		}
	})
}

// String leaves out what is zero, and names what is not.
func TestStats_String(t *testing.T) {
	if got, want := (resource.Stats{}).String(), (resource.Load{}).String(); got != want {
		t.Errorf("zero Stats are %q, want the levels alone, %q", got, want)
	}
	s := resource.Stats{Acquired: 3, Outage: true, LastMake: errDown}
	s.Failures.NoneIdle = 2
	want := resource.Load{}.String() + "; 3 acquired; 2 acquires failed: none_idle; outage; last creation: the server is down"
	if got := s.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// In a log a Load has its maximum and what is not zero.
func TestLoad_LogValue(t *testing.T) {
	for want, l := range map[string]resource.Load{
		"max=0":                    {},
		"max=9 leased=2 wanting=1": {Max: 9, Leased: 2, Wanting: 1},
		"max=9 idle=1 abandoned=3": {Max: 9, Idle: 1, Abandoned: 3},
		"max=9 making=1 waiting=4": {Max: 9, Making: 1, Waiting: 4},
		"max=9 destroying=5":       {Max: 9, Destroying: 5},
	} {
		got := ""
		for i, a := range l.LogValue().Group() {
			if i > 0 {
				got += " "
			}
			got += a.String()
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
