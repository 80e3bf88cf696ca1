package proof_test

import (
	"context"
	"errors"
	"time"

	"github.com/respool/respool/resource"
)

// plainLease is a lease of a plain pool. It has ended when its turn differs from that of the
// item.
type plainLease[T any] struct {
	p    *plain[T]
	it   *item[T]
	turn int
	info resource.Info
	done resource.Done
}

func (l *plainLease[T]) Value() T {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	if l.it.turn != l.turn {
		panic("value of a lease that has ended")
	}
	return l.it.v
}

func (l *plainLease[T]) Info() resource.Info {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	if l.it.turn != l.turn {
		return resource.Info{}
	}
	return l.info
}

// end ends the lease; the argument decides what happens to the item.
func (l *plainLease[T]) end(o resource.Outcome, then func()) {
	p := l.p
	p.mu.Lock()
	stale := l.it.turn != l.turn
	if stale && !(p.bug == "ends another's lease" && l.it.out) {
		p.mu.Unlock()
		return
	}
	l.it.turn++
	p.mu.Unlock()
	if !stale {
		l.done(o)
		if p.bug == "runs a Done twice" && o.Err != nil {
			l.done(o)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l.it.out = false
	p.s.Leased--
	p.s.Released++
	then()
	p.grow(context.Background())
	p.notify()
}

func (l *plainLease[T]) Release() {
	l.p.mu.Lock()
	i := l.it.info()
	stale := l.it.turn != l.turn
	l.p.mu.Unlock()
	var cause error
	if !stale {
		cause = l.p.evict(i)
	}
	l.end(resource.Outcome{Verdict: resource.OK}, func() { l.p.put(l.it, cause) })
}

func (l *plainLease[T]) Fail(err error) {
	if err == nil {
		l.Release()
		return
	}
	bad := true
	if l.p.cfg.Broken != nil {
		bad = contain("Broken", func() error { bad = l.p.cfg.Broken(err); return nil }) != nil || bad
	}
	if !bad {
		l.Release()
		return
	}
	l.end(resource.Outcome{Verdict: resource.Failed, Err: err}, func() { l.p.put(l.it, err) })
}

func (l *plainLease[T]) Discard(cause error) {
	if cause == nil {
		cause = resource.ErrDiscarded
	}
	l.end(resource.Outcome{Verdict: resource.Failed, Err: cause}, func() { l.p.put(l.it, cause) })
}

func (l *plainLease[T]) Hijack() (v T, ok bool) {
	l.end(resource.Outcome{Verdict: resource.OK}, func() {
		v, ok = l.it.v, true
		l.it.gone = true
		if l.p.bug != "forgets to count a hijack" {
			l.p.s.Hijacked++
		}
		if l.p.bug == "destroys what was hijacked" {
			l.p.s.Hijacked--
			l.p.destroy(l.it, resource.ErrDiscarded)
		}
	})
	if ok && l.p.bug != "destroys what was hijacked" {
		l.it.quota(resource.Outcome{Verdict: resource.OK})
	}
	return v, ok
}

func (p *plain[T]) TryAcquire() (lease[T], bool) {
	p.mu.Lock()
	if p.closed || len(p.idle) == 0 || len(p.line) > 0 {
		p.countFailure(context.Background(), resource.ErrNoneIdle)
		p.mu.Unlock()
		return nil, false
	}
	p.mu.Unlock()
	l, err := p.AcquireWith(context.Background(), resource.Request{NoWait: true})
	return l, err == nil
}

func (p *plain[T]) Do(ctx context.Context, f func(context.Context, T) error) error {
	l, err := p.AcquireWith(ctx, resource.Request{})
	if err != nil {
		return err
	}
	defer l.Discard(errors.New("the function of Do did not return"))
	err = f(ctx, l.Value())
	l.Fail(err)
	return err
}

func (p *plain[T]) Warm(ctx context.Context, n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	failed := p.s.Failed
	for {
		switch {
		case p.closed:
			return resource.ErrClosed
		case p.bug == "gives up to warm" && p.s.Failed > failed:
			return p.s.LastMake
		case p.s.Idle+p.s.Leased >= min(n, p.s.Max):
			p.warm = 0
			return nil
		}
		p.warm = max(p.warm, min(n, p.s.Max))
		p.grow(ctx)
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		p.mu.Lock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (p *plain[T]) Resize(n int) error {
	if n < 1 {
		return errors.New("too small")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s.Max = n
	over := p.s.Idle + p.s.Leased - n
	p.drop(func(*item[T]) error {
		if over--; over >= 0 && p.bug != "keeps too many" {
			return resource.ErrResized
		}
		return nil
	})
	p.grow(context.Background())
	p.notify()
	return nil
}

func (p *plain[T]) Reset(cause error) {
	if cause == nil {
		cause = resource.ErrReset
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gen++
	p.fresh, p.overdue = 0, 0
	if p.bug != "lets makes go on at Reset" {
		p.over(resource.ErrReset)
	}
	p.era, p.over = context.WithCancelCause(p.base)
	p.drop(func(*item[T]) error { return cause })
	p.grow(context.Background())
}

func (p *plain[T]) Stats() resource.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.s
}

func (p *plain[T]) Close(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.stop(resource.ErrClosed)
	for len(p.line) > 0 {
		p.answer(answer[T]{err: resource.ErrClosed})
	}
	p.drop(func(*item[T]) error { return resource.ErrClosed })
	p.notify()
	for p.running > 0 || p.s.Leased+p.s.Idle > 0 {
		if p.bug == "closes too early" && p.s.Leased == 0 {
			return nil
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		p.mu.Lock()
		if ctx.Err() != nil && (p.running > 0 || p.s.Leased+p.s.Idle > 0) {
			return &resource.CloseError{Err: ctx.Err(), Load: p.s.Load, Leased: make([]uint64, min(p.s.Leased, 16))}
		}
	}
	return nil
}

// sweep applies Eviction and MinIdle to the idle items periodically.
func (p *plain[T]) sweep() {
	every := p.cfg.SweepInterval
	if every == 0 {
		every = resource.DefaultSweepInterval
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-p.base.Done():
			return
		}
		p.mu.Lock()
		p.drop(func(it *item[T]) error { return p.evict(it.info()) })
		p.grow(context.Background())
		p.mu.Unlock()
	}
}
