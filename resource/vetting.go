package resource

import (
	"context"
	"time"
)

// ReleaseAfter ends the lease as [Lease.ReleaseUnused] does, but the resource is
// not lent again before check has returned nil. An error or a panic destroys the
// resource, with it as the cause ([Stats.Unhealthy]).
//
// The lease does not count in [Info.Leases].
//
// It is for a caller that finds a resource doubtful and cannot wait until that is
// cleared up: the caller goes on to another resource, or waits in line with an
// acquire of its own, and gets whichever is ready first. check runs on a goroutine
// of the pool and has the resource to itself; ReleaseAfter does not wait for it.
// ctx carries no values. It ends at [Pool.Reset] and at [Pool.Close], when check
// must return: the resource is destroyed then in any case. There is no other bound;
// a check that has run for longer than [Config.MakeTimeout] counts as
// [Load.Hanging].
//
// Meanwhile the resource is idle ([Checking] in [Pool.Inspect]) and keeps its place
// among the idle ones. Callers that wait are expected to get it only for as long
// as a make usually takes, from 10 to 100 ms; then others are made for them, where
// the maximum allows.
func (l Lease[T]) ReleaseAfter(check func(ctx context.Context, v T) error) {
	if l.e == nil {
		return
	}
	e, p := l.e, l.e.pool
	x := p.ending(l, p.lasted(l))
	done, word := e.done.load(), e.word.Load() // before another lease begins
	if !e.word.End(l.n) {
		return
	}
	e.unseen++
	e.takenBack.Add(1)
	defer func() { p.tellEnded(l, x) }() // deferred, since Done may end this goroutine
	p.lock()
	p.startClock()
	p.counts.returned++
	e.since = p.clock.tick.Load() - word.Ticks(p.clock.tick.Load()) - l.idle()
	p.beginVetting(e, check)
	if e.loc == gone {
		x.cause = e.cause
	}
	p.unlock()
	p.policies.giveBack(done, Outcome{})
}

// beginVetting has check called for e, whose lease has just ended and whose since
// is set, if e is to be lent again; else it retires e. The pool is locked.
func (p *Pool[T]) beginVetting(e *entry[T], check func(ctx context.Context, v T) error) {
	if !e.lendable(&p.cap) {
		p.stays(e, false)
		return
	}
	if e.loc == inSlot {
		p.idle.leaveSlot(e)
		e.stamp = p.idle.list.stamp()
	}
	e.loc, e.wasIdle = releasing, true
	c := &call{began: p.clock.now()}
	p.calls.vettings.slowAfter = min(max(minVetting, p.maker.gauge.Usual()), maxVetting)
	p.calls.vettings.add(c)
	p.busy++
	go p.vetInBackground(e.era.ctx, e, c, check)
	p.grow()
}

// How long callers that wait count on a resource that ReleaseAfter has checked: as
// long as a make usually takes, within these bounds. On a network the check is one
// round trip, and a dial takes two or more.
const (
	minVetting = 10 * time.Millisecond
	maxVetting = 100 * time.Millisecond
)

// vetInBackground calls check for e.
func (p *Pool[T]) vetInBackground(ctx context.Context, e *entry[T], c *call, check func(ctx context.Context, v T) error) {
	defer p.unbusy()
	cause := error(ErrGoexit) // unless it returns
	// Deferred, so that it happens also if check ends this goroutine.
	defer func() { p.vetted(e, c, cause) }()
	var err error
	if broke := p.guard.call("ReleaseAfter", func() { err = check(ctx, e.value) }); broke != nil {
		err = broke
	}
	cause = err
}

// vetted puts e where it belongs when its check has returned.
func (p *Pool[T]) vetted(e *entry[T], c *call, cause error) {
	p.lock()
	defer p.unlock()
	p.startClock()
	p.calls.vettings.remove(c)
	switch {
	case !p.outlasts(e):
	case cause != nil:
		p.retire(e, cause, fateUnhealthy)
	default:
		e.loc = moving
		if p.stays(e, false) {
			p.idle.park(e)
		}
		return
	}
	p.grow()
}
