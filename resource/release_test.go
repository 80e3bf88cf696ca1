package resource_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// Release does not queue its caller behind the other goroutines of the process,
// whether the releasers of the pool block soon or go on computing. One processor,
// and goroutines that always have something to do on it; how often one of them
// runs is counted while a Release is under way.
func TestRelease_DoesNotQueue(t *testing.T) {
	for name, then := range map[string]time.Duration{"blocks soon": 0, "computes": 200 * time.Microsecond} {
		t.Run(name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			p := newPlain(t, 1, nil)
			var steps atomic.Int64
			var over atomic.Bool
			var others, callers sync.WaitGroup
			for range 20 {
				others.Go(func() {
					for !over.Load() {
						steps.Add(1)
						compute(10 * time.Microsecond)
						runtime.Gosched()
					}
				})
			}
			const rounds = 300
			var served, overtaken atomic.Int64
			for range 3 {
				callers.Go(func() {
					for range rounds {
						l := p.must(context.Background())
						compute(60 * time.Microsecond)
						for n := 0; p.Stats().Waiting == 0 && n < 100; n++ {
							runtime.Gosched()
						}
						before := steps.Load()
						l.Release()
						served.Add(1)
						if steps.Load() > before {
							overtaken.Add(1)
						}
						compute(then)
					}
				})
			}
			callers.Wait()
			over.Store(true)
			others.Wait()
			// The scheduler may preempt at any point; but that is rare.
			if n := overtaken.Load(); n > served.Load()/10 {
				t.Errorf("others ran during %d of %d releases", n, served.Load())
			}
		})
	}
}

// A releaser pauses for its waiter only after it held the resource for long, however long ago
// the resource was created or last idle.
func TestRelease_ShortHoldsDoNotPause(t *testing.T) {
	const rounds = 40
	for _, tc := range []struct {
		hold        time.Duration
		least, most int // rounds in which the waiter may have run before Release returned
	}{
		// The scheduler may preempt the releaser at any point, and now and then a hand-over is
		// watched instead.
		{hold: 0, least: 0, most: rounds / 4},
		{hold: time.Millisecond, least: rounds * 3 / 4, most: rounds},
	} {
		t.Run(tc.hold.String(), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			cfg := resource.Config[int]{MaxSize: 1, Make: makeOne}
			inBubble(t, cfg, func(p *resource.Pool[int]) {
				p.HandOffsLate()
				l := lendOne(t, p)
				time.Sleep(time.Second)
				paused := 0
				for i := range rounds + 1 {
					var ran atomic.Bool
					next := make(chan resource.Lease[int], 1)
					go func() {
						l, err := p.Acquire(context.Background())
						ran.Store(true)
						if err != nil {
							t.Error(err)
						}
						next <- l
					}()
					synctest.Wait()
					time.Sleep(tc.hold)
					l.Release()
					if ran.Load() && i > 0 { // the first lease was long
						paused++
					}
					l = <-next
				}
				l.Release()
				if paused < tc.least || paused > tc.most {
					t.Errorf("the waiter ran before Release returned %d times of %d, want %d to %d", paused, rounds, tc.least, tc.most)
				}
			})
		})
	}
}

// releaseRecorder is an OnRelease that the script steers.
type releaseRecorder struct {
	mu    sync.Mutex
	slow  time.Duration
	deaf  bool // does not heed its context
	do    func(it *item) error
	seen  []*item
	ended []error // of the contexts of those that were cut short
}

func (j *releaseRecorder) clean(ctx context.Context, it *item) error {
	j.mu.Lock()
	j.seen = append(j.seen, it)
	slow, deaf, do := j.slow, j.deaf, j.do
	j.mu.Unlock()
	timer := time.NewTimer(slow)
	defer timer.Stop()
	done := ctx.Done()
	if deaf {
		done = nil
	}
	select {
	case <-timer.C:
	case <-done:
		j.mu.Lock()
		defer j.mu.Unlock()
		j.ended = append(j.ended, context.Cause(ctx))
		return ctx.Err()
	}
	if do != nil {
		return do(it)
	}
	return nil
}

