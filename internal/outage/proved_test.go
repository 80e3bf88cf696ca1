package outage_test

import (
	"testing"
	"time"

	"github.com/respool/respool/internal/outage"
)

// A server that accepts and hangs up: every make succeeds, and dies.
func TestFailedEarlyIsNotOutweighed(t *testing.T) {
	for _, size := range []int{1, 16} {
		b, now := new(outage.Breaker), time.Duration(0)
		for n := 1; n < threshold; n++ {
			b.Made(1<<60, size)
			if b.FailedEarly(now, now, 0, 0) {
				t.Fatalf("size %d: death %d began an outage", size, n)
			}
			state(t, b, now, size, false, 1, 0)
		}
		for n, whole := range earlyDelays {
			b.Made(1<<60, size)
			if !b.FailedEarly(now, now, 0, 0) {
				t.Errorf("size %d: death %d began no outage", size, threshold+n)
			}
			state(t, b, now, size, true, 0, whole-whole/4)
			now += whole - whole/4
		}
		b.Made(1<<60, size)
		b.Proved()
		for range size {
			b.Made(1<<60, size)
		}
		b.Proved()
		well(t, b, now)
	}
}

// A success adds one to the weight that an early failure has halved; a proof brings all back.
func TestMadeAfterFailedEarly(t *testing.T) {
	var b outage.Breaker
	b.FailedEarly(0, 0, 15, 0)
	b.Made(1<<60, 16)
	state(t, &b, 0, 16, false, 9, 0) // one more than the half
	b.Proved()
	state(t, &b, 0, 16, false, 16, 0)
}

func TestFailedEarlyThenFailed(t *testing.T) {
	var b outage.Breaker
	b.FailedEarly(0, 0, 9, 0)
	b.Failed(0, 0, 8, 0) // a failure that a success outweighs
	b.Made(1<<60, 16)
	state(t, &b, 0, 16, false, 16, 0)
	well(t, &b, 0)
}

func TestProved(t *testing.T) {
	var b outage.Breaker
	b.FailedEarly(0, 0, 9, 0)
	b.FailedEarly(0, 0, 8, 0)
	b.Proved()
	well(t, &b, 0)

	b.Proved() // says nothing about an outage
	state(t, &b, 1, 16, true, 0, first-1)
	b.Made(1<<60, 16)
	b.Proved() // nor on the way out of one
	state(t, &b, 1, 16, false, 2, 0)
	for range 14 {
		b.Made(1<<60, 16)
	}
	b.Proved()
	well(t, &b, time.Hour)
}

// A proof on the way out of an outage of early failures lets successes count again.
func TestProofWhileRamping(t *testing.T) {
	var b outage.Breaker
	for range threshold {
		b.FailedEarly(0, 0, 0, 0)
	}
	b.Made(1<<60, 16)
	b.Proved()
	for range 14 {
		b.Made(1<<60, 16)
	}
	state(t, &b, time.Hour, 16, false, 16, 0)
	if b.Failed(time.Hour, time.Hour, 1, 0) || b.Failed(time.Hour, time.Hour, 0, 0) {
		t.Error("an outage of two failures")
	}
}

// Without proof the next outage goes on where the last one ended.
func TestUnprovedOutagesAddUp(t *testing.T) {
	b := broken(t, 0)
	for range 15 {
		b.Made(1<<60, 16)
	}
	state(t, b, time.Hour, 16, false, 16, 0)
	for range threshold {
		b.Failed(time.Hour, time.Hour, 0, 0)
	}
	state(t, b, time.Hour, 16, true, 0, 2*first)
}
