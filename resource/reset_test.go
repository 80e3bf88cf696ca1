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

// Reset ends what is idle now, with the cause.
func TestReset_Idle(t *testing.T) {
	why := errors.New("new credentials")
	script(t, 2, nil, func(h *harness) {
		its := h.stock(2)
		h.p.Reset(why)
		h.wantDestroyed(its[0], why)
		h.wantDestroyed(its[1], why)
		h.wantLoad(resource.Load{})
	})
}

// A leased resource is destroyed when its lease ends; resources made since stay.
func TestReset_Leased(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		h.p.Reset(nil)
		if l.Value() != it {
			t.Error("Reset touched a lease")
		}
		fresh := h.lend()
		h.wantAlive(it)
		kept := fresh.Value()
		l.Release()
		h.wantDestroyed(it, resource.ErrReset)
		fresh.Release()
		h.wantAlive(kept)
		h.wantLoad(resource.Load{Idle: 1})
	})
}

// A waiter is not handed the old one.
func TestReset_WaiterGetsANewOne(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		old := l.Value()
		c := h.acquire()
		h.p.Reset(nil)
		l.Release()
		h.wantDestroyed(old, resource.ErrReset)
		it := h.wantMakeWithin(time.Second).finish()
		c.wantItem(it)
	})
}

// A running make is old too: its value is destroyed, and the waiter gets a resource
// that was begun since.
func TestReset_DuringMake(t *testing.T) {
	why := errors.New("why")
	script(t, 2, nil, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		m.hang()
		h.p.Reset(why)
		if h.settle(); !errors.Is(context.Cause(m.ctx), why) {
			t.Errorf("the make's context ended with %v, want %v", context.Cause(m.ctx), why)
		}
		old := m.finish()
		h.wantDestroyed(old, why)
		it := h.wantMakeWithin(time.Second).finish()
		c.wantItem(it)
	})
}

// Each Reset counts: the cause is that of the first that found it.
func TestReset_Twice(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	script(t, 2, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		h.p.Reset(first)
		h.p.Reset(second)
		l.Release()
		h.settle()
		h.mu.Lock()
		defer h.mu.Unlock()
		if cause := h.causes[it]; !errors.Is(cause, first) && !errors.Is(cause, second) {
			t.Errorf("destroyed for %v", cause)
		}
	})
}

// Trap 10: on Reset the slot was free before the destructor had ended: of at most
// 4, 12 were alive after three resets.
func TestPuddleTrap10_ResetExceedsMax(t *testing.T) {
	edit := func(h *harness) {
		slowDestroy(h)
		h.auto = func(m *makeCall) { m.finish() }
	}
	script(t, 4, edit, func(h *harness) {
		for range 3 {
			for range 4 {
				h.acquireFor(time.Minute)
			}
			time.Sleep(100 * time.Millisecond)
			h.p.Reset(nil)
			for _, c := range h.calls {
				if o := c.poll(); o != nil && o.err == nil {
					o.lease.Release()
				}
			}
			h.mu.Lock()
			if n := len(h.living); n > 4 {
				t.Errorf("%d alive at once, want at most 4", n)
			}
			h.mu.Unlock()
		}
		time.Sleep(time.Minute)
	})
}

// Trap 20: a resource that was being made when Reset was called was lent
// afterwards.
func TestPuddleTrap20_MakeRacesReset(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		m.hang()
		h.p.Reset(nil)
		old := m.finish()
		h.wantDestroyed(old, resource.ErrReset)
		it := h.wantMakeWithin(time.Second).finish()
		c.wantItem(it)
	})
}

// Reset cancels the makes that run: callers before and after it are served by makes
// that begin after it, and the failure of the others is not reported to them
// (mongo-python-driver#2010).
func TestReset_WhileMakesHang(t *testing.T) {
	moved := errors.New("moved")
	script(t, 10, nil, func(h *harness) {
		before := h.acquire()
		m := h.wantMake()
		time.Sleep(500 * time.Millisecond)
		h.p.Reset(moved)
		h.wantMake().finish()
		before.wantLease()
		if !errors.Is(context.Cause(m.ctx), moved) {
			t.Errorf("the make's context ended with %v", context.Cause(m.ctx))
		}
		after := h.acquire()
		h.wantMake().finish()
		after.wantLease()
		if s := h.p.Stats(); s.Failed != 1 || s.LastMake != nil || s.Making != 0 {
			t.Errorf("%v", s)
		}
	})
}

// A make that ignores that its context has ended holds its slot for a moment
// longer.
func TestReset_WhileADeafMakeHangs(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		m.hang()
		h.p.Reset(nil)
		time.Sleep(999 * time.Millisecond)
		h.wantNoMake()
		time.Sleep(time.Millisecond)
		h.wantMake().finish()
		c.wantLease()
		h.wantLoad(resource.Load{Leased: 1, Abandoned: 1})
		h.wantGone(m.finish())
	})
}

// A Reset says nothing about the server: the makes that it cancels are no outage.
func TestReset_CanceledMakesAreNoOutage(t *testing.T) {
	script(t, 10, nil, func(h *harness) {
		var cs []*call
		for range 5 {
			cs = append(cs, h.acquire())
		}
		h.wantMakes(5)
		h.p.Reset(nil)
		for _, m := range h.wantMakes(5) {
			m.finish()
		}
		for _, c := range cs {
			c.wantLease()
		}
		if s := h.p.Stats(); s.Outage {
			t.Errorf("%v", s)
		}
	})
}

