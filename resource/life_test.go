package resource_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/internal/claim"
	"github.com/respool/respool/resource"
)

// I3: every value that Make returned is destroyed or hijacked, once. The
// harness checks it at the end of every script.

// A make that ends after Close is destroyed, not lent; Close waits for it.
func TestI3_MakeAfterClose(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		m.hang()
		done := h.close(time.Minute)
		c.wantErr(resource.ErrClosed)
		it := m.finish()
		h.wantDestroyed(it, resource.ErrClosed)
		if err := <-done; err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// A make that returns after it was abandoned is destroyed.
func TestI3_AbandonedMake(t *testing.T) {
	limit := func(h *harness) { h.cfg.MakeTimeout = time.Second }
	script(t, 1, limit, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		m.hang()
		time.Sleep(1100 * time.Millisecond)
		h.settle()
		if n := h.p.Stats().Abandoned; n != 1 {
			t.Fatalf("%d abandoned, want 1: %v", n, h.p.Stats().Load)
		}
		it := m.finish()
		h.wantDestroyed(it, resource.ErrMakeTimeout)
		if n := h.p.Stats().Abandoned; n != 0 {
			t.Errorf("%d abandoned, want 0", n)
		}
		c.cancel()
	})
}

// A hijacked value is the caller's own: neither Close nor invalidate destroys it,
// and its slot is free.
func TestI3_Hijack(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		want := l.Value()
		it, ok := h.hijack(l)
		if !ok || it != want {
			t.Fatalf("Hijack returned %v, %t", it, ok)
		}
		h.wantLoad(resource.Load{})
		it.invalidate(errors.New("too late"))
		next := h.lend()
		if next.Value() == it {
			t.Error("a hijacked item was lent again")
		}
		next.Release()
		h.settle()
		if s := h.p.Stats(); s.Hijacked != 1 || s.Made != 2 {
			t.Errorf("%d hijacked of %d made, want 1 of 2", s.Hijacked, s.Made)
		}
		if err := <-h.close(time.Minute); err != nil {
			t.Errorf("Close: %v", err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.causes[it]; ok {
			t.Error("a hijacked item was destroyed")
		}
	})
}

// Hijack waits for no Close: a holder may take its resource out of a pool
// that is closing, which then has nothing more to wait for.
func TestI3_HijackWhileClosing(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		done := h.close(time.Hour)
		if _, ok := h.hijack(l); !ok {
			t.Fatal("Hijack failed")
		}
		if err := <-done; err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// invalidate from many sides, while the lease ends and the pool is reset and
// closed: one Destroy.
func TestI3_InvalidateRaces(t *testing.T) {
	for range 300 {
		p := newPlain(t, 1, nil)
		l := p.must(context.Background())
		invalidate := *l.Value().invalidate.Load()
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for _, f := range []func(){
			func() { invalidate(nil) },
			func() { invalidate(errors.New("dead")) },
			func() { l.Discard(nil) },
			func() { p.Reset(nil) },
			l.Release,
			p.end,
		} {
			wg.Go(func() { <-begin; f() })
		}
		close(begin)
		wg.Wait()
		invalidate(nil)
		if n := p.destroyed.Load(); n != 1 {
			t.Fatalf("destroyed %d times", n)
		}
	}
}

// invalidate after the end of its resource does nothing, least of all to the
// resource that came after it.
func TestI3_LateInvalidate(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		old := l.Value()
		l.Discard(nil)
		h.wantDestroyed(old, resource.ErrDiscarded)
		next := h.lend()
		it := next.Value()
		old.invalidate(errors.New("late"))
		next.Release()
		h.wantAlive(it)
		if n := h.p.Stats().Invalidated; n != 0 {
			t.Errorf("%d invalidated, want 0", n)
		}
	})
}

// The zero T and a nil interface are values like any other: made once, lent
// again and again, destroyed once.
func TestI3_ZeroValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zeroValue[any](t)
		zeroValue[*item](t)
		zeroValue[int](t)
		zeroValue[struct{}](t)
		zeroValue[func()](t)
		zeroValue[[]byte](t)
	})
}

