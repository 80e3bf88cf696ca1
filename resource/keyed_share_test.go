package resource_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// One caller of a busy key that returns at once each time does not keep the only
// slot: what it releases is idle for an instant.
func TestKeyedOneBusyCallerDoesNotStarveAnotherKey(t *testing.T) {
	for _, rest := range []time.Duration{0, ms} {
		keyed(t, 1, 1, nil, func(h *keyedHarness) {
			stop := h.busy("hot", 1, ms, rest)
			time.Sleep(time.Second)
			for range 5 {
				start := time.Now()
				h.acquire("cold").Release()
				if waited := time.Since(start); waited > 5*ms {
					t.Errorf("rest %v: the cold key waited %v", rest, waited)
				}
				time.Sleep(100 * ms)
			}
			stop()
		})
	}
}

// Busy keys that want the whole total end up with equal shares, whichever was
// first.
func TestKeyedBusyKeysShareEvenly(t *testing.T) {
	for _, tc := range []struct{ total, keys int }{{8, 2}, {9, 3}, {12, 4}, {10, 4}} {
		t.Run(fmt.Sprintf("%d of %d", tc.keys, tc.total), func(t *testing.T) {
			keyed(t, tc.total, tc.total, func(h *keyedHarness) {
				h.makeTime, h.destroyTime = 20*ms, 5*ms
			}, func(h *keyedHarness) {
				var stops []func() int
				for i := range tc.keys {
					// The first has more callers, and all to itself at first.
					stops = append(stops, h.busy(fmt.Sprint(i), 20+20/(i+1), 10*ms, 0))
					time.Sleep(time.Second)
				}
				made := h.k.Stats().Made
				time.Sleep(20 * time.Second)
				for i := range tc.keys {
					s := h.pool(fmt.Sprint(i)).Stats()
					if n, fair := s.Idle+s.Leased+s.Making, tc.total/tc.keys; n < fair-1 || n > fair+2 {
						t.Errorf("key %d has %d of %d, of which its share is %d", i, n, tc.total, fair)
					}
				}
				if more := h.k.Stats().Made - made; more > int64(tc.total) {
					t.Errorf("%d were made in 20 s, and nothing changed", more)
				}
				for _, stop := range stops {
					stop()
				}
			})
		})
	}
}

// With fewer slots than keys every key gets at least half of its fair share of the
// service, no caller waits long, and at least half of the time goes to use.
func TestKeyedFewerSlotsThanKeys(t *testing.T) {
	long := time.Minute
	if testing.Short() {
		long /= 4
	}
	for _, tc := range []struct {
		total, keys, callers int
		makeTime             time.Duration
	}{
		{1, 2, 5, 10 * ms}, {1, 5, 3, 10 * ms}, {2, 7, 3, 20 * ms}, {3, 10, 2, 50 * ms}, {3, 4, 10, 0},
	} {
		t.Run(fmt.Sprintf("%+v", tc), func(t *testing.T) {
			keyed(t, tc.total, tc.total, func(h *keyedHarness) { h.makeTime = tc.makeTime }, func(h *keyedHarness) {
				const hold = 5 * ms
				var stops []func() int
				for i := range tc.keys {
					stops = append(stops, h.busy(fmt.Sprint(i), tc.callers, hold, 0))
				}
				time.Sleep(long)
				s := h.k.Stats()
				sum, served := 0, make([]int, tc.keys)
				for i, stop := range stops {
					served[i] = stop()
					sum += served[i]
				}
				for i, n := range served {
					if n*tc.keys*2 < sum {
						t.Errorf("key %d was served %d times of %d: %v", i, n, sum, served)
					}
				}
				if used := time.Duration(sum) * hold; used < long*time.Duration(tc.total)*4/10 {
					t.Errorf("%v of %v slots × time were used", used, long*time.Duration(tc.total))
				}
				// A turn of all keys is at most a make, and as long in use, or
				// one hold.
				turn := time.Duration(tc.keys/tc.total+1) * (tc.makeTime + max(tc.makeTime, hold) + hold) * time.Duration(tc.callers)
				if mean := s.WaitTime / time.Duration(s.Waited); mean > 2*turn {
					t.Errorf("callers wait %v on average, more than 2 × %v", mean, turn)
				}
			})
		})
	}
}

