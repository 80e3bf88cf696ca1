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

// Nor is its length forgotten: the delay follows from how long the outages have lasted together.
func TestUnprovedOutagesLastTogether(t *testing.T) {
	b, now := broken(t, 0), first
	for now < 20*time.Second {
		b.Failed(now, now, 0, 0)
		now += b.RetryAfter(now)
	}
	b.Made(1<<60, 16)
	for n := range 2 {
		now = time.Minute + time.Duration(n)*2*time.Second
		if began := b.Failed(now, now, 0, 0); began != (n == 0) {
			t.Fatalf("failure %d without a proof: an outage began: %t", n, began)
		}
		if got := b.RetryAfter(now); got < 1500*ms || got > 2500*ms { // an eighth of 20 s, less up to a quarter
			t.Errorf("failure %d after outages of about 20 s together: the delay is %v", n, got)
		}
	}
}

// However many outages there were, and however short, the doubling of the delay stops.
func TestManyShortOutages(t *testing.T) {
	b := broken(t, 0)
	for n := range 200 {
		state(t, b, 0, 16, true, 0, delays[min(n, len(delays)-1)]*3/4)
		b.Made(1<<60, 16)
		if !b.Failed(0, 0, 0, 0) {
			t.Fatal("a failure on the way out of an outage begins none")
		}
	}
}

// After the last step of the ramp nothing of the outage limits creations, or makes one failure an
// outage, also if the maximum grows.
func TestAfterTheRamp(t *testing.T) {
	b := broken(t, 0)
	for range 3 { // 2, 3, 4
		b.Made(1<<60, 4)
	}
	state(t, b, time.Second, 16, false, 16, 0)
	if b.Failed(time.Second, time.Second, 15, 0) {
		t.Error("one failure is an outage")
	}
	state(t, b, time.Second, 16, false, 8, 0)
	b.Made(1<<60, 16) // a success outweighs a failure, and does not add one
	state(t, b, time.Second, 16, false, 16, 0)
}

// A proof on the way out of an outage lets one failure be one failure.
func TestFailureAfterProofWhileRamping(t *testing.T) {
	b := broken(t, 0)
	b.Made(1<<60, 16)
	b.Proved()
	for range threshold - 1 {
		if b.Failed(time.Second, time.Second, 3, 0) {
			t.Error("less than three failures are an outage")
		}
	}
	if !b.Failed(time.Second, time.Second, 3, 0) {
		t.Error("three failures are no outage")
	}
	state(t, b, time.Second, 16, true, 0, first)
}

// In an outage of early deaths a creation that began before the probe was due says nothing by
// succeeding, since those that died had succeeded too; unless a resource was proved meanwhile.
func TestStaleSuccess(t *testing.T) {
	for _, proved := range []bool{false, true} {
		var b outage.Breaker
		for range threshold {
			b.FailedEarly(0, 0, 0, 0)
		}
		if proved {
			b.Proved()
		}
		state(t, &b, 0, 16, true, 0, first)
		if ended := b.Made(first-1, 16); ended != proved || b.Open() == proved {
			t.Errorf("proved %t: begun before the probe: ended %t, open %t", proved, ended, b.Open())
		}
		if ended := b.Made(first, 16); ended == proved || b.Open() {
			t.Errorf("proved %t: the probe: ended %t, open %t", proved, ended, b.Open())
		}
	}
}

// After an outage a creation that began before the last probe failed says nothing by failing.
func TestStaleFailureAfterOutage(t *testing.T) {
	for name, fail := range fails {
		t.Run(name, func(t *testing.T) {
			b := broken(t, 0)
			fail(b, 80*ms, first, 0, 0)
			b.Made(1<<60, 16)
			state(t, b, 90*ms, 16, false, 2, 0)
			if fail(b, 90*ms, 80*ms-1, 0, 0) {
				t.Error("an outage began")
			}
			state(t, b, 90*ms, 16, false, 2, 0)
			if !fail(b, 90*ms, 80*ms, 0, 0) {
				t.Error("one that began then begins no outage")
			}
		})
	}
}

// Deaths count from the first instant of the clock on.
func TestFailedEarly_FirstInstant(t *testing.T) {
	var b outage.Breaker
	b.FailedEarly(1, 1, 0, 0)
	for range threshold {
		if b.FailedEarly(2, 0, 0, 0) {
			t.Error("a resource that was begun before the first death counts")
		}
	}
}

// A proof ends that early deaths count more than successes, whatever limits creations later.
func TestProvedThenOverdue(t *testing.T) {
	var b outage.Breaker
	b.FailedEarly(0, 0, 9, 0)
	b.Proved()
	b.Overdue(7)
	state(t, &b, 0, 16, false, 4, 0)
	b.Made(1<<60, 16)
	state(t, &b, 0, 16, false, 16, 0)
}

// Successes without a proof raise the limit until there is none; then there is none.
func TestSuccessesWithoutProof(t *testing.T) {
	var b outage.Breaker
	b.FailedEarly(0, 0, 3, 0)
	for n := 3; n < 10; n++ {
		b.Made(1<<60, 4)
		state(t, &b, 0, 4, false, min(n, 4), 0)
	}
}
