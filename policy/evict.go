package policy

import (
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/cause"
	"github.com/respool/respool/resource"
)

// Causes with which the Evictions of this package end a resource, as seen by Destroy
// and [resource.Trace]. They are constant values, so that they can serve as labels.
var (
	// ErrMaxAge is the cause of [MaxAge].
	ErrMaxAge = cause.New("policy: too old", "too old")
	// ErrMaxLeases is the cause of [MaxLeases].
	ErrMaxLeases = cause.New("policy: lent too often", "lent too often")
	// ErrMaxIdle is the cause of [MaxIdle].
	ErrMaxIdle = cause.New("policy: idle too long", "idle too long")
	// ErrSoftIdle is the cause of [SoftIdle].
	ErrSoftIdle = cause.New("policy: more idle than needed", "more idle than needed")
)

// EvictionFunc adapts a function to [resource.Eviction], whose contract it must
// keep: it decides by the Info alone, does not block, and may be called by many
// goroutines at once.
type EvictionFunc func(i resource.Info) (cause error)

// Evict calls f.
func (f EvictionFunc) Evict(i resource.Info) error { return f(i) }

// The evictions below are pointers: through the interface, a method with a value
// receiver would copy the Info once more. All of them are [resource.Predictable], the
// combinators as far as their members are: then an acquire that finds an idle resource, and
// its release, do not call Evict before a limit is reached.

// MaxAge evicts resources of age d. jitter shortens the limit of each resource by up
// to that fraction, so that resources made together do not end together: with jitter
// 0.25 the limits are distributed uniformly over the last quarter of d. The amount is
// derived from [resource.Info.Jitter], so the limit of a resource never changes; no
// limit exceeds d. 0 means no jitter. With jitter 1 every limit is still above 0.
//
// A leased resource ends when it is released. The cause is [ErrMaxAge]. Panics if d
// is not positive or jitter is not between 0 and 1.
func MaxAge(d time.Duration, jitter float64) resource.Eviction {
	var e argErrors
	e.require(d > 0, "the age must be positive, got %v", d)
	e.require(jitter >= 0 && jitter <= 1, "the jitter must be between 0 and 1, got %v", jitter)
	e.panicIfAny("MaxAge")
	return &maxAge{float64(d), jitter}
}

type maxAge jitteredLimit

func (a *maxAge) Evict(i resource.Info) error {
	if (*jitteredLimit)(a).reached(float64(i.Age), i.Jitter) {
		return ErrMaxAge
	}
	return nil
}

func (a *maxAge) Horizon(i resource.Info) resource.Horizon {
	return resource.Horizon{Age: time.Duration((*jitteredLimit)(a).below(i.Jitter)), Idle: unlimited, Leases: unlimited}
}

// MaxLeases evicts resources that have been lent n times. jitter shortens the limit
// of each as in [MaxAge]; every resource is lent at least once. The cause is
// [ErrMaxLeases]. Panics if n is less than 1 or jitter is not between 0 and 1.
func MaxLeases(n int64, jitter float64) resource.Eviction {
	var e argErrors
	e.require(n > 0, "the number of leases must be at least 1, got %d", n)
	e.require(jitter >= 0 && jitter <= 1, "the jitter must be between 0 and 1, got %v", jitter)
	e.panicIfAny("MaxLeases")
	return &maxLeases{float64(n), jitter}
}

type maxLeases jitteredLimit

func (l *maxLeases) Evict(i resource.Info) error {
	if (*jitteredLimit)(l).reached(float64(i.Leases), i.Jitter) {
		return ErrMaxLeases
	}
	return nil
}

func (l *maxLeases) Horizon(i resource.Info) resource.Horizon {
	return resource.Horizon{Age: unlimited, Idle: unlimited, Leases: (*jitteredLimit)(l).below(i.Jitter)}
}

// jitteredLimit is a limit that is shortened by up to the fraction jitter of it.
type jitteredLimit struct{ limit, jitter float64 }

// reached reports whether value has reached the limit of a resource whose
// Info.Jitter is draw. It compares floats: a limit truncated to an integer could be
// 0, and then the resource would never be lent. Since draw is less than 1 the limit
// is above 0, so a resource of age 0 or without leases is kept.
func (j *jitteredLimit) reached(value, draw float64) bool {
	return value >= j.of(draw)
}

// of returns the limit of a resource whose Info.Jitter is draw. The conversion keeps the
// compiler from fusing the operations in one caller and not in another.
func (j *jitteredLimit) of(draw float64) float64 { return j.limit * (1 - float64(j.jitter*draw)) }

