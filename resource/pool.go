package resource

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/budget"
)

// The invariants. Each has tests whose names carry its number.
//
//	I1   idle + leased + being made + being destroyed ≤ the current maximum,
//	     at every instant, through resize, reset and close. When the maximum
//	     is lowered below what is out, no Make is called until it holds
//	     again. A make given up at MakeTimeout is no longer counted; what it may still
//	     return is destroyed, never lent.
//	I2   A resource has at most one lease that has not ended. A lease ends
//	     once; ending it again, from a copy, concurrently, after destroy or
//	     after close does nothing and never touches the next holder.
//	I3   Every value that Make returned is destroyed exactly once or hijacked
//	     exactly once.
//	I4   Every Done that an Admission returned runs exactly once, on every
//	     path, panics included.
//	I5   No lock is held while code that is not ours runs.
//	I6   After Close returns nil nothing of the pool runs; before that, its
//	     error says what still does.
//	I7   No lost wake-up, without polling: if a resource is on the shelf and a
//	     caller waits who could use it, one of them is moving.
//	I8   A caller whose context has ended is never given a resource it will not
//	     use; it goes to the next.
//	I9   A panic or Goexit in a function that the pool calls costs at most that
//	     one call: never the process, never a place, never a waiter.
//	I10  On the hit path: no allocation, no clock read but for a lease that
//	     Trace samples, no lock that others hold while doing more than a few
//	     instructions.
//	I11  One make, check or destroy that hangs never keeps others from being
//	     served while the maximum has room.
//	I12  The work of one operation under the lock does not grow with the number
//	     of waiters or idle resources, but for logarithms.

// Pool lends resources of type T. Make one with [New]. All methods may be
// called by any number of goroutines at once.
//
// An acquire that finds an idle resource and its release together take about as
// long as locking and unlocking a free mutex twice, and allocate nothing.
type Pool[T any] struct {
	// Read by every hit, seldom written.
	cfg    Config[T] // constant
	plain  bool      // constant: an acquire asks no policy
	mute   bool      // constant: a release asks and tells no policy
	judged bool      // constant: there is an Eviction, an EvictIf or a Health
	evicts bool      // constant: there is an Eviction or an EvictIf
	gated  bool      // constant: there is a MakeGate or a Quota
	// constant: Trace is told when some leases begin, when some end, and
	// nothing else is to be asked or told at an acquire, at a release
	onlyBegin, onlyEnd bool
	slots              []localSlot[T] // constant: those of idle, here since every hit reads them
	ordered            bool           // constant: there is a Queue
	clock              clock
	sampler            sampler[T]
	// slowPath is not zero when acquire and release must go through mu, and has
	// the bit overfull when no Make may be called:
	// somebody waits, or the pool is closed, too large, or its clock stopped.
	// Who sets it, under mu, then looks at every seat; who releases to a seat
	// then looks at it. So one of the two sees the other (I7).
	slowPath atomic.Uint32
	_        [64]byte // what follows is written often

	shared    *shared[T] // constant: what it has in common with the pools of other keys; nil: nothing
	keyedSlot any        // constant: where the Keyed keeps it, if shared

	life      life[*entry[T]] // makes, counts and destroys
	ctx       context.Context // ends at Close
	cancel    context.CancelFunc
	guard     guard
	policies  policies[T]
	trace     tracer
	inspector inspector[T]
	drained   chan struct{}

	// mu guards what follows. Nothing that is not ours is called under it
	// (I5), and nothing under it takes long; see lock and unlock.
	mu     askMutex[Stats]
	closed bool
	over   bool // drained is closed

	// How many there are, and where.
	size     sizeNews
	cap      capacity
	busy     int // goroutines of the pool's own that Close waits for
	registry registry[T]
	idle     idleSet[T]
	health   health[T]
	calls    userCalls
	era      *era // that of what is made now
	reaper   reaper[T]

	// Who waits.
	waiters waitQueue[T]
	handOff handOff

	// What to make, and what is left over for later holds of mu.
	maker   maker[T]
	alarm   alarm
	changed bool // something changed that may call for new resources: dispatch grows
	sweeper *time.Timer
	more    bool // dispatch has left something over
	working bool // work runs

	// The tick.
	ticker  *time.Timer
	ticking bool
	used    int64 // usage at the last tick
	cooled  int64 // tick at which long idle seats were last cleared

	counts counters // what Stats adds up

}

