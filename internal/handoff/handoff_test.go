package handoff_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/internal/handoff"
)

const (
	hold   = 200 * time.Microsecond
	prompt = 2 * time.Microsecond
	late   = 150 * time.Microsecond
)

// run makes n hand-offs after holds of that length and counts the modes. A
// watched waiter runs after a delay that ran returns, a pause takes what took
// returns.
func run(a *handoff.Advisor, n int, held time.Duration, ran, took func() time.Duration) (modes [3]int) {
	for range n {
		m := a.Next(held)
		modes[m]++
		switch m {
		case handoff.Watched:
			a.WaiterRan(ran(), held)
		case handoff.Pause:
			a.Paused(took())
		}
	}
	return modes
}

func always(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// sometimes returns d with that probability, else prompt.
func sometimes(share float64, d time.Duration) func() time.Duration {
	draw := rand.New(rand.NewPCG(1, 2))
	return func() time.Duration {
		if draw.Float64() < share {
			return d
		}
		return prompt
	}
}

func TestAdvisor_PromptWaitersNeedNoPause(t *testing.T) {
	var a handoff.Advisor
	if got := run(&a, 1000, hold, always(prompt), nil); got[handoff.Watched] != 1000 {
		t.Errorf("%v of 1000 hand-offs were plain, watched, pauses; want all watched", got)
	}
}

func TestAdvisor_ShortHoldsAreNotObserved(t *testing.T) {
	var a handoff.Advisor
	if got := run(&a, 1000, 49*time.Microsecond, nil, nil); got[handoff.Plain] != 1000 {
		t.Errorf("%v of 1000 hand-offs were plain, watched, pauses; want all plain", got)
	}
}

// A busy machine delays some waiters, whatever their releasers do. At most one
// release in a hundred may pause for that: a p99 of releases must not show it.
func TestAdvisor_RareDelaysNeedNoPause(t *testing.T) {
	for _, delay := range []time.Duration{late, 5 * time.Millisecond} {
		var a handoff.Advisor
		const n = 1_000_000
		got := run(&a, n, hold, sometimes(0.01, delay), always(prompt))
		if got[handoff.Pause] > n/100 {
			t.Errorf("1%% of waiters late by %v: %d of %d releases pause", delay, got[handoff.Pause], n)
		}
	}
}

func TestAdvisor_LateWaitersNeedPauses(t *testing.T) {
	for delay, after := range map[time.Duration]int{late: 4, 10 * time.Millisecond: 2} {
		var a handoff.Advisor
		if got := run(&a, after, hold, always(delay), nil); got[handoff.Watched] != after {
			t.Errorf("%v: %v of %d were plain, watched, pauses; want all watched", delay, got, after)
		}
		got := run(&a, 3200, hold, always(delay), always(prompt))
		if got[handoff.Pause] != 3100 || got[handoff.Watched] != 100 {
			t.Errorf("%v: %v of 3200 were plain, watched, pauses; want 0, 100, 3100", delay, got)
		}
	}
}

// What is a long delay depends on the hold: a resource that is unused for 150 µs
// after each 10 ms costs nothing that a pause would save.
func TestAdvisor_DelayBesideALongHold(t *testing.T) {
	var a handoff.Advisor
	if got := run(&a, 1000, 10*time.Millisecond, always(late), nil); got[handoff.Pause] != 0 {
		t.Errorf("%d of 1000 releases pause", got[handoff.Pause])
	}
}

// When releasers stop computing, trials find out.
func TestAdvisor_PausesEnd(t *testing.T) {
	var a handoff.Advisor
	run(&a, 1000, hold, always(late), always(prompt))
	run(&a, 100, hold, always(prompt), always(prompt))
	if got := run(&a, 1000, hold, always(prompt), nil); got[handoff.Pause] != 0 {
		t.Errorf("%d of 1000 releases pause", got[handoff.Pause])
	}
}

// Pauses that take long, since the waiters compute, are given up for a while.
func TestAdvisor_LongPausesAreGivenUp(t *testing.T) {
	var a handoff.Advisor
	const n = 100_000
	if got := run(&a, n, hold, always(late), always(late)); got[handoff.Pause] > n/200 {
		t.Errorf("%d of %d releases pause", got[handoff.Pause], n)
	}
	got := run(&a, n, hold, always(late), always(prompt))
	if got[handoff.Pause] < n*9/10 {
		t.Errorf("waiters have stopped computing: %d of %d releases pause", got[handoff.Pause], n)
	}
}

// Under the race detector: many goroutines at once.
func TestAdvisor_Concurrent(t *testing.T) {
	var a handoff.Advisor
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { run(&a, 2000, hold, always(late), always(late)) })
	}
	wg.Wait()
	run(&a, 100_000, hold, always(prompt), always(prompt))
	if got := run(&a, 1000, hold, always(prompt), nil); got[handoff.Pause] != 0 {
		t.Errorf("%d of 1000 releases pause", got[handoff.Pause])
	}
}
