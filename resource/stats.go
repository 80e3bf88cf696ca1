package resource

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Load is how many resources are in which state, and how many callers wait, at one instant.
type Load struct {
	Max        int // the current maximum
	Idle       int // ready to be lent, or reserved for a Health check, OnRelease or the check of a ReleaseAfter
	Leased     int // held by callers
	Making     int // being created, or waiting for a MakeGate or Quota
	Destroying int // being destroyed, or about to be after a Reset or Close
	Hanging    int // of the idle, those whose Health check or OnRelease has outlived its context, or whose ReleaseAfter check has run for longer than MakeTimeout and a little more
	Abandoned  int // creations abandoned at MakeTimeout whose Make has not returned; they hold no slot
	Waiting    int // callers that wait
	Wanting    int // slots wanted of a Keyed's total, when none of it is free
}

// String formats the load in one line.
func (l Load) String() string {
	s := fmt.Sprintf("max %d: %d idle, %d leased, %d making, %d destroying; %d waiting",
		l.Max, l.Idle, l.Leased, l.Making, l.Destroying, l.Waiting)
	if l.Wanting > 0 {
		s += fmt.Sprintf("; %d more wanted of a total that is used up", l.Wanting)
	}
	if l.Hanging > 0 {
		s += fmt.Sprintf("; %d hanging", l.Hanging)
	}
	if l.Abandoned > 0 {
		s += fmt.Sprintf("; %d abandoned", l.Abandoned)
	}
	return s
}

// LogValue is a group of the maximum and of what is not zero.
func (l Load) LogValue() slog.Value {
	attrs := []slog.Attr{slog.Int("max", l.Max)}
	for _, a := range []slog.Attr{
		slog.Int("idle", l.Idle), slog.Int("leased", l.Leased), slog.Int("making", l.Making),
		slog.Int("destroying", l.Destroying), slog.Int("abandoned", l.Abandoned),
		slog.Int("waiting", l.Waiting), slog.Int("wanting", l.Wanting),
	} {
		if a.Value.Int64() != 0 {
			attrs = append(attrs, a)
		}
	}
	return slog.GroupValue(attrs...)
}

// Stats is a snapshot of one pool. The counters start at New and only grow. At every instant
//
//	Made - Destroyed - Hijacked = Idle + Leased + Destroying
//	Acquired = Released + Leased
//	Begun.Total() = Made + Failed + Refused + Withdrawn + Making
//	WaitTime = WaitsServedTime + WaitsFailedTime
//	Waited ≥ WaitsServed + WaitsFailed + Waiting
//
// The sides of the last line are equal while no acquire is between its wait and its return,
// where for instance a Health checks its resource. A caller of [Keyed.AcquireAny] is counted in
// the pool of each key at which it waits, in the end as served if any key has served it.
//
// Evicted, Unhealthy, Invalidated and ReleaseFailed count parts of what Destroyed counts, when
// the end begins, while Destroyed counts it when Destroy has returned. What is in no counter
// of its own ended by Discard, Fail, a panic in Do, Reclaim, Reset, Resize or Close, to
// make room ([ErrSuspect], [ErrNearEnd], [ErrNotFresh], [ErrPreempted]), or with [ErrWornOut]. A value whose
// creation counts in Failed, since it came too late or Watch panicked, is destroyed but not
// counted.
type Stats struct {
	Load

	Acquired int64 // leases begun, those included that a policy ended before a caller had them
	Released int64 // leases ended, in whatever way
	// Failures counts the acquires that returned an error, by reason. So, whenever no
	// acquire is under way, calls of the acquires = leases that callers got +
	// Failures.Total() + acquires whose goroutine a policy ended. In a [Keyed] the
	// acquires that find it closed are counted for all keys together.
	Failures AcquireFailures
	Canceled int64 // Failures.Canceled: acquires that ended with the caller's context
	Rejected int64 // Failures.Rejected(): acquires that a policy refused

	// AcquireTime is how long the acquires that got a lease took, summed. Their waits are
	// measured for each. The rest, which is nanoseconds where no policy takes long, is
	// measured for one acquire in each tenth of a second and extrapolated. Waits of callers
	// that another key has served are left out.
	AcquireTime time.Duration

	Waited          int64         // acquires that had to wait
	WaitTime        time.Duration // the waits that have ended, summed: each until a resource was handed over or the caller gave up
	WaitsServed     int64         // of those that waited, how many got a lease, from this pool or another key's
	WaitsServedTime time.Duration // their waits, summed
	WaitsFailed     int64         // of those that waited, how many got an error
	WaitsFailedTime time.Duration // their waits, summed

	Begun       MakesBegun    // creations begun, by reason
	Made        int64         // creations that succeeded
	MakeTime    time.Duration // their time, summed
	Failed      int64         // creations that failed; not those that a MakeGate or Quota refused
	Refused     int64         // creations that a MakeGate or Quota refused
	Withdrawn   int64         // creations that were not wanted any more when Make was to be called
	Destroyed   int64         // resources whose Destroy has ended
	Hijacked    int64         // resources taken out of the pool by Hijack
	Evicted     int64         // resources that an Eviction or EvictIf ended
	Unhealthy   int64         // resources that a Health check ended, or the check of a ReleaseAfter
	Invalidated int64         // resources that invalidate ended
	// ReleaseFailed counts the resources that OnRelease ended: it failed, did not return
	// in time, or panicked.
	ReleaseFailed int64

	Outage   bool  // creation is failing
	LastMake error // how the last creation failed, if none has succeeded since
	Panics   int64 // panics and Goexits contained, in any function that the pool called
}

