package resource_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// hanging is a pool of ordinals whose Destroy hangs until let is closed.
type hanging struct {
	*resource.Pool[int]
	made, begun atomic.Int64
	let         chan struct{}
}

func newHanging(t *testing.T, cfg resource.Config[int], idle int) *hanging {
	t.Helper()
	h := &hanging{let: make(chan struct{})}
	cfg.Make = func(context.Context) (int, error) { return int(h.made.Add(1)), nil }
	cfg.Destroy = func(int, error) {
		h.begun.Add(1)
		<-h.let
	}
	p, err := resource.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.Pool = p
	for p.Stats().Idle < idle { // one call may make less: see Warm
		if err := p.Warm(t.Context(), idle); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// close lets all Destroys return, and closes.
func (h *hanging) close(t *testing.T) {
	t.Helper()
	close(h.let)
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := h.Stats()
	if want := (resource.Load{Max: s.Max}); s.Load != want || s.Made != s.Destroyed || s.Acquired != s.Released || s.Made != h.made.Load() || s.Made != h.begun.Load() {
		t.Fatalf("after Close: %v; %d made, %d destroyed", s, h.made.Load(), h.begun.Load())
	}
}

// However many are idle, Reset visits few of them while it holds the lock; their
// Destroys do not all run at once, and the ones that hang keep neither callers
// from being served nor others from being destroyed.
func TestI11_ResetOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 3000
		h := newHanging(t, resource.Config[int]{MaxSize: n + 1}, n)
		cause := errors.New("moved")
		h.Reset(cause)
		if s := h.Stats(); s.Idle != 0 || s.Leased != 0 || s.Destroying != n {
			t.Fatalf("after Reset: %v", s)
		}
		if in := h.Inspect(n); len(in.Resources) != 0 {
			t.Fatalf("%d resources listed that are being destroyed", len(in.Resources))
		}
		start := time.Now()
		l, err := h.Acquire(t.Context())
		if err != nil || l.Value() != n+1 || time.Since(start) != 0 {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		synctest.Wait()
		if got := h.begun.Load(); got < 64 || got > 512 {
			t.Fatalf("%d Destroys at once", got)
		}
		time.Sleep(time.Second)
		if got := h.begun.Load(); got != n {
			t.Fatalf("%d of %d Destroys began, and all hang", got, n)
		}
		l.Release()
		h.close(t)
	})
}

// Resize to less ends what is idle beyond that, and until then lends it.
func TestI11_ResizeOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 3000
		h := newHanging(t, resource.Config[int]{MaxSize: n}, n)
		if err := h.Resize(10); err != nil {
			t.Fatal(err)
		}
		l, ok := h.TryAcquire()
		if !ok {
			t.Fatal("nothing to lend")
		}
		synctest.Wait()
		if got := h.begun.Load(); got < 64 || got > 512 {
			t.Fatalf("%d Destroys at once", got)
		}
		time.Sleep(time.Second)
		if s := h.Stats(); h.begun.Load() != n-10 || s.Idle != 9 || s.Leased != 1 || s.Destroying != n-10 {
			t.Fatalf("%d Destroys began; %v", h.begun.Load(), s)
		}
		l.Release()
		h.close(t)
	})
}

// Close of many returns when its context ends, and goes on.
func TestI6_CloseOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 3000
		h := newHanging(t, resource.Config[int]{MaxSize: n}, n)
		held := make([]resource.Lease[int], 20)
		for i := range held {
			held[i], _ = h.TryAcquire()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		var out *resource.CloseError
		if err := h.Close(ctx); !errors.As(err, &out) || time.Since(start) != time.Second {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		if out.Load.Destroying != n-20 || out.Load.Leased != 20 || len(out.Leased) != 16 {
			t.Fatal(out)
		}
		for _, l := range held {
			l.Release()
		}
		h.close(t)
	})
}