func (j *releaseRecorder) set(slow time.Duration, deaf bool, do func(it *item) error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.slow, j.deaf, j.do = slow, deaf, do
}

func (j *releaseRecorder) calls() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.seen)
}

func (j *releaseRecorder) in(h *harness) {
	h.cfg.OnRelease = j.clean
	h.auto = func(m *makeCall) { m.finish() }
}

// wantCalls checks how often OnRelease was called.
func (j *releaseRecorder) wantCalls(t *testing.T, n int) {
	t.Helper()
	if got := j.calls(); got != n {
		t.Errorf("OnRelease was called %d times, want %d", got, n)
	}
}

// It runs once between two leases; neither the releaser waits for it nor is the
// resource lent before its end, nor is a replacement made.
func TestOnRelease(t *testing.T) {
	for name, queue := range map[string]resource.Queue{"": nil, "with a Queue": &listQueue{}} {
		t.Run(name, func(t *testing.T) {
			j := &releaseRecorder{}
			edit := func(h *harness) {
				j.in(h)
				h.cfg.Queue = queue
			}
			script(t, 2, edit, func(h *harness) {
				l := h.lend()
				it := l.Value()
				j.set(time.Second, false, nil)
				began := time.Now()
				l.Release()
				l.Release()
				if took := time.Since(began); took != 0 {
					t.Errorf("Release took %v", took)
				}
				h.wantLoad(resource.Load{Idle: 1})
				made := h.begun()
				c := h.acquire()
				h.wantLoad(resource.Load{Idle: 1, Waiting: 1})
				time.Sleep(time.Second)
				c.wantItem(it)
				j.wantCalls(t, 1)
				if n := h.begun(); n != made {
					t.Errorf("%d makes for want of what OnRelease had", n-made)
				}
				j.set(0, false, nil)
				c.got.lease.Release()
				for range 3 {
					l := h.acquire().wantItem(it)
					l.Release()
					h.settle()
				}
				j.wantCalls(t, 5)
			})
		})
	}
}

// TryAcquire does not get what OnRelease still has.
func TestOnRelease_TryAcquire(t *testing.T) {
	j := &releaseRecorder{}
	script(t, 1, j.in, func(h *harness) {
		l := h.lend()
		j.set(time.Second, false, nil)
		l.Release()
		if _, ok := h.p.TryAcquire(); ok {
			t.Error("lent before OnRelease has returned")
		}
		time.Sleep(time.Second)
		h.settle()
		l, ok := h.p.TryAcquire()
		if !ok {
			t.Error("not lent after it")
		}
		l.Release()
	})
}

