package resource_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// The traps of puddle v2, numbered as in the project's own study of it, stand with
// their subjects as TestPuddleTrapNN; each test's first sentence is the trap. Trap
// 16, the allocations of a blocked acquire, is beside I10.

// Trap 1: a handle kept after its release was the next holder's too, and a
// second Release gave their resource to a third.
func TestPuddleTrap01_StaleHandle(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		r1 := h.lend()
		it := r1.Value()
		r1.Release()
		r2 := h.acquire().wantItem(it)
		r1.Release()
		third := h.acquire()
		h.wantWaiting(third)
		r2.Release()
		third.wantItem(it)
	})
}

// Trap 2: after Destroy the handle still gave its value, and a Release put
// the closed resource back.
func TestPuddleTrap02_UseAfterDestroy(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		l.Discard(nil)
		wantValuePanic(t, l)
		l.Release()
		h.wantDestroyed(it, resource.ErrDiscarded)
		h.wantLoad(resource.Load{})
		if next := h.lend(); next.Value() == it {
			t.Error("a destroyed item was lent")
		}
	})
}

// Trap 3: destroying twice killed the process, from a goroutine that no caller
// could guard.
func TestPuddleTrap03_DoubleDestroy(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		l.Discard(nil)
		l.Discard(errors.New("again"))
		h.settle()
		l.Discard(nil)
		h.wantLoad(resource.Load{})
		if n := h.p.Stats().Destroyed; n != 1 {
			t.Errorf("%d destroyed, want 1", n)
		}
	})
}

// Trap 4: releasing twice after Close panicked in the caller.
func TestPuddleTrap04_DoubleReleaseAfterClose(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		done := h.close(time.Hour)
		l.Release()
		l.Release()
		if err := <-done; err != nil {
			t.Errorf("Close: %v", err)
		}
		l.Release()
		l.Discard(nil)
	})
}

// Trap 5: the state of a handle was read without synchronisation, so that
// concurrent releases raced. The race detector watches this one.
func TestPuddleTrap05_ConcurrentDoubleRelease(t *testing.T) {
	p := newPlain(t, 2, nil)
	for range 500 {
		l := p.must(context.Background())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(l.Release)
			wg.Go(func() { caught(func() { l.Value() }); l.Info() })
		}
		wg.Wait()
	}
	if s := p.Stats(); s.Released != 500 || s.Idle != 1 {
		t.Errorf("%d released, %v; want 500 and 1 idle", s.Released, s.Load)
	}
}

// I2: a lease ends once. Ending it again does nothing to anyone.

// endings are the ways to end a lease.
var endings = []struct {
	name string
	end  func(l resource.Lease[*item])
}{
	{"Release", func(l resource.Lease[*item]) { l.Release() }},
	{"Fail(nil)", func(l resource.Lease[*item]) { l.Fail(nil) }},
	{"Fail(err)", func(l resource.Lease[*item]) { l.Fail(errors.New("stale failure")) }},
	{"Discard(nil)", func(l resource.Lease[*item]) { l.Discard(nil) }},
	{"Discard(err)", func(l resource.Lease[*item]) { l.Discard(errors.New("stale discard")) }},
	{"Hijack", func(l resource.Lease[*item]) { l.Hijack() }},
}

// misuse does everything to l that ends a lease or reads it. l has ended.
func misuse(t *testing.T, l resource.Lease[*item]) {
	t.Helper()
	for _, e := range endings {
		e.end(l)
	}
	if v, ok := l.Hijack(); ok || v != nil {
		t.Errorf("Hijack of an ended lease returned %v, %t", v, ok)
	}
	if got := l.Info(); got != (resource.Info{}) {
		t.Errorf("Info of an ended lease is %+v", got)
	}
	wantValuePanic(t, l)
}

// wantValuePanic checks that Value panics and says why.
func wantValuePanic(t *testing.T, l resource.Lease[*item]) {
	t.Helper()
	v := caught(func() { l.Value() })
	if v == nil {
		t.Error("Value of an ended lease did not panic")
	} else if s := fmt.Sprint(v); !strings.Contains(s, "resource") || !strings.Contains(s, "lease") {
		t.Errorf("Value panicked with %q, which does not speak of a lease", s)
	}
}

