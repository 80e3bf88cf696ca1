package resource

import (
	"context"
	"time"

	"github.com/respool/respool/internal/claim"
)

// Lease is one caller's hold on one resource, from an acquire to the first of
// Release, Fail, Discard or Hijack. It is a small value and may be copied; the
// copies are the same lease. It ends once: ending it again, from a copy,
// at the same time, or after the pool was closed does nothing, and never
// touches the next holder. So defer l.Release() is always right. To end the zero
// Lease does nothing either.
type Lease[T any] struct {
	e *entry[T]
	n uint64 // from the top: for how many ticks e was idle before, and the lease's number
}

// idleShift is where in a Lease the idle time begins. 28 bits of ticks are 31
// days.
const idleShift = claim.NumberBits

// gen returns the lease's number.
func (l Lease[T]) gen() uint64 { return l.n & (1<<idleShift - 1) }

// idle returns for how many ticks the resource was idle before the lease.
func (l Lease[T]) idle() int64 { return int64(l.n >> idleShift) }

// found notes for how many ticks the resource was idle, not counting more than
// there is room for.
func (l *Lease[T]) found(idle int64) {
	l.n = l.gen() | uint64(min(max(idle, 0), 1<<(64-idleShift)-1))<<idleShift
}

// Value returns the resource. It panics once the lease has ended, since by then the
// resource may be someone else's, and if the Lease is the zero one, which an
// acquire returns with an error.
func (l Lease[T]) Value() T {
	if l.e == nil {
		panic("resource: Value of the zero Lease: no lease began")
	}
	if !l.e.word.Holds(l.n) {
		panic("resource: Value of a lease that has ended")
	}
	return l.e.value
}

// Info returns what is known about the resource. Idle is for how long it was idle
// before this lease, up to 31 days. Once the lease has ended it is the zero Info.
func (l Lease[T]) Info() Info {
	if l.e == nil || !l.e.word.Holds(l.n) {
		return Info{}
	}
	i := l.e.info(int64(l.e.pool.clock.now()/tickLen), l.idle())
	i.Leases = int64(l.gen()) - l.e.takenBack.Load()
	return i
}

// Release gives the resource back. A waiting caller gets it at once, or when
// [Config.OnRelease] has returned. Release does not wait for that, nor for
// anything else, with one exception: where resources are held for 50 µs or more
// and releasers were often observed to go on computing on a processor that the
// next holder needed, Release waits until that holder runs. This takes a few
// microseconds if holders wait for I/O; if it is observed to take long it is not
// done.
func (l Lease[T]) Release() {
	if l.e == nil {
		return
	}
	p := l.e.pool
	if p.slowPath.Load() == 0 {
		if !p.mute {
			if p.onlyEnd {
				p.partSampled(l)
			} else {
				p.part(l)
			}
			return
		}
		if l.e.word.Return(l.n, p.clock.tick.Load()) {
			if p.slowPath.Load() != 0 { // somebody came to wait while it was being seated
				p.handOff.wait(p.settle(l.e))
			}
			return
		}
	}
	p.end(l, nil, Outcome{Verdict: OK})
}

// Fail ends the lease after the holder's work failed with err:
// [Config.Broken] decides whether the resource is destroyed with err as cause
// or given back. A nil err is a Release. A panic in Broken destroys it.
func (l Lease[T]) Fail(err error) {
	if err == nil {
		l.Release()
		return
	}
	if l.e == nil || !l.e.word.Holds(l.n) {
		return
	}
	p := l.e.pool
	cause := err
	// Deferred, so that it happens also if Broken ends this goroutine.
	defer func() { p.end(l, cause, Outcome{Verdict: Failed, Err: err}) }()
	if !p.policies.broken(err) {
		cause = nil
	}
}

// Discard ends the lease and destroys the resource. The cause is what Destroy
// and Trace see; nil means [ErrDiscarded].
func (l Lease[T]) Discard(cause error) {
	if l.e == nil {
		return
	}
	if cause == nil {
		cause = ErrDiscarded
	}
	l.e.pool.end(l, cause, Outcome{Verdict: Failed, Err: cause})
}