// When many leases end at once after a Reset their resources are not all
// destroyed at once either.
func TestI11_ResetOfManyLeased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 3000
		h := newHanging(t, resource.Config[int]{MaxSize: n}, n)
		ls := make([]resource.Lease[int], n)
		for i := range ls {
			ls[i], _ = h.TryAcquire()
		}
		h.Reset(nil)
		if s := h.Stats(); s.Leased != n || s.Destroying != 0 {
			t.Fatalf("after Reset: %v", s)
		}
		for _, r := range h.Inspect(n).Resources {
			if !errors.Is(r.Invalidated, resource.ErrReset) {
				t.Fatalf("%d: %v", r.ID, r.Invalidated)
			}
		}
		for _, l := range ls {
			l.Release()
		}
		synctest.Wait()
		if got := h.begun.Load(); got < 200 || got > 512 {
			t.Fatalf("%d Destroys at once", got)
		}
		time.Sleep(time.Second)
		if got := h.begun.Load(); got != n {
			t.Fatalf("%d of %d Destroys began", got, n)
		}
		h.close(t)
	})
}

// minuteCheck is a Health whose check of each resource takes a minute.
type minuteCheck struct{ checking, ended atomic.Int64 }

func (c *minuteCheck) Check(_ context.Context, v int, _ resource.Info) error {
	c.checking.Add(1)
	time.Sleep(time.Minute)
	c.checking.Add(-1)
	c.ended.Add(1)
	return nil
}

// A resource that is being checked when its era ends is destroyed after its
// check.
func TestReset_WhileChecking(t *testing.T) {
	for _, n := range []int{10, 3000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				check := new(minuteCheck)
				h := newHanging(t, resource.Config[int]{MaxSize: n, MakeTimeout: time.Hour, Health: check}, n)
				time.Sleep(10*time.Second + time.Minute - time.Millisecond)
				checking := int(check.checking.Load())
				if checking == 0 {
					t.Fatal("no check")
				}
				h.Reset(nil)
				synctest.Wait()
				if s := h.Stats(); s.Destroying != n-checking || s.Idle != checking || h.begun.Load() > int64(n-checking) {
					t.Fatalf("%d Destroys began; %v", h.begun.Load(), s)
				}
				time.Sleep(10 * time.Second)
				if h.begun.Load() != int64(n) || check.ended.Load() != int64(checking) {
					t.Fatalf("%d of %d Destroys began, %d checks ended", h.begun.Load(), n, check.ended.Load())
				}
				h.close(t)
			})
		})
	}
}

// After Reset has returned nothing made before is lent, whatever else goes on.
func TestReset_StressNothingOldIsLent(t *testing.T) {
	var begun, ended atomic.Int64 // Resets
	p, err := resource.New(resource.Config[int64]{
		MaxSize: 400, MinIdle: 300,
		Make: func(context.Context) (int64, error) { return begun.Load(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !done.Load() {
				want := ended.Load()
				l, err := p.Acquire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if got := l.Value(); got < want {
					t.Errorf("made before reset %d, lent after it: %d", want, got)
				}
				if rand.IntN(4) == 0 {
					runtime.Gosched()
				}
				l.Release()
			}
		})
	}
	for n := range 300 {
		if n%10 == 0 {
			if err := p.Resize([]int{400, 50}[n/10%2]); err != nil {
				t.Error(err)
			}
		}
		begun.Add(1)
		p.Reset(nil)
		ended.Add(1)
		for range n % 7 {
			runtime.Gosched()
		}
	}
	done.Store(true)
	wg.Wait()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.Load != (resource.Load{Max: s.Max}) || s.Made != s.Destroyed || s.Acquired != s.Released {
		t.Fatal(s)
	}
}

// puddle's removal goes through the list of all that a puddle pool has, so none
// may have many.
func TestLife_ShardsStaySmall(t *testing.T) {
	const n = 2000
	p, err := resource.New(resource.Config[int]{MaxSize: n, Make: func(context.Context) (int, error) { return 0, nil }})
	if err != nil {
		t.Fatal(err)
	}
	var ls []resource.Lease[int]
	for range 3 {
		for len(ls) < n {
			l, err := p.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ls = append(ls, l)
		}
		shards, most := p.Shards()
		// One more, since a hijacked one leaves its own after its place is free.
		if shards > (n+255)/256+1 || most > 256 {
			t.Errorf("%d resources in %d puddle pools, at most %d in one", n, shards, most)
		}
		rand.Shuffle(n, func(i, k int) { ls[i], ls[k] = ls[k], ls[i] })
		for _, l := range ls[n/3:] {
			if rand.IntN(2) == 0 {
				l.Discard(nil)
			} else {
				l.Hijack()
			}
		}
		ls = ls[:n/3]
	}
	for _, l := range ls {
		l.Release()
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
