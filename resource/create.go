package resource

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/making"
	"github.com/respool/respool/internal/poolbridge"
	"github.com/respool/respool/internal/random"
)

// probation is how long a resource that no caller has used must live for its creation
// to count as a success.
const probation = 5 * time.Second

// creation is one attempt to create a resource. It holds a slot of the pool from
// startCreationLocked until it has succeeded, failed or been abandoned.
type creation[T any] struct {
	asker   context.Context         // whose values Make sees
	ctx     context.Context         // ends with the creation, unless that succeeds; see package making
	cancel  context.CancelCauseFunc // ends ctx and life
	life    context.Context         // what Make is given: ends with the resource
	die     context.CancelCauseFunc // ends life
	warmer  *warmer                 // the call of Warm that it is for; nil: none
	result  chan<- error            // of the call of MakeOne that it is for; nil: none
	multi   *multiWait[T]           // of the caller of AcquireAny that it was begun for; nil: none
	line    int                     // in which line of that caller
	drops   bool                    // it was begun because callers or Warm waited: see dropUnwanted
	quota   Done
	took    time.Duration
	settled atomic.Bool // its result was taken, or it was abandoned
	lost    bool        // abandoned: call puts away what is left

	// Guarded by the pool's lock.
	era        *era              // in which it called Make
	began      time.Duration     // that, on the pool's clock
	returned   permitCounts      // the maker's, when it began to ask the Quota and the MakeGate
	asking     bool              // it asks them
	dropped    bool              // it is not wanted any more, since before they have answered
	id         uint64            // that its resource will have, if Make has asked; 0: it has not
	group      *creationGroup[T] // that it is in, or was when a Reset canceled it; nil: it has not called Make
	prev, next *creation[T]      // there
}

// newCreation is an attempt for a caller with that context.
func newCreation[T any](ctx context.Context) *creation[T] {
	return &creation[T]{asker: context.WithoutCancel(ctx)}
}

// creationFor is a creation that begins because w waits.
func creationFor[T any](w *waiter[T]) *creation[T] {
	m := newCreation[T](w.ctx)
	m.multi, m.line = w.multi, w.line
	return m
}

// begin makes the contexts. It is destruct that ends the life of a resource.
func (m *creation[T]) begin() {
	var stop context.CancelCauseFunc
	m.ctx, stop = context.WithCancelCause(m.asker)
	m.life, m.die = context.WithCancelCause(m.asker)
	m.cancel = func(cause error) { stop(cause); m.die(cause) }
}

// report reports the result to the call of MakeOne, if the creation is for one.
func (m *creation[T]) report(err error) {
	if m.result != nil {
		m.result <- err // never blocks
	}
}

// unbegin has another creation begin for the call of Warm that m was for.
func (m *creation[T]) unbegin() {
	if m.warmer != nil {
		m.warmer.begun--
	}
}

// creationKey carries a *createOp through puddle to construct.
type creationKey struct{}

// makingIDKey carries to Make the function behind MakingID.
type makingIDKey struct{}

// MakingID returns the [Info].ID of the resource that is being created, given the context
// of [Config.Make] or one derived from it. If Make fails no resource has that ID. With any
// other context it returns 0. It does not block.
func MakingID(ctx context.Context) uint64 {
	if id, ok := ctx.Value(makingIDKey{}).(func() uint64); ok {
		return id()
	}
	return 0
}

// createOp runs a creation:
//
//	run ─▶ permits ─▶ stillWanted ─▶ puddle ─▶ construct ─▶ call ─▶ Make, Watch
//	         │             │                                          │
//	      refused      withdrawn                                done or failed
//
// Each of the last four frees or fills the slot, and has the pool decide anew.
type createOp[T any] struct {
	p *Pool[T]
	*creation[T]
}

