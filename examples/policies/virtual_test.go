package policies_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// The adapters with their libraries, in virtual time.

var (
	errDown = errors.New("down")
	failed  = resource.Outcome{Verdict: resource.Failed, Err: errDown}
	fine    = resource.Outcome{Verdict: resource.OK}
)

// refusal calls Admit and returns the refusal, or fails the test.
func refusal(t *testing.T, p resource.Admission, r resource.Request) *resource.Rejection {
	t.Helper()
	_, err := p.Admit(t.Context(), r)
	var refusal *resource.Rejection
	if !errors.As(err, &refusal) {
		t.Fatalf("%v is no refusal", err)
	}
	return refusal
}

// admit calls Admit and returns the permit, or fails the test.
func admit(t *testing.T, p resource.Admission, r resource.Request) resource.Done {
	t.Helper()
	done, err := p.Admit(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// An ignored trial (the caller left, or a later policy refused) does not keep a breaker
// half-open for ever.
func TestBreakersOutliveATrialWithoutOutcome(t *testing.T) {
	const delay = time.Minute
	for name, make := range map[string]func() (p resource.Admission, free time.Duration){
		"gobreaker": func() (resource.Admission, time.Duration) {
			return policy.Breaker(gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
				Timeout:     delay,
				ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures > 0 },
				IsExcluded:  func(err error) bool { return errors.Is(err, policy.ErrIgnored) },
			}), delay), 0 // it undoes the trial
		},
		"gobreaker as it is": func() (resource.Admission, time.Duration) {
			return policy.Breaker(gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
				Timeout:     delay,
				ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures > 0 },
			}), delay), delay
		},
		"failsafe": func() (resource.Admission, time.Duration) {
			return policy.PermitBreaker(circuitbreaker.NewBuilder[any]().WithDelay(delay).Build()), delay
		},
		"failsafe, two trials": func() (resource.Admission, time.Duration) {
			return policy.PermitBreaker(circuitbreaker.NewBuilder[any]().WithDelay(delay).WithSuccessThreshold(2).Build()), delay
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, free := make()
				admit(t, p, resource.Request{})(failed)
				if r := refusal(t, p, resource.Request{}); r.RetryAfter != delay {
					t.Errorf("open: RetryAfter is %v, want %v", r.RetryAfter, delay)
				}
				time.Sleep(delay + 1)
				later := policy.AdmissionFunc(func(context.Context, resource.Request) (resource.Done, error) { return nil, errDown })
				if _, err := policy.All(p, later).Admit(t.Context(), resource.Request{}); err != errDown {
					t.Fatalf("the trial: %v, want it to be refused by the later policy", err)
				}
				if free > 0 {
					refusal(t, p, resource.Request{})
					time.Sleep(free + 1)
				}
				for range 3 { // after the trials it is closed
					admit(t, p, resource.Request{})(fine)
				}
				one, two := admit(t, p, resource.Request{}), admit(t, p, resource.Request{})
				one(fine)
				two(fine)
			})
		})
	}
}

// Concurrent refused callers use no tokens.
func TestRateRefusalsCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, p := range []resource.Admission{
			policy.Rate(rate.NewLimiter(10, 1)), policy.Pace(rate.NewLimiter(10, 1)),
		} {
			admitted := 0
			var mu sync.Mutex
			var wg sync.WaitGroup
			for range 1000 { // for ten seconds
				for range 5 {
					wg.Go(func() {
						if _, err := p.Admit(context.Background(), resource.Request{NoWait: true}); err == nil {
							mu.Lock()
							defer mu.Unlock()
							admitted++
						}
					})
				}
				time.Sleep(10 * time.Millisecond)
			}
			wg.Wait()
			if admitted < 99 || admitted > 101 {
				t.Errorf("%d admitted in ten seconds at ten a second", admitted)
			}
		}
	})
}

