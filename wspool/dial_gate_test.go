package wspool

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

// asked is what a gate asked its Redial.
type asked struct {
	cause  error
	streak int
}

// gateOf returns a gate that lets max dials run, and what it asks Redial, which
// answers pause.
func gateOf(max int, pause time.Duration) (*dialGate, *[]asked) {
	var all []asked
	return &dialGate{max: max, redial: func(cause error, streak int) time.Duration {
		all = append(all, asked{cause, streak})
		return pause
	}}, &all
}

// admitted returns the Done of a dial that the gate must let in at once.
func admitted(t *testing.T, g *dialGate) resource.Done {
	t.Helper()
	done, err := g.Admit(t.Context(), resource.Request{NoWait: true})
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	return done
}

// refused wants the gate to admit no dial, and to say for how long.
func refused(t *testing.T, g *dialGate, rest time.Duration, cause error) {
	t.Helper()
	_, err := g.Admit(t.Context(), resource.Request{})
	var r *resource.Rejection
	if !errors.As(err, &r) || r.RetryAfter != rest || r.Policy != "redial" || !errors.Is(err, cause) {
		t.Errorf("%v, want a refusal for %v after %v", err, rest, cause)
	}
}

// fresh returns the ticket of a connection dialled now.
func fresh(g *dialGate) *dialTicket {
	tie := newDialTicket(g)
	tie.up()
	return tie
}

var goingAway = &EndError{Err: &CloseError{Code: 1001}}

// As many as may run at once; the others come in in the order in which they
// came, unless they leave first.
func TestGateTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := gateOf(2, 0)
		first, second := admitted(t, g), admitted(t, g)
		var r *resource.Rejection
		if _, err := g.Admit(t.Context(), resource.Request{NoWait: true}); !errors.As(err, &r) {
			t.Errorf("NoWait: %v", err)
		}
		var mu sync.Mutex
		var in []int
		leave, left := context.WithCancel(t.Context())
		for i := range 4 {
			ctx := t.Context()
			if i == 1 {
				ctx = leave
			}
			go func() {
				done, err := g.Admit(ctx, resource.Request{})
				if i == 1 {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("who left got %v", err)
					}
					return
				}
				mu.Lock()
				in = append(in, i)
				mu.Unlock()
				done(resource.Outcome{Verdict: resource.OK})
			}()
			synctest.Wait()
		}
		left()
		synctest.Wait()
		if in != nil {
			t.Errorf("%v came in while two dials ran", in)
		}
		first(resource.Outcome{})
		synctest.Wait()
		if !slices.Equal(in, []int{0, 2, 3}) {
			t.Errorf("%v came in, want 0, 2, 3", in)
		}
		second(resource.Outcome{})
		if g.running != 0 || len(g.line) != 0 {
			t.Errorf("%d run, %d wait at the end", g.running, len(g.line))
		}
	})
}

// During a pause no dial is admitted, and dials that wait are refused at once. When it is
// over, to the nanosecond, the next one is admitted.
func TestGatePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := gateOf(1, time.Minute)
		dial, up := admitted(t, g), fresh(g)
		told := make(chan error)
		go func() {
			_, err := g.Admit(t.Context(), resource.Request{})
			told <- err
		}()
		synctest.Wait()
		up.ended(goingAway)
		var r *resource.Rejection
		if err := <-told; !errors.As(err, &r) || r.RetryAfter != time.Minute {
			t.Errorf("who waited got %v", err)
		}
		dial(resource.Outcome{Verdict: resource.OK})
		refused(t, g, time.Minute, goingAway)
		time.Sleep(time.Minute - 1)
		refused(t, g, 1, goingAway)
		time.Sleep(time.Nanosecond)
		admitted(t, g)(resource.Outcome{})
	})
}