// However a lease ended, ending it again in any way, from a copy as well, does
// nothing to the next holder of the resource or its slot.
func TestI2_EndedLeaseDoesNothing(t *testing.T) {
	for _, first := range endings {
		t.Run(first.name, func(t *testing.T) {
			script(t, 1, nil, func(h *harness) {
				old := h.lend()
				it := old.Value()
				if first.name == "Hijack" {
					h.hijack(old)
				} else {
					first.end(old)
				}
				misuse(t, old) // the resource has no holder
				h.settle()

				next := h.lend()
				held := next.Value()
				before := h.p.Stats()
				misuse(t, old) // next has it, or its successor
				h.settle()
				if after := h.p.Stats(); after != before {
					t.Errorf("the misuse changed the Stats:\n%+v\n%+v", before, after)
				}
				if got := next.Value(); got != held {
					t.Errorf("the next holder has item %d, had %d", got.n, held.n)
				}
				if l, ok := h.p.TryAcquire(); ok {
					t.Errorf("item %d has a second holder", l.Value().n)
				}
				h.wantAlive(held)

				next.Release()
				h.wantAlive(held)
				if first.name == "Hijack" && held == it {
					t.Error("a hijacked item was lent again")
				}
				h.wantLoad(resource.Load{Idle: 1})
			})
		})
	}
}

// Neither does it after Close, whether the lease ended before or after it.
func TestI2_EndedLeaseAfterClose(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		before, after := h.lend(), h.lend()
		its := []*item{before.Value(), after.Value()}
		before.Release()
		done := h.close(time.Hour)
		misuse(t, before)
		if after.Value() != its[1] {
			t.Error("Close changed what a holder has")
		}
		after.Release()
		if err := <-done; err != nil {
			t.Fatalf("Close: %v", err)
		}
		misuse(t, before)
		misuse(t, after)
		h.wantDestroyed(its[0], resource.ErrClosed)
		h.wantDestroyed(its[1], resource.ErrClosed)
	})
}

// The zero Lease behaves as a lease that has ended.
func TestI2_ZeroLease(t *testing.T) {
	var l resource.Lease[*item]
	misuse(t, l)
}

// A lease of one pool does nothing to another.
func TestI2_OtherPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := start(t, 1, nil), start(t, 1, nil)
		la, lb := a.lend(), b.lend()
		la.Release()
		misuse(t, la)
		b.wantLoad(resource.Load{Leased: 1})
		a.wantLoad(resource.Load{Idle: 1})
		lb.Value()
	})
}

// Eight goroutines end the same lease at once, in all ways: one of them succeeds,
// and one slot is freed, not more.
func TestI2_ConcurrentEnds(t *testing.T) {
	p := newPlain(t, 1, nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for round := range 2000 {
		l := p.must(ctx)
		p.hold(l.Value())
		p.drop(l.Value())
		released := p.Stats().Released
		var hijacks atomic.Int32
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for g := range 8 {
			copied := l
			wg.Go(func() {
				<-begin
				switch (g + round) % 4 {
				case 0:
					copied.Release()
				case 1:
					copied.Discard(nil)
				case 2:
					copied.Fail(errors.New("broken"))
				case 3:
					if _, ok := copied.Hijack(); ok {
						hijacks.Add(1)
						p.live.Add(-1)
					}
				}
			})
		}
		close(begin)
		wg.Wait()
		if n := hijacks.Load(); n > 1 {
			t.Fatalf("round %d: hijacked %d times", round, n)
		}
		if got := p.Stats().Released - released; got != 1 {
			t.Fatalf("round %d: %d leases ended, want 1", round, got)
		}
	}
}

// Holders end their old leases again while others hold the resource: there never is
// a second holder.
func TestI2_StaleEndsUnderLoad(t *testing.T) {
	p := newPlain(t, 2, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	var served atomic.Int64
	for range 8 {
		wg.Go(func() {
			var old resource.Lease[*token]
			for ctx.Err() == nil {
				l, err := p.Acquire(ctx)
				if err != nil {
					return
				}
				served.Add(1)
				p.hold(l.Value())
				old.Release()
				old.Discard(nil)
				p.drop(l.Value())
				l.Release()
				old = l
			}
		})
	}
	wg.Wait()
	if served.Load() < 100 {
		t.Errorf("only %d leases", served.Load())
	}
	if n := p.destroyed.Load(); n != 0 {
		t.Errorf("%d were destroyed by leases that had ended", n)
	}
}

// Do lends, and ends the lease by what became of the function.

func TestDo_Endings(t *testing.T) {
	boom, fine := errors.New("boom"), errors.New("fine")
	edit := func(h *harness) { h.cfg.Broken = func(err error) bool { return !errors.Is(err, fine) } }
	script(t, 1, edit, func(h *harness) {
		it := h.stock(1)[0]
		for _, want := range []error{nil, fine, nil} {
			err := h.p.Do(context.Background(), func(ctx context.Context, got *item) error {
				if got != it {
					t.Errorf("item %d, want %d", got.n, it.n)
				}
				return want
			})
			if err != want {
				t.Errorf("Do returned %v, want %v", err, want)
			}
			h.wantAlive(it)
		}
		err := h.p.Do(context.Background(), func(context.Context, *item) error { return boom })
		if err != boom {
			t.Errorf("Do returned %v, want %v", err, boom)
		}
		h.wantDestroyed(it, boom)
	})
}

// Do's function gets the caller's context; and Do the acquire's failure.
func TestDo_Context(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		h.stock(1)
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), classKey{}, "mine"))
		err := h.p.Do(ctx, func(ctx context.Context, _ *item) error {
			if ctx.Value(classKey{}) != "mine" {
				t.Error("the function did not get the caller's context")
			}
			cancel()
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Do returned %v", err)
		}
		ran := false
		err = h.p.Do(ctx, func(context.Context, *item) error { ran = true; return nil })
		wantAcquireError(t, err, context.Canceled)
		if ran {
			t.Error("the function ran without a resource")
		}
	})
}