func zeroValue[T any](t *testing.T) {
	t.Helper()
	made, destroyed := 0, 0
	p := newPool(t, resource.Config[T]{
		Make:    func(context.Context) (v T, err error) { made++; return },
		Destroy: func(T, error) { destroyed++ },
		MaxSize: 1,
	})
	ctx := context.Background()
	for range 3 {
		if err := p.Do(ctx, func(context.Context, T) error { return nil }); err != nil {
			t.Errorf("%T: %v", *new(T), err)
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
	if made != 1 || destroyed != 1 {
		t.Errorf("%T: made %d, destroyed %d, want 1 and 1", *new(T), made, destroyed)
	}
}

// A make's error drops its value: Destroy does not see it.
func TestI3_FailedMakeIsNotDestroyed(t *testing.T) {
	cause := errors.New("half made")
	p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
		cfg.Make = func(context.Context) (*token, error) { return &token{}, cause }
	})
	if _, err := p.Acquire(context.Background()); !errors.Is(err, cause) {
		t.Errorf("Acquire: %v", err)
	}
	if n := p.destroyed.Load(); n != 0 {
		t.Errorf("%d destroyed, want 0", n)
	}
}

// Without a Destroy there is nothing to free, and everything else holds.
func TestI3_NilDestroy(t *testing.T) {
	noDestroy := func(h *harness) { h.cfg.Destroy = nil }
	script(t, 1, noDestroy, func(h *harness) {
		forget := func() { // the harness sees no end
			h.mu.Lock()
			defer h.mu.Unlock()
			clear(h.living)
		}
		h.lend().Discard(nil)
		h.wantLoad(resource.Load{})
		forget()
		h.lend().Release()
		h.wantLoad(resource.Load{Idle: 1})
		forget()
		if s := h.p.Stats(); s.Made != 2 || s.Destroyed != 1 {
			t.Errorf("made %d, destroyed %d, want 2 and 1", s.Made, s.Destroyed)
		}
	})
}

// Watch is called once for each, before it is lent.
func TestWatch_BeforeLending(t *testing.T) {
	watched := map[*item]int{}
	edit := func(h *harness) { h.onWatch = func(it *item) { watched[it]++ } }
	script(t, 2, edit, func(h *harness) {
		for range 2 {
			l := h.lend()
			if watched[l.Value()] != 1 {
				t.Errorf("item %d was watched %d times before it was lent", l.Value().n, watched[l.Value()])
			}
		}
	})
}

// invalidate of an idle one ends it at once; it is not lent again.
func TestWatch_InvalidateIdle(t *testing.T) {
	died := errors.New("died")
	script(t, 2, nil, func(h *harness) {
		its := h.stock(2)
		its[1].invalidate(died)
		h.wantDestroyed(its[1], died)
		h.acquire().wantItem(its[0])
		if n := h.p.Stats().Invalidated; n != 1 {
			t.Errorf("%d invalidated, want 1", n)
		}
	})
}

// invalidate of a leased resource waits for its holder, which is not disturbed; no
// other caller gets it, not even one that waits already.
func TestWatch_InvalidateLeased(t *testing.T) {
	died := errors.New("died")
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		c := h.acquire()
		it.invalidate(died)
		h.wantAlive(it)
		if l.Value() != it {
			t.Error("the holder lost it")
		}
		l.Release()
		h.wantDestroyed(it, died)
		next := h.wantMakeWithin(time.Second).finish()
		c.wantItem(next)
	})
}

// Any number of calls, with and without a cause: the first one counts.
func TestWatch_InvalidateAgain(t *testing.T) {
	first := errors.New("first")
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		it.invalidate(first)
		it.invalidate(errors.New("second"))
		it.invalidate(nil)
		l.Release()
		h.wantDestroyed(it, first)
		it.invalidate(errors.New("late"))
		if n := h.p.Stats().Invalidated; n != 1 {
			t.Errorf("%d invalidated, want 1", n)
		}
	})
}