// A resource that took long to make is used as long before it is preempted by age.
func TestKeyedRipe(t *testing.T) {
	keyed(t, 1, 1, func(h *keyedHarness) { h.makeTime = time.Second }, func(h *keyedHarness) {
		stop := h.busy("a", 3, 100*ms, 0)
		time.Sleep(5 * time.Second)
		start := time.Now()
		l := h.acquire("b") // a's is ripe
		if waited := time.Since(start); waited > 1500*ms {
			t.Errorf("b waited %v for what was ripe", waited)
		}
		stopB := h.busy("b", 3, 100*ms, 0)
		c := h.begin("c")
		l.Release()
		time.Sleep(900 * ms)
		h.wantPreempted(1) // b's is not ripe, though c and a came before b's callers
		stop()
		time.Sleep(1500 * ms)
		c.wantLease().Release()
		stopB()
	})
}

// A quiet key's callers are served in bounded time though many busy keys want more
// than the total.
func TestKeyedColdAmongManyHot(t *testing.T) {
	keyed(t, 6, 6, func(h *keyedHarness) { h.makeTime = 10 * ms }, func(h *keyedHarness) {
		var stops []func() int
		for i := range 3 {
			stops = append(stops, h.busy(fmt.Sprint("hot", i), 30, 5*ms, 0))
		}
		time.Sleep(time.Second)
		for i := range 30 {
			start := time.Now()
			l := h.acquire(fmt.Sprint("cold", i%3))
			if waited := time.Since(start); waited > 50*ms {
				t.Errorf("call %d of a cold key waited %v", i, waited)
			}
			l.Release()
			time.Sleep(70 * ms)
		}
		for _, stop := range stops {
			stop()
		}
	})
}

// A burst of releases gives up no more than what evens things out, also if ends
// take long, if not so long that they are not waited for.
func TestKeyedPreemptsNoMoreThanOwed(t *testing.T) {
	keyed(t, 10, 10, func(h *keyedHarness) { h.makeTime, h.destroyTime = time.Second, 900*ms }, func(h *keyedHarness) {
		var ls []resource.Lease[*keyedItem]
		for range 10 {
			ls = append(ls, h.acquire("rich"))
		}
		stopRich := h.busy("rich", 30, time.Second, 0)
		time.Sleep(time.Minute)
		stopPoor := h.busy("poor", 30, time.Second, 0)
		time.Sleep(time.Minute)
		for _, l := range ls {
			l.Release()
		}
		time.Sleep(time.Minute)
		if s := h.k.Stats(); s.Preempted != 5 || s.Made != 15 {
			t.Errorf("%d preempted and %d were made, want 5 and 15", s.Preempted, s.Made)
		}
		stopRich()
		stopPoor()
	})
}

// However many callers a busy key has in line, a key with one caller gets a turn.
func TestKeyedLongLineDoesNotStarveAnotherKey(t *testing.T) {
	const hold, made = 10 * ms, 20 * ms
	keyed(t, 1, 1, func(h *keyedHarness) { h.makeTime = made }, func(h *keyedHarness) {
		stop := h.busy("hot", 200, hold, 0) // 2 s of work in line
		time.Sleep(3 * time.Second)
		for range 10 {
			start := time.Now()
			l := h.acquire("cold")
			// The turn, the lease that is out when it ends, and the make.
			if waited := time.Since(start); waited > 4*made+hold+made+ms {
				t.Errorf("the cold key waited %v", waited)
			}
			time.Sleep(hold)
			l.Release()
			time.Sleep(made)
		}
		served, before := h.k.Stats().Released, time.Now()
		time.Sleep(10 * time.Second) // without the cold one
		if n := h.k.Stats().Released - served; n < int64(time.Since(before)/hold)*9/10 {
			t.Errorf("%d served in %v", n, time.Since(before))
		}
		stop()
	})
}

