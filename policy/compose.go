package policy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/respool/respool/resource"
)

// All admits a request if every one of ps admits it. It asks them in order and
// returns the first refusal unchanged; the members that had already admitted the
// request then get an Ignored outcome, in reverse order, even if a later member
// panics or calls runtime.Goexit. When an admitted request ends, every member gets
// its outcome, in reverse order, even if one of them panics.
//
// See the package comment for the order of the members. An All within an All is
// flattened. All of nothing admits everything. Panics if a member is nil.
func All(ps ...resource.Admission) resource.Admission {
	var flat []resource.Admission
	for _, p := range copyMembers("All", ps) {
		if inner, ok := p.(*allAdmissions); ok {
			flat = append(flat, inner.ps...)
		} else {
			flat = append(flat, p)
		}
	}
	if len(flat) == 1 {
		return flat[0]
	}
	return &allAdmissions{ps: flat}
}

type allAdmissions struct {
	ps    []resource.Admission
	usual atomic.Pointer[usualDone]
}

// usualDone is what the first request got that was admitted. Most policies return the same
// Done for each request; then all requests share this one.
type usualDone struct {
	dones doneList
	done  resource.Done // calls dones.run
}

// Admit implements [resource.Admission].
func (a *allAdmissions) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	var few [4]resource.Done
	dones := doneList(few[:0])
	admitted := false
	defer func() {
		if !admitted {
			dones.run(resource.Outcome{})
		}
	}()
	for _, p := range a.ps {
		done, err := p.Admit(ctx, r)
		if err != nil {
			return nil, err
		}
		if done != nil {
			dones = append(dones, done)
		}
	}
	admitted = true
	return a.join(dones), nil
}

// join returns one Done that calls all of them; nil if there is none.
func (a *allAdmissions) join(dones doneList) resource.Done {
	switch len(dones) {
	case 0:
		return nil
	case 1:
		return dones[0]
	}
	usual := a.usual.Load()
	if usual == nil {
		usual = &usualDone{dones: slices.Clone(dones)}
		usual.done = usual.dones.run
		a.usual.CompareAndSwap(nil, usual)
	}
	if usual.dones.same(dones) {
		return usual.done
	}
	c := newDoneChain()
	c.dones = append(c.dones, dones...)
	return c.done
}

// doneList is Dones in the order of admission.
type doneList []resource.Done

// run calls every Done, the last one first. A Done that panics or calls runtime.Goexit
// does not prevent the others from being called.
func (l doneList) run(o resource.Outcome) {
	left := len(l)
	defer func() {
		if left > 0 {
			l[:left].run(o)
		}
	}()
	for left > 0 {
		left--
		l[left](o)
	}
}

// same reports whether both lists have the same func values. Go compares func values only
// with nil; a func value is one pointer, to its code and what it has captured.
func (l doneList) same(o doneList) bool {
	return slices.EqualFunc(l, o, func(a, b resource.Done) bool {
		return *(*unsafe.Pointer)(unsafe.Pointer(&a)) == *(*unsafe.Pointer)(unsafe.Pointer(&b))
	})
}

// doneChain is a list of Dones of one request behind a single Done. Chains are pooled: the
// closure is allocated once and reused together with its chain.
type doneChain struct {
	dones doneList
	done  resource.Done // calls run
}

var doneChains sync.Pool

func newDoneChain() *doneChain {
	if c, ok := doneChains.Get().(*doneChain); ok {
		return c
	}
	c := &doneChain{dones: make(doneList, 0, 4)}
	c.done = c.run
	return c
}

// run calls every Done and returns the chain to the pool.
func (c *doneChain) run(o resource.Outcome) {
	defer func() {
		clear(c.dones)
		c.dones = c.dones[:0]
		doneChains.Put(c)
	}()
	c.dones.run(o)
}

// Any admits a request if one of ps admits it; the first one that does holds the
// permit. All members but the last are asked with NoWait, so only the last may
// block. If all of them refuse, the refusal is named "any", wraps every refusal and
// carries the smallest RetryAfter among them. Panics if ps is empty or a member is
// nil.
//
//	policy.Any(policy.Limit(10), policy.Rate(overflow)) // ten, plus a rate above that
func Any(ps ...resource.Admission) resource.Admission {
	var e argErrors
	e.require(len(ps) > 0, "no members")
	e.panicIfAny("Any")
	ps = copyMembers("Any", ps)
	if len(ps) == 1 {
		return ps[0]
	}
	return anyAdmission(ps)
}

