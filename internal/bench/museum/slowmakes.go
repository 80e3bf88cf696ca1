package museum

import (
	"context"
	"errors"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func slowMakes() []Exhibit {
	return []Exhibit{
		{Name: "hung-make", Run: hungMake,
			What: "A make that hangs until its context ends does not keep its slot when its caller has left."},
		{Name: "deaf-make", Run: deafMake,
			What: "A caller leaves when its context ends, although the make does not look at its own."},
		{Name: "caller-kills-dial", Run: callerKillsDial,
			What: "A make outlives the context of the caller it was begun for, and serves the next."},
		{Name: "try-kills-dial", Run: tryKillsDial,
			What: "So does a make that was begun by a TryAcquire."},
	}
}

func hungMake(_ context.Context, k peer.Kind) (Finding, error) {
	w := &works{making: func(ctx context.Context, n int) error {
		if n == 1 {
			<-ctx.Done()
		}
		return ctx.Err()
	}}
	s, err := openLazy(k, w, 1, func(c *peer.Config) { c.MakeTimeout = 200 * time.Millisecond })
	if err != nil {
		return Finding{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if g := await(s.ask(ctx), soon); errors.Is(g.err, errLate) {
		return fails("its caller waits for ever")
	}
	if _, err := s.keepTaking(); err != nil {
		return fails("the slot is lost")
	}
	return passes()
}

func deafMake(_ context.Context, k peer.Kind) (Finding, error) {
	w := &works{making: func(context.Context, int) error {
		time.Sleep(400 * time.Millisecond)
		return nil
	}}
	s, err := openLazy(k, w, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	g := await(s.ask(ctx), soon)
	took := g.at.Sub(began)
	return judge(took < 200*time.Millisecond, "%s", ms(took))
}

func callerKillsDial(_ context.Context, k peer.Kind) (Finding, error) {
	return killsDial(k, func(ctx context.Context, s stage) error {
		if l, err := s.Acquire(ctx); err == nil {
			l.Release()
		}
		return nil
	})
}

// tryKillsDial needs a TryAcquire that begins a make: most look at what is idle and
// no further.
func tryKillsDial(_ context.Context, k peer.Kind) (Finding, error) {
	return killsDial(k, func(ctx context.Context, s stage) error {
		t, err := as[peer.Trier](s.Pool)
		if err != nil {
			return err
		}
		t.TryAcquire(ctx)
		<-ctx.Done()
		if n, _, _ := s.w.tally(); n == 0 {
			return errors.ErrUnsupported
		}
		return nil
	})
}

// killsDial wants one make to be all there is, although its first caller left.
func killsDial(k peer.Kind, first func(context.Context, stage) error) (Finding, error) {
	w := &works{takes: 150 * time.Millisecond}
	s, err := openLazy(k, w, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if err := first(ctx, s); err != nil {
		return Finding{}, err
	}
	<-ctx.Done()
	l, err := s.keepTaking()
	if err != nil {
		return broken("Acquire", err)
	}
	l.Release()
	n, _, _ := w.tally()
	return judge(n == 1, "%d makes", n)
}