// Two hundred connections that end together are one cause. So is what follows
// of it within a second, or while the pause runs; another kind is asked about.
func TestGateBurst(t *testing.T) {
	for _, pause := range []time.Duration{0, time.Millisecond, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			g, asks := gateOf(8, pause)
			var ties []*dialTicket
			for range 200 {
				ties = append(ties, fresh(g))
			}
			var all sync.WaitGroup
			for _, up := range ties[:150] {
				all.Go(func() { up.ended(goingAway) })
			}
			all.Wait()
			time.Sleep(burst - 1)
			ties[150].ended(goingAway)
			if len(*asks) != 1 || (*asks)[0].streak != 1 {
				t.Fatalf("pause %v: asked %v, want once, streak 1", pause, *asks)
			}
			busy := &EndError{Err: &CloseError{Code: 1013}}
			ties[151].ended(busy)
			ties[152].ended(busy)
			if len(*asks) != 2 || (*asks)[1] != (asked{busy, 1}) {
				t.Fatalf("pause %v: asked %v, want once more, streak still 1", pause, *asks)
			}
			time.Sleep(2 * time.Minute)
			ties[153].ended(goingAway)
			if len(*asks) != 3 || (*asks)[2].streak != 1 {
				t.Errorf("pause %v: asked %v, want again when all is over, streak still 1", pause, *asks)
			}
		})
	}
}

// Each connection dialled after the last cause that ends adds to the streak. One
// that served a lease, or stayed up, ends it, but not one from before.
func TestGateStreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, asks := gateOf(8, time.Second)
		end := func(up *dialTicket, want int) {
			t.Helper()
			up.ended(goingAway)
			if got := (*asks)[len(*asks)-1].streak; got != want {
				t.Errorf("streak %d, want %d", got, want)
			}
			time.Sleep(2 * time.Second)
		}
		old := fresh(g)
		end(fresh(g), 1)
		end(fresh(g), 2)
		old.served()
		end(fresh(g), 3)
		served := fresh(g)
		served.served()
		served.served()
		end(served, 1)
		end(fresh(g), 2)

		stays := fresh(g)
		time.Sleep(provenAfter)
		synctest.Wait()
		end(fresh(g), 1)
		end(stays, 1) // from before the last cause
		short := fresh(g)
		time.Sleep(provenAfter - 1)
		end(short, 2)
		end(old, 2)

		ours := fresh(g)
		n := len(*asks)
		ours.ended(nil)
		time.Sleep(provenAfter)
		synctest.Wait()
		if len(*asks) != n || g.streak != 2 {
			t.Errorf("asked about %v, streak %d, after an end of the pool's own", (*asks)[n:], g.streak)
		}
	})
}

// The kinds of causes are those of the present term: a cause that begins a term forgets those
// before it, so that a cause of such a kind, of a connection from before, is asked about again.
func TestGateKindsOfTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, asks := gateOf(8, 0)
		busy := &EndError{Err: &CloseError{Code: 1013}}
		var old []*dialTicket
		for range 10 {
			old = append(old, fresh(g))
		}
		step := func(what string, up *dialTicket, cause *EndError, want int) {
			t.Helper()
			n := len(*asks)
			up.ended(cause)
			if got := len(*asks) - n; got != want {
				t.Errorf("%s: Redial was asked %d times, want %d", what, got, want)
			}
		}
		step("the first", old[0], goingAway, 1)
		step("the same kind, same term", old[1], goingAway, 0)
		step("another kind", old[2], busy, 1)
		step("the second kind again", old[3], busy, 0)
		step("the second term begins", fresh(g), busy, 1)
		step("its own kind", old[4], busy, 0)
		step("a kind of the first term", old[5], goingAway, 1)
		step("that kind again", old[6], goingAway, 0)
		if g.streak != 2 || g.term != 2 {
			t.Errorf("streak %d, term %d", g.streak, g.term)
		}
		time.Sleep(burst - 1)
		step("just inside the burst", old[7], goingAway, 0)
		time.Sleep(time.Nanosecond)
		step("behind it", old[8], goingAway, 1)
		if g.streak != 2 || g.term != 2 {
			t.Errorf("streak %d, term %d", g.streak, g.term)
		}
	})
}

