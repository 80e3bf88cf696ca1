package policy_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// An open gate admits up to Concurrent; other requests wait and are served in order.
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
			t.Fatal("the slot did not go to the first waiting request")
		}
		running[0](went) // the second call has no effect
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

// A request whose context has ended is not admitted.
func TestMakeGate_ContextEnded(t *testing.T) {
	g := newGate(t, steady)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if done, err := g.Admit(ctx, resource.Request{}); done != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Admit: %v", err)
	}
	g.want(10, 0)
}

// A failure refuses the waiting requests and all that arrive before the end of the backoff.
// After it, one of a hundred is admitted as the probe.
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
		g.wantBusy() // the limit is two, but with the older ones eleven would run
		end(neverCame, tenth...)
		end(went, running...) // ends the fourth epoch
		g.want(2, 0)
	})
}

// After a success the limit is two, then four, and so on; a failure on the way closes the
// gate again.
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
		g.due(200 * time.Millisecond) // no creation succeeded for longer than the last delay
		end(went, g.begin(1)...)
		two := g.begin(2)
		two[0](went)
		g.want(3, 1)
		two[1](wentWrong)
		g.want(1, 0)
		g.wantRefused(400 * time.Millisecond)
	})
}

// Waiting requests are admitted when the limit rises.
func TestMakeGate_RampLetsThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, steady)
		end(wentWrong, g.begin(1)...)
		g.due(100 * time.Millisecond)
		end(went, g.begin(1)...)
		two := g.begin(2)
		ws := []*waits{g.wait(), g.wait(), g.wait()}
		two[0](went) // the limit is three: two more are admitted
		if ws[0].waiting() || ws[1].waiting() || !ws[2].waiting() {
			t.Error("two of three should be let through")
		}
		g.want(3, 3)
		end(neverCame, two[1], <-ws[0].done, <-ws[1].done)
		end(neverCame, <-ws[2].done)
		g.want(3, 0) // the Ignored outcome did not count
	})
}

// Failures of concurrent creations count once. Creations that began before the gate closed
// do not count, whenever they end; their success does not open it.
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
		g.wantRefused(200 * time.Millisecond) // the backoff of the second failure, not of the eighth
		g.due(200 * time.Millisecond)
		end(went, g.begin(1)...)
		burst[8](wentWrong)
		g.want(2, 1)
		end(went, g.begin(2)...)
		g.want(4, 1)
	})
}

// The backoff doubles up to its maximum, and is reset only after creations have succeeded
// for longer than the last one.
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
		g.wantRefused(time.Second) // creations succeeded, but not for long enough
		g.due(time.Second)
		end(went, g.begin(1)...)
		time.Sleep(time.Second + time.Millisecond)
		end(wentWrong, g.begin(1)...)
		g.wantRefused(100 * time.Millisecond)
	})
}

// Each backoff has jitter within its bounds, and they differ.
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

// Without a Jitter the delays are spread by DefaultJitter, and with a Jitter of 1 between none and twice the delay.
func TestMakeGate_JitterOrDefault(t *testing.T) {
	for jitter, want := range map[float64]float64{0: policy.DefaultJitter, 1: 1} {
		synctest.Test(t, func(t *testing.T) {
			var least, most time.Duration
			for range 200 {
				g := newGate(t, policy.MakeGateConfig{Concurrent: 1, InitialBackoff: time.Second, Jitter: jitter})
				end(wentWrong, g.begin(1)...)
				var r *resource.Rejection
				if _, err := g.Admit(context.Background(), resource.Request{}); !errors.As(err, &r) {
					t.Fatal(err)
				}
				if least == 0 || r.RetryAfter < least {
					least = r.RetryAfter
				}
				most = max(most, r.RetryAfter)
			}
			if spread := (most - least).Seconds() / 2; spread > want+1e-6 || spread < 0.9*want { // by chance once in 10^7
				t.Errorf("a jitter of %v: 200 delays of a second lie between %v and %v, want ± %v", jitter, least, most, want)
			}
		})
	}
}