// below returns a number such that no smaller one has reached the limit.
func (j *jitteredLimit) below(draw float64) int64 {
	limit := j.of(draw)
	if limit >= 1<<53 { // an integer just below it may be rounded up to it
		limit = math.Nextafter(limit, 0)
	}
	return int64(math.Ceil(limit))
}

// MaxIdle evicts resources that have been idle for d, before they are lent and in the
// sweep. Use it if the server closes connections that have been unused for some time:
// it may evict all idle resources at once, including those kept by Config.MinIdle,
// which are then replaced; without load all of them are replaced every d. The
// idleTimeout of HikariCP and the MaxConnIdleTime of pgxpool, which keep a minimum,
// correspond to [SoftIdle]. The cause is [ErrMaxIdle]. Panics if d is not positive.
func MaxIdle(d time.Duration) resource.Eviction {
	var e argErrors
	e.require(d > 0, "the idle time must be positive, got %v", d)
	e.panicIfAny("MaxIdle")
	return &maxIdle{d}
}

type maxIdle struct{ d time.Duration }

func (m *maxIdle) Evict(i resource.Info) error {
	if i.Idle >= m.d {
		return ErrMaxIdle
	}
	return nil
}

func (m *maxIdle) Horizon(resource.Info) resource.Horizon {
	return resource.Horizon{Age: unlimited, Idle: m.d, Leases: unlimited}
}

// SoftIdle evicts resources that have been idle for d, in the sweep only, while more
// than floor are idle. It frees the resources left over from a burst. In each batch of
// 64 that the sweep examines, those idle longest are evicted and floor remain; an
// acquire that finds an idle resource always gets it. With Config.MinIdle as the floor
// it is the usual idle timeout, such as the idleTimeout of HikariCP with its
// minimumIdle; with a floor below MinIdle, evicted resources are replaced. Combined
// with a larger [MaxIdle] by [AnyOf] it gives the usual pair of a soft and a hard
// limit. The cause is [ErrSoftIdle]. Panics if d is not positive or floor is negative.
func SoftIdle(d time.Duration, floor int) resource.Eviction {
	var e argErrors
	e.require(d > 0, "the idle time must be positive, got %v", d)
	e.require(floor >= 0, "the floor must not be negative, got %d", floor)
	e.panicIfAny("SoftIdle")
	return &softIdle{d, floor}
}

type softIdle struct {
	d     time.Duration
	floor int
}

func (s *softIdle) Evict(i resource.Info) error {
	if i.Idle >= s.d && i.Idlers > s.floor { // Idlers is 0 outside the sweep
		return ErrSoftIdle
	}
	return nil
}

func (s *softIdle) Horizon(resource.Info) resource.Horizon { return always }

// AnyOf evicts a resource if at least one of es does, with the cause of the first
// one that does. Panics if es is empty or a member is nil.
func AnyOf(es ...resource.Eviction) resource.Eviction {
	checkEvictions("AnyOf", es)
	any := &anyOf{slices.Clone(es)}
	var capped []int
	for i, e := range es {
		if _, ok := e.(resource.Capped); ok {
			capped = append(capped, i)
		}
	}
	if len(capped) == 1 { // two have two caps, and the pool looks at one
		return &anyOfCapped{any, capped[0]}
	}
	return any
}

type anyOf struct{ es []resource.Eviction }

func (a *anyOf) Evict(i resource.Info) error {
	for _, e := range a.es {
		if cause := e.Evict(i); cause != nil {
			return cause
		}
	}
	return nil
}

// Horizon is as far as every member keeps the resource.
func (a *anyOf) Horizon(i resource.Info) resource.Horizon {
	h := always
	for _, e := range a.es {
		h = nearer(h, horizonOf(e, i))
	}
	return h
}

// anyOfCapped is an anyOf of which one member is Capped. That member alone is not Predictable, so the
// Horizon of the anyOf is zero.
type anyOfCapped struct {
	*anyOf
	capped int // index of that member
}

// Cap implements [resource.Capped].
func (a *anyOfCapped) Cap() *atomic.Int64 { return a.es[a.capped].(resource.Capped).Cap() }

// HorizonWithinCap is as far as every member keeps the resource.
func (a *anyOfCapped) HorizonWithinCap(i resource.Info) resource.Horizon {
	h := always
	for at, e := range a.es {
		if at == a.capped {
			h = nearer(h, e.(resource.Capped).HorizonWithinCap(i))
		} else {
			h = nearer(h, horizonOf(e, i))
		}
	}
	return h
}

