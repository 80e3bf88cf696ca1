package resource

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// making is one attempt to make a resource. It holds a slot of the pool from
// startMake until it has succeeded, failed or been abandoned.
type making[T any] struct {
	asker   context.Context // whose values Make sees
	ctx     context.Context // what Make is given
	cancel  context.CancelCauseFunc
	warmer  *warmer      // the call of Warm that it is for; nil: none
	result  chan<- error // of the call of MakeOne that it is for; nil: none
	quota   Done
	took    time.Duration
	settled atomic.Bool // its result was taken, or it was abandoned
	lost    bool        // abandoned: callMake puts away what is left

	// Guarded by the pool's lock.
	era        *era          // in which it called Make
	began      time.Duration // that, on the pool's clock
	id         uint64        // that its resource will have, if Make has asked; 0: it has not
	group      *makeGroup[T] // that it is in, or was when a Reset canceled it; nil: it has not called Make
	prev, next *making[T]    // there
}

// makingKey carries a *making through puddle to construct.
type makingKey struct{}

// makingIDKey carries to Make the function behind MakingID.
type makingIDKey struct{}

// MakingID returns the [Info].ID that the resource will have which is being made,
// given the context of [Config.Make] or one derived from it; if Make fails nothing
// will have it. With any other context it returns 0. It does not block.
func MakingID(ctx context.Context) uint64 {
	if id, ok := ctx.Value(makingIDKey{}).(func() uint64); ok {
		return id()
	}
	return 0
}

// makingID returns the ID of what m makes.
func (p *Pool[T]) makingID(m *making[T]) uint64 {
	p.mu.Lock() // not lock: it would count as a caller
	defer p.mu.Unlock()
	if m.id == 0 {
		m.id = p.registry.ids.Add(1)
	}
	return m.id
}

// startMake begins to make one, in the background. reason is the counter of
// those begun for the same reason. The pool is locked and has room.
func (p *Pool[T]) startMake(m *making[T], reason *int64) {
	*reason++
	p.cap.begin()
	p.busy++
	k := &p.maker
	k.making++
	k.sought, k.missed, k.owed = false, false, false
	// The context lives as long as the resource: destruct ends it.
	m.ctx, m.cancel = context.WithCancelCause(m.asker)
	if p.gated {
		k.asking++
	} else {
		p.beginMake(m)
	}
	go p.make(m)
}

// beginMake notes that m calls Make next. The pool is locked.
func (p *Pool[T]) beginMake(m *making[T]) {
	now := p.clock.now()
	m.era = p.era
	p.maker.begin(m, now)
	p.growAgain(now, p.maker.gauge.Patience())
}

// makeFor is an attempt for a caller with that context.
func makeFor[T any](ctx context.Context) *making[T] {
	return &making[T]{asker: context.WithoutCancel(ctx)}
}

// make runs one attempt to its end. Each function that is not ours is guarded
// so that what it breaks is only this attempt.
func (p *Pool[T]) make(m *making[T]) {
	defer p.unbusy()
	gate, err := p.permits(m)
	if err != nil {
		m.cancel(nil)
		p.makeRefused(m, err)
		return
	}
	if !p.stillWanted(m) {
		m.cancel(nil)
		p.policies.giveBackIsolated(gate, Outcome{})
		p.releaseQuota(m, Outcome{})
		p.withdraw(m)
		return
	}
	res, err := p.life.make(context.WithValue(m.asker, makingKey{}, m))
	// The permit goes back first: the next make may want it.
	if err != nil {
		m.cancel(nil)
		p.policies.giveBackIsolated(gate, Outcome{Verdict: Failed, Err: err, Latency: m.took})
		p.makeFailed(m, err)
	} else {
		p.policies.giveBackIsolated(gate, Outcome{Verdict: OK, Latency: m.took})
		p.makeDone(res)
	}
}

// stillWanted reports whether m may call Make now that it was let through: the
// pool may have been closed or shrunk meanwhile.
func (p *Pool[T]) stillWanted(m *making[T]) bool {
	if !p.gated && p.shared == nil && p.slowPath.Load()&overfull == 0 {
		return true
	}
	p.lock()
	defer p.unlock()
	k := &p.maker
	if p.gated {
		k.asking--
		if k.refusals > 0 {
			k.refusals = 0
			p.grow()
		}
	}
	if p.closed || p.cap.over() || !p.cap.fits() {
		return false
	}
	if p.gated {
		p.beginMake(m)
	}
	return true
}

// permits asks the Quota and the MakeGate. Their contexts end at Close.
func (p *Pool[T]) permits(m *making[T]) (gate Done, err error) {
	if p.cfg.Quota == nil && p.cfg.MakeGate == nil {
		return nil, nil
	}
	ctx, cancel := context.WithCancel(m.asker)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	ask := func(a Admission, where string, seam Reason) (done Done, err error) {
		if a == nil {
			return nil, nil
		}
		// If Admit ends its goroutine nothing was admitted.
		if broke := p.guard.isolate(where, func() {
			done, err = a.Admit(ctx, Request{})
			done, err = p.policies.admitted(ctx, where, done, err) // may call methods of err
		}); broke != nil {
			err = &Rejection{Policy: where, Err: broke}
		}
		if err != nil {
			return nil, &makeRefusal{seam, err}
		}
		return done, nil
	}
	if m.quota, err = ask(p.cfg.Quota, "Quota", ReasonQuota); err != nil {
		return nil, err
	}
	if gate, err = ask(p.cfg.MakeGate, "MakeGate", ReasonMakeGate); err != nil {
		p.releaseQuota(m, Outcome{})
	}
	return gate, err
}

// makeGrace is how long a Make may take to return after its context has ended:
// a tenth of MakeTimeout, but no more than this. Then it is abandoned.
const makeGrace = time.Second

