package policy

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"github.com/respool/respool/resource"
)

// ShareLimiter divides a limit between classes of callers. Make one with
// [Shares].
type ShareLimiter struct {
	sum      int64        // of the guarantees
	common   atomic.Int64 // what nobody is guaranteed
	borrowed counter      // how much of it is taken
	classes  map[string]*share
	others   *share // every class without a guarantee
	full     error

	mu    sync.Mutex // guards total, and every change of common
	total int        // that was asked for; the limit is not less than sum
}

// share is what one class has.
type share struct {
	of         *ShareLimiter
	guaranteed int64
	used       counter // what the class has in flight; over guaranteed it is borrowed
	one        resource.Done
}

// Shares admits at most total units at once and guarantees some of them to
// classes, by [resource.Request.Class]. What is left over, the common part, is
// for all. A class takes from its guarantee first and gives it back last, so
// its guarantee is there for it however much the others ask for, and no class
// keeps common units that it has room for of its own. A class without a
// guarantee has the common part alone. A request may take from both at once.
//
// It follows [resource.Pool.Resize] as long as total is the pool's maximum: then
// total becomes the new maximum, and the guarantees stay as they are.
//
// What has no room is refused with [ErrFull], and what could never fit with
// [ErrCost]. Panics if total or a guarantee is less than 1, or the guarantees
// are more than total.
func Shares(total int, guaranteed map[string]int) *ShareLimiter {
	var m misuse
	m.unless(total >= 1, "total is %d, not at least 1", total)
	sum := 0
	for class, n := range guaranteed {
		m.unless(n >= 1, "the guarantee of %q is %d, not at least 1", class, n)
		sum += min(max(n, 0), math.MaxInt-sum)
	}
	m.unless(sum <= max(total, 0), "the guarantees are %d together, more than total %d", sum, total)
	m.report("Shares")

	l := &ShareLimiter{
		sum: int64(sum), total: total,
		classes: make(map[string]*share, len(guaranteed)), full: refuse("shares", 0, ErrFull),
	}
	l.common.Store(int64(total - sum))
	l.others = l.share(0)
	for class, n := range guaranteed {
		l.classes[class] = l.share(n)
	}
	return l
}

func (l *ShareLimiter) share(guaranteed int) *share {
	s := &share{of: l, guaranteed: int64(guaranteed)}
	s.one = func(resource.Outcome) { s.giveBack(1) }
	return s
}

// Admit implements [resource.Admission]. It does not block.
func (l *ShareLimiter) Admit(_ context.Context, r resource.Request) (resource.Done, error) {
	n, err := units("shares", r)
	if err != nil {
		return nil, err
	}
	s := l.classes[r.Class]
	if s == nil {
		s = l.others
	}
	if most := s.guaranteed + l.common.Load(); n > most {
		return nil, tooMuch("shares", n, most)
	}
	if !s.take(n) {
		return nil, l.full
	}
	if n == 1 {
		return s.one, nil
	}
	return func(resource.Outcome) { s.giveBack(n) }, nil
}

// Resize changes the total, and so the common part. The guarantees stay as they
// are, and the limit does not fall below their sum. Where the common part falls
// below what is taken of it nobody is interrupted: nothing more is taken of it
// until enough has been given back. Panics if total is less than 1.
func (l *ShareLimiter) Resize(total int) {
	var m misuse
	m.unless(total >= 1, "total is %d, not at least 1", total)
	m.report("Resize")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setTotal(total)
}

// FollowSize implements [resource.SizeFollower].
func (l *ShareLimiter) FollowSize(from, to int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total == from && to >= 1 {
		l.setTotal(to)
	}
}

// setTotal is called with l locked.
func (l *ShareLimiter) setTotal(total int) {
	l.total = total
	l.common.Store(max(0, int64(total)-l.sum))
}

// Limit returns the total, or the sum of the guarantees if that is more.
func (l *ShareLimiter) Limit() int { return int(l.sum + l.common.Load()) }

// InFlight returns how many units all classes have in flight.
func (l *ShareLimiter) InFlight() int {
	n := l.others.used.n.Load()
	for _, s := range l.classes {
		n += s.used.n.Load()
	}
	return int(n)
}

// over is how much of used is not guaranteed.
func (s *share) over(used int64) int64 { return max(0, used-s.guaranteed) }

// take borrows before it counts, and giveBack counts before it returns, so what
// is borrowed is at every instant at least what the classes have over their
// guarantees, and never more than the common part, unless that was made smaller.
func (s *share) take(n int64) bool {
	for {
		used, common := s.used.n.Load(), s.of.common.Load()
		if n > s.guaranteed+common-used { // so written, it cannot overflow
			return false
		}
		borrow := s.over(used+n) - s.over(used)
		if borrow > 0 && !s.of.borrowed.take(borrow, common) {
			if s.used.n.Load() != used {
				continue // it may need to borrow less by now
			}
			return false
		}
		if s.used.n.CompareAndSwap(used, used+n) {
			return true
		}
		if borrow > 0 {
			s.of.borrowed.giveBack(borrow)
		}
	}
}

func (s *share) giveBack(n int64) {
	left := s.used.giveBack(n)
	if back := s.over(left+n) - s.over(left); back > 0 {
		s.of.borrowed.giveBack(back)
	}
}
