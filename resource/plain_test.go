package resource_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// token is what a plain pool lends. It would see two holders at once, and a
// holder after its end.
type token struct {
	holders    atomic.Int32
	gone       atomic.Bool
	invalidate atomic.Pointer[func(error)]
}

// plain is a pool for tests with many goroutines: its makes succeed at once,
// and it counts what it made and destroyed.
type plain struct {
	*resource.Pool[*token]
	t               *testing.T
	made, destroyed atomic.Int64
	live, peak      atomic.Int64 // being made, made, being destroyed
}

// newPlain makes a plain pool. At the end of the test it is closed, and its
// accounts must be even.
func newPlain(t *testing.T, max int, edit func(cfg *resource.Config[*token])) *plain {
	t.Helper()
	p := &plain{t: t}
	cfg := resource.Config[*token]{
		MaxSize: max,
		Make: func(context.Context) (*token, error) {
			n := p.live.Add(1)
			for old := p.peak.Load(); n > old && !p.peak.CompareAndSwap(old, n); {
				old = p.peak.Load()
			}
			p.made.Add(1)
			return &token{}, nil
		},
		Destroy: func(tok *token, cause error) {
			if tok.gone.Swap(true) {
				t.Error("I3: destroyed twice")
			}
			if n := tok.holders.Load(); n != 0 {
				t.Errorf("I2: destroyed with %d holders", n)
			}
			p.destroyed.Add(1)
			p.live.Add(-1)
		},
		Watch: func(tok *token, invalidate func(error)) { tok.invalidate.Store(&invalidate) },
	}
	if edit != nil {
		edit(&cfg)
	}
	var err error
	if p.Pool, err = resource.New(cfg); err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(p.end)
	return p
}

func (p *plain) end() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		p.t.Errorf("at the end of the test: Close: %v", err)
		return
	}
	s := p.Stats()
	if m, d := p.made.Load(), p.destroyed.Load(); m != d+s.Hijacked {
		p.t.Errorf("I3: %d made, %d destroyed, %d hijacked", m, d, s.Hijacked)
	}
	if err := unbalanced(s); err != nil {
		p.t.Error(err)
	}
	if want := (resource.Load{Max: s.Max}); s.Load != want {
		p.t.Errorf("after Close: %+v, want nothing", s.Load)
	}
}

// hold says that the caller has tok; it fails if somebody else has it too.
func (p *plain) hold(tok *token) {
	if n := tok.holders.Add(1); n != 1 {
		p.t.Errorf("I2: %d holders at once", n)
	}
	if tok.gone.Load() {
		p.t.Error("I2: lent after its end")
	}
}

// drop says that the caller is about to give tok back.
func (p *plain) drop(tok *token) { tok.holders.Add(-1) }

// hijack takes l's token out of the pool.
func (p *plain) hijack(l resource.Lease[*token]) bool {
	p.live.Add(-1) // before the pool gives its place away
	if _, ok := l.Hijack(); !ok {
		p.live.Add(1)
		return false
	}
	return true
}

// must lends a token, or fails the test.
func (p *plain) must(ctx context.Context) resource.Lease[*token] {
	p.t.Helper()
	l, err := p.Acquire(ctx)
	if err != nil {
		p.t.Fatalf("Acquire: %v", err)
	}
	return l
}

// unbalanced says in what way s does not add up.
func unbalanced(s resource.Stats) error {
	var bad []error
	if a, b := s.Made-s.Destroyed-s.Hijacked, int64(s.Idle+s.Leased+s.Destroying); a != b {
		bad = append(bad, fmt.Errorf("made %d - destroyed %d - hijacked %d = %d, but %d live: %+v",
			s.Made, s.Destroyed, s.Hijacked, a, b, s.Load))
	}
	if a, b := s.Acquired, s.Released+int64(s.Leased); a != b {
		bad = append(bad, fmt.Errorf("acquired %d, but released %d and leased %d", a, s.Released, s.Leased))
	}
	if a, b := s.Begun.Total(), s.Made+s.Failed+s.Refused+s.Withdrawn+int64(s.Making); a != b {
		bad = append(bad, fmt.Errorf("%d makes begun: %+v, but made %d + failed %d + refused %d + withdrawn %d + making %d = %d",
			a, s.Begun, s.Made, s.Failed, s.Refused, s.Withdrawn, s.Making, b))
	}
	if a, b := s.Waited, s.WaitsServed+s.WaitsFailed+int64(s.Waiting); a < b {
		bad = append(bad, fmt.Errorf("waited %d, but served %d + failed %d + waiting %d = %d", a, s.WaitsServed, s.WaitsFailed, s.Waiting, b))
	}
	if a, b := s.WaitTime, s.WaitsServedTime+s.WaitsFailedTime; a != b || a < 0 {
		bad = append(bad, fmt.Errorf("waited for %v, but served %v + failed %v = %v", a, s.WaitsServedTime, s.WaitsFailedTime, b))
	}
	if s.AcquireTime < s.WaitsServedTime {
		bad = append(bad, fmt.Errorf("acquires took %v, less than the waits among them, %v", s.AcquireTime, s.WaitsServedTime))
	}
	for name, n := range map[string]int{
		"Idle": s.Idle, "Leased": s.Leased, "Making": s.Making,
		"Destroying": s.Destroying, "Abandoned": s.Abandoned, "Waiting": s.Waiting,
	} {
		if n < 0 {
			bad = append(bad, fmt.Errorf("%s is %d", name, n))
		}
	}
	return errors.Join(bad...)
}

// within fails the test if f has not returned after d of real time. It is for
// what would hang if it were broken; it orders nothing.
func within(t *testing.T, d time.Duration, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		t.Fatalf("not done after %v", d)
	}
}

// caught returns what f panicked with, or nil.
func caught(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}
