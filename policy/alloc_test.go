//go:build !race

// Under the race detector sync.Pool drops items at random, so allocations cannot be counted.

package policy_test

import (
	"context"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// wantNoAllocs checks that Admit and Done do not allocate.
func wantNoAllocs(t *testing.T, p resource.Admission, r resource.Request) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	turn := func() {
		done, err := p.Admit(ctx, r)
		if err != nil {
			t.Error(err)
		}
		if done != nil {
			done(ok)
		}
	}
	turn() // one-time allocations
	if n := testing.AllocsPerRun(1000, turn); n != 0 {
		t.Errorf("%v allocations per admission, want 0", n)
	}
}

func TestAllocsHelperSeesThem(t *testing.T) {
	var keep []byte
	if n := testing.AllocsPerRun(100, func() { keep = make([]byte, 64) }); n != 1 || len(keep) != 64 {
		t.Errorf("%v allocations seen, want 1", n)
	}
}

func TestAllocs(t *testing.T) {
	for name, p := range stock() {
		t.Run(name, func(t *testing.T) {
			for _, class := range []string{"", "a"} {
				for priority := range 2 {
					wantNoAllocs(t, p, resource.Request{Class: class, Priority: priority})
				}
			}
		})
	}
}

// An adapter does not allocate if the library does not.
func TestAllocsOfAdapters(t *testing.T) {
	for name, p := range map[string]resource.Admission{
		"semaphore": policy.Semaphore(make(slots, 1)),
		"rate":      policy.Rate(&bucket{size: 1 << 20, full: 1 << 20}),
		"pace":      policy.Pace(&bucket{size: 1 << 20, full: 1 << 20}),
		"throttle":  policy.Throttle(&throttlerOf0{}),
		"breaker":   policy.PermitBreaker(&throttlerOf0{}),
	} {
		t.Run(name, func(t *testing.T) { wantNoAllocs(t, p, resource.Request{}) })
	}
}

// throttlerOf0 admits everything and records nothing.
type throttlerOf0 struct{}

func (*throttlerOf0) AcquirePermit() error          { return nil }
func (*throttlerOf0) TryAcquirePermit() bool        { return true }
func (*throttlerOf0) IsHalfOpen() bool              { return false }
func (*throttlerOf0) RemainingDelay() time.Duration { return 0 }
func (*throttlerOf0) RecordSuccess()                {}
func (*throttlerOf0) RecordError(error)             {}
func (*throttlerOf0) RecordFailure()                {}

// All does not allocate either if its members return another Done each time.
func TestAllocsOfVariedDones(t *testing.T) {
	var dones [4]resource.Done
	calls := make([]int, len(dones))
	for i := range dones {
		dones[i] = func(resource.Outcome) { calls[i]++ }
	}
	next := 0
	varied := policy.AdmissionFunc(func(context.Context, resource.Request) (resource.Done, error) {
		next++
		return dones[next%len(dones)], nil
	})
	wantNoAllocs(t, policy.All(varied, varied, policy.Limit(9)), resource.Request{})
	for i, n := range calls {
		if want := next / len(dones); n < want || n > want+1 {
			t.Errorf("Done %d was called %d times, want %d or one more", i, n, want)
		}
	}
}

// A saturated WithinDeadline reads the clock and still does not allocate; neither does the
// refusal of a limit, which is frequent under overload.
func TestAllocsOverloaded(t *testing.T) {
	p := policy.WithinDeadline(1)
	admit(t, p, resource.Request{})
	wantNoAllocs(t, p, resource.Request{})

	gate := policy.NewGate()
	gate.Pause(errBoom)
	full := policy.Limit(1)
	admit(t, full, resource.Request{})
	shares := policy.Shares(1, nil)
	admit(t, shares, resource.Request{})
	for name, p := range map[string]resource.Admission{
		"limit": full, "shares": shares, "gate": gate, "all": policy.All(policy.Limit(9), full, gate),
	} {
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := p.Admit(context.Background(), resource.Request{NoWait: true}); err == nil {
				t.Error("admitted")
			}
		}); n != 0 {
			t.Errorf("%v allocations per refusal by %s, want 0", n, name)
		}
	}
}
