package resource_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// I9: a panic or Goexit in a function that the pool calls costs at most that
// one call.

// fault misbehaves in one function, once.
type fault struct {
	where  string
	goexit bool
	armed  bool
	struck bool
	h      *harness
}

var errFault = errors.New("fault")

func (f *fault) in(name string) {
	f.h.mu.Lock()
	strike := f.armed && name == f.where
	if strike {
		f.armed, f.struck = false, true
	}
	f.h.mu.Unlock()
	switch {
	case strike && f.goexit:
		runtime.Goexit()
	case strike:
		panic(errFault)
	}
}

func (f *fault) everywhere(h *harness) {
	f.h = h
	h.auto = func(m *makeCall) { f.in("Make"); m.finish() }
	h.onDestroy = func(*item, error) { f.in("Destroy") }
	h.onWatch = func(*item) { f.in("Watch") }
	h.cfg.Broken = func(error) bool { f.in("Broken"); return true }
	admission := func(name string) *ledger {
		return &ledger{
			before: func(context.Context, resource.Request) error { f.in(name + ".Admit"); return nil },
			after:  func(resource.Outcome) { f.in(name + ".Done") },
		}
	}
	h.cfg.Admission, h.cfg.MakeGate, h.cfg.Quota = admission("Admission"), admission("MakeGate"), admission("Quota")
	h.cfg.Eviction = evictFunc(func(i resource.Info) error { f.in("Evict"); return nil })
	h.cfg.Health = checkFunc(func(context.Context, *item, resource.Info) error { f.in("Check"); return nil })
	h.cfg.Queue = &listQueue{hook: func(m string) { f.in("Queue." + m) }}
	h.cfg.Trace = traceAll(f.in)
	h.cfg.SweepInterval = time.Second
}

// mayEnd runs g on a goroutine of its own, which may end or panic: with a
// fault in it, that is the call that it costs.
func mayEnd(g func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		g()
	}()
	<-done
}

// tour does everything that makes the pool call something, each step on a
// goroutine of its own.
func (f *fault) tour(h *harness) {
	short := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), 5*time.Second)
	}
	use := func(end func(l resource.Lease[*item])) {
		mayEnd(func() {
			ctx, cancel := short()
			defer cancel()
			if l, err := h.p.Acquire(ctx); err == nil {
				defer l.Release() // also if end does not come back
				end(l)
			}
		})
		h.settle()
	}
	use(func(l resource.Lease[*item]) { l.Release() })
	use(func(l resource.Lease[*item]) { l.Fail(errors.New("broken")) })
	use(func(l resource.Lease[*item]) { l.Discard(nil) })
	// One leaves the queue, one is served from it.
	use(func(l resource.Lease[*item]) {
		gone, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		done := make(chan struct{}, 2)
		wait := func(ctx context.Context) {
			go func() {
				defer func() { done <- struct{}{} }()
				defer func() { _ = recover() }()
				if l, err := h.p.Acquire(ctx); err == nil {
					l.Release()
				}
			}()
		}
		wait(gone)
		patient, cancel := short()
		defer cancel()
		wait(patient)
		time.Sleep(2 * time.Second)
		l.Release()
		<-done
		<-done
	})
	time.Sleep(2 * time.Second) // the sweep
	mayEnd(func() { h.p.Reset(nil) })
	h.settle()
	mayEnd(func() {
		if l, ok := h.p.TryAcquire(); ok {
			l.Release()
		}
	})
	h.settle()
	time.Sleep(time.Second)
}

// wantWhole checks that the pool is as good as new: no place, no waiter and
// no permit is lost.
func (f *fault) wantWhole(h *harness) {
	h.t.Helper()
	ls := []resource.Lease[*item]{h.lend()}
	c := h.acquire()
	h.wantWaiting(c)
	ls[0].Release()
	l := c.wantLeaseWithin(time.Minute)
	h.wantLoad(resource.Load{Leased: 1})
	l.Release()
	h.wantLoad(resource.Load{Idle: 1})
	for name, a := range map[string]resource.Admission{
		"Admission": h.cfg.Admission, "MakeGate": h.cfg.MakeGate,
	} {
		g := a.(*ledger)
		if err := g.check(); err != nil {
			h.t.Errorf("%s: %v", name, err)
		}
	}
	if n := h.cfg.Quota.(*ledger).open(); n != 1 {
		h.t.Errorf("%d Quota permits open for one resource", n)
	}
}

// faulty are the functions that the tour reaches.
var faulty = []string{
	"Make", "Destroy", "Watch", "Broken", "Admission.Admit", "Admission.Done", "MakeGate.Admit", "MakeGate.Done",
	"Quota.Admit", "Quota.Done", "Evict", "Check", "Queue.Push", "Queue.Remove", "Queue.Pop",
	"Trace.Waited", "Trace.Made", "Trace.Destroyed",
}

func TestI9_Panic(t *testing.T)  { faults(t, false) }
func TestI9_Goexit(t *testing.T) { faults(t, true) }

func faults(t *testing.T, goexit bool) {
	for _, where := range faulty {
		t.Run(where, func(t *testing.T) {
			f := &fault{where: where, goexit: goexit, armed: true}
			script(t, 1, f.everywhere, func(h *harness) {
				f.tour(h)
				if !f.struck {
					t.Fatal("the tour did not reach it")
				}
				if n := h.p.Stats().Panics; n != 1 {
					t.Errorf("Stats.Panics is %d, want 1", n)
				}
				f.wantWhole(h)
			})
		})
	}
}

// A panic is made an error that names the function, and leads to the value if
// that is an error; Goexit is ErrGoexit. Trace and Stats are told.
func TestI9_PanicError(t *testing.T) {
	boom := errors.New("boom")
	var traced []error
	trace := func(h *harness) {
		h.cfg.Trace = &resource.Trace{Panicked: func(err error) { traced = append(traced, err) }}
	}
	script(t, 1, trace, func(h *harness) {
		c := h.acquire()
		h.wantMake().panic(boom)
		e := c.wantErr(boom)
		var pe *resource.PanicError
		if !errors.As(e, &pe) || pe.Where != "Make" || pe.Value != boom || len(pe.Stack) == 0 {
			t.Errorf("the error is %v, want a PanicError in Make with boom and a stack", e)
		}
		time.Sleep(time.Minute)
		c = h.acquire()
		h.wantMakeWithin(time.Minute).panic("text")
		e = c.wantFailed()
		if !errors.As(e, &pe) || pe.Value != "text" {
			t.Errorf("the error is %v, want a PanicError with text", e)
		}
		time.Sleep(time.Minute)
		c = h.acquire()
		h.wantMakeWithin(time.Minute).goexit()
		c.wantErr(resource.ErrGoexit)
		if n := h.p.Stats().Panics; n != 3 || len(traced) != 3 {
			t.Errorf("%d panics counted, %d traced, want 3", n, len(traced))
		}
	})
}

// panic(nil) in Make is a failure too.
func TestI9_PanicNil(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		h.wantMake().panic(nil)
		c.wantFailed()
		h.wantLoad(resource.Load{})
	})
}