// Hijack ends the lease and makes the resource the caller's own: the pool
// forgets it, does not destroy it, and its place is free. It returns false,
// and the zero T, if the lease had ended.
func (l Lease[T]) Hijack() (v T, ok bool) {
	if l.e == nil {
		return v, false
	}
	e, p := l.e, l.e.pool
	x := p.ending(l, p.lasted(l))
	if !e.word.End(l.n) {
		return v, false
	}
	done := e.done.load()
	// The permits go back before the place, which whoever gets it needs them
	// for. All is deferred, since each Done may end this goroutine.
	defer p.tellEnded(l, x)
	defer p.release(e)
	defer p.policies.giveBack(e.quota, Outcome{Verdict: OK})
	defer p.policies.giveBack(done, Outcome{Verdict: OK})
	return e.value, true
}

// do is the rest of [Pool.Do].
func (l Lease[T]) do(ctx context.Context, f func(context.Context, T) error) error {
	defer l.Discard(errNotReturned) // does nothing if f returned
	err := f(ctx, l.Value())
	l.Fail(err)
	return err
}

// release lets go of e for good, which was hijacked.
func (p *Pool[T]) release(e *entry[T]) {
	p.lock()
	p.startClock()
	p.counts.returned++
	p.prove(e)
	p.idle.leaveSlot(e)
	p.registry.remove(e)
	p.counts.hijacked++
	p.cap.free()
	p.grow()
	p.unlock()
	p.life.hijack(e.res)
}

// end ends the lease and either destroys the resource, with cause, or gives it
// back; and so its permit, if it has one. It does nothing if the lease has
// ended.
func (p *Pool[T]) end(l Lease[T], cause error, o Outcome) {
	p.endWith(l, l.e.done.load(), cause, o, p.ending(l, p.lasted(l)))
}

// drop is end for a lease that no caller has seen: its permit is not with it yet,
// and of its end is told only who was told of its beginning.
func (p *Pool[T]) drop(l Lease[T], cause error) {
	if l.e.word.Holds(l.n) { // not a second time
		l.e.unseen++
	}
	p.endWith(l, nil, cause, Outcome{}, p.ending(l, 0))
}

func (p *Pool[T]) endWith(l Lease[T], done Done, cause error, o Outcome, x ending) {
	e := l.e
	if !e.word.End(l.n) {
		return
	}
	why := fateOther
	// Deferred, so that it happens also if Evict ends this goroutine.
	defer func() { p.tellEnded(l, x) }()
	defer func() { p.conclude(e, done, cause, why, o, &x) }()
	if cause == nil && p.evicts {
		if cause = p.policies.evict(e.value, e.info(p.clock.ticks(), 0)); cause != nil {
			why = fateEvicted
		}
	}
}

// conclude is the rest of end, when the fate of e is known, which it tells x.
func (p *Pool[T]) conclude(e *entry[T], done Done, cause error, why fate, o Outcome, x *ending) {
	p.lock()
	p.startClock()
	p.counts.returned++
	if cause == nil && o.Verdict == OK || time.Duration(p.clock.tick.Load())*tickLen-e.born > infancy {
		p.prove(e)
	}
	if cause != nil {
		p.retire(e, cause, why)
		p.grow()
	} else if !p.beginOnRelease(e, o) {
		p.put(e, true)
	}
	if e.loc == gone {
		x.cause = e.cause
	}
	b := p.handOff.take()
	p.unlock()
	p.policies.giveBack(done, o)
	p.handOff.wait(b)
}

// prove notes that e did its work: that one was made is a success. The pool is
// locked.
func (p *Pool[T]) prove(e *entry[T]) {
	if !e.proved {
		e.proved = true
		p.maker.breaker.Proved()
	}
}

// settle takes e, just left on its slot, to those who wait, and returns for what
// its releaser then pauses; nil: for nothing. If a goroutine that does not serve
// waiters, such as a sweep, has moved e to the shelf meanwhile, settle serves them.
func (p *Pool[T]) settle(e *entry[T]) *pause {
	p.lock()
	p.startClock()
	if p.slots[e.slot].e.Load() == e && p.idle.claimSlot(e.slot) == e {
		p.counts.returned++
		p.put(e, true)
	} else {
		p.dispatch()
	}
	b := p.handOff.take()
	p.unlock()
	return b
}
