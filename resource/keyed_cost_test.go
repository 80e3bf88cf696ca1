//go:build !race

package resource_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// newKeyedPlain makes a Keyed of strings whose makes succeed at once.
func newKeyedPlain(tb testing.TB, total, perKey int) *resource.Keyed[string, *token] {
	tb.Helper()
	k, err := resource.NewKeyed(resource.KeyedConfig[string, *token]{
		MaxTotal: total,
		Config: func(string) (resource.Config[*token], error) {
			return resource.Config[*token]{
				MaxSize: perKey, Make: func(context.Context) (*token, error) { return &token{}, nil },
			}, nil
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
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
// allocate nothing, also if there is no place left, and if places were scarce.
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
	for _, key := range keys { // every place is leased, and a caller leaves
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
	pool, err := resource.New(resource.Config[*token]{
		MaxSize: 8, Make: func(context.Context) (*token, error) { return &token{}, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
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