// A resource whose Destroy hangs is no use to its key, which is served as a key
// with fewer.
func TestKeyedHungDestroyDoesNotStarveItsKey(t *testing.T) {
	var hang chan struct{}
	keyed(t, 3, 3, func(h *keyedHarness) {
		h.makeTime = ms
		hang = make(chan struct{}) // of the bubble
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "hung" {
				destroy := cfg.Destroy
				cfg.Destroy = func(it *keyedItem, cause error) { <-hang; destroy(it, cause) }
			}
		}
	}, func(h *keyedHarness) {
		h.acquire("hung").Discard(nil)
		time.Sleep(time.Minute)
		stop := h.busy("hot", 10, 5*ms, 0)
		time.Sleep(time.Second)
		l, err := h.acquireFor("hung", 5*time.Second)
		if err != nil {
			t.Errorf("the key of which one hangs: %v; %v", err, h.k.Stats())
		} else {
			l.Release()
		}
		close(hang)
		stop()
	})
}

// Config must not block; if it does it keeps no caller from closing the rest for
// longer than that caller's context.
func TestKeyedCloseDoesNotWaitForConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		k := newKeyed(t, resource.KeyedConfig[string, int]{MaxTotal: 2, Config: func(key string) (resource.Config[int], error) {
			if key == "slow" {
				<-block
			}
			return resource.Config[int]{MaxSize: 1, Make: func(context.Context) (int, error) { return 7, nil }}, nil
		}})
		got := make(chan error, 1)
		go func() {
			_, err := k.Acquire(t.Context(), "slow")
			got <- err
		}()
		time.AfterFunc(time.Hour, func() { close(block) })
		synctest.Wait()
		began := time.Now()
		if _, ok := k.Find("slow"); ok {
			t.Error("a pool is found whose Config has not returned")
		}
		for range k.All() {
			t.Error("a pool is listed whose Config has not returned")
		}
		k.Reset(nil)
		if err := k.Drain(t.Context(), "slow"); err != nil {
			t.Errorf("Drain: %v", err)
		}
		if l, err := k.Acquire(t.Context(), "other"); err != nil {
			t.Errorf("another key: %v", err)
		} else {
			l.Release()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var ce *resource.CloseError
		if err := k.Close(ctx); !errors.As(err, &ce) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if d := time.Since(began); d != time.Second {
			t.Errorf("that took %v, want 1s", d)
		}
		if err := k.Close(t.Context()); err != nil {
			t.Errorf("the second Close: %v", err)
		}
		if err := <-got; !errors.Is(err, resource.ErrClosed) {
			t.Errorf("whose Config it was: %v", err)
		}
		if k.Len() != 0 {
			t.Errorf("%d keys", k.Len())
		}
	})
}

// Two keys that each have a slot do not take it from each other in turns, each to
// make its resource anew: a busy one waits, for what another has idle and has no
// more of, as long as it took to make.
func TestKeyedIdleIsNotTakenInTurns(t *testing.T) {
	const takes = 20 * ms
	keyed(t, 4, 4, func(h *keyedHarness) { h.makeTime = takes }, func(h *keyedHarness) {
		stop := h.busy("hot", 20, 5*ms, 0)
		time.Sleep(time.Second)
		var cold []func() int
		for i := range 3 {
			cold = append(cold, h.busy(fmt.Sprint(i), 1, 5*ms, 5*ms))
		}
		time.Sleep(10 * time.Second)
		before := h.k.Stats().Made
		time.Sleep(10 * time.Second)
		if n := h.k.Stats().Made - before; n != 0 {
			t.Errorf("%d were made in 10s, and each key has one", n)
		}
		for i, stop := range cold {
			if n := stop(); n < 1900 {
				t.Errorf("key %d was served %d times in 20s", i, n)
			}
		}
		time.Sleep(2*takes + 5*ms) // one to keep it for, one to make another
		if s := h.k.Stats(); s.Leased != 4 {
			t.Errorf("the rest: %v", s)
		}
		stop()
	})
}

