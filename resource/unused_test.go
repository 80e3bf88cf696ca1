package resource_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// items returns what leases hold.
func items(ls []resource.Lease[*item]) (its []*item) {
	for _, l := range ls {
		its = append(its, l.Value())
	}
	return its
}

// numbers are the numbers of its, to be printed.
func numbers(its []*item) (ns []int) {
	for _, it := range its {
		ns = append(ns, it.n)
	}
	return ns
}

// AcquireAllIdle leases everything idle, in the order of lending, and nothing
// else.
func TestAllIdle_TakesAll(t *testing.T) {
	for name, order := range map[string]resource.Order{"newest": resource.NewestFirst, "oldest": resource.OldestFirst} {
		t.Run(name, func(t *testing.T) {
			edit := func(h *harness) { h.cfg.Order = order }
			script(t, 6, edit, func(h *harness) {
				if ls := h.p.AcquireAllIdle(); ls != nil {
					t.Fatalf("of an empty pool: %d leases", len(ls))
				}
				its := h.stock(4)
				held := h.acquire().wantLease()
				its = slices.DeleteFunc(its, func(it *item) bool { return it == held.Value() })
				if order == resource.NewestFirst {
					slices.Reverse(its)
				}
				ls := h.p.AcquireAllIdle()
				if got := items(ls); !slices.Equal(got, its) {
					t.Fatalf("got items %v, want %v", numbers(got), numbers(its))
				}
				h.wantLoad(resource.Load{Leased: 4})
				if again := h.p.AcquireAllIdle(); again != nil {
					t.Fatalf("nothing is idle, and %d were leased", len(again))
				}
				ls[0].Discard(nil)
				for _, l := range ls[1:] {
					l.Release()
				}
				held.Release()
				h.wantLoad(resource.Load{Idle: 3})
				if s := h.p.Stats(); s.Waited != 4 || s.Acquired != 8 || s.Released != 8 {
					t.Errorf("it counts as waiting, or not as leases: %v", s)
				}
			})
		})
	}
}

func TestAllIdle_Closed(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		closed := h.close(time.Minute)
		if ls := h.p.AcquireAllIdle(); ls != nil {
			t.Errorf("%d leases of a closed pool", len(ls))
		}
		l.ReleaseUnused()
		h.settle()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		h.wantDestroyed(it, resource.ErrClosed)
	})
}

// A resource that is idle while callers wait, since none of them can use it, is
// taken; one that a Health checks is not.
func TestAllIdle_BesideWaiters(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		its := h.stock(1)
		fresh := h.acquireWith(resource.Request{Fresh: true})
		m := h.wantMake()
		ls := h.p.AcquireAllIdle()
		if got := items(ls); !slices.Equal(got, its) {
			t.Fatalf("got items %v, want %v", numbers(got), numbers(its))
		}
		ls[0].ReleaseUnused() // used before, so not for the Fresh waiter
		h.wantWaiting(fresh)
		m.finish()
		fresh.wantLease().Release()
	})
	checking := 0
	edit := func(h *harness) {
		h.cfg.SweepInterval = time.Second
		h.cfg.MakeTimeout = 5 * time.Second // bounds a check, too
		h.cfg.Health = checkFunc(func(ctx context.Context, _ *item, _ resource.Info) error {
			checking++
			<-ctx.Done()
			return nil
		})
	}
	script(t, 2, edit, func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		if err := h.p.Warm(context.Background(), 2); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		h.settle()
		ls := h.p.AcquireAllIdle()
		if checking != 1 || len(ls) != 1 {
			t.Fatalf("%d leases and %d checks, want one of the two to be checked", len(ls), checking)
		}
		ls[0].ReleaseUnused()
		time.Sleep(10 * time.Second)
	})
}

