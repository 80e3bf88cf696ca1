package resource

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// making is one attempt to make a resource. It holds a place in the pool from
// startMake until it has succeeded, failed or been abandoned.
type making[T any] struct {
	ctx     context.Context // with the values of the caller for whom it is
	era     *era            // in which it began
	quota   Done
	began   time.Duration // Make, on the pool's clock
	took    time.Duration
	settled atomic.Bool // its result was taken, or it was abandoned
	lost    bool        // abandoned: callMake puts away what is left
}

// makingKey carries a *making through puddle to construct.
type makingKey struct{}

// startMake begins to make one, in the background. The pool is locked and has
// room.
func (p *Pool[T]) startMake(ctx context.Context) {
	p.live++
	p.making++
	p.busy++
	p.asking++
	p.sought, p.owed = false, false
	go p.make(&making[T]{ctx: context.WithoutCancel(ctx), era: p.era})
}

// make runs one attempt to its end. Each function that is not ours is guarded
// so that what it breaks is only this attempt.
func (p *Pool[T]) make(m *making[T]) {
	defer p.unbusy()
	gate, err := p.permits(m)
	if err != nil {
		p.makeRefused(m, err)
		return
	}
	if !p.stillWanted() {
		p.passGate(gate, Outcome{})
		p.releaseQuota(m, Outcome{})
		p.withdraw()
		return
	}
	res, err := p.life.make(context.WithValue(m.ctx, makingKey{}, m))
	// The permit goes back first: the next make may want it.
	if err != nil {
		p.passGate(gate, Outcome{Verdict: Failed, Err: err, Latency: m.took})
		p.makeFailed(m, err)
	} else {
		p.passGate(gate, Outcome{Verdict: OK, Latency: m.took})
		p.makeDone(m, res)
	}
}

// passGate gives the MakeGate's permit back.
func (p *Pool[T]) passGate(gate Done, o Outcome) {
	if gate != nil {
		_ = p.isolate("Done", func() { gate(o) })
	}
}

// stillWanted reports whether a make may begin now that it was let through: the
// pool may have been closed or shrunk meanwhile.
func (p *Pool[T]) stillWanted() bool {
	p.lock()
	defer p.unlock()
	p.asking--
	if p.refusals > 0 {
		p.refusals = 0
		p.grow()
	}
	return !p.closed && p.live <= p.max && p.fitsTotal()
}

// permits asks the Quota and the MakeGate. Their contexts end at Close.
func (p *Pool[T]) permits(m *making[T]) (gate Done, err error) {
	if p.cfg.Quota == nil && p.cfg.MakeGate == nil {
		return nil, nil
	}
	ctx, cancel := context.WithCancel(m.ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	ask := func(a Admission, where string) (done Done, err error) {
		if a == nil {
			return nil, nil
		}
		// If Admit ends its goroutine nothing was admitted.
		if broke := p.isolate(where, func() {
			done, err = a.Admit(ctx, Request{})
			done, err = p.verdict(ctx, where, done, err) // may call methods of err
		}); broke != nil {
			return nil, &Rejection{Policy: where, Err: broke}
		}
		return done, err
	}
	if m.quota, err = ask(p.cfg.Quota, "Quota"); err != nil {
		return nil, err
	}
	if gate, err = ask(p.cfg.MakeGate, "MakeGate"); err != nil {
		p.releaseQuota(m, Outcome{})
	}
	return gate, err
}

// construct is puddle's constructor: it runs on a goroutine of puddle's. It
// bounds Make, and gives up one that does not return.
func (p *Pool[T]) construct(pctx context.Context) (*entry[T], error) {
	m := pctx.Value(makingKey{}).(*making[T])
	ctx, cancel := context.WithTimeoutCause(m.ctx, p.cfg.MakeTimeout, ErrMakeTimeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	patience := time.NewTimer(plus(p.cfg.MakeTimeout, min(p.cfg.MakeTimeout/10, time.Second)))
	defer patience.Stop()
	m.began = p.since()
	result := make(chan made[T], 1)
	go p.callMake(ctx, m, result)
	select {
	case r := <-result:
		return r.e, r.err
	case <-patience.C:
	}
	p.countLost(1) // before callMake may count it out
	if !m.settled.CompareAndSwap(false, true) {
		p.countLost(-1)
		r := <-result
		return r.e, r.err
	}
	m.took = p.since() - m.began
	m.lost = true
	return nil, ErrMakeTimeout
}

// made is what came of one call of Make.
type made[T any] struct {
	e   *entry[T]
	err error
}

// callMake calls Make and Watch and sends what came of it, or, if it was
// abandoned meanwhile, ends it here. Its last steps are deferred so that they
// happen also if Make or Watch ends the goroutine.
func (p *Pool[T]) callMake(ctx context.Context, m *making[T], result chan<- made[T]) {
	r := made[T]{err: ErrGoexit}
	var e *entry[T]
	defer func() {
		if r.err != nil && e != nil {
			p.destroyValue(e, r.err) // Watch failed
		}
		if m.settled.CompareAndSwap(false, true) {
			m.took = p.since() - m.began
			result <- r
			return
		}
		if r.err == nil {
			p.destroyValue(e, ErrMakeTimeout)
		}
		p.releaseQuota(m, Outcome{Verdict: Failed, Err: ErrMakeTimeout})
		p.countLost(-1)
	}()
	var v T
	var err error
	if broke := p.guard("Make", func() { v, err = p.cfg.Make(ctx) }); broke != nil {
		r.err = broke
		return
	}
	if err != nil {
		if context.Cause(ctx) == ErrMakeTimeout && !p.is(err, ErrMakeTimeout) {
			err = fmt.Errorf("%w: %w", ErrMakeTimeout, err)
		}
		r.err = err
		return
	}
	e = &entry[T]{pool: p, value: v, made: m.began, spread: rand.Float64(), phase: rand.Uint64(), quota: m.quota, era: m.era, born: p.since()}
	if p.cfg.Watch != nil {
		if broke := p.guard("Watch", func() { p.cfg.Watch(v, func(cause error) { p.doom(e, cause) }) }); broke != nil {
			r.err = broke
			return
		}
	}
	r = made[T]{e: e}
}

func (p *Pool[T]) countLost(n int) {
	p.lock()
	p.lost += n
	p.unlock()
}

// destroyValue destroys a value that never came into the pool.
func (p *Pool[T]) destroyValue(e *entry[T], cause error) {
	p.lock()
	e.place = gone // doom does nothing any more
	p.unlock()
	if p.cfg.Destroy != nil {
		_ = p.isolate("Destroy", func() { p.cfg.Destroy(e.value, cause) })
	}
}

// releaseQuota gives back the Quota's permit for a resource that never was.
func (p *Pool[T]) releaseQuota(m *making[T], o Outcome) {
	if quota := m.quota; quota != nil {
		m.quota = nil
		_ = p.isolate("Done", func() { quota(o) })
	}
}

// unbusy ends a goroutine of the pool's own.
func (p *Pool[T]) unbusy() {
	p.lock()
	p.busy--
	p.unlock()
}
