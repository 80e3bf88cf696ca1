package resource

import (
	"context"
)

// The hit path of a pool with policies. It is that of a pool without, and the
// policies' functions: all that an acquire asks runs in one frame that contains
// what goes wrong in them, and all that a release does in another. A frame for
// each, or guard with its closure, would cost more than most policies do.
//
// As soon as there is more to do than to go on, onward or end does it, and from
// there on what is asked is guarded one by one.

// step is whose code runs.
type step uint8

const (
	inPool step = iota // ours
	inAdmit
	inEvict
	inDue
	inDone
	inLeased
)

// where is how a PanicError names it.
func (s step) where() string {
	return [...]string{inPool: "", inAdmit: "Admission", inEvict: "Evict", inDue: "Due", inDone: "Done", inLeased: "Trace"}[s]
}

// visit is one caller on its way to a lease: what it has in its hands, and how
// far it has come.
type visit[T any] struct {
	lease   Lease[T]
	done    Done  // its Admission's
	idle    int64 // for how many ticks what it holds was idle
	refused error // what the Admission said
	opinion opinion
	step    step
	broke   error // what that step did instead of returning
	lent    bool  // the lease is the caller's
}

// quick leases what is on the caller's slot, if the Admission lets the caller
// in and the other policies have nothing against it. If not, *v says how far
// it got.
func (p *Pool[T]) quick(ctx context.Context, r *Request, slot int, v *visit[T]) {
	defer func() {
		if v.step != inPool {
			p.stumbled(v, recover())
		}
	}()
	if a := p.cfg.Admission; a != nil {
		v.step = inAdmit
		done, err := a.Admit(ctx, *r)
		v.step = inPool
		if err != nil {
			v.refused = err
			return
		}
		v.done = done
		if ctx.Err() != nil {
			return // find sees that too
		}
	}
	if r.Fresh || r.MinRemaining != 0 && p.evicts {
		return // takeIdle finds one that fits
	}
	var ok bool
	if v.lease, v.idle, ok = p.hit(slot); !ok {
		return
	}
	if p.judged && !p.keeps(v) {
		return
	}
	if p.cfg.Admission != nil {
		v.lease.e.done.store(v.done)
	}
	v.lent = true
	if p.tellsBegin {
		p.greet(ctx, r, v)
	}
}

// keeps reports whether the policies let pass what v holds without a look at
// it; if not, v.opinion is what they say. In quick's frame.
func (p *Pool[T]) keeps(v *visit[T]) bool {
	var i Info
	e := v.lease.e
	e.tell(&i, p.clock.tick.Load(), v.idle, int64(v.lease.gen())-1)
	if p.evicts {
		var cause error
		v.step = inEvict
		if p.cfg.Eviction != nil {
			cause = p.cfg.Eviction.Evict(i)
		}
		if cause == nil && p.cfg.EvictIf != nil {
			cause = p.cfg.EvictIf(e.value, i)
		}
		v.step = inPool
		if cause != nil {
			v.opinion.cause = cause
			return false
		}
	}
	if p.policies.scheduled != nil {
		v.opinion.due = true // also if Due panics
		v.step = inDue
		v.opinion.due = p.policies.scheduled.Due(i)
		v.step = inPool
	} else {
		v.opinion.due = p.cfg.Health != nil
	}
	return !v.opinion.due
}

// stumbled ends a step that did not return. After a panic quick returns, and
// onward goes on; if the goroutine ends, by the step or by Trace, nobody does, so
// what v holds is let go.
func (p *Pool[T]) stumbled(v *visit[T], panicked any) {
	goesOn := false
	defer func() {
		if !goesOn {
			p.letGo(v)
		}
	}()
	v.broke = broken(v.step.where(), panicked)
	p.guard.contained(v.broke)
	goesOn = panicked != nil
}

// letGo gives back what an acquire that lends nothing has in its hands: no lease
// unless a policy or Trace is ending its goroutine.
func (p *Pool[T]) letGo(v *visit[T]) {
	// Deferred: drop calls Trace.Ended, which may end this goroutine.
	defer p.policies.giveBack(v.done, Outcome{})
	if v.lease.e != nil {
		p.drop(v.lease, ErrGoexit)
	}
}

// parting is one lease on its way back.
type parting[T any] struct {
	lease  Lease[T]
	step   step
	ending ending
}

// part is Release where the Eviction is to be asked, or an Admission told.
//
// The lease ends after the Eviction was asked, in one step with the return to
// the seat; copies that are released at once may all ask, and one returns it.
func (p *Pool[T]) part(l Lease[T]) {
	e := l.e
	ticks, ok := e.word.Lasts(l.n, &p.clock.tick)
	if !ok {
		return
	}
	v := parting[T]{lease: l}
	defer func() {
		if v.step != inPool {
			p.tripped(&v, recover())
		}
	}()
	var cause error
	if p.evicts {
		var i Info
		e.tell(&i, p.clock.tick.Load(), 0, int64(l.gen()))
		v.step = inEvict
		if p.cfg.Eviction != nil {
			cause = p.cfg.Eviction.Evict(i)
		}
		if cause == nil && p.cfg.EvictIf != nil {
			cause = p.cfg.EvictIf(e.value, i)
		}
		v.step = inPool
	}
	done := e.done.load() // before another lease begins
	if p.tellsEnd && (ticks >= longTicks || e.mark.lease.Load() == l.gen()) {
		v.ending = p.ending(l, ticks)
	}
	if cause != nil || p.cfg.OnRelease != nil || p.slowPath.Load() != 0 || !e.word.Return(l.n, p.clock.tick.Load()) {
		p.finish(l, cause)
		return
	}
	var b *pause
	if p.slowPath.Load() != 0 {
		b = p.settle(e)
	}
	if done != nil {
		v.step = inDone
		done(Outcome{Verdict: OK})
		v.step = inPool
	}
	p.tellEnded(l, v.ending)
	p.handOff.wait(b)
}

// tripped ends a step that did not return. Whatever Evict does, the lease ends.
func (p *Pool[T]) tripped(v *parting[T], panicked any) {
	// Deferred: Trace may end this goroutine too.
	if v.step == inEvict {
		defer p.finish(v.lease, nil)
	} else {
		defer p.tellEnded(v.lease, v.ending)
	}
	p.guard.contained(broken(v.step.where(), panicked))
}

// finish ends the lease when the Eviction has been asked; cause is what it said.
func (p *Pool[T]) finish(l Lease[T], cause error) {
	done := l.e.done.load()
	x := p.ending(l, p.lasted(l))
	if l.e.word.End(l.n) {
		defer func() { p.tellEnded(l, x) }()
		p.conclude(l.e, done, cause, fateEvicted, Outcome{Verdict: OK}, &x)
	}
}
