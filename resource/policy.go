package resource

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/claim"
)

// Request is what one caller asks for. It is passed by value to the policies. The zero
// Request is the one of [Pool.Acquire].
type Request struct {
	// Priority orders callers for policies that use it; larger is more urgent. The pool
	// itself does not use it. Zero is ordinary.
	Priority int
	// Cost is how much of a budget this lease takes, for policies that count
	// in units. Zero means 1 to them.
	Cost int
	// Class names a group of callers (a tenant, a kind of work) for policies
	// that divide capacity. It must not carry a secret: it may be shown.
	Class string
	// MinRemaining asks for a resource that [Config.Eviction] will still keep after this
	// much more age. A resource that it would not keep is left for other callers. Zero asks
	// for nothing.
	MinRemaining time.Duration
	// Fresh asks for a resource that no caller has used: just created, or created ahead by
	// MinIdle or [Pool.Warm] and never lent. It is for a caller whose last resource turned
	// out stale, when others of the same age may be too.
	//
	// An idle resource that was never lent is lent at once. Otherwise one is created, if
	// there is room; used resources are left to other callers. If there is no room, one
	// used resource is destroyed for each such caller ([ErrNotFresh]): an idle one or, if
	// none is idle, the first that comes back and that no earlier waiter can use. No holder
	// is interrupted. In a [Keyed] it is a resource of the caller's own key if that key has
	// MaxSize, else any resource that gives way to the key. Only a new resource can satisfy
	// a Fresh request, so leased ones do not count while creation fails or is refused: see
	// [FailFast].
	Fresh bool
	// NoWait makes the acquire fail with [ErrNoneIdle] where it would wait. If there is room
	// a creation then begins in the background, unless one is under way for which no caller
	// waits, so that a later call may find its resource. An Admission that sees NoWait must
	// not block. Health checks that are due get 10 ms, all those of one acquire together; a
	// check that takes longer continues in the background, and its resource is lent to
	// others when it has passed.
	NoWait bool
	// MaxWait bounds the acquire without bounding the caller's work, as a deadline of the
	// context would: after it the acquire fails with [ErrMaxWait]. It counts from the call,
	// and includes what an Admission and a Health check of this acquire take, whose context
	// ends with it. An idle resource is lent without regard to it. Zero or less: only the
	// context bounds the acquire.
	MaxWait time.Duration
	// Shared says that the caller shares the resource among many uses and keeps the lease
	// for long: until it is idle, or [Config.Recall] asks for it. Such a lease is not
	// reported as overdue, and [ResourceInfo.Shared] shows it. In an outage it counts as a
	// lease that could end, as every other does, so that no caller fails at once: see
	// [FailFast]. Package wspool reads messages of such a lease differently.
	Shared bool
}

// Admission decides whether something may begin, and is called back when it has ended. The
// same type is used in three places, which differ in how long the permit lasts: in
// [Config.Admission] as long as the lease, in [Config.MakeGate] as long as one creation, in
// [Config.Quota] as long as the resource lives.
//
// Admit may block until ctx ends, unless r.NoWait. It returns a nil error to admit; the
// Done, if not nil, is then called exactly once. An error refuses, and its Done is not
// called. The pool wraps the error so that it matches [ErrRejected]; a [*Rejection] among
// its causes may say how long to wait.
//
// Admit is called by many goroutines at once, and with no lock of the pool held. A panic in
// it refuses this one request.
type Admission interface {
	Admit(ctx context.Context, r Request) (Done, error)
}

// Done gives a permit back and reports the outcome to the policy. It must not block.
type Done func(Outcome)

// Verdict says how what was admitted has ended: a lease, a creation or the life of a
// resource.
type Verdict uint8

const (
	// Ignored says nothing about the outcome: there was none, or the
	// caller left, and no policy should learn from it.
	Ignored Verdict = iota
	// OK is a lease released or hijacked, a resource created, or a life that ended.
	OK
	// Failed is a lease that ended in a holder's error, or a failed creation.
	Failed
)

// Outcome is the argument of a [Done].
type Outcome struct {
	Verdict Verdict       // how it ended
	Err     error         // why it failed; nil unless Failed
	Latency time.Duration // of the creation, for a MakeGate; else zero: hold time is not latency
}

