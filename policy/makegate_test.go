package policy_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// While all is well so many run, and the others wait, the first to come first.
func TestMakeGate_Concurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, policy.MakeGateConfig{Concurrent: 2})
		running := g.begin(2)
		g.want(2, 2)
		g.wantBusy()
		first, second, third := g.wait(), g.wait(), g.wait()
		if !first.waiting() {
			t.Fatal("a third was let through")
		}
		second.stop()
		if err := <-second.err; !errors.Is(err, context.Canceled) || <-second.done != nil {
			t.Errorf("the second left with %v", err)
		}
		running[0](went)
		if first.waiting() || <-first.err != nil || !third.waiting() {
			t.Fatal("the place did not go to the first of those who wait")
		}
		running[0](went) // twice is once
		if !third.waiting() {
			t.Fatal("a place was given back twice")
		}
		running[1](neverCame)
		if third.waiting() || <-third.err != nil {
			t.Fatal("the second place was not given on")
		}
		g.want(2, 2)
		(<-first.done)(went)
		(<-third.done)(went)
		g.want(2, 0)
	})
}

// Whoever comes with a context that has ended is not let through.
func TestMakeGate_ContextEnded(t *testing.T) {
	g := newGate(t, steady)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if done, err := g.Admit(ctx, resource.Request{}); done != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Admit: %v", err)
	}
	g.want(10, 0)
}

// A failure refuses those who wait, and all who come before the backoff is
// over. Then one of a hundred is let through.
func TestMakeGate_OneProber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, steady)
		running := g.begin(10)
		waiting := []*waits{g.wait(), g.wait()}
		running[3](wentWrong)
		for _, w := range waiting {
			g.wantRefusal(<-w.done, <-w.err, 100*time.Millisecond)
		}
		g.want(1, 9)
		g.wantRefused(100 * time.Millisecond)
		g.due(100 * time.Millisecond)

		var let atomic.Int64
		var prober resource.Done
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if done, err := g.Admit(context.Background(), resource.Request{}); err == nil {
					let.Add(1)
					prober = done
				} else {
					g.wantRefusal(done, err, 100*time.Millisecond)
				}
			})
		}
		wg.Wait()
		if n := let.Load(); n != 1 {
			t.Fatalf("%d were let through, want 1", n)
		}
		g.want(1, 10)
		prober(went)
		g.want(2, 9)
		tenth := g.begin(1)
		g.wantBusy() // two may run, but with those from before it would be eleven
		end(neverCame, tenth...)
		end(went, running...) // the fourth has ended
		g.want(2, 0)
	})
}

// After a success two may run, then four, and so on; a failure on the way
// closes the gate again.
func TestMakeGate_Ramp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, steady)
		end(wentWrong, g.begin(1)...)
		g.due(100 * time.Millisecond)
		for _, n := range []int{1, 2, 4, 8, 10, 10} {
			dones := g.begin(n)
			if n == 1 {
				g.wantRefused(100 * time.Millisecond)
			} else {
				g.wantBusy()
			}
			end(went, dones...)
		}
		end(wentWrong, g.begin(1)...)
		g.due(200 * time.Millisecond) // it went well for no time
		end(went, g.begin(1)...)
		two := g.begin(2)
		two[0](went)
		g.want(3, 1)
		two[1](wentWrong)
		g.want(1, 0)
		g.wantRefused(400 * time.Millisecond)
	})
}

// Those who wait when it opens wider are let through.
func TestMakeGate_RampLetsThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, steady)
		end(wentWrong, g.begin(1)...)
		g.due(100 * time.Millisecond)
		end(went, g.begin(1)...)
		two := g.begin(2)
		ws := []*waits{g.wait(), g.wait(), g.wait()}
		two[0](went) // three may run: two more
		if ws[0].waiting() || ws[1].waiting() || !ws[2].waiting() {
			t.Error("two of three should be let through")
		}
		g.want(3, 3)
		end(neverCame, two[1], <-ws[0].done, <-ws[1].done)
		end(neverCame, <-ws[2].done)
		g.want(3, 0) // the Ignored did not count
	})
}

// The failures of makes that ran at the same time count once, and so do those
// of what began before the gate closed, whenever they end; a success of those
// does not open it.
func TestMakeGate_OneBurstCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, steady)
		burst := g.begin(10)
		end(wentWrong, burst[:5]...)
		g.wantRefused(100 * time.Millisecond)
		time.Sleep(50 * time.Millisecond)
		burst[5](wentWrong)
		burst[6](went)
		g.want(1, 3)
		g.wantRefused(50 * time.Millisecond)
		g.due(50 * time.Millisecond)
		prober := g.begin(1)
		burst[7](wentWrong)
		g.wantRefused(100 * time.Millisecond)
		end(wentWrong, prober...)
		g.wantRefused(200 * time.Millisecond) // the second failure, not the eighth
		g.due(200 * time.Millisecond)
		end(went, g.begin(1)...)
		burst[8](wentWrong)
		g.want(2, 1)
		end(went, g.begin(2)...)
		g.want(4, 1)
	})
}