// New returns a pool for cfg, which it copies, and begins to make
// [Config.MinIdle] resources in the background. The error names every bad
// field. Call [Pool.Close] when done.
func New[T any](cfg Config[T]) (*Pool[T], error) { return newPool(cfg, nil, nil) }

// newPool is New, for a pool that has something in common with others or, if
// that is nil, for one that stands alone.
func newPool[T any](cfg Config[T], common *shared[T], keyedSlot any) (*Pool[T], error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	evicts := cfg.Eviction != nil || cfg.EvictIf != nil
	p := &Pool[T]{
		shared:    common,
		keyedSlot: keyedSlot,
		cfg:       cfg.withDefaults(),
		evicts:    evicts,
		plain:     cfg.Admission == nil && !evicts && cfg.Health == nil,
		mute:      cfg.Admission == nil && !evicts && cfg.OnRelease == nil,
		judged:    evicts || cfg.Health != nil,
		ordered:   cfg.Queue != nil,
		clock:     clock{base: time.Now()},
		size:      sizeNews{told: cfg.MaxSize},
		drained:   make(chan struct{}),
		reaper:    newReaper[T](),
	}
	s := &p.sampler
	s.clock, s.trace, s.sparse = &p.clock, &p.trace, cfg.sampleMask()
	s.ends = p.cfg.Trace.Ended != nil
	s.begins = s.ends || p.cfg.Trace.Leased != nil
	s.mask.Store(s.sparse)
	p.onlyBegin, p.plain = p.plain && s.begins, p.plain && !s.begins
	p.onlyEnd, p.mute = p.mute && s.ends, p.mute && !s.ends
	p.guard.trace = p.cfg.Trace
	p.trace = tracer{&p.guard, p.cfg.Trace}
	p.policies = policies[T]{guard: &p.guard, cfg: &p.cfg}
	p.policies.scheduled, _ = cfg.Health.(Scheduled)
	p.clock.slow = &p.slowPath
	p.alarm.ring = p.onAlarm
	p.handOff.clock, p.calls.clock, p.health.checks = &p.clock, &p.clock, &p.calls.checks
	p.cap.max = cfg.MaxSize
	p.registry.ids = new(atomic.Uint64)
	p.inspector.mu, p.inspector.clock, p.inspector.policies = &p.mu, &p.clock, &p.policies
	p.inspector.registry, p.inspector.waiters = &p.registry, &p.waiters
	if common != nil {
		p.clock.base = common.base
		p.clock.tick.Store(p.clock.nowTick())
		p.cap.share, p.cap.total = common.budget.Join(memberOf(p)), common.budget
		p.registry.ids = &common.ids
		p.counts.allKeys = &common.failures
	}
	if cfg.Order == NewestFirst {
		p.slots = make([]localSlot[T], slotCount(runtime.GOMAXPROCS(0), cfg.MaxSize))
	}
	p.idle = idleSet[T]{clock: &p.clock, order: cfg.Order, slots: p.slots}
	p.maker = newMaker[T](cfg.MinIdle)
	p.gated = cfg.MakeGate != nil || cfg.Quota != nil
	p.waiters.timed, p.waiters.ordered = p.gated, p.ordered
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.era = newEra(p.ctx)
	p.mu.answer = p.stats
	p.life.construct, p.life.destruct = construct[T], destruct[T]
	p.health.freed = make(chan struct{}, 1)
	p.calls.checks.limit = p.cfg.checkTimeout() + callGrace(p.cfg.checkTimeout())
	p.calls.resets.limit = p.cfg.ReleaseTimeout + callGrace(p.cfg.ReleaseTimeout)
	p.calls.vettings.limit = p.calls.checks.limit
	p.calls.checks.slowAfter, p.calls.resets.slowAfter = slowAfter, slowAfter
	p.lock()
	defer p.unlock()
	p.startSweeper()
	p.changed = true
	return p, nil
}

