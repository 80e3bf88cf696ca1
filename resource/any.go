package resource

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"
)

// ErrNoKeys means that [Keyed.AcquireAny] was called without a key.
var ErrNoKeys = errors.New("resource: AcquireAny needs at least one key")

// attemptDelay is for how long a caller of AcquireAny leaves a creation at one key to itself
// before another may begin for it at the next key. It is the connection attempt delay that RFC
// 8305 recommends.
const attemptDelay = 250 * time.Millisecond

// AcquireAny lends a resource of any of the keys, which are in order of preference, and returns
// its key. A key that occurs twice counts once. AcquireAny does not keep keys.
//
// If keys have idle resources, it lends one of the first such key at once, but never before
// callers that wait for that key already. Otherwise the caller waits in the line of every key,
// each time at the position of its arrival, and is served once, by whichever line comes first. If
// it cannot use what it gets there, since a Health check fails or the Eviction ends the resource,
// it continues to wait in all lines.
//
// A creation begins for the caller only at the first key. One may begin at the next key too when
// the creation there has failed or was refused, when that key cannot have one begun because it is
// full or its creations are failing, or after 250 ms without a resource. So a dead endpoint costs
// a quarter of a second, and one caller does not dial all endpoints at once. While the total of
// the Keyed is used up no key can have a creation begun; the caller then wants a slot for one key
// only. What is created after the caller was served elsewhere lies idle.
//
// The policies of each key are asked as in [Keyed.AcquireWith]. An Admission is asked for each line:
// the caller joins the line when it is admitted, and the permits of the keys that did not serve
// it are given back with [Ignored]. The Admission of a key that has an idle resource is asked with
// [Request.NoWait] first, so that it does not keep the caller from other keys. An Admission that the
// keys share is asked once for each, and may hold as many permits: a limit on all keys together
// belongs in front of AcquireAny. A Health check of an idle resource is waited for, at any key.
//
// AcquireAny blocks until the caller is served, ctx ends, MaxWait is over or every key has failed.
// A key fails as in AcquireWith, or if it cannot be looked up or has no valid Config, and drops
// out. If all have failed the error is an [*AcquireError] whose Err joins their errors, and whose
// RetryAfter and Wait are those of the key that is worth asking again first. With [Request.NoWait]
// nothing is waited for. Without a key it fails with [ErrNoKeys].
//
// In [Stats] of a key's pool the caller counts as one that waits there, and in the end as
// served or failed, whichever key served it. [KeyedStats] counts it once, and alone has the
// failure of the acquire in Failures.
func (k *Keyed[K, T]) AcquireAny(ctx context.Context, keys []K, r Request) (K, Lease[T], error) {
	if len(keys) > 0 {
		if p, ok := k.Find(keys[0]); ok && p.mode.plain(&r) && ctx.Err() == nil {
			if l, ok := p.hit(localIndex(len(p.slots)), false); ok {
				l.noteShared(&r)
				if p.mode.sampled {
					l.sample(ctx, &r)
				}
				return keys[0], l, nil
			}
		}
	}
	return k.acquireAny(ctx, keys, &r)
}

// acquireAny is AcquireAny where the first key has nothing in the caller's local slot.
func (k *Keyed[K, T]) acquireAny(ctx context.Context, keys []K, r *Request) (key K, l Lease[T], err error) {
	if len(keys) == 0 {
		return key, l, ErrNoKeys
	}
	if r.MaxWait > 0 {
		bounded, cancel := context.WithTimeoutCause(ctx, r.MaxWait, ErrMaxWait)
		defer cancel()
		ctx = bounded
	}
	if !r.NoWait && ctx.Err() == nil {
		for _, key := range keys {
			if p, ok := k.Find(key); ok {
				// What fails here fails again in the line of the key, or is gone by then.
				if l, err := lendIdle(ctx, p, r); err == nil {
					return key, l, nil
				}
			}
		}
	}
	return k.waitAny(ctx, keys, r)
}

