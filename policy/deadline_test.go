package policy_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// within calls Admit with a deadline after d.
func within(t *testing.T, p resource.Admission, left time.Duration) (resource.Done, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), left)
	defer cancel()
	return p.Admit(ctx, resource.Request{})
}

// wantWait checks EstimatedWait, and that a request with slightly less time is refused with
// it as RetryAfter and one with that much time is admitted.
func wantWait(t *testing.T, p *policy.DeadlineLimiter, want time.Duration) {
	t.Helper()
	got := p.EstimatedWait()
	if off := (got - want).Abs(); off > want/1e6 { // the mean has a precision of 24 bits
		t.Errorf("the estimated wait is %v, want %v", got, want)
		return
	}
	want = got
	if want > 0 {
		_, err := within(t, p, want-1)
		if err == nil {
			t.Errorf("admitted to wait %v with less left", want)
			return
		}
		isRefusal(t, err, "deadline", policy.ErrTooLate, want)
	}
	done, err := within(t, p, max(want, 1))
	if err != nil {
		t.Errorf("refused with enough left: %v", err)
		return
	}
	done(ignored)
}

// busy admits n requests, and one more that finds the pool saturated.
func busy(t *testing.T, p *policy.DeadlineLimiter, n int) (dones []resource.Done) {
	t.Helper()
	for range n {
		dones = append(dones, admit(t, p, resource.Request{}))
	}
	admit(t, p, resource.Request{})(ignored)
	return dones
}

func TestWithinDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy.WithinDeadline(1)
		served := busy(t, p, 1)[0]
		wantInFlight(t, p, 1)
		wantWait(t, p, 0) // no interval measured: every request is admitted
		next := admit(t, p, resource.Request{})
		time.Sleep(100 * time.Millisecond)
		wantWait(t, p, 0)
		served(ok) // one completion, 100ms after saturation
		wantWait(t, p, 100*time.Millisecond)
		third := admit(t, p, resource.Request{})
		wantWait(t, p, 200*time.Millisecond)
		time.Sleep(100 * time.Millisecond)
		next(failed) // a failure is a completion too
		wantWait(t, p, 100*time.Millisecond)
		third(ok)
		if wait := p.EstimatedWait(); wait != 0 {
			t.Errorf("idle, and yet one would wait %v", wait)
		}
		if _, err := within(t, p, 1); err != nil {
			t.Errorf("idle, and yet refused: %v", err)
		}
	})
}

// A request without a deadline is always admitted; one whose deadline has passed is refused
// only if a wait is known.
func TestWithinDeadlineWithoutOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy.WithinDeadline(1)
		served := busy(t, p, 1)[0]
		if _, err := within(t, p, -time.Second); err != nil {
			t.Errorf("nothing is known, and yet: %v", err)
		}
		time.Sleep(time.Second)
		served(ok)
		if _, err := within(t, p, 10*time.Millisecond); err == nil {
			t.Error("admitted to wait in vain")
		}
		past, cancel := context.WithDeadline(t.Context(), time.Time{})
		defer cancel()
		if _, err := p.Admit(past, resource.Request{}); err == nil {
			t.Error("admitted, with a deadline so long ago that no Duration holds it")
		}
		admit(t, p, resource.Request{})
	})
}

// Ignored outcomes are not completions: they only shorten the queue and thus the estimate.
func TestWithinDeadlineCallersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy.WithinDeadline(1)
		served := busy(t, p, 1)[0]
		time.Sleep(100 * time.Millisecond)
		second := admit(t, p, resource.Request{})
		served(ok)
		var waiting []resource.Done
		for range 9 {
			waiting = append(waiting, admit(t, p, resource.Request{}))
		}
		wantWait(t, p, time.Second)
		time.Sleep(50 * time.Millisecond)
		for _, done := range waiting {
			done(ignored)
		}
		wantWait(t, p, 100*time.Millisecond)
		time.Sleep(50 * time.Millisecond)
		second(ok)
		second = busy(t, p, 1)[0]
		wantWait(t, p, 100*time.Millisecond)
		second(ignored) // the last one: nothing is in flight
		time.Sleep(time.Hour)
		second = busy(t, p, 1)[0]
		wantWait(t, p, 100*time.Millisecond)
		second(ok)
	})
}