// Idle resources are not kept from a key that has none, nor from one that has
// fewer.
func TestKeyedIdleIsKeptFromNoPoorerKey(t *testing.T) {
	const takes = time.Second
	keyed(t, 3, 3, func(h *keyedHarness) { h.makeTime = takes }, func(h *keyedHarness) {
		a, a2, a3 := h.acquire("a"), h.acquire("a"), h.acquire("a")
		a.Release()
		b := h.begin("b")
		h.wantPreempted(1)
		time.Sleep(takes)
		l := b.wantLease()
		a2.Release()
		b2 := h.begin("b")
		time.Sleep(takes / 2)
		h.wantPreempted(1) // a has as many
		c := h.begin("c")
		a3.Release()
		time.Sleep(takes)
		c.wantLease().Release()
		time.Sleep(3 * takes)
		b2.wantLease().Release()
		l.Release()
	})
}

// The preempted resource is the least recently used of all, also if it was used
// since without a look at the total. Uses within one tick of the clock count as
// simultaneous.
func TestKeyedLeastRecentlyUsedIsExact(t *testing.T) {
	const n = 12
	keyed(t, n, n, nil, func(h *keyedHarness) {
		var order []int
		for i := range n {
			h.acquire(fmt.Sprint(i)).Release()
			time.Sleep(150 * time.Millisecond)
		}
		for i := range n { // used again, on the hit path, in another order
			key := i * 5 % n
			for range 3 {
				h.acquire(fmt.Sprint(key)).Release()
			}
			time.Sleep(150 * time.Millisecond)
			order = append(order, key+1) // item number
		}
		for i := range n {
			l := h.acquire(fmt.Sprint("new", i))
			h.wantPreempted(order[:i+1]...)
			defer l.Release()
		}
	})
}

// Of one key, too, the least recently used goes, and a key that just waits for
// its own gives none.
func TestKeyedLeastRecentlyUsedWithinAKey(t *testing.T) {
	keyed(t, 3, 3, nil, func(h *keyedHarness) {
		ls := []resource.Lease[*keyedItem]{h.acquire("a"), h.acquire("a"), h.acquire("a")}
		for _, i := range []int{1, 2, 0} {
			ls[i].Release()
			time.Sleep(50 * time.Millisecond)
		}
		b := h.acquire("b")
		h.wantPreempted(2)
		b2 := h.acquire("b")
		h.wantPreempted(2, 3)
		c := h.begin("b")
		b3 := c.wantLease()
		h.wantPreempted(2, 3, 1)
		for _, l := range []resource.Lease[*keyedItem]{b, b2, b3} {
			l.Release()
		}
	})
}

// A claim that is withdrawn costs no key anything, and is not remembered.
func TestKeyedClaimWithdrawn(t *testing.T) {
	keyed(t, 2, 2, nil, func(h *keyedHarness) {
		a, a2 := h.acquire("a"), h.acquire("a")
		var calls []*keyedCall
		for range 5 {
			calls = append(calls, h.begin("b"))
		}
		h.wantLoad(resource.Load{Leased: 2, Waiting: 5, Wanting: 2})
		for _, c := range calls {
			c.cancel()
			c.wantErr(context.Canceled)
		}
		h.wantLoad(resource.Load{Leased: 2})
		a.Release()
		a2.Release()
		h.wantLoad(resource.Load{Idle: 2})
		h.wantPreempted()
		time.Sleep(time.Second)
		b := h.acquire("b") // and what is idle is found
		h.wantPreempted(1)
		b.Release()
	})
}

// What other keys gave up for a caller that left is free, and nothing is made of
// it.
func TestKeyedCallerLeavesWhileASlotIsFreed(t *testing.T) {
	keyed(t, 1, 1, func(h *keyedHarness) { h.destroyTime = time.Second }, func(h *keyedHarness) {
		h.acquire("a").Release()
		c := h.begin("b")
		h.wantLoad(resource.Load{Destroying: 1, Waiting: 1, Wanting: 1})
		c.cancel()
		time.Sleep(2 * time.Second)
		h.wantLoad(resource.Load{})
		if n := h.begunOf("b"); n != 0 {
			t.Errorf("%d were made without a caller", n)
		}
		h.acquire("b").Release()
	})
}

