package museum

import (
	"context"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func ages() []Exhibit {
	return []Exhibit{
		{Name: "lifetime-busy", Issues: []string{"pgx#2560"}, Run: lifetimeBusy,
			What: "An item that is always in use ends at its age all the same."},
		{Name: "min-idle", Issues: []string{"HikariCP#1474", "HikariCP#1830"}, Run: tries(3, minIdle),
			What: "After two items broke, the two that are to be idle are there again within a second, and not only at the next sweep, which is after three."},
		{Name: "jitter-cut", Run: jitterCut,
			What: "Twelve items made together, to end at 4.4 s with 0.9 s of jitter, end over at least a quarter of that."},
	}
}

func lifetimeBusy(_ context.Context, k peer.Kind) (Finding, error) {
	const age = 150 * time.Millisecond
	w := &works{}
	s, err := openLazy(k, w, 1, func(c *peer.Config) { c.MaxAge = age })
	if err != nil {
		return Finding{}, err
	}
	for end := time.Now().Add(6 * age); time.Now().Before(end); {
		l, err := s.take()
		if err != nil {
			return broken("Acquire", err)
		}
		time.Sleep(5 * time.Millisecond)
		l.Release()
	}
	n, _, _ := w.tally()
	return judge(n >= 3, "%d items in 6 ages", n)
}

// minIdle has a sweep so seldom that the pool must see by itself that it has too
// few. It may take its time: some wait until what broke is gone, and look again.
func minIdle(_ context.Context, k peer.Kind) (Finding, error) {
	const floor = 2
	s, err := openLazy(k, &works{}, floor, func(c *peer.Config) { c.MinIdle, c.CheckEvery = floor, 3*time.Second })
	if err != nil {
		return Finding{}, err
	}
	c, err := as[peer.Counter](s.Pool)
	if err != nil {
		return Finding{}, err
	}
	if err := s.Warm(context.Background(), floor); err != nil {
		return Finding{}, err
	}
	held, err := s.takeAll(floor)
	if err != nil {
		return broken("Acquire", err)
	}
	broke := time.Now()
	for _, l := range held {
		l.Destroy()
	}
	if !until(func() bool { _, idle := c.Count(); return idle >= floor }) {
		return fails("not in %v", soon)
	}
	took := time.Since(broke)
	return judge(took < time.Second, "%s", ms(took))
}

// jitterCut keeps all of them busy: some pools look at an age only then.
func jitterCut(_ context.Context, k peer.Kind) (Finding, error) {
	const items, age, jitter = 12, 4400 * time.Millisecond, 900 * time.Millisecond
	w := &works{}
	s, err := openLazy(k, w, items, func(c *peer.Config) {
		c.MaxAge, c.Jitter, c.CheckEvery = age, jitter, checkEvery
	})
	if err != nil {
		return Finding{}, err
	}
	begun := time.Now()
	for gone := 0; gone < items && time.Since(begun) < age+2*jitter; time.Sleep(20 * time.Millisecond) {
		held, err := s.takeAll(items)
		if err != nil {
			return broken("Acquire", err)
		}
		for _, l := range held {
			l.Release()
		}
		w.mu.Lock()
		gone = len(w.ended)
		w.mu.Unlock()
	}
	first, last, n := w.lifetimes(items)
	if n < items {
		return fails("%d of %d end", n, items)
	}
	return judge(last-first >= jitter/4, "over %s", ms(last-first))
}

// lifetimes returns the youngest and the oldest age at which the first items ended,
// and how many have.
func (w *works) lifetimes(items int) (first, last time.Duration, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first = time.Hour
	for id := 1; id <= items; id++ {
		if at, ok := w.ended[id]; ok {
			age := at.Sub(w.born[id])
			first, last, n = min(first, age), max(last, age), n+1
		}
	}
	return first, last, n
}
