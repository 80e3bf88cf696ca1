package museum

import (
	"context"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func resets() []Exhibit {
	return []Exhibit{
		{Name: "reset-leased", Run: resetLeased,
			What: "What was out at a Reset is destroyed when it comes back, not lent."},
		{Name: "reset-making", Run: resetMaking,
			What: "What was being made ahead at a Reset is not lent."},
		{Name: "reset-waiters", Issues: []string{"vitess#20187"}, Run: resetWaiters,
			What: "Who waits at a Reset is served after it."},
	}
}

func openReset(k peer.Kind, w *works, max int) (stage, peer.Resetter, error) {
	s, err := openLazy(k, w, max, nil)
	if err != nil {
		return s, nil, err
	}
	r, err := as[peer.Resetter](s.Pool)
	return s, r, err
}

func resetLeased(_ context.Context, k peer.Kind) (Finding, error) {
	w := &works{}
	s, r, err := openReset(k, w, 2)
	if err != nil {
		return Finding{}, err
	}
	l, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	it := l.Item()
	r.Reset()
	l.Release()
	next, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	if next.Item() == it {
		return fails("lent again")
	}
	if !until(func() bool { return w.dead(it) }) {
		return fails("never destroyed")
	}
	return passes()
}

func resetMaking(_ context.Context, k peer.Kind) (Finding, error) {
	w := &works{takes: 150 * time.Millisecond}
	s, r, err := openReset(k, w, 1)
	if err != nil {
		return Finding{}, err
	}
	warm := make(chan error, 1)
	go func() { warm <- s.Warm(context.Background(), 1) }()
	if !until(func() bool { n, _, _ := w.tally(); return n == 1 }) {
		return fails("nothing is made ahead")
	}
	r.Reset()
	select {
	case <-warm:
	case <-time.After(soon):
	}
	l, err := s.keepTaking()
	if err != nil {
		return broken("Acquire", err)
	}
	if l.Item().ID == 1 {
		return fails("lent")
	}
	return passes()
}

func resetWaiters(ctx context.Context, k peer.Kind) (Finding, error) {
	s, r, err := openReset(k, &works{}, 1)
	if err != nil {
		return Finding{}, err
	}
	l, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	got := s.ask(ctx)
	time.Sleep(settle)
	r.Reset()
	l.Release()
	if g := await(got, soon); g.err != nil {
		return fails("stranded")
	}
	return passes()
}
