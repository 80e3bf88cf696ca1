package proof_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// permits is an Admission that follows a plan and checks that each Done runs once (I4). It
// takes no lock, so that the stress test can use it too.
type permits struct {
	name     string
	plan     []verdict
	complain func(format string, args ...any) // reports a violation
	onAsk    func()                           // at the beginning of Admit; nil: nothing
	onAnswer func(ctx context.Context, p *permit, refused bool)
	exits    bool // may call Goexit: it does not run on a caller's goroutine
	healed   atomic.Bool
	asked    atomic.Int64
	asking   atomic.Int64 // running calls of Admit
	out      atomic.Int64
	nils     atomic.Int64 // granted without a Done
	lastNo   atomic.Value // time of the last refusal
}

// permit is a granted permit.
type permit struct {
	returned atomic.Int32
	verdict  atomic.Int32
}

var errRefused = errors.New("planned refusal")

func (p *permits) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	p.asking.Add(1)
	defer p.asking.Add(-1)
	if p.onAsk != nil {
		p.onAsk()
	}
	n := int(p.asked.Add(1)) - 1
	v := verdict("yes")
	if n < len(p.plan) && !p.healed.Load() {
		v = p.plan[n]
	}
	refuse := func() {
		p.lastNo.Store(time.Now())
		p.tell(ctx, nil, true)
	}
	switch v {
	case "slow":
		if !r.NoWait {
			timer := time.NewTimer(ms(40) + time.Duration(n*29+7)*time.Microsecond + odd)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
				refuse()
				return nil, ctx.Err()
			}
		}
	case "no":
		refuse()
		return nil, errRefused
	case "later":
		refuse()
		return nil, &resource.Rejection{Policy: p.name, RetryAfter: ms(75), Err: errRefused}
	case "panics":
		refuse()
		panic("planned panic in Admit")
	case "goexits":
		refuse()
		if !p.exits {
			panic("planned panic in Admit")
		}
		runtime.Goexit()
	}
	if v == "nil" {
		p.nils.Add(1)
		p.tell(ctx, nil, false)
		return nil, nil
	}
	pm := &permit{}
	p.out.Add(1)
	p.tell(ctx, pm, false)
	return p.done(pm, n), nil
}

func (p *permits) tell(ctx context.Context, pm *permit, refused bool) {
	if p.onAnswer != nil {
		p.onAnswer(ctx, pm, refused)
	}
}

func (p *permits) done(pm *permit, n int) resource.Done {
	return func(o resource.Outcome) {
		if k := pm.returned.Add(1); k != 1 {
			p.complain("I4: the Done of %s %d ran %d times", p.name, n+1, k)
		}
		if o.Verdict != resource.Failed && o.Err != nil {
			p.complain("%s %d: verdict %d with error %v", p.name, n+1, o.Verdict, o.Err)
		}
		pm.verdict.Store(int32(o.Verdict) + 1)
		p.out.Add(-1)
	}
}

// refusing reports whether p refused recently: the pool decides when to ask again.
func (p *permits) refusing() bool {
	if p == nil {
		return false
	}
	at, ok := p.lastNo.Load().(time.Time)
	return ok && time.Since(at) < 10*time.Second
}

// eviction is an Eviction that follows a plan.
type eviction string

const (
	tooManyLeases = 3
	tooOld        = 2 * time.Second
	tooIdle       = 700 * time.Millisecond
)

var errEvicted = errors.New("planned eviction")

func (e eviction) Evict(i resource.Info) error {
	switch e {
	case "leases":
		if i.Leases >= tooManyLeases {
			return errEvicted
		}
	case "age":
		if i.Age >= tooOld {
			return errEvicted
		}
	case "idle":
		if i.Idle >= tooIdle {
			return errEvicted
		}
	case "panics":
		if i.ID%2 == 0 {
			panic("planned panic in Evict")
		}
	}
	return nil
}

// predicted is an eviction that is Predictable.
type predicted struct{ eviction }

func (p predicted) Horizon(resource.Info) resource.Horizon {
	h := resource.Horizon{Age: math.MaxInt64, Idle: math.MaxInt64, Leases: math.MaxInt64}
	switch p.eviction {
	case "leases":
		h.Leases = tooManyLeases
	case "age":
		h.Age = tooOld
	case "idle":
		h.Idle = tooIdle
	case "panics":
		panic("planned panic in Horizon")
	}
	return h
}

// lapsed returns why the resource with Info i should not have been lent. The pool reads its
// clock in ticks of 100 ms, and i counts this lease.
func (e eviction) lapsed(i resource.Info) error {
	const tick = 100*time.Millisecond + 30*time.Millisecond // plus a slow check in between
	switch {
	case e == "leases" && i.Leases > tooManyLeases:
		return fmt.Errorf("lease %d of at most %d", i.Leases, tooManyLeases)
	case e == "age" && i.Age >= tooOld+tick:
		return fmt.Errorf("%v old", i.Age)
	case e == "idle" && i.Idle >= tooIdle+tick:
		return fmt.Errorf("idle for %v", i.Idle)
	}
	return nil
}

// health is a Health that follows a plan and reports every sick thing.
type health struct {
	w    *world
	kind string
	busy atomic.Int32 // running checks
}

var errSick = errors.New("planned sickness")

func (h *health) Check(ctx context.Context, v *thing, i resource.Info) error {
	h.busy.Add(1)
	defer h.busy.Add(-1)
	if h.kind == "slow" {
		timer := time.NewTimer(ms(15) + time.Duration(v.n*31)*time.Microsecond + odd)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if v.stage != living || v.holder != nil {
		h.w.err("thing %d was checked in stage %d, held: %v", v.n, v.stage, v.holder != nil)
	}
	if v.sick && h.kind == "panics" {
		panic("planned panic in Check")
	}
	if v.sick {
		return errSick
	}
	return nil
}

// order is a Queue that serves the newest waiter first, or follows a faulty plan.
type order struct {
	w    *world
	plan []verdict // of a faulty one
	in   atomic.Int32
	list []*resource.Waiter
	pops int
}

// alone checks that the pool calls one method at a time.
func (q *order) alone() func() {
	if q.in.Add(1) != 1 {
		q.w.mu.Lock()
		q.w.err("two methods of the Queue ran at once")
		q.w.mu.Unlock()
	}
	return func() { q.in.Add(-1) }
}

func (q *order) Push(w *resource.Waiter, _ time.Duration) {
	defer q.alone()()
	q.list = append(q.list, w)
}

func (q *order) Remove(w *resource.Waiter) {
	defer q.alone()()
	for i, x := range q.list {
		if x == w {
			q.list = append(q.list[:i], q.list[i+1:]...)
			return
		}
	}
}

func (q *order) Pop(time.Duration) (*resource.Waiter, error) {
	defer q.alone()()
	v := verdict("yes")
	if q.pops < len(q.plan) {
		v = q.plan[q.pops]
	}
	q.pops++
	if v == "panics" {
		panic("planned panic in Pop")
	}
	if v == "nil" || len(q.list) == 0 {
		return nil, nil
	}
	w := q.list[len(q.list)-1]
	q.list = q.list[:len(q.list)-1]
	if v == "no" {
		return w, errRefused
	}
	return w, nil
}
