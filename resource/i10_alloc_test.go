//go:build !race

// Under the race detector sync.Pool forgets at random, and so does whatever
// is built on it; there is nothing to count.

package resource_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// I10: the hit path allocates nothing.

// wantNoAllocs checks that f allocates nothing.
func wantNoAllocs(t *testing.T, f func()) {
	t.Helper()
	f() // whatever is made once
	if n := testing.AllocsPerRun(1000, f); n != 0 {
		t.Errorf("%v allocations per run, want 0", n)
	}
}

func TestI10_HelperSeesAllocations(t *testing.T) {
	var keep []byte
	if n := testing.AllocsPerRun(100, func() { keep = make([]byte, 64) }); n != 1 || len(keep) != 64 {
		t.Errorf("%v allocations seen, want 1", n)
	}
}

func TestI10_AcquireRelease(t *testing.T) {
	cancellable, cancel := context.WithCancel(context.Background())
	defer cancel()
	timed, cancelTimed := context.WithTimeout(context.WithValue(cancellable, classKey{}, 1), time.Hour)
	defer cancelTimed()
	for name, ctx := range map[string]context.Context{
		"background": context.Background(), "cancellable": cancellable, "timed": timed,
	} {
		for _, order := range []resource.Order{resource.NewestFirst, resource.OldestFirst} {
			p := newPlain(t, 4, func(cfg *resource.Config[*token]) { cfg.Order = order })
			t.Run(name, func(t *testing.T) {
				wantNoAllocs(t, func() {
					l, err := p.Acquire(ctx)
					if err != nil || l.Value() == nil {
						t.Error(err)
					}
					l.Release()
				})
				wantNoAllocs(t, func() {
					l, err := p.AcquireWith(ctx, resource.Request{Priority: 1})
					if err != nil {
						t.Error(err)
					}
					l.Fail(nil)
				})
			})
		}
	}
}

func TestI10_TryAcquire(t *testing.T) {
	p := newPlain(t, 1, nil)
	p.must(context.Background()).Release()
	wantNoAllocs(t, func() {
		l, ok := p.TryAcquire()
		if !ok {
			t.Error("none idle")
		}
		l.Info()
		l.Release()
	})
	defer p.must(context.Background()).Release()
	wantNoAllocs(t, func() {
		if _, ok := p.TryAcquire(); ok {
			t.Error("lent twice")
		}
	})
}

func TestI10_Do(t *testing.T) {
	p := newPlain(t, 1, nil)
	f := func(context.Context, *token) error { return nil }
	wantNoAllocs(t, func() {
		if err := p.Do(context.Background(), f); err != nil {
			t.Error(err)
		}
	})
}

func TestI10_Stats(t *testing.T) {
	p := newPlain(t, 1, nil)
	p.must(context.Background()).Release()
	wantNoAllocs(t, func() { p.Stats() })
}

// Policies that see facts cost no allocation either.
func TestI10_WithPolicies(t *testing.T) {
	for _, c := range costs {
		t.Run(c.name, func(t *testing.T) {
			p := newPlain(t, 1, c.set)
			wantNoAllocs(t, func() { p.must(context.Background()).Release() })
			wantNoAllocs(t, func() {
				l, err := p.AcquireWith(context.Background(), resource.Request{Priority: 2, Class: "a", NoWait: true})
				if err != nil {
					t.Error(err)
				}
				l.Release()
				l.Release()
			})
			wantNoAllocs(t, func() {
				l, ok := p.TryAcquire()
				if !ok {
					t.Error("none idle")
				}
				l.Release()
			})
		})
	}
}

// TestPuddleTrap16_BlockedAcquireAllocates: a blocked acquire made a channel
// and a list element each time. Here handing a resource from one to the next
// allocates nothing in the long run.
func TestPuddleTrap16_BlockedAcquireAllocates(t *testing.T) {
	const goroutines, rounds = 8, 4000
	p := newPlain(t, 1, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	run := func() {
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for range rounds {
					l, err := p.Acquire(ctx)
					if err != nil {
						t.Error(err)
						return
					}
					runtime.Gosched() // the others wait
					l.Release()
				}
			})
		}
		wg.Wait()
	}
	run()
	var before, after runtime.MemStats
	waited := p.Stats().Waited
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	waited = p.Stats().Waited - waited
	if waited < goroutines*rounds/10 {
		t.Fatalf("only %d of %d waited: nothing was handed over", waited, goroutines*rounds)
	}
	if per := float64(after.Mallocs-before.Mallocs) / float64(waited); per > 0.05 {
		t.Errorf("%.3f allocations per wait, want none in the long run", per)
	}
}
