package policy_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// lender is a pool of numbers, in a bubble: its makes count from 1, and are
// noted with what became of them.
type lender struct {
	*resource.Pool[int]
	t *testing.T

	mu     sync.Mutex
	made   int
	causes map[int]error // of those destroyed
}

// lend makes a pool, which is closed at the end of the test. A nil Make of cfg
// gives the numbers at once.
func lend(t *testing.T, cfg resource.Config[int]) *lender {
	t.Helper()
	l := &lender{t: t, causes: map[int]error{}}
	if cfg.Make == nil {
		cfg.Make = func(context.Context) (int, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.made++
			return l.made, nil
		}
	}
	cfg.Destroy = func(v int, cause error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.causes[v] = cause
	}
	p, err := resource.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.Pool = p
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

// get acquires, and must succeed.
func (l *lender) get() resource.Lease[int] {
	l.t.Helper()
	lease, err := l.Acquire(context.Background())
	if err != nil {
		l.t.Fatalf("Acquire: %v", err)
	}
	return lease
}

// wantGone waits until all is at rest; then exactly these must have been
// destroyed, with that cause.
func (l *lender) wantGone(cause error, ns ...int) {
	l.t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range ns {
		if got, gone := l.causes[n]; !gone || !errors.Is(got, cause) {
			l.t.Errorf("%d is gone %v, with the cause %v, want %v", n, gone, got, cause)
		}
	}
	if len(l.causes) != len(ns) {
		l.t.Errorf("gone are %v, want %v", l.causes, ns)
	}
}

// warm makes n, one after the other, so that their IDs are their numbers, and
// leaves them idle; number 1 was given back first.
func (l *lender) warm(n int) {
	l.t.Helper()
	for m := range n {
		if err := l.Warm(context.Background(), m+1); err != nil {
			l.t.Fatal(err)
		}
	}
	leases := map[int]resource.Lease[int]{}
	for range n {
		lease := l.get()
		leases[lease.Value()] = lease
	}
	for v := 1; v <= n; v++ {
		leases[v].Release()
		time.Sleep(100 * time.Millisecond)
	}
}
