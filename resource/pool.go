package resource

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/budget"
	"github.com/respool/respool/internal/claim"
)

// The invariants. Each has tests whose names carry its number.
//
//	I1   idle + leased + being created + being destroyed ≤ the current maximum,
//	     at every instant, through Resize, Reset and Close. When the maximum is
//	     lowered below what exists, no Make is called until it holds again. A
//	     creation abandoned at MakeTimeout is no longer counted; what it may
//	     still return is destroyed, never lent.
//	I2   A resource has at most one lease that has not ended. A lease ends
//	     once; ending it again, from a copy, concurrently, after destroy or
//	     after Close does nothing and never touches the next holder.
//	I3   Every value that Make returned is destroyed exactly once or hijacked
//	     exactly once.
//	I4   Every Done that an Admission returned runs exactly once, on every
//	     path, panics included.
//	I5   No lock is held while user code runs.
//	I6   After Close returns nil nothing of the pool runs; before that, its
//	     error says what still does.
//	I7   No lost wake-up, without polling: if a resource is idle and a waiter
//	     can use it, a goroutine is about to bring them together.
//	I8   A caller whose context has ended is never given a resource that it
//	     will not use; the resource goes to the next waiter.
//	I9   A panic or Goexit in a function that the pool calls costs at most that
//	     one call: never the process, a slot or a waiter.
//	I10  On the hit path: no allocation, no clock read except for a lease that
//	     Trace samples, no lock that others hold while doing more than a few
//	     instructions.
//	I11  One Make, check or Destroy that hangs never keeps others from being
//	     served while the maximum has room.
//	I12  The work of one operation under the lock does not grow with the number
//	     of waiters or idle resources, except logarithmically.
//
// The parts. Pool is the coordinator. It alone puts, retires and lends resources,
// wakes waiters and starts creations. Components own their fields and decide from
// facts; none knows the Pool, and none calls back:
//
//	idleSet    local slots, idle list, reserved ones    health     suspicion, scans
//	waitQueue  waiters in order, their constraints      userCalls  user functions that run
//	maker      how many creations to begin, outages     sampler    which leases are traced
//	capacity   slots, part of a Keyed's total           handOff    whether a releaser yields
//	registry   every resource                           reaper     what is to be destroyed
//	inspector  lists resources and waiters              counters   what Stats adds up
//	guard, policies, tracer  user code                  clock, alarm
//
// Operations belong to the coordinator and hold a *Pool. Each has one protocol of its
// own: acquireOp and slowAcquire, anyOp, releaseOp, resetOp, createOp, checkOp, scan, sweep,
// reapOp and queueOp.
//
// Lock order. Each lock may be held when one below it is taken:
//
//	Keyed.tidying       while keys are forgotten
//	Keyed.mu
//	inspector.listing   one listing at a time
//	Pool.mu
//	budget, life.mu, multiWait.mu  leaves: nothing is locked under them
//
// The budget of a Keyed calls its members (Granted, GiveWay, Attend), which lock their
// pools, with no lock held.
//
// Happens-before. An entry's word (claim.Word) orders what its holders do: everything
// before the Return or End of a lease happens before the Take, Claim or Lend that
// follows it. A waiter's ready channel, or woken of its multiWait, orders the grant before the
// waiter's return.
// slowPath and the local slots are sequentially consistent: a goroutine that sets
// slowPath, under mu, looks at every slot afterwards, and a release looks at slowPath
// after it has put its resource in its slot, so that at least one of them sees the other
// (I7, lost wake-up).

