package policy_test

import (
	"testing"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

func TestReserve(t *testing.T) {
	l := policy.Limit(4)
	p := policy.Reserve(2, 1, policy.Reserve(1, 2, l)) // 0: 2, 1: 3, 2: 4
	if p.Limit() != 4 {
		t.Errorf("the limit is %d, want that of what is reserved of", p.Limit())
	}
	at := func(priority, cost int) resource.Request { return resource.Request{Priority: priority, Cost: cost} }
	a, b := admit(t, p, at(0, 0)), admit(t, p, at(-1, 1))
	wantInFlight(t, p, 2)
	refused(t, p, at(0, 1), "reserve", policy.ErrFull, 0)
	c := admit(t, p, at(1, 1))
	refused(t, p, at(1, 1), "reserve", policy.ErrFull, 0)
	d := admit(t, p, at(2, 1))
	refused(t, p, at(9, 1), "limit", policy.ErrFull, 0)
	a(ok)
	refused(t, p, at(0, 2), "reserve", policy.ErrFull, 0)
	// If high priorities hold everything, the limit refuses low ones, and the unit of
	// their own part is returned.
	e := admit(t, p, at(5, 1))
	refused(t, p, at(0, 1), "limit", policy.ErrFull, 0)
	e(ok)
	admit(t, p, at(0, 1))(ok)
	for _, done := range []resource.Done{b, c, d} {
		done(ok)
	}
	admit(t, p, at(0, 2))(ok)
	wantInFlight(t, p, 0)

	l.Resize(2) // now everything is reserved for 1 and above
	refused(t, p, at(0, 1), "reserve", policy.ErrFull, 0)
	admit(t, p, at(1, 1))(ok)
	l.Resize(1)
	refused(t, p, at(0, 1), "reserve", policy.ErrFull, 0)
	admit(t, p, at(2, 1))(ok)
}

// The rule also holds for the other nesting, and for policies that do more than count.
func TestReserveOfOthers(t *testing.T) {
	at := func(priority, cost int) resource.Request { return resource.Request{Priority: priority, Cost: cost} }
	for name, p := range map[string]policy.Gauged{
		"inside out": policy.Reserve(1, 2, policy.Reserve(2, 1, policy.Limit(4))),
		"shares":     policy.Reserve(1, 2, policy.Reserve(2, 1, policy.Shares(4, nil))),
	} {
		t.Run(name, func(t *testing.T) {
			a, b := admit(t, p, at(0, 1)), admit(t, p, at(0, 0))
			refused(t, p, at(0, 1), "reserve", policy.ErrFull, 0)
			c := admit(t, p, at(1, 1))
			refused(t, p, at(1, 1), "reserve", policy.ErrFull, 0)
			d := admit(t, p, at(2, 1))
			wantInFlight(t, p, 4)
			for _, done := range []resource.Done{a, b, c, d} {
				done(ok)
			}
			admit(t, p, at(0, 2))(ok)
			admit(t, p, at(1, 3))(ok)
			wantInFlight(t, p, 0)
		})
	}
}
