package policy_test

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

// Every policy of this package passes package policytest.

// conform runs check on each policy in a separate bubble.
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
		"EarliestDeadline":    func() resource.Queue { return policy.EarliestDeadline(time.Second) },
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

// admission is policytest.Admission with the default requests.
func admission(t testing.TB, new func() resource.Admission) { policytest.Admission(t, new) }

func TestConformance_Admission(t *testing.T) {
	limit := func() resource.Admission { return policy.Limit(5) }
	open := policy.AdmissionFunc(func(context.Context, resource.Request) (resource.Done, error) { return nil, nil })
	conform(t, admission, map[string]func() resource.Admission{
		"AdmissionFunc":  func() resource.Admission { return open },
		"Limit":          limit,
		"Limit, one":     func() resource.Admission { return policy.Limit(1) },
		"Limit, most":    func() resource.Admission { return policy.Limit(math.MaxInt) },
		"BoundedQueue":   func() resource.Admission { return policy.BoundedQueue(4, 6) },
		"Semaphore":      func() resource.Admission { return policy.Semaphore(newSemaphore(4)) },
		"Shares":         func() resource.Admission { return policy.Shares(10, map[string]int{"a": 3, "b": 4}) },
		"Gate":           func() resource.Admission { return policy.NewGate() },
		"WithinDeadline": func() resource.Admission { return policy.WithinDeadline(4) },
		"Named":          func() resource.Admission { return policy.Named("mine", limit()) },
		"Reserve":        func() resource.Admission { return policy.Reserve(2, 1, policy.Limit(6)) },
		"Reserve, twice": func() resource.Admission { return policy.Reserve(2, 1, policy.Reserve(1, 2, policy.Limit(6))) },
		"ByPriority": func() resource.Admission {
			low, high := policy.Limit(3), policy.Semaphore(newSemaphore(3))
			return policy.ByPriority(func(priority int) resource.Admission {
				if priority > 0 {
					return high
				}
				return low
			})
		},
		"Any": func() resource.Admission { return policy.Any(limit(), policy.Semaphore(newSemaphore(2))) },
		"All": func() resource.Admission {
			return policy.All(limit(), policy.Limit(7), policy.WithinDeadline(4), policy.Semaphore(newSemaphore(4)), policy.NewGate())
		},
		"All, Any, Reserve": func() resource.Admission {
			return policy.Any(policy.All(policy.Reserve(1, 1, policy.Limit(4)), policy.Limit(3)),
				policy.All(policy.Shares(6, map[string]int{"a": 1}), policy.Named("last", policy.Semaphore(newSemaphore(2)))))
		},
	})
	conform(t, func(t testing.TB, new func() resource.Admission) {
		policytest.Admission(t, new, resource.Request{Class: "a"}, resource.Request{Class: "b", Cost: 2})
	}, map[string]func() resource.Admission{
		"Shares, all guaranteed": func() resource.Admission { return policy.Shares(7, map[string]int{"a": 3, "b": 4}) },
	})
}

// semaphore is a WeightedSemaphore that serves in order.
type semaphore struct {
	mu   sync.Mutex
	free int64
	line []*turn
}

type turn struct {
	n     int64
	ready chan struct{}
}

func newSemaphore(n int64) *semaphore { return &semaphore{free: n} }

func (s *semaphore) TryAcquire(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.line) > 0 || s.free < n {
		return false
	}
	s.free -= n
	return true
}

func (s *semaphore) Acquire(ctx context.Context, n int64) error {
	s.mu.Lock()
	t := &turn{n, make(chan struct{})}
	s.line = append(s.line, t)
	s.serve()
	s.mu.Unlock()
	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.line, t); i >= 0 {
		s.line = slices.Delete(s.line, i, i+1)
	} else {
		s.free += n
	}
	s.serve()
	return ctx.Err()
}

func (s *semaphore) Release(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free += n
	s.serve()
}

// serve is called with s locked.
func (s *semaphore) serve() {
	for len(s.line) > 0 && s.line[0].n <= s.free {
		s.free -= s.line[0].n
		close(s.line[0].ready)
		s.line = s.line[1:]
	}
}

// numbers returns a concurrent counter.
func numbers() func() int {
	var n atomic.Int64
	return func() int { return int(n.Add(1)) }
}