// Pool lends resources of type T. Make one with [New]. All methods may be
// called by any number of goroutines at once.
//
// An acquire that finds an idle resource and its release together take about as
// long as locking and unlocking a free mutex twice, and allocate nothing.
type Pool[T any] struct {
	// Read by every hit, seldom written.
	cfg     Config[T]      // constant
	mode    mode           // constant
	slots   []localSlot[T] // constant: those of idle, here since every hit reads them
	clock   clock
	sampler sampler[T]
	// slowPath is not 0 when acquires and releases must take mu: a caller waits, or the
	// pool is closed, has more than its maximum, or its clock is stopped. The bit
	// overfull says that no Make may be called, timeNext that the next acquire is timed.
	slowPath atomic.Uint32
	_        [64]byte // what follows is written often

	shared  *shared[T] // constant: what it has in common with the pools of other keys; nil: nothing
	keyPool any        // constant: its *keyPool in the Keyed, if shared

	life      life[*entry[T]]
	ctx       context.Context // ends at Close
	cancel    context.CancelCauseFunc
	guard     guard
	policies  policies[T]
	trace     tracer
	inspector inspector[T]
	drained   chan struct{} // closed when the pool is closed and nothing of it is left

	// mu guards what follows, and what the components say that it guards. No user code
	// runs under it (I5), and nothing under it takes long.
	mu     askMutex[snapshot]
	closed bool
	over   bool // drained is closed

	// Resources.
	cap      capacity
	registry registry[T]
	idle     idleSet[T]
	health   health[T]
	calls    userCalls
	reaper   reaper[T]
	era      *era // that of the resources created now

	// Callers.
	waiters waitQueue[T]
	handOff handOff

	// Creations.
	maker maker[T]
	size  sizeNews

	// What dispatch does.
	changed bool // something changed that may call for new resources
	more    bool // something was too much for one hold of the lock
	working bool // work runs
	alarm   alarm
	busy    int // goroutines of the pool's own, for which Close waits

	// Timers.
	sweeper *time.Timer
	ticker  *time.Timer
	ticking bool
	used    int64 // how much the pool was used, at the last tick
	cooled  int64 // tick at which resources long idle were last moved out of local slots

	counts counters
}

// mode is how a pool works, as its Config says.
type mode struct {
	// Of acquires and releases within the bounds of a resource:
	plainAcquire   bool // an acquire asks no policy
	sampled        bool // some leases are sampled when they begin
	plainRelease   bool // a release calls no policy, and no lease is sampled
	sampledRelease bool // a release calls no policy, and some leases are sampled
	permitRelease  bool // a release gives back a permit and calls no other policy, and no lease is sampled

	bare     bool // no acquire ever asks a policy, and no lease is sampled
	asked    bool // there is an Admission, or judged
	judged   bool // there is an Eviction, an EvictIf or a Health
	evicts   bool // there is an Eviction or an EvictIf
	predicts bool // there is an Eviction that is Predictable or Capped, and no EvictIf
	gated    bool // there is a MakeGate or a Quota
	ordered  bool // there is a Queue

	most  *atomic.Int64 // the cap of an Eviction that predicts and is Capped; nil: it has none
	total *atomic.Int64 // Info.Total
}

// newMode returns the mode for c, in which defaults are set. predicts says that there is an
// Eviction that is Predictable or Capped, and no EvictIf.
func newMode[T any](c *Config[T], predicts bool) mode {
	m := mode{
		evicts:   c.Eviction != nil || c.EvictIf != nil,
		predicts: predicts,
		gated:    c.MakeGate != nil || c.Quota != nil,
		ordered:  c.Queue != nil,
	}
	m.judged = m.evicts || c.Health != nil
	m.asked = c.Admission != nil || m.judged
	m.sampled = c.Trace.Leased != nil || c.Trace.Ended != nil
	m.bare = !m.asked && !m.sampled
	kept := !m.evicts || m.predicts
	m.plainAcquire = kept && c.Admission == nil && c.Health == nil
	if kept && c.OnRelease == nil {
		reports := c.Trace.Ended != nil
		m.plainRelease = c.Admission == nil && !reports
		m.sampledRelease = c.Admission == nil && reports
		m.permitRelease = c.Admission != nil && !reports
	}
	return m
}

// asksEviction reports whether an Eviction must be asked about a resource of which these facts
// are known, since it has not said beforehand, by the bounds b, that it keeps the resource.
func (m *mode) asksEviction(b *claim.Bounds, tick, idle, leases int64) bool {
	return m.evicts && (!b.Include(tick, idle, leases) || m.above())
}

// above reports whether the pool has more resources than the cap of its Eviction. It needs no lock: if
// the cap falls, or a resource is added, after it was looked at, the resource is lent, or comes back, as it
// would have a moment before. Then the next lease of it asks, or the sweep.
func (m *mode) above() bool { return m.most != nil && m.total.Load() > m.most.Load() }

// plain reports whether r is served by whatever hit finds. MinRemaining asks the Eviction
// about a resource that is older than it is now, which its bounds say nothing about.
func (m *mode) plain(r *Request) bool {
	return m.plainAcquire && !r.Fresh && (r.MinRemaining == 0 || !m.evicts)
}

// New returns a pool for cfg, which it copies, and begins to make
// [Config.MinIdle] resources in the background. The error names every bad
// field. Call [Pool.Close] when done.
func New[T any](cfg Config[T]) (*Pool[T], error) { return newPool(cfg, nil, nil) }