// The total holds through Resize, both ways.
func TestKeyedResize(t *testing.T) {
	keyed(t, 2, 4, nil, func(h *keyedHarness) {
		a, b := h.acquire("a"), h.acquire("b")
		c, d, e := h.begin("a"), h.begin("b"), h.begin("c")
		h.wantLoad(resource.Load{Leased: 2, Waiting: 3, Wanting: 3})
		h.resize(4)
		h.wantLoad(resource.Load{Leased: 4, Waiting: 1, Wanting: 1})
		h.resize(5)
		leases := []resource.Lease[*keyedItem]{a, b, c.wantLease(), d.wantLease(), e.wantLease()}
		h.resize(2)
		h.wantLoad(resource.Load{Leased: 5})
		f := h.begin("f")
		for _, l := range leases {
			l.Release()
		}
		f.wantLease().Release()
		h.wantLoad(resource.Load{Idle: 2})
		h.resize(1)
		h.wantLoad(resource.Load{Idle: 1})
		for _, bad := range []int{0, -1, math.MinInt} {
			if err := h.k.Resize(bad); err == nil {
				t.Errorf("Resize(%d) passed", bad)
			}
		}
		if err := h.k.Close(h.t.Context()); err != nil {
			t.Error(err)
		}
		if err := h.k.Resize(1); !errors.Is(err, resource.ErrClosed) {
			t.Errorf("Resize after Close: %v", err)
		}
	})
}

// A smaller total takes the least recently used first.
func TestKeyedResizeTakesLeastRecentlyUsed(t *testing.T) {
	keyed(t, 5, 2, nil, func(h *keyedHarness) {
		for i := range 5 {
			h.acquire(fmt.Sprint(i)).Release()
			time.Sleep(150 * time.Millisecond) // more than a tick
		}
		h.acquire("1").Release()
		h.resize(2)
		got := h.destroyed(resource.ErrResized)
		slices.Sort(got) // they go at the same time
		if !slices.Equal(got, []int{1, 3, 4}) {
			t.Errorf("%v were destroyed, want 1, 3 and 4", got)
		}
	})
}

// After the total was lowered no Make is called until it holds.
func TestKeyedResizeDownWithMakesAndEndsUnderWay(t *testing.T) {
	keyed(t, 6, 6, func(h *keyedHarness) {
		h.makeTime, h.destroyTime = time.Second, time.Second
	}, func(h *keyedHarness) {
		stopA, stopB := h.busy("a", 10, 300*time.Millisecond, 0), h.busy("b", 10, 300*time.Millisecond, 0)
		for _, total := range []int{3, 5, 1, 6, 2, 4} {
			time.Sleep(1500 * time.Millisecond)
			h.resize(total)
			time.Sleep(10 * time.Second)
			l := h.k.Stats().Load
			if n := l.Idle + l.Leased + l.Making + l.Destroying; n > total {
				t.Errorf("10 s after Resize(%d): %+v", total, l)
			}
		}
		if a, b := stopA(), stopB(); a == 0 || b == 0 {
			t.Errorf("served %d and %d times", a, b)
		}
	})
}

// Makes that waited for a MakeGate do not begin when the total was lowered
// meanwhile.
func TestKeyedResizeDownBeforeTheGateOpens(t *testing.T) {
	var gate chan struct{}
	keyed(t, 4, 4, func(h *keyedHarness) {
		gate, h.makeTime = make(chan struct{}), time.Second // of the bubble
		h.edit = func(_ string, cfg *resource.Config[*keyedItem]) {
			cfg.MakeGate = admitFunc(func(context.Context, resource.Request) (resource.Done, error) { <-gate; return nil, nil })
		}
	}, func(h *keyedHarness) {
		calls := []*keyedCall{h.begin("a"), h.begin("a"), h.begin("b"), h.begin("b")}
		h.wantLoad(resource.Load{Making: 4, Waiting: 4})
		h.resize(1)
		close(gate)
		for served := 0; served < len(calls); {
			time.Sleep(10 * time.Second)
			n := 0
			for _, c := range calls {
				if c.poll() && c.err == nil {
					n++
					c.lease.Release()
				}
			}
			if n == served {
				t.Fatalf("%d of %d were served; %v", n, len(calls), h.k.Stats())
			}
			served = n
		}
		h.wantLoad(resource.Load{Idle: 1})
	})
}

