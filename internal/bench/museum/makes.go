package museum

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func makes() []Exhibit {
	return []Exhibit{
		{Name: "dial-storm", Issues: []string{"go-redis#3890", "go-redis#3891", "golang/go#57248"}, Run: tries(3, dialStorm), alone: true,
			What: "Fifty callers, five idle items, work of 2 ms: at most ten makes, of 150 ms, and all is done before one could be."},
		{Name: "own-dial", Issues: []string{"go-redis#3890"}, Run: ownDial,
			What: "Who waits for a make of 400 ms takes what is released after 10 ms."},
		{Name: "dial-blocks", Run: dialBlocks,
			What: "While one is made for somebody, what is idle can be had."},
		{Name: "outage", Issues: []string{"bb8#149"}, Run: outage,
			What: "Two hundred callers, ten places, makes that fail after 50 ms: all are told within 500 ms, and at most fifty makes are tried."},
		{Name: "release-dials", Run: releaseDials,
			What: "Who gives a broken item back does not wait for the next one's make."},
	}
}

func dialStorm(_ context.Context, k peer.Kind) (Finding, error) {
	const callers, idle, takes = 50, 5, 150 * time.Millisecond
	w := &works{takes: takes}
	s, err := openLazy(k, w, callers, nil)
	if err != nil {
		return Finding{}, err
	}
	if err := s.Warm(context.Background(), idle); err != nil {
		return Finding{}, err
	}
	before, _, _ := w.tally()
	began := time.Now()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			if l, err := s.Acquire(context.Background()); err == nil {
				time.Sleep(2 * time.Millisecond)
				l.Release()
			}
		})
	}
	if err := do(all.Wait); err != nil {
		return broken("Acquire", err)
	}
	took := time.Since(began)
	after, _, _ := w.tally()
	return judge(took < takes && after-before <= 10, "%s, %d makes", ms(took), after-before)
}

func ownDial(ctx context.Context, k peer.Kind) (Finding, error) {
	w := &works{}
	s, err := openLazy(k, w, 2, nil)
	if err != nil {
		return Finding{}, err
	}
	l, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	w.setTakes(400 * time.Millisecond)
	began := time.Now()
	got := s.ask(ctx)
	time.Sleep(10 * time.Millisecond)
	l.Release()
	g := await(got, soon)
	if g.err != nil {
		return broken("Acquire", g.err)
	}
	took := g.at.Sub(began)
	return judge(took < 200*time.Millisecond, "%s", ms(took))
}

func dialBlocks(ctx context.Context, k peer.Kind) (Finding, error) {
	w := &works{}
	s, err := openLazy(k, w, 3, nil)
	if err != nil {
		return Finding{}, err
	}
	l, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	w.setTakes(400 * time.Millisecond)
	dialling := s.ask(ctx)
	time.Sleep(settle)
	go func() {
		if g := <-dialling; g.err == nil {
			g.lease.Release()
		}
	}()
	began := time.Now()
	go l.Release()
	time.Sleep(settle)
	if _, err := s.take(); err != nil {
		return broken("Acquire", err)
	}
	took := time.Since(began)
	return judge(took < 200*time.Millisecond, "%s", ms(took))
}

func outage(_ context.Context, k peer.Kind) (Finding, error) {
	const callers, watch = 200, 2 * time.Second
	w := &works{takes: 50 * time.Millisecond, making: func(context.Context, int) error { return errors.New("down") }}
	s, err := openLazy(k, w, 10, nil)
	if err != nil {
		return Finding{}, err
	}
	var asked []<-chan grant
	began := time.Now()
	for range callers {
		asked = append(asked, s.ask(context.Background()))
	}
	time.Sleep(watch)
	told, last := 0, time.Duration(0)
	for _, got := range asked {
		select {
		case g := <-got:
			told++
			last = max(last, g.at.Sub(began))
		default:
		}
	}
	makes, _, _ := w.tally()
	if told < callers {
		return fails("%d of %d not told in %v", callers-told, callers, watch)
	}
	return judge(last < 500*time.Millisecond && makes <= 50, "%s, %d makes", ms(last), makes)
}

func releaseDials(ctx context.Context, k peer.Kind) (Finding, error) {
	w := &works{}
	s, err := openLazy(k, w, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	l, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	got := s.ask(ctx)
	time.Sleep(settle)
	w.setTakes(300 * time.Millisecond)
	began := time.Now()
	if err := do(l.Destroy); err != nil {
		return broken("Destroy", err)
	}
	took := time.Since(began)
	if g := await(got, soon); g.err != nil {
		return fails("who waits is not served")
	}
	return judge(took < 150*time.Millisecond, "%s", ms(took))
}
