package policies_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/adaptivethrottler"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// Session represents a resource that is slow to make.
type Session struct{ n int }

// sessions is a Make that numbers the sessions, and fails while down.
type sessions struct {
	n    int
	down error
}

func (s *sessions) dial(context.Context) (*Session, error) {
	if s.down != nil {
		return nil, s.down
	}
	s.n++
	return &Session{s.n}, nil
}

// tell prints whether an acquire got a lease, and if not, which policy refused.
func tell(l resource.Lease[*Session], err error) resource.Lease[*Session] {
	var refusal *resource.Rejection
	switch {
	case err == nil:
		fmt.Println("session", l.Value().n)
	case errors.As(err, &refusal) && refusal.RetryAfter > 0:
		fmt.Printf("%v; again in %v\n", refusal, refusal.RetryAfter.Round(100*time.Millisecond))
	case refusal != nil:
		fmt.Println(refusal)
	default:
		fmt.Println(err)
	}
	return l
}

// A pool with limits for callers, dials and failures.
func Example() {
	server := &sessions{}
	pool, err := resource.New(resource.Config[*Session]{
		Make:    server.dial,
		MaxSize: 1,
		// One caller is served, one more may wait; others are refused immediately.
		Admission: policy.BoundedQueue(1, 1),
		MakeGate: policy.All(
			policy.Semaphore(semaphore.NewWeighted(4)),               // concurrent dials: waits, and can be undone
			policy.Rate(rate.NewLimiter(rate.Every(time.Minute), 2)), // a token cannot be returned
			policy.Breaker(gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
				Timeout:    time.Minute,
				IsExcluded: func(err error) bool { return errors.Is(err, policy.ErrIgnored) },
			}), time.Minute),
		),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close too, in case of a leaked lease
	defer cancel()
	defer pool.Close(ctx)

	first := tell(pool.Acquire(ctx))
	waits := make(chan resource.Lease[*Session])
	go func() {
		l, _ := pool.Acquire(ctx)
		waits <- l
	}()
	for pool.Stats().Waiting == 0 {
		time.Sleep(time.Millisecond) // polls: Acquire has no event for it
	}
	tell(pool.Acquire(ctx))
	first.Release()
	second := <-waits
	tell(second, nil).Release()

	// Output:
	// session 1
	// rejected by queue: policy: limit reached
	// session 1
}

// Rate refuses requests over the rate, with the time until the next token. As a MakeGate it
// bounds the dials per minute: the pool tries again at that time, and callers wait for a
// release meanwhile.
func ExampleRate() {
	p := policy.Rate(rate.NewLimiter(rate.Every(time.Hour), 1))
	for range 2 {
		_, err := p.Admit(context.Background(), resource.Request{})
		var refusal *resource.Rejection
		if errors.As(err, &refusal) {
			fmt.Println(err, "- again in", refusal.RetryAfter.Round(time.Minute))
		} else {
			fmt.Println(err)
		}
	}
	// Output:
	// <nil>
	// rejected by rate: policy: rate limit exceeded - again in 1h0m0s
}

// Pace waits for a token, but refuses immediately if the token would be available only after
// the caller's deadline.
func ExamplePace() {
	p := policy.Pace(rate.NewLimiter(rate.Every(10*time.Millisecond), 1))
	for range 3 {
		_, err := p.Admit(context.Background(), resource.Request{})
		fmt.Println(err)
	}

	slow := policy.Pace(rate.NewLimiter(rate.Every(time.Hour), 1))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for range 2 {
		_, err := slow.Admit(ctx, resource.Request{})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// <nil>
	// rejected by pace: policy: cannot be served before the deadline
}

// Semaphore shares one limit with code outside the pool.
func ExampleSemaphore() {
	memory := semaphore.NewWeighted(100) // for example MiB
	p := policy.Semaphore(memory)

	done, err := p.Admit(context.Background(), resource.Request{Cost: 80})
	fmt.Println(err, memory.TryAcquire(30))
	_, err = p.Admit(context.Background(), resource.Request{Cost: 30, NoWait: true})
	fmt.Println(err)
	done(resource.Outcome{})
	fmt.Println(memory.TryAcquire(100))
	// Output:
	// <nil> false
	// rejected by semaphore: policy: limit reached
	// true
}

// A breaker as MakeGate: after two failed dials there are no more for a minute.
func ExampleBreaker() {
	b := gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Timeout:     time.Minute,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 2 },
		IsExcluded:  func(err error) bool { return errors.Is(err, policy.ErrIgnored) },
	})
	server := &sessions{down: errors.New("connection refused")}
	pool, err := resource.New(resource.Config[*Session]{
		Make: server.dial, MaxSize: 1, MakeGate: policy.Breaker(b, time.Minute),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close too, in case of a leaked lease
	defer cancel()
	defer pool.Close(ctx)

	for b.State() == gobreaker.StateClosed {
		_, err = pool.Acquire(ctx)
	}
	fmt.Println(errors.Is(err, server.down), b.State())
	// Output:
	// true open
}

// The breaker of failsafe-go reports how long it stays open.
func ExamplePermitBreaker() {
	b := circuitbreaker.NewBuilder[any]().WithFailureThreshold(1).WithDelay(time.Hour).Build()
	p := policy.PermitBreaker(b)

	done, err := p.Admit(context.Background(), resource.Request{})
	fmt.Println(err)
	done(resource.Outcome{Verdict: resource.Failed, Err: errors.New("connection refused")})

	_, err = p.Admit(context.Background(), resource.Request{})
	var refusal *resource.Rejection
	if errors.As(err, &refusal) {
		fmt.Println(err, "- again in", refusal.RetryAfter.Round(time.Minute))
	}
	// Output:
	// <nil>
	// rejected by breaker: policy: circuit breaker is open - again in 1h0m0s
}

// A throttler refuses a share of the requests that grows with the failure rate.
func ExampleThrottle() {
	p := policy.Throttle(adaptivethrottler.NewBuilder[any]().
		WithFailureRateThreshold(.5, 10, time.Minute).WithMaxRejectionRate(1).Build())
	refused := 0
	for range 1000 {
		done, err := p.Admit(context.Background(), resource.Request{})
		if errors.Is(err, adaptivethrottler.ErrExceeded) {
			refused++
			continue
		}
		done(resource.Outcome{Verdict: resource.Failed, Err: errors.New("unavailable")})
	}
	fmt.Println("most are refused:", refused > 800)
	// Output:
	// most are refused: true
}

// An adaptive limiter bounds the dials by their latency. It should be a MakeGate: see
// policy.Adaptive for the reason.
func ExampleAdaptive() {
	server := &sessions{}
	pool, err := resource.New(resource.Config[*Session]{
		Make: server.dial, MaxSize: 100,
		MakeGate: policy.Adaptive(adaptivelimiter.NewBuilder[any]().WithLimits(1, 20, 4).Build()),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close too, in case of a leaked lease
	defer cancel()
	defer pool.Close(ctx)
	tell(pool.Acquire(ctx)).Release()
	// Output:
	// session 1
}
