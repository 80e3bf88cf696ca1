package museum

import (
	"context"
	"errors"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func counts() []Exhibit {
	return []Exhibit{
		{Name: "stats-scan", Run: most(3, statsScan), alone: true,
			What: "Statistics of 3,000 items cost at most eight times as much as those of ten."},
		{Name: "stats-closed", Run: statsClosed,
			What: "What is being made when the pool is closed is destroyed, and not counted afterwards."},
	}
}

func statsScan(_ context.Context, k peer.Kind) (Finding, error) {
	few, err := countCost(k, 10)
	if err != nil {
		return Finding{}, err
	}
	many, err := countCost(k, 3000)
	if err != nil {
		return Finding{}, err
	}
	return judge(many <= 8*few, "%v and %v", few, many)
}

// countCost is the least time that one Count of a pool of n took on average.
func countCost(k peer.Kind, n int) (time.Duration, error) {
	const batch = 200
	s, err := openLazy(k, &works{}, n, nil)
	if err != nil {
		return 0, err
	}
	c, err := as[peer.Counter](s.Pool)
	if err != nil {
		return 0, err
	}
	if err := s.Warm(context.Background(), n); err != nil {
		return 0, err
	}
	best := time.Hour
	for range 20 {
		began := time.Now()
		for range batch {
			c.Count()
		}
		best = min(best, time.Since(began)/batch)
	}
	return max(best, time.Nanosecond), nil
}

func statsClosed(_ context.Context, k peer.Kind) (Finding, error) {
	if k.Lasting {
		return Finding{}, errors.ErrUnsupported
	}
	w := &works{takes: 100 * time.Millisecond}
	s, err := openLazy(k, w, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	c, err := as[peer.Counter](s.Pool)
	if err != nil {
		return Finding{}, err
	}
	go s.Warm(context.Background(), 1)
	if !until(func() bool { n, _, _ := w.tally(); return n == 1 }) {
		return fails("nothing is made ahead")
	}
	_ = s.closeFor(soon)
	if !until(func() bool { _, alive, _ := w.tally(); return alive == 0 }) {
		return fails("never destroyed")
	}
	time.Sleep(settle)
	if total, idle := c.Count(); total > 0 {
		return fails("%d, of them %d idle", total, idle)
	}
	return passes()
}
