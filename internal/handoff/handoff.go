// Package handoff decides whether a goroutine that has just given a resource to
// a waiter lets that waiter run before it continues.
//
// The Go scheduler queues a woken goroutine next on the waker's processor. It
// runs there as soon as the waker blocks, or on another processor once an idle
// one has stolen it. A releaser that soon acquires again blocks at once, so its
// waiter is prompt without help: this is how most callers behave, and for them
// a pause in Release is a loss. A releaser that goes on computing while all
// processors are busy leaves the waiter queued, and the resource unused, for as
// long as it computes (jackc/puddle issue 46).
//
// Which of the two the callers of a pool do is observed. Most hand-offs are
// Watched: the waiter measures how long after the hand-off it runs. If waiters
// are often late, releasers pause (Pause), and every trialEvery-th hand-off is
// Watched to find out whether that is still needed. Releasers measure how long
// the pauses take, since a waiter that computes instead of blocking delays its
// releaser; if pauses are often long there are none for the next restFor
// hand-offs.
package handoff

import (
	"sync/atomic"
	"time"
)

// Mode says what to do at one hand-off.
type Mode uint8

const (
	Plain   Mode = iota // nothing
	Watched             // the waiter reports to WaiterRan
	Pause               // the releaser waits until the waiter runs and reports to Paused
)

const (
	// A delay of less than grain is not worth a pause. It is also the
	// hold from which hand-offs are observed: where holds are shorter, the clock
	// and the switch would cost more than they gain.
	grain = 50 * time.Microsecond

	// A waiter is late if the resource was unused for more than grain and for
	// more than this part of the hold before.
	lateShare = 8

	// A score rises by bad or worse, falls by one after a good observation, and
	// stays in [0, most]. So it drifts upwards if more than a third of the
	// observations are bad. It acts from high on: after four bad ones in a row,
	// or two worse ones, so that single ones, as a busy machine produces them,
	// do not act.
	bad, worse, high, most = 2, 4, 8, 10

	// A waiter that is late by more than this, though next on its processor, had
	// a releaser that computed for long, or a machine that was busy elsewhere.
	veryLate = time.Millisecond

	trialEvery = 32
	restFor    = 1024
)

// Advisor decides for one pool. The zero Advisor has observed nothing. Its
// methods may be called concurrently; observations that meet may be lost.
type Advisor struct {
	late  score        // waiters that ran late after a Watched hand-off
	long  score        // pauses that took long
	count atomic.Int32 // hand-offs since the last trial
	rest  atomic.Int32 // hand-offs until the next pause is allowed
}

// Next decides about a hand-off of a resource that was held for that long.
func (a *Advisor) Next(held time.Duration) Mode {
	switch {
	case held < grain:
		return Plain
	case !a.late.high():
		return Watched
	case a.rest.Load() > 0:
		a.rest.Add(-1)
		return Plain
	case a.count.Add(1) >= trialEvery:
		a.count.Store(0)
		return Watched
	}
	return Pause
}

// WaiterRan reports how long after a Watched hand-off of a resource that was
// held for that long its waiter ran.
func (a *Advisor) WaiterRan(after, held time.Duration) {
	points := int32(0)
	if after > max(grain, held/lateShare) {
		points = bad
		if after > veryLate {
			points = worse
		}
	}
	a.late.note(points)
}

// Paused reports how long a releaser paused.
func (a *Advisor) Paused(took time.Duration) {
	points := int32(0)
	if took > grain {
		points = bad
	}
	a.long.note(points)
	if a.long.high() {
		a.long.v.Store(0)
		a.rest.Store(restFor)
	}
}

// score says whether bad observations were frequent lately.
type score struct{ v atomic.Int32 }

func (s *score) high() bool { return s.v.Load() >= high }

func (s *score) note(points int32) {
	v := s.v.Load()
	next := max(0, v-1)
	if points > 0 {
		next = min(most, v+points)
	}
	if next != v { // usually it is 0 and stays so: then nothing is written
		s.v.Store(next)
	}
}