// Eviction decides which resources have served long enough.
//
// Evict decides by the facts in i and, if it has one, by a setting that only its user
// changes, such as the time of a release. While the setting stays the same, the same facts
// get the same answer: Evict does not read a clock, draw a number or count how often it is asked: Age,
// Idle, Jitter and Leases are there for that. It does not block and may be called by many
// goroutines at once. [Config.EvictIf] sees the resource, too.
//
// It is asked when a resource is about to be lent, when it comes back, and in the sweep. Nil
// keeps the resource; an error destroys it, and is the cause that Destroy and Trace see. Use
// few different errors, values made beforehand: a cause becomes the label of a metric. A
// panic keeps the resource and is counted in [Stats.Panics].
//
// The sweep also asks what the answer will be when the resource is older, by a sweep's
// interval and a little more. A resource that is in use or needed for MinIdle and will have
// to end by then gets a replacement first, if there is room; if not, it ends early. One
// replacement is created at a time, so that resources created together are not replaced in a
// burst. An Eviction that has another reason than age, such as memory that is needed
// elsewhere, returns nil where [Info.Total] is 0; otherwise the pool replaces what it ended.
//
// Package metrics counts destroyed resources by cause. The label is what the method Cause()
// string of an error in the chain returns, or the text of a sentinel made by errors.New. So
// return sentinels, or wrap them.
type Eviction interface {
	Evict(i Info) (cause error)
}

// Predictable is an optional interface of an [Eviction] that depends on nothing but Age, Idle
// and Leases of a resource: Horizon states in advance up to which values it keeps the resource.
// Below them the fast paths of an acquire and of a release compare numbers and do not call
// Evict.
//
// [New] calls Horizon with the zero Info. If the result is the zero Horizon, the Eviction is
// not treated as Predictable. Otherwise the pool calls Horizon once for each resource, before
// that is first lent, with its ID and Jitter; the other fields of i are zero. While Age, Idle and
// Leases of the resource are all below the result, Evict must return nil, whatever Checked,
// Failures and Total are, and with Idlers 0. At or above one of them the pool calls Evict, which
// may still keep the resource. So a limit may be too low, which costs calls, but never too high.
// With the zero Horizon Evict is called each time.
//
// The sweep, an acquire with MinRemaining and an acquire that takes the pool's lock call Evict
// in any case. If a change of an Eviction's settings can make it end resources sooner, Horizon
// must return limits that hold whatever the settings become. With a [Config.EvictIf], Horizon
// is not called.
//
// Horizon does not block and may be called by many goroutines at once. A panic in it counts as
// the zero Horizon.
type Predictable interface {
	Eviction
	Horizon(i Info) Horizon
}

// Capped is an optional interface of an [Eviction] that ends resources above a number, such as its
// share of a quota. While [Info.Total] is at most the cap, it keeps each resource within a Horizon
// as a [Predictable] Eviction does, and the fast paths compare numbers. They call Evict only
// while the pool has more resources than the cap. The cap may change at any time, up or down.
//
// [New] calls Cap once. HorizonWithinCap is called as Horizon is, and instead of it if the Eviction
// has both. With a nil Cap the Eviction is not treated as Capped. The pool reads the cap
// whenever a resource is about to be lent or has come back. Neither method blocks. A panic
// counts as a nil Cap, or as the zero Horizon.
type Capped interface {
	Eviction
	// Cap returns where the cap is, always the same place.
	Cap() *atomic.Int64
	// HorizonWithinCap returns up to which values the Eviction keeps the resource while Total
	// is at most the cap.
	HorizonWithinCap(i Info) Horizon
}

// Horizon says up to which values an Eviction keeps a resource: see [Predictable]. A field of
// math.MaxInt64 is no limit. A field of 0 or less has Evict called each time, as the zero
// Horizon does.
type Horizon struct {
	Age    time.Duration // kept while Info.Age is less
	Idle   time.Duration // and Info.Idle is less
	Leases int64         // and Info.Leases is less
}

// bounds returns the ticks and numbers of leases up to which the facts about a resource born at
// that time are below h: see entry.facts. Info.Leases leaves out leases that ended before a
// caller had them, so the bounds may be reached a little early.
func (h Horizon) bounds(born time.Duration) claim.Bounds {
	if h.Age <= 0 {
		return claim.Bounds{}
	}
	return claim.Bounds{Tick: ticksUp(plus(born, h.Age)), Idle: ticksUp(max(0, h.Idle)), Leases: h.Leases}
}

