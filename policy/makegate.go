package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/respool/respool/resource"
)

// What a [MakeGate] refuses with, in a [*resource.Rejection] that says how long
// to wait.
var (
	// ErrMakesFail: makes fail just now, and one that tries whether they go
	// well again is out, or not yet due. The last failure is in the error too.
	ErrMakesFail = errors.New("policy: makes fail just now")
	// ErrMakesBusy: as many run as may, and the request did not want to wait.
	ErrMakesBusy = errors.New("policy: enough makes run already")
)

// MakeGate is a [resource.Admission] for [resource.Config.MakeGate]: it bounds
// how many makes run at once, and protects a server that is down, or comes up
// again, from all who want to make. One gate may serve many pools that make
// from the same server; then they learn from each other's failures. Make one
// with [NewMakeGate]. Its methods may be called by any number of goroutines at
// once.
//
// While all is well up to Concurrent makes run, and the next waits its turn in
// Admit. A failed make closes the gate: those who wait are refused, with a
// RetryAfter, and so is who comes before the backoff has passed. The first to
// come then is the prober, and others are refused until it is back. If it fails
// the backoff grows. If it succeeds two makes may run, and one more with each
// further success, which doubles them from round to round, up to Concurrent.
// Any failure on the way closes the gate again; the backoff starts over only if
// makes had gone well for longer than the last delay.
//
// Makes that were under way when the gate closed tell nothing new: the failures
// of one burst count once. A make with the verdict Ignored tells nothing
// either, and if it was the prober the next to come takes its place.
type MakeGate struct {
	concurrent int
	initial    time.Duration

	mu      sync.Mutex
	backoff backoff.ExponentialBackOff
	running int           // all makes
	allowed int           // how many may run that began since the gate last closed
	fresh   int           // how many of those run
	closed  bool          // makes fail; allowed is 1, for the prober
	term    uint64        // how often it has closed
	next    time.Time     // when the prober may go
	delay   time.Duration // from the last failure to next
	well    time.Time     // when a prober last succeeded
	last    error         // the failure that closed the gate
	waiting []*makeTurn   // the first in front; none while closed
}

// makeTurn is one who waits in Admit.
type makeTurn struct {
	ready chan struct{} // closed when done or refused is set
	done  resource.Done
	err   error
}

// NewMakeGate returns a gate that is open. The error names every bad field.
func NewMakeGate(cfg MakeGateConfig) (*MakeGate, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	return &MakeGate{
		concurrent: cfg.Concurrent,
		allowed:    cfg.Concurrent,
		initial:    cfg.InitialBackoff,
		backoff: backoff.ExponentialBackOff{
			InitialInterval:     cfg.InitialBackoff,
			MaxInterval:         cfg.MaxBackoff,
			Multiplier:          cfg.Multiplier,
			RandomizationFactor: cfg.Jitter,
		},
	}, nil
}

// Admit lets a make begin. It blocks while as many run as may, until ctx ends,
// unless r.NoWait; then it fails with [ErrMakesBusy]. While makes fail it does
// not block and fails with [ErrMakesFail]. The Done it returns is never nil.
func (g *MakeGate) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	g.mu.Lock()
	if g.closed {
		defer g.mu.Unlock()
		return g.probe(time.Now())
	}
	if g.free() { // then nobody waits: see end
		defer g.mu.Unlock()
		return g.begin(), nil
	}
	if r.NoWait {
		g.mu.Unlock()
		return nil, &resource.Rejection{Policy: "makegate", Err: ErrMakesBusy}
	}
	t := &makeTurn{ready: make(chan struct{})}
	g.waiting = append(g.waiting, t)
	g.mu.Unlock()
	select {
	case <-t.ready:
	case <-ctx.Done():
		if g.leave(t) {
			return nil, ctx.Err()
		}
		<-t.ready // its turn came at the same moment: the caller decides
	}
	return t.done, t.err
}

// Limit returns how many makes may run at once just now: Concurrent while all
// is well, 1 while makes fail. Those under way when the gate closed come on
// top.
func (g *MakeGate) Limit() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.allowed
}

// InFlight returns how many makes run. It is never more than Concurrent.
func (g *MakeGate) InFlight() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running
}

// free reports whether another may begin. g is locked.
func (g *MakeGate) free() bool { return g.fresh < g.allowed && g.running < g.concurrent }

// begin counts a make in. g is locked.
func (g *MakeGate) begin() resource.Done {
	g.running++
	g.fresh++
	term, ended := g.term, false
	return func(o resource.Outcome) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if ended {
			return
		}
		ended = true
		g.end(term, o)
	}
}

// probe lets the prober go, if it is time and none is out. g is locked.
func (g *MakeGate) probe(now time.Time) (resource.Done, error) {
	wait := g.next.Sub(now)
	if wait <= 0 && g.free() {
		return g.begin(), nil
	}
	if g.fresh > 0 {
		wait = g.initial // nobody knows how long the prober takes
	}
	return nil, g.refusal(wait)
}

func (g *MakeGate) refusal(wait time.Duration) error {
	return &resource.Rejection{Policy: "makegate", RetryAfter: max(wait, 1), Err: &makesFail{g.last}}
}

// end counts out a make that began in that term, and learns from it if it is
// still the same one. g is locked.
func (g *MakeGate) end(term uint64, o resource.Outcome) {
	g.running--
	if term == g.term {
		g.fresh--
		switch o.Verdict {
		case resource.OK:
			g.succeeded()
		case resource.Failed:
			g.fail(time.Now(), o.Err)
		}
	}
	for len(g.waiting) > 0 && g.free() {
		t := g.waiting[0]
		g.waiting[0] = nil
		g.waiting = g.waiting[1:]
		t.done = g.begin()
		close(t.ready)
	}
}

// succeeded opens the gate, or opens it wider. g is locked.
func (g *MakeGate) succeeded() {
	if g.closed {
		g.closed = false
		g.well = time.Now()
	}
	g.allowed = min(g.allowed+1, g.concurrent)
}

// fail closes the gate. g is locked.
func (g *MakeGate) fail(now time.Time, err error) {
	if !g.closed && now.Sub(g.well) > g.delay {
		g.backoff.Reset()
	}
	g.closed, g.allowed, g.fresh, g.last = true, 1, 0, err
	g.term++
	g.delay = max(0, g.backoff.NextBackOff())
	g.next = now.Add(g.delay)
	refusal := g.refusal(g.delay)
	for _, t := range g.waiting {
		t.err = refusal
		close(t.ready)
	}
	g.waiting = nil
}

// leave takes t out of the line. It reports false if it is no longer there.
func (g *MakeGate) leave(t *makeTurn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, t)
	if i < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	return true
}

// makesFail is ErrMakesFail and the failure that it comes from. Its text is
// made when it is asked for: that calls the methods of a Make's own error,
// which must not happen under a lock.
type makesFail struct{ last error }

func (e *makesFail) Error() string {
	if e.last == nil {
		return ErrMakesFail.Error()
	}
	return fmt.Sprintf("%v: %v", ErrMakesFail, e.last)
}

func (e *makesFail) Unwrap() []error {
	if e.last == nil {
		return []error{ErrMakesFail}
	}
	return []error{ErrMakesFail, e.last}
}
