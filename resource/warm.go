package resource

import "context"

// warmer is one call of Warm.
type warmer struct {
	ctx     context.Context
	n       int
	missing int        // how many makes are to begin for it, as far as was known at first
	begun   int        // makes that were begun for it and have not failed
	done    chan error // holds one
}

// Warm makes resources until n exist, or as many as MaxSize, or the total of a
// [Keyed], allows, and waits for them. At most 50 are made at once. Makes that
// fail or are refused are tried again, at the pace of [FailFast]'s outages, until
// ctx ends: then Warm returns a [*WarmError], which says how many there are and
// how the last make failed. It returns [ErrClosed] when the pool is closed. Makes
// already begun go on. Their contexts have the values of ctx.
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
	w.missing = n - p.exist() - p.maker.coming(p.cap.max)
	for _, other := range p.warming {
		w.missing -= max(0, other.missing-other.begun)
	}
	p.warming = append(p.warming, w)
	p.warmed()
	p.grow()
	p.unlock()
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
	}
	err := &WarmError{Err: ctxError(ctx), Want: n}
	p.lock()
	defer p.unlock()
	for i, other := range p.warming {
		if other == w {
			p.warming = append(p.warming[:i], p.warming[i+1:]...)
			p.grow() // what it claimed of a Keyed's total, others may have
			err.Have, err.LastMake = p.exist(), p.maker.lastCause()
			return err
		}
	}
	return <-w.done // it was decided just before
}

// exist is how many resources there are. The pool is locked.
func (p *Pool[T]) exist() int { return p.cap.live - p.maker.making - p.cap.dying }

// warmed tells the calls of Warm that are satisfied. The pool is locked.
func (p *Pool[T]) warmed() {
	if len(p.warming) == 0 {
		return
	}
	most := p.cap.most()
	kept := p.warming[:0]
	for _, w := range p.warming {
		w.n = min(w.n, most)
		switch {
		case p.closed:
			w.done <- ErrClosed
		case p.exist() >= w.n:
			w.done <- nil
		default:
			kept = append(kept, w)
		}
	}
	clear(p.warming[len(kept):])
	p.warming = kept
}

// warmth is how many makes Warm calls for. The pool is locked.
func (p *Pool[T]) warmth() (more int) {
	for _, w := range p.warming {
		more = max(more, w.n-p.exist()-p.maker.coming(p.cap.max))
	}
	return more
}

// MakeOne makes one resource more, now, and waits for it: whatever is idle, and
// whether or not callers wait. It goes to the first waiter or lies idle. It
// fails with what Make returned, with the refusal of a MakeGate or Quota,
// with [ErrFull] if MaxSize, or the total of a [Keyed], leaves no room, and with
// [ErrClosed] or another cause if what was made is destroyed at once. If ctx ends
// before, its error is returned and the make goes on. The make's context has the
// values of ctx.
func (p *Pool[T]) MakeOne(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctxError(ctx)
	}
	result := make(chan error, 1)
	if err := p.beginOne(ctx, result); err != nil {
		return err
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctxError(ctx)
	}
}

// beginOne begins the make of MakeOne.
func (p *Pool[T]) beginOne(ctx context.Context, result chan<- error) error {
	p.lock()
	defer p.unlock()
	switch {
	case p.closed:
		return ErrClosed
	case p.cap.full() || !p.cap.takeFree():
		return ErrFull
	}
	m := makeFor[T](ctx)
	m.result = result
	p.startMake(m, &p.counts.begun.MakeOne)
	return nil
}