// The total holds through slow destroys, failing makes, Reset, and Drain.
func TestKeyedI1_ThroughTrouble(t *testing.T) {
	broken := errors.New("broken")
	n := 0
	keyed(t, 5, 3, func(h *keyedHarness) {
		h.makeTime, h.destroyTime = 20*time.Millisecond, 50*time.Millisecond
		h.fails = func(string) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			if n++; n%7 == 0 {
				return broken
			}
			return nil
		}
		h.edit = func(_ string, cfg *resource.Config[*keyedItem]) { cfg.Outage = resource.KeepWaiting }
	}, func(h *keyedHarness) {
		var stops []func() int
		for i := range 6 {
			stops = append(stops, h.busy(fmt.Sprint(i), 3, 15*time.Millisecond, time.Millisecond))
		}
		for i := range 100 {
			time.Sleep(40 * time.Millisecond)
			switch i % 4 {
			case 0:
				h.k.Reset(nil)
			case 1:
				if err := h.k.Drain(h.t.Context(), fmt.Sprint(i%6)); err != nil {
					t.Error(err)
				}
			case 2:
				h.pool(fmt.Sprint(i % 6)).Reset(broken)
			default:
				h.resize(2 + i%4)
			}
		}
		for i, stop := range stops {
			if stop() == 0 {
				t.Errorf("key %d was never served", i)
			}
		}
	})
}

// A resource that its holder hijacks frees its slot at once.
func TestKeyedHijack(t *testing.T) {
	keyed(t, 1, 1, nil, func(h *keyedHarness) {
		l := h.acquire("a")
		c := h.begin("b")
		it := l.Value()
		h.mu.Lock()
		h.hijacked[it] = true
		h.mu.Unlock()
		h.count("a", -1)
		if _, ok := l.Hijack(); !ok {
			t.Fatal("not hijacked")
		}
		c.wantLease().Release()
		h.wantPreempted()
		if s := h.k.Stats(); s.Hijacked != 1 {
			t.Errorf("%v", s)
		}
	})
}

// A make given up at its timeout frees its slot for other keys.
func TestKeyedAbandonedMake(t *testing.T) {
	over := make(chan struct{})
	keyed(t, 1, 1, func(h *keyedHarness) {
		over = make(chan struct{}) // of the bubble
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "deaf" {
				cfg.MakeTimeout = time.Second
				cfg.Make = func(context.Context) (*keyedItem, error) { <-over; return nil, errors.New("too late") }
			}
		}
	}, func(h *keyedHarness) {
		c := h.begin("deaf")
		d := h.begin("b")
		time.Sleep(900 * time.Millisecond)
		d.wantWaiting()
		time.Sleep(300 * time.Millisecond)
		c.wantErr(resource.ErrMakeTimeout)
		d.wantLease().Release()
		h.wantLoad(resource.Load{Idle: 1, Abandoned: 1})
		time.Sleep(time.Hour)
		if _, ok := h.k.Find("deaf"); !ok {
			t.Error("a key is forgotten while a make of it runs")
		}
		close(over)
		synctest.Wait()
	})
}

// A caller whose key needs a slot of a total that many keys have used up waits without work for
// the pool, and gets the next that is released.
func TestI7_KeyedManyKeysUseTheTotal(t *testing.T) {
	const keys = 200
	keyed(t, keys, 1, nil, func(h *keyedHarness) {
		var ls []resource.Lease[*keyedItem]
		for i := range keys {
			ls = append(ls, h.acquire(fmt.Sprint(i)))
		}
		c := h.begin("another") // returns when all goroutines of the bubble have come to rest
		c.wantWaiting()
		ls[7].Release()
		c.wantLease().Release()
		for _, l := range ls {
			l.Release()
		}
	})
}