// startCreationLocked starts a creation in the background. reason is the counter of those
// begun for the same reason. The pool has room.
func (p *Pool[T]) startCreationLocked(m *creation[T], reason *int64) {
	*reason++
	p.cap.begin()
	p.busy++
	k := &p.maker
	k.creating++
	k.sought, k.missed, k.owed = false, false, false
	m.begin()
	op := &createOp[T]{p, m}
	if p.mode.gated {
		k.asking++
		m.asking, m.returned = true, k.returned
		m.drops = reason == &p.counts.begun.Callers || reason == &p.counts.begun.Warm
	} else {
		op.beginLocked()
	}
	go op.run()
}

// beginLocked notes that Make is called next.
func (op *createOp[T]) beginLocked() {
	p := op.p
	now := p.clock.now()
	op.era = p.era
	p.maker.begin(op.creation, now)
	p.alarm.after(now, p.maker.gauge.Patience())
}

// run runs the creation to its end. Each user function is guarded, so that what it
// breaks is only this creation.
func (op *createOp[T]) run() {
	p := op.p
	defer p.unbusy()
	gate, err := op.permits()
	if err != nil {
		op.cancel(nil)
		if op.isDropped() {
			op.withdrawn()
		} else {
			op.refused(err)
		}
		return
	}
	if !op.stillWanted() {
		op.cancel(nil)
		p.policies.giveBackIsolated(gate, Outcome{})
		op.releaseQuota(Outcome{})
		op.withdrawn()
		return
	}
	res, err := p.life.make(context.WithValue(op.asker, creationKey{}, op))
	// The permit goes back first: the next creation may need it.
	if err != nil {
		op.cancel(nil)
		p.policies.giveBackIsolated(gate, Outcome{Verdict: Failed, Err: err, Latency: op.took})
		op.failed(err)
	} else {
		p.policies.giveBackIsolated(gate, Outcome{Verdict: OK, Latency: op.took})
		done(p, res)
	}
}

// permits asks the Quota and the MakeGate. Their contexts end at Close.
func (op *createOp[T]) permits() (gate Done, err error) {
	p := op.p
	if p.cfg.Quota == nil && p.cfg.MakeGate == nil {
		return nil, nil
	}
	ctx, cancel := context.WithCancel(op.ctx) // which ends now only if the creation is dropped
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	if op.drops {
		defer op.dropUnwanted()()
	}
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
	if op.quota, err = ask(p.cfg.Quota, "Quota", ReasonQuota); err != nil {
		return nil, err
	}
	if gate, err = ask(p.cfg.MakeGate, "MakeGate", ReasonMakeGate); err != nil {
		op.releaseQuota(Outcome{})
	}
	return gate, err
}

// askPatience is how long a creation waits for the Quota and the MakeGate before the pool
// looks whether it is still wanted; then it looks again after each further askPatience.
const askPatience = time.Second

// dropUnwanted ends the wait of the creation for the Quota and the MakeGate when there are more
// creations than are wanted: callers, or calls of Warm, have been served by others or have left,
// and the permit would be for a resource that lies idle. A Quota that divides units by
// what is wanted would be misled. The function that it returns ends dropUnwanted.
func (op *createOp[T]) dropUnwanted() (stop func() bool) {
	p := op.p
	var timer *time.Timer
	timer = time.AfterFunc(time.Hour, func() {
		p.lock()
		defer p.unlock()
		switch {
		case !op.asking:
		case p.maker.pending()-p.maker.dropped > p.maker.wanted(p.waiters.wanting()):
			p.maker.drop(op.creation)
		default:
			timer.Reset(askPatience)
		}
	})
	timer.Reset(askPatience)
	return timer.Stop
}

// isDropped reports whether the creation was dropped while it waited.
func (op *createOp[T]) isDropped() bool {
	op.p.lock()
	defer op.p.unlock()
	return op.dropped
}

// stillWanted reports whether Make may be called now that the policies let the creation
// through: the pool may have been closed or resized meanwhile.
func (op *createOp[T]) stillWanted() bool {
	p := op.p
	if !p.mode.gated && p.shared == nil && p.slowPath.Load()&overfull == 0 {
		return true
	}
	p.lock()
	defer p.unlock()
	k := &p.maker
	if op.dropped {
		return false
	}
	if p.mode.gated {
		k.asked(op.creation)
		if k.refusals > 0 {
			k.refusals = 0
			p.changed = true
		}
	}
	if p.closed || p.cap.over() || !p.cap.fits() {
		return false
	}
	if p.mode.gated {
		op.beginLocked()
	}
	return true
}

