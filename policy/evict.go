package policy

import (
	"math"
	"slices"
	"time"

	"github.com/respool/respool/resource"
)

// EvictionFunc is a function as a [resource.Eviction]. It must keep to what that
// asks for: it decides by the facts alone, does not block, and may be called by
// many goroutines at once.
type EvictionFunc func(i resource.Info) (cause error)

// Evict calls f.
func (f EvictionFunc) Evict(i resource.Info) error { return f(i) }

// AnyOf evicts what at least one of es evicts, with the cause of the first that
// does. Panics if there is none, or one is nil.
func AnyOf(es ...resource.Eviction) resource.Eviction {
	checkEvictions("AnyOf", es)
	return &anyOf{slices.Clone(es)}
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

// AllOf evicts only what every one of es evicts, with the cause of the first of
// them. Panics if there is none, or one is nil.
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

// Protect lets e act only in the pool's sweep, and only while more than floor
// resources are idle, so that it never takes the last ones: a caller who finds
// an idle one gets it, whatever e says. Of each 64 that the sweep looks at
// together those idle longest are judged first.
// Panics if floor is negative or e is nil.
func Protect(floor int, e resource.Eviction) resource.Eviction {
	var m misuse
	m.unless(floor >= 0, "the floor is %d, not at least 0", floor)
	m.unless(!noEviction(e), "the Eviction is nil")
	m.report("Protect")
	return &protect{floor, e}
}

type protect struct {
	floor int
	e     resource.Eviction
}

func (p *protect) Evict(i resource.Info) error {
	if i.Idlers <= p.floor { // outside the sweep it is 0
		return nil
	}
	return p.e.Evict(i)
}

// MinRemaining evicts what e would evict if it were d older, with the cause
// that e gives: nobody is lent a resource that e would end within d. It is
// [resource.Request.MinRemaining] for every caller. Where only some need the
// time left, let those ask. Panics if d is not positive or e is nil.
func MinRemaining(d time.Duration, e resource.Eviction) resource.Eviction {
	var m misuse
	m.unless(d > 0, "the time is %v, not more than 0", d)
	m.unless(!noEviction(e), "the Eviction is nil")
	m.report("MinRemaining")
	return &minRemaining{d, e}
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

func checkEvictions(who string, es []resource.Eviction) {
	var m misuse
	m.unless(len(es) > 0, "there is no Eviction")
	for n, e := range es {
		m.unless(!noEviction(e), "Eviction %d is nil", n+1)
	}
	m.report(who)
}

// noEviction reports whether e is nil, or a nil function.
func noEviction(e resource.Eviction) bool {
	f, isFunc := e.(EvictionFunc)
	return e == nil || isFunc && f == nil
}