// A backoff that is not set follows from the other one, or is the default.
func TestMakeGate_DefaultBackoff(t *testing.T) {
	const tiny = 1e-9 // no jitter
	for _, c := range []struct{ initial, most, first, second, later time.Duration }{
		{first: 100 * time.Millisecond, second: 200 * time.Millisecond, later: 5 * time.Second},
		{initial: time.Second, first: time.Second, second: 2 * time.Second, later: 5 * time.Second},
		{initial: 10 * time.Second, first: 10 * time.Second, second: 10 * time.Second, later: 10 * time.Second},
		{most: 50 * time.Millisecond, first: 50 * time.Millisecond, second: 50 * time.Millisecond, later: 50 * time.Millisecond},
		{most: 150 * time.Millisecond, first: 100 * time.Millisecond, second: 150 * time.Millisecond, later: 150 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(t, policy.MakeGateConfig{Concurrent: 1, InitialBackoff: c.initial, MaxBackoff: c.most, Jitter: tiny})
			for n, want := range []time.Duration{c.first, c.second, 0, 0, 0, 0, c.later, c.later} {
				end(wentWrong, g.begin(1)...)
				var r *resource.Rejection
				if _, err := g.Admit(context.Background(), resource.Request{}); !errors.As(err, &r) {
					t.Fatal(err)
				}
				if want > 0 && (r.RetryAfter-want).Abs() > time.Millisecond {
					t.Errorf("%v and %v: backoff %d is %v, want %v", c.initial, c.most, n, r.RetryAfter, want)
				}
				time.Sleep(r.RetryAfter)
			}
		})
	}
}

// A permit granted at the instant at which the context ends is not lost.
func TestMakeGate_TurnAtTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, policy.MakeGateConfig{Concurrent: 1})
		for range 200 {
			running := g.begin(1)
			w := g.wait()
			w.stop()
			running[0](went) // usually before that goroutine runs
			if done := <-w.done; done != nil {
				done(went)
			}
			<-w.err
			g.want(1, 0)
		}
	})
}

// Even with the shortest backoff a refusal has a RetryAfter.
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

// An Ignored probe does not block the next one.
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

// The refusal wraps the failure; a nil error is possible.
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

// With random outcomes, at most Concurrent creations run, at most one of those that began
// since the gate closed, and the gate opens in the end.
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
		if began.Load() < 10 || refused.Load() < 10 { // the minimum over 1500 seeds was 62
			t.Errorf("%d began and %d were refused, want some of each", began.Load(), refused.Load())
		}
	})
}

func TestMakeGate_Config(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  policy.MakeGateConfig
		says []string // none: valid
	}{
		{name: "all wrong", cfg: policy.MakeGateConfig{Concurrent: 0, InitialBackoff: -1, MaxBackoff: -1, Multiplier: 0.5, Jitter: 2},
			says: []string{"policy: invalid MakeGateConfig", "Concurrent must be at least 1, got 0", "InitialBackoff must not be negative, got -1ns", "MaxBackoff must not be negative, got -1ns", "at least 1, got 0.5", "between 0 and 1, got 2"}},
		{name: "initial over max", cfg: policy.MakeGateConfig{Concurrent: 1, InitialBackoff: 2, MaxBackoff: 1}, says: []string{"InitialBackoff must be at most MaxBackoff 1ns, got 2ns"}},
		{name: "too long", cfg: policy.MakeGateConfig{Concurrent: 1, InitialBackoff: 1 << 62, MaxBackoff: 1 << 62}, says: []string{"MaxBackoff must be at most 87600h0m0s", "InitialBackoff must be at most 87600h0m0s"}},
		{name: "no numbers", cfg: policy.MakeGateConfig{Concurrent: 1, Multiplier: nan(), Jitter: nan()}, says: []string{"at least 1, got NaN", "between 0 and 1, got NaN"}},
		{name: "endless", cfg: policy.MakeGateConfig{Concurrent: 1, Multiplier: 1 / zero}, says: []string{"must be finite and at least 1, got +Inf"}},
		{name: "defaults", cfg: policy.MakeGateConfig{Concurrent: 1}},
		{name: "long initial", cfg: policy.MakeGateConfig{Concurrent: 1, InitialBackoff: time.Hour}},
		{name: "short max", cfg: policy.MakeGateConfig{Concurrent: 1, MaxBackoff: time.Millisecond}},
		{name: "extremes", cfg: policy.MakeGateConfig{Concurrent: 1, InitialBackoff: 10 * 365 * 24 * time.Hour, MaxBackoff: 10 * 365 * 24 * time.Hour, Multiplier: 1e300, Jitter: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := policy.NewMakeGate(c.cfg)
			if (err == nil) != (c.says == nil) || (g == nil) != (err != nil) {
				t.Fatalf("%v", err)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
		})
	}
}

// The defaults of the first and the last backoff.
func TestMakeGate_Defaults(t *testing.T) {
	for _, c := range []struct {
		name        string
		cfg         policy.MakeGateConfig
		first, last time.Duration
	}{
		{"both", policy.MakeGateConfig{}, policy.DefaultInitialBackoff, policy.DefaultMaxBackoff},
		{"long initial", policy.MakeGateConfig{InitialBackoff: time.Hour}, time.Hour, time.Hour},
		{"short max", policy.MakeGateConfig{MaxBackoff: time.Millisecond}, time.Millisecond, time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.cfg.Concurrent = 1
				g := newGate(t, c.cfg)
				for n := range 20 {
					middle := min(c.first<<n, c.last)
					end(wentWrong, g.begin(1)...)
					var r *resource.Rejection
					if _, err := g.Admit(context.Background(), resource.Request{}); !errors.As(err, &r) {
						t.Fatal(err)
					}
					j := time.Duration(policy.DefaultJitter * float64(middle))
					if r.RetryAfter < middle-j || r.RetryAfter > middle+j+1 {
						t.Fatalf("backoff %d is %v, want %v ± %v", n, r.RetryAfter, middle, j)
					}
					time.Sleep(r.RetryAfter)
				}
			})
		})
	}
}

