package resource_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// I5: no lock is held while code that is not the pool's runs. Each function that
// the pool calls back calls the pool; a held lock would be a deadlock, which a
// bubble reports.

// reentry calls everything of the pool that does not change what the script
// expects, from within a function that the pool called.
type reentry struct {
	h      *harness
	victim *item // invalidated again and again, though it is gone
	ended  resource.Lease[*item]
	calls  map[string]int // how often each function ran
	inside map[string]bool
}

// in runs on entry to the function name. The pool may call the same function
// again for what is done here: then it does nothing.
func (r *reentry) in(name string) {
	if r.h == nil || r.h.p == nil {
		return // New has not returned
	}
	r.h.mu.Lock()
	busy := len(r.inside) > 0
	r.inside[name] = true
	r.calls[name]++
	r.h.mu.Unlock()
	if busy {
		return
	}
	defer func() {
		r.h.mu.Lock()
		clear(r.inside)
		r.h.mu.Unlock()
	}()
	p := r.h.p
	p.Stats()
	if l, ok := p.TryAcquire(); ok {
		l.Release()
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.Acquire(over); err == nil {
		r.h.t.Errorf("%s: Acquire with a context that had ended succeeded", name)
	}
	if _, err := p.AcquireWith(over, resource.Request{NoWait: true}); err == nil {
		r.h.t.Errorf("%s: the same with NoWait", name)
	}
	if err := p.Resize(p.Stats().Max); err != nil && !errors.Is(err, resource.ErrClosed) {
		r.h.t.Errorf("%s: Resize: %v", name, err)
	}
	if err := p.Warm(over, 0); err != nil && !errors.Is(err, resource.ErrClosed) && !errors.Is(err, context.Canceled) {
		r.h.t.Errorf("%s: Warm: %v", name, err)
	}
	r.ended.Release()
	r.ended.Discard(nil)
	if r.victim != nil && r.victim.invalidate != nil {
		r.victim.invalidate(nil)
	}
}

// everywhere puts r into every function of h's Config.
func (r *reentry) everywhere(h *harness) {
	r.h = h
	h.auto = func(m *makeCall) { r.in("Make"); m.finish() }
	h.onDestroy = func(*item, error) { r.in("Destroy") }
	h.onWatch = func(*item) { r.in("Watch") }
	h.cfg.Broken = func(error) bool { r.in("Broken"); return true }
	admission := func(name string) admitFunc {
		return func(context.Context, resource.Request) (resource.Done, error) {
			r.in(name + ".Admit")
			return func(resource.Outcome) { r.in(name + ".Done") }, nil
		}
	}
	h.cfg.Admission, h.cfg.MakeGate, h.cfg.Quota = admission("Admission"), admission("MakeGate"), admission("Quota")
	h.cfg.Eviction = evictFunc(func(resource.Info) error { r.in("Evict"); return nil })
	h.cfg.Health = checkFunc(func(context.Context, *item, resource.Info) error { r.in("Check"); return nil })
	h.cfg.Queue = &listQueue{hook: func(m string) { r.in("Queue." + m) }}
	h.cfg.Trace = traceAll(r.in)
	h.cfg.SweepInterval = time.Second
}

// traceAll is a Trace whose every function calls f with its name. A function
// added to Trace is in it without further ado.
func traceAll(f func(name string)) *resource.Trace {
	var tr resource.Trace
	v := reflect.ValueOf(&tr).Elem()
	for i := range v.NumField() {
		name := "Trace." + v.Type().Field(i).Name
		v.Field(i).Set(reflect.MakeFunc(v.Field(i).Type(), func([]reflect.Value) []reflect.Value {
			f(name)
			return nil
		}))
	}
	return &tr
}

// A run through everything that the pool calls.
func TestI5_CallbacksMayCallBack(t *testing.T) {
	r := &reentry{calls: map[string]int{}, inside: map[string]bool{}}
	boom := errors.New("boom")
	script(t, 2, r.everywhere, func(h *harness) {
		l := h.lend()
		r.victim = l.Value()
		l.Discard(boom)
		h.settle()
		r.ended = l

		l1, l2 := h.lend(), h.lend()
		c1, c2 := h.acquire(), h.acquire() // Queue.Push
		h.wantWaiting(c1, c2)
		c1.cancel() // Queue.Remove
		c1.wantErr(context.Canceled)
		l1.Release() // Queue.Pop
		c2.wantLease().Fail(boom)
		l2.Release()
		h.settle()
		time.Sleep(3 * time.Second) // the sweep
		h.settle()

		// A failing and a panicking make, an outage, its end, refusals.
		h.answer(func(m *makeCall) { m.panic(boom) })
		h.p.Reset(nil)
		h.settle()
		h.acquireFor(time.Minute).wantFailedWithin(time.Minute)
		h.settle()
		h.answer(func(m *makeCall) { m.fail(boom) })
		for range 4 {
			h.acquireFor(time.Minute).wantFailedWithin(time.Minute)
		}
		h.settle()
		h.answer(func(m *makeCall) { r.in("Make"); m.finish() })
		time.Sleep(time.Minute)
		h.acquireFor(time.Minute).wantLeaseWithin(time.Minute).Release()
		h.settle()

		for _, name := range []string{
			"Make", "Destroy", "Watch", "Broken", "Admission.Admit", "Admission.Done", "MakeGate.Admit", "MakeGate.Done",
			"Quota.Admit", "Quota.Done", "Evict", "Check", "Queue.Push", "Queue.Remove", "Queue.Pop",
			"Trace.Waited", "Trace.Made", "Trace.Destroyed", "Trace.Outage", "Trace.Panicked",
			"Trace.Leased", "Trace.Ended",
		} {
			h.mu.Lock()
			if r.calls[name] == 0 {
				t.Errorf("%s was not called", name)
			}
			h.mu.Unlock()
		}
	})
}

// The three that the run above does not reach: what refuses and what fails.
func TestI5_RefusalsMayCallBack(t *testing.T) {
	boom := errors.New("boom")
	r := &reentry{calls: map[string]int{}, inside: map[string]bool{}}
	var refuse, gate, sick atomic.Bool
	edit := func(h *harness) {
		r.everywhere(h)
		h.cfg.Admission = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			r.in("Admission.Admit")
			if refuse.Load() {
				return nil, boom
			}
			return nil, nil
		})
		h.cfg.MakeGate = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			if gate.Load() {
				return nil, boom
			}
			return nil, nil
		})
		h.cfg.Health = checkFunc(func(context.Context, *item, resource.Info) error {
			if sick.Load() {
				return boom
			}
			return nil
		})
	}
	script(t, 1, edit, func(h *harness) {
		h.lend().Release()
		refuse.Store(true)
		h.acquire().wantErr(boom)
		refuse.Store(false)
		sick.Store(true)
		time.Sleep(2 * time.Second) // the sweep
		h.settle()
		sick.Store(false)
		gate.Store(true)
		h.p.Reset(nil)
		h.settle()
		c := h.acquireFor(time.Second)
		time.Sleep(time.Second)
		c.wantFailed()
		gate.Store(false)
		for _, name := range []string{"Trace.Rejected", "Trace.Checked", "Trace.Refused"} {
			h.mu.Lock()
			if r.calls[name] == 0 {
				t.Errorf("%s was not called", name)
			}
			h.mu.Unlock()
		}
	})
}

