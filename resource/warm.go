package resource

import "context"

// warmer is one call of Warm.
type warmer struct {
	ctx  context.Context
	n    int
	done chan error // holds one
}

// Warm makes resources until n exist, or as many as MaxSize, or the total
// of a [Keyed], allows, and waits for them. It fails with the first make's failure, with ctx, or [ErrClosed];
// makes already begun go on.
func (p *Pool[T]) Warm(ctx context.Context, n int) error {
	if ctx.Err() != nil {
		return ctxError(ctx)
	}
	w := &warmer{ctx: ctx, n: n, done: make(chan error, 1)}
	p.lock()
	if p.closed {
		p.unlock()
		return ErrClosed
	}
	p.warming = append(p.warming, w)
	p.warmed(nil)
	p.grow()
	p.unlock()
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
	}
	err := ctxError(ctx)
	p.lock()
	defer p.unlock()
	for i, other := range p.warming {
		if other == w {
			p.warming = append(p.warming[:i], p.warming[i+1:]...)
			p.grow() // what it claimed of a Keyed's total, others may have
			return err
		}
	}
	return <-w.done // it was decided just before
}

// warmed tells the calls of Warm that are satisfied, or all of them err. The
// pool is locked.
func (p *Pool[T]) warmed(err error) {
	if len(p.warming) == 0 {
		return
	}
	exist, most := p.live-p.making-p.dying, p.max
	if p.shared != nil {
		total, _, _ := p.shared.budget.Levels()
		most = min(most, total)
	}
	kept := p.warming[:0]
	for _, w := range p.warming {
		if w.n = min(w.n, most); err != nil || exist >= w.n {
			w.done <- err
		} else {
			kept = append(kept, w)
		}
	}
	clear(p.warming[len(kept):])
	p.warming = kept
}
