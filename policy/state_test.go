package policy_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// wantState checks the State of p.
func wantState(t *testing.T, p any, want string) {
	t.Helper()
	s, ok := p.(resource.Stateful)
	if !ok {
		t.Fatalf("a %T has no state", p)
	}
	if got := s.State(); got != want {
		t.Errorf("%T: %q, want %q", p, got, want)
	}
}

func TestState_Limits(t *testing.T) {
	l := policy.Limit(8)
	wantState(t, l, "0 of 8 in use")
	done := admit(t, l, costing(3))
	wantState(t, l, "3 of 8 in use")
	l.Resize(2)
	wantState(t, l, "3 of 2 in use")
	done(ok)
	wantState(t, policy.BoundedQueue(2, 3), "0 of 5 in use")

	s := policy.Shares(10, map[string]int{"b": 2, "a": 3})
	admit(t, s, resource.Request{Class: "a", Cost: 4})
	admit(t, s, resource.Request{})
	wantState(t, s, "5 of 10 in use; common 2 of 5; a 4 of 3 guaranteed; b 0 of 2 guaranteed")

	r := policy.Reserve(2, 1, policy.Limit(10))
	admit(t, r, resource.Request{})
	admit(t, r, resource.Request{Priority: 1})
	wantState(t, r, "2 of 10 in use; 2 reserved for priority 1 and higher, 1 in use below")

	d := policy.WithinDeadline(2)
	admit(t, d, resource.Request{})
	wantState(t, d, "1 in flight, 2 served at once")
}

// A state is short, even with many classes and long names.
func TestState_ManyClasses(t *testing.T) {
	classes := map[string]int{}
	for i := range 100 {
		classes[fmt.Sprintf("%03d%s", i, strings.Repeat("x", 1000))] = 1
	}
	got := policy.Shares(100, classes).State()
	if len(got) > 2000 || !strings.HasSuffix(got, "; 84 more classes") || !strings.Contains(got, "; 015x") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

// gaugedBucket reports its tokens, like x/time/rate.
type gaugedBucket struct {
	bucket
	tokens float64
}

func (b *gaugedBucket) Tokens() float64 { return b.tokens }
func (b *gaugedBucket) Burst() int      { return b.size }

func TestState_Rate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wantState(t, policy.Rate(&bucket{size: 1}), "")
		wantState(t, policy.Rate(&gaugedBucket{bucket{size: 4}, 2.5}), "2.5 of 4 tokens")
		wantState(t, policy.Rate(&gaugedBucket{bucket{size: 4}, math.Inf(1)}), "")
		b := &gaugedBucket{bucket: bucket{size: 1, full: 1, every: time.Second}, tokens: -1}
		p := policy.Pace(b)
		for range 3 {
			go func() {
				if _, err := p.Admit(t.Context(), resource.Request{}); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		wantState(t, p, "-1.0 of 1 tokens; 2 waiting")
		time.Sleep(time.Minute)
		wantState(t, p, "-1.0 of 1 tokens; 0 waiting")
	})
}

func TestState_Breakers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		two := &twoStep{}
		p := policy.Breaker(two, time.Minute)
		wantState(t, p, "admitting")
		two.err = errBoom
		for range 2 {
			refused(t, p, resource.Request{}, "breaker", errBoom, time.Minute)
			time.Sleep(1234 * time.Millisecond)
		}
		wantState(t, p, "refusing for 2.5s")
		two.err = nil
		admit(t, p, resource.Request{})
		wantState(t, p, "admitting")

		b := &trials{}
		p = policy.PermitBreaker(b)
		wantState(t, p, "closed")
		b.open = true
		wantState(t, p, "open for another 1m0s")
		b.open, b.halfOpen = false, true
		wantState(t, p, "half-open")
	})
}

// gaugedThrottler and gaugedAdaptive report their state, like those of failsafe-go.
type gaugedThrottler struct{ throttler }

func (*gaugedThrottler) RejectionRate() float64 { return 0.123 }

// closedThrottler refuses everything.
type closedThrottler struct{ throttler }

func (*closedThrottler) RejectionRate() float64 { return 1 }

type gaugedAdaptive struct{ adaptiveLimit }

func (*gaugedAdaptive) Limit() int    { return 9 }
func (*gaugedAdaptive) Inflight() int { return 4 }
func (*gaugedAdaptive) Queued() int   { return 2 }

func TestState_Adaptive(t *testing.T) {
	wantState(t, policy.Throttle(&throttler{}), "")
	wantState(t, policy.Throttle(&gaugedThrottler{}), "refusing 12%")
	wantState(t, policy.Throttle(&closedThrottler{}), "refusing 100%")
	wantState(t, policy.Adaptive(&adaptiveLimit{}), "")
	wantState(t, policy.Adaptive(&gaugedAdaptive{}), "4 of 9 in use, 2 waiting")
}

func TestState_Gate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := policy.NewGate()
		wantState(t, g, "open")
		g.Pause(errBoom)
		time.Sleep(1500 * time.Microsecond)
		wantState(t, g, "paused for 1.5ms")
		g.Pause(nil) // it stayed paused
		time.Sleep(time.Hour)
		wantState(t, g, "paused for 1h0m0s")
		g.Resume()
		wantState(t, g, "open")
	})
}

