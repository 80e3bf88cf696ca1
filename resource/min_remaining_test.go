package resource_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// MinRemaining: a resource that the Eviction will not keep that long is left for
// other callers, which still get it.
func TestMinRemaining_SkipsTheOld(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Eviction = olderThan(time.Hour)
		h.cfg.SweepInterval = 24 * time.Hour
	}
	script(t, 2, edit, func(h *harness) {
		old := h.stock(1)[0]
		time.Sleep(55 * time.Minute)
		long := h.acquireWith(resource.Request{MinRemaining: 10 * time.Minute})
		it := h.wantMake().finish()
		l := long.wantItem(it)
		h.wantAlive(old)
		h.acquireWith(resource.Request{MinRemaining: time.Minute}).wantItem(old)
		l.Release()
	})
}

// A resource with enough time left is taken, though it is not the first in order.
func TestMinRemaining_TakesTheYoung(t *testing.T) {
	for _, order := range []resource.Order{resource.NewestFirst, resource.OldestFirst} {
		t.Run(fmt.Sprint("order=", order), func(t *testing.T) {
			edit := func(h *harness) {
				h.cfg.Order = order
				h.cfg.Eviction = olderThan(time.Hour)
				h.cfg.SweepInterval = 24 * time.Hour
			}
			script(t, 2, edit, func(h *harness) {
				old := h.stock(1)[0]
				time.Sleep(55 * time.Minute)
				young := h.lendFresh()
				r := resource.Request{MinRemaining: 10 * time.Minute}
				l := h.acquireWith(r).wantItem(young)
				l.Release()
				h.acquireWith(r).wantItem(young)
				h.wantAlive(old)
				h.wantNoMake()
			})
		})
	}
}

// In a full pool the oldest idle one makes room.
func TestMinRemaining_MakesRoom(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Eviction = olderThan(time.Hour)
		h.cfg.SweepInterval = 24 * time.Hour
	}
	script(t, 2, edit, func(h *harness) {
		oldest := h.stock(1)[0]
		time.Sleep(time.Minute)
		second := h.lendFresh()
		time.Sleep(55 * time.Minute)
		c := h.acquireWith(resource.Request{MinRemaining: 10 * time.Minute})
		h.wantDestroyed(oldest, resource.ErrNearEnd)
		h.wantAlive(second)
		it := h.wantMakeWithin(time.Second).finish()
		c.wantItem(it)
	})
}

// A waiter is not handed a resource that is too near its end; the next waiter is.
func TestMinRemaining_AtHandOff(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Eviction = olderThan(time.Hour)
		h.cfg.SweepInterval = 24 * time.Hour
	}
	script(t, 2, edit, func(h *harness) {
		ls, its := h.lendN(2)
		time.Sleep(55 * time.Minute)
		long := h.acquireWith(resource.Request{MinRemaining: 10 * time.Minute})
		short := h.acquire()
		h.wantWaiting(long, short)
		ls[0].Release()
		short.wantItem(its[0])
		h.wantWaiting(long)
		ls[1].Discard(nil)
		it := h.wantMakeWithin(time.Second).finish()
		long.wantItem(it)
	})
}

// In a full pool a released resource that is too near its end makes room, if no
// other caller wants it.
func TestMinRemaining_ReleaseMakesRoom(t *testing.T) {
	for name, queue := range map[string]resource.Queue{"no queue": nil, "queue": &listQueue{}} {
		t.Run(name, func(t *testing.T) {
			edit := func(h *harness) {
				hourly(h)
				h.cfg.Queue = queue
			}
			script(t, 1, edit, func(h *harness) {
				l := h.lend()
				old := l.Value()
				time.Sleep(55 * time.Minute)
				c := h.acquireWith(tenMinutes)
				h.wantWaiting(c)
				l.Release()
				h.wantDestroyed(old, resource.ErrNearEnd)
				it := h.wantMakeWithin(time.Second).finish()
				c.wantItem(it)
			})
		})
	}
}