// newPool is New for the pool of a key, which has something in common with the others
// of its Keyed; common is nil if the pool stands alone.
func newPool[T any](cfg Config[T], common *shared[T], keyPool any) (*Pool[T], error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := &Pool[T]{shared: common, keyPool: keyPool, cfg: cfg.withDefaults(), drained: make(chan struct{})}
	p.wire()
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	p.era = newEra(p.ctx)
	if common != nil {
		p.clock.base = common.base
		p.clock.update()
		p.registry.ids = &common.ids
		p.counts.allKeys = &common.failures
		p.cap.total = common.budget
		p.cap.share = common.budget.Join(memberOf(p))
	}
	p.lock()
	defer p.unlock()
	armSweepLocked(p)
	p.changed = true
	return p, nil
}

// wire builds the components and connects them.
func (p *Pool[T]) wire() {
	cfg, trace := &p.cfg, p.cfg.Trace
	p.clock.base, p.clock.slow = time.Now(), &p.slowPath
	p.alarm.ring = p.onAlarm
	p.mu.answer = p.statsLocked
	p.life.construct, p.life.destruct = construct[T], destruct[T]

	p.guard.trace = trace
	p.trace = tracer{&p.guard, trace}
	p.policies = policies[T]{guard: &p.guard, cfg: cfg}
	p.policies.scheduled, _ = cfg.Health.(Scheduled)
	most, predicts := p.policies.predict()
	p.mode = newMode(cfg, predicts)
	p.mode.most, p.mode.total = most, &p.registry.staying
	s := &p.sampler
	s.clock, s.trace, s.sparse = &p.clock, &p.trace, cfg.sampleMask()
	s.ends = trace.Ended != nil
	s.begins = s.ends || trace.Leased != nil
	s.mask.Store(s.sparse)

	p.cap.max = cfg.MaxSize
	p.size.reported = cfg.MaxSize
	p.registry.ids = new(atomic.Uint64)
	if cfg.Order == NewestFirst {
		p.slots = make([]localSlot[T], slotCount(runtime.GOMAXPROCS(0), cfg.MaxSize))
	}
	p.idle = idleSet[T]{clock: &p.clock, order: cfg.Order, slots: p.slots}
	p.maker = newMaker[T](cfg.MinIdle)
	p.reaper = newReaper[T]()
	p.handOff.clock = &p.clock
	p.waiters.timed, p.waiters.ordered = p.mode.gated, p.mode.ordered
	p.inspector.mu, p.inspector.clock, p.inspector.policies = &p.mu, &p.clock, &p.policies
	p.inspector.registry, p.inspector.waiters = &p.registry, &p.waiters

	c := &p.calls
	c.clock = &p.clock
	c.checks.limit = plus(cfg.checkTimeout(), callGrace(cfg.checkTimeout()))
	c.resets.limit = plus(cfg.ReleaseTimeout, callGrace(cfg.ReleaseTimeout))
	c.vettings.limit = c.checks.limit
	c.checks.slowAfter, c.resets.slowAfter = slowAfter, slowAfter
	p.health.checks, p.health.freed = &c.checks, make(chan struct{}, 1)
}

// Acquire lends a resource: an idle one, or else the first that is given back or created
// for the callers that wait. It blocks until then, until ctx ends or the pool is closed,
// and fails with an [*AcquireError]. If ctx has ended it fails, even if a resource is idle.
// ctx bounds the acquire alone: the lease outlives it.
//
// The caller ends the lease in one of four ways: [Lease.Release] gives the resource back,
// [Lease.Fail] gives it back or destroys it, depending on an error, [Lease.Discard]
// destroys it, and [Lease.Hijack] takes it out of the pool.
func (p *Pool[T]) Acquire(ctx context.Context) (Lease[T], error) {
	slot := localIndex(len(p.slots))
	if p.mode.plainAcquire && ctx.Err() == nil {
		if l, ok := p.hit(slot, false); ok {
			if p.mode.sampled {
				l.sample(ctx, &ordinary)
			}
			return l, nil
		}
	}
	l, err := p.acquire(ctx, &ordinary, slot)
	return p.acquired(ctx, l, err)
}

// ordinary is the Request of Acquire. Nothing writes to it.
var ordinary Request