// A panic in Do's function continues to the caller, with its own value; the
// resource is destroyed, its slot free.
func TestI9_DoPanics(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		it := h.stock(1)[0]
		v := caught(func() {
			h.p.Do(context.Background(), func(context.Context, *item) error { panic("boom") })
		})
		if v != "boom" {
			t.Errorf("caught %v, want boom", v)
		}
		h.wantGone(it)
		h.wantLoad(resource.Load{})
		h.lend().Release()
	})
}

// So does Goexit, as t.FailNow in a test would call it.
func TestI9_DoGoexits(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		it := h.stock(1)[0]
		returned := false
		mayEnd(func() {
			h.p.Do(context.Background(), func(context.Context, *item) error { runtime.Goexit(); return nil })
			returned = true
		})
		if returned {
			t.Error("Do returned")
		}
		h.wantGone(it)
		h.wantLoad(resource.Load{})
		h.lend().Release()
	})
}

// It does not matter how the function has used the lease's slot in the meantime: Do
// within Do needs a second resource.
func TestDo_Nested(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		h.stock(2)
		err := h.p.Do(context.Background(), func(ctx context.Context, outer *item) error {
			return h.p.Do(ctx, func(ctx context.Context, inner *item) error {
				if inner == outer {
					t.Error("one item for both")
				}
				return nil
			})
		})
		if err != nil {
			t.Error(err)
		}
		h.wantLoad(resource.Load{Idle: 2})
	})
}

// A panic in Broken destroys the resource: it is unknown whether the resource is
// good.
func TestI9_BrokenPanics(t *testing.T) {
	edit := func(h *harness) { h.cfg.Broken = func(error) bool { panic("boom") } }
	script(t, 1, edit, func(h *harness) {
		it := h.stock(1)[0]
		h.lend().Fail(errors.New("failed"))
		h.wantGone(it)
		h.wantLoad(resource.Load{})
		if n := h.p.Stats().Panics; n != 1 {
			t.Errorf("%d panics, want 1", n)
		}
	})
}

// A panic in Evict keeps the resource; one in Check ends it.
func TestI9_EvictAndCheckPanic(t *testing.T) {
	evict := func(h *harness) { h.cfg.Eviction = evictFunc(func(resource.Info) error { panic("boom") }) }
	script(t, 1, evict, func(h *harness) {
		it := h.stock(1)[0]
		h.acquire().wantItem(it).Release()
		h.wantAlive(it)
	})
	boom := errors.New("boom")
	sick := false
	check := func(h *harness) {
		h.cfg.Health = checkFunc(func(context.Context, *item, resource.Info) error {
			if sick {
				sick = false
				panic(boom)
			}
			return nil
		})
	}
	script(t, 1, check, func(h *harness) {
		it := h.stock(1)[0]
		sick = true
		c := h.acquire()
		h.wantDestroyed(it, boom)
		h.wantMake().finish()
		c.wantLease()
	})
}

