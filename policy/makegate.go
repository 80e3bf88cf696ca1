package policy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/respool/respool/resource"
)

// Reasons why a [MakeGate] refuses, wrapped in a [*resource.Rejection]. That of
// ErrMakesFail carries the time after which to ask again.
var (
	// ErrMakesFail: resource creation is failing, and the next attempt is in
	// progress or not yet due. The refusal wraps the last failure too.
	ErrMakesFail = errors.New("policy: resource creation is failing")
	// ErrMakesBusy: the limit of concurrent creations is in use, and the request
	// has NoWait.
	ErrMakesBusy = errors.New("policy: too many resource creations in progress")
)

// MakeGate is a [resource.Admission] for [resource.Config.MakeGate]. It bounds the
// number of concurrent resource creations, and protects a server that is down or
// restarting from a burst of them. Several pools of one server may share a gate; they
// then share what it has learned about failures. Create one with [NewMakeGate]. Its
// methods are safe for concurrent use.
//
// While the gate is open up to Concurrent creations run, and Admit blocks for the
// others. A failed creation closes the gate: waiting requests are refused with a
// RetryAfter, and so are new ones until the backoff has passed. The first request after
// that is the probe; others are refused until it ends. If the probe fails the backoff
// grows. If it succeeds the limit is two, and each further success raises it by one,
// up to Concurrent; in effect it doubles per round (slow start). Any failure on the way
// closes the gate again. The backoff is reset only if creations had succeeded for
// longer than the last delay.
//
// Creations that were running when the gate closed do not count: the failures of one
// burst count once. An Ignored outcome does not count either; if it was the probe, the
// next request is the probe.
type MakeGate struct {
	concurrent int
	initial    time.Duration

	mu       sync.Mutex
	backoff  backoff.ExponentialBackOff
	running  int           // all creations
	limit    int           // of creations begun since the gate last closed
	current  int           // creations running that began since the gate last closed
	closed   bool          // creation is failing; limit is 1, for the probe
	epoch    uint64        // number of times the gate has closed
	probeAt  time.Time     // when the probe may begin
	delay    time.Duration // from the last failure to probeAt
	openedAt time.Time     // when a probe last succeeded
	lastErr  error         // the failure that closed the gate
	waiting  []*makeWaiter // in order of arrival; empty while closed
}

// makeWaiter is a request that waits in Admit.
type makeWaiter struct {
	ready chan struct{} // closed once done or err is set
	done  resource.Done
	err   error
}

// NewMakeGate returns an open gate. The error names every invalid field.
func NewMakeGate(cfg MakeGateConfig) (*MakeGate, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	return &MakeGate{
		concurrent: cfg.Concurrent,
		limit:      cfg.Concurrent,
		initial:    cfg.InitialBackoff,
		backoff: backoff.ExponentialBackOff{
			InitialInterval:     cfg.InitialBackoff,
			MaxInterval:         cfg.MaxBackoff,
			Multiplier:          cfg.Multiplier,
			RandomizationFactor: cfg.Jitter,
		},
	}, nil
}

// Admit admits one creation. While the limit is in use it blocks until ctx ends, or
// with r.NoWait fails with [ErrMakesBusy]. While creation is failing it does not block
// and fails with [ErrMakesFail]. The returned Done is never nil.
func (g *MakeGate) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if g.concurrent == 0 {
		panic("policy: MakeGate: create one with NewMakeGate")
	}
	g.mu.Lock()
	if g.closed {
		defer g.mu.Unlock()
		return g.probeLocked(time.Now())
	}
	if g.hasRoomLocked() { // then no request waits: see finishLocked
		defer g.mu.Unlock()
		return g.beginLocked(), nil
	}
	if r.NoWait {
		g.mu.Unlock()
		return nil, &resource.Rejection{Policy: "makegate", Err: ErrMakesBusy}
	}
	w := &makeWaiter{ready: make(chan struct{})}
	g.waiting = append(g.waiting, w)
	g.mu.Unlock()
	select {
	case <-w.ready:
	case <-ctx.Done():
		if g.removeWaiter(w) {
			return nil, ctx.Err()
		}
		<-w.ready // answered at the same moment: return the answer
	}
	return w.done, w.err
}

// Limit returns how many creations may run at once: Concurrent while the gate is
// open, 1 while creation is failing. Creations that were running when the gate closed
// are not counted against it.
func (g *MakeGate) Limit() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limit
}

// InFlight returns the number of running creations. It never exceeds Concurrent.
func (g *MakeGate) InFlight() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running
}

// hasRoomLocked reports whether another creation may begin.
func (g *MakeGate) hasRoomLocked() bool { return g.current < g.limit && g.running < g.concurrent }

// beginLocked counts a creation and returns its Done.
func (g *MakeGate) beginLocked() resource.Done {
	g.running++
	g.current++
	epoch, ended := g.epoch, false
	return func(o resource.Outcome) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if ended {
			return
		}
		ended = true
		g.finishLocked(epoch, o)
	}
}

// probeLocked begins the probe if it is due and none is running.
func (g *MakeGate) probeLocked(now time.Time) (resource.Done, error) {
	wait := g.probeAt.Sub(now)
	if wait <= 0 && g.hasRoomLocked() {
		return g.beginLocked(), nil
	}
	if g.current > 0 {
		wait = g.initial // the duration of the probe is unknown
	}
	return nil, g.refusalLocked(wait)
}

func (g *MakeGate) refusalLocked(wait time.Duration) error {
	return &resource.Rejection{Policy: "makegate", RetryAfter: max(wait, 1), Err: &creationError{g.lastErr}}
}