// Two callers with a MinRemaining and one without: each gets a resource that fits.
func TestMinRemaining_Mixed(t *testing.T) {
	script(t, 2, hourly, func(h *harness) {
		ls, its := h.lendN(2)
		time.Sleep(55 * time.Minute)
		long1, long2, short := h.acquireWith(tenMinutes), h.acquireWith(tenMinutes), h.acquire()
		ls[0].Release()
		short.wantItem(its[0])
		ls[1].Release()
		h.wantDestroyed(its[1], resource.ErrNearEnd)
		h.wantMakeWithin(time.Second).finish()
		l := long1.wantLease()
		h.wantWaiting(long2)
		l.Release()
		long2.wantLease()
	})
}

// Without an Eviction nothing is too old, and MinRemaining has no effect.
func TestMinRemaining_NoEviction(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		it := h.stock(1)[0]
		time.Sleep(time.Hour)
		h.acquireWith(tenMinutes).wantItem(it)
	})
}

// A caller that not even a new resource can satisfy fails, and does not make and
// destroy for ever.
func TestMinRemaining_Impossible(t *testing.T) {
	edit := func(h *harness) {
		hourly(h)
		h.auto = func(m *makeCall) { m.finish() }
	}
	script(t, 2, edit, func(h *harness) {
		c := h.acquireCtx(context.Background(), resource.Request{MinRemaining: 2 * time.Hour})
		c.wantFailedWithin(time.Minute)
		if n := h.begun(); n > 5 {
			t.Errorf("%d makes for a wish that can not be met", n)
		}
	})
}

// NoWait fails where one would have to be made for it.
func TestMinRemaining_NoWait(t *testing.T) {
	script(t, 2, hourly, func(h *harness) {
		it := h.stock(1)[0]
		time.Sleep(55 * time.Minute)
		r := tenMinutes
		r.NoWait = true
		h.acquireWith(r).wantErr(resource.ErrNoneIdle)
		h.wantAlive(it)
		h.acquireWith(resource.Request{NoWait: true}).wantItem(it)
	})
}

// Callers with a MinRemaining beside those without. Each of these once failed.

// A caller that came while Evict ran for a NoWait caller waited for its deadline:
// the demand for a make was lost.
func TestMinRemaining_ComesDuringEvict(t *testing.T) {
	var first atomic.Bool
	var goOn chan struct{}
	edit := func(h *harness) {
		goOn = make(chan struct{})
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.Eviction = evictFunc(func(i resource.Info) error {
			if i.Age <= time.Hour {
				return nil
			}
			if first.CompareAndSwap(false, true) {
				<-goOn
			}
			return errOld
		})
	}
	script(t, 2, edit, func(h *harness) {
		h.stock(1)
		time.Sleep(30*time.Minute + time.Second)
		c1 := h.acquireWith(resource.Request{MinRemaining: 45 * time.Minute, NoWait: true})
		h.wantWaiting(c1)
		c2 := h.acquireRemaining(45*time.Minute, time.Minute)
		h.wantWaiting(c2)
		close(goOn)
		c1.wantErr(resource.ErrNoneIdle)
		c2.wantSoon(time.Second)
	})
}

// A caller that came while the sweep had a resource reserved waited until the sweep
// was over.
func TestMinRemaining_ComesDuringSweep(t *testing.T) {
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.Eviction = olderThan(time.Hour)
		h.cfg.SweepInterval = 10 * time.Minute
		h.cfg.Health = checkFunc(func(_ context.Context, _ *item, i resource.Info) error {
			if i.Idle > time.Second {
				time.Sleep(time.Second)
			}
			return nil
		})
	}
	script(t, 40, edit, func(h *harness) {
		h.wantDone(h.warm(context.Background(), 20), nil)
		time.Sleep(10*time.Minute + 500*time.Millisecond) // the first is being checked
		h.acquireRemaining(59*time.Minute, 5*time.Minute).wantSoon(2 * time.Second)
	})
}

