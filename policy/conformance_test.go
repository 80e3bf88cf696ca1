package policy_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

// Every ready-made policy keeps what package policytest asks of a user's own.

// conform runs check on each policy in a bubble of its own.
func conform[P any](t *testing.T, check func(t testing.TB, new func() P), all map[string]func() P) {
	t.Helper()
	for name, new := range all {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { check(t, new) })
		})
	}
}

func TestConformance_Eviction(t *testing.T) {
	used := policy.EvictionFunc(func(i resource.Info) error {
		if i.Leases > 100 {
			return policy.ErrMaxLeases
		}
		return nil
	})
	all := make(map[string]func() resource.Eviction)
	for name, e := range map[string]resource.Eviction{
		"MaxIdle":             policy.MaxIdle(time.Minute),
		"MaxIdle, least":      policy.MaxIdle(1),
		"SoftIdle":            policy.SoftIdle(time.Minute, 3),
		"MaxAge":              policy.MaxAge(time.Hour, 0.25),
		"MaxAge, all jitter":  policy.MaxAge(time.Hour, 1),
		"MaxAge, least":       policy.MaxAge(1, 1),
		"MaxLeases":           policy.MaxLeases(100, 0.25),
		"MaxLeases, one":      policy.MaxLeases(1, 1),
		"MinRemaining":        policy.MinRemaining(time.Minute, policy.MaxAge(time.Hour, 0.5)),
		"AnyOf":               policy.AnyOf(policy.MaxAge(time.Hour, 0.25), policy.MaxIdle(time.Minute), used),
		"AllOf":               policy.AllOf(policy.MaxAge(time.Hour, 0.25), policy.MaxIdle(time.Minute)),
		"Protect":             policy.Protect(2, policy.MaxIdle(time.Millisecond)),
		"EvictionFunc":        used,
		"all of them, nested": policy.AnyOf(policy.Protect(2, policy.AllOf(policy.MaxIdle(time.Second), used)), policy.MaxAge(time.Hour, 1)),
	} {
		all[name] = func() resource.Eviction { return e }
	}
	conform(t, policytest.Eviction, all)
}

func TestConformance_Queue(t *testing.T) {
	conform(t, policytest.Queue, map[string]func() resource.Queue{
		"Priority":            func() resource.Queue { return policy.Priority(time.Second) },
		"Priority, fine":      func() resource.Queue { return policy.Priority(1) },
		"CoDel":               func() resource.Queue { return policy.CoDel(5*time.Millisecond, 100*time.Millisecond) },
		"CoDel, always upset": func() resource.Queue { return policy.CoDel(1, 2) },
	})
}

func TestConformance_Health(t *testing.T) {
	ping := func(ctx context.Context, v int) error {
		timer := time.NewTimer(time.Duration(v%5) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	check := policy.Check(ping)
	all := map[string]func() resource.Health[int]{
		"Check":        func() resource.Health[int] { return check },
		"IfIdle":       func() resource.Health[int] { return policy.IfIdle(2*time.Millisecond, check) },
		"CheckTimeout": func() resource.Health[int] { return policy.CheckTimeout(time.Second, check) },
		"Consecutive":  func() resource.Health[int] { return policy.Consecutive(3, check) },
		"Cohort":       func() resource.Health[int] { return policy.Cohort(check) },
		"all of them": func() resource.Health[int] {
			return policy.Cohort(policy.Consecutive(3, policy.CheckTimeout(time.Second, policy.IfIdle(2*time.Millisecond, check))))
		},
		"Cohort, suspicious": func() resource.Health[int] {
			c := policy.Cohort(policy.IfIdle(time.Hour, check))
			c.Suspect(20)
			return c
		},
	}
	conform(t, func(t testing.TB, new func() resource.Health[int]) {
		policytest.Health(t, new, numbers())
	}, all)
}

func TestConformance_MakeGate(t *testing.T) {
	gate := func(cfg policy.MakeGateConfig) func() resource.Admission {
		return func() resource.Admission {
			g, err := policy.NewMakeGate(cfg)
			if err != nil {
				panic(err)
			}
			return g
		}
	}
	conform(t, admission, map[string]func() resource.Admission{
		"one at a time": gate(policy.MakeGateConfig{Concurrent: 1}),
		"eight":         gate(policy.MakeGateConfig{Concurrent: 8, InitialBackoff: time.Second, MaxBackoff: 10 * time.Second, Jitter: 1}),
	})
}

// admission is policytest.Admission without requests of its own.
func admission(t testing.TB, new func() resource.Admission) { policytest.Admission(t, new) }

// numbers makes numbers, for many goroutines at once.
func numbers() func() int {
	var n atomic.Int64
	return func() int { return int(n.Add(1)) }
}
