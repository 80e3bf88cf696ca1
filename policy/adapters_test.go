package policy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

func TestSemaphore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := make(slots, 3)
		p := policy.Semaphore(s)
		two := admit(t, p, costing(2))
		one := admit(t, p, resource.Request{NoWait: true})
		refused(t, p, resource.Request{NoWait: true}, "semaphore", policy.ErrFull, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Admit(ctx, resource.Request{}); err != context.DeadlineExceeded {
			t.Errorf("waiting ended with %v, want the context's end", err)
		}
		through := false
		go func() { admit(t, p, costing(2))(ok); through = true }()
		synctest.Wait()
		if through {
			t.Error("admitted over the size")
		}
		two(failed)
		synctest.Wait()
		if !through || len(s) != 1 {
			t.Errorf("waiting request admitted: %v; %d in use, want 1", through, len(s))
		}
		one(ignored)
		if len(s) != 0 {
			t.Errorf("%d are taken at the end", len(s))
		}
	})
}

// brokenSemaphore fails before the context ends.
type brokenSemaphore struct{ slots }

func (brokenSemaphore) Acquire(context.Context, int64) error { return errBoom }

func TestSemaphoreThatFails(t *testing.T) {
	refused(t, policy.Semaphore(brokenSemaphore{}), resource.Request{}, "semaphore", errBoom, 0)
}

func TestBreaker(t *testing.T) {
	b := &twoStep{}
	p := policy.Breaker(b, time.Minute)
	for _, o := range []resource.Outcome{ok, failed, ignored, {Verdict: resource.Failed}} {
		admit(t, p, resource.Request{})(o)
	}
	for i, want := range []error{nil, errBoom, policy.ErrIgnored} {
		if b.told[i] != want {
			t.Errorf("outcome %d was told as %v, want %v", i, b.told[i], want)
		}
	}
	if err := b.told[3]; err == nil || errors.Is(err, policy.ErrIgnored) {
		t.Errorf("a failure without an error was told as %v", err)
	}
	b.err = errBoom
	refused(t, p, resource.Request{}, "breaker", errBoom, time.Minute)
	b.err, b.silent = nil, true
	if done, err := p.Admit(t.Context(), resource.Request{}); done != nil || err != nil {
		t.Errorf("a breaker that wants to know nothing: %v", err)
	}
}

func TestPermitBreaker(t *testing.T) {
	b := &trials{}
	p := policy.PermitBreaker(b)
	for _, o := range []resource.Outcome{ok, failed, ignored, {Verdict: resource.Failed}} {
		admit(t, p, resource.Request{})(o)
	}
	if want := []string{"success", "boom", "failure"}; !slices.Equal(b.recorded, want) {
		t.Errorf("recorded %q, want %q", b.recorded, want)
	}
	b.open = true
	refused(t, p, resource.Request{}, "breaker", policy.ErrOpen, time.Minute)
}

// An ignored trial that was not recorded would keep the breaker half-open, and refusing,
// for ever.
func TestPermitBreakerTrialOfWhichNothingComes(t *testing.T) {
	b := &trials{halfOpen: true}
	p := policy.PermitBreaker(b)
	trial := admit(t, p, resource.Request{})
	refused(t, p, resource.Request{}, "breaker", policy.ErrOpen, 0)
	trial(ignored)
	if !b.open || b.halfOpen {
		t.Errorf("after a trial without an outcome: %+v, want open", b)
	}
	b.open, b.halfOpen = false, true // after its delay
	admit(t, p, resource.Request{})(ok)
	if b.open || b.halfOpen {
		t.Errorf("after a trial that went well: %+v, want closed", b)
	}
}

// An ignored request from before the breaker opened is not recorded during later trials,
// nor is an ignored trial after the breaker has closed.
func TestPermitBreakerIgnoredElsewhere(t *testing.T) {
	b := &trials{}
	p := policy.PermitBreaker(b)
	early := admit(t, p, resource.Request{})
	b.halfOpen = true
	trial := admit(t, p, resource.Request{})
	early(ignored)
	b.halfOpen = false
	trial(ignored)
	if len(b.recorded) != 0 {
		t.Errorf("recorded %q, want nothing", b.recorded)
	}
}

func TestThrottle(t *testing.T) {
	b := &throttler{}
	p := policy.Throttle(b)
	for _, o := range []resource.Outcome{ok, failed, ignored, {Verdict: resource.Failed}} {
		admit(t, p, resource.Request{})(o)
	}
	if want := []string{"success", "boom", "failure"}; !slices.Equal(b.recorded, want) {
		t.Errorf("recorded %q, want %q", b.recorded, want)
	}
	b.err = errBoom
	refused(t, p, resource.Request{}, "throttle", errBoom, 0)
}

func TestAdaptive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &adaptiveLimit{slots: make(chan struct{}, 1)}
		p := policy.Adaptive(l)
		timeout := resource.Outcome{Verdict: resource.Failed, Err: fmt.Errorf("dial: %w", resource.ErrMakeTimeout)}
		late := resource.Outcome{Verdict: resource.Failed, Err: context.DeadlineExceeded}
		for _, o := range []resource.Outcome{ok, failed, ignored, timeout, late} {
			admit(t, p, resource.Request{})(o)
		}
		if want := []string{"record", "drop", "drop", "record", "record"}; !slices.Equal(l.told, want) {
			t.Errorf("told %q, want %q", l.told, want)
		}
		done := admit(t, p, resource.Request{NoWait: true})
		refused(t, p, resource.Request{NoWait: true}, "adaptive", policy.ErrFull, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Admit(ctx, resource.Request{}); err != context.DeadlineExceeded {
			t.Errorf("waiting ended with %v, want the context's end", err)
		}
		done(ok)
		l.err = errBoom
		refused(t, p, resource.Request{}, "adaptive", errBoom, 0)
	})
}