// A resource returned unused has its old position, in whatever order resources are
// returned, and its idle time continues.
func TestReleaseUnused_KeepsOrderAndIdleTime(t *testing.T) {
	const n = 5
	for name, order := range map[string]resource.Order{"newest": resource.NewestFirst, "oldest": resource.OldestFirst} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				edit := func(h *harness) { h.cfg.Order = order }
				script(t, n, edit, func(h *harness) {
					t := h.t
					h.stock(n) // all in the same tick
					time.Sleep(time.Minute)
					before := h.p.AcquireAllIdle()
					its := items(before)
					time.Sleep(time.Second)
					for _, i := range rand.Perm(n) {
						before[i].ReleaseUnused()
					}
					for _, r := range h.p.Inspect(n).Resources {
						if r.Idle != time.Minute+time.Second {
							t.Errorf("idle for %v, want 61 s", r.Idle)
						}
					}
					for _, want := range its {
						if l := h.acquire().wantLease(); l.Value() != want {
							t.Fatalf("got item %d, want %d of %v", l.Value().n, want.n, numbers(its))
						}
					}
				})
			}
		})
	}
}

// usedOrder is a sequential model of the order of lending: the last used is last.
type usedOrder struct {
	idle []*item
	used map[*item]int
	uses int
}

func (o *usedOrder) add(it *item, used bool) {
	if used {
		o.uses++
		o.used[it] = o.uses
	}
	o.idle = append(o.idle, it)
	slices.SortFunc(o.idle, func(a, b *item) int { return o.used[a] - o.used[b] })
}

func (o *usedOrder) take(order resource.Order) (it *item) {
	if order == resource.OldestFirst {
		it, o.idle = o.idle[0], o.idle[1:]
		return it
	}
	last := len(o.idle) - 1
	it, o.idle = o.idle[last], o.idle[:last]
	return it
}

// Random acquires, releases of both kinds and rounds over all that is idle: what
// is lent is what the model says.
func TestReleaseUnused_Model(t *testing.T) {
	const n = 6
	seed := rand.Uint64()
	for round := range 40 {
		rng := rand.New(rand.NewPCG(seed, uint64(round)))
		order := resource.Order(round % 2)
		edit := func(h *harness) { h.cfg.Order = order }
		script(t, n, edit, func(h *harness) {
			t := h.t
			model := usedOrder{used: map[*item]int{}}
			for _, it := range h.stock(n) {
				model.add(it, true)
			}
			var held []resource.Lease[*item]
			for step := range 200 {
				// Beyond the 100 ms to which the pool knows when one was used.
				time.Sleep(time.Duration(rng.IntN(200)+300) * time.Millisecond)
				switch k := rng.IntN(8); {
				case k < 3 && len(model.idle) > 0:
					l := h.acquire().wantLease()
					if want := model.take(order); l.Value() != want {
						t.Fatalf("seed %d, round %d, step %d: got item %d, want %d", seed, round, step, l.Value().n, want.n)
					}
					held = append(held, l)
				case k == 3:
					all := h.p.AcquireAllIdle()
					if len(all) != len(model.idle) {
						t.Fatalf("seed %d, round %d, step %d: %d are idle, want %d", seed, round, step, len(all), len(model.idle))
					}
					rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
					for _, l := range all {
						l.ReleaseUnused()
					}
				case len(held) > 0:
					i := rng.IntN(len(held))
					l := held[i]
					held = slices.Delete(held, i, i+1)
					used := rng.IntN(2) == 0
					model.add(l.Value(), used)
					if used {
						l.Release()
					} else {
						l.ReleaseUnused()
					}
				}
			}
			for _, l := range held {
				l.Release()
			}
		})
	}
}

// It ends a lease as Release does: once, and not the next lease.
func TestReleaseUnused_Once(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		(resource.Lease[*item]{}).ReleaseUnused()
		h.stock(1)
		l := h.acquire().wantLease()
		l.ReleaseUnused()
		next := h.acquire().wantLease()
		l.ReleaseUnused()
		l.Release()
		h.wantWaiting(h.acquire())
		if next.Value() == nil || next.Info().Leases == 0 {
			t.Error("the next holder's lease was touched")
		}
		h.wantLoad(resource.Load{Leased: 1, Waiting: 1})
		next.Release()
	})
}

