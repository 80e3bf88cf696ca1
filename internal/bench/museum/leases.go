package museum

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/respool/respool/internal/bench/peer"
)

func leases() []Exhibit {
	return []Exhibit{
		{Name: "stale-release", Run: staleRelease,
			What: "A lease that has ended cannot end the next holder's."},
		{Name: "release-twice", Run: releaseTwice,
			What: "A second Release of one lease does nothing."},
		{Name: "release-race", Issues: []string{"pgx#2260", "pgx#2564"}, Run: releaseRace,
			What: "Two Releases of one lease at the same time are one."},
		{Name: "release-destroyed", Run: releaseDestroyed,
			What: "What was destroyed is not lent again because it is released as well."},
		{Name: "destroy-twice", Run: destroyTwice,
			What: "A second Destroy of one lease does nothing."},
		{Name: "use-released", Run: useReleased,
			What: "A lease that has ended does not lead to the next holder's item."},
		{Name: "use-destroyed", Run: useDestroyed,
			What: "A lease that has ended does not lead to an item that was destroyed."},
	}
}

// nextAlone takes an item, and finds out whether its holder is the only one.
func (s stage) nextAlone() (Finding, error) {
	next, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	return s.shared(next.Item())
}

// shared acquires twice from a pool of one, and tells whether both got it: the
// first of them is of a holder that is still there.
func (s stage) shared(holder *peer.Item) (Finding, error) {
	got := await(s.ask(context.Background()), settle*10)
	if got.err == nil && got.lease.Item() == holder {
		return fails("two holders")
	}
	if got.err == nil {
		return fails("two items of one at most")
	}
	if !errors.Is(got.err, errLate) {
		return broken("Acquire", got.err)
	}
	return passes()
}

func staleRelease(_ context.Context, k peer.Kind) (Finding, error) {
	s, err := open(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	old, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	old.Release()
	next, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	holder := next.Item()
	_ = do(old.Release) // a panic would be as good as nothing
	return s.shared(holder)
}

func releaseTwice(_ context.Context, k peer.Kind) (Finding, error) {
	s, err := open(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	l, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	l.Release()
	if err := do(l.Release); err != nil {
		return broken("the second", err)
	}
	return s.nextAlone()
}

// releaseRace forgives the loser a panic: it was told.
func releaseRace(_ context.Context, k peer.Kind) (Finding, error) {
	const rounds = 10000
	s, err := open(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	for i := range rounds {
		l, err := s.take()
		if err != nil {
			return fails("lost after %d rounds", i)
		}
		var ready atomic.Int64
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				defer func() { _ = recover() }()
				for ready.Add(1); ready.Load() < 2; {
				}
				l.Release()
			})
		}
		if err := do(both.Wait); err != nil {
			return broken("Release", err)
		}
	}
	return s.nextAlone()
}

func releaseDestroyed(_ context.Context, k peer.Kind) (Finding, error) {
	s, err := openLazy(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	l, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	it := l.Item()
	l.Destroy()
	_ = do(l.Release)
	if !until(func() bool { return s.w.dead(it) }) {
		return fails("never destroyed")
	}
	next, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	if next.Item() == it {
		return fails("a destroyed item lent")
	}
	return s.shared(next.Item())
}

func destroyTwice(_ context.Context, k peer.Kind) (Finding, error) {
	s, err := openLazy(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	for range 3 {
		l, err := s.take()
		if err != nil {
			return broken("Acquire", err)
		}
		l.Destroy()
		if err := do(l.Destroy); err != nil {
			return broken("the second", err)
		}
	}
	return s.nextAlone()
}

func useReleased(_ context.Context, k peer.Kind) (Finding, error) {
	s, err := open(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	old, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	old.Release()
	if _, err := s.take(); err != nil {
		return broken("Acquire", err)
	}
	return unusable(old)
}

func useDestroyed(_ context.Context, k peer.Kind) (Finding, error) {
	s, err := openLazy(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	l, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	it := l.Item()
	l.Destroy()
	if !until(func() bool { return s.w.dead(it) }) {
		return fails("never destroyed")
	}
	return unusable(l)
}

// unusable passes if l, which has ended, says so.
func unusable(l peer.Lease) (Finding, error) {
	switch err := l.Use(); {
	case errors.Is(err, errors.ErrUnsupported):
		return Finding{}, err
	case err == nil:
		return fails("still usable")
	}
	return passes()
}