// Acquire lends a resource: an idle one, or else the first that is given back
// or made for those who wait. It blocks until then, until ctx ends or the pool
// is closed, and fails with an [*AcquireError]. A ctx that has ended gets
// nothing, even if a resource is idle. The caller ends the lease.
func (p *Pool[T]) Acquire(ctx context.Context) (Lease[T], error) {
	slot := localIndex(len(p.slots))
	if p.plain && ctx.Err() == nil {
		if l, _, ok := p.hit(slot); ok {
			return l, nil
		}
	}
	l, err := p.acquire(ctx, &Request{}, slot)
	return p.acquired(ctx, l, err)
}

// AcquireWith is Acquire with particulars for the policies.
func (p *Pool[T]) AcquireWith(ctx context.Context, r Request) (Lease[T], error) {
	slot := localIndex(len(p.slots))
	if p.plain && !r.Fresh && ctx.Err() == nil {
		if l, _, ok := p.hit(slot); ok {
			return l, nil
		}
	}
	l, err := p.acquire(ctx, &r, slot)
	return p.acquired(ctx, l, err)
}

// TryAcquire lends an idle resource if there is one and nobody waits. It never
// waits for one. If it finds none a make begins in the background, where there is
// room, unless one is on its way already: so that a later call may find it. The
// Admission is asked with [Request.NoWait], the Eviction as ever; a Health check
// that is due gets 10 ms, and then goes on without the caller: see
// [Request.NoWait]. While others acquire and release it may miss the one that is
// idle at each instant.
func (p *Pool[T]) TryAcquire() (Lease[T], bool) {
	slot := localIndex(len(p.slots))
	if p.plain {
		if l, _, ok := p.hit(slot); ok {
			return l, true
		}
	}
	if p.plain { // acquire would make an error
		p.lock()
		defer p.unlock()
		p.startClock()
		if p.closed {
			p.counts.fail(ReasonClosed)
			return Lease[T]{}, false
		}
		if p.waiters.n == 0 {
			if e := p.idle.take(nil, slot); e != nil {
				idle := p.clock.tick.Load() - e.since
				l := p.lend(e, slot)
				l.found(idle)
				return l, true
			}
		}
		p.missed()
		p.counts.fail(ReasonNoneIdle)
		return Lease[T]{}, false
	}
	l, err := p.acquire(context.Background(), &Request{NoWait: true}, slot)
	if err != nil {
		p.counts.fail(reasonOf(err))
	}
	return l, err == nil
}

// Do lends a resource to f and ends the lease when f returns: with
// [Lease.Release] if it returns nil, [Lease.Fail] if an error, which Do
// returns; if f panics or calls runtime.Goexit the resource is destroyed and
// the panic goes on.
//
// Unless [Config.Broken] says otherwise every error that f returns destroys the
// resource, also one that has nothing to do with it.
func (p *Pool[T]) Do(ctx context.Context, f func(context.Context, T) error) error {
	return p.DoWith(ctx, Request{}, f)
}

// DoWith is Do with particulars for the policies. With [Request.MaxWait] it bounds
// the acquire and leaves f its time.
func (p *Pool[T]) DoWith(ctx context.Context, r Request, f func(context.Context, T) error) error {
	l, err := p.AcquireWith(ctx, r)
	if err != nil {
		return err
	}
	return l.do(ctx, f)
}