// Resets that come more often than a make takes still let callers be served
// (puddle served 1,820 in such a run).
func TestReset_MoreOftenThanAMakeTakes(t *testing.T) {
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finishAfter(150 * time.Millisecond) }
	}
	script(t, 10, edit, func(h *harness) {
		stop := make(chan struct{})
		served := make(chan int)
		const callers = 10
		for range callers {
			go func() {
				n := 0
				for {
					select {
					case <-stop:
						served <- n
						return
					default:
					}
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					if l, err := h.p.Acquire(ctx); err == nil {
						n++
						time.Sleep(10 * time.Millisecond)
						l.Release()
					}
					cancel()
				}
			}()
		}
		for range 200 {
			time.Sleep(100 * time.Millisecond)
			h.p.Reset(nil)
		}
		close(stop)
		sum := 0
		for range callers {
			sum += <-served
		}
		if sum < 1000 {
			t.Errorf("%d served in 20 s", sum)
		}
	})
}

// A resource that a Reset spared is lent once, and not at all without a waiter.
func TestReset_SparedIsLentOnce(t *testing.T) {
	script(t, 10, nil, func(h *harness) {
		c := h.acquire()
		first := h.wantMake()
		h.p.Reset(nil)
		second := h.wantMake()
		time.Sleep(10 * time.Millisecond)
		h.p.Reset(nil)
		if first.ctx.Err() == nil || second.ctx.Err() != nil {
			t.Errorf("the contexts ended with %v and %v", first.ctx.Err(), second.ctx.Err())
		}
		it := second.finish()
		l := c.wantItem(it)
		h.wantNoMake()
		l.Release()
		h.wantDestroyed(it, resource.ErrReset)

		c = h.acquire()
		m := h.wantMake()
		h.p.Reset(nil) // soon after the last one, so it spares m
		c.cancel()
		c.wantErr(context.Canceled)
		h.wantDestroyed(m.finish(), resource.ErrReset)
	})
}

// A resource that a Reset spared is not lent if Watch reports it dead before it is in the
// pool.
func TestReset_SparedIsNotLentDead(t *testing.T) {
	script(t, 10, nil, func(h *harness) {
		c := h.acquire()
		h.wantMake()
		h.p.Reset(nil)
		second := h.wantMake()
		time.Sleep(10 * time.Millisecond) // in the bubble: the caller must have come before the next Reset
		h.p.Reset(nil)                    // soon after the last one, so it spares second
		if second.ctx.Err() != nil {
			t.Fatalf("the context ended with %v", second.ctx.Err())
		}
		h.onWatch = func(it *item) { it.invalidate(errors.New("found dead")) }
		h.wantDestroyed(second.finish(), resource.ErrReset)
		h.onWatch = nil
		c.wantItem(h.wantMake().finish())
		if s := h.p.Stats(); s.Acquired != 1 {
			t.Errorf("%d leases began, and the caller has one", s.Acquired)
		}
	})
}

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
	p := newPool(t, cfg)
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
	closeAll(t, h)
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

// Close of many returns when its context ends, and the destroys continue.
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

// A resource that is being checked when its era ends is destroyed after its
// check.
func TestReset_WhileChecking(t *testing.T) {
	for _, n := range []int{10, 3000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var running, ended atomic.Int64
				check := checkOf[int](func(context.Context, int, resource.Info) error {
					running.Add(1)
					time.Sleep(time.Minute)
					running.Add(-1)
					ended.Add(1)
					return nil
				})
				h := newHanging(t, resource.Config[int]{MaxSize: n, MakeTimeout: time.Hour, Health: check}, n)
				time.Sleep(10*time.Second + time.Minute - time.Millisecond)
				checking := int(running.Load())
				if checking == 0 {
					t.Fatal("no check")
				}
				h.Reset(nil)
				synctest.Wait()
				if s := h.Stats(); s.Destroying != n-checking || s.Idle != checking || h.begun.Load() > int64(n-checking) {
					t.Fatalf("%d Destroys began; %v", h.begun.Load(), s)
				}
				time.Sleep(10 * time.Second)
				if h.begun.Load() != int64(n) || ended.Load() != int64(checking) {
					t.Fatalf("%d of %d Destroys began, %d checks ended", h.begun.Load(), n, ended.Load())
				}
				h.close(t)
			})
		})
	}
}

// After Reset has returned nothing made before is lent, whatever else goes on.
func TestReset_StressNothingOldIsLent(t *testing.T) {
	var begun, ended atomic.Int64 // Resets
	p := newPool(t, resource.Config[int64]{
		MaxSize: 400, MinIdle: 300,
		Make: func(context.Context) (int64, error) { return begun.Load(), nil },
	})
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
	closeAll(t, p)
	if s := p.Stats(); s.Load != (resource.Load{Max: s.Max}) || s.Made != s.Destroyed || s.Acquired != s.Released {
		t.Fatal(s)
	}
}

// puddle's removal goes through the list of all that a puddle pool has, so none
// may have many.
func TestLife_ShardsStaySmall(t *testing.T) {
	const n = 2000
	p := newPool(t, resource.Config[int]{MaxSize: n, Make: func(context.Context) (int, error) { return 0, nil }})
	var ls []resource.Lease[int]
	for range 3 {
		for len(ls) < n {
			l := lendOne(t, p)
			ls = append(ls, l)
		}
		shards, most := p.Shards()
		// One more, since a hijacked one leaves its own after its slot is free.
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
	closeAll(t, p)
}
