package resource_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// The least recently used idle resource of another key is preempted, whichever key
// it belongs to.
func TestKeyedPreemptsLeastRecentlyUsed(t *testing.T) {
	keyed(t, 3, 2, nil, func(h *keyedHarness) {
		a, b, a2 := h.acquire("a"), h.acquire("b"), h.acquire("a") // 1, 2, 3
		a.Release()
		time.Sleep(time.Second)
		b.Release()
		time.Sleep(time.Second)
		a2.Release()
		time.Sleep(time.Second)
		l := h.acquire("c")
		if got := h.destroyed(resource.ErrPreempted); !slices.Equal(got, []int{1}) {
			t.Errorf("%v were preempted, want 1", got)
		}
		l2 := h.acquire("d")
		if got := h.destroyed(resource.ErrPreempted); !slices.Equal(got, []int{1, 2}) {
			t.Errorf("%v were preempted, want 1 and 2", got)
		}
		l.Release()
		l2.Release()
		if s := h.k.Stats(); s.Preempted != 2 || s.Keys != 4 || s.Idle != 3 {
			t.Errorf("stats: %v", s)
		}
	})
}

// A busy key, whose callers always wait, does not starve a quiet one.
func TestKeyedBusyKeyDoesNotStarveQuietOne(t *testing.T) {
	for _, total := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(total), func(t *testing.T) {
			keyed(t, total, total, func(h *keyedHarness) { h.makeTime = 10 * time.Millisecond }, func(h *keyedHarness) {
				stop := h.busy("hot", 50, 5*time.Millisecond, 0)
				time.Sleep(time.Second)
				for i := range 20 {
					start := time.Now()
					l := h.acquire("cold")
					if waited := time.Since(start); waited > 600*time.Millisecond {
						t.Errorf("call %d of the cold key waited %v", i, waited)
					}
					time.Sleep(5 * time.Millisecond)
					l.Release()
					time.Sleep(200 * time.Millisecond)
				}
				stop()
			})
		})
	}
}

// A key without resources and without use is forgotten; when it is used again it
// is as new.
func TestKeyedForgets(t *testing.T) {
	keyed(t, 3, 1, func(h *keyedHarness) {
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "short" {
				// Never at the instant at which keys are forgotten: what a sweep looks at is in use.
				cfg.Eviction, cfg.SweepInterval = idleFor(time.Second), 1100*time.Millisecond
			}
		}
	}, func(h *keyedHarness) {
		h.acquire("short").Release()
		h.acquire("long").Release()
		time.Sleep(5 * time.Minute)
		if n := h.k.Len(); n != 1 {
			t.Errorf("%d keys after 5 minutes, want only the one with a resource", n)
		}
		if s := h.k.Stats(); s.Made != 2 || s.Destroyed != 1 || s.Acquired != 2 {
			t.Errorf("what the forgotten key did is missing: %v", s)
		}
		h.acquire("short").Release()
	})
}

