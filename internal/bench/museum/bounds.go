package museum

import (
	"context"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func bounds() []Exhibit {
	return []Exhibit{
		{Name: "max-destroying", Run: maxDestroying,
			What: "Never more alive than the maximum, those being destroyed included. The time is how long a caller then waits for a Destroy of 150 ms."},
		{Name: "max-reset", Run: maxReset,
			What: "Never more alive than the maximum through a Reset, those being destroyed included."},
		{Name: "resize-grow", Run: resizeGrow,
			What: "A pool that is made larger serves who waits, at once."},
		{Name: "resize-shrink", Run: resizeShrink,
			What: "A pool that is made smaller ends what is idle, and does not wait for a holder."},
	}
}

func maxDestroying(_ context.Context, k peer.Kind) (Finding, error) {
	w := &works{ends: 150 * time.Millisecond}
	s, err := openLazy(k, w, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	l, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	began := time.Now()
	l.Destroy()
	if _, err := s.take(); err != nil {
		return broken("Acquire", err)
	}
	waited := time.Since(began)
	if _, _, top := w.tally(); top > 1 {
		return fails("%d alive of 1", top)
	}
	return seen("%s", ms(waited))
}

func maxReset(_ context.Context, k peer.Kind) (Finding, error) {
	const most = 4
	w := &works{ends: 150 * time.Millisecond}
	s, err := openLazy(k, w, most, nil)
	if err != nil {
		return Finding{}, err
	}
	r, err := as[peer.Resetter](s.Pool)
	if err != nil {
		return Finding{}, err
	}
	for range 3 {
		held, err := s.takeAll(most)
		if err != nil {
			return broken("Acquire", err)
		}
		for _, l := range held {
			l.Release()
		}
		r.Reset()
	}
	if _, err := s.takeAll(most); err != nil {
		return broken("Acquire", err)
	}
	_, _, top := w.tally()
	return judge(top <= most, "%d alive of %d", top, most)
}

func resizeGrow(ctx context.Context, k peer.Kind) (Finding, error) {
	s, err := openLazy(k, &works{}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	r, err := as[peer.Resizer](s.Pool)
	if err != nil {
		return Finding{}, err
	}
	if _, err := s.take(); err != nil {
		return broken("Acquire", err)
	}
	got := s.ask(ctx)
	time.Sleep(settle)
	if err := r.Resize(2); err != nil {
		return Finding{}, err
	}
	began := time.Now()
	g := await(got, soon)
	if g.err != nil {
		return fails("who waits is not served")
	}
	took := g.at.Sub(began)
	return judge(took < 100*time.Millisecond, "%s", ms(took))
}

func resizeShrink(_ context.Context, k peer.Kind) (Finding, error) {
	w := &works{}
	s, err := openLazy(k, w, 4, nil)
	if err != nil {
		return Finding{}, err
	}
	r, err := as[peer.Resizer](s.Pool)
	if err != nil {
		return Finding{}, err
	}
	held, err := s.takeAll(4)
	if err != nil {
		return broken("Acquire", err)
	}
	for _, l := range held[:2] {
		l.Release()
	}
	if _, err := call(soon, func() (struct{}, error) { return struct{}{}, r.Resize(1) }); err != nil {
		return broken("Resize", err)
	}
	if !until(func() bool { _, alive, _ := w.tally(); return alive <= 2 }) {
		_, alive, _ := w.tally()
		return fails("%d alive of 1, 2 of them held", alive)
	}
	for _, l := range held[2:] {
		if w.dead(l.Item()) {
			return fails("a holder is interrupted")
		}
		l.Release()
	}
	if !until(func() bool { _, alive, _ := w.tally(); return alive <= 1 }) {
		_, alive, _ := w.tally()
		return fails("%d stay alive of 1", alive)
	}
	return passes()
}
