package resource_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// janitor is an OnRelease that the script steers.
type janitor struct {
	mu    sync.Mutex
	slow  time.Duration
	deaf  bool // does not heed its context
	do    func(it *item) error
	seen  []*item
	ended []error // of the contexts of those that were cut short
}

func (j *janitor) clean(ctx context.Context, it *item) error {
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

func (j *janitor) set(slow time.Duration, deaf bool, do func(it *item) error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.slow, j.deaf, j.do = slow, deaf, do
}

func (j *janitor) calls() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.seen)
}

func (j *janitor) in(h *harness) {
	h.cfg.OnRelease = j.clean
	h.auto = func(m *makeCall) { m.finish() }
}

// wantCalls checks how often OnRelease was called.
func (j *janitor) wantCalls(t *testing.T, n int) {
	t.Helper()
	if got := j.calls(); got != n {
		t.Errorf("OnRelease was called %d times, want %d", got, n)
	}
}

// It runs once between two leases; neither the releaser waits for it nor is the
// resource lent before its end, nor is one made in its stead.
func TestOnRelease(t *testing.T) {
	for name, queue := range map[string]resource.Queue{"": nil, "with a Queue": &listQueue{}} {
		t.Run(name, func(t *testing.T) {
			j := &janitor{}
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
	j := &janitor{}
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

// It is called where a lease ends and its resource is to be lent again.
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
			", with a Health":   func(h *harness) { h.cfg.Health = newWard() },
			", with Admissions": func(h *harness) { h.cfg.Admission = &ledger{} },
		} {
			if c.name == "evicted" && name != ", with an Evict" {
				continue
			}
			t.Run(c.name+name, func(t *testing.T) {
				j := &janitor{}
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
	j := &janitor{}
	w := newWard()
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

// What it does that it may not destroys the resource, with that as the cause.
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
			j := &janitor{}
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

// One that hangs keeps its own resource; who waits gets another, made beside, or
// given back; and Stats says that it hangs.
func TestI11_OnReleaseHangs(t *testing.T) {
	for _, max := range []int{2, 8} {
		t.Run(fmt.Sprint(max), func(t *testing.T) {
			j := &janitor{}
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
	j := &janitor{}
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

// What ends the resource meanwhile ends it when it returns.
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
			j := &janitor{}
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
	j := &janitor{}
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