// OnRelease is called where a lease ends and its resource is to be lent again.
func TestOnRelease_When(t *testing.T) {
	errApp := errors.New("not found")
	for _, c := range []struct {
		name string
		end  func(h *harness, l resource.Lease[*item])
		want int
	}{
		{"Release", func(h *harness, l resource.Lease[*item]) { l.Release() }, 1},
		{"Fail, not broken", func(h *harness, l resource.Lease[*item]) { l.Fail(errApp) }, 1},
		{"Fail, broken", func(h *harness, l resource.Lease[*item]) { l.Fail(errSick) }, 0},
		{"Discard", func(h *harness, l resource.Lease[*item]) { l.Discard(nil) }, 0},
		{"Hijack", func(h *harness, l resource.Lease[*item]) { h.hijack(l) }, 0},
		{"invalidated", func(h *harness, l resource.Lease[*item]) { l.Value().invalidate(errSick); l.Release() }, 0},
		{"reset", func(h *harness, l resource.Lease[*item]) { h.p.Reset(nil); l.Release() }, 0},
		{"evicted", func(h *harness, l resource.Lease[*item]) { time.Sleep(2 * time.Hour); l.Release() }, 0},
		{"closed", func(h *harness, l resource.Lease[*item]) { h.close(time.Minute); l.Release() }, 0},
		{"resized", func(h *harness, l resource.Lease[*item]) { h.lend(); h.resize(1); l.Release() }, 0},
	} {
		for name, edit := range map[string]func(h *harness){
			"":                  func(h *harness) {},
			", with an Evict":   func(h *harness) { h.cfg.Eviction = olderThan(time.Hour) },
			", with a Trace":    func(h *harness) { h.cfg.Trace = &resource.Trace{Ended: func(resource.EndEvent) {}} },
			", with a Health":   func(h *harness) { h.cfg.Health = newScriptedHealth() },
			", with Admissions": func(h *harness) { h.cfg.Admission = &ledger{} },
		} {
			if c.name == "evicted" && name != ", with an Evict" {
				continue
			}
			t.Run(c.name+name, func(t *testing.T) {
				j := &releaseRecorder{}
				both := func(h *harness) {
					j.in(h)
					h.cfg.Broken = func(err error) bool { return err != errApp }
					edit(h)
				}
				script(t, 2, both, func(h *harness) {
					c.end(h, h.lend())
					h.settle()
					j.wantCalls(t, c.want)
				})
			})
		}
	}
}

// Not for a lease that no caller has had.
func TestOnRelease_Unseen(t *testing.T) {
	j := &releaseRecorder{}
	w := newScriptedHealth()
	edit := func(h *harness) {
		j.in(h)
		h.cfg.Health, h.cfg.SweepInterval = w, time.Hour
	}
	script(t, 1, edit, func(h *harness) {
		h.lend().Release()
		h.settle()
		w.delay(time.Second)
		c := h.acquire()
		c.cancel()
		c.wantErr(context.Canceled)
		j.wantCalls(t, 1)
		h.wantLoad(resource.Load{Idle: 1})
	})
}

// An OnRelease that fails, panics or ends its goroutine destroys the resource, with that
// as the cause.
func TestOnRelease_Fails(t *testing.T) {
	for name, c := range map[string]struct {
		slow  time.Duration
		deaf  bool
		do    func(*item) error
		cause error
		after time.Duration
	}{
		"error":             {0, false, func(*item) error { return errSick }, errSick, 0},
		"I9 panic":          {0, false, func(*item) error { panic(errFault) }, errFault, 0},
		"I9 Goexit":         {0, false, func(*item) error { runtime.Goexit(); return nil }, resource.ErrGoexit, 0},
		"time":              {time.Minute, false, nil, resource.ErrReleaseTimeout, 2 * time.Second},
		"time, deaf":        {time.Minute, true, nil, resource.ErrReleaseTimeout, time.Minute},
		"time, deaf, error": {time.Minute, true, func(*item) error { return errSick }, errSick, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			j := &releaseRecorder{}
			edit := func(h *harness) {
				j.in(h)
				h.cfg.ReleaseTimeout = 2 * time.Second
			}
			script(t, 2, edit, func(h *harness) {
				l := h.lend()
				it := l.Value()
				j.set(c.slow, c.deaf, c.do)
				l.Release()
				if c.after > 0 {
					time.Sleep(c.after - time.Millisecond)
					h.wantAlive(it)
					time.Sleep(time.Millisecond)
				}
				h.wantDestroyed(it, c.cause)
				if c.slow > 0 {
					h.wantDestroyed(it, resource.ErrReleaseTimeout)
				}
				if n := h.p.Stats().ReleaseFailed; n != 1 {
					t.Errorf("ReleaseFailed is %d, want 1", n)
				}
				j.set(0, false, nil)
				h.lend().Release()
			})
		})
	}
}