// Without completions the estimate grows with the time since the last one; the first
// completion after an outage nearly restores it.
func TestWithinDeadlineOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy.WithinDeadline(1)
		out := busy(t, p, 1)
		step := func(d time.Duration) {
			time.Sleep(d)
			out = append(out, admit(t, p, resource.Request{}))
			out[0](ok)
			out = out[1:]
		}
		for range 20 {
			step(10 * time.Millisecond)
		}
		wantWait(t, p, 10*time.Millisecond)
		time.Sleep(20 * time.Millisecond)
		wantWait(t, p, 20*time.Millisecond)
		second := admit(t, p, resource.Request{})
		wantWait(t, p, 30*time.Millisecond)
		second(ignored)
		time.Sleep(time.Minute)
		wantWait(t, p, time.Minute+20*time.Millisecond)
		step(0)
		if wait := p.EstimatedWait(); wait > 20*time.Millisecond {
			t.Errorf("after the outage %v, want at most twice what it was", wait)
		}
		for range 40 {
			step(10 * time.Millisecond)
		}
		if wait := p.EstimatedWait(); wait > 11*time.Millisecond {
			t.Errorf("40 ends after the outage %v, want about 10ms", wait)
		}
		// A permanent slowdown is still learned soon.
		for range 30 {
			step(time.Second)
		}
		if wait := p.EstimatedWait(); wait < 900*time.Millisecond || wait > time.Second {
			t.Errorf("30 ends after it became slow %v, want about 1s", wait)
		}
	})
}

// Time without saturation is not measured.
func TestWithinDeadlineIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy.WithinDeadline(2)
		for round := range 30 {
			out := busy(t, p, 2)
			time.Sleep(10 * time.Millisecond)
			third := admit(t, p, resource.Request{})
			out[0](ok) // 10ms after saturation
			wantWait(t, p, 10*time.Millisecond)
			if round%2 == 0 {
				time.Sleep(10 * time.Millisecond)
				out[1](ok)            // again
				time.Sleep(time.Hour) // one in flight
			} else {
				out[1](ignored) // not a completion
			}
			third(ok)
			time.Sleep(time.Hour) // none in flight
		}
		// Saturated, but no request arrived that would have read the clock.
		out := []resource.Done{admit(t, p, resource.Request{}), admit(t, p, resource.Request{})}
		time.Sleep(time.Hour)
		out[0](ok)
		out[1](ok)
		out = busy(t, p, 2)
		wantWait(t, p, 10*time.Millisecond)
		out[0](ok)
		out[1](ok)
	})
}

// It learns that completions are faster again although it refuses requests meanwhile: the
// admitted ones complete too.
func TestWithinDeadlineLearnsWhileItRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy.WithinDeadline(2)
		out := busy(t, p, 2)
		for range 20 {
			time.Sleep(time.Second)
			out = append(out, admit(t, p, resource.Request{}))
			out[0](ok)
			out = out[1:]
		}
		wantWait(t, p, time.Second)
		out[0](ok)
		out[1](ok)
		for round := range 60 {
			one, two := admit(t, p, resource.Request{}), admit(t, p, resource.Request{})
			if _, err := within(t, p, 50*time.Millisecond); err == nil {
				if round < 5 {
					t.Errorf("admitted in round %d already", round)
				}
				return
			}
			time.Sleep(10 * time.Millisecond)
			one(ok)
			two(ok)
		}
		t.Error("refused still after 60 rounds of 10ms")
	})
}

// Leases that run in lockstep complete all at once: the mean over a round is correct.
func TestWithinDeadlineInStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const serving = 10
		p := policy.WithinDeadline(serving)
		out := busy(t, p, serving)
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			for range serving {
				out = append(out, admit(t, p, resource.Request{}))
				out[0](ok)
				out = out[1:]
			}
		}
		if wait := p.EstimatedWait(); wait < 6*time.Millisecond || wait > 10*time.Millisecond {
			t.Errorf("the interval is %v, want about 10ms", wait)
		}
	})
}

// crowd simulates a pool in virtual time: servers, and callers that wait for one until their
// deadline.
type crowd struct {
	p       resource.Admission
	servers chan struct{}
	service func() time.Duration
	patient time.Duration

	mu      sync.Mutex
	refused int
	late    int // admitted and not served in time
	served  int
}

func (c *crowd) call(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.patient)
	defer cancel()
	done, err := c.p.Admit(ctx, resource.Request{})
	if err != nil {
		c.count(&c.refused)
		return
	}
	select {
	case c.servers <- struct{}{}:
		time.Sleep(c.service())
		<-c.servers
		done(ok)
		c.count(&c.served)
	case <-ctx.Done():
		done(ignored)
		c.count(&c.late)
	}
}

func (c *crowd) count(n *int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*n++
}

