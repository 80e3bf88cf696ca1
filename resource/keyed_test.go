package resource_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// keyedItem is what the Keyed of these tests lends.
type keyedItem struct {
	key string
	n   int // 1, 2, … over all keys, in the order in which they were made
}

// keyedHarness runs one Keyed in a bubble. Makes and destroys take as long as it
// says; it checks the total, and each key's cap, at each of them.
type keyedHarness struct {
	t *testing.T
	k *resource.Keyed[string, *keyedItem]

	perKey      int
	makeTime    time.Duration
	destroyTime time.Duration
	edit        func(key string, cfg *resource.Config[*keyedItem])

	mu     sync.Mutex
	total  int
	sum    int
	live   map[string]int
	made   int
	causes map[*keyedItem]error
	order  []*keyedItem // as destroyed
}

// keyed runs f in a bubble with a Keyed of at most total, perKey for each.
func keyed(t *testing.T, total, perKey int, prepare func(h *keyedHarness), f func(h *keyedHarness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &keyedHarness{t: t, total: total, perKey: perKey, live: map[string]int{}, causes: map[*keyedItem]error{}}
		if prepare != nil {
			prepare(h)
		}
		k, err := resource.NewKeyed(resource.KeyedConfig[string, *keyedItem]{Config: h.config, MaxTotal: total})
		if err != nil {
			t.Fatal(err)
		}
		h.k = k
		f(h)
		if err := k.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		for key, n := range h.live {
			if n != 0 {
				t.Errorf("I3: %d of key %s were not destroyed", n, key)
			}
		}
	})
}

func (h *keyedHarness) config(key string) (resource.Config[*keyedItem], error) {
	cfg := resource.Config[*keyedItem]{
		MaxSize: h.perKey,
		Make: func(ctx context.Context) (*keyedItem, error) {
			h.count(key, 1)
			time.Sleep(h.makeTime)
			h.mu.Lock()
			defer h.mu.Unlock()
			h.made++
			return &keyedItem{key, h.made}, nil
		},
		Destroy: func(it *keyedItem, cause error) {
			time.Sleep(h.destroyTime)
			h.mu.Lock()
			h.causes[it] = cause
			h.order = append(h.order, it)
			h.mu.Unlock()
			h.count(key, -1)
		},
	}
	if h.edit != nil {
		h.edit(key, &cfg)
	}
	return cfg, nil
}

// count checks the caps from outside.
func (h *keyedHarness) count(key string, by int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live[key] += by
	h.sum += by
	if by > 0 && (h.sum > h.total || h.live[key] > h.perKey) {
		h.t.Errorf("I1: %d live of at most %d; of key %s %d of at most %d", h.sum, h.total, key, h.live[key], h.perKey)
	}
}

func (h *keyedHarness) acquire(key string) resource.Lease[*keyedItem] {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Hour)
	defer cancel()
	l, err := h.k.Acquire(ctx, key)
	if err != nil {
		h.t.Fatalf("Acquire(%s): %v", key, err)
	}
	if got := l.Value().key; got != key {
		h.t.Fatalf("I2: key %s got a resource of key %s", key, got)
	}
	return l
}

// destroyed returns which went for cause, in order.
func (h *keyedHarness) destroyed(cause error) (ns []int) {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, it := range h.order {
		if errors.Is(h.causes[it], cause) {
			ns = append(ns, it.n)
		}
	}
	return ns
}

// The least recently used idle resource of another key gives way, whichever key
// it belongs to.
func TestKeyedLeastRecentlyUsedGivesWay(t *testing.T) {
	keyed(t, 3, 2, nil, func(h *keyedHarness) {
		a, b, a2 := h.acquire("a"), h.acquire("b"), h.acquire("a") // 1, 2, 3
		a.Release()
		time.Sleep(time.Second)
		b.Release()
		time.Sleep(time.Second)
		a2.Release()
		time.Sleep(time.Second)
		l := h.acquire("c")
		if got := h.destroyed(resource.ErrGaveWay); !slices.Equal(got, []int{1}) {
			t.Errorf("%v gave way, want 1", got)
		}
		l2 := h.acquire("d")
		if got := h.destroyed(resource.ErrGaveWay); !slices.Equal(got, []int{1, 2}) {
			t.Errorf("%v gave way, want 1 and 2", got)
		}
		l.Release()
		l2.Release()
		if s := h.k.Stats(); s.GaveWay != 2 || s.Keys != 4 || s.Idle != 3 {
			t.Errorf("stats: %v", s)
		}
	})
}

// A busy key, whose callers always wait, does not starve a quiet one.
func TestKeyedBusyKeyDoesNotStarveQuietOne(t *testing.T) {
	for _, total := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(total), func(t *testing.T) {
			keyed(t, total, total, func(h *keyedHarness) { h.makeTime = 10 * time.Millisecond }, func(h *keyedHarness) {
				ctx, cancel := context.WithCancel(h.t.Context())
				var wg sync.WaitGroup
				for range 50 {
					wg.Go(func() {
						for ctx.Err() == nil {
							if l, err := h.k.Acquire(ctx, "hot"); err == nil {
								time.Sleep(5 * time.Millisecond)
								l.Release()
							}
						}
					})
				}
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
				cancel()
				wg.Wait()
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
				cfg.Eviction, cfg.SweepInterval = evictIdle(time.Second), time.Second
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

// evictIdle ends what has been idle for longer than it says.
type evictIdle time.Duration

func (d evictIdle) Evict(i resource.Info) error {
	if i.Idle > time.Duration(d) {
		return errors.New("idle for too long")
	}
	return nil
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
