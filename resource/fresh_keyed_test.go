package resource_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// beginFresh begins an AcquireWith for one that nobody has used.
func (h *keyedHarness) beginFresh(key string) *keyedCall {
	h.t.Helper()
	c := &keyedCall{h: h, cancel: func() {}, ended: make(chan keyedEnd, 1)}
	began := time.Now()
	go func() {
		l, err := h.k.AcquireWith(h.t.Context(), key, fresh)
		c.ended <- keyedEnd{l, err, time.Since(began)}
	}()
	synctest.Wait()
	return c
}

// Of a key that has its MaxSize its own gives way, whatever others have idle.
func TestKeyedFresh_OwnPlaces(t *testing.T) {
	keyed(t, 4, 2, nil, func(h *keyedHarness) {
		for _, key := range []string{"b", "a"} {
			l1, l2 := h.acquire(key), h.acquire(key)
			l1.Release()
			l2.Release()
		}
		l := h.beginFresh("a").wantLease()
		if got := h.destroyed(resource.ErrNotFresh); len(got) != 1 || got[0] < 3 {
			t.Errorf("%v made room, want one of key a, 3 or 4", got)
		}
		h.wantPreempted()
		l.Release()
	})
}

// When the total is used up by its own key and nobody else, one of that gives
// way, idle or as it comes back.
func TestKeyedFresh_TotalIsItsOwn(t *testing.T) {
	for name, idle := range map[string]bool{"idle": true, "leased": false} {
		t.Run(name, func(t *testing.T) {
			keyed(t, 1, 4, nil, func(h *keyedHarness) {
				l := h.acquire("a")
				if idle {
					l.Release()
				}
				c := h.beginFresh("a")
				if !idle {
					c.wantWaiting()
					behind := h.begin("a")
					l.Release()
					defer func() { behind.wantLease().Release() }()
				}
				l = c.wantLease()
				if l.Value().n != 2 {
					t.Errorf("got number %d, want a new one", l.Value().n)
				}
				l.Release()
			})
		})
	}
}

// The least recently used of another key gives way to a key that has less than
// its MaxSize.
func TestKeyedFresh_OthersGiveWay(t *testing.T) {
	keyed(t, 2, 2, nil, func(h *keyedHarness) {
		h.acquire("b").Release()
		time.Sleep(time.Second)
		h.acquire("a").Release()
		time.Sleep(time.Second)
		h.beginFresh("a").wantLease().Release()
		h.wantPreempted(1)
	})
}

// Beside busy callers of its own and of another key each gets its own, and soon.
func TestKeyedFresh_Busy(t *testing.T) {
	keyed(t, 3, 3, func(h *keyedHarness) { h.makeTime = 5 * time.Millisecond }, func(h *keyedHarness) {
		stops := []func() int{
			h.busy("a", 6, 10*time.Millisecond, time.Millisecond),
			h.busy("b", 6, 10*time.Millisecond, time.Millisecond),
		}
		time.Sleep(time.Second)
		for range 20 {
			c := h.beginFresh("a")
			time.Sleep(2 * time.Second)
			l := c.wantLease()
			if n := l.Info().Leases; n != 1 {
				t.Errorf("lent for the time number %d", n)
			}
			l.Release()
		}
		for i, stop := range stops {
			if n := stop(); n < 100 {
				t.Errorf("key %d was served %d times", i, n)
			}
		}
	})
}

// worn is a resource that knows whether somebody has had it.
type worn struct{ used atomic.Bool }

// Many at once, in real time: nobody who asks for a new one gets a used one, and
// everybody is served.
func TestFresh_Stress(t *testing.T) {
	for name, queue := range map[string]resource.Queue{"no queue": nil, "queue": &listQueue{}} {
		t.Run(name, func(t *testing.T) {
			p, err := resource.New(resource.Config[*worn]{
				Make:    func(context.Context) (*worn, error) { return &worn{}, nil },
				MaxSize: 3, MinIdle: 1, Queue: queue,
				SweepInterval: resource.MinSweepInterval,
				Health:        freely{},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var wg sync.WaitGroup
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			for g := range 8 {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(seed, uint64(g)))
					for range 200 {
						req := resource.Request{Fresh: r.IntN(3) == 0}
						l, err := p.AcquireWith(ctx, req)
						if err != nil {
							t.Errorf("%+v: %v", req, err)
							return
						}
						if was := l.Value().used.Swap(true); was && req.Fresh {
							t.Error("a used one was lent to a caller who asked for a new one")
						}
						if r.IntN(10) == 0 {
							l.Discard(nil)
						} else {
							l.Release()
						}
					}
				})
			}
			wg.Wait()
			if err := p.Close(ctx); err != nil {
				t.Error(err)
			}
			if err := unbalanced(p.Stats()); err != nil {
				t.Error(err)
			}
		})
	}
}

// freely is a Health that finds nothing.
type freely struct{}

func (freely) Check(context.Context, *worn, resource.Info) error { return nil }