// Resize changes the maximum. Growing lets waiters have new resources at once.
// Shrinking destroys surplus idle resources, the ones idle longest first, and interrupts no holder: leased ones go, while too many exist, as
// they are given back. Policies that follow the maximum are told of it: see
// [SizeFollower]. It fails if max is less than 1, or with [ErrClosed].
func (p *Pool[T]) Resize(max int) error {
	if err := checkSize(max); err != nil {
		return fmt.Errorf("resource: new maximum %w", err)
	}
	p.lock()
	if p.closed {
		p.unlock()
		return ErrClosed
	}
	p.cap.max = max
	var tries chan struct{}
	if p.cap.full() {
		tries = p.maker.takeTries() // there is no room for one
	}
	p.setSlowPath()
	if p.cap.over() {
		p.idle.flushSlots(0)
		reapOp[T]{p}.reap()
	}
	p.maker.warmed(p.exist(), p.cap.most(), nil) // fewer may be enough now
	p.serveAndGrow()
	p.unlock()
	notifyTries(tries)
	p.tellSize()
	return nil
}

// Reset replaces everything made before it, or being made: idle resources are
// destroyed from now on and not lent, leased ones when their lease ends. Its time
// does not depend on how many there are. The contexts of makes that run end with
// the cause, and others begin in their stead: so callers that wait are served by
// makes that began after the Reset, and hear nothing of those that began before.
// Only if a Reset follows another sooner than a make takes, and callers wait, do
// makes go on that began in between: what they make is lent once, to a caller that
// has waited since before the second Reset. The cause is what Destroy and Trace
// see; nil means [ErrReset].
func (p *Pool[T]) Reset(cause error) {
	if cause == nil {
		cause = ErrReset
	}
	p.lock()
	canceled, old := p.maker.cutOff(p.clock.now(), p.waiters.n > 0), p.era
	defer func() {
		p.unlock()
		cancelAll(canceled, cause)
		old.cancel(cause)
	}()
	p.endEra(cause)
	p.serveAndGrow()
}

// SampleFor has every lease that begins in the next d sampled, if the Trace has a Leased
// or an Ended: see [Config.SampleLeases]. A meter of package metrics calls it when a
// lease is overdue that was not sampled, since a leak usually happens again. A call
// never ends an earlier one's time. It does nothing if d is not positive.
func (p *Pool[T]) SampleFor(d time.Duration) {
	p.lock()
	defer p.unlock()
	if p.sampler.extend(d) {
		p.startClock()
	}
}

// sizeNews is what the policies that follow the maximum know of it. Its user holds
// the pool's lock.
type sizeNews struct {
	told    int  // the maximum that they know
	telling bool // a goroutine tells them
}

// next returns the change to tell, if there is one and no other goroutine tells.
func (n *sizeNews) next(max int) (from int, ok bool) {
	if n.telling || n.told == max {
		return 0, false
	}
	from = n.told
	n.told, n.telling = max, true
	return from, true
}

// tellSize tells the policies that follow the maximum how it was changed. A Resize
// at the same time leaves its change to the goroutine that tells already, so that
// the last call has the last maximum.
func (p *Pool[T]) tellSize() {
	for {
		p.lock()
		max := p.cap.max
		from, ok := p.size.next(max)
		if ok {
			p.busy++
		}
		p.unlock()
		if !ok {
			return
		}
		for _, a := range []Admission{p.cfg.Admission, p.cfg.MakeGate, p.cfg.Quota} {
			if f, follows := a.(SizeFollower); follows {
				_ = p.guard.isolate("FollowSize", func() { f.FollowSize(from, max) })
			}
		}
		p.lock()
		p.size.telling = false
		p.busy--
		p.unlock()
	}
}

