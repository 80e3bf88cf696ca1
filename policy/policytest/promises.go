package policytest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/respool/respool/resource"
)

// The promises of an Admission, one by one.

// standsOdd asks with numbers at their edges and tells of odd outcomes.
func (s *subject) standsOdd() {
	var odd []resource.Request
	for _, n := range []int{math.MinInt, -1, 0, 1, math.MaxInt} {
		for _, r := range s.requests {
			cost, priority, remaining := r, r, r
			cost.Cost, priority.Priority, remaining.MinRemaining = n, n, time.Duration(n)
			odd = append(odd, cost, priority, remaining)
		}
	}
	odd = append(odd, resource.Request{Class: "policytest: a class nobody has heard of"})
	outcomes := []resource.Outcome{
		ignored, ok, failed,
		{Verdict: resource.Failed},
		{Verdict: resource.OK, Latency: math.MaxInt64},
		{Verdict: resource.Failed, Err: errGuarded, Latency: -1},
		{Verdict: resource.OK, Latency: math.MinInt64},
	}
	for i, r := range odd {
		r.NoWait = true
		var done resource.Done
		var err error
		s.must(prompt, fmt.Sprintf("Admit(%+v)", r), func() { done, err = s.admit(context.Background(), r) })
		s.stopIfBad()
		if err == nil {
			s.give([]resource.Done{done}, outcomes[i%len(outcomes)])
		}
	}
	s.regains(1, ok, "%d odd requests, one at a time, were answered, and given back with odd outcomes", len(odd))
}

// negativeRounds is how often grants asks.
const negativeRounds = 24

// standsNegative wants a negative Cost to make no room: a policy that takes the
// Cost of a request from what it has, unseen, then has more than before.
func (s *subject) standsNegative() {
	if s.room == many {
		return // it has no limit
	}
	plain := s.requests[0]
	usual := s.grants(plain) // tokens may come meanwhile
	for _, cost := range []int{-1, -s.room, -1_000_000, math.MinInt} {
		r := plain
		r.Cost = cost
		more := s.grants(r)
		for n := 0; n < 2 && more > usual+s.room; n++ { // outside a bubble the machine may have stood still
			more = s.grants(r)
		}
		if more > usual+s.room {
			s.fatalf("as many were admitted as may be (%d at first); after each of %d requests with Cost %d others asked, and %d were admitted: "+
				"a negative Cost must be refused, since it adds to what there is", s.room, negativeRounds, cost, more)
		}
	}
}

// grants has as many admitted at once as it admits, and then asks again and again,
// each time with r before. It returns how many were admitted later, without r.
func (s *subject) grants(r resource.Request) (more int) {
	held := s.fill(many)
	r.NoWait = true
	for range negativeRounds {
		var done resource.Done
		var err error
		s.must(prompt, fmt.Sprintf("Admit(%+v)", r), func() { done, err = s.admit(context.Background(), r) })
		s.stopIfBad()
		added := s.fill(s.room + 1)
		more += len(added)
		if held = append(held, added...); err == nil {
			held = append(held, done)
		}
	}
	s.give(held, ignored)
	s.regains(s.room, ignored, "%d requests were held, some of them asked for with %+v, and given back as Ignored", len(held), r)
	return more
}

func (s *subject) balancesIgnored() { s.balances(ignored) }
func (s *subject) balancesOK()      { s.balances(ok) }
func (s *subject) balancesFailed()  { s.balances(failed) }

// balances lets all be admitted that it admits, several times, all given back
// as o. One permit of two lost each time would leave none of many.
func (s *subject) balances(o resource.Outcome) {
	for range 9 {
		held := s.fill(many)
		s.give(held, o)
	}
	want := 1
	if o == ignored {
		want = s.room
	}
	const told = "%d were admitted at first; time and again as many were given back as %s"
	s.regains(want, ignored, told, s.room, verdictName(o))
	if o == ignored {
		s.wantNoMore(told, s.room, verdictName(o))
	}
}

// outlivesTrials makes it refuse, if failures do, and then gives the first that
// is admitted back in each way.
func (s *subject) outlivesTrials() {
	for _, o := range []resource.Outcome{ignored, ok, failed} {
		for range 3 {
			s.give(s.fill(many), failed)
		}
		for n := range 3 {
			s.regains(1, o, "after many were given back as Failed, and then %d trials as %s", n, verdictName(o))
		}
		s.regains(1, ok, "after many were given back as Failed, and then 3 trials as %s", verdictName(o))
	}
}

