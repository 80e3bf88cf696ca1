package policy

import (
	"context"

	"github.com/respool/respool/resource"
)

// Reserve keeps n units of p for requests whose Priority is from or higher: all
// others together hold at most p.Limit()-n units, as the limit is at that time.
// Those over it are refused with [ErrFull], called "reserve". Nested, it keeps
// a step for each level:
//
//	policy.Reserve(2, 1, policy.Reserve(1, 2, policy.Limit(10))) // 0 and below: 8; 1: 9; 2 and above: 10
//
// It holds for all classes of a [Shares] together, also for those that have a
// guarantee left.
//
// Panics if p is nil, or n is not from 1 to p.Limit()-1.
func Reserve(n, from int, p Gauged) Gauged {
	var m misuse
	m.unless(p != nil, "p is nil")
	m.unless(n >= 1, "n is %d, not at least 1", n)
	if p != nil {
		m.unless(n < p.Limit(), "n is %d, not less than the limit %d", n, p.Limit())
	}
	m.report("Reserve")
	s := &reserve{Gauged: p, n: int64(n), from: from, full: refuse("reserve", 0, ErrFull)}
	s.one = func(resource.Outcome) { s.low.giveBack(1) }
	s.lower = All(AdmissionFunc(s.admitLow), p)
	switch p := p.(type) {
	case *Limiter:
		s.under(p, p.one)
	case *reserve:
		if p.of != nil && p.from >= from { // who is low here is low there
			s.under(p, p.both)
		}
	}
	return s
}

type reserve struct {
	Gauged // what is reserved of
	n      int64
	from   int
	lower  resource.Admission // asks admitLow, then Gauged
	low    counter            // what those below from hold
	one    resource.Done
	full   error

	// Where all that is asked only counts, a request of one unit needs no
	// lower: it is taken of each count, and both gives it back to each.
	of   oneTaker
	both resource.Done
}

// oneTaker admits one unit, of a caller below from, without a Done of its own.
type oneTaker interface{ takeOne() error }

// under lets s take one unit of p directly. done is what gives it back there.
func (s *reserve) under(p oneTaker, done resource.Done) {
	s.of = p
	s.both = func(o resource.Outcome) {
		defer s.low.giveBack(1)
		done(o)
	}
}

func (s *reserve) takeOne() error {
	if !s.low.take(1, int64(s.Limit())-s.n) {
		return s.full
	}
	if err := s.of.takeOne(); err != nil {
		s.low.giveBack(1)
		return err
	}
	return nil
}

// Admit implements [resource.Admission].
func (s *reserve) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	if r.Priority >= s.from {
		return s.Gauged.Admit(ctx, r)
	}
	if s.of != nil && (r.Cost == 0 || r.Cost == 1) {
		if err := s.takeOne(); err != nil {
			return nil, err
		}
		return s.both, nil
	}
	return s.lower.Admit(ctx, r)
}

// admitLow holds those below from to what is not reserved.
func (s *reserve) admitLow(_ context.Context, r resource.Request) (resource.Done, error) {
	n, err := units("reserve", r)
	if err != nil {
		return nil, err
	}
	if limit := int64(s.Limit()) - s.n; !s.low.take(n, limit) {
		if n > limit && limit > 0 {
			return nil, tooMuch("reserve", n, limit)
		}
		return nil, s.full
	}
	if n == 1 {
		return s.one, nil
	}
	return func(resource.Outcome) { s.low.giveBack(n) }, nil
}