// MakesBegun counts the creations that were begun, by reason. A creation belongs to no
// caller: its resource may serve another purpose than it was begun for.
type MakesBegun struct {
	Callers      int64 // for callers that waited, or that were refused in an outage
	NoWait       int64 // after a TryAcquire, or an acquire with NoWait, that found nothing idle
	MinIdle      int64 // for MinIdle
	Warm         int64 // for Warm
	MakeOne      int64 // by MakeOne
	Replacements int64 // for resources near the end that the Eviction foresees
}

// Total is the sum.
func (m MakesBegun) Total() int64 {
	return m.Callers + m.NoWait + m.MinIdle + m.Warm + m.MakeOne + m.Replacements
}

func (m *MakesBegun) add(o MakesBegun) {
	m.Callers += o.Callers
	m.NoWait += o.NoWait
	m.MinIdle += o.MinIdle
	m.Warm += o.Warm
	m.MakeOne += o.MakeOne
	m.Replacements += o.Replacements
}

// String formats, in one line, the levels and the counters that are not zero.
func (s Stats) String() string {
	b := []byte(s.Load.String())
	for _, c := range []struct {
		name string
		n    int64
	}{
		{"acquired", s.Acquired}, {"released", s.Released}, {"waited", s.Waited},
		{"failed to get one", s.WaitsFailed}, {"canceled", s.Canceled},
		{"made", s.Made}, {"failed", s.Failed}, {"refused", s.Refused},
		{"withdrawn", s.Withdrawn},
		{"destroyed", s.Destroyed}, {"hijacked", s.Hijacked}, {"evicted", s.Evicted},
		{"unhealthy", s.Unhealthy}, {"invalidated", s.Invalidated},
		{"failed in OnRelease", s.ReleaseFailed}, {"panics", s.Panics},
	} {
		if c.n != 0 {
			b = fmt.Appendf(b, "; %d %s", c.n, c.name)
		}
	}
	for r, n := range s.Failures.All() {
		if n != 0 && r != ReasonCanceled {
			b = fmt.Appendf(b, "; %d acquires failed: %v", n, r)
		}
	}
	if s.Outage {
		b = append(b, "; outage"...)
	}
	if s.LastMake != nil {
		b = fmt.Appendf(b, "; last creation: %v", s.LastMake)
	}
	return string(b)
}

// Stats returns a snapshot. Its cost depends neither on how many resources there are, nor
// on how many callers wait, nor on how many goroutines use the pool: it waits for no more
// than a few other operations.
func (p *Pool[T]) Stats() Stats { return p.mu.Ask().Stats }

// fate is which counter of Stats the end of a resource belongs to.
type fate uint8

const (
	fateOther fate = iota // in no counter of its own
	fateEvicted
	fateUnhealthy
	fateInvalidated
	fateReleaseFailed
	fates
)

// counters are what Stats adds up. Guarded by the pool's lock, except for
// failures and waits.served.
type counters struct {
	waits  waitCounts
	timing timing

	acquired              int64 // leases begun through the lock
	returned              int64 // leases ended through the lock
	waited, anyWaited     int64 // anyWaited: of waited, those of callers of AcquireAny
	makeTime              time.Duration
	made, failedCreations int64
	refused, withdrawn    int64
	begun                 MakesBegun
	destroyed, hijacked   int64
	ended                 [fates]int64
	failures              [reasons]atomic.Int64  // acquires that returned an error, by Reason
	allKeys               *[reasons]atomic.Int64 // constant: the same for all keys of a Keyed; nil: the pool has none
}