func TestState_MakeGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, err := policy.NewMakeGate(policy.MakeGateConfig{Concurrent: 3, InitialBackoff: time.Second, Jitter: 1e-9})
		if err != nil {
			t.Fatal(err)
		}
		wantState(t, g, "open; 0 of 3 creations running, 0 waiting")
		one, two, three := admit(t, g, resource.Request{}), admit(t, g, resource.Request{}), admit(t, g, resource.Request{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if _, err := g.Admit(ctx, resource.Request{}); !errors.Is(err, context.Canceled) {
				t.Errorf("waiting ended with %v", err)
			}
		}()
		synctest.Wait()
		wantState(t, g, "open; 3 of 3 creations running, 1 waiting")
		cancel()
		synctest.Wait()
		one(failed)
		two(failed)
		wantState(t, g, "creation failing, closed for another 1s; 1 of 3 creations running, 0 waiting")
		time.Sleep(2 * time.Second)
		wantState(t, g, "creation failing, probe due; 1 of 3 creations running, 0 waiting")
		prober := admit(t, g, resource.Request{})
		wantState(t, g, "creation failing, probe running; 2 of 3 creations running, 0 waiting")
		prober(ok)
		three(ok)
		wantState(t, g, "opening, limit 2; 0 of 3 creations running, 0 waiting")
	})
}

func TestState_Queues(t *testing.T) {
	waiters := []*resource.Waiter{{}, {Since: 1}, {Since: 2}}
	for name, q := range map[string]resource.Queue{
		"0 waiting": policy.Priority(time.Second), "0 waiting, oldest first": policy.CoDel(time.Second, time.Minute),
	} {
		wantState(t, q, name)
		for _, w := range waiters {
			q.Push(w, w.Since)
		}
		wantState(t, q, strings.Replace(name, "0", "3", 1))
		q.Remove(waiters[1])
		wantState(t, q, strings.Replace(name, "0", "2", 1))
		if w, err := q.Pop(3); w == nil || err != nil {
			t.Errorf("Pop: %v, %v", w, err)
		}
		wantState(t, q, strings.Replace(name, "0", "1", 1))
	}
	q := policy.CoDel(time.Millisecond, 10*time.Millisecond)
	for i := range 100 {
		q.Push(&resource.Waiter{}, 0)
		if i >= 50 {
			if _, err := q.Pop(time.Duration(i) * time.Millisecond); err != nil && !errors.Is(err, policy.ErrOverloaded) {
				t.Error(err)
			}
		}
	}
	wantState(t, q, "50 waiting, overloaded, newest first")
}

// State may be called during the methods of the queue (checked by the race detector).
func TestState_QueuesWhileTheyWork(t *testing.T) {
	for _, q := range []resource.Queue{policy.Priority(time.Second), policy.CoDel(time.Millisecond, 10*time.Millisecond)} {
		var asking sync.WaitGroup
		over := make(chan struct{})
		asking.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					if !strings.Contains(q.(resource.Stateful).State(), "waiting") {
						t.Error("no state")
					}
				}
			}
		})
		for i := range 1000 {
			now := time.Duration(i) * time.Millisecond
			w := &resource.Waiter{Since: now}
			q.Push(w, now)
			q.Push(&resource.Waiter{Since: now}, now)
			q.Remove(w)
			if i%3 == 0 {
				q.Pop(now)
			}
		}
		close(over)
		asking.Wait()
	}
}

// Combinators join the states of their members.
func TestState_Composed(t *testing.T) {
	some := policy.AdmissionFunc(func(context.Context, resource.Request) (resource.Done, error) { return nil, nil })
	wantState(t, policy.All(policy.Limit(2), some, policy.NewGate()), "0 of 2 in use; open")
	wantState(t, policy.Any(policy.Limit(2), some, policy.Limit(3)), "0 of 2 in use, or 0 of 3 in use")
	wantState(t, policy.Named("mine", policy.Limit(2)), "mine: 0 of 2 in use")
	wantState(t, policy.Named("mine", some), "mine")
	wantState(t, policy.Reserve(1, 1, policy.Shares(3, nil)), "0 of 3 in use; common 0 of 3; 1 reserved for priority 1 and higher, 0 in use below")
}

func TestState_Health(t *testing.T) {
	sick := true
	h := policy.Check(func(context.Context, int) error {
		if sick {
			return errBoom
		}
		return nil
	})
	c := policy.Cohort(policy.IfIdle(time.Minute, h))
	wantState(t, c, "no suspects")
	if err := c.Check(t.Context(), 1, resource.Info{ID: 7}); err != errBoom {
		t.Error(err)
	}
	sick = false
	if err := c.Check(t.Context(), 1, resource.Info{ID: 5}); err != nil {
		t.Error(err)
	}
	const want = "suspects: IDs up to 7 except 1 that passed"
	wantState(t, c, want)
	wantState(t, policy.CheckTimeout(time.Second, policy.Consecutive(2, policy.IfIdle(time.Second, resource.Health[int](c)))), want)
	wantState(t, policy.IfIdle(time.Minute, h), "")
}

// The states of evictions, as shown on the live page: their limits, in any combination.
func TestState_Evictions(t *testing.T) {
	for want, e := range map[string]resource.Eviction{
		"age 58m0s, up to 10% less":                      policy.MaxAge(58*time.Minute, 0.1),
		"99 leases, up to 100% less":                     policy.MaxLeases(99, 1),
		"idle 30µs":                                      policy.MaxIdle(30 * time.Microsecond),
		"1000 leases":                                    policy.MaxLeases(1000, 0),
		"idle 5m0s, or 3 leases, up to 50% less":         policy.AnyOf(policy.MaxIdle(5*time.Minute), policy.MaxLeases(3, 0.5)),
		"idle 1m0s while more than 2 idle, and age 1.5s": policy.AllOf(policy.SoftIdle(time.Minute, 2), policy.MaxAge(1500*time.Millisecond, 0)),
		"while more than 4 idle; idle 1m0s":              policy.Protect(4, policy.MaxIdle(time.Minute)),
		"30s earlier; age 1h0m0s":                        policy.MinRemaining(30*time.Second, policy.MaxAge(time.Hour, 0)),
	} {
		if got := e.(resource.Stateful).State(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
