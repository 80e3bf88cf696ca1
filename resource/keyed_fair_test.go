package resource_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

const ms = time.Millisecond

// One caller of a busy key, who is back at once each time, does not keep the
// only place: what it gives back is idle for an instant.
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

// Busy keys that want all come to have as much as each other, whoever was first.
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

// With fewer places than keys no key's part of the service is under half of what
// is fair, and nobody waits long; and at least half of the time goes to use.
func TestKeyedFewerPlacesThanKeys(t *testing.T) {
	for _, tc := range []struct {
		total, keys, callers int
		makeTime             time.Duration
	}{
		{1, 2, 5, 10 * ms}, {1, 5, 3, 10 * ms}, {2, 7, 3, 20 * ms}, {3, 10, 2, 50 * ms}, {3, 4, 10, 0},
	} {
		t.Run(fmt.Sprintf("%+v", tc), func(t *testing.T) {
			keyed(t, tc.total, tc.total, func(h *keyedHarness) { h.makeTime = tc.makeTime }, func(h *keyedHarness) {
				const hold, long = 5 * ms, time.Minute
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
					t.Errorf("%v of %v places × time were used", used, long*time.Duration(tc.total))
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

// What took long to make is used as long before it makes way by age.
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

// A quiet key's callers are served in bounded time though many busy keys want
// more than there is.
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
func TestKeyedNoMoreGivesWayThanIsOwed(t *testing.T) {
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
			t.Errorf("%d gave way and %d were made, want 5 and 15", s.Preempted, s.Made)
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