// fail counts an acquire that returns an error. The pool of a key may end before its
// Keyed does, so failures after the pool was closed are counted for all keys only.
func (c *counters) fail(r Reason) {
	if c.allKeys != nil {
		c.allKeys[r].Add(1)
		if r == ReasonClosed {
			return
		}
	}
	c.failures[r].Add(1)
}

// failed is a snapshot of the failures.
func (c *counters) failed() (f AcquireFailures) {
	for r := range c.failures {
		*f.field(Reason(r)) = c.failures[r].Load()
	}
	return f
}

// report writes the counters to s.
func (c *counters) report(s *snapshot) {
	s.Waited, s.Failures = c.waited, c.failed()
	s.Made, s.MakeTime, s.Failed = c.made, c.makeTime, c.failedCreations
	s.Refused, s.Withdrawn, s.Begun = c.refused, c.withdrawn, c.begun
	s.Destroyed, s.Hijacked = c.destroyed, c.hijacked
	s.Evicted, s.Unhealthy = c.ended[fateEvicted], c.ended[fateUnhealthy]
	s.Invalidated, s.ReleaseFailed = c.ended[fateInvalidated], c.ended[fateReleaseFailed]
	s.Canceled, s.Rejected = s.Failures.Canceled, s.Failures.Rejected()
	w, a := &c.waits, &s.any
	here := time.Duration(w.anyServedTime.Load())
	a.served, a.servedTime = w.anyServed.Load(), here+time.Duration(w.elsewhere.Load())
	a.waited, a.failed, a.failedTime = c.anyWaited, w.anyFailed, w.anyFailedTime
	own := time.Duration(w.servedTime.Load())
	s.WaitsServed, s.WaitsServedTime = w.served.Load()+a.served, own+a.servedTime
	s.WaitsFailed, s.WaitsFailedTime = w.failed+a.failed, w.failedTime+a.failedTime
	s.WaitTime = s.WaitsServedTime + s.WaitsFailedTime
	s.AcquireTime = own + here + c.timing.sum
}

// snapshot is the Stats of a pool, and the part of them that callers of AcquireAny are.
type snapshot struct {
	Stats
	any anyWaits
}

// add adds the counters of o.
func (s *snapshot) add(o snapshot) {
	s.Stats.add(o.Stats)
	s.any.waited += o.any.waited
	s.any.served += o.any.served
	s.any.servedTime += o.any.servedTime
	s.any.failed += o.any.failed
	s.any.failedTime += o.any.failedTime
}

// anyWaits are the waits of callers of AcquireAny.
type anyWaits struct {
	waiting                int
	waited, served, failed int64
	servedTime, failedTime time.Duration
}

// waitCounts counts the acquires that had to wait, by how they ended.
type waitCounts struct {
	served     atomic.Int64
	servedTime atomic.Int64
	// Of callers of AcquireAny, which are in none of the other counters. elsewhere is the time
	// of those that another key served, which anyServed counts too.
	anyServed, anyServedTime, elsewhere atomic.Int64
	_                                   [24]byte

	// Guarded by the pool's lock, which a failed acquire takes anyway.
	failed, anyFailed         int64
	failedTime, anyFailedTime time.Duration
}

func (c *waitCounts) fail(waited time.Duration, multi bool) {
	if multi {
		c.anyFailed++
		c.anyFailedTime += waited
		return
	}
	c.failed++
	c.failedTime += waited
}

func (c *waitCounts) serve(waited time.Duration, multi bool) {
	if multi {
		c.anyServedTime.Add(int64(waited))
		c.anyServed.Add(1)
		return
	}
	c.servedTime.Add(int64(waited))
	c.served.Add(1)
}

// serveElsewhere is serve for a caller that another key of the Keyed served.
func (c *waitCounts) serveElsewhere(waited time.Duration) {
	c.elsewhere.Add(int64(waited))
	c.anyServed.Add(1)
}

// anyCounts counts the waits of the callers of AcquireAny of a Keyed, each once.
type anyCounts struct {
	waiting, waited, served, servedTime, failed, failedTime atomic.Int64
}