// makeGrace is how long a Make may take to return after its context has ended: a tenth
// of MakeTimeout, but no more than this. Then it is abandoned.
const makeGrace = time.Second

// grace is how long Make may continue to run, now that its context has ended; negative:
// without bound. At Close no caller waits for its slot.
func (op *createOp[T]) grace() time.Duration {
	timeout := op.p.cfg.MakeTimeout
	closed := context.Cause(op.ctx) == ErrClosed
	switch {
	case timeout < 0 && closed:
		return -1
	case timeout < 0:
		return makeGrace
	}
	grace := min(timeout/10, makeGrace)
	if closed {
		grace = plus(max(0, timeout-(op.p.clock.now()-op.began)), grace)
	}
	return grace
}

// construct is puddle's constructor: it runs on a goroutine of puddle's. It bounds
// Make, and abandons one that does not return.
func construct[T any](pctx context.Context) (*entry[T], error) {
	op := pctx.Value(creationKey{}).(*createOp[T])
	result := make(chan created[T], 1)
	go op.call(result)
	select {
	case r := <-result:
		return r.e, r.err
	case <-op.ctx.Done(): // before Make has returned; or at the same time, with what it made
	}
	var expired <-chan time.Time
	if grace := op.grace(); grace >= 0 {
		patience := time.NewTimer(grace)
		defer patience.Stop()
		expired = patience.C
	}
	select {
	case r := <-result:
		return r.e, r.err
	case <-expired:
	}
	op.countLost(1) // before call may count it out
	if !op.settled.CompareAndSwap(false, true) {
		op.countLost(-1)
		r := <-result
		return r.e, r.err
	}
	op.took = op.p.clock.now() - op.began
	op.lost = true
	return nil, context.Cause(op.ctx)
}

// created is the result of one call of Make.
type created[T any] struct {
	e   *entry[T]
	err error
}

// call calls Make and Watch and sends the result, or, if the creation was abandoned
// meanwhile, destroys it here. Its last steps are deferred so that they happen also if
// Make or Watch ends the goroutine.
func (op *createOp[T]) call(result chan<- created[T]) {
	p := op.p
	r := created[T]{err: ErrGoexit}
	var e *entry[T]
	defer func() {
		if r.err != nil && e != nil {
			op.destroyValue(e, r.err) // Watch failed, or it was too late
		}
		if op.settled.CompareAndSwap(false, true) {
			op.took = p.clock.now() - op.began
			result <- r
			return
		}
		if r.err == nil {
			op.destroyValue(e, context.Cause(op.ctx))
		}
		op.releaseQuota(Outcome{Verdict: Failed, Err: context.Cause(op.ctx)})
		p.lock()
		p.maker.lost--
		p.maker.permitReturned(ReasonQuota)
		p.changed = true
		p.unlock()
	}()
	stop := func() bool { return true } // reports whether the timer has not fired
	if p.cfg.MakeTimeout > 0 {
		stop = time.AfterFunc(p.cfg.MakeTimeout, func() { op.cancel(ErrMakeTimeout) }).Stop
		defer stop()
	}
	var v T
	var err error
	ctx := making.With(context.WithValue(op.life, makingIDKey{}, op.makingID), context.WithValue(op.ctx, makingIDKey{}, op.makingID))
	broke := p.guard.call("Make", func() { v, err = p.cfg.Make(ctx) })
	if !stop() {
		op.cancel(ErrMakeTimeout) // the timer may only be about to
	}
	late := context.Cause(op.ctx) == ErrMakeTimeout
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
		pool: p, value: v, made: op.began, era: op.era, cancel: op.die, creation: op.creation,
		jitter: random.Float64(), phase: random.Uint64(), quota: op.quota, born: p.clock.now(),
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
	if p.mode.predicts {
		e.bounds = p.policies.horizon(Info{ID: op.makingID(), Jitter: e.jitter}).bounds(e.born)
	}
	r = created[T]{e: e}
}

