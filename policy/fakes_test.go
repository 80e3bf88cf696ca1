package policy_test

import (
	"context"
	"math"
	"sync"
	"time"
)

// The method sets of the libraries, in the simplest way that is right. That the
// libraries themselves fit is tested in examples/policies.

// slots is a weighted semaphore of the size of its buffer.
type slots chan struct{}

func (s slots) Acquire(ctx context.Context, n int64) error {
	for i := range n {
		select {
		case s <- struct{}{}:
		case <-ctx.Done():
			s.Release(i)
			return ctx.Err()
		}
	}
	return nil
}

func (s slots) TryAcquire(n int64) bool {
	for i := range n {
		select {
		case s <- struct{}{}:
		default:
			s.Release(i)
			return false
		}
	}
	return true
}

func (s slots) Release(n int64) {
	for range n {
		<-s
	}
}

// bucket is a token bucket; each token takes every to come.
type bucket struct {
	mu    sync.Mutex
	size  int // the burst
	full  int // tokens, in units of one; below zero: reserved
	every time.Duration
	last  time.Time
}

type reservation struct {
	b     *bucket
	n     int
	ready time.Time
	never bool
}

func (b *bucket) advance(t time.Time) {
	if b.every == 0 || b.last.IsZero() {
		b.last = t
		return
	}
	n := int(t.Sub(b.last) / b.every)
	b.last = b.last.Add(time.Duration(n) * b.every)
	if b.full += n; b.full >= b.size {
		b.full, b.last = b.size, t
	}
}

func (b *bucket) AllowN(t time.Time, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(t)
	if n > b.full {
		return false
	}
	b.full -= n
	return true
}

func (b *bucket) ReserveN(t time.Time, n int) *reservation {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(t)
	if n > b.size {
		return &reservation{never: true}
	}
	b.full -= n
	r := &reservation{b: b, n: n, ready: t}
	switch {
	case b.full >= 0:
	case b.every == 0:
		r.ready = t.Add(math.MaxInt64)
	default:
		r.ready = b.last.Add(time.Duration(-b.full) * b.every)
	}
	return r
}

func (r *reservation) OK() bool             { return !r.never }
func (r *reservation) Delay() time.Duration { return time.Until(r.ready) }

func (r *reservation) Cancel() {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	r.b.full += r.n
}

// twoStep is a breaker that is open if err is set.
type twoStep struct {
	err    error
	silent bool // gives no function
	told   []error
}

func (b *twoStep) Allow() (func(error), error) {
	if b.err != nil {
		return nil, b.err
	}
	if b.silent {
		return nil, nil
	}
	return func(err error) { b.told = append(b.told, err) }, nil
}

// trials is a breaker in the manner of failsafe-go: while half-open it permits
// one trial, and only a record gives that back.
type trials struct {
	open, halfOpen, out bool
	recorded            []string
}

func (b *trials) TryAcquirePermit() bool {
	if b.open || b.halfOpen && b.out {
		return false
	}
	b.out = b.halfOpen
	return true
}

func (b *trials) IsHalfOpen() bool { return b.halfOpen }

func (b *trials) RemainingDelay() time.Duration {
	if b.open {
		return time.Minute
	}
	return 0
}

func (b *trials) record(what string, good bool) {
	b.recorded = append(b.recorded, what)
	if b.halfOpen {
		b.halfOpen, b.out, b.open = false, false, !good
	}
}

func (b *trials) RecordSuccess()        { b.record("success", true) }
func (b *trials) RecordError(err error) { b.record(err.Error(), false) }
func (b *trials) RecordFailure()        { b.record("failure", false) }

// throttler refuses if err is set.
type throttler struct {
	trials
	err error
}

func (t *throttler) AcquirePermit() error { return t.err }

// adaptiveLimit admits as many as its buffer is long.
type adaptiveLimit struct {
	slots chan struct{}
	err   error // refuses
	told  []string
}

type adaptivePermit struct{ l *adaptiveLimit }

func (p *adaptivePermit) Record() { <-p.l.slots; p.l.told = append(p.l.told, "record") }
func (p *adaptivePermit) Drop()   { <-p.l.slots; p.l.told = append(p.l.told, "drop") }

func (l *adaptiveLimit) AcquirePermit(ctx context.Context) (*adaptivePermit, error) {
	if l.err != nil {
		return nil, l.err
	}
	select {
	case l.slots <- struct{}{}:
		return &adaptivePermit{l}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *adaptiveLimit) TryAcquirePermit() (*adaptivePermit, bool) {
	select {
	case l.slots <- struct{}{}:
		return &adaptivePermit{l}, true
	default:
		return nil, false
	}
}