var zero float64

func nan() float64 { return zero / zero }

var errRefused = errors.New("connection refused")

// A gate with backoffs of 100 ms, 200 ms, …, 1 s, whose jitter is below a microsecond.
var steady = policy.MakeGateConfig{
	Concurrent: 10, InitialBackoff: 100 * time.Millisecond, MaxBackoff: time.Second, Multiplier: 2, Jitter: 1e-12,
}

func newGate(t *testing.T, cfg policy.MakeGateConfig) *gateTest {
	t.Helper()
	g, err := policy.NewMakeGate(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &gateTest{MakeGate: g, t: t}
}

// gateTest drives a gate step by step, in a bubble.
type gateTest struct {
	*policy.MakeGate
	t *testing.T
}

// begin makes n requests, which must be admitted at once.
func (g *gateTest) begin(n int) (dones []resource.Done) {
	g.t.Helper()
	for range n {
		done, err := g.Admit(context.Background(), resource.Request{NoWait: true})
		if err != nil {
			g.t.Fatalf("Admit: %v", err)
		}
		dones = append(dones, done)
	}
	return dones
}

// wantRefused makes a request, which must be refused with ErrMakesFail and the RetryAfter
// retry, to the microsecond.
func (g *gateTest) wantRefused(retry time.Duration) {
	g.t.Helper()
	done, err := g.Admit(context.Background(), resource.Request{})
	g.wantRefusal(done, err, retry)
}

func (g *gateTest) wantRefusal(done resource.Done, err error, retry time.Duration) {
	g.t.Helper()
	var r *resource.Rejection
	if done != nil || !errors.Is(err, policy.ErrMakesFail) || !errors.Is(err, errRefused) || !errors.As(err, &r) {
		g.t.Fatalf("Admit: %v, and there is a Done: %v; want %v", err, done != nil, policy.ErrMakesFail)
	}
	if r.RetryAfter.Round(time.Microsecond) != retry {
		g.t.Fatalf("refused for %v, want %v", r.RetryAfter, retry)
	}
}

// wantBusy makes a request, which must not be admitted.
func (g *gateTest) wantBusy() {
	g.t.Helper()
	if done, err := g.Admit(context.Background(), resource.Request{NoWait: true}); done != nil || !errors.Is(err, policy.ErrMakesBusy) {
		g.t.Fatalf("Admit: %v, want %v", err, policy.ErrMakesBusy)
	}
}

func (g *gateTest) want(limit, inFlight int) {
	g.t.Helper()
	if g.Limit() != limit || g.InFlight() != inFlight {
		g.t.Fatalf("%d of %d run, want %d of %d", g.InFlight(), g.Limit(), inFlight, limit)
	}
}

// due waits for the end of a backoff.
func (g *gateTest) due(backoff time.Duration) {
	time.Sleep(backoff - time.Microsecond)
	g.wantRefused(time.Microsecond)
	time.Sleep(2 * time.Microsecond)
}

// end calls the dones with an outcome.
func end(o resource.Outcome, dones ...resource.Done) {
	for _, done := range dones {
		done(o)
	}
}

var (
	went      = resource.Outcome{Verdict: resource.OK}
	wentWrong = resource.Outcome{Verdict: resource.Failed, Err: errRefused}
	neverCame = resource.Outcome{}
)

// waits is a request that waits in Admit.
type waits struct {
	done chan resource.Done
	err  chan error
	stop context.CancelFunc
}

func (g *gateTest) wait() *waits {
	ctx, cancel := context.WithCancel(context.Background())
	w := &waits{make(chan resource.Done, 1), make(chan error, 1), cancel}
	go func() {
		done, err := g.Admit(ctx, resource.Request{})
		w.done <- done
		w.err <- err
	}()
	synctest.Wait()
	return w
}

func (w *waits) waiting() bool {
	synctest.Wait()
	return len(w.err) == 0
}

// The gate in a pool.

// server is the server of a test. It counts concurrent creations.
type server struct {
	mu    sync.Mutex
	down  bool
	takes time.Duration // duration of a creation
	now   int           // running creations
	most  int           // largest value of now since set
	began []time.Duration
	start time.Time
}

func (s *server) dial(ctx context.Context) (int, error) {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.began = append(s.began, time.Since(s.start))
	takes, n := s.takes, len(s.began)
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	if s.down {
		return 0, errRefused
	}
	return n, ctx.Err()
}

// set changes the server and resets the counts.
func (s *server) set(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down, s.most, s.began, s.start = down, s.now, nil, time.Now()
}

// seen returns the times at which creations began since set, and the largest number that
// ran at once.
func (s *server) seen() (began []time.Duration, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.began), s.most
}

