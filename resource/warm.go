package resource

import "context"

// warmer is one call of Warm.
type warmer struct {
	ctx     context.Context
	n       int
	missing int        // how many creations are to begin for it, as far as was known at first
	begun   int        // creations that were begun for it and have not failed
	done    chan error // holds one
}

// Warm makes resources until n exist, or as many as MaxSize, or the total of a
// [Keyed], allows, and waits for them. At most 50 are made at once. Creations that fail
// or are refused are tried again, at the pace of [FailFast]'s outages, until ctx ends:
// then Warm returns a [*WarmError], which says how many there are and how the last
// creation failed. It returns [ErrClosed] when the pool is closed. Creations already
// begun continue. Their contexts have the values of ctx.
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
	p.maker.addWarmer(w, p.exist(), p.cap.max)
	p.maker.warmed(p.exist(), p.cap.most(), nil)
	p.changed = true
	p.unlock()
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
	}
	err := &WarmError{Err: ctxError(ctx), Want: n}
	p.lock()
	defer p.unlock()
	if p.maker.removeWarmer(w) {
		p.changed = true // other pools may have what it claimed of a Keyed's total
		err.Have, err.LastMake = p.exist(), p.maker.lastCause()
		return err
	}
	return <-w.done // it was decided just before
}

// MakeOne makes one resource more, now, and waits for it: whatever is idle, and whether
// or not callers wait. It goes to the first waiter or lies idle. It fails with what
// Make returned, with the refusal of a MakeGate or Quota, with [ErrFull] if MaxSize, or
// the total of a [Keyed], leaves no room, and with [ErrClosed] or another cause if the
// new resource is destroyed at once. If ctx ends before, its error is returned and the
// creation continues. Its context has the values of ctx.
func (p *Pool[T]) MakeOne(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctxError(ctx)
	}
	result := make(chan error, 1)
	m := newCreation[T](ctx)
	m.result = result
	p.lock()
	switch {
	case p.closed:
		p.unlock()
		return ErrClosed
	case p.cap.full() || !p.cap.takeFree():
		p.unlock()
		return ErrFull
	}
	p.startCreation(m, &p.counts.begun.MakeOne)
	p.unlock()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctxError(ctx)
	}
}
