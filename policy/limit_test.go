package policy_test

import (
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

func TestLimit(t *testing.T) {
	l := policy.Limit(3)
	a := admit(t, l, resource.Request{})
	b := admit(t, l, costing(2))
	wantInFlight(t, l, 3)
	refused(t, l, resource.Request{}, "limit", policy.ErrFull, 0)
	refused(t, l, resource.Request{NoWait: true, Priority: 9}, "limit", policy.ErrFull, 0)
	a(failed)
	wantInFlight(t, l, 2)
	refused(t, l, costing(2), "limit", policy.ErrFull, 0)
	a = admit(t, l, costing(1))
	b(ignored)
	a(ok)
	wantInFlight(t, l, 0)
}

// When the limit is lowered below the units in flight, no holder is interrupted and nothing
// is admitted until enough units were returned.
func TestLimitResize(t *testing.T) {
	l := policy.Limit(4)
	var dones []resource.Done
	for range 4 {
		dones = append(dones, admit(t, l, resource.Request{}))
	}
	l.Resize(2)
	if l.Limit() != 2 {
		t.Errorf("the limit is %d, want 2", l.Limit())
	}
	wantInFlight(t, l, 4)
	for _, done := range dones[:3] {
		refused(t, l, resource.Request{}, "limit", policy.ErrFull, 0)
		done(ok)
	}
	refused(t, l, costing(2), "limit", policy.ErrFull, 0)
	refused(t, l, costing(3), "limit", policy.ErrCost, 0)
	done := admit(t, l, resource.Request{})
	refused(t, l, resource.Request{}, "limit", policy.ErrFull, 0)
	l.Resize(math.MaxInt)
	refused(t, l, costing(math.MaxInt), "limit", policy.ErrFull, 0) // with two in flight the sum overflows
	admit(t, l, costing(math.MaxInt-2))(ok)
	done(ok)
	dones[3](ok)
	wantInFlight(t, l, 0)
}

// A permit lasts from the request to the end of the lease, so waiting and served requests
// count together.
func TestBoundedQueue(t *testing.T) {
	l := policy.BoundedQueue(2, 1)
	if l.Limit() != 3 {
		t.Errorf("the limit is %d, want 3", l.Limit())
	}
	for range 3 {
		defer admit(t, l, resource.Request{})(ok)
	}
	refused(t, l, resource.Request{}, "queue", policy.ErrFull, 0)
}

// Calling a Done twice would raise the limit for good; where that is detectable it panics.
func TestLimitDoneTwice(t *testing.T) {
	l := policy.Limit(1)
	done := admit(t, l, resource.Request{})
	done(ok)
	if how, _ := caught(func() { done(ok) }).(string); !strings.Contains(how, "bug: a Done was called twice") {
		t.Errorf("the second Done panicked with %q", how)
	}
	// If the panic is recovered, as in a pool, the limit is unchanged.
	wantInFlight(t, l, 0)
	admit(t, l, resource.Request{})
	refused(t, l, resource.Request{}, "limit", policy.ErrFull, 0)
}

// Under contention the limit holds at every instant, and a large request that fails does
// not cause a small one to be refused: a unit is always left for those.
func TestLimitIsExactUnderContention(t *testing.T) {
	const small, turns = 3, 20_000
	l := policy.Limit(small)
	var wg sync.WaitGroup
	var inside, worst, kept atomic.Int64
	enter := func(n int64) {
		if now := inside.Add(n); now > worst.Load() {
			worst.Store(now)
		}
	}
	for range small {
		wg.Go(func() {
			for range turns {
				done, err := l.Admit(t.Context(), resource.Request{})
				if err != nil {
					kept.Add(1)
					continue
				}
				enter(1)
				inside.Add(-1)
				done(ok)
			}
		})
	}
	full := policy.Limit(small) // held by one; the other goroutine requests all of it and fails
	hold := admit(t, full, resource.Request{})
	for range 2 {
		wg.Go(func() {
			for range turns {
				if done, err := full.Admit(t.Context(), costing(small)); err == nil {
					t.Error("admitted over the limit")
					done(ok)
				}
			}
		})
	}
	wg.Go(func() {
		for range turns {
			done, err := full.Admit(t.Context(), costing(small-1))
			if err != nil {
				t.Errorf("refused because of failing large requests: %v", err)
				return
			}
			done(ok)
		}
	})
	wg.Wait()
	hold(ok)
	if worst.Load() > small || kept.Load() != 0 {
		t.Errorf("%d at once and %d refused of %d that fit", worst.Load(), kept.Load(), small)
	}
	wantInFlight(t, l, 0)
	wantInFlight(t, full, 0)
}
