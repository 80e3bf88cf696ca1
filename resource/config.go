package resource

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// What zero means in a [Config].
const (
	DefaultMakeTimeout    = 30 * time.Second
	DefaultReleaseTimeout = 5 * time.Second
	DefaultSweepInterval  = 10 * time.Second
)

// MinSweepInterval is the least [Config.SweepInterval]: a sweep visits every
// resource, and back to back they would keep a processor busy.
const MinSweepInterval = 10 * time.Millisecond

// Config says how to create, end and judge resources. [New] copies it. Only Make and MaxSize
// are required; every other zero value is a working default.
//
// State that belongs to each resource, such as the statements prepared on a connection, goes
// into T: let Make return a pointer to a struct that has both.
type Config[T any] struct {
	// Make creates one resource. Required. It runs in the background, for no caller in
	// particular. Any value returned with a nil error is a resource, the zero T as well.
	// With an error the value is dropped, and Destroy is not called for it.
	//
	// ctx lives as long as the resource, so that Make may give it to what it starts, as
	// exec.CommandContext. It has the values of the caller for which the creation was
	// begun, but not that caller's deadline, nor one of its own. While Make runs, ctx ends
	// at MakeTimeout, at [Pool.Reset] and at [Pool.Close], and Make must return then. It
	// also ends if Make returns an error. Otherwise it ends when Destroy has returned, with
	// the cause of the end. After [Lease.Hijack] the pool never ends it: it belongs to the
	// value.
	//
	// The pool decides how many calls run at once. If no leased resource could come back,
	// there is one for each waiting caller. Otherwise the pool begins one and, after a
	// tenth of the usual time of a creation, as many more as the releases seen meanwhile
	// would not serve. It does not count on a call that runs for much longer than usual
	// (for a second, if none has succeeded): another begins in its place, until such calls
	// hold half of the maximum. While a pool has no resource that works, at most 50 calls
	// run (blindCreations); see policy.NewMakeGate for a bound of your own.
	Make func(ctx context.Context) (T, error)

	// Destroy frees v. It is called once for every value that Make returned and that was
	// not hijacked, in the background, with the cause of the end. The slot of v is free
	// when it returns. When many resources end together, about 256 calls run at once
	// (reapAtOnce); while those hang, as many more may begin every 2 ms. Nil: nothing to
	// free.
	Destroy func(v T, cause error)

	// Watch is called once after Make, before v is first lent, and must not block. Keep
	// invalidate and call it when v is found dead: v is not lent again, and is destroyed at
	// once if it is idle, else when its lease ends. invalidate may be called from anywhere,
	// any number of times, and does nothing after the end of v.
	//
	// Destroy and Trace see the cause of the first call of invalidate ([ErrInvalidated] if
	// that is nil), unless the lease ends with a cause of its own: an Eviction,
	// [Lease.Discard], or [Lease.Fail] with an error that Broken counts. Then they see that
	// cause, and [Stats.Invalidated] does not count v. If a Reset came first, its cause stays.
	//
	// A panic in Watch fails the creation and destroys v. Nil: v does not report itself.
	Watch func(v T, invalidate func(cause error))

	// Broken decides which errors given to [Lease.Fail], or returned from the function in
	// [Pool.Do], mean that v must not be lent again. Nil: every error does, even one of the
	// application that says nothing about v, such as "not found". Set Broken if there are
	// such errors, because each costs a resource otherwise.
	Broken func(err error) bool

	// OnRelease puts v back in order when a lease has ended, before the next one begins:
	// ROLLBACK, UNLOCK, forget what the last holder subscribed to. It runs after
	// [Lease.Release], and after [Lease.Fail] if Broken says that v is still good, on a
	// goroutine of the pool, so that neither waits for it. It has v to itself. An error or
	// a panic destroys v, with it as the cause.
	//
	// ctx carries no values of the holder. It ends at ReleaseTimeout, when OnRelease must
	// return, with the cause [ErrReleaseTimeout]; and, since then v is destroyed anyway, at
	// [Pool.Reset] with the cause of the Reset, and at [Pool.Close] with [ErrClosed]. If
	// OnRelease returns later v is destroyed, whatever it returns.
	//
	// Meanwhile v is idle and not lent. The pool counts on v for a waiting caller, and
	// creates no other resource in its place, unless OnRelease takes longer than 1.5 s
	// (slowAfter). OnRelease is not called if v will not be lent again (after Discard,
	// Hijack, Close or invalidate, or if Evict ends v), nor if no caller had the lease.
	// Nil: a resource that is given back may be lent at once, which is faster.
	OnRelease func(ctx context.Context, v T) error

	// Recall asks the holder of v to end its lease soon, because the pool wants v back. cause
	// says why:
	//
	//   - [ErrReset], or the cause given to the Reset, after [Pool.Reset];
	//   - [ErrClosed], after [Pool.Close];
	//   - [ErrResized], after a [Pool.Resize] to less than is leased;
	//   - the error of the Eviction, when a sweep finds that the Eviction will end v before
	//     the next sweep could have it replaced in time (up to SweepInterval plus twice the
	//     usual time of a creation early);
	//   - [ErrPreempted], when a caller of another key of a [Keyed] waits for the slot and
	//     nothing is idle.
	//
	// The pool does nothing else to the lease, and continues to lend other resources.
	//
	// It is for holders that keep a lease for long: otherwise such a lease outlives the
	// maximal age of v and blocks Close. It is called at most once for each lease; a later
	// lease of v may be recalled again. It may also be called for a lease that is about to end
	// anyway, and a lease that begins while the pool looks through its leases may be missed
	// until the next reason.
	//
	// It runs on a goroutine of its own, with no lock held, concurrently with the holder of
	// v; Close waits for it. It is not called for a lease that has ended, but while it runs the
	// lease may end, and v may be lent again or destroyed: it must only use parts of v that
	// are safe then, and should return soon. A panic in it is contained. Nil: holders are not
	// asked.
	Recall func(v T, cause error)

	// MaxSize is how many resources may exist at once, those being created and being
	// destroyed included. Required, from 1 to 2³¹-1; [Pool.Resize] changes it.
	MaxSize int
	// MinIdle is how many to keep ready: created in the background from [New] on, when one
	// is destroyed, when callers had to wait, and at each sweep. An Eviction ends these
	// too, and others are created in their place. For an idle timeout that spares them use
	// policy.SoftIdle(d, MinIdle), and not policy.MaxIdle. Zero: none.
	MinIdle int

	// MakeTimeout bounds each Make. When it is over, the context of Make ends with the
	// cause [ErrMakeTimeout], and a value that Make still returns is destroyed. A Make that
	// has not returned a tenth of MakeTimeout (at most a second) later is abandoned: it no
	// longer holds a slot. Zero: DefaultMakeTimeout. Negative: there is no bound.
	MakeTimeout time.Duration
	// ReleaseTimeout bounds each OnRelease. Zero: DefaultReleaseTimeout.
	ReleaseTimeout time.Duration
	// SweepInterval is how often Eviction, Health and MinIdle are applied to the idle
	// resources, at least MinSweepInterval. Evictions do not wait for checks. Zero:
	// DefaultSweepInterval.
	SweepInterval time.Duration

	Order  Order      // which idle resource is lent; zero: NewestFirst
	Queue  Queue      // in what order callers wait; nil: first come, first served
	Outage OutageMode // what callers get while creation is failing; zero: FailFast

	Admission Admission // may this caller acquire? The permit lasts as long as the lease. Nil: yes
	// May another be created now? The permit lasts as long as the creation. Nil: yes.
	//
	// After a refusal no creation is tried for its RetryAfter or, if it has none, for a
	// backoff from 50 ms that doubles up to 1.6 s; a permit that comes back to the policy ends
	// the backoff. Callers that nothing else can serve fail at once if the refusal has no
	// RetryAfter, and so do those whose deadline comes before the next try: see [FailFast].
	MakeGate Admission
	// May another exist? The permit lasts as long as the resource; otherwise as MakeGate.
	// Nil: yes.
	Quota    Admission
	Eviction Eviction  // has it served long enough? Nil: never
	Health   Health[T] // does it still work? Nil: yes
	// EvictIf is an [Eviction] that also sees the resource: it decides by what v has
	// learned, such as that its remote is draining. It is asked at the same moments, after
	// Eviction has kept v, and follows the same rules. It may run beside the holder of v,
	// beside other calls for the same v, and beside and after its Destroy or its Hijack,
	// because the sweep asks without a lock. So it must only read what may be read then,
	// such as an atomic. Nil: it keeps v.
	//
	// EvictIf is no Eviction, so policy.AnyOf and the like cannot contain it; an AnyOf of
	// both is what Eviction and EvictIf do together. For one v, in a test,
	// policy.EvictionFunc(func(i Info) error { return evictIf(v, i) }) is an Eviction.
	//
	// Where v is of no use any more, rather than to be replaced, call invalidate of Watch:
	// from that instant on v is not lent.
	EvictIf func(v T, i Info) (cause error)

	// Describe returns a few words about v for [Pool.Inspect]. It may run at any time from
	// the creation of v on: beside its holder, beside other calls for the same v, and beside
	// and after its Destroy. So it must only read what may be read then. It must not block
	// and must not reveal a secret. A panic in it is contained. Nil: there is no description.
	Describe func(v T) string

	// Settings returns what [Pool.Inspect] lists as the settings of the pool, for a layer above
	// that has a configuration of its own, as wspool has. No value may be a secret. It must not
	// block, and many goroutines may call it at once. A panic in it is contained. Nil: the
	// fields of this Config.
	Settings func() []Setting

	Trace *Trace // called when something happens; nil: there is none. Copied
	// One of every SampleLeases leases of a resource is sampled: Trace.Leased and
	// Trace.Ended are called for it. The number is rounded up to a power of two; 1: all
	// are. The first lease of each resource always is. If neither function is set none is.
	// Zero: DefaultSampleLeases.
	//
	// While at least four fifths of the maximum is leased every lease is sampled, whatever
	// SampleLeases says, because then it matters most which caller holds what; resources
	// that are leased only for a moment may not count. A pool that is small for its load is
	// in that state most of the time, and each of its leases then costs what the two
	// functions cost: with those of metrics, which record the stack, 0.7 to 1 µs. To bound
	// that, give the pool a larger MaxSize, so that a fifth stays free, or set both
	// functions to nil, or to ones that ignore most leases, by the Lease of their events.
	SampleLeases int
}