// An OnRelease that hangs keeps its own resource; a waiter gets another, new or
// released; and Stats shows that it hangs.
func TestI11_OnReleaseHangs(t *testing.T) {
	for _, max := range []int{2, 8} {
		t.Run(fmt.Sprint(max), func(t *testing.T) {
			j := &releaseRecorder{}
			script(t, max, j.in, func(h *harness) {
				l := h.lend()
				it := l.Value()
				j.set(time.Hour, true, nil)
				l.Release()
				c := h.acquireFor(5 * time.Second)
				c.await(5 * time.Second)
				if took := c.took(); took > 2*time.Second {
					t.Errorf("served after %v", took)
				}
				if c.got.lease.Value() == it {
					t.Error("lent what OnRelease still has")
				}
				j.set(0, false, nil)
				c.got.lease.Release()
				time.Sleep(10 * time.Second)
				h.wantLoad(resource.Load{Idle: 2, Hanging: 1})
				for range 5 {
					l := h.acquire().wantLease()
					l.Release()
					h.settle()
				}
				ce := h.wantCloseError(time.Second)
				if ce.Load.Hanging != 1 || ce.Busy != 1 {
					t.Errorf("Close: %v", ce)
				}
				time.Sleep(time.Hour)
			})
		})
	}
}

// Close cuts it short; the resource is destroyed because of Close.
func TestOnRelease_Close(t *testing.T) {
	j := &releaseRecorder{}
	script(t, 1, j.in, func(h *harness) {
		l := h.lend()
		it := l.Value()
		j.set(4*time.Second, false, nil)
		l.Release()
		h.settle()
		began := time.Now()
		if err := <-h.close(time.Minute); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
		h.wantDestroyed(it, resource.ErrClosed)
		if n := h.p.Stats().ReleaseFailed; n != 0 {
			t.Errorf("ReleaseFailed is %d, want 0", n)
		}
	})
}

// A resource invalidated meanwhile is destroyed when OnRelease returns.
func TestOnRelease_EndedMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(h *harness, it *item)
		cause error
		now   bool // its context ends
	}{
		"invalidate": {func(h *harness, it *item) { it.invalidate(errSick) }, errSick, false},
		"Reset":      {func(h *harness, it *item) { h.p.Reset(nil) }, resource.ErrReset, true},
		"Resize":     {func(h *harness, it *item) { h.resize(1) }, resource.ErrResized, false},
	} {
		t.Run(name, func(t *testing.T) {
			j := &releaseRecorder{}
			script(t, 2, j.in, func(h *harness) {
				ls, its := h.lendN(2)
				j.set(time.Second, false, nil)
				ls[0].Release()
				h.settle()
				c.do(h, its[0])
				h.settle()
				if !c.now {
					h.wantAlive(its[0])
					time.Sleep(time.Second)
				}
				h.wantDestroyed(its[0], c.cause)
				ls[1].Discard(nil)
			})
		})
	}
}

// The fields are checked, and their zero values are defaults.
func TestOnRelease_Config(t *testing.T) {
	_, err := resource.New(resource.Config[int]{
		Make: func(context.Context) (int, error) { return 0, nil }, MaxSize: 1, ReleaseTimeout: -1,
	})
	if err == nil {
		t.Error("a negative ReleaseTimeout is accepted")
	}
	j := &releaseRecorder{}
	script(t, 1, j.in, func(h *harness) {
		l := h.lend()
		it := l.Value()
		j.set(time.Hour, false, nil)
		l.Release()
		time.Sleep(resource.DefaultReleaseTimeout - time.Millisecond)
		h.wantAlive(it)
		time.Sleep(time.Millisecond)
		h.wantDestroyed(it, resource.ErrReleaseTimeout)
	})
}

