package resource_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// inEveryLine runs f in pools of at most max, with a Queue and without, and by
// either Order.
func inEveryLine(t *testing.T, max int, edit, f func(h *harness)) {
	t.Helper()
	for name, set := range map[string]func(h *harness){
		"plain":        func(h *harness) {},
		"oldest first": func(h *harness) { h.cfg.Order = resource.OldestFirst },
		"queue":        func(h *harness) { h.cfg.Queue = &listQueue{} },
		"keep waiting": func(h *harness) { h.cfg.Outage = resource.KeepWaiting },
		"policies": func(h *harness) {
			h.cfg.Health = checkFunc(func(context.Context, *item, resource.Info) error { return nil })
			h.cfg.Eviction = olderThan(time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			script(t, max, func(h *harness) {
				set(h)
				if edit != nil {
					edit(h)
				}
			}, f)
		})
	}
}

// A resource that was made ahead and never lent is lent at once; a used one, on top
// of the idle list, is left to other callers.
func TestFresh_IdleUnused(t *testing.T) {
	inEveryLine(t, 3, nil, func(h *harness) {
		l := h.lend()
		done := h.warm(context.Background(), 2)
		ahead := h.wantMake().finish()
		h.wantDone(done, nil)
		used := l.Value()
		l.Release()
		h.acquireWith(fresh).wantItem(ahead)
		h.acquire().wantItem(used)
		h.wantNoMake()
	})
}

// Where there is room a resource is made, and callers without constraints are
// served from the idle list meanwhile.
func TestFresh_Room(t *testing.T) {
	inEveryLine(t, 2, nil, func(h *harness) {
		used := h.stock(1)[0]
		c := h.acquireWith(fresh)
		m := h.wantMake()
		h.wantWaiting(c)
		l := h.acquire().wantItem(used)
		l.Release()
		h.wantWaiting(c)
		h.acquireWith(resource.Request{NoWait: true}).wantItem(used)
		c.wantItem(m.finish())
		h.wantAlive(used)
	})
}

// Each has one made at once, whatever else is out: none of that is for them.
func TestFresh_OneMakeEach(t *testing.T) {
	inEveryLine(t, 5, nil, func(h *harness) {
		h.lendN(2)
		cs := []*call{h.acquireWith(fresh), h.acquireWith(fresh), h.acquireWith(fresh)}
		for _, m := range h.wantMakes(3) {
			m.finish()
		}
		for _, c := range cs {
			c.wantLease()
		}
	})
}

// In a full pool an idle used resource makes room, one for each caller.
func TestFresh_FullAndIdle(t *testing.T) {
	inEveryLine(t, 3, nil, func(h *harness) {
		its := h.stock(3)
		c1 := h.acquireWith(fresh)
		m1 := h.wantMake()
		h.wantDestroyed(its[0], resource.ErrNotFresh)
		h.wantAlive(its[1:]...)
		c2 := h.acquireWith(fresh)
		m2 := h.wantMake()
		h.wantDestroyed(its[1], resource.ErrNotFresh)
		h.wantAlive(its[2])
		it1 := m1.finish()
		c1.wantItem(it1).Release() // of no caller any more: the other still waits
		h.wantWaiting(c2)
		c2.wantItem(m2.finish())
		h.wantAlive(its[2], it1)
	})
}

// If all are leased the first that comes back makes room, and no holder is
// interrupted.
func TestFresh_FullAndLeased(t *testing.T) {
	inEveryLine(t, 2, nil, func(h *harness) {
		ls, its := h.lendN(2)
		c := h.acquireWith(fresh)
		h.wantWaiting(c)
		h.wantNoMake()
		h.wantAlive(its...)
		ls[1].Release()
		h.wantDestroyed(its[1], resource.ErrNotFresh)
		m := h.wantMake()
		ls[0].Release() // not for that caller: it has its own
		h.wantAlive(its[0])
		h.wantNoMake()
		c.wantItem(m.finish())
	})
}

// The first caller is served first, whatever it asks for.
func TestFresh_Fair(t *testing.T) {
	inEveryLine(t, 1, nil, func(h *harness) {
		l := h.lend()
		first, c, last := h.acquire(), h.acquireWith(fresh), h.acquire()
		used := l.Value()
		l.Release()
		l = first.wantItem(used)
		h.wantWaiting(c, last)
		l.Release()
		h.wantDestroyed(used, resource.ErrNotFresh)
		h.wantWaiting(last)
		it := h.wantMake().finish()
		l = c.wantItem(it)
		h.wantWaiting(last)
		l.Release()
		last.wantItem(it)
	})
}

