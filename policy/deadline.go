package policy

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// DeadlineLimiter refuses requests that could not be served before their deadline.
// Create one with [WithinDeadline].
type DeadlineLimiter struct {
	serving atomic.Int64
	base    time.Time // origin of clock
	done    resource.Done

	inFlight atomic.Int64
	// saturatedSince is the start of the interval being measured: the time of the
	// last completion, or of the first request that found serving in flight; 0 if
	// none did. It is meaningless while fewer than serving are in flight; the next
	// request admitted then clears it, so that idle time is never measured.
	saturatedSince atomic.Int64
	mean           atomic.Uint64 // see unpackMean
}

// WithinDeadline refuses a request with [ErrTooLate], and the estimated wait as
// RetryAfter, if it would have to wait longer than its context lasts. Use it as
// Config.Admission; serving is the number of leases that the pool can have at once
// (its MaxSize). It follows [resource.Pool.Resize] as long as serving equals the
// pool's maximum. Every request counts as one, whatever its Cost. Panics if serving is
// less than 1.
//
// While fewer than serving requests are in flight every request is admitted, without
// reading the clock. Otherwise the wait is estimated as one completion interval for
// each waiting request and one for the caller. The interval is the mean of those
// measured while serving were in flight, over the last 2×serving completions, at
// least 8. The interval before the next completion is taken to be at least the time
// since the last one, so that a stalled pool is detected. Requests without a deadline
// are always admitted, and so is every request until one interval has been measured.
// It is an estimate: an admitted request may still be too late. The deadline is
// compared with the wait, not with the work after it: if the deadline covers both,
// pass a context that ends earlier by the duration of the work.
//
// A completion is a lease that was released or failed. A request that ended without
// a lease (an Ignored outcome) only shortens the queue.
func WithinDeadline(serving int) *DeadlineLimiter {
	var e argErrors
	e.require(serving >= 1, "serving must be at least 1, got %d", serving)
	e.panicIfAny("WithinDeadline")
	l := &DeadlineLimiter{base: time.Now()}
	l.serving.Store(int64(serving))
	l.done = l.finish
	return l
}

// Resize sets serving. The mean interval is scaled to the new value and then given
// little weight, so that new measurements replace it soon. Panics if serving is less
// than 1.
func (l *DeadlineLimiter) Resize(serving int) {
	var e argErrors
	e.require(serving >= 1, "serving must be at least 1, got %d", serving)
	e.panicIfAny("Resize")
	l.scaleMean(l.serving.Swap(int64(serving)), int64(serving))
}

// FollowSize implements [resource.SizeFollower].
func (l *DeadlineLimiter) FollowSize(from, to int) {
	if to >= 1 && l.serving.CompareAndSwap(int64(from), int64(to)) {
		l.scaleMean(int64(from), int64(to))
	}
}

// scaleMean scales the mean interval to a change of serving, assuming that each
// lease takes as long as before, and lowers its weight to countAfterResize.
func (l *DeadlineLimiter) scaleMean(from, to int64) {
	for {
		old := l.mean.Load()
		mean, count := unpackMean(old)
		if count == 0 || l.mean.CompareAndSwap(old, packMean(mean*float64(from)/float64(to), min(count, countAfterResize))) {
			return
		}
	}
}

// countAfterResize is the number of samples that the mean counts for after a
// resize.
const countAfterResize = 2

// window returns the number of samples over which the mean is taken.
func window(serving int64) uint32 { return uint32(min(max(8, 2*uint64(serving)), 1<<20)) }

// Admit implements [resource.Admission]. It does not block.
func (l *DeadlineLimiter) Admit(ctx context.Context, _ resource.Request) (resource.Done, error) {
	if l.done == nil {
		panic("policy: DeadlineLimiter: create one with WithinDeadline")
	}
	var now int64
	for {
		n := l.inFlight.Load()
		serving := l.serving.Load()
		if n < serving {
			if l.saturatedSince.Load() != 0 {
				l.saturatedSince.Store(0) // before saturation, when it would be measured
			}
			if l.inFlight.CompareAndSwap(n, n+1) {
				return l.done, nil
			}
			continue
		}
		if now == 0 {
			now = l.clock()
			l.saturatedSince.CompareAndSwap(0, now)
		}
		if deadline, ok := ctx.Deadline(); ok {
			wait := l.estimate(n, serving, now)
			if wait > 0 && deadline.Sub(l.base) < time.Duration(now)+wait {
				return nil, reject("deadline", wait, ErrTooLate)
			}
		}
		if l.inFlight.CompareAndSwap(n, n+1) {
			return l.done, nil
		}
	}
}

// InFlight returns the number of admitted requests that have not ended, waiting
// ones included.
func (l *DeadlineLimiter) InFlight() int { return int(l.inFlight.Load()) }

// EstimatedWait returns how long a request that arrives now would wait; 0 if it
// would not wait, or no interval has been measured.
func (l *DeadlineLimiter) EstimatedWait() time.Duration {
	n, serving := l.inFlight.Load(), l.serving.Load()
	if n < serving {
		return 0
	}
	return l.estimate(n, serving, l.clock())
}

// estimate returns the wait of a request that arrives while n >= serving are in
// flight.
func (l *DeadlineLimiter) estimate(n, serving, now int64) time.Duration {
	mean, count := unpackMean(l.mean.Load())
	if count == 0 {
		return 0
	}
	next := mean
	if since := l.saturatedSince.Load(); since != 0 {
		next = max(next, float64(now-since))
	}
	return time.Duration(min(float64(n-serving)*mean+next, math.MaxInt64/2))
}

// finish is the Done of every permit.
func (l *DeadlineLimiter) finish(o resource.Outcome) {
	left := l.inFlight.Add(-1)
	if left+1 < l.serving.Load() || o.Verdict == resource.Ignored {
		return // not saturated, or not a completion
	}
	var now int64
	for {
		since := l.saturatedSince.Load()
		if since == 0 {
			return // no request has found the pool saturated
		}
		if now == 0 {
			now = l.clock()
		}
		if l.saturatedSince.CompareAndSwap(since, now) {
			l.observe(max(0, now-since))
			return
		}
	}
}

// observe adds one interval, in nanoseconds, to the mean. An outlier, such as an
// interval that spans an outage, is capped: it does not predict the next one.
func (l *DeadlineLimiter) observe(interval int64) {
	serving := l.serving.Load()
	for {
		old := l.mean.Load()
		mean, count := unpackMean(old)
		sample := float64(interval)
		if mean > 0 {
			// Leases that run in lockstep all end at once, and then again after
			// serving mean intervals. So an interval of serving*mean is no outlier.
			sample = min(sample, 8*float64(serving)*mean)
		}
		count = min(count+1, window(serving))
		mean += (sample - mean) / float64(count)
		if l.mean.CompareAndSwap(old, packMean(mean, count)) {
			return
		}
	}
}

// packMean packs a mean interval in nanoseconds and its number of samples into one
// word, so that both change in one compare-and-swap.
func packMean(mean float64, count uint32) uint64 {
	return uint64(math.Float32bits(float32(mean)))<<32 | uint64(count)
}

// unpackMean is the inverse of packMean.
func unpackMean(word uint64) (mean float64, count uint32) {
	return float64(math.Float32frombits(uint32(word >> 32))), uint32(word)
}

// clock returns the time since the limiter was created; never 0.
func (l *DeadlineLimiter) clock() int64 { return max(1, int64(time.Since(l.base))) }