// AcquireWith is Acquire with a [Request]: for a resource that will last (MinRemaining) or
// is unused (Fresh), without waiting (NoWait) or with a bounded wait (MaxWait), and with
// the values that policies decide by. It blocks and fails as Acquire, also with
// [ErrNoneIdle] for NoWait and with [ErrMaxWait].
func (p *Pool[T]) AcquireWith(ctx context.Context, r Request) (Lease[T], error) {
	slot := localIndex(len(p.slots))
	if p.mode.plain(&r) && ctx.Err() == nil {
		if l, ok := p.hit(slot, false); ok {
			l.noteShared(&r)
			if p.mode.sampled {
				l.sample(ctx, &r)
			}
			return l, nil
		}
	}
	l, err := p.acquire(ctx, &r, slot)
	l.noteShared(&r)
	return p.acquired(ctx, l, err)
}

// TryAcquire lends an idle resource if there is one and no caller waits. It never waits
// for one. If it finds none a creation begins in the background, where there is room,
// unless one is under way already: a later call may find its resource. The Admission is
// asked with [Request.NoWait], the Eviction as always; a Health check that is due gets
// 10 ms, and then continues without the caller: see [Request.NoWait]. While others
// acquire and release it may miss the resource that is idle at each instant.
func (p *Pool[T]) TryAcquire() (Lease[T], bool) {
	slot := localIndex(len(p.slots))
	if p.mode.plainAcquire {
		if l, ok := p.hit(slot, false); ok {
			if p.mode.sampled {
				l.sample(context.Background(), &Request{NoWait: true})
			}
			return l, true
		}
	}
	if !p.mode.bare {
		l, err := p.acquire(context.Background(), &Request{NoWait: true}, slot)
		if err != nil {
			p.counts.fail(reasonOf(err))
		}
		return l, err == nil
	}
	// Not acquire, which would allocate an error.
	p.lock()
	defer p.unlock()
	p.startClockLocked()
	if p.closed {
		p.counts.fail(ReasonClosed)
		return Lease[T]{}, false
	}
	if p.waiters.n == 0 {
		if e := p.idle.take(nil, slot); e != nil {
			idle := p.clock.tick.Load() - e.since
			l := p.lendLocked(e, slot)
			l.found(idle)
			return l, true
		}
	}
	p.missedLocked()
	p.counts.fail(ReasonNoneIdle)
	return Lease[T]{}, false
}

// Do lends a resource to f and ends the lease when f returns: with [Lease.Release] if f
// returns nil, with [Lease.Fail] if it returns an error, which Do returns too. If f panics
// or calls runtime.Goexit the resource is destroyed and the panic continues. f gets ctx
// itself. Do blocks and fails as Acquire, and does not call f then.
//
// Unless [Config.Broken] says otherwise every error that f returns destroys the resource,
// even one that has nothing to do with it.
func (p *Pool[T]) Do(ctx context.Context, f func(context.Context, T) error) error {
	return p.DoWith(ctx, Request{}, f)
}

// DoWith is Do with a [Request]. [Request.MaxWait] bounds the acquire and leaves f its
// time. It blocks and fails as Do.
func (p *Pool[T]) DoWith(ctx context.Context, r Request, f func(context.Context, T) error) error {
	l, err := p.AcquireWith(ctx, r)
	if err != nil {
		return err
	}
	return l.do(ctx, f)
}

// Resize changes the maximum. Growing lets waiters have new resources at once. Shrinking
// destroys surplus idle resources, the ones idle longest first, and interrupts no holder:
// while too many exist, leased ones are destroyed as they are given back. Policies that
// follow the maximum are notified before Resize returns, unless another Resize runs at the
// same time: see [SizeFollower]. It fails if max is less than 1, or with [ErrClosed].
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
	p.setSlowPathLocked()
	if p.cap.over() {
		p.idle.flushSlots(0)
		reapOp[T]{p}.reapLocked()
		recallOp[T]{p}.startLocked()
	}
	p.maker.warmed(p.existLocked(), p.cap.most(), nil) // fewer may be enough now
	p.serveAndGrowLocked()
	p.unlock()
	notifyTries(tries)
	p.reportSize()
	return nil
}

// Reset replaces every resource that exists or is being created: idle ones are not lent
// any more and are destroyed, leased ones are destroyed when their lease ends. Its own
// time does not depend on how many there are. The contexts of creations under way end with
// the cause, and others begin in their stead: waiters are served by creations that began
// after the Reset, and see no error of those that began before. Only if a Reset follows
// another sooner than a creation takes, and callers wait, do creations continue that began
// in between: what they create is lent once, to a caller that has waited since before the
// second Reset. The cause is what Destroy and Trace see; nil means [ErrReset]. Reset does
// not wait for any of this. On a closed pool it changes nothing.
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
	p.endEraLocked(cause)
	p.serveAndGrowLocked()
}