// makingID returns the ID that the resource will have.
func (op *createOp[T]) makingID() uint64 {
	op.p.mu.Lock() // not lock: that would count as contention
	defer op.p.mu.Unlock()
	if op.id == 0 {
		op.id = op.p.registry.ids.Add(1)
	}
	return op.id
}

// makeTimeoutError is what Make returned after its context had ended with
// [Config.MakeTimeout]. It does not match the errors of contexts: the caller's own
// context has not ended.
type makeTimeoutError struct{ err error }

func (e *makeTimeoutError) Error() string  { return ErrMakeTimeout.Error() + ": " + e.err.Error() }
func (e *makeTimeoutError) Unwrap() error  { return ErrMakeTimeout }
func (e *makeTimeoutError) As(to any) bool { return errors.As(e.err, to) }
func (e *makeTimeoutError) Is(to error) bool {
	return to != context.DeadlineExceeded && to != context.Canceled && errors.Is(e.err, to)
}

func (op *createOp[T]) countLost(n int) {
	op.p.lock()
	op.p.maker.lost += n
	op.p.unlock()
}

// destroyValue destroys a value that never came into the pool.
func (op *createOp[T]) destroyValue(e *entry[T], cause error) {
	p := op.p
	p.lock()
	e.loc = gone // invalidate does nothing any more
	p.unlock()
	if p.cfg.Destroy != nil {
		_ = p.guard.isolate("Destroy", func() { p.cfg.Destroy(e.value, cause) })
	}
	e.cancel(cause)
}

// releaseQuota gives back the Quota's permit for a resource that never was.
func (op *createOp[T]) releaseQuota(o Outcome) {
	quota := op.quota
	op.quota = nil
	op.p.policies.giveBackIsolated(quota, o)
}

// done puts a new resource into the pool. It may be that of another creation: see
// life.make.
func done[T any](p *Pool[T], res resident[*entry[T]]) {
	e := res.res.Value()
	op := createOp[T]{p, e.creation}
	e.creation = nil
	p.lock()
	p.startClockLocked()
	e.since = p.clock.tick.Load()
	if op.id == 0 {
		op.id = p.registry.ids.Add(1)
	}
	e.id, e.res = op.id, res
	p.registry.add(e)
	k := &p.maker
	stale := k.end(op.creation)
	k.permitReturned(ReasonMakeGate)
	p.counts.made++
	p.counts.makeTime += op.took
	ended := false
	if !stale {
		k.gauge.Made(op.took)
		if !e.word.Invalidated() { // else Watch found it dead: no success
			k.last = nil
			ended = k.breaker.Made(op.began, p.cap.max)
		}
	}
	if e.era.over.Load() && !stale {
		op.putOldLocked(e)
	} else {
		p.putLocked(e, false)
	}
	k.warmed(p.existLocked(), p.cap.most(), nil)
	tries := k.takeTries()
	p.changed = true
	lives := error(nil)
	if e.loc == gone {
		lives = e.cause // Reset, Close or Resize came meanwhile
	}
	p.unlock()
	notifyTries(tries)
	op.report(lives)
	p.trace.made(op.asker, MakeEvent{ID: e.id, Took: op.took})
	if ended {
		p.trace.outage(nil)
	}
}

// putOldLocked puts e, whose creation began before the last Reset: it is destroyed,
// unless a caller waits that came before the Reset which ended its era, and that would
// get nothing else in time. That lease is its only one: putLocked destroys it then.
func (op *createOp[T]) putOldLocked(e *entry[T]) {
	p := op.p
	if !p.closed && !p.mode.ordered && !e.word.Invalidated() && !p.cap.surplus() {
		now := p.clock.now()
		w := p.firstWaiterLocked(e.reach(), now)
		if w != nil && w.Since < e.era.ended {
			old := e.era
			e.spared, e.era = old.cause, new(era) // one of its own, which does not end
			if p.grantLocked(e, w, now) {
				return
			}
			e.spared, e.era = nil, old
		}
	}
	p.putLocked(e, false)
}