// While makes failed, everything idle was destroyed to make room for waiters that
// could not use it, though nothing replaced it. Now one is, at most; and in an
// outage none.
func TestMinRemaining_FailingMakesDestroyLittle(t *testing.T) {
	script(t, 4, hourly, func(h *harness) {
		ls, _ := h.lendN(4)
		for _, l := range ls[1:] {
			l.Release()
		}
		h.answer(func(m *makeCall) { m.fail(errDown) })
		time.Sleep(30 * time.Minute)
		come := func() {
			for range 6 {
				h.acquireRemaining(45*time.Minute, time.Minute)
				time.Sleep(20 * time.Millisecond)
			}
			time.Sleep(time.Second)
			h.settle()
		}
		come()
		before := h.p.Stats()
		if before.Destroyed > 1 || !before.Outage {
			t.Errorf("%d destroyed, outage %t; want at most 1, in what is an outage by now", before.Destroyed, before.Outage)
		}
		come()
		if after := h.p.Stats(); after.Destroyed != before.Destroyed {
			t.Errorf("%d more destroyed in an outage", after.Destroyed-before.Destroyed)
		}
		ls[0].Release()
		h.acquire().wantLease() // what is idle still serves others
	})
}

// The longest MinRemaining overflowed, and anything satisfied it.
func TestMinRemaining_Longest(t *testing.T) {
	script(t, 1, hourly, func(h *harness) {
		h.stock(1)
		time.Sleep(time.Minute)
		h.acquireWith(resource.Request{MinRemaining: math.MaxInt64, NoWait: true}).wantErr(resource.ErrNoneIdle)
	})
}

// A caller was refused or had to wait, with something idle that it could use,
// because the waiter in front could not use it.
func TestMinRemaining_WaiterInFrontKeepsNothing(t *testing.T) {
	for name, r := range map[string]resource.Request{"waits": {}, "does not wait": {NoWait: true}} {
		t.Run(name, func(t *testing.T) {
			edit := func(h *harness) {
				hourly(h)
				h.cfg.MakeTimeout = time.Second
			}
			script(t, 2, edit, func(h *harness) {
				it := h.stock(1)[0]
				h.answer(func(m *makeCall) { time.Sleep(100 * time.Millisecond); m.fail(errDown) })
				time.Sleep(30 * time.Minute)
				for range 10 {
					h.acquireRemaining(45*time.Minute, time.Minute).wantFailedWithin(time.Minute)
				}
				if !h.p.Stats().Outage {
					t.Fatal("no outage after ten failures")
				}
				time.Sleep(20 * time.Second)
				front := h.acquireRemaining(45*time.Minute, time.Minute) // tries a make
				h.wantWaiting(front)
				h.acquireWith(r).wantItem(it)
			})
		})
	}
}

// In a pool that is always busy, a caller that could use no released resource was
// passed over until the existing ones had reached their age.
func TestMinRemaining_NotPassedOverForEver(t *testing.T) {
	edit := func(h *harness) {
		hourly(h)
		h.auto = func(m *makeCall) { m.finishAfter(10 * time.Millisecond) }
	}
	script(t, 2, edit, func(h *harness) {
		warmed := h.warm(context.Background(), 2)
		time.Sleep(time.Minute)
		h.wantDone(warmed, nil)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for ctx.Err() == nil {
					l, err := h.p.Acquire(ctx)
					if err == nil {
						time.Sleep(10 * time.Millisecond)
						l.Release()
					} else if !errors.Is(err, context.Canceled) {
						h.t.Error(err)
					}
				}
			})
		}
		time.Sleep(time.Second)
		c := h.acquireRemaining(59*time.Minute+30*time.Second, time.Minute)
		c.wantSoon(50 * time.Second).Release()
		cancel()
		wg.Wait()
	})
}

// A MinRemaining below zero has no effect, and does not make the caller a Fresh one
// that a used resource serves.
func TestMinRemaining_Negative(t *testing.T) {
	for name, min := range map[string]time.Duration{"negative": -1, "least": math.MinInt64} {
		t.Run(name, func(t *testing.T) {
			script(t, 2, func(h *harness) { h.cfg.Eviction = olderThan(time.Hour) }, func(h *harness) {
				ls, _ := h.lendN(2)
				ls[0].Release()
				fresh := h.acquireWith(resource.Request{Fresh: true, MinRemaining: min})
				h.wantWaiting(fresh)
				made := h.wantMake() // in the stead of the idle one
				other := h.acquireWith(resource.Request{MinRemaining: min})
				ls[1].Release()
				other.wantLease().Release()
				made.finish()
				if l := fresh.wantLease(); l.Info().Leases != 1 {
					t.Errorf("a Fresh caller got what had %d leases", l.Info().Leases)
				}
			})
		})
	}
}
