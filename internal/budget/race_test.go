package budget_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/internal/budget"
)

// locked is a minimal member for concurrent use: it wants one resource per caller, and
// creations take no time.
type locked struct {
	share *budget.Share
	b     *budget.Budget

	mu    sync.Mutex
	since time.Duration
	wait  []chan struct{}
	idle  int
	had   int
}

// unlock ends every step.
func (m *locked) unlock() {
	if m.idle > 0 && len(m.wait) == 0 && m.b.Scarce() {
		m.share.Offer()
	}
	m.mu.Unlock()
	m.b.Settle()
}

// grow creates resources for waiting callers. m is locked.
func (m *locked) grow() {
	want := len(m.wait)
	had := min(m.had, want)
	m.had -= had
	for range had + m.share.Take(want-had, want-had, false) {
		m.serve()
	}
}

func (m *locked) serve() {
	close(m.wait[0])
	m.wait = m.wait[1:]
}

func (m *locked) acquire() (got <-chan struct{}) {
	m.mu.Lock()
	defer m.unlock()
	ready := make(chan struct{})
	if m.wait = append(m.wait, ready); m.idle > 0 {
		m.idle--
		m.serve()
	}
	m.grow()
	return ready
}

func (m *locked) release(discard bool) {
	m.mu.Lock()
	defer m.unlock()
	scarce := m.b.Scarce()
	switch {
	case discard, scarce && m.b.Over(), scarce && len(m.wait) > 0 && m.share.Owes(m.since, true):
		m.end()
	case len(m.wait) > 0:
		m.serve()
		m.share.Claim(len(m.wait), false)
	default:
		m.idle++
	}
}

// end ends a resource on a new goroutine. m is locked.
func (m *locked) end() {
	m.share.Dying(1)
	go func() {
		m.mu.Lock()
		defer m.unlock()
		m.share.Free(true)
		m.grow()
	}()
}

func (m *locked) Granted() {
	m.mu.Lock()
	defer m.unlock()
	m.had++
	m.grow()
	for ; m.had > 0; m.had-- {
		m.share.Free(false)
	}
}

func (m *locked) GiveWay(time.Duration) (budget.Answer, time.Duration) {
	m.mu.Lock()
	defer m.unlock()
	if m.idle == 0 || len(m.wait) > 0 {
		return budget.Nothing, 0
	}
	m.idle--
	m.end()
	return budget.Gave, 0
}

func (m *locked) Attend() {
	m.mu.Lock()
	m.unlock()
}

// Concurrent members: every caller is served, at most max resources exist, and the counts
// are consistent at the end.
func TestRace(t *testing.T) {
	const slots, each, rounds = 4, 3, 400
	base := time.Now()
	b := budget.New(slots, func() time.Duration { return time.Since(base) })
	var ms []*locked
	var shares []*budget.Share
	for range 7 {
		m := &locked{b: b}
		m.share = b.Join(m)
		ms, shares = append(ms, m), append(shares, m.share)
	}
	var out, served atomic.Int64
	var wg sync.WaitGroup
	for i := range each * len(ms) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			for range rounds {
				m := ms[r.IntN(len(ms))]
				select {
				case <-m.acquire():
				case <-time.After(time.Minute):
					t.Error("I7: a caller was not woken")
					return
				}
				if n := out.Add(1); n > slots {
					t.Errorf("I1: %d are out of %d", n, slots)
				}
				served.Add(1)
				out.Add(-1)
				m.release(r.IntN(10) == 0)
			}
		})
	}
	wg.Wait()
	b.Rest()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // polls: goroutines that settle may still run
		err := b.Audit(shares)
		idle := 0
		for _, m := range ms {
			m.mu.Lock()
			idle += m.idle
			m.mu.Unlock()
		}
		_, used, _ := b.Levels()
		if err == nil && used == idle && served.Load() == each*7*rounds {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d served; %d slots are taken by %d; %v", served.Load(), used, idle, err)
		}
	}
}