// Info of a lease has how long its resource was idle before, however it was
// acquired.
func TestLease_IdleBefore(t *testing.T) {
	try := func(h *harness) resource.Lease[*item] {
		l, ok := h.p.TryAcquire()
		if !ok {
			h.t.Fatal("nothing idle")
		}
		return l
	}
	for name, tc := range map[string]struct {
		edit    func(h *harness)
		acquire func(h *harness) resource.Lease[*item]
	}{
		"newest first": {acquire: (*harness).lend},
		"oldest first": {edit: func(h *harness) { h.cfg.Order = resource.OldestFirst }, acquire: (*harness).lend},
		"admission":    {edit: func(h *harness) { h.cfg.Admission = &ledger{} }, acquire: (*harness).lend},
		"sampled":      {edit: newLeaseLog().in(1), acquire: (*harness).lend},
		"queue":        {edit: func(h *harness) { h.cfg.Queue = &listQueue{} }, acquire: (*harness).lend},
		"try":          {acquire: try},
	} {
		edit := func(h *harness) {
			h.auto = func(m *makeCall) { m.finish() }
			if tc.edit != nil {
				tc.edit(h)
			}
		}
		script(t, 1, edit, func(h *harness) {
			h.lend().Release()
			for _, idle := range []time.Duration{0, 40 * time.Millisecond, time.Second, 50 * time.Hour, 40 * 24 * time.Hour} {
				// In use, the clock runs and the resource is in a local slot.
				h.lend().Release()
				time.Sleep(idle)
				l := tc.acquire(h)
				want := min(idle, 31*24*time.Hour)
				for range 2 {
					if i := l.Info(); !near(i.Idle, want) && !(idle > want && i.Idle >= want && i.Idle <= idle) {
						t.Errorf("%s: idle for %v, want %v", name, i.Idle, idle)
					}
					time.Sleep(time.Hour) // it does not change
				}
				l.Release()
			}
			waiting := h.lend()
			c := h.acquire()
			h.wantWaiting(c)
			time.Sleep(time.Hour)
			waiting.Release()
			l := c.wantLease()
			if i := l.Info(); i.Idle != 0 {
				t.Errorf("%s: idle for %v, and was handed over", name, i.Idle)
			}
			l.Release()
		})
	}
}

// A lease says for how long its resource was idle, also if it was taken from the local slot.
func TestInfo_IdleInSlot(t *testing.T) {
	for name, acquire := range map[string]func(h *harness) resource.Lease[*item]{
		"Acquire": func(h *harness) resource.Lease[*item] { return h.lend() },
		"TryAcquire": func(h *harness) resource.Lease[*item] {
			l, ok := h.p.TryAcquire()
			if !ok {
				h.t.Fatal("TryAcquire found nothing")
			}
			return l
		},
	} {
		t.Run(name, func(t *testing.T) {
			script(t, 1, nil, func(h *harness) {
				l := h.lend()
				for range 3 {
					time.Sleep(80 * ms) // in the bubble of script
					l.Release()
					time.Sleep(90 * ms) // a lease ends or begins in each tick, so the resource keeps its slot
					l = acquire(h)
					if d := l.Info().Idle; d != 100*ms {
						t.Errorf("idle for %v, want the one tick in between", d)
					}
				}
				l.Release()
			})
		})
	}
}

// A Keyed reclaims the lease of a resource of whatever key, and says so if there is none.
func TestReclaim_Keyed(t *testing.T) {
	keyed(t, 4, 2, nil, func(h *keyedHarness) {
		h.acquire("a").Release()
		leaked := h.acquire("b")
		time.Sleep(2 * time.Second) // in the bubble of keyed
		row := h.pool("b").Inspect(1).Resources[0]
		for _, wrong := range [][2]uint64{{row.ID + 1, row.Lease}, {row.ID, row.Lease + 1}} {
			if h.k.Reclaim(wrong[0], wrong[1]) {
				t.Errorf("lease %v was reclaimed", wrong)
			}
		}
		if !h.k.Reclaim(row.ID, row.Lease) {
			t.Errorf("not reclaimed: %+v", row)
		}
		synctest.Wait()
		if got := h.destroyed(resource.ErrReclaimed); len(got) != 1 {
			t.Errorf("items %v were reclaimed, want one", got)
		}
		leaked.Release()
	})
}