// A waiter gets it at once, and the policies see how long it has been idle.
func TestReleaseUnused_ToWaiter(t *testing.T) {
	var idle []time.Duration
	edit := func(h *harness) {
		h.cfg.Health = checkFunc(func(_ context.Context, _ *item, i resource.Info) error {
			idle = append(idle, i.Idle)
			return nil
		})
	}
	script(t, 1, edit, func(h *harness) {
		h.stock(1)
		time.Sleep(5 * time.Second) // before the first sweep
		ls := h.p.AcquireAllIdle()
		c := h.acquire()
		h.wantWaiting(c)
		idle = nil
		ls[0].ReleaseUnused()
		l := c.wantLease()
		l.Release()
		h.acquire().wantLease().Release()
		if !slices.Equal(idle, []time.Duration{5 * time.Second, 0}) {
			t.Errorf("idle for %v, want [5s 0s]", idle)
		}
	})
}

// A resource that was invalidated or outlived a Reset or the maximum is not kept.
func TestReleaseUnused_NotKept(t *testing.T) {
	script(t, 3, nil, func(h *harness) {
		its := h.stock(3)
		cause := errors.New("dead")
		ls := h.p.AcquireAllIdle()
		its[0].invalidate(cause)
		h.resize(2)
		for _, l := range ls {
			l.ReleaseUnused()
		}
		h.wantDestroyed(its[0], cause)
		h.wantDestroyed(its[2], resource.ErrResized) // given back first
		h.wantLoad(resource.Load{Idle: 1})
		l := h.acquire().wantItem(its[1])
		h.p.Reset(nil)
		l.ReleaseUnused()
		h.wantDestroyed(its[1], resource.ErrReset)
	})
}

// For Fresh it is as unused as before.
func TestReleaseUnused_Fresh(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		if err := h.p.Warm(context.Background(), 1); err != nil {
			t.Fatal(err)
		}
		ls := h.p.AcquireAllIdle()
		it := ls[0].Value()
		ls[0].ReleaseUnused()
		h.acquireWith(resource.Request{Fresh: true}).wantItem(it).Release()
		h.acquire().wantItem(it).ReleaseUnused()
		if l := h.acquireWith(resource.Request{Fresh: true}).wantLease(); l.Value() == it {
			t.Error("a used one passed for fresh")
		}
	})
}

// counted admits every caller and counts permits, and the outcomes of their Dones.
type counted struct{ given, ok, ignored atomic.Int64 }

func (c *counted) Admit(context.Context, resource.Request) (resource.Done, error) {
	c.given.Add(1)
	return func(o resource.Outcome) {
		if o.Verdict == resource.OK {
			c.ok.Add(1)
		} else {
			c.ignored.Add(1)
		}
	}, nil
}

// I4: leases of AcquireAllIdle have no permit, least of all that of the resource's
// last lease; ReleaseUnused returns a permit without an outcome.
func TestI4_Unused(t *testing.T) {
	var c counted
	edit := func(h *harness) { h.cfg.Admission = &c }
	script(t, 2, edit, func(h *harness) {
		h.stock(2)
		for _, end := range []func(l resource.Lease[*item]){
			resource.Lease[*item].Release, resource.Lease[*item].ReleaseUnused,
			func(l resource.Lease[*item]) { l.Fail(errors.New("broken")) },
			func(l resource.Lease[*item]) { h.hijack(l) },
		} {
			ls := h.p.AcquireAllIdle()
			if len(ls) == 0 {
				t.Fatal("nothing idle")
			}
			end(ls[0])
			for _, l := range ls[1:] {
				l.ReleaseUnused()
			}
			h.settle()
			if given, ok, ignored := c.given.Load(), c.ok.Load(), c.ignored.Load(); given != 2 || ok != 2 || ignored != 0 {
				t.Fatalf("%d permits given, %d given back with OK and %d without; want 2, 2, 0", given, ok, ignored)
			}
		}
		h.lend().ReleaseUnused()
		if given, ok, ignored := c.given.Load(), c.ok.Load(), c.ignored.Load(); given != 3 || ok != 2 || ignored != 1 {
			t.Errorf("%d permits given, %d given back with OK and %d without; want 3, 2, 1", given, ok, ignored)
		}
	})
}