// lendIdle leases an idle resource of p to a caller of AcquireAny, unless earlier callers wait. It
// has none created. If nothing is idle it fails with errNothingIdle.
func lendIdle[T any](ctx context.Context, p *Pool[T], r *Request) (Lease[T], error) {
	slot := localIndex(len(p.slots))
	if p.mode.plain(r) && ctx.Err() == nil {
		if l, ok := p.hit(slot, false); ok {
			l.noteShared(r)
			if p.mode.sampled {
				l.sample(ctx, r)
			}
			return l, nil
		}
	}
	if p.slowPath.Load() != timeNext || !p.slowPath.CompareAndSwap(timeNext, 0) {
		return lendIdleSlow(ctx, p, r, slot)
	}
	before := p.clock.now()
	began := p.clock.now() // as in timedAcquire
	l, err := lendIdleSlow(ctx, p, r, slot)
	if took := p.clock.now() - began - (began - before); err == nil {
		p.mu.Lock()
		_, begun := p.idle.slotLevels()
		p.counts.timing.add(took, p.counts.acquired+begun)
		p.mu.Unlock()
	}
	return l, err
}

// lendIdleSlow is lendIdle off the hit path.
func lendIdleSlow[T any](ctx context.Context, p *Pool[T], r *Request, slot int) (Lease[T], error) {
	var s slowAcquire[T]
	s.p, s.only = p, true
	defer func() {
		if !s.lent {
			s.letGo(p)
		}
	}()
	if p.cfg.Admission != nil {
		// Only if there is something for the caller: an Admission may count those that it
		// admits, and is asked again if the caller waits.
		if !r.NoWait && !anyIdle(p) {
			return Lease[T]{}, errNothingIdle
		}
		brief := *r
		brief.NoWait = true
		if broke := p.guard.call("Admission", func() { s.done, s.refused = p.cfg.Admission.Admit(ctx, brief) }); broke != nil {
			s.step, s.broke = inAdmit, broke
		}
		if s.refused != nil {
			s.done = nil
		}
		if !r.NoWait && (s.refused != nil || s.broke != nil) {
			return Lease[T]{}, errNothingIdle
		}
		if err := s.admission(ctx); err != nil {
			return Lease[T]{}, err
		}
		s.step = inPool
	}
	s.begin(ctx, r, slot)
	if err := s.find(); err != nil {
		return Lease[T]{}, err
	}
	s.lend()
	s.lease.noteShared(r)
	return s.lease, nil
}

// anyIdle reports whether a caller that comes now may find a resource idle.
func anyIdle[T any](p *Pool[T]) bool {
	p.lock()
	defer p.unlock()
	p.startClockLocked()
	inSlots, _ := p.idle.slotLevels()
	return !p.closed && p.waiters.mayPass(0) && (p.idle.available() > 0 || inSlots > 0)
}

// anyOp is an AcquireAny that found nothing idle. It runs on the caller's goroutine, and so do
// the policies, except that an Admission, which may block, is asked on a goroutine of its own.
type anyOp[K comparable, T any] struct {
	k     *Keyed[K, T]
	ctx   context.Context
	ended <-chan struct{} // ctx's Done
	r     Request
	multi *multiWait[T]
	lines []anyLine[K, T]

	creating int             // in so many of the lines, from the first, a creation may begin for the caller
	delay    *time.Timer     // attemptDelay since one may begin in the last of them; nil: not needed yet
	left     bool            // the caller has left the lines
	waited   bool            // it has waited in a line
	recheck  bool            // lines may have dropped the caller
	answers  chan *asking    // of the Admissions
	asked    context.Context // theirs
	stopAsk  context.CancelFunc
}

// anyLine is the caller in one of its lines.
type anyLine[K comparable, T any] struct {
	slowAcquire[T]
	key    K
	w      *waiter[T] // nil: it is not in the line
	asking *asking    // the Admission is being asked; nil: it is not
	admit  bool       // the Admission has admitted the caller, or there is none
	err    error      // why the key has dropped out; nil: it has not
}

// asking is one question to an Admission.
type asking struct {
	line    int
	done    Done
	refused error
	broke   error       // what Admit did instead of returning
	settled atomic.Bool // it was answered, or the caller has left
}

