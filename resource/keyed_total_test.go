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

// What gives way is the least recently used of all, also if that was used since
// without the total having been asked. Uses within one tick of the clock count as
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

// A claim that is withdrawn costs nobody anything, and is not remembered.
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

// What the others gave back for a caller who left is free, and nothing is made
// of it.
func TestKeyedCallerLeavesWhileAPlaceComes(t *testing.T) {
	keyed(t, 1, 1, func(h *keyedHarness) { h.destroyTime = time.Second }, func(h *keyedHarness) {
		h.acquire("a").Release()
		c := h.begin("b")
		h.wantLoad(resource.Load{Destroying: 1, Waiting: 1, Wanting: 1})
		c.cancel()
		time.Sleep(2 * time.Second)
		h.wantLoad(resource.Load{})
		if n := h.begunOf("b"); n != 0 {
			t.Errorf("%d were made for nobody", n)
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

// The places hold through slow ends, failing makes, Reset, and Drain.
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

// A resource that its holder keeps for good frees its place at once.
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

// A make given up at its timeout frees its place for other keys.
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