// A pool of 100 with 100 callers: while the server is down it sees one creation at a time,
// at growing intervals; when it is up, 1, 2, 4, … until all are served.
func TestMakeGate_Storm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, steady)
		s := &server{takes: 10 * time.Millisecond}
		s.set(true)
		l := lend(t, resource.Config[int]{MaxSize: 100, Make: s.dial, MakeGate: g, Outage: resource.KeepWaiting})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				lease, err := l.Acquire(context.Background())
				if err != nil {
					t.Errorf("Acquire: %v", err)
					return
				}
				time.Sleep(time.Hour)
				lease.Release()
			})
		}
		time.Sleep(time.Second)
		// First 10 at once, then one after 0.1, 0.3, 0.7 and 1.5 s at the earliest.
		if began, most := s.seen(); most > 10 || len(began) < 11 || len(began) > 14 {
			t.Errorf("the server saw %d makes in a second, %d at once; want about 13, and 10", len(began), most)
		}
		time.Sleep(9 * time.Second)
		s.set(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if load := l.Stats().Load; load.Leased != 100 {
			t.Errorf("a minute later: %v", load)
		}
		began, most := s.seen()
		if len(began) != 100 || most > 10 {
			t.Errorf("%d makes, %d at once; want 100, and at most 10", len(began), most)
		}
		rounds := map[int]int{}
		for _, at := range began {
			rounds[int((at-began[0])/s.takes)]++
		}
		t.Logf("up again: the first make after %v, the last after %v; makes by round: %v", began[0], began[99], rounds)
		for n, want := range []int{1, 2, 4, 8, 10} {
			if got := rounds[n]; got > want {
				t.Errorf("%d makes began in round %d, want at most %d", got, n+1, want)
			}
		}
		if took := began[99] - began[0]; took > time.Second {
			t.Errorf("the last make began %v after the first that succeeded", took)
		}
		wg.Wait()
	})
}

// Two pools with one gate share what it learns about the server.
func TestMakeGate_Shared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, steady)
		s := &server{takes: time.Millisecond}
		s.set(true)
		cfg := resource.Config[int]{MaxSize: 10, Make: s.dial, MakeGate: g, Outage: resource.KeepWaiting}
		a, b := lend(t, cfg), lend(t, cfg)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if _, err := a.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire: %v", err)
		}
		if _, err := b.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire: %v", err)
		}
		ctx, cancel = context.WithTimeout(context.Background(), 40*time.Millisecond)
		defer cancel()
		if _, err := b.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire: %v", err)
		}
		if began, _ := s.seen(); len(began) != 1 {
			t.Errorf("the server saw %d makes in 90 ms, want 1", len(began))
		}
	})
}

// Close of a pool ends its creations that wait in Admit and does not change the gate.
func TestMakeGate_Close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, policy.MakeGateConfig{Concurrent: 1})
		other := g.begin(1) // of another pool
		l := lend(t, resource.Config[int]{MaxSize: 3, MinIdle: 3, MakeGate: g})
		synctest.Wait()
		if load := l.Stats().Load; load.Making != 3 {
			t.Fatalf("%v, want 3 in the making", load)
		}
		began := time.Now()
		if err := l.Close(context.Background()); err != nil || time.Since(began) > 0 {
			t.Errorf("Close: %v, after %v", err, time.Since(began))
		}
		g.want(1, 1)
		end(went, other...)
		end(went, g.begin(1)...)
		g.want(1, 0)
	})
}

// The gate gets its permit back however a creation ends: by a panic, by a timeout, or
// because the pool was closed.
func TestMakeGate_Endings(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(ctx context.Context) (int, error)
	}{
		{"panic", func(context.Context) (int, error) { panic("out of order") }},
		{"time-out", func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }},
		{"too late", func(context.Context) (int, error) { time.Sleep(time.Hour); return 0, errRefused }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, policy.MakeGateConfig{Concurrent: 1})
				l := lend(t, resource.Config[int]{MaxSize: 1, Make: c.make, MakeGate: g, MakeTimeout: time.Second})
				if _, err := l.Acquire(context.Background()); err == nil {
					t.Error("acquired what failed")
				}
				synctest.Wait()
				g.want(1, 0)
				if _, err := g.Admit(context.Background(), resource.Request{}); !errors.Is(err, policy.ErrMakesFail) {
					t.Errorf("after a wentWrong make Admit says %v", err)
				}
				time.Sleep(time.Hour) // until the late creation ends
			})
		})
	}
}