// waitAny is AcquireAny where nothing is idle, or the request is not to wait.
func (k *Keyed[K, T]) waitAny(ctx context.Context, keys []K, r *Request) (key K, l Lease[T], err error) {
	op := &anyOp[K, T]{k: k, ctx: ctx, ended: ctx.Done(), r: *r}
	defer op.close()
	op.open(keys)
	if won := op.run(); won != nil {
		return won.key, won.lease, nil
	}
	return key, l, op.fail()
}

// open looks up the pools of the keys.
func (op *anyOp[K, T]) open(keys []K) {
	op.lines = make([]anyLine[K, T], 0, len(keys))
	seen := make(map[K]struct{}, len(keys))
	for _, key := range keys {
		l := anyLine[K, T]{key: key}
		if err := op.k.checkKey(key); err != nil {
			l.err = err
		} else if _, twice := seen[key]; twice {
			continue
		} else {
			seen[key] = struct{}{}
		}
		op.lines = append(op.lines, l)
	}
	op.multi = newMultiWait[T](len(op.lines), &op.k.common.any)
	for i := range op.lines {
		if op.lines[i].err == nil {
			op.lookUp(&op.lines[i])
		}
	}
}

// lookUp finds the pool of l.
func (op *anyOp[K, T]) lookUp(l *anyLine[K, T]) {
	p, err := op.k.use(l.key)
	if err != nil {
		l.err = err
		return
	}
	l.slowAcquire = slowAcquire[T]{p: p, any: true}
	l.admit = p.cfg.Admission == nil
	l.begin(op.ctx, &op.r, localIndex(len(p.slots)))
}

// run waits until the caller is served. It returns the line that served it; nil: it got nothing.
func (op *anyOp[K, T]) run() *anyLine[K, T] {
	if op.r.NoWait {
		return op.tryAll()
	}
	op.moveOn()
	for op.ctx.Err() == nil {
		op.lineUp()
		if !op.alive() {
			return nil
		}
		var due <-chan time.Time
		if op.delay != nil {
			due = op.delay.C
		}
		select {
		case w := <-op.multi.woken:
			if l := op.take(w); l != nil {
				op.leave()
				op.serve(l)
				return l
			}
		case a := <-op.answers:
			op.answer(a)
		case <-op.multi.news:
			op.heed()
		case <-due:
			op.overdue()
		case <-op.ended:
		}
	}
	return nil
}

// alive reports whether a key has not dropped out.
func (op *anyOp[K, T]) alive() bool {
	for i := range op.lines {
		if op.lines[i].err == nil {
			return true
		}
	}
	return false
}

// tryAll is run for a request that is not to wait.
func (op *anyOp[K, T]) tryAll() *anyLine[K, T] {
	missed := false
	for i := range op.lines {
		l := &op.lines[i]
		for l.err == nil && op.ctx.Err() == nil {
			lease, err := lendIdle(op.ctx, l.p, &op.r)
			if err == nil {
				l.lease, l.lent = lease, true
				return l
			}
			if err == errNothingIdle {
				err = l.fail(ReasonNoneIdle, ErrNoneIdle)
			}
			op.dropOut(l, err)
		}
	}
	for i := range op.lines {
		l := &op.lines[i]
		if p := l.p; p != nil && !missed && op.ctx.Err() == nil {
			p.lock()
			if missed = !p.closed && !op.hinderedLocked(p); missed {
				p.missedLocked()
			}
			p.unlock()
		}
	}
	return nil
}

// lineUp has the caller join the lines that it is not in, unless it is being served: then the
// line that serves it will say whether it has to.
func (op *anyOp[K, T]) lineUp() {
	for i := range op.lines {
		l := &op.lines[i]
		for l.err == nil && l.asking == nil {
			if op.multi.served() {
				return
			}
			if l.w != nil && !(op.recheck && op.passedOver(l)) {
				break
			}
			if !l.admit {
				op.ask(i)
			} else {
				op.join(i)
			}
		}
	}
	op.recheck = false
}

// passedOver reports whether the pool of l has passed the caller over.
func (op *anyOp[K, T]) passedOver(l *anyLine[K, T]) bool {
	l.p.lock()
	over := l.w.passedOver
	l.p.unlock()
	if over { // then w is the caller's again
		_, _ = l.collect(l.w)
		l.w = nil
	}
	return over
}