// The backoff doubles up to its end, and starts over only after makes have gone
// well for longer than the last one.
func TestMakeGate_Backoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, steady)
		end(wentWrong, g.begin(1)...)
		for _, ms := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			g.due(ms * time.Millisecond)
			end(wentWrong, g.begin(1)...)
		}
		g.due(time.Second)
		end(went, g.begin(1)...)
		time.Sleep(time.Second)
		end(wentWrong, g.begin(1)...)
		g.wantRefused(time.Second) // it went well, but not for long
		g.due(time.Second)
		end(went, g.begin(1)...)
		time.Sleep(time.Second + time.Millisecond)
		end(wentWrong, g.begin(1)...)
		g.wantRefused(100 * time.Millisecond)
	})
}

// Each backoff is jittered within its bounds, and they differ.
func TestMakeGate_Jitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first []time.Duration
		for range 100 {
			g := newGate(t, policy.MakeGateConfig{Concurrent: 1, InitialBackoff: 100 * time.Millisecond, MaxBackoff: 400 * time.Millisecond, Jitter: 0.25})
			for n, middle := range []time.Duration{100, 200, 400, 400} {
				middle *= time.Millisecond
				end(wentWrong, g.begin(1)...)
				var r *resource.Rejection
				if _, err := g.Admit(context.Background(), resource.Request{}); !errors.As(err, &r) {
					t.Fatal(err)
				}
				if r.RetryAfter < middle*3/4 || r.RetryAfter > middle*5/4+1 {
					t.Fatalf("a backoff of %v, want %v and a quarter more or less", r.RetryAfter, middle)
				}
				if n == 0 {
					first = append(first, r.RetryAfter)
				}
				time.Sleep(r.RetryAfter)
			}
		}
		if spread := slices.Max(first) - slices.Min(first); spread < 30*time.Millisecond {
			t.Errorf("100 first backoffs lie within %v, want about 50ms", spread)
		}
	})
}

// A turn that comes when the context ends is not lost.
func TestMakeGate_TurnAtTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, policy.MakeGateConfig{Concurrent: 1})
		for range 200 {
			running := g.begin(1)
			w := g.wait()
			w.stop()
			running[0](went) // before it runs, as a rule
			if done := <-w.done; done != nil {
				done(went)
			}
			<-w.err
			g.want(1, 0)
		}
	})
}

// The shortest backoff is one all the same: a refusal says when to come again.
func TestMakeGate_ShortestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 50 {
			g := newGate(t, policy.MakeGateConfig{Concurrent: 1, InitialBackoff: 1, MaxBackoff: 1, Jitter: 1})
			running := g.begin(1)
			w := g.wait()
			running[0](wentWrong)
			var r *resource.Rejection
			if err := <-w.err; !errors.As(err, &r) || r.RetryAfter < 1 {
				t.Fatalf("%v: retry after %v", err, r.RetryAfter)
			}
		}
	})
}

// A prober that never came to be does not keep others out.
func TestMakeGate_IgnoredProber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, steady)
		end(wentWrong, g.begin(1)...)
		g.due(100 * time.Millisecond)
		for range 3 {
			prober := g.begin(1)
			g.wantRefused(100 * time.Millisecond)
			end(neverCame, prober...)
			g.want(1, 0)
		}
		end(went, g.begin(1)...)
		g.want(2, 0)
	})
}

// The refusal says what failed, and can do with an error that gives none.
func TestMakeGate_Says(t *testing.T) {
	g := newGate(t, steady)
	done := g.begin(1)
	end(wentWrong, done...)
	_, err := g.Admit(context.Background(), resource.Request{})
	if want := "rejected by makegate: policy: resource creation is failing: connection refused"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	g = newGate(t, steady)
	end(resource.Outcome{Verdict: resource.Failed}, g.begin(1)...)
	_, err = g.Admit(context.Background(), resource.Request{})
	if want := "rejected by makegate: policy: resource creation is failing"; err.Error() != want || !errors.Is(err, policy.ErrMakesFail) || !errors.Is(err, resource.ErrRejected) {
		t.Errorf("%q, want %q", err, want)
	}
}

// Whatever becomes of makes, at most so many run, at most one of those begun
// since the gate closed, and in the end it opens.
func TestMakeGate_Random(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		const callers, most = 30, 7
		cfg := steady
		cfg.Concurrent, cfg.Jitter = most, 0.5
		g := newGate(t, cfg)
		var running, began, refused atomic.Int64
		var wg sync.WaitGroup
		for n := range callers {
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			wg.Go(func() {
				for range 200 {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(300))*time.Millisecond)
					done, err := g.Admit(ctx, resource.Request{NoWait: r.IntN(4) == 0})
					cancel()
					if err != nil {
						refused.Add(1)
						time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
						continue
					}
					began.Add(1)
					if now := running.Add(1); now > most {
						t.Errorf("%d run at once", now)
					}
					time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
					running.Add(-1)
					done([]resource.Outcome{went, went, went, went, went, went, went, wentWrong, neverCame}[r.IntN(9)])
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		for range 2 * most {
			end(went, g.begin(1)...)
		}
		g.want(most, 0)
		if began.Load() < 10 || refused.Load() < 10 { // of 1500 seeds the unluckiest let 62 begin
			t.Errorf("%d began and %d were refused, want some of each", began.Load(), refused.Load())
		}
	})
}