// failed frees the slot, fails one waiter if nothing can serve it any more and, if
// creation keeps failing, begins an outage.
func (op *createOp[T]) failed(err error) {
	if !op.lost {
		op.releaseQuota(Outcome{Verdict: Failed, Err: err, Latency: op.took})
	}
	p := op.p
	p.lock()
	k := &p.maker
	stale := k.end(op.creation)
	k.permitReturned(ReasonMakeGate)
	if !op.lost {
		k.permitReturned(ReasonQuota)
	}
	p.cap.free()
	p.counts.failedCreations++
	began := false
	if !stale && !p.closed { // else it says nothing: it was canceled
		now := p.clock.now()
		began = k.breaker.Failed(now, op.began, k.coming(p.cap.max), random.Float64())
		k.last, k.lastAt = err, now
		op.failWaiterLocked(err)
	}
	op.unbegin()
	op.multi.report(op.line, creationFailed)
	tries := k.endTries(p.cap.max)
	p.changed = true
	p.unlock()
	notifyTries(tries)
	op.report(err)
	p.trace.made(op.asker, MakeEvent{Took: op.took, Err: err})
	if began {
		p.trace.outage(err)
	}
}

// failWaiterLocked refuses the first waiter with err, why a creation failed, if nothing
// else can be expected to serve it: neither a lease that may end nor another creation.
func (op *createOp[T]) failWaiterLocked(err error) {
	p := op.p
	w := p.waiters.frontWanting()
	if w == nil || p.cfg.Outage != FailFast || p.recoverableLocked(&w.Request) || p.maker.coming(p.cap.max) >= p.waiters.active() {
		return
	}
	now := p.clock.now()
	p.departLocked(w, now) // first: the error does not count its own caller as waiting
	w.err = p.failureLocked(ReasonMakeFailed, err, now-w.Since, 0)
	p.counts.waits.fail(w.lasted, w.multi != nil)
	p.waiters.wake(w)
}

// withdrawn frees the slot of a creation that has not called Make.
func (op *createOp[T]) withdrawn() {
	p := op.p
	p.lock()
	if op.dropped {
		p.maker.dropped--
	}
	p.maker.end(op.creation)
	p.maker.permitReturned(ReasonMakeGate)
	p.maker.permitReturned(ReasonQuota)
	p.cap.free()
	p.counts.withdrawn++
	op.unbegin()
	err := error(ErrFull)
	if p.closed {
		err = ErrClosed
	}
	tries := p.maker.endTries(p.cap.max)
	p.changed = true
	p.unlock()
	notifyTries(tries)
	op.report(err)
}

// refused frees the slot of a creation that a MakeGate or Quota did not let begin. The
// next is tried when the refusal said, or a little later; at once if a permit came back while
// the refusal was on its way. Waiters are refused if it did not say, nothing that is leased
// could serve them, and no permit is due.
func (op *createOp[T]) refused(err error) {
	p := op.p
	var retry time.Duration
	_ = p.guard.isolate("Rejection", func() { retry = p.guard.retryAfter(err) }) // may call methods of err
	p.lock()
	k := &p.maker
	k.end(op.creation)
	k.asked(op.creation)
	p.cap.free()
	p.counts.refused++
	seam := refusalReason(err)
	if seam == ReasonMakeGate {
		k.permitReturned(ReasonQuota)
	}
	k.bar(p.clock.now(), err, retry)
	if retry <= 0 && k.outdated(op.creation, seam) {
		k.unbar(seam)
	} else if retry <= 0 && k.pending() == 0 && p.cfg.Outage == FailFast && !k.permitDue(p.cap.dying) {
		p.waiters.refuseAll(err)
		p.refuseWaitersLocked()
	}
	op.unbegin()
	op.multi.report(op.line, creationFailed)
	tries := k.endTries(p.cap.max)
	p.changed = true
	p.unlock()
	notifyTries(tries)
	op.report(err)
	p.trace.refused(op.asker, err)
}