// A Queue may even end a lease from within, which pops the next waiter inside a
// pop.
func TestI5_QueueReleases(t *testing.T) {
	var held resource.Lease[*item]
	q := &listQueue{}
	q.hook = func(m string) {
		if m == "Push" {
			held.Release()
		}
	}
	script(t, 1, func(h *harness) { h.cfg.Queue = q }, func(h *harness) {
		held = h.lend()
		it := held.Value()
		h.acquire().wantItem(it)
	})
}

// Neither does a function that hangs hold up anyone else.
func TestI5_HangingCallbacks(t *testing.T) {
	hang := func(h *harness) { <-h.over }
	for name, edit := range map[string]func(h *harness, class string){
		"Admit": func(h *harness, class string) {
			h.cfg.Admission = admitFunc(func(ctx context.Context, r resource.Request) (resource.Done, error) {
				if r.Class == class {
					hang(h)
				}
				return nil, nil
			})
		},
		"Check": func(h *harness, class string) {
			h.cfg.Health = checkFunc(func(ctx context.Context, it *item, i resource.Info) error {
				if ctx.Value(classKey{}) == class {
					hang(h)
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			script(t, 2, func(h *harness) { edit(h, "hangs") }, func(h *harness) {
				h.stock(2)
				ctx := context.WithValue(context.Background(), classKey{}, "hangs")
				stuck := h.acquireCtx(ctx, resource.Request{Class: "hangs"})
				h.wantWaiting(stuck)
				for range 3 {
					h.lend().Release()
				}
				h.p.Reset(nil)
				h.wantWaiting(stuck)
			})
		})
	}
}

// Code and clocks that are not the pool's, and what its figures show meanwhile.
// Each of these once failed.

// nosyError looks at the pool to say what it is.
type nosyError struct{ stats func() resource.Stats }

func (e nosyError) Error() string { return fmt.Sprintf("%d are being made", e.stats().Making) }

// The text of a make's error was made with the pool locked: an error that
// looked at the pool never returned.
func TestI5_ErrorsMayCallBack(t *testing.T) {
	var p *plain
	p = newPlain(t, 1, func(cfg *resource.Config[*token]) {
		cfg.Make = func(context.Context) (*token, error) { return nil, nosyError{p.Stats} }
	})
	within(t, 20*time.Second, func() {
		for range 10 {
			_, err := p.Acquire(context.Background())
			wantAcquireError(t, err, err)
			if err.Error() == "" {
				t.Error("an error without a text")
			}
		}
	})
}

// nosyCtx asks the pool for its Stats before it says whether it has ended.
type nosyCtx struct {
	context.Context
	stats func() resource.Stats
}

func (c nosyCtx) Err() error { c.stats(); return c.Context.Err() }

// Err of a context was called with the pool locked.
func TestI5_ContextsMayCallBack(t *testing.T) {
	p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
		cfg.Make = func(ctx context.Context) (*token, error) { <-ctx.Done(); return nil, ctx.Err() }
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	nosy := nosyCtx{ctx, p.Stats}
	within(t, 20*time.Second, func() {
		if err := p.Warm(nosy, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Warm: %v", err)
		}
	})
	held := newPlain(t, 1, nil)
	l := held.must(context.Background())
	within(t, 20*time.Second, func() {
		if err := held.Close(nosyCtx{ctx, held.Stats}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
	})
	l.Release()
}