// finishLocked ends a creation that began in the given epoch. Its outcome counts
// only if the gate has not closed since.
func (g *MakeGate) finishLocked(epoch uint64, o resource.Outcome) {
	g.running--
	if epoch == g.epoch {
		g.current--
		switch o.Verdict {
		case resource.OK:
			g.succeedLocked()
		case resource.Failed:
			g.failLocked(time.Now(), o.Err)
		}
	}
	for len(g.waiting) > 0 && g.hasRoomLocked() {
		w := g.waiting[0]
		g.waiting[0] = nil
		g.waiting = g.waiting[1:]
		w.done = g.beginLocked()
		close(w.ready)
	}
}

// succeedLocked opens the gate and raises the limit by one.
func (g *MakeGate) succeedLocked() {
	if g.closed {
		g.closed = false
		g.openedAt = time.Now()
	}
	g.limit = min(g.limit+1, g.concurrent)
}

// failLocked closes the gate and refuses the waiting requests.
func (g *MakeGate) failLocked(now time.Time, err error) {
	if !g.closed && now.Sub(g.openedAt) > g.delay {
		g.backoff.Reset()
	}
	g.closed, g.limit, g.current, g.lastErr = true, 1, 0, err
	g.epoch++
	g.delay = max(0, g.backoff.NextBackOff())
	g.probeAt = now.Add(g.delay)
	refusal := g.refusalLocked(g.delay)
	for _, w := range g.waiting {
		w.err = refusal
		close(w.ready)
	}
	g.waiting = nil
}

// removeWaiter removes w from the queue. It reports false if w has been answered.
func (g *MakeGate) removeWaiter(w *makeWaiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, w)
	if i < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	return true
}

// creationError is ErrMakesFail together with the failure that closed the gate. Its
// text is built on demand: that calls methods of an error returned by Make, which
// must not happen with the lock held.
type creationError struct{ last error }

func (e *creationError) Error() string {
	if e.last == nil {
		return ErrMakesFail.Error()
	}
	return fmt.Sprintf("%v: %v", ErrMakesFail, e.last)
}

func (e *creationError) Unwrap() []error {
	if e.last == nil {
		return []error{ErrMakesFail}
	}
	return []error{ErrMakesFail, e.last}
}

// Defaults for zero fields of a [MakeGateConfig].
const (
	DefaultInitialBackoff = 100 * time.Millisecond
	DefaultMaxBackoff     = 5 * time.Second
	DefaultMultiplier     = 2.0
	DefaultJitter         = 0.5
)

// MakeGateConfig configures a [MakeGate]. Only Concurrent is required.
type MakeGateConfig struct {
	// Concurrent is how many creations may run at once. At least 1.
	Concurrent int
	// InitialBackoff is the delay after the first failure, before jitter. Zero
	// means DefaultInitialBackoff, or MaxBackoff if that is smaller.
	InitialBackoff time.Duration
	// MaxBackoff is the largest delay, before jitter; at most 10 years. Zero means
	// DefaultMaxBackoff, or InitialBackoff if that is larger.
	MaxBackoff time.Duration
	// Multiplier is the factor by which each delay exceeds the previous one. At
	// least 1. Zero means DefaultMultiplier.
	Multiplier float64
	// Jitter distributes each delay uniformly between 1-Jitter and 1+Jitter times
	// its length, so that many processes do not retry in lockstep. Between 0 and 1.
	// Zero means DefaultJitter; for no jitter, which is seldom wise, set a tiny
	// value.
	Jitter float64
}

// maxBackoff keeps sums of durations from overflowing.
const maxBackoff = 10 * 365 * 24 * time.Hour

// check returns an error that names every invalid field.
func (c *MakeGateConfig) check() error {
	var errs []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	require(c.Concurrent >= 1, "Concurrent must be at least 1, got %d", c.Concurrent)
	require(c.InitialBackoff >= 0, "InitialBackoff must not be negative, got %v", c.InitialBackoff)
	require(c.MaxBackoff >= 0, "MaxBackoff must not be negative, got %v", c.MaxBackoff)
	require(c.MaxBackoff <= maxBackoff, "MaxBackoff must be at most %v, got %v", maxBackoff, c.MaxBackoff)
	require(c.InitialBackoff <= maxBackoff, "InitialBackoff must be at most %v, got %v", maxBackoff, c.InitialBackoff)
	require(c.MaxBackoff <= 0 || c.InitialBackoff <= c.MaxBackoff, "InitialBackoff must be at most MaxBackoff %v, got %v", c.MaxBackoff, c.InitialBackoff)
	require(c.Multiplier == 0 || c.Multiplier >= 1 && !math.IsInf(c.Multiplier, 1), "Multiplier must be finite and at least 1, got %v", c.Multiplier)
	require(c.Jitter >= 0 && c.Jitter <= 1, "Jitter must be between 0 and 1, got %v", c.Jitter)
	if errs == nil {
		return nil
	}
	return fmt.Errorf("policy: invalid MakeGateConfig: %w", errors.Join(errs...))
}

// withDefaults returns a copy in which zero fields have their defaults.
func (c MakeGateConfig) withDefaults() MakeGateConfig {
	switch {
	case c.InitialBackoff == 0 && c.MaxBackoff == 0:
		c.InitialBackoff, c.MaxBackoff = DefaultInitialBackoff, DefaultMaxBackoff
	case c.InitialBackoff == 0:
		c.InitialBackoff = min(DefaultInitialBackoff, c.MaxBackoff)
	case c.MaxBackoff == 0:
		c.MaxBackoff = max(DefaultMaxBackoff, c.InitialBackoff)
	}
	if c.Multiplier == 0 {
		c.Multiplier = DefaultMultiplier
	}
	if c.Jitter == 0 {
		c.Jitter = DefaultJitter
	}
	return c
}
