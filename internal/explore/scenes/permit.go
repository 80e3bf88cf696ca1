package main

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/respool/respool/internal/explore/sched"
	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

var permitScenes = []sched.Scene{
	{Name: "permit-wait", Doc: "a release with a permit of policy.Limit against two callers, of which one may be refused", Bound: 2, Run: permitWait},
	{Name: "quota-discard", Doc: "a Discard against a caller that waits, with a Quota that is used up", Bound: 1, Run: quotaDiscard},
	{Name: "quota-hijack", Doc: "a Hijack against a caller that waits, with a Quota that is used up", Bound: 2, Run: quotaHijack},
	{Name: "deadline-permit", Doc: "policy.WithinDeadline(2): three callers begin and end", Bound: 2, Run: deadlinePermit},
}

// permits is a policy.Limit, and checks that each permit comes back once.
type permits struct {
	x     *sched.X
	limit *policy.Limiter
	out   atomic.Int32 // permits that are out
	most  int32
}

func newPermits(x *sched.X, n int) *permits {
	return &permits{x: x, limit: policy.Limit(n), most: int32(n)}
}

// Admit implements resource.Admission.
func (p *permits) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	done, err := p.limit.Admit(ctx, r)
	if err != nil {
		return nil, err
	}
	n := p.out.Add(1)
	p.x.Require(n <= p.most, "%d permits are out", n)
	var used atomic.Int32
	return func(o resource.Outcome) {
		p.x.Require(used.Add(1) == 1, "I4: a permit is given back twice")
		p.out.Add(-1)
		done(o)
	}, nil
}

// end checks that every permit is back.
func (p *permits) end() {
	p.x.Require(p.out.Load() == 0 && p.limit.InFlight() == 0, "I4: %d permits are out, %d units in flight", p.out.Load(), p.limit.InFlight())
}

func permitWait(x *sched.X) {
	limit := newPermits(x, 2)
	w := newWorld(x, 1, func(c *resource.Config[*value]) { c.Admission = limit })
	w.ready()
	l := w.acquire(context.Background())
	x.Actor("release", l.Release)
	for id := range int32(2) {
		x.Actor("caller", func() {
			l, err := w.pool.Acquire(context.Background())
			if err != nil {
				x.Require(errors.Is(err, policy.ErrFull), "Acquire: %v", err)
				return
			}
			w.use(l, id+1)
			l.Release()
		})
	}
	x.Explore()
	limit.end()
	w.end()
	limit.end()
}

func quotaDiscard(x *sched.X) {
	quota := newPermits(x, 1)
	w := newWorld(x, 2, func(c *resource.Config[*value]) { c.Quota = quota })
	w.max.Store(1)
	w.ready()
	l := w.acquire(context.Background())
	x.Actor("discard", func() { l.Discard(nil) })
	x.Actor("caller", func() { w.acquireReleases(1, 1) })
	x.Explore()
	w.end()
	quota.end()
}

func quotaHijack(x *sched.X) {
	quota := newPermits(x, 1)
	w := newWorld(x, 1, func(c *resource.Config[*value]) { c.Quota = quota })
	w.ready()
	w.max.Store(2)
	l := w.acquire(context.Background())
	x.Actor("hijack", func() {
		v, ok := l.Hijack()
		x.Require(ok, "a lease had ended")
		v.hijacked.Add(1)
		w.exist.Add(-1)
	})
	x.Actor("caller", func() { w.acquireReleases(1, 1) })
	x.Explore()
	w.end()
	quota.end()
}

// deadlinePermit has callers meet below the limit of a DeadlineLimiter, where it reads no clock, and at it.
func deadlinePermit(x *sched.X) {
	limit := policy.WithinDeadline(2)
	for range 3 {
		x.Actor("caller", func() {
			done, err := limit.Admit(context.Background(), resource.Request{})
			x.Require(err == nil, "Admit: %v", err)
			n := limit.InFlight()
			x.Require(n >= 1 && n <= 3, "a caller is in flight, and %d are counted", n)
			done(resource.Outcome{Verdict: resource.OK})
		})
	}
	x.Explore()
	x.Require(limit.InFlight() == 0, "all have ended, and %d are in flight", limit.InFlight())
}