// The first cause stays: a Reset after the invalidate does not change it.
func TestWatch_InvalidateThenReset(t *testing.T) {
	first := errors.New("first")
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		it.invalidate(first)
		h.p.Reset(errors.New("second"))
		l.Release()
		h.wantDestroyed(it, first)
	})
}

// Without a cause it is ErrInvalidated.
func TestWatch_InvalidateNil(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		it := h.stock(1)[0]
		it.invalidate(nil)
		h.wantDestroyed(it, resource.ErrInvalidated)
	})
}

// invalidate from within Watch: it is never lent, and the waiter gets another.
func TestWatch_InvalidateAtBirth(t *testing.T) {
	died := errors.New("stillborn")
	edit := func(h *harness) {
		h.onWatch = func(it *item) {
			if it.n == 1 {
				it.invalidate(died)
			}
		}
	}
	script(t, 1, edit, func(h *harness) {
		c := h.acquire()
		first := h.wantMake().finish()
		h.wantDestroyed(first, died)
		it := h.wantMakeWithin(time.Second).finish()
		c.wantItem(it)
	})
}

// invalidate of a hijacked one does nothing: it is not the pool's.
func TestWatch_InvalidateHijacked(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		it, _ := h.hijack(h.lend())
		it.invalidate(nil)
		h.wantLoad(resource.Load{})
		if n := h.p.Stats().Invalidated; n != 0 {
			t.Errorf("%d invalidated, want 0", n)
		}
	})
}

// The causes that the holder gives.
func TestCauses(t *testing.T) {
	why := errors.New("why")
	for name, test := range map[string]struct {
		end  func(l resource.Lease[*item])
		want error
	}{
		"discard":     {func(l resource.Lease[*item]) { l.Discard(why) }, why},
		"discard nil": {func(l resource.Lease[*item]) { l.Discard(nil) }, resource.ErrDiscarded},
		"fail":        {func(l resource.Lease[*item]) { l.Fail(why) }, why},
	} {
		t.Run(name, func(t *testing.T) {
			var event resource.DestroyEvent
			edit := func(h *harness) {
				slowDestroy(h)
				h.cfg.Trace = &resource.Trace{Destroyed: func(e resource.DestroyEvent) { event = e }}
			}
			script(t, 1, edit, func(h *harness) {
				l := h.lend()
				it := l.Value()
				test.end(l)
				time.Sleep(time.Second)
				h.wantDestroyed(it, test.want)
				if !errors.Is(event.Cause, test.want) || event.Took != time.Second || event.Info.ID != 1 {
					t.Errorf("the event is %+v", event)
				}
			})
		})
	}
}

// wearNoted is an Eviction that records the lease counts.
type wearNoted struct{ leases []int64 }

func (n *wearNoted) Evict(i resource.Info) error {
	n.leases = append(n.leases, i.Leases)
	return nil
}