// SampleFor has every lease that begins in the next d sampled, if the Trace has a Leased
// or an Ended: see [Config.SampleLeases]. A meter of package metrics calls it when a
// lease is overdue that was not sampled, since a leak usually happens again. A call
// never ends an earlier one's time. It does nothing if d is not positive.
func (p *Pool[T]) SampleFor(d time.Duration) {
	p.lock()
	defer p.unlock()
	if p.sampler.extend(d) {
		p.startClockLocked()
	}
}

// sizeNews is which maximum was last reported to the policies that follow it. Its user holds
// the pool's lock.
type sizeNews struct {
	reported  int  // the maximum that was last reported
	reporting bool // a goroutine reports
}

// next returns the change to report, if there is one and no other goroutine reports.
func (n *sizeNews) next(max int) (from int, ok bool) {
	if n.reporting || n.reported == max {
		return 0, false
	}
	from = n.reported
	n.reported, n.reporting = max, true
	return from, true
}

// reportSize reports a change of the maximum to the policies that follow it. If another Resize
// is reporting already, that one reports this change too, so that the last call has the last
// maximum.
func (p *Pool[T]) reportSize() {
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
		p.size.reporting = false
		p.busy--
		p.unlock()
	}
}

// capacity counts the slots of a pool. A resource holds one from the moment at which its
// creation begins until its Destroy has returned or it is hijacked (I1). In the pool of a
// Keyed a slot must also be taken from the total, before the creation begins, and is
// returned to the total when it is free. Its user holds the pool's lock.
type capacity struct {
	max   int // the current maximum
	live  int // slots in use: idle + leased + being created + being destroyed
	dying int // of these, being destroyed

	share   *budget.Share  // constant: the pool's part in the total; nil: it stands alone
	total   *budget.Budget // constant: the total; nil likewise
	claimed int            // slots wanted of the total when none was free
	patient bool           // no caller waits for those that are claimed
	granted int            // slots got of the total and not used yet
}

// full reports whether no slot is free.
func (c *capacity) full() bool { return c.live >= c.max }

// over reports whether more slots are in use than there are, after a Resize.
func (c *capacity) over() bool { return c.live > c.max }

// surplus reports whether a resource must be destroyed, besides those that are being
// destroyed.
func (c *capacity) surplus() bool { return c.live-c.dying > c.max }

// scarce reports whether slots of the total are wanted that are not free.
func (c *capacity) scarce() bool { return c.total != nil && c.total.Scarce() }

// exceeds reports whether more slots are taken from the total than it has.
func (c *capacity) exceeds() bool { return c.total != nil && c.total.Over() }

// fits reports whether no more slots are in use than the total has: it may have been lowered
// since one was taken.
func (c *capacity) fits() bool { return c.total == nil || c.total.Fits() }

// roomHelps reports whether a creation waits only for a slot to become free.
func (c *capacity) roomHelps() bool { return c.full() || c.claimed > 0 && c.total.Short() }

// most is how many resources the pool may have at most.
func (c *capacity) most() int {
	if c.total == nil {
		return c.max
	}
	total, _, _ := c.total.Levels()
	return min(c.max, total)
}

// take takes slots of the total for want creations, demand of which are for callers, and
// returns how many it got. What callers lack is claimed: see member.Granted. patient says
// that no caller waits.
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
	c.claimed, c.patient = max(0, demand-took), patient
	return took
}

// takeFree takes a slot of the total if one is free that no pool waits for.
func (c *capacity) takeFree() bool {
	return c.share == nil || c.claimed == 0 && c.share.Take(1, 0, false) == 1
}

// begin counts a creation, for which a slot of the total was taken before.
func (c *capacity) begin() { c.live++ }

// die counts n more resources as being destroyed.
func (c *capacity) die(n int) {
	c.dying += n
	if c.share != nil && n > 0 {
		c.share.Dying(n)
	}
}

// free frees a slot.
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

// grant notes that a slot of the total was taken for the pool.
func (c *capacity) grant() {
	c.claimed = c.share.Claimed()
	c.granted++
}

// returnGranted returns the slots that were granted and are not wanted any more.
func (c *capacity) returnGranted() {
	for ; c.granted > 0; c.granted-- {
		c.share.Free(false)
	}
}

