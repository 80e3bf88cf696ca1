// Package ledger checks with porcupine that a fleet.Ledger is linearizable: there is an order of all claims,
// each at one instant between its call and its return, in which the model of the contract
// gives the same answers. The end of a lease is an operation of its own, at an unknown instant.
package ledger

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/fleet/ledgertest"
)

// Op is one claim of a history on one quota.
type Op struct {
	Client int
	Claim  fleet.Claim
	Grant  fleet.Grant
	// Err is the error of the claim. If it is neither nil nor fleet.ErrStale the answer is
	// unknown: the claim was recorded once between Call and Return, or not at all. A history
	// should leave out a claim that was certainly not recorded.
	Err error
	// Call and Return are instants of one clock. Lost claims, which may be recorded at any later
	// time, have the Return Never.
	Call, Return Stamp
}

// Stamp is an instant: the time since the history began, and an ordinal among the instants
// of the same time.
type Stamp struct {
	Time    time.Duration
	Ordinal int32
}

// Never is later than all other stamps.
var Never = Stamp{math.MaxInt64, math.MaxInt32}

// bits of a Stamp that the ordinal has in the clock of porcupine.
const bits = 20

// clock returns the instant as porcupine counts.
func (s Stamp) clock() int64 {
	if s == Never {
		return math.MaxInt64
	}
	return int64(s.Time)<<bits | int64(s.Ordinal)&(1<<bits-1)
}

// ends are the instants at which the lease of a claim may end: late is how late the engine may
// notice.
func (o *Op) ends(late time.Duration) (from, to int64) {
	from = Stamp{Time: o.Call.Time + o.Claim.Lease}.clock()
	if o.Return == Never {
		return from, math.MaxInt64
	}
	return from, Stamp{o.Return.Time + o.Claim.Lease + late, 1<<bits - 1}.clock()
}

// end is the input of the operation in which the lease of a claim ends. The same claim may be
// recorded twice, if it comes twice and its holder was forgotten in between.
type end struct{ of *Op }

// state is a state of the model, with what gave each holder its lease, and the learning its
// end, and with the fence of the last grant that is known.
type state struct {
	m        *ledgertest.Model
	leases   map[string]*Op
	learning *Op
	begun    bool
	fence    uint64
}

// model is the contract of a ledger for porcupine. Time does not pass in it: leases end by
// operations.
var model = porcupine.Model{
	Init: func() any { return state{m: new(ledgertest.Model)} },
	Step: func(s, input, output any) (bool, any) {
		switch in := input.(type) {
		case end:
			return true, s.(state).end(in.of)
		case fleet.Claim:
			return s.(state).claim(in, output.(*Op))
		}
		panic("no such operation")
	},
	Equal: func(a, b any) bool {
		x, y := a.(state), b.(state)
		return x.fence == y.fence && x.learning == y.learning && maps.Equal(x.leases, y.leases) && x.m.Equal(y.m)
	},
	DescribeOperation: func(input, output any) string {
		o := output.(*Op)
		if _, ok := input.(end); ok {
			return fmt.Sprintf("the lease of %s, Seq %d, ends", o.Claim.Holder, o.Claim.Seq)
		}
		return fmt.Sprintf("%+v: %+v, %v", o.Claim, o.Grant, o.Err)
	},
}

// end returns the state after the lease of a claim has ended.
func (s state) end(of *Op) state {
	ends, learned := s.leases[of.Claim.Holder] == of, s.learning == of
	if !ends && !learned {
		return s
	}
	s.m = s.m.Clone()
	if learned {
		s.m.EndLearning()
		s.learning = nil
	}
	if ends {
		s.m.Forget(of.Claim.Holder)
		s.leases = maps.Clone(s.leases)
		delete(s.leases, of.Claim.Holder)
	}
	return s
}

// claim returns the state after a claim, and whether its answer is possible.
func (s state) claim(c fleet.Claim, o *Op) (bool, any) {
	old := s
	s.m = s.m.Clone()
	want, err := s.m.Claim(0, c)
	stale := errors.Is(err, fleet.ErrStale)
	switch {
	case stale:
		return o.Err != nil, old
	case errors.Is(o.Err, fleet.ErrStale):
		return false, old
	}
	if !s.begun {
		s.begun, s.learning = true, o
	}
	s.leases = maps.Clone(s.leases)
	if s.leases == nil {
		s.leases = make(map[string]*Op)
	}
	if delete(s.leases, c.Holder); c.Want > 0 {
		s.leases[c.Holder] = o
	}
	if o.Err != nil {
		return true, s // unknown
	}
	got := o.Grant
	if got.Fence <= old.fence {
		return false, old
	}
	s.fence = got.Fence
	// The model has no time, an engine may round a lease up, and fences begin anywhere.
	want.Next, want.Lease, want.Fence = got.Next, got.Lease, got.Fence
	return got == want, s
}

// Result is what Check found.
type Result = porcupine.CheckResult

// Check checks the history of one quota that the ledger had no record of at its beginning.
// late is how late the engine may notice that a lease has ended. It takes at most the
// timeout; the result is then unknown.
func Check(history []Op, late, timeout time.Duration) Result {
	return porcupine.CheckOperationsTimeout(model, operations(history, late), timeout)
}

func operations(history []Op, late time.Duration) []porcupine.Operation {
	var all []porcupine.Operation
	for i := range history {
		o := &history[i]
		all = append(all, porcupine.Operation{ClientId: o.Client, Input: o.Claim, Call: o.Call.clock(), Output: o, Return: o.Return.clock()})
		if errors.Is(o.Err, fleet.ErrStale) {
			continue
		}
		from, to := o.ends(late)
		all = append(all, porcupine.Operation{ClientId: o.Client, Input: end{o}, Call: from, Output: o, Return: to})
	}
	return all
}