// join has the caller join the line i, or the key drops out.
func (op *anyOp[K, T]) join(i int) {
	l := &op.lines[i]
	p := l.p
	p.lock()
	p.startClockLocked()
	if p.closed {
		p.unlock()
		op.dropOut(l, l.slowAcquire.fail(ReasonClosed, ErrClosed))
		return
	}
	now := p.clock.now()
	creates, hindered := i < op.creating, op.hinderedLocked(p)
	if creates || p.waiters.away != nil {
		if err := l.turnedAwayLocked(now); err != nil {
			op.dropOut(l, l.turnAway(err))
			return
		}
	}
	first := !l.waited
	w := l.waiterLocked(now)
	w.multi, w.line, w.passive = op.multi, i, !creates
	l.w = w
	if first && !op.waited {
		op.waited = true
		op.k.common.any.waited.Add(1)
	}
	l.joinLocked(w)
	p.unlock()
	if i == op.creating-1 && hindered {
		op.moveOn()
	}
}

// hinderedLocked reports whether p, which is locked, cannot begin a creation now, for a reason of
// its own. That the total is used up is none: no other key could begin one either.
func (op *anyOp[K, T]) hinderedLocked(p *Pool[T]) bool {
	now := p.clock.now()
	return p.cap.full() || p.maker.hopeless(now, p.cap.max) || p.maker.barred > now
}

// moveOn lets a creation begin for the caller in the next line too, and in further ones while it
// cannot begin there.
func (op *anyOp[K, T]) moveOn() {
	for op.creating < len(op.lines) {
		l := &op.lines[op.creating]
		op.creating++
		if l.err != nil {
			continue
		}
		if l.w != nil {
			p := l.p
			p.lock()
			hindered := op.hinderedLocked(p)
			p.waiters.promote(l.w)
			p.changed = true
			p.unlock()
			if hindered {
				continue
			}
		}
		op.startDelay()
		return
	}
	if op.delay != nil {
		op.delay.Stop()
	}
}

// startDelay starts attemptDelay, unless there is no further line.
func (op *anyOp[K, T]) startDelay() {
	switch {
	case op.creating >= len(op.lines):
	case op.delay == nil:
		op.delay = time.NewTimer(attemptDelay)
	default:
		op.delay.Reset(attemptDelay)
	}
}

// overdue moves on after attemptDelay. If a slot of the total is what the creation waits for, the
// delay begins again, as it does with the creation: the slot may go to an earlier caller.
func (op *anyOp[K, T]) overdue() {
	l := &op.lines[op.creating-1]
	if l.w != nil {
		l.p.lock()
		short := l.w.waiting() && l.w.unasked && l.p.cap.claimed > 0
		l.p.unlock()
		if short {
			op.startDelay()
			return
		}
	}
	op.moveOn()
}

// heed moves on, or waits, as the creations begun for the caller call for.
func (op *anyOp[K, T]) heed() {
	for _, e := range op.multi.takeEvents() {
		switch {
		case e.line != op.creating-1: // the caller has moved on since
		case e.kind == creationBegun:
			op.startDelay()
		default:
			op.moveOn()
		}
	}
}

// dropOut has the key of l drop out because of err, unless its pool has only ended between the
// look-up and the acquire. Its permit goes back now: the Admission may be that of other keys too.
func (op *anyOp[K, T]) dropOut(l *anyLine[K, T], err error) {
	done := l.done
	l.done = nil
	defer l.p.policies.giveBack(done, Outcome{}) // deferred: the Done may end this goroutine
	if op.k.again(l.p, err) {
		op.lookUp(l)
	} else {
		l.err = op.k.drainError(err)
	}
	if l.err == nil {
		return
	}
	if op.creating > 0 && l == &op.lines[op.creating-1] {
		op.moveOn()
	}
}

// take takes over what became of w. It returns its line if that serves the caller.
func (op *anyOp[K, T]) take(w *waiter[T]) *anyLine[K, T] {
	l := &op.lines[w.line]
	l.w = nil
	lease, err := l.collect(w)
	if err != nil {
		op.dropOut(l, err)
		return nil
	}
	l.lease = lease
	if op.ctx.Err() != nil { // I8
		l.drop()
		return nil
	}
	if l.p.mode.judged {
		l.evaluate(false)
	}
	ok, err := l.accept()
	if ok {
		return l
	}
	if err != nil && op.ctx.Err() == nil {
		op.dropOut(l, err)
	}
	op.recheck = true
	op.multi.resume()
	return nil
}