// failedEarlyLocked notes that e, just created, was found unusable before it did any
// work. No waiter fails: another resource may be better, and if none is an outage begins
// soon.
func (p *Pool[T]) failedEarlyLocked(e *entry[T], cause error) {
	k, now := &p.maker, p.clock.now()
	k.last, k.lastAt = cause, now
	if k.breaker.FailedEarly(now, e.made, k.coming(p.cap.max), random.Float64()) {
		p.busy++
		go func() {
			defer p.unbusy()
			p.trace.outage(cause)
		}()
	}
}

// unbusy ends a goroutine of the pool's own.
func (p *Pool[T]) unbusy() {
	p.lock()
	p.busy--
	p.unlock()
}

// warmer is one call of Warm.
type warmer struct {
	ctx     context.Context
	n       int
	missing int        // how many creations are to begin for it, as far as was known at first
	begun   int        // creations that were begun for it and have not failed
	done    chan error // holds one
}

// Warm creates resources until n exist, or as many as MaxSize, or the total of a
// [Keyed], allows, and waits for them. At most 50 are created at once. Creations that fail
// or are refused are tried again, at the pace of [FailFast]'s outages, until ctx ends:
// then Warm returns a [*WarmError], which says how many there are and how the last
// creation failed. It returns [ErrClosed] when the pool is closed. Creations already
// begun continue, except that those which wait for a MakeGate or Quota and that nothing else
// needs are withdrawn. Their contexts have the values of ctx.
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
	p.maker.addWarmer(w, p.existLocked(), p.cap.max)
	p.maker.warmed(p.existLocked(), p.cap.most(), nil)
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
		err.Have, err.LastMake = p.existLocked(), p.maker.lastCause()
		return err
	}
	return <-w.done // it was decided just before
}

// MakeOne creates one more resource, now, and waits for it, whatever is idle and whether or
// not callers wait. The new resource goes to the first waiter or lies idle. MakeOne fails
// with what Make returned, with the refusal of a MakeGate or Quota, with [ErrFull] if
// MaxSize, or the total of a [Keyed], leaves no room, and with [ErrClosed] or another cause
// if the new resource is destroyed at once. If ctx ends before, its error is returned; the
// creation continues if it has called Make, and is withdrawn if it waits for a MakeGate or
// Quota. The context of Make has the values of ctx.
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
	p.startCreationLocked(m, &p.counts.begun.MakeOne)
	p.unlock()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	p.lock()
	if m.asking { // nothing else wants it: such calls would accumulate, each with a slot
		p.maker.drop(m)
	}
	p.unlock()
	return ctxError(ctx)
}

func init() {
	poolbridge.TurnAway = func(pool any, cause error) { pool.(interface{ turnAway(error) }).turnAway(cause) }
}

// turnAway is poolbridge.TurnAway.
func (p *Pool[T]) turnAway(cause error) {
	p.lock()
	defer p.unlock()
	p.waiters.away = nil
	if cause != nil {
		p.waiters.away = &makeRefusal{ReasonMakeGate, cause}
	}
	p.serveAndGrowLocked()
}

// RetryNow has the pool try a creation at once if anything waits for one. It ends the time
// for which a MakeGate or Quota has refused, so that they are asked anew, and the delay
// before the next try in an outage. Calls of [AcquireError.Wait] that wait for RetryAfter
// return. It is for a program or an operator that knows that the cause is gone; it does
// not change the state of a policy. It does nothing if the pool is closed. It does not
// block.
func (p *Pool[T]) RetryNow() {
	p.lock()
	if p.closed {
		p.unlock()
		return
	}
	p.maker.tryNow(p.clock.now())
	sooner := p.maker.takeSooner()
	p.changed = true
	p.unlock()
	notifyTries(sooner)
}