// Health finds out whether an idle resource still works.
//
// Check has v to itself and may do I/O until ctx ends, when it must return. It is called
// before a resource is lent, on the goroutine and with the context of the caller, and in the
// background, where ctx ends after [Config.MakeTimeout] or at [Pool.Close]. An error
// destroys the resource, with two exceptions. If the caller's context has ended, the error
// shows nothing, and the resource goes back untouched. If the error matches [ErrTolerated],
// the resource is kept, and the failure counted in [Info.Failures]. A panic destroys the
// resource.
//
// A check runs in the background in a sweep, for a caller with [Request.NoWait], and while
// failures make idle resources suspect: when one check failed that took longer than a
// creation usually does (and than 100 ms), when two failed in a row, or when two callers in
// a row could not wait for one that took as long. Then resources that have been idle since
// before, and are due for a check, are not lent before they have passed one in the
// background; callers wait in the queue, creations begin if there is room, and the first
// resource that is created, has passed its check or is given back serves; in a full pool
// those that no check has reached make room for callers that wait ([ErrSuspect]). This ends
// with the first check that passes.
//
// In the background at most a quarter of [Config.MaxSize] is checked at once, 1 to 8
// resources; those are idle, but not lent meanwhile. A check that has not returned a tenth
// of MakeTimeout (at most a second) after its context ended keeps only its own resource, and
// another begins in its stead: see [Load.Hanging]. Once as many hang as may run, no more are
// begun in the background until one returns.
//
// A Health that is [Scheduled] is first asked whether a check is due.
type Health[T any] interface {
	Check(ctx context.Context, v T, i Info) error
}

// Stateful is an optional interface of policies of every kind: [Pool.Inspect] shows the
// state, such as "3 of 8 in use, 2 waiting". State must be short, must not block and must
// not reveal a secret; it may be called by many goroutines at once and while the policy's
// other methods run, those of a [Queue] included. A panic in it is contained.
type Stateful interface {
	State() string
}

// Scheduled is an optional interface of a [Health]. Where Due returns false Check is not
// called, and nothing is learned about the resource. Due must not block and may be called by
// many goroutines at once. A panic in it counts as true.
type Scheduled interface {
	Due(i Info) bool
}

// Info is what is known about one resource. Its times are read from a clock that ticks every
// 100 ms while the pool is in use, so they may be wrong by that, either way.
type Info struct {
	ID     uint64        // unique in the pool, or among all of a Keyed; from 1
	Age    time.Duration // since it was created
	Idle   time.Duration // since it was last given back, or created; 0 while leased, but see Lease.Info
	Leases int64         // begun so far, without those that a policy ended before a caller had them, or that ReleaseAfter ended
	Jitter float64       // in [0,1), drawn once for each resource

	Checked  time.Duration // since a Health check last passed; if none has, its Age
	Failures int           // Health checks that failed in a row and were tolerated
	// Idlers is, in the sweep, how many are idle in the pool: this one, and all others
	// except those that will have to end soon because of their age. Otherwise it is 0.
	Idlers int
	// Total is how many resources the pool has, this one included, without those that are
	// being created or are ending. If an Eviction returns an error, the resource ends only if
	// Total has not fallen since; otherwise Evict is called again with the new Total. So an
	// Eviction that ends resources above a number ends exactly the excess, even if many
	// goroutines call it at once. Total is 0 where the pool asks about a later age: when the
	// sweep looks ahead, and for a Request.MinRemaining.
	Total int
}

// Queue decides in what order waiting callers are served. Nil in [Config.Queue] serves them
// first come, first served.
//
// The pool calls one method at a time, never two at once, and holds no lock meanwhile; no
// method may block. now is the time since the pool's New, the same scale as [Waiter.Since].
// If a method panics, or Pop returns nil while callers wait, the caller that waited longest
// is served.
type Queue interface {
	// Push reports that w waits now.
	Push(w *Waiter, now time.Duration)
	// Remove reports that w left without having been popped.
	Remove(w *Waiter)
	// Pop takes out the waiter to serve next. With a non-nil error that
	// waiter is refused with it, and Pop is asked again.
	Pop(now time.Duration) (w *Waiter, refuse error)
}

// Order says which idle resource is lent.
type Order uint8

const (
	// NewestFirst lends the resource given back last, so that under light load the others
	// stay idle and can be evicted. The order is exact until many goroutines use the pool at
	// the same instant; then a caller may be lent the resource that it gave back last rather
	// than the newest of all.
	NewestFirst Order = iota
	// OldestFirst lends the resource idle longest, so that all are used in turn.
	OldestFirst
)

// String is the name of the constant.
func (o Order) String() string {
	switch o {
	case NewestFirst:
		return "NewestFirst"
	case OldestFirst:
		return "OldestFirst"
	}
	return fmt.Sprintf("Order(%d)", uint8(o))
}