// serve makes the lease of l the caller's.
func (op *anyOp[K, T]) serve(l *anyLine[K, T]) {
	l.countServedWait()
	if l.p.trace.trace.Waited != nil {
		l.traceWait(nil)
	}
	l.lend()
	l.lease.noteShared(&op.r)
}

// leave takes the caller out of all lines, once. If one has served it meanwhile, the resource goes
// to the next waiter.
func (op *anyOp[K, T]) leave() {
	if op.left {
		return
	}
	op.left = true
	if op.delay != nil {
		op.delay.Stop()
	}
	woken := 0
	for i := range op.lines {
		l := &op.lines[i]
		if l.w == nil {
			continue
		}
		p := l.p
		p.lock()
		mine := true
		switch {
		case l.w.waiting():
			claimed := p.cap.claimed
			p.departLocked(l.w, p.clock.now())
			l.starved = p.cap.claimed < claimed
		case !l.w.passedOver:
			mine = false
			woken++
		}
		p.unlock()
		if mine {
			_, _ = l.collect(l.w)
			l.w = nil
		}
	}
	for range woken { // the goroutines that took them out of the lines send
		w := <-op.multi.woken
		l := &op.lines[w.line]
		l.w = nil
		if lease, err := l.collect(w); err != nil {
			l.err = op.k.drainError(err)
		} else if lease.e != nil {
			lease.drop(nil)
		}
	}
}

// ask asks the Admission of line i, on a goroutine of its own.
func (op *anyOp[K, T]) ask(i int) {
	l := &op.lines[i]
	p := l.p
	if op.answers == nil {
		op.answers = make(chan *asking, len(op.lines))
		op.asked, op.stopAsk = context.WithCancel(op.ctx)
	}
	p.lock()
	if p.closed {
		p.unlock()
		op.dropOut(l, l.slowAcquire.fail(ReasonClosed, ErrClosed))
		return
	}
	p.busy++
	p.unlock()
	ctx, cancel := context.WithCancel(op.asked)
	stop := context.AfterFunc(p.ctx, cancel) // Close does not wait for the caller's context
	a, answers, r := &asking{line: i}, op.answers, op.r
	l.asking = a
	go func() {
		defer p.unbusy()
		defer cancel()
		defer stop()
		a.broke = broken("Admission", nil) // unless Admit returns
		defer func() {
			if a.settled.CompareAndSwap(false, true) {
				answers <- a // never blocks
			} else {
				p.policies.giveBack(a.done, Outcome{})
			}
		}()
		a.broke = p.guard.call("Admission", func() { a.done, a.refused = p.cfg.Admission.Admit(ctx, r) })
		if a.refused != nil {
			a.done = nil
		}
	}()
}

// answer takes over the answer of an Admission.
func (op *anyOp[K, T]) answer(a *asking) {
	l := &op.lines[a.line]
	l.asking = nil
	l.done, l.refused, l.broke = a.done, a.refused, a.broke
	if a.broke != nil {
		l.step = inAdmit
	}
	err := l.admission(op.ctx)
	l.step = inPool
	if err != nil {
		op.dropOut(l, err)
		return
	}
	l.admit = true
}

// close ends the op on every path: the caller is in no line any more, and every permit but that of
// its lease is given back.
func (op *anyOp[K, T]) close() {
	defer op.letGo(0) // each deferred: an Evict or a Done may end this goroutine
	defer op.countWaits()
	if op.stopAsk != nil {
		op.stopAsk()
	}
	op.leave()
}

// letGo gives back what the lines from i on hold.
func (op *anyOp[K, T]) letGo(i int) {
	if i == len(op.lines) {
		return
	}
	defer op.letGo(i + 1) // deferred: a Done may end this goroutine
	l := &op.lines[i]
	if a := l.asking; a != nil && !a.settled.CompareAndSwap(false, true) {
		for l.asking != nil { // the answer has been sent, or is about to be
			b := <-op.answers
			op.lines[b.line].done, op.lines[b.line].asking = b.done, nil
		}
	}
	if !l.lent && l.p != nil {
		l.slowAcquire.letGo(l.p)
	}
}