// 10,000 keys cost no goroutine.
func TestKeyedManyKeysNoGoroutines(t *testing.T) {
	keyed(t, 10_000, 1, nil, func(h *keyedHarness) {
		for i := range 10_000 {
			h.acquire(fmt.Sprint(i)).Release()
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := h.k.Len(); n != 10_000 {
			t.Errorf("%d keys", n)
		}
		if n := goroutinesOf("respool/resource."); n > 0 {
			t.Errorf("%d goroutines for 10,000 idle keys", n)
		}
		h.acquire("one more").Release()
	})
}

// A key that a map cannot look up is an error that names its type, and not a
// panic, nor a new pool each time.
func TestKeyed_BadKey(t *testing.T) {
	type pair struct {
		name string
		more any
	}
	k := newKeyed(t, resource.KeyedConfig[any, int]{MaxTotal: 9, Config: func(any) (resource.Config[int], error) {
		return resource.Config[int]{MaxSize: 1, Make: makeOne}, nil
	}})
	ctx := t.Context()
	for _, tc := range []struct {
		key any
		say string
	}{
		{[]string{"secret"}, "[]string"},
		{map[string]int{"secret": 1}, "map[string]int"},
		{func() {}, "func()"},
		{pair{"secret", []byte("secret")}, "[]uint8"},
		{[1]any{pair{"secret", []int{1}}}, "[]int"},
		{math.NaN(), "float64"},
		{pair{"secret", float32(math.NaN())}, "float32"},
		{complex(0, math.NaN()), "complex128"},
	} {
		check := func(method string, err error) {
			t.Helper()
			if !errors.Is(err, resource.ErrBadKey) || !strings.Contains(err.Error(), tc.say) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s with a key that holds a %s: %v", method, tc.say, err)
			}
		}
		_, err := k.Acquire(ctx, tc.key)
		check("Acquire", err)
		_, err = k.AcquireWith(ctx, tc.key, resource.Request{})
		check("AcquireWith", err)
		check("Do", k.Do(ctx, tc.key, func(context.Context, int) error { return nil }))
		_, err = k.Pool(tc.key)
		check("Pool", err)
		if _, ok := k.TryAcquire(tc.key); ok {
			t.Error("TryAcquire")
		}
		if _, ok := k.Find(tc.key); ok {
			t.Error("Find")
		}
		if _, ok := k.InspectKey(tc.key, 1); ok {
			t.Error("InspectKey")
		}
		if err := k.Drain(ctx, tc.key); err != nil {
			t.Error(err)
		}
	}
	if k.Len() != 0 {
		t.Errorf("%d keys", k.Len())
	}
	for _, key := range []any{nil, 1, "a", pair{"a", nil}, pair{"a", 1.5}, [2]any{1, "b"}, &pair{}} {
		l, err := k.Acquire(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
	}
	if err := k.Close(ctx); err != nil {
		t.Error(err)
	}
}

// Value distinguishes a lease that has ended from one that never began.
func TestLease_ValuePanics(t *testing.T) {
	p := newPool(t, resource.Config[int]{MaxSize: 1, Make: makeOne})
	l := lendOne(t, p)
	l.Release()
	for want, l := range map[string]resource.Lease[int]{"has ended": l, "no lease began": {}} {
		func() {
			defer func() {
				if s, _ := recover().(string); !strings.Contains(s, want) {
					t.Errorf("%q does not say %q", s, want)
				}
			}()
			l.Value()
		}()
	}
	closeAll(t, p)
}

func TestKeyedConfigErrorNamesEveryBadField(t *testing.T) {
	_, err := resource.NewKeyed(resource.KeyedConfig[string, int]{MaxTotal: -1, ForgetAfter: resource.MinForgetAfter - 1})
	if err == nil {
		t.Fatal("a bad KeyedConfig passed")
	}
	for _, want := range []string{"Config is required", "MaxTotal must be between 1 and 2147483647, got -1", "ForgetAfter must be 0 or at least 1ms, got 999.999µs"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	config := func(string) (resource.Config[int], error) { return resource.Config[int]{}, nil }
	for _, total := range []int{0, -5, math.MinInt} {
		if _, err := resource.NewKeyed(resource.KeyedConfig[string, int]{Config: config, MaxTotal: total}); err == nil {
			t.Errorf("MaxTotal %d passed", total)
		}
	}
	if k, err := resource.NewKeyed(resource.KeyedConfig[string, int]{Config: config, MaxTotal: 1}); err != nil {
		t.Errorf("the least that is needed: %v", err)
	} else if err := k.Close(t.Context()); err != nil {
		t.Errorf("Close of one never used: %v", err)
	}
}

// keyedWith is a Keyed with a given Config function.
func keyedWith(t *testing.T, config func(n int) (resource.Config[int], error)) *resource.Keyed[string, int] {
	t.Helper()
	var mu sync.Mutex
	n := 0
	k := newKeyed(t, resource.KeyedConfig[string, int]{MaxTotal: 2, Config: func(string) (resource.Config[int], error) {
		mu.Lock()
		n++
		now := n
		mu.Unlock()
		return config(now)
	}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := k.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return k
}

var errConfig = errors.New("no such host")

// Any fault in Config costs that caller only, and the key is as if it had not been
// used: the next caller calls Config again.
func TestKeyedConfigGoesWrong(t *testing.T) {
	good := resource.Config[int]{MaxSize: 1, Make: func(context.Context) (int, error) { return 7, nil }}
	for name, tc := range map[string]struct {
		config func() (resource.Config[int], error)
		says   func(err error) bool
	}{
		"error":  {func() (resource.Config[int], error) { return good, errConfig }, func(err error) bool { return errors.Is(err, errConfig) }},
		"bad":    {func() (resource.Config[int], error) { return resource.Config[int]{}, nil }, func(err error) bool { return strings.Contains(err.Error(), "Make is required") }},
		"panic":  {func() (resource.Config[int], error) { panic(errConfig) }, isPanicIn("Config")},
		"goexit": {func() (resource.Config[int], error) { runtime.Goexit(); return good, nil }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k := keyedWith(t, func(n int) (resource.Config[int], error) {
				if n <= 2 {
					return tc.config()
				}
				return good, nil
			})
			for range 2 {
				done := make(chan error, 1)
				go func() {
					defer close(done)
					_, err := k.Acquire(context.Background(), "secret-key")
					done <- err
				}()
				err, returned := <-done
				if returned != (tc.says != nil) {
					t.Fatalf("Acquire has returned: %t, %v", returned, err)
				}
				if returned && (!tc.says(err) || strings.Contains(err.Error(), "secret")) {
					t.Errorf("Acquire: %v", err)
				}
				if k.Len() != 0 || k.Stats().Keys != 0 {
					t.Errorf("%d keys, and none was ever used", k.Len())
				}
				if _, ok := k.TryAcquire("secret-key"); ok {
					t.Error("TryAcquire of a key not in use")
				}
			}
			l, err := k.Acquire(context.Background(), "secret-key")
			if err != nil || l.Value() != 7 {
				t.Fatalf("the third time: %v", err)
			}
			l.Release()
		})
	}
}

func isPanicIn(where string) func(err error) bool {
	return func(err error) bool {
		var p *resource.PanicError
		return errors.As(err, &p) && p.Where == where && errors.Is(err, errConfig)
	}
}

// Callers that come while Config runs for another caller get its result, also if it
// ends its goroutine.
func TestKeyedConfigGoexitTellsTheOthers(t *testing.T) {
	in, out := make(chan struct{}), make(chan struct{})
	k := keyedWith(t, func(n int) (resource.Config[int], error) {
		close(in)
		<-out
		runtime.Goexit()
		panic("unreachable")
	})
	go k.Acquire(context.Background(), "a") //nolint:errcheck // it does not return
	<-in
	other := make(chan error, 1)
	go func() {
		_, err := k.Pool("a")
		other <- err
	}()
	for range 100 { // it comes in meanwhile, or after: then Config panics, closing in
		runtime.Gosched()
	}
	close(out)
	err := <-other
	if p := (*resource.PanicError)(nil); !errors.Is(err, resource.ErrGoexit) && !errors.As(err, &p) {
		t.Errorf("the other caller: %v", err)
	}
	if k.Len() != 0 {
		t.Errorf("%d keys, and none came to be", k.Len())
	}
}

// Config is called once for a key, however many begin at once.
func TestKeyedConfigIsCalledOnce(t *testing.T) {
	var mu sync.Mutex
	calls := 0
	k := keyedWith(t, func(n int) (resource.Config[int], error) {
		mu.Lock()
		defer mu.Unlock()
		calls = n
		return resource.Config[int]{MaxSize: 2, Make: func(context.Context) (int, error) { return 7, nil }}, nil
	})
	var wg sync.WaitGroup
	pools := make([]*resource.Pool[int], 16)
	for i := range pools {
		wg.Go(func() { pools[i], _ = k.Pool("a") })
	}
	wg.Wait()
	for _, p := range pools {
		if p == nil || p != pools[0] {
			t.Error("callers got different pools of one key")
		}
	}
	if calls != 1 {
		t.Errorf("Config was called %d times", calls)
	}
}

// Each key is as its own Config says.
func TestKeyedOverridesPerKey(t *testing.T) {
	sizes := map[string]int{"one": 1, "two": 2, "five": 5}
	keyed(t, 8, 5, func(h *keyedHarness) {
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) { cfg.MaxSize = sizes[key] }
	}, func(h *keyedHarness) {
		for key, n := range sizes {
			var ls []resource.Lease[*keyedItem]
			for range n {
				ls = append(ls, h.acquire(key))
			}
			c := h.begin(key)
			time.Sleep(time.Second)
			c.wantWaiting()
			if got := h.begunOf(key); got != n {
				t.Errorf("%d were made of key %s, which may have %d", got, key, n)
			}
			ls[0].Release()
			c.wantLease().Release()
			for _, l := range ls[1:] {
				l.Release()
			}
		}
	})
}