// A caller with a slot pending takes no second one from the callers behind it.
func TestFresh_OneSlotEach(t *testing.T) {
	inEveryLine(t, 2, nil, func(h *harness) {
		ls, its := h.lendN(2)
		c, behind := h.acquireWith(fresh), h.acquire()
		ls[0].Release()
		h.wantDestroyed(its[0], resource.ErrNotFresh)
		m := h.wantMake()
		ls[1].Release()
		behind.wantItem(its[1])
		c.wantItem(m.finish())
	})
}

// Beside many callers that take every release, a Fresh caller has its turn.
func TestFresh_NotPassedOverForEver(t *testing.T) {
	edit := func(h *harness) { h.auto = func(m *makeCall) { m.finishAfter(10 * time.Millisecond) } }
	inEveryLine(t, 2, edit, func(h *harness) {
		stop := make(chan struct{})
		ended := make(chan struct{})
		for range 8 {
			go func() {
				defer func() { ended <- struct{}{} }()
				for {
					select {
					case <-stop:
						return
					default:
					}
					if l, err := h.p.Acquire(context.Background()); err == nil {
						time.Sleep(10 * time.Millisecond)
						l.Release()
					} else {
						h.t.Error(err)
					}
				}
			}()
		}
		time.Sleep(time.Second)
		for range 10 {
			l := h.acquireWith(fresh).wantSoon(time.Second)
			if n := l.Info().Leases; n != 1 {
				h.t.Errorf("lent for the time number %d, want the first", n)
			}
			l.Release()
		}
		close(stop)
		for range 8 {
			<-ended
		}
	})
}

// With NoWait a Fresh caller gets an unused resource or none, and destroys nothing.
func TestFresh_NoWait(t *testing.T) {
	r := resource.Request{Fresh: true, NoWait: true}
	inEveryLine(t, 2, nil, func(h *harness) {
		l := h.lend()
		done := h.warm(context.Background(), 2)
		ahead := h.wantMake().finish()
		h.wantDone(done, nil)
		l.Release()
		h.acquireWith(r).wantItem(ahead).Release()
		h.acquireWith(r).wantErr(resource.ErrNoneIdle)
		h.wantAlive(lendIdle(h, 2)...)
	})
}

// lendIdle lends n, all of which are there, and returns them.
func lendIdle(h *harness, n int) (its []*item) {
	h.t.Helper()
	for range n {
		its = append(its, h.acquire().wantLease().Value())
	}
	return its
}

// TryAcquire takes what there is.
func TestFresh_TryAcquire(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		used := h.stock(1)[0]
		l, ok := h.p.TryAcquire()
		if !ok || l.Value() != used {
			t.Fatalf("TryAcquire: %v", ok)
		}
		l.Release()
	})
}

