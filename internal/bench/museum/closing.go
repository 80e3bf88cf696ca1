package museum

import (
	"context"
	"errors"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func closing() []Exhibit {
	return []Exhibit{
		{Name: "close-waiters", Run: closeWaiters,
			What: "Close, which has 200 ms, tells who waits, although a lease is out."},
		{Name: "close-leaked", Run: closeLeaked,
			What: "Close returns although a lease never ends: at once, or when its context ends."},
		{Name: "close-release", Run: closeRelease,
			What: "What is given back after Close, twice at that, is destroyed."},
	}
}

// closeTime is what a Close gets that cannot come to its end: well below soon, as
// some pools wait for the holders first and tell the others when that is over.
const closeTime = 200 * time.Millisecond

// closeFor closes the pool within d, and reports what its Close says.
func (s stage) closeFor(d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return s.Close(ctx)
}

func closeWaiters(ctx context.Context, k peer.Kind) (Finding, error) {
	s, err := openClosable(k, &works{}, 1)
	if err != nil {
		return Finding{}, err
	}
	if _, err := s.take(); err != nil {
		return broken("Acquire", err)
	}
	got := s.ask(ctx)
	time.Sleep(settle)
	began := time.Now()
	go s.closeFor(closeTime)
	g := await(got, soon)
	switch {
	case errors.Is(g.err, errLate):
		return fails("not told in %v", soon)
	case g.err == nil:
		return fails("served from a closed pool")
	}
	return seen("after %s", ms(g.at.Sub(began)))
}

func closeLeaked(_ context.Context, k peer.Kind) (Finding, error) {
	s, err := openClosable(k, &works{}, 1)
	if err != nil {
		return Finding{}, err
	}
	if _, err := s.take(); err != nil {
		return broken("Acquire", err)
	}
	began := time.Now()
	if err := s.closeFor(closeTime); errors.Is(err, peer.ErrLeftBehind) {
		return fails("hangs")
	}
	took := time.Since(began)
	return judge(took < soon, "%s", ms(took))
}

func closeRelease(_ context.Context, k peer.Kind) (Finding, error) {
	s, err := openClosable(k, &works{}, 1)
	if err != nil {
		return Finding{}, err
	}
	l, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	it := l.Item()
	_ = s.closeFor(50 * time.Millisecond)
	if err := do(l.Release); err != nil {
		return broken("Release", err)
	}
	if err := do(l.Release); err != nil {
		return broken("the second", err)
	}
	if !until(func() bool { return s.w.dead(it) }) {
		return fails("never destroyed")
	}
	return passes()
}
