package policy_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

var (
	ok      = resource.Outcome{Verdict: resource.OK}
	ignored = resource.Outcome{}
	errBoom = errors.New("boom")
	failed  = resource.Outcome{Verdict: resource.Failed, Err: errBoom}
)

func costing(n int) resource.Request { return resource.Request{Cost: n} }

// admit calls Admit and fails the test on a refusal. The returned Done is never nil.
func admit(t *testing.T, p resource.Admission, r resource.Request) resource.Done {
	t.Helper()
	done, err := p.Admit(context.Background(), r)
	if err != nil {
		t.Fatalf("%+v refused: %v", r, err)
	}
	if done == nil {
		return func(resource.Outcome) {}
	}
	return done
}

// refused calls Admit and fails the test unless p refuses with that name, cause and
// RetryAfter.
func refused(t *testing.T, p resource.Admission, r resource.Request, name string, cause error, retry time.Duration) {
	t.Helper()
	refusedCtx(t, context.Background(), p, r, name, cause, retry)
}

func refusedCtx(t *testing.T, ctx context.Context, p resource.Admission, r resource.Request, name string, cause error, retry time.Duration) {
	t.Helper()
	done, err := p.Admit(ctx, r)
	if err == nil {
		t.Fatalf("%+v was admitted, want refused by %s with %v", r, name, cause)
	}
	if done != nil {
		t.Error("a refusal came with a Done")
	}
	isRefusal(t, err, name, cause, retry)
}

func isRefusal(t *testing.T, err error, name string, cause error, retry time.Duration) {
	t.Helper()
	var r *resource.Rejection
	if !errors.As(err, &r) || !errors.Is(err, resource.ErrRejected) {
		t.Fatalf("%v is no *resource.Rejection", err)
	}
	if r.Policy != name || !errors.Is(err, cause) || r.RetryAfter != retry {
		t.Errorf("refused by %q with %v and a RetryAfter of %v, want %q, %v and %v", r.Policy, err, r.RetryAfter, name, cause, retry)
	}
}

// wantInFlight checks InFlight.
func wantInFlight(t *testing.T, g interface{ InFlight() int }, want int) {
	t.Helper()
	if n := g.InFlight(); n != want {
		t.Errorf("%d in flight, want %d", n, want)
	}
}

// caught runs f and returns the value of its panic, errGoexit if it called Goexit, or nil.
func caught(f func()) (how any) {
	end := make(chan any)
	go func() {
		how := any(errGoexit)
		defer func() {
			if v := recover(); v != nil {
				how = v
			}
			end <- how
		}()
		f()
		how = nil
	}()
	return <-end
}

var errGoexit = errors.New("goroutine ended")

// ledger is an Admission that counts its permits.
type ledger struct {
	before func(ctx context.Context, r resource.Request) error // may refuse, block, panic or call Goexit
	after  func(o resource.Outcome)                            // runs in each Done
	noDone bool                                                // return a nil Done

	given, returned atomic.Int64
	twice           atomic.Int64
	last            atomic.Pointer[resource.Outcome]
}

func (l *ledger) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	if l.before != nil {
		if err := l.before(ctx, r); err != nil {
			return nil, err
		}
	}
	if l.noDone {
		return nil, nil
	}
	l.given.Add(1)
	var once atomic.Bool
	return func(o resource.Outcome) {
		if once.Swap(true) {
			l.twice.Add(1)
		}
		l.returned.Add(1)
		l.last.Store(&o)
		if l.after != nil {
			l.after(o)
		}
	}, nil
}

// check returns an error if the counts do not balance.
func (l *ledger) check() error {
	if g, r, n := l.given.Load(), l.returned.Load(), l.twice.Load(); g != r || n != 0 {
		return fmt.Errorf("%d permits given, %d returned, %d of them twice", g, r, n)
	}
	return nil
}

// newSeed returns RESPOOL_SEED, or a random seed. It repeats the random choices, not the
// interleaving.
func newSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s, set := os.LookupEnv("RESPOOL_SEED"); set {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("RESPOOL_SEED: %v", err)
		}
	}
	t.Logf("seed %d", seed)
	return seed
}

func refusing(err error) resource.Admission {
	return policy.AdmissionFunc(func(context.Context, resource.Request) (resource.Done, error) { return nil, err })
}

// TestKit checks that the helpers fail where they should.
func TestKit(t *testing.T) {
	if how := caught(func() { panic(errBoom) }); how != errBoom {
		t.Errorf("caught %v, want %v", how, errBoom)
	}
	if how := caught(func() {}); how != nil {
		t.Errorf("caught %v, want nothing", how)
	}
	l := &ledger{}
	done := admit(t, l, resource.Request{})
	if l.check() == nil {
		t.Error("the ledger does not see a permit that is out")
	}
	done(ok)
	if err := l.check(); err != nil {
		t.Error(err)
	}
	done(ok)
	if l.check() == nil {
		t.Error("the ledger does not see a Done called twice")
	}
}

// Minimal implementations of the interfaces of other libraries. examples/policies tests the
// libraries themselves.

// slots is a weighted semaphore with the capacity of the channel.
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

// bucket is a token bucket with one new token per interval every.
type bucket struct {
	mu    sync.Mutex
	size  int // burst
	full  int // whole tokens; negative: reserved
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
	silent bool // Allow returns no function
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

// trials is a breaker like that of failsafe-go: while half-open it permits one trial, and
// only a record ends the trial.
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

// throttler refuses with err if that is set.
type throttler struct {
	trials
	err error
}

func (t *throttler) AcquirePermit() error { return t.err }

// adaptiveLimit admits up to the capacity of its channel.
type adaptiveLimit struct {
	slots chan struct{}
	err   error // if set, the reason to refuse
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
