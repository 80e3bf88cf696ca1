package policy_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

var errRefused = errors.New("connection refused")

// A gate with backoffs of 100 ms, 200 ms, …, 1 s, so little jittered that it
// does not show in microseconds.
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

// gateTest is a gate that a script talks to, in a bubble.
type gateTest struct {
	*policy.MakeGate
	t *testing.T
}

// begin must be let through at once, n times.
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

// wantRefused must be refused because makes fail, for retry to the microsecond.
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

// wantBusy must not be let through for now.
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

// end tells the dones how it went.
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

// waits is one who waits in Admit.
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
