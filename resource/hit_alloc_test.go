//go:build !race

// Under the race detector sync.Pool forgets at random, and so does whatever
// is built on it; there is nothing to count.

package resource_test

import (
	"context"
	"fmt"
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

// newKeyedPlain makes a Keyed of strings whose makes succeed at once.
func newKeyedPlain(tb testing.TB, total, perKey int) *resource.Keyed[string, *token] {
	tb.Helper()
	k := newKeyed(tb, resource.KeyedConfig[string, *token]{
		MaxTotal: total,
		Config: func(string) (resource.Config[*token], error) {
			return resource.Config[*token]{
				MaxSize: perKey, Make: func(context.Context) (*token, error) { return &token{}, nil },
			}, nil
		},
	})
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := k.Close(ctx); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return k
}

// I10 holds for Keyed: an acquire that finds something idle, and its release,
// allocate nothing, also if there is no slot left, and if slots were scarce.
func TestI10_Keyed(t *testing.T) {
	const n = 50
	k := newKeyedPlain(t, n, 2)
	ctx := context.Background()
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf("host%d.example.com:443", i))
		if err := k.Do(ctx, keys[i], func(context.Context, *token) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	all := func(t *testing.T) {
		i := 0
		wantNoAllocs(t, func() {
			l, err := k.Acquire(ctx, keys[i%n])
			if err != nil {
				t.Error(err)
			}
			l.Release()
			if l, ok := k.TryAcquire(keys[i%n]); ok {
				l.Release()
			}
			i++
		})
	}
	t.Run("idle", all)
	for _, key := range keys { // every slot is leased, and a caller leaves
		l, err := k.Acquire(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
	}
	soon, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if _, err := k.Acquire(soon, "one more"); err == nil {
		t.Fatal("one more was lent than there may be")
	}
	if err := k.Resize(n + 1); err != nil {
		t.Fatal(err)
	}
	t.Run("scarce", func(t *testing.T) {
		wantNoAllocs(t, func() {
			l, err := k.Acquire(ctx, keys[0])
			if err != nil {
				t.Error(err)
			}
			l.Release()
		})
	})
}

// TestKeyedMemory measures what an idle key with one resource takes. Most of it
// is its pool, with its Config, puddle's pool, two contexts and a timer; an idle
// key that is empty is forgotten and takes nothing.
func TestKeyedMemory(t *testing.T) {
	const n = 10_000
	memory := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprint("host", i)
	}
	k := newKeyedPlain(t, n, 8)
	before := memory()
	for _, key := range keys {
		l, err := k.Acquire(context.Background(), key)
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
	}
	time.Sleep(50 * time.Millisecond) // clocks stop
	per := (memory() - before) / n
	t.Logf("%d bytes for each idle key with one resource", per)
	if per > 8<<10 {
		t.Errorf("an idle key takes %d bytes", per)
	}
	if n := goroutinesOf("respool/resource."); n > 0 {
		t.Errorf("%d goroutines for idle keys", n)
	}
	runtime.KeepAlive(k)
}

// BenchmarkKeyed is what the key costs, beside a Pool.
func BenchmarkKeyed(b *testing.B) {
	ctx := context.Background()
	pool := newPool(b, resource.Config[*token]{
		MaxSize: 8, Make: func(context.Context) (*token, error) { return &token{}, nil },
	})
	b.Cleanup(func() { _ = pool.Close(ctx) })
	b.Run("pool", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l, err := pool.Acquire(ctx)
			if err != nil {
				b.Fatal(err)
			}
			l.Release()
		}
	})
	for _, n := range []int{1, 100, 10_000} {
		k := newKeyedPlain(b, n+8, 8)
		keys := make([]string, n)
		for i := range keys {
			keys[i] = fmt.Sprintf("host%d.example.com:443", i)
			if err := k.Do(ctx, keys[i], func(context.Context, *token) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l, err := k.Acquire(ctx, keys[n/2])
				if err != nil {
					b.Fatal(err)
				}
				l.Release()
			}
		})
	}
}