// A resource whose lease numbers are nearly used up is replaced: the numbers
// never begin anew, wherever it lies between its leases.
func TestLeaseNumbersUsedUp(t *testing.T) {
	for name, tc := range map[string]struct {
		order resource.Order
		noted *wearNoted
		pause time.Duration // after each lease
		most  int           // leases until the resource is replaced
	}{
		"on the idle list":                {order: resource.OldestFirst, most: 2},
		"on the idle list, with Eviction": {order: resource.OldestFirst, noted: new(wearNoted), most: 2},
		"in a local slot":                 {pause: time.Millisecond, most: 2100},
		"in a local slot, with Eviction":  {pause: time.Millisecond, noted: new(wearNoted), most: 2100},
		"in a local slot, now and then":   {pause: 300 * time.Millisecond, most: 4},
		"in a local slot, but much held":  {pause: 0, most: 2100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var causes []error
				made := 0
				cfg := resource.Config[int]{
					MaxSize: 1, Order: tc.order,
					Make:    func(context.Context) (int, error) { made++; return made, nil },
					Destroy: func(_ int, cause error) { causes = append(causes, cause) },
				}
				if tc.noted != nil {
					cfg.Eviction = tc.noted
				}
				p := newPool(t, cfg)
				lease := func() int {
					l := lendOne(t, p)
					if l.Info().Leases < 1 {
						t.Fatalf("lease number %d", l.Info().Leases)
					}
					if tc.pause == 0 {
						time.Sleep(time.Millisecond)
					}
					v := l.Value()
					l.Release()
					time.Sleep(tc.pause)
					return v
				}
				for range 3 {
					lease()
				}
				before := 0
				if tc.noted != nil {
					before = len(tc.noted.leases)
				}
				p.Wear(claim.MaxLeases - 1)
				n := 1
				for lease() == 1 {
					if n++; n > tc.most {
						t.Fatalf("not replaced after %d leases", n)
					}
					if s := p.Stats(); s.Acquired != int64(3+n-1) || s.Released != s.Acquired {
						t.Fatalf("after %d leases: %v", 3+n-1, s)
					}
				}
				synctest.Wait()
				if len(causes) != 1 || !errors.Is(causes[0], resource.ErrWornOut) || made != 2 {
					t.Fatalf("%d made; ended for %v", made, causes)
				}
				if tc.noted != nil {
					old := tc.noted.leases[before:]
					for len(old) > 0 && old[len(old)-1] < 3 { // of its successor
						old = old[:len(old)-1]
					}
					for i, n := range old {
						if n < claim.MaxLeases-1 || i > 0 && n < old[i-1] {
							t.Fatalf("the Eviction got %d leases", n)
						}
					}
				}
				closeAll(t, p)
				if s := p.Stats(); s.Acquired != int64(3+n) || s.Released != s.Acquired || s.Made != s.Destroyed {
					t.Fatal(s)
				}
			})
		})
	}
}

// MinIdle is refilled when an idle resource is invalidated, and not only when its Destroy has returned. One
// that did not live long is no outage.
func TestInvalidate_RefillsAtOnce(t *testing.T) {
	var outages atomic.Int64
	edit := func(h *harness) {
		h.cfg.MinIdle = 1
		h.cfg.Trace = &resource.Trace{Outage: func(error) { outages.Add(1) }}
		slowDestroy(h)
	}
	script(t, 2, edit, func(h *harness) {
		it := h.wantMake().finish()
		h.settle()
		it.invalidate(errSick)
		h.wantMake().finish()
		h.wantLoad(resource.Load{Idle: 1, Destroying: 1})
		if n := outages.Load(); n != 0 || h.p.Stats().Outage {
			t.Errorf("an outage was reported %d times", n)
		}
	})
}

// The pool forgets what was hijacked.
func TestHijack_Forgotten(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		ls, its := h.lendN(2)
		if total := ls[1].Info().Total; total != 2 {
			t.Errorf("Total is %d, want 2", total)
		}
		h.hijack(ls[0])
		if rows := h.p.Inspect(10).Resources; len(rows) != 1 || rows[0].ID != ls[1].Info().ID {
			t.Errorf("%+v, want only the other resource", rows)
		}
		if total := ls[1].Info().Total; total != 1 {
			t.Errorf("Total is %d, want 1", total)
		}
		its[0].invalidate(errSick)
		if n := h.p.Stats().Invalidated; n != 0 {
			t.Errorf("%d invalidated, want none", n)
		}
	})
}

// The invalidate of a value that never came into the pool, since Watch has panicked, does nothing.
func TestInvalidate_AfterWatchPanicked(t *testing.T) {
	edit := func(h *harness) {
		h.onWatch = func(it *item) {
			if it.n == 1 {
				panic("no watch")
			}
		}
	}
	script(t, 1, edit, func(h *harness) {
		c := h.acquire()
		dead := h.wantMake().finish()
		c.wantFailed()
		h.wantGone(dead)
		h.lend().Release()
		for range 10 {
			dead.invalidate(errSick)
		}
		if s := h.p.Stats(); s.LastMake != nil || s.Outage || s.Invalidated != 0 {
			t.Errorf("%v, want no failure since the last creation", s)
		}
	})
}
