package policytest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/respool/respool/resource"
)

// subject is one Admission that is checked.
type subject struct {
	*kit
	p        resource.Admission
	requests []resource.Request
	room     int   // how many it admitted at once at first, at most many
	refusal  error // the last one seen by admit
}

var errGuarded = errors.New("policytest: what was admitted failed")

// What a Done is told.
var (
	ignored = resource.Outcome{}
	ok      = resource.Outcome{Verdict: resource.OK, Latency: 3 * time.Millisecond}
	failed  = resource.Outcome{Verdict: resource.Failed, Err: errGuarded, Latency: 3 * time.Millisecond}
)

// verdictName is the Verdict of o in words.
func verdictName(o resource.Outcome) string {
	return [...]string{"Ignored", "OK", "Failed"}[o.Verdict]
}

// begin finds out how many it admits at once.
func (s *subject) begin() {
	held := s.fill(many)
	if s.room = len(held); s.room == 0 {
		s.fatalf("a new policy refused its first request, %+v with NoWait: %v\nnew must return one that admits", s.requests[0], s.refusal)
	}
	s.give(held, ignored)
	s.regains(s.room, ignored, "%d requests were admitted at once at first, and given back as Ignored", s.room)
}

// fill asks with the first request, and NoWait, until it is refused or n are
// admitted, and returns the permits.
func (s *subject) fill(n int) (held []resource.Done) {
	s.Helper()
	r := s.requests[0]
	r.NoWait = true
	for len(held) < n {
		var done resource.Done
		var err error
		s.must(prompt, fmt.Sprintf("Admit(%+v), with %d admitted before it,", r, len(held)), func() {
			done, err = s.admit(context.Background(), r)
		})
		s.stopIfBad()
		if err != nil {
			s.refusal = err
			break
		}
		held = append(held, done)
	}
	return held
}

// admit asks and looks at the answer.
func (s *subject) admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	done, err := s.p.Admit(ctx, r)
	if err == nil {
		return done, nil
	}
	if done != nil {
		s.errorf("Admit(%+v) returned both a Done and the error %q: nobody calls the Done of a refusal, so what it holds is lost", r, err)
	}
	s.wantGoodError(fmt.Sprintf("Admit(%+v)", r), err)
	return nil, err
}

// give gives permits back.
func (s *subject) give(held []resource.Done, o resource.Outcome) {
	s.Helper()
	s.must(prompt+time.Duration(len(held))*moment, fmt.Sprintf("Done(%+v)", o), func() {
		for _, done := range held {
			hand(done, o)
		}
	})
}

// hand calls done if there is one.
func hand(done resource.Done, o resource.Outcome) {
	if done != nil {
		done(o)
	}
}

// tries is how often it is asked before more time passes: some refuse a share of
// the requests at random.
const tries = 16

// regains waits until n are admitted at once, given back as o. The rest is what
// was done before, if they are not.
func (s *subject) regains(n int, o resource.Outcome, format string, args ...any) {
	s.Helper()
	s.wantNoneInFlight(format, args...)
	began, most := time.Now(), 0
	for pause := moment; ; pause *= 2 {
		for range tries {
			held := s.fill(n)
			s.give(held, o)
			if len(held) >= n {
				return
			}
			most = max(most, len(held))
		}
		if time.Since(began) > patience {
			break
		}
		time.Sleep(pause)
	}
	s.fatalf("%s; now at most %d are admitted at once, want %d: permits are lost, or it never opens again. Asked for %v; last refusal: %v",
		fmt.Sprintf(format, args...), most, n, time.Since(began).Round(time.Second), s.refusal)
}

// wantNoMore looks whether it now admits far more at once than at first, though
// all it was told is Ignored: then permits were given back that were never out.
// A few more may be tokens that came meanwhile. The rest is what was done before.
func (s *subject) wantNoMore(format string, args ...any) {
	s.Helper()
	limit := 2 * s.room
	least := many
	for range 3 {
		held := s.fill(limit + 1)
		s.give(held, ignored)
		least = min(least, len(held))
	}
	if limit < many && least > limit {
		s.fatalf("%s; now more than %d are admitted at once, at first %d: more is given back than was taken",
			fmt.Sprintf(format, args...), limit, s.room)
	}
}

// wantNoneInFlight asks a policy that counts, when all is given back.
func (s *subject) wantNoneInFlight(format string, args ...any) {
	s.Helper()
	g, counts := s.p.(interface{ InFlight() int })
	if !counts {
		return
	}
	if n := g.InFlight(); n != 0 {
		s.fatalf("%s; now InFlight() = %d, want 0", fmt.Sprintf(format, args...), n)
	}
}

// asking is an Admit that may wait, on a goroutine of its own.
type asking struct {
	ended chan struct{}
	how   string // how it ended, unless it returned
}

// ask lets one that may wait ask with r. If it is admitted it gives back at
// once, as Ignored.
func (s *subject) ask(ctx context.Context, r resource.Request) *asking {
	a := &asking{ended: make(chan struct{})}
	go func() {
		defer close(a.ended)
		a.how = watch(func() {
			if done, err := s.admit(ctx, r); err == nil {
				hand(done, ignored)
			}
		})
	}()
	return a
}

// crowdAsks lets n of them ask, and gives them a moment to begin to wait.
func (s *subject) crowdAsks(ctx context.Context, n int) []*asking {
	all := make([]*asking, n)
	for i := range all {
		all[i] = s.ask(ctx, s.requests[i%len(s.requests)])
	}
	for range n {
		runtime.Gosched()
	}
	time.Sleep(moment)
	return all
}

// answers waits until all have been answered, and ends the check if one is not
// answered in time. The rest is what was done before.
func (s *subject) answers(all []*asking, limit time.Duration, format string, args ...any) {
	s.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for i, a := range all {
		select {
		case <-a.ended:
		case <-timer.C:
			s.fatalf("%s; %v later %d of %d calls of Admit have not returned", fmt.Sprintf(format, args...), limit, waiting(all[i:]), len(all))
		}
		if a.how != "" {
			s.fatalf("%s; then Admit, or the Done that it returned, %s", fmt.Sprintf(format, args...), a.how)
		}
	}
	s.stopIfBad()
}

// waiting counts those that have not been answered.
func waiting(all []*asking) (n int) {
	for _, a := range all {
		select {
		case <-a.ended:
		default:
			n++
		}
	}
	return n
}
