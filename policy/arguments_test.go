package policy_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// A constructor panics with every invalid argument.
func TestArguments(t *testing.T) {
	limit := policy.Limit(2)
	for _, test := range []struct {
		make func()
		want []string
	}{
		{func() { policy.Limit(0) }, []string{"policy: Limit: n must be at least 1, got 0"}},
		{func() { policy.Limit(-3) }, []string{"n must be at least 1, got -3"}},
		{func() { policy.Limit(1).Resize(0) }, []string{"policy: Resize: n must be at least 1, got 0"}},
		{func() { policy.WithinDeadline(1).Resize(0) }, []string{"policy: Resize: serving must be at least 1, got 0"}},
		{func() { policy.Shares(1, nil).Resize(-1) }, []string{"policy: Resize: total must be at least 1, got -1"}},
		{func() { policy.EarliestDeadline(0) }, []string{"policy: EarliestDeadline: defaultWait must be positive, got 0s"}},
		{func() { policy.BoundedQueue(0, -1) }, []string{"serving must be at least 1, got 0", "waiting must not be negative, got -1"}},
		{func() { policy.BoundedQueue(2, math.MaxInt-1) }, []string{fmt.Sprintf("the sum of serving 2 and waiting %d overflows", math.MaxInt-1)}},
		{func() { policy.BoundedQueue(-1, math.MaxInt) }, []string{"serving must be at least 1, got -1"}},
		{func() { policy.Semaphore(nil) }, []string{"Semaphore: the semaphore is nil"}},
		{func() { policy.Shares(0, nil) }, []string{"total must be at least 1, got 0"}},
		{func() { policy.Shares(3, map[string]int{"a": 2, "b": 2}) }, []string{"the sum of the guarantees must be at most total 3, got 4"}},
		{func() { policy.Shares(3, map[string]int{"a": 0, "b": -2}) }, []string{`of "a" must be at least 1, got 0`, `of "b" must be at least 1, got -2`}},
		{func() { policy.Shares(1, map[string]int{"a": math.MaxInt, "b": math.MaxInt}) }, []string{"must be at most total 1"}},
		{func() { policy.Rate[*reservation](nil) }, []string{"Rate: the limiter is nil"}},
		{func() { policy.Pace[*reservation](nil) }, []string{"Pace: the limiter is nil"}},
		{func() { policy.Breaker(nil, -1) }, []string{"the breaker is nil", "retryAfter must not be negative, got -1ns"}},
		{func() { policy.PermitBreaker(nil) }, []string{"the breaker is nil"}},
		{func() { policy.Throttle(nil) }, []string{"the throttler is nil"}},
		{func() { policy.Adaptive[*adaptivePermit](nil) }, []string{"Adaptive: the limiter is nil"}},
		{func() { policy.WithinDeadline(0) }, []string{"serving must be at least 1, got 0"}},
		{func() { policy.All(limit, nil, policy.AdmissionFunc(nil)) }, []string{"All: member 1 is nil; member 2 is nil"}},
		{func() { policy.Any() }, []string{"Any: no members"}},
		{func() { policy.Any(nil) }, []string{"Any: member 0 is nil"}},
		{func() { policy.ByPriority(nil) }, []string{"pick is nil"}},
		{func() { policy.Reserve(0, 1, nil) }, []string{"p is nil", "n must be at least 1, got 0"}},
		{func() { policy.Reserve(2, 1, limit) }, []string{"n must be less than the limit 2, got 2"}},
		{func() { policy.Named("", nil) }, []string{"name is empty", "p is nil"}},
	} {
		t.Run(strings.Join(test.want, ","), func(t *testing.T) {
			said := fmt.Sprint(caught(test.make))
			if !strings.HasPrefix(said, "policy: ") {
				t.Errorf("panicked with %q", said)
			}
			for _, want := range test.want {
				if !strings.Contains(said, want) {
					t.Errorf("panicked with %q, which does not say %q", said, want)
				}
			}
		})
	}
}

// Arguments at the limits of their ranges are valid.
func TestArgumentsAtTheEdge(t *testing.T) {
	if how := caught(func() {
		policy.Limit(1)
		policy.Limit(math.MaxInt)
		policy.BoundedQueue(1, 0)
		policy.BoundedQueue(1, math.MaxInt-1)
		policy.Shares(1, nil)
		policy.Shares(2, map[string]int{"": 2})
		policy.WithinDeadline(math.MaxInt)
		policy.Reserve(1, math.MinInt, policy.Limit(2))
		policy.Breaker(&twoStep{}, 0)
		policy.All()
	}); how != nil {
		t.Error(how)
	}
}

// A policy that counts units refuses a negative Cost and one that could never fit with
// ErrCost.
func TestImpossibleCost(t *testing.T) {
	const most = 4
	for name, p := range map[string]resource.Admission{
		"limit":     policy.Limit(most),
		"queue":     policy.BoundedQueue(3, 1),
		"shares":    policy.Shares(6, map[string]int{"a": 2, "b": 2}),
		"reserve":   policy.Reserve(2, 1, policy.Limit(6)),
		"rate":      policy.Rate(&bucket{size: most, full: most}),
		"pace":      policy.Pace(&bucket{size: most, full: most}),
		"semaphore": policy.Semaphore(make(slots, most)),
	} {
		t.Run(name, func(t *testing.T) {
			r := resource.Request{Cost: -1, Class: "a"}
			refused(t, p, r, name, policy.ErrCost, 0)
			r.Cost = math.MinInt
			refused(t, p, r, name, policy.ErrCost, 0)
			r.Cost = most
			done := admit(t, p, r)
			if name != "semaphore" { // its capacity is unknown
				for _, r.Cost = range []int{most + 1, math.MaxInt} {
					refused(t, p, r, name, policy.ErrCost, 0)
				}
			}
			done(ok)
		})
	}
}
