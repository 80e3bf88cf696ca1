package adapters_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/adaptivethrottler"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/sony/gobreaker/v2"
	"go.uber.org/goleak"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	for name, new := range map[string]func() resource.Admission{
		"Semaphore of x/sync": func() resource.Admission { return policy.Semaphore(semaphore.NewWeighted(5)) },
		"Rate of x/time":      func() resource.Admission { return policy.Rate(rate.NewLimiter(1000, 10)) },
		"Pace of x/time":      func() resource.Admission { return policy.Pace(rate.NewLimiter(1000, 10)) },
		"Breaker of gobreaker": func() resource.Admission {
			return policy.Breaker(gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
				Timeout:     time.Second,
				MaxRequests: 2,
				IsExcluded:  func(err error) bool { return errors.Is(err, policy.ErrIgnored) },
			}), time.Second)
		},
		"PermitBreaker of failsafe-go": func() resource.Admission {
			return policy.PermitBreaker(circuitbreaker.NewBuilder[any]().
				WithFailureThreshold(3).WithSuccessThreshold(2).WithDelay(time.Second).Build())
		},
		"Adaptive of failsafe-go": func() resource.Admission {
			return policy.Adaptive(adaptivelimiter.NewWithDefaults[any]())
		},
		"Adaptive of failsafe-go, queueing": func() resource.Admission {
			return policy.Adaptive(adaptivelimiter.NewBuilder[any]().WithLimits(1, 50, 5).WithQueueing(2, 3).Build())
		},
		"Throttle of failsafe-go": func() resource.Admission {
			return policy.Throttle(adaptivethrottler.NewWithDefaults[any]())
		},
		"All of them that do not learn": func() resource.Admission {
			return policy.All(policy.Limit(20), policy.Semaphore(semaphore.NewWeighted(5)), policy.Pace(rate.NewLimiter(1000, 10)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { policytest.Admission(t, new) })
		})
	}
}