// lowerClaim lowers the claim to n, and makes it patient if no caller waits any more.
func (c *capacity) lowerClaim(n int, patient bool) {
	if n < c.claimed || n == c.claimed && patient && !c.patient {
		c.claimed, c.patient = n, patient
		c.share.Claim(n, patient)
	}
}

// awake notifies the total whether resources come back without the pool's lock.
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

// Close ends the pool: waiters get [ErrClosed] at once, creations are canceled, idle
// resources destroyed, leased ones when their lease ends. It returns nil when nothing of
// the pool runs any more, or a [*CloseError] when ctx ends before; the closing continues.
//
// Give ctx a deadline. Close waits for every lease that has not ended: if one leaked, or
// the caller of Close holds it, Close waits until ctx ends, and with context.Background()
// for ever. A deferred Close then blocks while a panic unwinds, and the panic is never
// printed.
//
// A caller that [Config.Admission] keeps waiting is the Admission's: it has the caller's context alone, so Close
// does not end its wait. When it is admitted it gets ErrClosed, and its permit goes back.
//
// The CloseError names the resources that are still leased. After it, [Pool.Inspect] has
// the leases, [Pool.Reclaim] ends those that leaked, and another Close waits for the rest.
func (p *Pool[T]) Close(ctx context.Context) error {
	p.beginClose()
	return p.awaitClose(ctx)
}

// beginClose closes the pool and does not wait.
func (p *Pool[T]) beginClose() {
	p.lock()
	var canceled [2]*creation[T]
	if !p.closed {
		p.closed = true
		p.setSlowPathLocked()
		canceled = p.maker.all()
		p.shutLocked()
	}
	p.cancel(ErrClosed) // runs no user code: see createOp.permits
	tries, sooner := p.maker.takeTries(), p.maker.takeSooner()
	p.unlock()
	notifyTries(tries)
	notifyTries(sooner)
	cancelAll(canceled, ErrClosed)
}

// awaitClose waits until nothing of the pool runs any more.
func (p *Pool[T]) awaitClose(ctx context.Context) error {
	select {
	case <-p.drained:
	default:
		select {
		case <-p.drained:
		case <-ctx.Done():
			err := &CloseError{Err: ctxError(ctx)}
			addOut(err, p)
			return err
		}
	}
	p.life.close()
	return nil
}

// shutLocked turns away the waiters and retires the idle resources.
func (p *Pool[T]) shutLocked() {
	for _, t := range []*time.Timer{p.alarm.timer, p.sweeper, p.ticker} {
		if t != nil {
			t.Stop()
		}
	}
	p.refuseWaitersLocked()
	p.maker.warmed(0, 0, ErrClosed)
	p.cap.leave()
	p.endEraLocked(ErrClosed)
}

// named is how many leased resources a CloseError names.
const named = 16

// addOut adds to e what has not ended. The IDs are not of the same instant as the rest: to
// find them among many resources takes more than one hold of the lock.
func addOut[T any](e *CloseError, p *Pool[T]) {
	p.mu.Lock()
	load, _ := p.loadLocked()
	e.Busy += p.busy
	p.mu.Unlock()
	e.Load.add(load)
	most := min(named, len(e.Leased)+load.Leased)
	p.inspector.each(func(entry *entry[T]) bool {
		if len(e.Leased) == most {
			return false
		}
		if !entry.idle() {
			e.Leased = append(e.Leased, entry.id)
		}
		return true
	})
}

// endEraLocked invalidates every resource that exists or is being created. The idle ones
// move to the reaper as whole lists, except those that a policy is asked about, which stay
// until it has answered. A leased resource that has a local slot would return there without
// a check of its era, so each of those few is invalidated by itself.
func (p *Pool[T]) endEraLocked(cause error) {
	if p.era.over.Load() {
		return // the pool is closed
	}
	for i := range p.slots {
		if e := p.slots[i].e.Load(); e != nil && !e.word.Invalidated() {
			e.cause, e.fate = cause, fateOther
			e.word.Invalidate()
		}
	}
	p.idle.flushSlots(0)
	p.era.cause, p.era.ended = cause, p.clock.now()
	p.era.over.Store(true)
	for e := range p.idle.reserved {
		p.idle.list.remove(e)
	}
	p.cap.die(p.reaper.addList(&p.health.unverified))
	p.cap.die(p.reaper.addList(&p.idle.list))
	for e := range p.idle.reserved {
		p.idle.list.push(e)
	}
	if !p.closed {
		p.era = newEra(p.ctx)
	}
	reapOp[T]{p}.reapLocked()
	recallOp[T]{p}.startLocked()
}