// OutageMode says what happens to callers while creation is failing.
type OutageMode uint8

const (
	// FailFast reports each failed creation to one waiter at once, if nothing else may still
	// serve that waiter: no lease that could end and no other creation. After three failures
	// in a row one creation at a time is tried, after 50 ms at first and up to 5 s in the
	// end, and every caller that no leased resource could serve gets the cause with a
	// RetryAfter; [AcquireError.Wait] waits for that try. The delay between tries is at most
	// 200 ms in the first second, and then grows with the outage, to an eighth of the time
	// that the outage has lasted. Creations that run when an outage begins continue, and their
	// failures count too, so a pool that was growing can report many at once. Other callers
	// wait; if their contexts end their errors have the last failure.
	//
	// Every lease counts as one that could end, however long it lasts. If the pool has a lease
	// that is kept for long (a subscription, a [Request.Shared]), all of its callers wait in an
	// outage until their contexts end, and do not get [ErrOutage]. Callers that are to fail at
	// once need a pool without such leases, or a [Request.MaxWait].
	//
	// While a MakeGate or Quota has refused and no creation is tried, a caller that nothing
	// else can serve and whose deadline comes before the next try gets the refusal at once. It
	// matches [ErrRejected], and the RetryAfter is what is left of that time. Others wait.
	//
	// Only a new resource can satisfy a [Request.Fresh]: leased ones do not count for it.
	FailFast OutageMode = iota
	// KeepWaiting lets callers wait until their own context ends, even if no creation can
	// be tried before that. Their error then has the last failure.
	KeepWaiting
)

// String is the name of the constant.
func (m OutageMode) String() string {
	switch m {
	case FailFast:
		return "FailFast"
	case KeepWaiting:
		return "KeepWaiting"
	}
	return fmt.Sprintf("OutageMode(%d)", uint8(m))
}

// SizeFollower is an optional interface of an [Admission] whose limit follows from how many
// resources the pool may have, so that [Pool.Resize] is not undone by a limit that was set
// for the size before.
//
// FollowSize is called for the Admission, the MakeGate and the Quota of a pool whose
// maximum was changed, with the maximum before and now, before Resize returns. The pool
// makes one call at a time, in the order of the changes, and holds no lock meanwhile. A
// Resize that finds a call running leaves its change to the Resize that makes the call, and
// may return before it is reported; several such changes may be reported as one, and the
// last call always has the last maximum. A panic in FollowSize is contained.
type SizeFollower interface {
	FollowSize(from, to int)
}

// QuotaReporter is an optional interface of an [Admission] that takes part in quotas that
// several processes share, as those of package fleet do: [Pool.Inspect] lists the result of
// SharedQuotas. SharedQuotas must not block, and may be called by many goroutines at once. A
// panic in it is contained.
type QuotaReporter interface {
	SharedQuotas() []SharedQuota
}

// SharedQuota is the state of one quota that several processes share through an engine, such as
// a database, as one holder sees it. A holder is a policy of one process that takes part in the
// quota. Units are those of the quota, as a rule one for each resource.
type SharedQuota struct {
	Name   string // of the quota, the same in all processes that share it; shown, so not a secret
	Holder string // unique name of this policy
	Mode   string // what happens while the engine is lost, in words, such as "fail closed"

	Granted  int  // units that the holder may use; 0 once its lease has ended
	Held     int  // units in use by the holder
	Want     int  // units that the holder last asked for, in total
	Target   int  // the holder's fair share of Limit; 0 before the first answer
	Limit    int  // the smallest limit that a holder states; before the first answer that of this one
	Highest  int  // the largest limit that a holder states: more than Limit if they disagree
	Total    int  // units granted to all holders, at the last answer
	Holders  int  // all of them, this one included, at the last answer; 0 before the first
	Waiting  int  // requests that wait for a unit
	Learning bool // the engine grants nothing new, because it may have lost what it knew

	Lost      time.Duration // since operations of the engine began to fail; 0: the last one succeeded
	LostCause error         // of the last operation that failed; nil if Lost is 0

	Over       int   // units in use beyond Granted; more than 0 only after a lease ended, or while the engine is lost or learning
	OverTotal  int64 // units that were ever in use beyond Granted
	Closed     int64 // units returned while above the fair share, and resources closed at the end of a lease
	Operations int64 // claims at the engine that have ended
	Failed     int64 // those of Operations that failed
}