// A resource that was lent to a caller that had left is still fresh for the next,
// and so is one whose check could not finish.
func TestFresh_UnseenIsUnused(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Health = checkFunc(func(ctx context.Context, _ *item, _ resource.Info) error {
			if ctx.Value(classKey{}) == nil {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
	}
	script(t, 1, edit, func(h *harness) {
		c1 := h.acquireCtx(context.WithValue(context.Background(), classKey{}, true), fresh)
		c2 := h.acquireWith(fresh)
		it := h.wantMake().finish()
		h.wantWaiting(c1, c2)
		c1.cancel()
		c1.wantErr(context.Canceled)
		l := c2.wantItem(it)
		if n := h.p.Stats().Acquired; n < 2 {
			t.Errorf("it was leased %d times: the test tests nothing", n)
		}
		l.Release()
		c3 := h.acquireWith(fresh) // but used now
		h.wantDestroyed(it, resource.ErrNotFresh)
		c3.wantItem(h.wantMake().finish())
	})
}

// So is a resource whose caller's context has ended while a policy ran.
func TestFresh_DroppedIsUnused(t *testing.T) {
	var asked func()
	edit := func(h *harness) {
		h.cfg.Eviction = evictFunc(func(resource.Info) error {
			if f := asked; f != nil {
				asked = nil
				f()
			}
			return nil
		})
	}
	script(t, 1, edit, func(h *harness) {
		c1, c2 := h.acquireWith(fresh), h.acquireWith(fresh)
		asked = c1.cancel
		it := h.wantMake().finish()
		c1.wantErr(context.Canceled)
		c2.wantItem(it)
	})
}

// A resource that a sweep examines will go to other callers, not to a Fresh caller.
func TestFresh_DuringSweep(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.SweepInterval = 10 * time.Minute
		h.cfg.Health = checkFunc(func(_ context.Context, _ *item, i resource.Info) error {
			if i.Idle > time.Second {
				time.Sleep(time.Second)
			}
			return nil
		})
	}
	script(t, 2, edit, func(h *harness) {
		h.stock(2)
		time.Sleep(10*time.Minute + 500*time.Millisecond) // one is being checked
		c := h.acquireWith(fresh)
		c.wantItem(h.wantMake().finish())
	})
}

// The Health is asked, and what it turns down is not lent though it is new.
func TestFresh_Unhealthy(t *testing.T) {
	var sick *item
	edit := func(h *harness) {
		h.cfg.Health = checkFunc(func(_ context.Context, it *item, _ resource.Info) error {
			if it == sick {
				return errDown
			}
			return nil
		})
	}
	script(t, 2, edit, func(h *harness) {
		done := h.warm(context.Background(), 1)
		sick = h.wantMake().finish()
		h.wantDone(done, nil)
		c := h.acquireWith(fresh)
		h.wantDestroyed(sick, errDown)
		c.wantItem(h.wantMake().finish())
	})
}

// With a MinRemaining the resource must satisfy both, and a new resource that would
// not satisfy it is an error.
func TestFresh_MinRemaining(t *testing.T) {
	r := resource.Request{Fresh: true, MinRemaining: 10 * time.Minute}
	script(t, 2, hourly, func(h *harness) {
		l := h.lend()
		done := h.warm(context.Background(), 2)
		old := h.wantMake().finish() // unused, and too near its end
		h.wantDone(done, nil)
		time.Sleep(55 * time.Minute)
		c := h.acquireWith(r)
		h.wantDestroyed(old, resource.ErrNearEnd)
		c.wantItem(h.wantMake().finish())
		h.wantAlive(l.Value())
		r.MinRemaining = 2 * time.Hour
		c = h.acquireWith(r)
		l.Release()
		h.wantMake().finish()
		c.wantErr(errOld)
	})
}

// In an outage what others hold cannot satisfy a Fresh caller, and nothing idle is
// given up for a make that is not due.
func TestFresh_Outage(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		l := h.lend()
		h.down(3)
		e := h.acquireWith(fresh).wantErr(resource.ErrOutage)
		if e.RetryAfter <= 0 || !errors.Is(e, errDown) {
			t.Errorf("%v: want the cause and a RetryAfter", e)
		}
		c := h.acquire()
		h.wantWaiting(c) // may be served by what is leased
		time.Sleep(e.RetryAfter)
		m := h.wantMakeWithin(time.Second)
		f := h.acquireWith(fresh) // while it is tried
		f.wantErr(resource.ErrOutage)
		m.finish()
		c.wantLease().Release()
		l.Release()
		h.acquireWith(fresh)
		h.wantMake().finish()
	})
}

// A Fresh caller that waits when the outage begins fails; callers that a leased
// resource may serve do not.
func TestFresh_OutageBegins(t *testing.T) {
	script(t, 3, nil, func(h *harness) {
		h.lend()
		h.down(2)
		var cs []*call
		for range 2 {
			cs = append(cs, h.acquireWith(fresh))
		}
		hopes := h.acquire()
		h.wantMakeWithin(time.Second).fail(errDown)
		for _, c := range cs {
			c.wantErr(errDown)
		}
		h.wantWaiting(hopes)
	})
}

// A caller that waits through the outage gets its resource when it is over, and a
// full pool gives up no more resources than it tries makes.
func TestFresh_OutageKeepWaiting(t *testing.T) {
	script(t, 3, func(h *harness) { h.cfg.Outage = resource.KeepWaiting }, func(h *harness) {
		its := h.stock(3)
		h.answer(func(m *makeCall) { m.fail(errDown) })
		c := h.acquireWith(fresh)
		h.acquireWith(fresh)
		h.acquireWith(fresh)
		time.Sleep(30 * time.Second)
		h.wantWaiting(c)
		if s := h.p.Stats(); !s.Outage || s.Destroyed != 1 {
			t.Errorf("outage %t, %d destroyed; want 1", s.Outage, s.Destroyed)
		}
		h.wantAlive(its[1:]...)
		h.answer(func(m *makeCall) { m.finish() })
		c.wantLeaseWithin(10 * time.Second)
	})
}

// Close, Reset, Resize and the end of its context end the wait as any other.
func TestFresh_Ends(t *testing.T) {
	inEveryLine(t, 1, nil, func(h *harness) {
		l := h.lend()
		c := h.acquireWith(fresh)
		c.cancel()
		c.wantErr(context.Canceled)
		c = h.acquireWith(fresh)
		h.resize(2)
		c.wantItem(h.wantMake().finish()).Release()
		h.acquireWith(fresh)
		h.wantMake()
		c = h.acquireWith(fresh)
		h.close(time.Minute)
		c.wantErr(resource.ErrClosed)
		l.Release()
	})
}

