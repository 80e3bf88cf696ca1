package policy

import (
	"time"

	"github.com/respool/respool/internal/cause"
	"github.com/respool/respool/resource"
)

// Why an Eviction of this package ended a resource: the cause that Destroy and
// [resource.Trace] see. They are values, not made anew, so that they can serve
// as labels.
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

// MaxAge evicts resources of age d. jitter takes something off for each, up to
// that part of d, so that those made together do not end together: with jitter
// 0.25 the limits are spread evenly over the last quarter of d. How much is
// [resource.Info.Jitter] of the resource, so its limit never changes; nothing
// ever lives longer than d because of it. No jitter is 0. The limit is above 0
// even with jitter 1.
//
// A resource that is leased ends when it is given back. Its cause is
// [ErrMaxAge]. Panics if d is not positive or jitter not from 0 to 1.
func MaxAge(d time.Duration, jitter float64) resource.Eviction {
	var m misuse
	m.unless(d > 0, "the age is %v, not more than 0", d)
	m.unless(jitter >= 0 && jitter <= 1, "the jitter is %v, not from 0 to 1", jitter)
	m.report("MaxAge")
	return &maxAge{float64(d), jitter}
}

type maxAge jittered

func (a *maxAge) Evict(i resource.Info) error {
	if (*jittered)(a).reached(float64(i.Age), i.Jitter) {
		return ErrMaxAge
	}
	return nil
}

// MaxLeases evicts resources that have been lent n times. jitter takes
// something off for each, as in [MaxAge]; every resource is lent at least once.
// Its cause is [ErrMaxLeases]. Panics if n is less than 1 or jitter not from 0
// to 1.
func MaxLeases(n int64, jitter float64) resource.Eviction {
	var m misuse
	m.unless(n > 0, "the number of leases is %d, not at least 1", n)
	m.unless(jitter >= 0 && jitter <= 1, "the jitter is %v, not from 0 to 1", jitter)
	m.report("MaxLeases")
	return &maxLeases{float64(n), jitter}
}

type maxLeases jittered

func (l *maxLeases) Evict(i resource.Info) error {
	if (*jittered)(l).reached(float64(i.Leases), i.Jitter) {
		return ErrMaxLeases
	}
	return nil
}

// jittered is a limit of which up to a part of it is taken off.
type jittered struct{ limit, jitter float64 }

// reached reports whether have has reached the limit of the resource with that
// spread. It compares as floats: the limit of a resource, cut to a whole
// number, could be 0, and then nothing would ever be lent. Since spread is less
// than 1 this limit is not, so what has no age or lease yet is kept.
func (j *jittered) reached(have, spread float64) bool {
	return have >= j.limit*(1-j.jitter*spread)
}