// While a pause lasts, a burst does, and both of its edges are exact.
func TestGateBurstOfPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pause = 10 * burst
		g, asks := gateOf(8, pause)
		var old []*dialTicket
		for range 4 {
			old = append(old, fresh(g))
		}
		for i, after := range []time.Duration{0, pause - 1, 1} {
			time.Sleep(after)
			old[i].ended(goingAway)
			if want := 1 + i/2; len(*asks) != want {
				t.Errorf("after %v more: asked %v, want %d", after, *asks, want)
			}
		}
	})
}

// A connection that stays up ends the streak once, provenAfter after its dial, and a connection
// that ended before does not, though its timer ran.
func TestGateProofs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := gateOf(8, 0)
		streak := func() int {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.streak
		}
		term := func() int { return newDialTicket(g).term }
		fresh(g).ended(goingAway)
		fresh(g).ended(goingAway)
		for range 2 { // also for the second streak
			first, second := fresh(g), fresh(g)
			time.Sleep(provenAfter / 2)
			first.ended(nil) // the pool ended it: that proves nothing
			time.Sleep(provenAfter/2 - 1)
			synctest.Wait()
			if streak() == 0 {
				t.Error("the streak has ended early")
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if n := streak(); n != 0 {
				t.Errorf("a streak of %d after a connection has stayed up", n)
			}
			second.ended(nil)
			g.learn(term(), goingAway)
			g.learn(term(), goingAway)
		}
		third := fresh(g)
		third.ended(nil)
		if third.proof.Stop() {
			t.Error("a timer is left of a connection that the pool has ended")
		}
	})
}

// A connection that ends before its dial has ended is the dial's failure; one that ends
// just after is reported when the dial has ended.
func TestGateEarlyEnd(t *testing.T) {
	g, asks := gateOf(8, 0)
	newDialTicket(g).ended(goingAway)
	if len(*asks) != 0 {
		t.Errorf("asked %v", *asks)
	}
	late := newDialTicket(g)
	late.ended(goingAway)
	late.up()
	if len(*asks) != 1 {
		t.Errorf("asked %v, want once", *asks)
	}
}

// An end that may be the fault of one lease is no longer in the streak once any
// connection has served; it is another kind of cause than the same code said to a
// connection of which that cannot be. So is a refusal with a Retry-After than one
// without.
func TestGateEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, asks := gateOf(8, 0)
		last := func(n, streak int) {
			t.Helper()
			if len(*asks) != n || (*asks)[n-1].streak != streak {
				t.Errorf("asked %v, want %d causes, streak %d last", *asks, n, streak)
			}
		}
		policy := &CloseError{Code: 1008}
		inLease := &EndError{Asked: true, Err: policy}
		old := fresh(g)
		fresh(g).ended(inLease)
		fresh(g).ended(inLease)
		last(2, 2)
		old.served()
		fresh(g).ended(inLease)
		last(3, 1)
		old.stayed()
		fresh(g).ended(inLease)
		last(4, 2)
		old.ended(&EndError{Err: policy}) // a connection of before, another kind
		last(5, 2)
		fresh(g).ended(goingAway)
		old.served()
		fresh(g).ended(goingAway)
		last(7, 4)

		time.Sleep(time.Minute)
		dial := func(set bool) {
			g.learn(0, &DialError{Status: 503, RetryAfterSet: set, Err: errAnswer})
		}
		dial(false)
		dial(false)
		last(8, 4)
		dial(true)
		last(9, 4)
	})
}