// countWaits counts how the waits in the lines ended: as the acquire did, in every pool where the
// caller waited to the end.
func (op *anyOp[K, T]) countWaits() {
	var won *anyLine[K, T]
	for i := range op.lines {
		if l := &op.lines[i]; l.lent || l.counted && l.lease.e != nil { // or Trace is ending this goroutine
			won = l
		}
	}
	longest := time.Duration(0)
	for i := range op.lines {
		l := &op.lines[i]
		switch {
		case !l.waited:
		case won == nil || l.counted && l != won:
			l.countFailedWait()
			longest = max(longest, l.lasted)
		case l != won:
			l.p.counts.waits.serveElsewhere(l.lasted)
		}
	}
	switch c := &op.k.common.any; {
	case !op.waited:
	case won != nil:
		c.served.Add(1)
		c.servedTime.Add(int64(won.lasted))
	default:
		c.failed.Add(1)
		c.failedTime.Add(int64(longest))
	}
}

// fail returns the error of an acquire that got nothing, and counts and reports it.
func (op *anyOp[K, T]) fail() error {
	op.leave()
	err := op.failure()
	from := op.lines[0].p
	for i := range op.lines {
		l := &op.lines[i]
		if from == nil {
			from = l.p
		}
		if l.waited && l.p.trace.trace.Waited != nil {
			l.traceWait(err)
			break
		}
	}
	if from != nil {
		from.trace.failed(op.ctx, err)
	}
	op.k.common.failures[err.Reason].Add(1)
	return err
}

// failure is fail without what it reports.
func (op *anyOp[K, T]) failure() *AcquireError {
	if op.ctx.Err() != nil {
		return op.gaveUp()
	}
	if op.k.closed.Load() {
		return op.closed()
	}
	var sum *AcquireError // that of the key that is worth asking again first
	var all keyErrors
	var waited time.Duration
	reason := Reason(0)
	for i := range op.lines {
		l := &op.lines[i]
		err := l.err
		if one, ok := err.(*AcquireError); ok {
			err = one.Err
			if sum == nil || one.RetryAfter > 0 && (sum.RetryAfter == 0 || one.RetryAfter < sum.RetryAfter) {
				sum = one
			}
			if reason == 0 {
				reason = one.Reason
			}
			waited = max(waited, one.Waited)
		}
		all = append(all, err)
	}
	failed := AcquireError{}
	if sum != nil {
		failed = *sum
	}
	failed.Reason, failed.Waited = reason, waited
	if failed.Err = error(all); len(all) == 1 {
		failed.Err = all[0]
	}
	return &failed
}

// gaveUp is failure at the end of the context.
func (op *anyOp[K, T]) gaveUp() *AcquireError {
	var from *anyLine[K, T] // the first line, or the one with a claim on the total
	for i := range op.lines {
		if l := &op.lines[i]; l.p != nil && (from == nil || l.starved && !from.starved) {
			from = l
		}
	}
	if from == nil {
		return &AcquireError{Err: ctxError(op.ctx), Reason: endReason(op.ctx)}
	}
	return from.slowAcquire.gaveUp().(*AcquireError)
}

// closed is failure where the Keyed is closed.
func (op *anyOp[K, T]) closed() *AcquireError {
	failed := AcquireError{}
	for i := range op.lines {
		if err, ok := op.lines[i].err.(*AcquireError); ok {
			failed = *err
		}
	}
	failed.Err, failed.Reason, failed.RetryAfter = ErrClosed, ReasonClosed, 0
	return &failed
}

// keyErrors are the errors of all keys of an AcquireAny, in the order of the keys. The text names
// no key, which may be a secret.
type keyErrors []error

func (e keyErrors) Error() string {
	var b strings.Builder
	b.WriteString("every key failed")
	between := ": "
	for _, err := range e {
		b.WriteString(between)
		b.WriteString(err.Error())
		between = "; "
	}
	return b.String()
}

func (e keyErrors) Unwrap() []error { return e }