// A caller waits for its token, is refused if that would be available only after its
// deadline, and returns it if it leaves.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy.Pace(rate.NewLimiter(1, 2))
		admit(t, p, resource.Request{Cost: 2})
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if _, err := p.Admit(ctx, resource.Request{}); err != nil || time.Since(begun) != time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		_, err := p.Admit(ctx, resource.Request{})
		var r *resource.Rejection
		if !errors.Is(err, policy.ErrTooLate) || !errors.As(err, &r) || r.RetryAfter != time.Second {
			t.Errorf("whose turn is too late: %v", err)
		}
		if r := refusal(t, p, resource.Request{Cost: 3}); !errors.Is(r, policy.ErrCost) {
			t.Errorf("more than the burst: %v", r)
		}
		left := make(chan error)
		leaving, leave := context.WithCancel(t.Context())
		go func() {
			_, err := p.Admit(leaving, resource.Request{})
			left <- err
		}()
		synctest.Wait()
		if r := refusal(t, p, resource.Request{NoWait: true}); r.RetryAfter != 2*time.Second {
			t.Errorf("behind a waiting request: RetryAfter is %v", r.RetryAfter)
		}
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if r := refusal(t, p, resource.Request{NoWait: true}); r.RetryAfter != time.Second {
			t.Errorf("after that one left: RetryAfter is %v", r.RetryAfter)
		}
		// A limiter with rate zero does not result in a RetryAfter of centuries.
		if r := refusal(t, policy.Rate(rate.NewLimiter(0, 0)), resource.Request{}); r.RetryAfter != 0 {
			t.Errorf("a limiter that is off: RetryAfter is %v", r.RetryAfter)
		}
		off := rate.NewLimiter(0, 1)
		off.Allow()
		if r := refusal(t, policy.Rate(off), resource.Request{}); r.RetryAfter != 0 {
			t.Errorf("a limiter that gets no more tokens: RetryAfter is %v", r.RetryAfter)
		}
		admit(t, policy.Rate(rate.NewLimiter(rate.Inf, 0)), resource.Request{Cost: 1000})
	})
}

func TestSemaphore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := semaphore.NewWeighted(2)
		p := policy.Semaphore(s)
		done := admit(t, p, resource.Request{Cost: 2})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Admit(ctx, resource.Request{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		done(fine)
		admit(t, p, resource.Request{})(fine)
		if !s.TryAcquire(2) {
			t.Error("something is still taken")
		}
	})
}

// load runs many callers under an adaptive limiter for two minutes, each holding its permit
// for the duration out, and returns the lowest limit in the second minute.
func load(out func(since time.Duration) time.Duration) (lowest int64) {
	begun := time.Now()
	var least atomic.Int64
	least.Store(math.MaxInt64)
	limiter := adaptivelimiter.NewBuilder[any]().WithLimits(1, 100, 50).
		OnLimitChanged(func(e adaptivelimiter.LimitChangedEvent) {
			if time.Since(begun) > time.Minute {
				least.Store(min(least.Load(), int64(e.NewLimit)))
			}
		}).Build()
	p := policy.Adaptive(limiter)
	var wg sync.WaitGroup
	for range 60 {
		wg.Go(func() {
			for since := time.Duration(0); since < 2*time.Minute; since = time.Since(begun) {
				done, err := p.Admit(context.Background(), resource.Request{})
				if err != nil {
					return
				}
				time.Sleep(out(since))
				done(fine)
			}
		})
	}
	wg.Wait()
	return min(least.Load(), int64(limiter.Limit()))
}

// Hold time is not latency: if a permit lasts as long as a lease, the limiter lowers its
// limit when callers hold their leases longer, although the server is as fast as before. If
// it lasts as long as a dial it does not.
func TestAdaptiveBelongsInMakeGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := load(func(time.Duration) time.Duration { return 40 * time.Millisecond })
		leases := load(func(since time.Duration) time.Duration {
			if since > time.Minute {
				return 800 * time.Millisecond // longer work
			}
			return 40 * time.Millisecond
		})
		t.Logf("the lowest limit: with dials %d, with leases %d", dials, leases)
		if dials < 100 || leases > 95 {
			t.Errorf("the lowest limit: with dials %d, with leases %d; want it cut with leases alone", dials, leases)
		}
	})
}

// Callers whose deadline is shorter than the queue take no tokens: the whole rate goes to
// waiting callers.
func TestPaceOfTheImpatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy.Pace(rate.NewLimiter(100, 5))
		const during = 20 * time.Second
		begun := time.Now()
		var served atomic.Int64
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				for n := i; time.Since(begun) < during; n++ {
					ctx, cancel := context.WithCancel(context.Background())
					time.AfterFunc(time.Duration(n*37%300)*time.Millisecond, cancel)
					if _, err := p.Admit(ctx, resource.Request{NoWait: n%4 == 0}); err == nil {
						served.Add(1)
					}
					cancel()
					time.Sleep(time.Duration(n*11%50+1) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		took := time.Since(begun)
		most := 100*took.Seconds() + 5
		if n := float64(served.Load()); n > most+1 || n < 0.95*most {
			t.Errorf("%v were served in %v, want nearly %.0f and not more", n, took, most)
		}
	})
}
