package resource_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

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

// whimsical is a Keyed whose Config does as it is told.
func whimsical(t *testing.T, config func(n int) (resource.Config[int], error)) *resource.Keyed[string, int] {
	t.Helper()
	var mu sync.Mutex
	n := 0
	k, err := resource.NewKeyed(resource.KeyedConfig[string, int]{MaxTotal: 2, Config: func(string) (resource.Config[int], error) {
		mu.Lock()
		n++
		now := n
		mu.Unlock()
		return config(now)
	}})
	if err != nil {
		t.Fatal(err)
	}
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

// Whatever goes wrong in Config costs that caller, and the key is as if it had
// not been used: the next caller asks again.
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
			k := whimsical(t, func(n int) (resource.Config[int], error) {
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

// Callers who come while Config runs for another get what that one gets, also if
// it ends its goroutine.
func TestKeyedConfigGoexitTellsTheOthers(t *testing.T) {
	in, out := make(chan struct{}), make(chan struct{})
	k := whimsical(t, func(n int) (resource.Config[int], error) {
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
	k := whimsical(t, func(n int) (resource.Config[int], error) {
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