// run generates callers for a time and returns their results.
func (c *crowd) run(ctx context.Context, wg *sync.WaitGroup, d, every time.Duration) (served, refused, late int) {
	c.mu.Lock()
	c.served, c.refused, c.late = 0, 0, 0
	c.mu.Unlock()
	for begun := time.Now(); time.Since(begun) < d; time.Sleep(every) {
		wg.Go(func() { c.call(ctx) })
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.served, c.refused, c.late
}

// At three times the capacity of ten no capacity is lost and most admitted callers are
// served in time (near the estimate it is a matter of chance; without the policy two of
// three are late). Both hold again soon after half a minute without completions.
func TestWithinDeadlineSimulation(t *testing.T) {
	seed := newSeed(t)
	synctest.Test(t, func(t *testing.T) {
		const serving = 10
		rnd := rand.New(rand.NewPCG(seed, 0))
		var mu sync.Mutex
		var until time.Time // no completion before
		c := &crowd{p: policy.WithinDeadline(serving), servers: make(chan struct{}, serving), patient: 500 * time.Millisecond}
		c.service = func() time.Duration {
			mu.Lock()
			defer mu.Unlock()
			d := time.Duration(rnd.ExpFloat64() * float64(100*time.Millisecond))
			return max(d, time.Until(until)+d/2)
		}
		var wg sync.WaitGroup
		const every = 10*time.Millisecond/3 + 7
		check := func(when string, capacity, served, refused, late int) {
			t.Logf("%s: %d served of %d possible, %d refused, %d late", when, served, capacity, refused, late)
			if served < capacity*85/100 || late > served*30/100 || refused == 0 {
				t.Errorf("%s: %d served of %d possible, %d refused, %d late", when, served, capacity, refused, late)
			}
		}
		c.run(t.Context(), &wg, 5*time.Second, every)
		served, refused, late := c.run(t.Context(), &wg, 30*time.Second, every)
		check("overloaded", 3000, served, refused, late)

		mu.Lock()
		until = time.Now().Add(30 * time.Second)
		mu.Unlock()
		served, refused, late = c.run(t.Context(), &wg, 30*time.Second, every)
		t.Logf("outage: %d served, %d refused, %d late", served, refused, late)
		if late > 400 || refused < 8000 {
			t.Errorf("during the outage %d waited in vain and %d were refused at once", late, refused)
		}
		c.run(t.Context(), &wg, time.Second, every)
		served, refused, late = c.run(t.Context(), &wg, 10*time.Second, every)
		check("a second after the outage", 1000, served, refused, late)

		time.Sleep(time.Hour)
		if served, refused, late = c.run(t.Context(), &wg, 10*time.Second, 15*time.Millisecond); refused > served/20 || late > served/20 {
			t.Errorf("under little load after an hour: %d served, %d refused, %d late", served, refused, late)
		}
		wg.Wait()
	})
}

// Concurrent use: no permit is lost, and intervals of concurrent requests are not mixed up.
func TestWithinDeadlineConcurrent(t *testing.T) {
	p := policy.WithinDeadline(3)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5000 {
				done, err := p.Admit(ctx, resource.Request{})
				if err != nil {
					t.Error(err)
					return
				}
				done([]resource.Outcome{ok, failed, ignored}[i%3])
			}
		})
	}
	wg.Wait()
	wantInFlight(t, p, 0)
}

// What was measured before a resize counts as two measurements after it, scaled.
func TestWithinDeadline_ResizeForgets(t *testing.T) {
	for name, resize := range map[string]func(p *policy.DeadlineLimiter){
		"Resize":     func(p *policy.DeadlineLimiter) { p.Resize(2) },
		"FollowSize": func(p *policy.DeadlineLimiter) { p.FollowSize(1, 2) },
	} {
		for _, measured := range []int{1, 2, 30} {
			t.Run(fmt.Sprint(name, " after ", measured), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := policy.WithinDeadline(1)
					dones := busy(t, p, 2)
					for range measured {
						time.Sleep(time.Second) // in the bubble
						dones[0](ok)
						dones = append(dones[1:], admit(t, p, resource.Request{}))
					}
					wantWait(t, p, 2*time.Second)
					resize(p)
					wantWait(t, p, 500*time.Millisecond)
					time.Sleep(2 * time.Second) // in the bubble
					dones[0](ok)
					admit(t, p, resource.Request{})
					weight := min(measured, 2)
					wantWait(t, p, (time.Duration(weight)*500*time.Millisecond+2*time.Second)/time.Duration(weight+1))
				})
			})
		}
	}
}