// capacity counts the slots of a pool. A resource holds one from the moment at which
// its creation begins until its Destroy has returned or it is hijacked (I1). In the
// pool of a Keyed each slot also holds a place of the total: it is taken before the
// creation begins and freed with the slot. Its user holds the pool's lock.
type capacity struct {
	max   int // the current maximum
	live  int // slots in use: idle + leased + being created + being destroyed
	dying int // of these, being destroyed

	share   *budget.Share  // constant: the pool's part in the total; nil: it stands alone
	total   *budget.Budget // constant: the total; nil likewise
	claimed int            // places wanted of the total, and not free
	granted int            // places got of the total, and not used yet
}

// full reports whether no slot is free.
func (c *capacity) full() bool { return c.live >= c.max }

// over reports whether more slots are in use than there are, after a Resize.
func (c *capacity) over() bool { return c.live > c.max }

// surplus reports whether a resource must go, besides those that are going.
func (c *capacity) surplus() bool { return c.live-c.dying > c.max }

// scarce reports whether places of the total are wanted that are not free.
func (c *capacity) scarce() bool { return c.total != nil && c.total.Scarce() }

// exceeds reports whether more places are in use than the total has.
func (c *capacity) exceeds() bool { return c.total != nil && c.total.Over() }

// fits reports whether no more places are in use than the total has: it may have been
// lowered since one was taken.
func (c *capacity) fits() bool { return c.total == nil || c.total.Fits() }

// roomHelps reports whether a creation waits only for a slot or place to become free.
func (c *capacity) roomHelps() bool { return c.full() || c.claimed > 0 && c.total.Short() }

// most is how many resources the pool may have at most.
func (c *capacity) most() int {
	if c.total == nil {
		return c.max
	}
	total, _, _ := c.total.Levels()
	return min(c.max, total)
}

// take takes the places for want creations, demand of which are for callers, and
// returns how many it got. Places that callers lack are claimed: see member.Granted.
// patient says that no caller waits.
func (c *capacity) take(want, demand int, patient bool) int {
	if c.share == nil {
		return want
	}
	if want == 0 && c.claimed == 0 {
		return 0
	}
	had := min(c.granted, want)
	c.granted -= had
	took := had + c.share.Take(want-had, max(0, demand-had), patient)
	c.claimed = max(0, demand-took)
	return took
}

// takeFree takes a place if one is free that no pool waits for.
func (c *capacity) takeFree() bool {
	return c.share == nil || c.claimed == 0 && c.share.Take(1, 0, false) == 1
}

// begin counts a creation, whose place was taken.
func (c *capacity) begin() { c.live++ }

// die counts n more resources as being destroyed.
func (c *capacity) die(n int) {
	c.dying += n
	if c.share != nil && n > 0 {
		c.share.Dying(n)
	}
}

// free frees a slot, and its place.
func (c *capacity) free() {
	c.live--
	if c.share != nil {
		c.share.Free(false)
	}
}

// freeDead frees the slot of a resource whose Destroy has returned.
func (c *capacity) freeDead() {
	c.dying--
	c.live--
	if c.share != nil {
		c.share.Free(true)
	}
}

// grant notes that the total has taken a place for the pool.
func (c *capacity) grant() {
	c.claimed = c.share.Claimed()
	c.granted++
}

// returnGranted frees the places that were granted and are not wanted any more.
func (c *capacity) returnGranted() {
	for ; c.granted > 0; c.granted-- {
		c.share.Free(false)
	}
}

// lowerClaim lowers the claim to n.
func (c *capacity) lowerClaim(n int, patient bool) {
	if n < c.claimed {
		c.claimed = n
		c.share.Claim(n, patient)
	}
}

// awake tells the total whether resources come back without the pool's lock.
func (c *capacity) awake(yes bool) {
	if c.share != nil {
		c.share.Awake(yes)
	}
}

// leave ends the claim, at the end of the pool.
func (c *capacity) leave() {
	if c.share != nil {
		c.claimed = 0
		c.share.Claim(0, false)
		c.share.Awake(false)
	}
}