// beginFresh begins an AcquireWith for an unused resource.
func (h *keyedHarness) beginFresh(key string) *keyedCall {
	h.t.Helper()
	c := &keyedCall{h: h, cancel: func() {}, ended: make(chan keyedEnd, 1)}
	began := time.Now()
	go func() {
		l, err := h.k.AcquireWith(h.t.Context(), key, fresh)
		c.ended <- keyedEnd{l, err, time.Since(began)}
	}()
	synctest.Wait()
	return c
}

// A key that is at its MaxSize loses its own resource, whatever other keys have
// idle.
func TestKeyedFresh_OwnSlots(t *testing.T) {
	keyed(t, 4, 2, nil, func(h *keyedHarness) {
		for _, key := range []string{"b", "a"} {
			l1, l2 := h.acquire(key), h.acquire(key)
			l1.Release()
			l2.Release()
		}
		l := h.beginFresh("a").wantLease()
		if got := h.destroyed(resource.ErrNotFresh); len(got) != 1 || got[0] < 3 {
			t.Errorf("%v made room, want one of key a, 3 or 4", got)
		}
		h.wantPreempted()
		l.Release()
	})
}

// When the key itself has used up the total, one of its own resources is evicted,
// idle or as it is released.
func TestKeyedFresh_TotalIsItsOwn(t *testing.T) {
	for name, idle := range map[string]bool{"idle": true, "leased": false} {
		t.Run(name, func(t *testing.T) {
			keyed(t, 1, 4, nil, func(h *keyedHarness) {
				l := h.acquire("a")
				if idle {
					l.Release()
				}
				c := h.beginFresh("a")
				if !idle {
					c.wantWaiting()
					behind := h.begin("a")
					l.Release()
					defer func() { behind.wantLease().Release() }()
				}
				l = c.wantLease()
				if l.Value().n != 2 {
					t.Errorf("got number %d, want a new one", l.Value().n)
				}
				l.Release()
			})
		})
	}
}

// The least recently used resource of another key is preempted for a key below its
// MaxSize.
func TestKeyedFresh_PreemptsOthers(t *testing.T) {
	keyed(t, 2, 2, nil, func(h *keyedHarness) {
		h.acquire("b").Release()
		time.Sleep(time.Second)
		h.acquire("a").Release()
		time.Sleep(time.Second)
		h.beginFresh("a").wantLease().Release()
		h.wantPreempted(1)
	})
}

// Beside busy callers of its own and of another key each gets its own, and soon.
func TestKeyedFresh_Busy(t *testing.T) {
	keyed(t, 3, 3, func(h *keyedHarness) { h.makeTime = 5 * time.Millisecond }, func(h *keyedHarness) {
		stops := []func() int{
			h.busy("a", 6, 10*time.Millisecond, time.Millisecond),
			h.busy("b", 6, 10*time.Millisecond, time.Millisecond),
		}
		time.Sleep(time.Second)
		for range 20 {
			c := h.beginFresh("a")
			time.Sleep(2 * time.Second)
			l := c.wantLease()
			if n := l.Info().Leases; n != 1 {
				t.Errorf("lent for the time number %d", n)
			}
			l.Release()
		}
		for i, stop := range stops {
			if n := stop(); n < 100 {
				t.Errorf("key %d was served %d times", i, n)
			}
		}
	})
}

// worn is a resource that knows whether it has been used.
type worn struct{ used atomic.Bool }

// Many callers at once, in real time: no Fresh caller gets a used resource, and
// every caller is served.
func TestFresh_Stress(t *testing.T) {
	for name, queue := range map[string]resource.Queue{"no queue": nil, "queue": &listQueue{}} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, resource.Config[*worn]{
				Make:    func(context.Context) (*worn, error) { return &worn{}, nil },
				MaxSize: 3, MinIdle: 1, Queue: queue,
				SweepInterval: resource.MinSweepInterval,
				Health:        checkOf[*worn](func(context.Context, *worn, resource.Info) error { return nil }),
			})
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var wg sync.WaitGroup
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			for g := range 8 {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(seed, uint64(g)))
					for range 200 {
						req := resource.Request{Fresh: r.IntN(3) == 0}
						l, err := p.AcquireWith(ctx, req)
						if err != nil {
							t.Errorf("%+v: %v", req, err)
							return
						}
						if was := l.Value().used.Swap(true); was && req.Fresh {
							t.Error("a Fresh caller was lent a used resource")
						}
						if r.IntN(10) == 0 {
							l.Discard(nil)
						} else {
							l.Release()
						}
					}
				})
			}
			wg.Wait()
			if err := p.Close(ctx); err != nil {
				t.Error(err)
			}
			if err := unbalanced(p.Stats()); err != nil {
				t.Error(err)
			}
		})
	}
}

// freely is a Health that finds nothing.
