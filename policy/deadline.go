package policy

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// DeadlineLimiter refuses at once those who would wait in vain. Make one with
// [WithinDeadline].
type DeadlineLimiter struct {
	serving atomic.Int64
	base    time.Time // where its clock began
	done    resource.Done

	inFlight atomic.Int64
	// since is from when on nothing has ended though all are busy: the last
	// end, or when a caller first found all busy; 0 if nobody has. While not
	// all are busy it says nothing, and who admits then clears it, so that no
	// time in which there was little to do is ever counted.
	since atomic.Int64
	mean  atomic.Uint64 // see ends
}

// WithinDeadline refuses at once, with [ErrTooLate], a caller who would have to
// wait longer than its context lasts, and tells it how long. It is for
// Config.Admission of a pool that serves so many at once (its MaxSize). It follows
// [resource.Pool.Resize] as long as serving is the pool's maximum. A request
// counts as one, whatever its Cost. Panics if serving is less than 1.
//
// While fewer than serving are in flight everybody is admitted, and no clock is
// read. Else the wait is estimated: one interval between two ends for each who
// waits, and for the caller. The interval is a mean of those that were measured
// while all were busy, over the last 2×serving ends, at least 8. For the next
// end at least as much is reckoned as has passed since the last one, so that a
// pool that hangs is noticed. Until one interval has been measured everybody is
// admitted, and so is always who has no deadline. It is an estimate: who is
// admitted may still be too late. What the deadline is held against is the wait
// and not the work after it: a caller whose deadline is for both should ask with
// a context that ends earlier by what the work takes.
//
// An end is a lease that was released or failed. Callers who left without one,
// whose outcome is Ignored, only make the queue shorter.
func WithinDeadline(serving int) *DeadlineLimiter {
	var m misuse
	m.unless(serving >= 1, "serving is %d, not at least 1", serving)
	m.report("WithinDeadline")
	l := &DeadlineLimiter{base: time.Now()}
	l.serving.Store(int64(serving))
	l.done = l.ended
	return l
}

// Resize says how many are served at once from now on. What is known of the
// intervals between two ends is scaled, and soon learnt anew. Panics if serving is
// less than 1.
func (l *DeadlineLimiter) Resize(serving int) {
	var m misuse
	m.unless(serving >= 1, "serving is %d, not at least 1", serving)
	m.report("Resize")
	l.rescale(l.serving.Swap(int64(serving)), int64(serving))
}

// FollowSize implements [resource.SizeFollower].
func (l *DeadlineLimiter) FollowSize(from, to int) {
	if to >= 1 && l.serving.CompareAndSwap(int64(from), int64(to)) {
		l.rescale(int64(from), int64(to))
	}
}

// rescale makes the mean interval what it is if to are served as fast each as
// from were, and lets what is measured next count for most of it.
func (l *DeadlineLimiter) rescale(from, to int64) {
	for {
		old := l.mean.Load()
		mean, count := ends(old)
		if count == 0 || l.mean.CompareAndSwap(old, word(mean*float64(from)/float64(to), min(count, relearnt))) {
			return
		}
	}
}

// relearnt is of how many intervals the mean is taken to be after a change of
// serving.
const relearnt = 2

// memory is how many intervals the mean looks back.
func memory(serving int64) uint32 { return uint32(min(max(8, 2*uint64(serving)), 1<<20)) }

// word packs what ends unpacks.
func word(mean float64, count uint32) uint64 {
	return uint64(math.Float32bits(float32(mean)))<<32 | uint64(count)
}

// Admit implements [resource.Admission]. It does not block.
func (l *DeadlineLimiter) Admit(ctx context.Context, _ resource.Request) (resource.Done, error) {
	var now int64
	for {
		n := l.inFlight.Load()
		serving := l.serving.Load()
		if n < serving {
			if l.since.Load() != 0 {
				l.since.Store(0) // before all are busy, when it would count
			}
			if l.inFlight.CompareAndSwap(n, n+1) {
				return l.done, nil
			}
			continue
		}
		if now == 0 {
			now = l.clock()
			l.since.CompareAndSwap(0, now)
		}
		if deadline, ok := ctx.Deadline(); ok {
			wait := l.estimate(n, serving, now)
			if wait > 0 && deadline.Sub(l.base) < time.Duration(now)+wait {
				return nil, refuse("deadline", wait, ErrTooLate)
			}
		}
		if l.inFlight.CompareAndSwap(n, n+1) {
			return l.done, nil
		}
	}
}

// InFlight returns how many were admitted and have not ended: those served and
// those who wait.
func (l *DeadlineLimiter) InFlight() int { return int(l.inFlight.Load()) }

// EstimatedWait returns how long a caller who came now would wait; 0 if it
// would not, or nothing is known.
func (l *DeadlineLimiter) EstimatedWait() time.Duration {
	n, serving := l.inFlight.Load(), l.serving.Load()
	if n < serving {
		return 0
	}
	return l.estimate(n, serving, l.clock())
}

// estimate is how long a caller waits who comes when n are in flight, at least
// serving.
func (l *DeadlineLimiter) estimate(n, serving, now int64) time.Duration {
	mean, count := ends(l.mean.Load())
	if count == 0 {
		return 0
	}
	next := mean
	if since := l.since.Load(); since != 0 {
		next = max(next, float64(now-since))
	}
	return time.Duration(min(float64(n-serving)*mean+next, math.MaxInt64/2))
}

// ended is the Done of every permit.
func (l *DeadlineLimiter) ended(o resource.Outcome) {
	left := l.inFlight.Add(-1)
	if left+1 < l.serving.Load() || o.Verdict == resource.Ignored {
		return // not all were busy, or they are as busy as before
	}
	var now int64
	for {
		since := l.since.Load()
		if since == 0 {
			return // nobody has waited
		}
		if now == 0 {
			now = l.clock()
		}
		if l.since.CompareAndSwap(since, now) {
			l.learn(max(0, now-since))
			return
		}
	}
}

// learn takes one interval, in nanoseconds, into the mean. One that is far out
// of proportion, such as the one that a whole outage is, counts for less: it
// tells nothing about the next.
func (l *DeadlineLimiter) learn(interval int64) {
	serving := l.serving.Load()
	for {
		old := l.mean.Load()
		mean, count := ends(old)
		sample := float64(interval)
		if mean > 0 {
			// Resources that work in step end all at once, and
			// serving means later all at once again: that is in proportion.
			sample = min(sample, 8*float64(serving)*mean)
		}
		count = min(count+1, memory(serving))
		mean += (sample - mean) / float64(count)
		if l.mean.CompareAndSwap(old, word(mean, count)) {
			return
		}
	}
}

// ends unpacks the mean interval between two ends, in nanoseconds, and of how
// many it is, from the one word that they are changed in.
func ends(word uint64) (mean float64, count uint32) {
	return float64(math.Float32frombits(uint32(word >> 32))), uint32(word)
}

// clock is the time since the limiter was made, and never 0.
func (l *DeadlineLimiter) clock() int64 { return max(1, int64(time.Since(l.base))) }