// A resource from the idle list is not reclaimed while its acquire has it checked.
func TestReclaim_WhileChecked(t *testing.T) {
	w := newScriptedHealth()
	edit := func(h *harness) {
		w.in(time.Hour)(h)
		h.cfg.Order = resource.OldestFirst
	}
	script(t, 1, edit, func(h *harness) {
		h.stock(1)
		w.delay(3 * time.Second)
		c := h.acquire()
		time.Sleep(2 * time.Second) // in the bubble of script
		row := h.p.Inspect(1).Resources[0]
		if h.p.Reclaim(row.ID, row.Lease) {
			t.Errorf("reclaimed %+v", row)
		}
		time.Sleep(time.Second) // in the bubble of script
		l := c.wantLease()
		if row.State != resource.Leased || row.Lease != 2 {
			t.Errorf("%+v, want the second lease", row)
		}
		if !h.p.Reclaim(row.ID, row.Lease) {
			t.Error("not reclaimed when the acquire had returned")
		}
		l.Release()
	})
}

// A lease of AcquireAllIdle is reclaimed like any other.
func TestReclaim_AllIdle(t *testing.T) {
	for name, edit := range map[string]func(h *harness){
		"plain":     nil,
		"Admission": func(h *harness) { h.cfg.Admission = &ledger{} },
	} {
		t.Run(name, func(t *testing.T) {
			script(t, 1, edit, func(h *harness) {
				h.answer(func(m *makeCall) { m.finish() })
				if err := h.p.MakeOne(h.t.Context()); err != nil {
					t.Fatal(err)
				}
				leaked := h.p.AcquireAllIdle()[0]
				time.Sleep(2 * time.Second) // in the bubble of script
				row := h.p.Inspect(1).Resources[0]
				if row.Lease != 1 || !h.p.Reclaim(row.ID, row.Lease) {
					t.Errorf("not reclaimed: %+v", row)
				}
				leaked.Release()
			})
		})
	}
}

// A lease that was leaked is found with Inspect and reclaimed: its slot and permit
// are free, the resource is destroyed, and later calls of its holder have no
// effect.
func TestReclaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var destroyed []error
		permits := 0
		p := newPool(t, resource.Config[int]{
			MaxSize: 1,
			Make:    makeOne,
			Destroy: func(_ int, cause error) { destroyed = append(destroyed, cause) },
			Admission: admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
				permits++
				return func(resource.Outcome) { permits-- }, nil
			}),
		})
		leaked, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if row := p.Inspect(1).Resources[0]; p.Reclaim(row.ID, row.Lease) {
			t.Error("a lease was reclaimed that has just begun")
		}
		time.Sleep(2 * time.Second)
		row := p.Inspect(1).Resources[0]
		for _, wrong := range [][2]uint64{{row.ID + 1, row.Lease}, {row.ID, row.Lease + 1}, {row.ID, 0}} {
			if p.Reclaim(wrong[0], wrong[1]) {
				t.Errorf("lease %v was reclaimed", wrong)
			}
		}
		if !p.Reclaim(row.ID, row.Lease) {
			t.Fatalf("not reclaimed: %+v", row)
		}
		synctest.Wait()
		if len(destroyed) != 1 || destroyed[0] != resource.ErrReclaimed || permits != 0 {
			t.Errorf("destroyed with %v, %d permits are out", destroyed, permits)
		}
		if p.Reclaim(row.ID, row.Lease) {
			t.Error("reclaimed twice")
		}
		next, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leaked.Release()
		if row := p.Inspect(1).Resources[0]; row.State != resource.Leased || row.Lease != 1 {
			t.Errorf("the end of the reclaimed lease touched the next: %+v", row)
		}
		next.Release()
		if row := p.Inspect(1).Resources[0]; row.Lease != 0 {
			t.Errorf("idle, but its lease is %d", row.Lease)
		}
		closeAll(t, p)
	})
}

// A lease that its acquire still has checked is not reclaimed, however long the
// check takes: else its caller would be given a lease that has ended.
func TestReclaim_InCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		permits := 0
		slow := false
		p := newPool(t, resource.Config[int]{
			MaxSize: 1,
			Make:    makeOne,
			Health: checkOf[int](func(context.Context, int, resource.Info) error {
				if slow {
					time.Sleep(time.Minute)
				}
				return nil
			}),
			Admission: admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
				permits++
				return func(resource.Outcome) { permits-- }, nil
			}),
		})
		l := lendOne(t, p)
		l.Release()
		slow = true
		go func() {
			time.Sleep(30 * time.Second)
			for _, row := range p.Inspect(1).Resources {
				if p.Reclaim(row.ID, row.Lease) {
					t.Errorf("reclaimed %+v", row)
				}
			}
		}()
		l = lendOne(t, p)
		_ = l.Value()
		l.Release()
		if permits != 0 {
			t.Errorf("%d permits are out", permits)
		}
		closeAll(t, p)
	})
}