// Trace reports such leases as others.
func TestAllIdle_Trace(t *testing.T) {
	var begun, ended int
	bad := ""
	edit := func(h *harness) {
		h.cfg.SampleLeases = 1
		h.cfg.Trace = &resource.Trace{
			Leased: func(context.Context, resource.LeaseEvent) {
				begun++
				switch bad {
				case "panic":
					panic("bad")
				case "goexit":
					runtime.Goexit()
				}
			},
			Ended: func(resource.EndEvent) { ended++ },
		}
	}
	script(t, 3, edit, func(h *harness) {
		its := h.stock(3)
		begun, ended = 0, 0
		for range 2 {
			for _, l := range h.p.AcquireAllIdle() {
				l.ReleaseUnused()
			}
			bad = "panic"
		}
		if begun != 6 || ended != 6 {
			t.Errorf("%d begun and %d ended, want 6 each", begun, ended)
		}
		bad = "goexit"
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.p.AcquireAllIdle()
		}()
		<-done
		bad = ""
		h.wantLoad(resource.Load{})
		for _, it := range its {
			h.wantDestroyed(it, resource.ErrGoexit)
		}
	})
}

// A round over many idle resources costs each the same, however many there are
// and in whatever order they are given back.
func TestAllIdle_Scales(t *testing.T) {
	// Where others use the processors too, only the fastest run of each short
	// stretch says what it costs.
	const rounds, stretch = 10, 200
	cost := func(n int, arrange func(ls []resource.Lease[*token]), best []time.Duration) (sum float64) {
		p := newPlain(t, n, nil)
		if err := p.Warm(context.Background(), n); err != nil {
			t.Fatal(err)
		}
		for range rounds {
			began := time.Now()
			ls := p.AcquireAllIdle()
			best[0] = min(best[0], time.Since(began))
			if len(ls) != n {
				t.Fatalf("%d leases of %d", len(ls), n)
			}
			arrange(ls)
			for i := range n / stretch {
				began = time.Now()
				for _, l := range ls[i*stretch : (i+1)*stretch] {
					l.ReleaseUnused()
				}
				best[1+i] = min(best[1+i], time.Since(began))
			}
		}
		for _, d := range best {
			sum += float64(d)
		}
		return sum
	}
	const small, factor = 1000, 8
	for name, arrange := range map[string]func(ls []resource.Lease[*token]){
		"in order": func([]resource.Lease[*token]) {},
		"reverse":  slices.Reverse[[]resource.Lease[*token]],
		"shuffled": func(ls []resource.Lease[*token]) {
			rand.Shuffle(len(ls), func(i, k int) { ls[i], ls[k] = ls[k], ls[i] })
		},
	} {
		t.Run(name, func(t *testing.T) {
			fastest := func(n int) []time.Duration {
				return slices.Repeat([]time.Duration{math.MaxInt64}, 1+n/stretch)
			}
			few, many := fastest(small), fastest(small*factor)
			exponent := math.Inf(1)
			// Quadratic is 2, caches alone make it 1.1. What is quadratic stays above 1.6 in the
			// fastest of any number of runs.
			for n := 0; n < 10 && exponent > 1.6; n++ {
				exponent = math.Log(cost(small*factor, arrange, many)/cost(small, arrange, few)) / math.Log(factor)
				t.Logf("exponent %.2f", exponent)
			}
			if exponent > 1.6 {
				t.Errorf("the cost of a round grows with the power of %.2f", exponent)
			}
		})
	}
}