// after returns a check that takes d, or ends with its context, and then returns
// err.
func after(d time.Duration, err error) func(context.Context, *item) error {
	return func(ctx context.Context, _ *item) error {
		select {
		case <-time.After(d):
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// A resource returned by ReleaseAfter is idle and not lent before its check has
// passed; then it has its former position, and its lease does not count.
func TestReleaseAfter(t *testing.T) {
	for name, order := range map[string]resource.Order{"newest": resource.NewestFirst, "oldest": resource.OldestFirst} {
		t.Run(name, func(t *testing.T) {
			script(t, 2, func(h *harness) { h.cfg.Order = order }, func(h *harness) {
				its := h.stock(2)
				first, second := its[1], its[0]
				if order == resource.OldestFirst {
					first, second = its[0], its[1]
				}
				time.Sleep(3 * time.Second)
				l := h.acquire().wantItem(first)
				leases := l.Info().Leases
				l.ReleaseAfter(after(time.Second, nil))
				l.ReleaseAfter(after(0, errSick)) // the lease has ended
				h.wantLoad(resource.Load{Idle: 2})
				if r := h.p.Inspect(2).Resources; r[0].State+r[1].State != resource.Checking {
					t.Errorf("states %v and %v", r[0].State, r[1].State)
				}
				other := h.acquire().wantItem(second)
				time.Sleep(time.Second)
				h.settle()
				l = h.acquire().wantItem(first)
				if i := l.Info(); i.Leases != leases || i.Idle < 3800*time.Millisecond || i.Idle > 4200*time.Millisecond {
					t.Errorf("%d leases before, now %+v", leases, i)
				}
				l.Release()
				other.Release()
				h.wantLoad(resource.Load{Idle: 2})
			})
		})
	}
}

// A waiter gets the resource as soon as its check has passed, with a Queue too. The
// pool counts on it for 10 ms to 100 ms: then another is made.
func TestReleaseAfter_Waiter(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		makes, check time.Duration // how long each takes
		makeAfter    time.Duration // 0: none begins
	}{
		{0, 9 * ms, 0}, {0, 50 * ms, 10 * ms}, {30 * ms, 29 * ms, 0}, {30 * ms, 80 * ms, 30 * ms}, {900 * ms, time.Minute, 100 * ms},
	} {
		for name, queue := range map[string]resource.Queue{"": nil, "with a Queue": &listQueue{}} {
			t.Run(tc.check.String()+name, func(t *testing.T) {
				edit := func(h *harness) {
					h.cfg.Queue = queue
					h.auto = func(m *makeCall) { m.finishAfter(tc.makes) }
				}
				script(t, 2, edit, func(h *harness) {
					c := h.acquire()
					time.Sleep(tc.makes)
					l := c.wantLease()
					it := l.Value()
					l.ReleaseAfter(after(tc.check, nil))
					made := h.begun()
					c = h.acquire()
					h.wantWaiting(c)
					if tc.makeAfter == 0 {
						time.Sleep(tc.check)
						c.wantItem(it).Release()
						if n := h.begun() - made; n != 0 {
							t.Errorf("%d makes", n)
						}
						return
					}
					time.Sleep(tc.makeAfter - 1)
					h.settle()
					if n := h.begun() - made; n != 0 {
						t.Errorf("%d makes before %v", n, tc.makeAfter)
					}
					time.Sleep(time.Nanosecond)
					h.settle()
					if n := h.begun() - made; n != 1 {
						t.Errorf("%d makes after %v", n, tc.makeAfter)
					}
					time.Sleep(tc.makes)
					if l := c.wantLease(); l.Value() == it && tc.check > tc.makes+tc.makeAfter {
						t.Error("lent before its check has passed")
					}
				})
			})
		}
	}
}

// A check that fails, panics or ends its goroutine destroys the resource, and its
// slot is free for the waiters.
func TestReleaseAfter_Fails(t *testing.T) {
	for name, check := range map[string]func(context.Context, *item) error{
		"error":  after(time.Second, errSick),
		"panic":  func(context.Context, *item) error { time.Sleep(time.Second); panic(errSick) },
		"goexit": func(context.Context, *item) error { time.Sleep(time.Second); runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			script(t, 1, nil, func(h *harness) {
				l := h.lend()
				it := l.Value()
				l.ReleaseAfter(check)
				c := h.acquire()
				h.wantWaiting(c)
				time.Sleep(time.Second)
				h.settle()
				h.wantGone(it)
				h.wantMake().finish()
				c.wantLease().Release()
				if s := h.p.Stats(); s.Unhealthy != 1 {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// Reset and Close end the check's context; invalidate, Resize and the end of the lease's
// era before it say as much: the resource is destroyed, whatever the check says.
func TestReleaseAfter_Ends(t *testing.T) {
	errGone := errors.New("gone")
	for name, tc := range map[string]struct {
		do    func(h *harness, it *item)
		cause error
		soon  bool // its context ends
	}{
		"Reset":      {func(h *harness, _ *item) { h.p.Reset(errGone) }, errGone, true},
		"Close":      {func(h *harness, _ *item) { h.close(time.Minute) }, resource.ErrClosed, true},
		"invalidate": {func(_ *harness, it *item) { it.invalidate(errGone) }, errGone, false},
	} {
		t.Run(name, func(t *testing.T) {
			script(t, 1, nil, func(h *harness) {
				l := h.lend()
				it := l.Value()
				var ended atomic.Bool
				l.ReleaseAfter(func(ctx context.Context, _ *item) error {
					select {
					case <-time.After(time.Second):
					case <-ctx.Done():
						ended.Store(true)
					}
					return nil
				})
				h.settle()
				tc.do(h, it)
				h.settle()
				if ended.Load() != tc.soon {
					t.Errorf("its context has ended: %v", !tc.soon)
				}
				time.Sleep(time.Second)
				h.settle()
				h.wantDestroyed(it, tc.cause)
			})
		})
	}
	t.Run("invalidated before", func(t *testing.T) {
		script(t, 1, nil, func(h *harness) {
			l := h.lend()
			it := l.Value()
			it.invalidate(errGone)
			l.ReleaseAfter(func(context.Context, *item) error { t.Error("it was checked"); return nil })
			h.settle()
			h.wantDestroyed(it, errGone)
		})
	})
}

// A check that never returns is reported as hanging, keeps only its own slot, and
// Close waits for it.
func TestReleaseAfter_Hangs(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		l := h.lend()
		l.ReleaseAfter(func(context.Context, *item) error { <-h.over; return nil })
		time.Sleep(h.grace + 1)
		if s := h.p.Stats(); s.Hanging != 1 || s.Idle != 1 {
			t.Errorf("%v", s)
		}
		c := h.acquire()
		h.wantMake().finish()
		c.wantLease().Release()
	})
}

// Callers that give back at random what they got, some of it by ReleaseAfter, all
// get something, and nothing is lost or lent twice.
func TestReleaseAfter_Stress(t *testing.T) {
	type owned struct{ by atomic.Int64 }
	p := newPool(t, resource.Config[*owned]{MaxSize: 4, Make: func(context.Context) (*owned, error) { return new(owned), nil }})
	var all sync.WaitGroup
	for g := range int64(8) {
		all.Go(func() {
			for i := range 300 {
				l, err := p.Acquire(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if !l.Value().by.CompareAndSwap(0, g+1) {
					t.Error("lent twice")
				}
				l.Value().by.Store(0)
				switch (i + int(g)) % 4 {
				case 0, 1:
					l.Release()
				case 2:
					l.ReleaseAfter(func(_ context.Context, o *owned) error {
						if !o.by.CompareAndSwap(0, -1) {
							t.Error("checked while leased")
						}
						o.by.Store(0)
						if i%50 == 0 {
							return errSick
						}
						return nil
					})
				case 3:
					l.ReleaseUnused()
				}
			}
		})
	}
	all.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
	if s := p.Stats(); s.Made != s.Destroyed || s.Idle != 0 {
		t.Errorf("%v", s)
	}
}