// cancels ends the contexts of those that wait.
func (s *subject) cancels() {
	held := s.fill(many)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	s.answers(s.crowdAsks(ended, 8), prompt, "%d are admitted, and 8 ask with a context that has ended", len(held))

	soon, cancel := context.WithTimeout(context.Background(), 4*moment)
	defer cancel()
	s.answers(s.crowdAsks(soon, 8), prompt+4*moment, "%d are admitted, and 8 ask with a deadline in 4ms", len(held))

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := min(s.room, many/2) + 1
	all := s.crowdAsks(ctx, n)
	cancel()
	s.answers(all, prompt, "%d are admitted, %d more ask, and the context of those ends", len(held), n)
	s.give(held, ignored)
	const told = "%d were admitted, %d more asked and were cancelled, and all was given back as Ignored"
	s.regains(s.room, ignored, told, len(held), n)
	s.wantNoMore(told, len(held), n)
}

// cancelsLate ends the contexts of those that wait while permits come back.
func (s *subject) cancelsLate() {
	const rounds = 24
	n := min(s.room, many/4) + 1
	for round := range rounds {
		held := s.fill(many)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		all := s.crowdAsks(ctx, n)
		s.must(prompt, "Done(Ignored)", func() {
			switch round % 3 {
			case 0: // what each of them sees first is the end
				cancel()
			case 1: // that is a race
				go cancel()
			}
			for _, done := range held {
				hand(done, ignored)
			}
			cancel()
		})
		s.answers(all, prompt, "%d waited while as many permits came back, and their context ended", n)
	}
	const told = "%d waited while as many permits came back and their context ended, %d times; all was given back as Ignored"
	s.regains(s.room, ignored, told, n, rounds)
	s.wantNoMore(told, n, rounds)
}

// wakes lets some wait, and gives back what they wait for.
func (s *subject) wakes() {
	for _, o := range []resource.Outcome{ignored, ok, failed} {
		held := s.fill(many)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel() // frees those that are stuck
		all := s.crowdAsks(ctx, 8)
		s.give(held, o)
		s.answers(all, patience, "%d were admitted, 8 more asked, and the %d were given back as %s", len(held), len(held), verdictName(o))
	}
}

func (s *subject) standsCrowd()      { s.storm(1, ignored, ok, failed) }
func (s *subject) standsQuietCrowd() { s.storm(s.room, ignored) }

// storm lets many goroutines ask, wait, cancel and give back, and wants room
// for n at once after it.
func (s *subject) storm(n int, outcomes ...resource.Outcome) {
	const goroutines, rounds = 8, 150
	s.crowd(goroutines, patience, "a goroutine that asks and gives back", func(_ int, r *rand.Rand) {
		for n := 0; n < rounds && !s.bad.Load(); n++ {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(2000))*time.Microsecond)
			req := s.requests[r.IntN(len(s.requests))]
			req.NoWait = r.IntN(3) == 0
			began := time.Now()
			done, err := s.admit(ctx, req)
			if took := time.Since(began); took > prompt {
				s.errorf("Admit(%+v) took %v, with a context that ended after 2ms at most", req, took)
			}
			for range r.IntN(4) {
				runtime.Gosched()
			}
			if err == nil {
				hand(done, outcomes[r.IntN(len(outcomes))])
			}
			cancel()
		}
	})
	s.stopIfBad()
	s.regains(n, ok, "%d goroutines asked %d times each and gave all back", goroutines, rounds)
}

func (s *subject) guardsLeases() { s.guards(resource.Config[int]{Make: makes(false), Admission: s.p}) }
func (s *subject) guardsMakes()  { s.guards(resource.Config[int]{Make: makes(true), MakeGate: s.p}) }
func (s *subject) guardsLives()  { s.guards(resource.Config[int]{Make: makes(true), Quota: s.p}) }

// guards uses it in a pool.
func (s *subject) guards(cfg resource.Config[int]) {
	inPool(s.kit, cfg, visit{requests: s.requests})
	s.regains(1, ok, "a pool used it and was closed")
}
