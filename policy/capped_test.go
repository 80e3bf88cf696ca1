package policy_test

import (
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

// capTo ends resources above a number.
type capTo struct{ most atomic.Int64 }

func newCap(n int64) *capTo {
	c := &capTo{}
	c.most.Store(n)
	return c
}

func (c *capTo) Evict(i resource.Info) error {
	if int64(i.Total) > c.most.Load() && (i.Leases > 0 || i.Idlers > 0) {
		return errOdd
	}
	return nil
}

func (c *capTo) Cap() *atomic.Int64 { return &c.most }

func (c *capTo) HorizonWithinCap(resource.Info) resource.Horizon {
	return resource.Horizon{Age: math.MaxInt64, Idle: math.MaxInt64, Leases: math.MaxInt64}
}

// AnyOf with one member that is Capped is Capped, with the Horizon of the others; with two it is asked
// each time, and so are AllOf and MinRemaining, which know no cap.
func TestAnyOf_Capped(t *testing.T) {
	c := newCap(7)
	hour, used := policy.MaxAge(time.Hour, 0.5), policy.MaxLeases(100, 0)
	of := resource.Info{ID: 3, Jitter: 0.5}
	want := policy.AnyOf(hour, used).(resource.Predictable).Horizon(of)
	for name, e := range map[string]resource.Eviction{
		"first":  policy.AnyOf(c, hour, used),
		"last":   policy.AnyOf(used, hour, c),
		"nested": policy.AnyOf(policy.AnyOf(used, c), hour),
	} {
		capped, ok := e.(resource.Capped)
		if !ok || capped.Cap() != &c.most || capped.HorizonWithinCap(of) != want {
			t.Errorf("%s: Capped %t: %+v", name, ok, e)
		}
		if h := e.(resource.Predictable).Horizon(of); h != (resource.Horizon{}) {
			t.Errorf("%s: a Horizon of %+v without a cap", name, h)
		}
		policytest.Eviction(t, func() resource.Eviction { return e })
	}
	for name, e := range map[string]resource.Eviction{
		"two":            policy.AnyOf(c, newCap(3), hour),
		"AllOf":          policy.AllOf(c, c),
		"MinRemaining":   policy.MinRemaining(time.Second, c),
		"one asked":      policy.AnyOf(policy.EvictionFunc(c.Evict), hour),
		"AllOf in AnyOf": policy.AnyOf(policy.AllOf(c, c), hour),
	} {
		if capped, ok := e.(resource.Capped); ok {
			t.Errorf("%s: Capped, with %+v", name, capped.HorizonWithinCap(of))
		}
		if h := e.(resource.Predictable).Horizon(of); h.Age > 0 {
			t.Errorf("%s: a Horizon of %+v", name, h)
		}
	}
	// A member that is asked each time has the whole asked each time.
	e := policy.AnyOf(c, policy.EvictionFunc(func(resource.Info) error { return nil })).(resource.Capped)
	if h := e.HorizonWithinCap(of); h != (resource.Horizon{}) {
		t.Errorf("a member that is asked: %+v", h)
	}
}
