package policy

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"github.com/respool/respool/resource"
)

// ShareLimiter divides a limit between classes of requests. Create one with
// [Shares].
type ShareLimiter struct {
	guaranteed int64        // sum of the guarantees
	common     atomic.Int64 // units without a guarantee, open to every class
	borrowed   counter      // common units in use
	classes    map[string]*share
	others     *share // all classes without a guarantee
	unnamed    *share // that of the Class "", which is one of these
	errFull    error

	mu    sync.Mutex // guards total and serializes changes of common
	total int        // as requested; the effective limit is at least the sum of the guarantees
}

// share is the state of one class.
type share struct {
	limiter    *ShareLimiter
	guaranteed int64
	used       counter // units of the class in flight, those above guaranteed are borrowed; 0 in others, which only borrows
	releaseOne resource.Done
}

// Shares admits at most total units at once and guarantees some of them to classes,
// by [resource.Request.Class]. The rest, the common part, is open to every class. A
// class uses its guarantee first and returns common units first, so its guarantee is
// available whatever other classes request, and a class with room in its own
// guarantee holds no common units. A class without a guarantee uses the common part
// alone. One request may use both parts.
//
// It follows [resource.Pool.Resize] as long as total equals the pool's maximum: total
// becomes the new maximum, and the guarantees stay.
//
// Requests over the limit are refused with [ErrFull], and those that could never fit
// with [ErrCost]. Panics if total or a guarantee is less than 1, or the sum of the
// guarantees exceeds total.
func Shares(total int, guaranteed map[string]int) *ShareLimiter {
	var e argErrors
	e.require(total >= 1, "total must be at least 1, got %d", total)
	sum := 0
	for class, n := range guaranteed {
		e.require(n >= 1, "the guarantee of %q must be at least 1, got %d", class, n)
		sum += min(max(n, 0), math.MaxInt-sum)
	}
	e.require(sum <= max(total, 0), "the sum of the guarantees must be at most total %d, got %d", total, sum)
	e.panicIfAny("Shares")

	l := &ShareLimiter{
		guaranteed: int64(sum), total: total,
		classes: make(map[string]*share, len(guaranteed)), errFull: reject("shares", 0, ErrFull),
	}
	l.common.Store(int64(total - sum))
	l.others = l.newShare(0)
	for class, n := range guaranteed {
		l.classes[class] = l.newShare(n)
	}
	l.unnamed = l.share("")
	return l
}

func (l *ShareLimiter) newShare(guaranteed int) *share {
	s := &share{limiter: l, guaranteed: int64(guaranteed)}
	s.releaseOne = func(resource.Outcome) { s.release(1) }
	return s
}

func (l *ShareLimiter) share(class string) *share {
	if s := l.classes[class]; s != nil {
		return s
	}
	return l.others
}

// Admit implements [resource.Admission]. It does not block.
func (l *ShareLimiter) Admit(_ context.Context, r resource.Request) (resource.Done, error) {
	n, err := units("shares", r.Cost)
	if err != nil {
		return nil, err
	}
	s := l.unnamed
	if r.Class != "" {
		s = l.share(r.Class)
	}
	if limit := s.guaranteed + l.common.Load(); n > limit {
		return nil, rejectCost("shares", n, limit)
	}
	if !s.take(n) {
		return nil, l.errFull
	}
	if n == 1 {
		return s.releaseOne, nil
	}
	return func(resource.Outcome) { s.release(n) }, nil
}

// Resize sets the total and thereby the common part. The guarantees stay, and the
// limit does not fall below their sum. A common part below the common units in use
// interrupts no caller: no more are admitted until enough have been returned. Panics
// if total is less than 1.
func (l *ShareLimiter) Resize(total int) {
	var e argErrors
	e.require(total >= 1, "total must be at least 1, got %d", total)
	e.panicIfAny("Resize")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setTotalLocked(total)
}

// FollowSize implements [resource.SizeFollower].
func (l *ShareLimiter) FollowSize(from, to int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total == from && to >= 1 {
		l.setTotalLocked(to)
	}
}

func (l *ShareLimiter) setTotalLocked(total int) {
	l.total = total
	l.common.Store(max(0, int64(total)-l.guaranteed))
}

// Limit returns the total, or the sum of the guarantees if that is larger.
func (l *ShareLimiter) Limit() int { return int(l.guaranteed + l.common.Load()) }

// InFlight returns the number of units of all classes in flight.
func (l *ShareLimiter) InFlight() int {
	n := l.borrowed.n.Load()
	for _, s := range l.classes {
		n += min(s.used.n.Load(), s.guaranteed)
	}
	return int(n)
}

// overGuarantee returns how many of the used units are not guaranteed.
func (s *share) overGuarantee(used int64) int64 { return max(0, used-s.guaranteed) }

// take increments borrowed before used, and release decrements used before
// borrowed. So borrowed is at every instant at least the sum of what the classes use
// over their guarantees, and never more than the common part unless that shrank.
func (s *share) take(n int64) bool {
	if s.guaranteed == 0 {
		return s.limiter.borrowed.take(n, s.limiter.common.Load())
	}
	for {
		used, common := s.used.n.Load(), s.limiter.common.Load()
		if n > s.guaranteed+common-used { // in this form the comparison cannot overflow
			return false
		}
		borrow := s.overGuarantee(used+n) - s.overGuarantee(used)
		if borrow > 0 && !s.limiter.borrowed.take(borrow, common) {
			if s.used.n.Load() != used {
				continue // used changed: the request may need to borrow less now
			}
			return false
		}
		if s.used.n.CompareAndSwap(used, used+n) {
			return true
		}
		if borrow > 0 {
			s.limiter.borrowed.release(borrow)
		}
	}
}

func (s *share) release(n int64) {
	if s.guaranteed == 0 {
		s.limiter.borrowed.release(n)
		return
	}
	left := s.used.release(n)
	if back := s.overGuarantee(left+n) - s.overGuarantee(left); back > 0 {
		s.limiter.borrowed.release(back)
	}
}
