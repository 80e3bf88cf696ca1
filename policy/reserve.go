package policy

import (
	"context"

	"github.com/respool/respool/resource"
)

// Reserve reserves n units of p for requests with Priority from or higher: all other
// requests together hold at most p.Limit()-n units, with the limit read at each
// request. Requests over that are refused with [ErrFull] under the name "reserve".
// Nested calls reserve one step per level:
//
//	policy.Reserve(2, 1, policy.Reserve(1, 2, policy.Limit(10))) // 0 and below: 8; 1: 9; 2 and above: 10
//
// With a [Shares] as p, it applies to all classes together, including those with
// unused guarantees.
//
// Panics if p is nil, or n is not between 1 and p.Limit()-1.
func Reserve(n, from int, p Gauged) Gauged {
	var e argErrors
	e.require(p != nil, "p is nil")
	e.require(n >= 1, "n must be at least 1, got %d", n)
	if p != nil {
		e.require(n < p.Limit(), "n must be less than the limit %d, got %d", p.Limit(), n)
	}
	e.panicIfAny("Reserve")
	s := &reserve{Gauged: p, n: int64(n), from: from, errFull: reject("reserve", 0, ErrFull)}
	s.releaseLow = func(resource.Outcome) { s.low.release(1) }
	s.lowAdmission = All(AdmissionFunc(s.admitLow), p)
	switch p := p.(type) {
	case *Limiter:
		s.useFastPath(p, p.releaseOne)
	case *reserve:
		if p.inner != nil && p.from >= from { // a request below from is below p.from too
			s.useFastPath(p, p.releaseBoth)
		}
	}
	return s
}

type reserve struct {
	Gauged       // the underlying limit
	n            int64
	from         int
	low          counter            // units held by requests below from
	lowAdmission resource.Admission // admitLow, then Gauged
	releaseLow   resource.Done
	errFull      error

	// Fast path for one unit, where every policy below only counts: take one unit
	// from each counter; releaseBoth returns it to each. Needs no allocation.
	inner       unitTaker
	releaseBoth resource.Done
}

// unitTaker admits one unit of a request below from without a Done of its own.
type unitTaker interface{ takeOne() error }

// useFastPath makes s take single units from p directly. releaseInner returns them.
func (s *reserve) useFastPath(p unitTaker, releaseInner resource.Done) {
	s.inner = p
	s.releaseBoth = func(o resource.Outcome) {
		defer s.low.release(1)
		releaseInner(o)
	}
}

func (s *reserve) takeOne() error {
	if !s.low.take(1, int64(s.Limit())-s.n) {
		return s.errFull
	}
	if err := s.inner.takeOne(); err != nil {
		s.low.release(1)
		return err
	}
	return nil
}

// Admit implements [resource.Admission].
func (s *reserve) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	if r.Priority >= s.from {
		return s.Gauged.Admit(ctx, r)
	}
	if s.inner != nil && (r.Cost == 0 || r.Cost == 1) {
		if err := s.takeOne(); err != nil {
			return nil, err
		}
		return s.releaseBoth, nil
	}
	return s.lowAdmission.Admit(ctx, r)
}

// admitLow limits requests below from to the units that are not reserved.
func (s *reserve) admitLow(_ context.Context, r resource.Request) (resource.Done, error) {
	n, err := units("reserve", r.Cost)
	if err != nil {
		return nil, err
	}
	if limit := int64(s.Limit()) - s.n; !s.low.take(n, limit) {
		if n > limit && limit > 0 {
			return nil, rejectCost("reserve", n, limit)
		}
		return nil, s.errFull
	}
	if n == 1 {
		return s.releaseLow, nil
	}
	return func(resource.Outcome) { s.low.release(n) }, nil
}