// check names every bad field.
func (c *Config[T]) check() error {
	var bad []error
	no := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf(format, args...))
		}
	}
	no(c.Make != nil, "Make is required")
	if err := checkSize(c.MaxSize); err != nil {
		bad = append(bad, fmt.Errorf("MaxSize %w", err))
	}
	no(c.MinIdle >= 0, "MinIdle must be at least 0, got %d", c.MinIdle)
	no(c.MinIdle <= max(c.MaxSize, 0), "MinIdle must be at most MaxSize (%d), got %d", c.MaxSize, c.MinIdle)
	no(c.ReleaseTimeout >= 0, "ReleaseTimeout must be at least 0, got %v", c.ReleaseTimeout)
	no(c.SweepInterval == 0 || c.SweepInterval >= MinSweepInterval, "SweepInterval must be 0 or at least %v, got %v", MinSweepInterval, c.SweepInterval)
	no(c.SampleLeases >= 0 && c.SampleLeases <= maxSampleLeases, "SampleLeases must be between 0 and %d, got %d", maxSampleLeases, c.SampleLeases)
	no(c.Order <= OldestFirst, "Order must be NewestFirst or OldestFirst, got %d", c.Order)
	no(c.Outage <= KeepWaiting, "Outage must be FailFast or KeepWaiting, got %d", c.Outage)
	if bad == nil {
		return nil
	}
	return fmt.Errorf("resource: bad Config: %w", errors.Join(bad...))
}

// maxMaxSize is the largest int of a 32-bit platform.
const maxMaxSize = math.MaxInt32

func checkSize(max int) error {
	if max < 1 || max > maxMaxSize {
		return fmt.Errorf("must be between 1 and %d, got %d", maxMaxSize, max)
	}
	return nil
}

// checkTimeout is how long a Health check in the background may take.
func (c *Config[T]) checkTimeout() time.Duration {
	if c.MakeTimeout < 0 {
		return DefaultMakeTimeout
	}
	return c.MakeTimeout
}

// withDefaults returns a copy in which zero values are replaced.
func (c Config[T]) withDefaults() Config[T] {
	if c.MakeTimeout == 0 {
		c.MakeTimeout = DefaultMakeTimeout
	}
	if c.ReleaseTimeout == 0 {
		c.ReleaseTimeout = DefaultReleaseTimeout
	}
	if c.SweepInterval == 0 {
		c.SweepInterval = DefaultSweepInterval
	}
	if c.Trace == nil {
		c.Trace = &Trace{}
	} else {
		t := *c.Trace
		c.Trace = &t
	}
	return c
}