// Dials that fail together for the same reason are one; the next is the second.
func TestGateFailedDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, asks := gateOf(8, 0)
		denied := &DialError{Phase: "handshake", Status: http.StatusUnauthorized, Err: errAnswer}
		for streak := 1; streak <= 3; streak++ {
			var dials []resource.Done
			for range 8 {
				dials = append(dials, admitted(t, g))
			}
			for _, done := range dials {
				done(resource.Outcome{Verdict: resource.Failed, Err: denied})
			}
			if len(*asks) != streak || (*asks)[streak-1] != (asked{denied, streak}) {
				t.Fatalf("asked %v, want streak %d last", *asks, streak)
			}
		}
		admitted(t, g)(resource.Outcome{Verdict: resource.OK})
		admitted(t, g)(resource.Outcome{})
		if len(*asks) != 3 {
			t.Errorf("asked %v about dials that did not fail", (*asks)[3:])
		}
	})
}

// admission is a resource.Admission by a function.
type admission func() (resource.Done, error)

func (f admission) Admit(context.Context, resource.Request) (resource.Done, error) { return f() }

// The user's gate is asked last and notified first; whatever it does, the turn is given
// back.
func TestGateOfUser(t *testing.T) {
	full := errors.New("full")
	g, _ := gateOf(1, time.Minute)
	apart := func(f func()) { // on a goroutine that may end as it likes
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { _ = recover() }()
			f()
		}()
		<-done
	}
	for name, next := range map[string]admission{
		"refuses":     func() (resource.Done, error) { return nil, full },
		"panics":      func() (resource.Done, error) { panic("x") },
		"ends":        func() (resource.Done, error) { runtime.Goexit(); return nil, nil },
		"done panics": func() (resource.Done, error) { return func(resource.Outcome) { panic("x") }, nil },
		"done ends":   func() (resource.Done, error) { return func(resource.Outcome) { runtime.Goexit() }, nil },
	} {
		g.next = next
		apart(func() {
			if done, err := g.Admit(t.Context(), resource.Request{}); err == nil {
				done(resource.Outcome{})
			} else if err != full {
				t.Errorf("%s: %v", name, err)
			}
		})
		if g.running != 0 {
			t.Fatalf("%s: its turn is lost", name)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var got []resource.Verdict
		g, asks := gateOf(1, time.Minute)
		g.next = admission(func() (resource.Done, error) {
			return func(o resource.Outcome) {
				if len(*asks) > 0 {
					t.Error("learnt before the user's gate was told")
				}
				got = append(got, o.Verdict)
			}, nil
		})
		admitted(t, g)(resource.Outcome{Verdict: resource.Failed, Err: goingAway})
		if len(*asks) != 1 || !slices.Equal(got, []resource.Verdict{resource.Failed}) {
			t.Errorf("told %v, asked %v", got, *asks)
		}
		time.Sleep(2 * time.Minute)
		up := fresh(g)
		g.next = admission(func() (resource.Done, error) {
			up.ended(goingAway)
			return func(o resource.Outcome) { got = append(got, o.Verdict) }, nil
		})
		refused(t, g, time.Minute, goingAway)
		if !slices.Equal(got, []resource.Verdict{resource.Failed, resource.Ignored}) || g.running != 0 {
			t.Errorf("told %v, %d run, after a pause that began meanwhile", got, g.running)
		}
	})
}

// A Redial that panics or ends its goroutine costs no goroutine; DefaultRedial decides instead.
func TestGateRedialBreaks(t *testing.T) {
	for name, breaks := range map[string]func(){"panics": func() { panic("x") }, "ends": runtime.Goexit} {
		synctest.Test(t, func(t *testing.T) {
			g := &dialGate{max: 1, redial: func(error, int) time.Duration { breaks(); return 0 }}
			fresh(g).ended(&EndError{Err: &CloseError{Code: 1013}})
			if rest := time.Until(g.until); rest < 600*time.Millisecond || rest > time.Second {
				t.Errorf("%s: pause %v", name, rest)
			}
		})
	}
}

// The gate keeps the promises of an Admission, and so before another.
func TestGateConforms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pause := func(error, int) time.Duration { return 20 * time.Millisecond }
		policytest.Admission(t, func() resource.Admission {
			return &dialGate{max: 5, redial: pause, next: &dialGate{max: 2, redial: pause}}
		})
	})
}