// replace puts c in the place of the waits of such callers in the pools, in the sum over these.
func (c *anyCounts) replace(s *snapshot) {
	s.WaitsServed += c.served.Load() - s.any.served // before waited, which is no less
	s.WaitsServedTime += time.Duration(c.servedTime.Load()) - s.any.servedTime
	s.WaitsFailed += c.failed.Load() - s.any.failed
	s.WaitsFailedTime += time.Duration(c.failedTime.Load()) - s.any.failedTime
	s.Waiting += int(c.waiting.Load()) - s.any.waiting
	s.Waited += c.waited.Load() - s.any.waited
	s.WaitTime = s.WaitsServedTime + s.WaitsFailedTime
}

// timing extrapolates how long acquires take from the few that are timed: see
// Pool.timedAcquire.
type timing struct {
	sum   time.Duration // of all acquires that got a lease, without their waits
	until int64         // how many leases had begun when the last acquire was timed
}

// add adds an acquire that took so long, without its wait, when begun leases had
// begun.
func (t *timing) add(took time.Duration, begun int64) {
	t.sum += max(0, took) * time.Duration(begun-t.until)
	t.until = begun
}

// statsLocked is Stats with the pool locked.
func (p *Pool[T]) statsLocked() snapshot {
	load, begun := p.loadLocked()
	s := snapshot{Stats: Stats{
		Load:     load,
		Acquired: p.counts.acquired + begun,
		Outage:   p.maker.breaker.Open(),
		LastMake: p.maker.last,
		Panics:   p.guard.panics.Load(),
	}}
	s.any.waiting = p.waiters.multis
	s.Released = s.Acquired - int64(s.Leased)
	p.counts.report(&s)
	return s
}

// loadLocked is the levels, and how many leases were begun in local slots. A resource
// that is neither idle nor being created or destroyed counts as leased, if only for the
// instant in which it moves.
func (p *Pool[T]) loadLocked() (l Load, begun int64) {
	onSeats, begun := p.idle.slotLevels()
	l = Load{
		Max:        p.cap.max,
		Idle:       p.idle.list.n + p.offListLocked() + onSeats,
		Making:     p.maker.creating,
		Destroying: p.cap.dying,
		Hanging:    p.calls.overdue(),
		Abandoned:  p.maker.lost,
		Waiting:    p.waiters.n,
		Wanting:    p.cap.claimed,
	}
	l.Leased = p.cap.live - l.Idle - l.Making - l.Destroying
	return l, begun
}

// askMutex is a mutex that can be asked a question about what it guards. Its holders answer
// when they unlock it, so Ask does not queue for the lock behind many goroutines: it takes as
// long as one hold, not as many holds as goroutines wait.
type askMutex[A any] struct {
	answer func() A // constant; called with the lock held
	asked  atomic.Pointer[question[A]]
	_      [64]byte // asked is read when the lock, and its cache line, belong to another processor
	mu     sync.Mutex
}

// question is one call of Ask that waits, and the earlier ones.
type question[A any] struct {
	reply  chan A // holds one
	before *question[A]
}

func (m *askMutex[A]) Lock()         { m.mu.Lock() }
func (m *askMutex[A]) TryLock() bool { return m.mu.TryLock() }

// Unlock answers what was asked and unlocks.
func (m *askMutex[A]) Unlock() {
	for {
		q := m.asked.Load()
		if q == nil {
			m.mu.Unlock()
		} else {
			q = m.asked.Swap(nil)
			a := m.answer()
			m.mu.Unlock()
			for ; q != nil; q = q.before {
				q.reply <- a // never blocks
			}
		}
		// A question asked since the load above is answered by the next
		// holder, if there is one, and else here.
		if m.asked.Load() == nil || !m.mu.TryLock() {
			return
		}
	}
}

// Ask returns the answer as of an instant during the call.
func (m *askMutex[A]) Ask() A {
	if m.mu.TryLock() {
		defer m.Unlock()
		return m.answer()
	}
	q := &question[A]{reply: make(chan A, 1)}
	for {
		q.before = m.asked.Load()
		if m.asked.CompareAndSwap(q.before, q) {
			break
		}
	}
	// If this fails the lock is held, or about to be handed over, and the goroutine that
	// unlocks it sees the question, which was asked before.
	if m.mu.TryLock() {
		m.Unlock()
	}
	return <-q.reply
}