type anyAdmission []resource.Admission

// Admit implements [resource.Admission].
func (ps anyAdmission) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	var refusals []error
	last, noWait := len(ps)-1, r.NoWait
	for i, p := range ps {
		r.NoWait = noWait || i < last
		done, err := p.Admit(ctx, r)
		if err == nil {
			return done, nil
		}
		refusals = append(refusals, err)
	}
	if ctx.Err() != nil && !errors.Is(refusals[last], resource.ErrRejected) {
		return nil, refusals[last] // not a refusal: the context ended
	}
	return nil, reject("any", minRetryAfter(refusals), errors.Join(refusals...))
}

// minRetryAfter returns the smallest known RetryAfter; 0 if none is known.
func minRetryAfter(refusals []error) (retry time.Duration) {
	for _, err := range refusals {
		var r *resource.Rejection
		if errors.As(err, &r) && r.RetryAfter > 0 && (retry == 0 || r.RetryAfter < retry) {
			retry = r.RetryAfter
		}
	}
	return retry
}

// Named sets the name in the refusals of p ([resource.Rejection.Policy]), so that
// several policies of one kind can be told apart. The rest of the refusal is
// unchanged. The name must not be a secret: it appears in errors and labels. Panics
// if name is empty or p is nil.
func Named(name string, p resource.Admission) resource.Admission {
	var e argErrors
	e.require(name != "", "name is empty")
	e.require(!isNilAdmission(p), "p is nil")
	e.panicIfAny("Named")
	return &named{name, p}
}

type named struct {
	name string
	p    resource.Admission
}

// Admit implements [resource.Admission].
func (p *named) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	done, err := p.p.Admit(ctx, r)
	if err == nil {
		return done, nil
	}
	if refusal, ok := err.(*resource.Rejection); ok {
		return nil, reject(p.name, refusal.RetryAfter, refusal.Err)
	}
	if ctx.Err() != nil && !errors.Is(err, resource.ErrRejected) {
		return nil, err // not a refusal: the context ended
	}
	return nil, reject(p.name, minRetryAfter([]error{err}), err)
}

// ByPriority passes each request to the Admission that pick returns for its
// Priority. If pick returns nil the request is admitted. A nil *Limiter, such as a
// map returns for a missing key, is not a nil Admission and panics. pick is called
// for every request, by many goroutines at once; it should return admissions that
// were created beforehand. ByPriority does not know them, so it does not pass
// [resource.SizeFollower] calls on: resize them yourself. Panics if pick is nil.
func ByPriority(pick func(priority int) resource.Admission) resource.Admission {
	var e argErrors
	e.require(pick != nil, "pick is nil")
	e.panicIfAny("ByPriority")
	return byPriority(pick)
}

type byPriority func(priority int) resource.Admission

// Admit implements [resource.Admission].
func (pick byPriority) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	p := pick(r.Priority)
	if p == nil {
		return nil, nil
	}
	return p.Admit(ctx, r)
}

// copyMembers checks the members of a combinator and returns a copy of them.
func copyMembers(constructor string, ps []resource.Admission) []resource.Admission {
	var e argErrors
	for i, p := range ps {
		e.require(!isNilAdmission(p), "member %d is nil", i)
	}
	e.panicIfAny(constructor)
	return append([]resource.Admission(nil), ps...)
}

// Combinators implement [resource.SizeFollower] by passing the call on.

// followSize calls FollowSize if p implements it.
func followSize(p resource.Admission, from, to int) {
	if f, ok := p.(resource.SizeFollower); ok {
		f.FollowSize(from, to)
	}
}

// FollowSize implements [resource.SizeFollower] for all members.
func (a *allAdmissions) FollowSize(from, to int) {
	for _, p := range a.ps {
		followSize(p, from, to)
	}
}

// FollowSize implements [resource.SizeFollower] for all members.
func (ps anyAdmission) FollowSize(from, to int) {
	for _, p := range ps {
		followSize(p, from, to)
	}
}

// FollowSize implements [resource.SizeFollower] for the named policy.
func (p *named) FollowSize(from, to int) { followSize(p.p, from, to) }

// FollowSize implements [resource.SizeFollower] for the underlying limit.
func (s *reserve) FollowSize(from, to int) { followSize(s.Gauged, from, to) }