// nearer is as far as both say.
func nearer(a, b resource.Horizon) resource.Horizon {
	return resource.Horizon{Age: min(a.Age, b.Age), Idle: min(a.Idle, b.Idle), Leases: min(a.Leases, b.Leases)}
}

// AllOf evicts a resource if every one of es does, with the cause of the first one.
// Panics if es is empty or a member is nil.
func AllOf(es ...resource.Eviction) resource.Eviction {
	checkEvictions("AllOf", es)
	return &allOf{slices.Clone(es)}
}

type allOf struct{ es []resource.Eviction }

func (a *allOf) Evict(i resource.Info) (first error) {
	for _, e := range a.es {
		cause := e.Evict(i)
		if cause == nil {
			return nil
		}
		if first == nil {
			first = cause
		}
	}
	return first
}

// Horizon is that of one member, since the resource is kept as long as one keeps it. The one
// with the largest Age is chosen: a limit of the age stays reached, and a limit of the idle
// time does not.
func (a *allOf) Horizon(i resource.Info) (h resource.Horizon) {
	for _, e := range a.es {
		if of := horizonOf(e, i); of.Age > h.Age {
			h = of
		}
	}
	return h
}

// Protect applies ev only in the sweep, and only while more than floor resources are
// idle, so that it never evicts the last ones: an acquire that finds an idle resource
// gets it, whatever ev returns. In each batch of 64 that the sweep examines, those idle
// longest are examined first. Panics if floor is negative or ev is nil.
func Protect(floor int, ev resource.Eviction) resource.Eviction {
	var e argErrors
	e.require(floor >= 0, "the floor must not be negative, got %d", floor)
	e.require(!isNilEviction(ev), "the Eviction is nil")
	e.panicIfAny("Protect")
	return &protect{floor, ev}
}

type protect struct {
	floor int
	e     resource.Eviction
}

func (p *protect) Evict(i resource.Info) error {
	if i.Idlers <= p.floor { // Idlers is 0 outside the sweep
		return nil
	}
	return p.e.Evict(i)
}

func (p *protect) Horizon(resource.Info) resource.Horizon { return always }

// MinRemaining evicts a resource that ev would evict if it were d older, with the
// cause of ev: no lease begins on a resource that ev would end within d. It is
// [resource.Request.MinRemaining] for every caller; if only some callers need the time,
// set it in their requests. Panics if d is not positive or ev is nil.
func MinRemaining(d time.Duration, ev resource.Eviction) resource.Eviction {
	var e argErrors
	e.require(d > 0, "the time must be positive, got %v", d)
	e.require(!isNilEviction(ev), "the Eviction is nil")
	e.panicIfAny("MinRemaining")
	return &minRemaining{d, ev}
}

type minRemaining struct {
	d time.Duration
	e resource.Eviction
}

func (r *minRemaining) Evict(i resource.Info) error {
	if i.Age > math.MaxInt64-r.d {
		i.Age = math.MaxInt64
	} else {
		i.Age += r.d
	}
	return r.e.Evict(i)
}

// Horizon is that of the inner Eviction, d earlier.
func (r *minRemaining) Horizon(i resource.Info) resource.Horizon {
	h := horizonOf(r.e, i)
	h.Age = max(0, h.Age) - r.d
	return h
}

// unlimited is no limit of a Horizon.
const unlimited = math.MaxInt64

// always is the Horizon of an Eviction that evicts in the sweep alone.
var always = resource.Horizon{Age: unlimited, Idle: unlimited, Leases: unlimited}

// horizonOf returns the Horizon of e; the zero one, with which e is asked each time, if e is
// not Predictable.
func horizonOf(e resource.Eviction, i resource.Info) resource.Horizon {
	if p, ok := e.(resource.Predictable); ok {
		return p.Horizon(i)
	}
	return resource.Horizon{}
}

func checkEvictions(constructor string, es []resource.Eviction) {
	var e argErrors
	e.require(len(es) > 0, "there is no Eviction")
	for n, ev := range es {
		e.require(!isNilEviction(ev), "Eviction %d is nil", n+1)
	}
	e.panicIfAny(constructor)
}

// isNilEviction reports whether e is nil or a nil function.
func isNilEviction(e resource.Eviction) bool {
	f, isFunc := e.(EvictionFunc)
	return e == nil || isFunc && f == nil
}