// graceOf is how long m may go on running, now that its context has ended;
// negative: as long as it likes. At Close no caller waits for its slot.
func (p *Pool[T]) graceOf(m *making[T]) time.Duration {
	timeout := p.cfg.MakeTimeout
	closed := context.Cause(m.ctx) == ErrClosed
	switch {
	case timeout < 0 && closed:
		return -1
	case timeout < 0:
		return makeGrace
	}
	grace := min(timeout/10, makeGrace)
	if closed {
		grace = plus(max(0, timeout-(p.clock.now()-m.began)), grace)
	}
	return grace
}

// construct is puddle's constructor: it runs on a goroutine of puddle's. It
// bounds Make, and gives up one that does not return.
func (p *Pool[T]) construct(pctx context.Context) (*entry[T], error) {
	m := pctx.Value(makingKey{}).(*making[T])
	result := make(chan made[T], 1)
	go p.callMake(m, result)
	select {
	case r := <-result:
		return r.e, r.err
	case <-m.ctx.Done(): // before Make has returned; or just then, with what it made
	}
	var expired <-chan time.Time
	if grace := p.graceOf(m); grace >= 0 {
		patience := time.NewTimer(grace)
		defer patience.Stop()
		expired = patience.C
	}
	select {
	case r := <-result:
		return r.e, r.err
	case <-expired:
	}
	p.countLost(1) // before callMake may count it out
	if !m.settled.CompareAndSwap(false, true) {
		p.countLost(-1)
		r := <-result
		return r.e, r.err
	}
	m.took = p.clock.now() - m.began
	m.lost = true
	return nil, context.Cause(m.ctx)
}

// made is what came of one call of Make.
type made[T any] struct {
	e   *entry[T]
	err error
}

// callMake calls Make and Watch and sends what came of it, or, if it was
// abandoned meanwhile, ends it here. Its last steps are deferred so that they
// happen also if Make or Watch ends the goroutine.
func (p *Pool[T]) callMake(m *making[T], result chan<- made[T]) {
	r := made[T]{err: ErrGoexit}
	var e *entry[T]
	defer func() {
		if r.err != nil && e != nil {
			p.destroyValue(e, r.err) // Watch failed, or it was too late
		}
		if m.settled.CompareAndSwap(false, true) {
			m.took = p.clock.now() - m.began
			result <- r
			return
		}
		if r.err == nil {
			p.destroyValue(e, context.Cause(m.ctx))
		}
		p.releaseQuota(m, Outcome{Verdict: Failed, Err: context.Cause(m.ctx)})
		p.countLost(-1)
	}()
	stop := func() bool { return true } // reports whether the timer has not fired
	if p.cfg.MakeTimeout > 0 {
		stop = time.AfterFunc(p.cfg.MakeTimeout, func() { m.cancel(ErrMakeTimeout) }).Stop
		defer stop()
	}
	var v T
	var err error
	ctx := context.WithValue(m.ctx, makingIDKey{}, func() uint64 { return p.makingID(m) })
	broke := p.guard.call("Make", func() { v, err = p.cfg.Make(ctx) })
	if !stop() {
		m.cancel(ErrMakeTimeout) // the timer may only be about to
	}
	late := context.Cause(m.ctx) == ErrMakeTimeout
	switch {
	case broke != nil:
		r.err = broke
		return
	case err != nil && late && !p.guard.is(err, ErrMakeTimeout):
		r.err = &makeTimeoutError{err}
		return
	case err != nil:
		r.err = err
		return
	}
	e = &entry[T]{
		pool: p, value: v, made: m.began, era: m.era, cancel: m.cancel, making: m,
		spread: rand.Float64(), phase: rand.Uint64(), quota: m.quota, born: p.clock.now(),
	}
	if late { // its context, which is to live as long as the resource, has ended
		r.err = ErrMakeTimeout
		return
	}
	if p.cfg.Watch != nil {
		if broke := p.guard.call("Watch", func() { p.cfg.Watch(v, func(cause error) { p.invalidate(e, cause) }) }); broke != nil {
			r.err = broke
			return
		}
	}
	r = made[T]{e: e}
}

// makeTimeoutError is what Make returned after its context had ended with
// [Config.MakeTimeout]. It does not match the errors of contexts: the caller's
// own context has not ended.
type makeTimeoutError struct{ err error }

func (e *makeTimeoutError) Error() string  { return ErrMakeTimeout.Error() + ": " + e.err.Error() }
func (e *makeTimeoutError) Unwrap() error  { return ErrMakeTimeout }
func (e *makeTimeoutError) As(to any) bool { return errors.As(e.err, to) }
func (e *makeTimeoutError) Is(to error) bool {
	return to != context.DeadlineExceeded && to != context.Canceled && errors.Is(e.err, to)
}

func (p *Pool[T]) countLost(n int) {
	p.lock()
	p.maker.lost += n
	p.unlock()
}

// destroyValue destroys a value that never came into the pool.
func (p *Pool[T]) destroyValue(e *entry[T], cause error) {
	p.lock()
	e.loc = gone // invalidate does nothing any more
	p.unlock()
	if p.cfg.Destroy != nil {
		_ = p.guard.isolate("Destroy", func() { p.cfg.Destroy(e.value, cause) })
	}
	e.cancel(cause)
}

// releaseQuota gives back the Quota's permit for a resource that never was.
func (p *Pool[T]) releaseQuota(m *making[T], o Outcome) {
	quota := m.quota
	m.quota = nil
	p.policies.giveBackIsolated(quota, o)
}

// unbusy ends a goroutine of the pool's own.
func (p *Pool[T]) unbusy() {
	p.lock()
	p.busy--
	p.unlock()
}
