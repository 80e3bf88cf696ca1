package resource_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
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
	// One waiter leaves the queue, one is served from it.
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

// wantWhole checks that the pool is as good as new: no slot, no waiter and no
// permit is lost.
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

// A panic becomes an error that names the function, and wraps the value if that is
// an error; Goexit is ErrGoexit. Trace and Stats report it.
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

// I9 on the hit path: a policy that panics or ends its goroutine there, while
// another caller waits, costs that one call.

// hitTrap is policies of which one, when it is reached, waits for the script and
// then misbehaves.
type hitTrap struct {
	where  string // "Admit", "Evict", "Due", "Check", "Done"
	goexit bool
	skip   atomic.Int32 // how often it is passed before it snaps; under 0: not armed
	open   chan struct{}
	caught chan struct{} // closed when the function has been entered
	checks atomic.Int32
	seen   []error // by Trace.Panicked
}

func newHitTrap(where string, goexit bool) *hitTrap {
	s := &hitTrap{where: where, goexit: goexit}
	s.skip.Store(-1)
	return s
}

func (s *hitTrap) in(where string) {
	if where != s.where || s.skip.Load() < 0 || s.skip.Add(-1) >= 0 {
		return
	}
	close(s.caught)
	<-s.open
	if s.goexit {
		runtime.Goexit()
	}
	panic(errFault)
}

func (s *hitTrap) Check(context.Context, *item, resource.Info) error {
	s.checks.Add(1)
	s.in("Check")
	return nil
}

// Due is true where the hitTrap is in Check, so that it is reached.
func (s *hitTrap) Due(resource.Info) bool {
	s.in("Due")
	return s.where == "Check" && s.skip.Load() >= 0
}

func (s *hitTrap) set(h *harness) {
	s.open, s.caught = make(chan struct{}), make(chan struct{}) // the bubble's
	h.auto = func(m *makeCall) { m.finish() }
	h.cfg.Admission = &ledger{
		before: func(context.Context, resource.Request) error { s.in("Admit"); return nil },
		after:  func(resource.Outcome) { s.in("Done") },
	}
	h.cfg.Eviction = evictFunc(func(resource.Info) error { s.in("Evict"); return nil })
	h.cfg.Health = s
	h.cfg.SweepInterval = time.Hour
	h.cfg.Trace = &resource.Trace{Panicked: func(err error) { s.seen = append(s.seen, err) }}
}

// hitFaults are the calls of a hit and its release. waits: a caller meanwhile has
// to wait. lends: after a panic the caller has a lease all the same.
var hitFaults = []struct {
	name         string
	where        string
	skip         int32
	waits, lends bool
	checks       int32 // after a panic
	ends         bool  // after a Goexit the resource is destroyed
}{
	{name: "Admit", where: "Admit"},
	{name: "Evict at acquire", where: "Evict", waits: true, lends: true, ends: true},
	{name: "Due", where: "Due", waits: true, lends: true, checks: 1, ends: true},
	{name: "Check", where: "Check", waits: true, lends: true, checks: 1, ends: true},
	{name: "Evict at release", where: "Evict", skip: 1, waits: true, lends: true},
	{name: "Done", where: "Done", lends: true},
}

func TestI9_PanicOnHit(t *testing.T)  { hitFault(t, false) }
func TestI9_GoexitOnHit(t *testing.T) { hitFault(t, true) }

func hitFault(t *testing.T, goexit bool) {
	for _, f := range hitFaults {
		t.Run(f.name, func(t *testing.T) {
			s := newHitTrap(f.where, goexit)
			script(t, 1, s.set, func(h *harness) {
				first := h.stock(1)[0]
				s.skip.Store(f.skip)
				var lent atomic.Bool
				var failed error
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					l, err := h.p.Acquire(context.Background())
					failed = err
					if err == nil {
						lent.Store(true)
						l.Release()
						l.Release()
					}
				}()
				h.settle()
				select {
				case <-s.caught:
				default:
					t.Fatal("it was not reached")
				}
				c := h.acquire()
				if f.waits {
					h.wantWaiting(c)
				} else {
					c.wantItem(first)
				}
				close(s.open)
				l := c.wantLeaseWithin(time.Minute)
				if goexit && f.ends {
					h.wantDestroyed(first, resource.ErrGoexit)
				} else if f.where != "Check" && l.Value() != first {
					t.Errorf("the waiter got item %d, want %d", l.Value().n, first.n)
				}
				l.Release()
				<-gone // it may have waited for it
				wantTrapped(t, h, s)
				if goexit {
					return
				}
				if lent.Load() != f.lends || s.checks.Load() != f.checks {
					t.Errorf("lent: %t, want %t (%v); %d checks, want %d", lent.Load(), f.lends, failed, s.checks.Load(), f.checks)
				}
				var pe *resource.PanicError
				if f.where == "Admit" && (!errors.Is(failed, resource.ErrRejected) || !errors.As(failed, &pe) || pe.Where != "Admission") {
					t.Errorf("the error is %v, want a rejection by a panic in Admission", failed)
				}
			})
		})
	}
}

// wantTrapped checks that one fault was counted and reported, that the pool is
// whole and idle, and that every permit is returned once.
func wantTrapped(t *testing.T, h *harness, s *hitTrap) {
	t.Helper()
	h.wantLoad(resource.Load{Idle: 1})
	h.lend().Release()
	h.wantLoad(resource.Load{Idle: 1})
	if n := h.p.Stats().Panics; n != 1 || len(s.seen) != 1 {
		t.Errorf("%d panics counted, %v reported, want 1", n, s.seen)
	}
	want := errFault
	if s.goexit {
		want = resource.ErrGoexit
	}
	for _, err := range s.seen {
		if !errors.Is(err, want) {
			t.Errorf("reported %v, want %v", err, want)
		}
	}
	if err := h.cfg.Admission.(*ledger).check(); err != nil {
		t.Error(err)
	}
}

// A Trace.Panicked that itself ends the goroutine changes nothing of that: what
// the caller had in its hands goes back.
func TestI9_PanickedEndsGoroutine(t *testing.T) {
	for _, f := range hitFaults {
		for _, goexit := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%t", f.name, goexit), func(t *testing.T) {
				s := newHitTrap(f.where, goexit)
				edit := func(h *harness) {
					s.set(h)
					close(s.open)
					h.cfg.Trace.Panicked = func(err error) { s.seen = append(s.seen, err); runtime.Goexit() }
				}
				script(t, 1, edit, func(h *harness) {
					h.stock(1)
					s.skip.Store(f.skip)
					mayEnd(func() {
						if l, err := h.p.Acquire(context.Background()); err == nil {
							l.Release()
						}
					})
					select {
					case <-s.caught:
					default:
						t.Fatal("it was not reached")
					}
					h.settle()
					h.lend().Release() // if it was destroyed
					wantTrapped(t, h, s)
				})
			})
		}
	}
}

// Trap 6: a panic in the constructor killed the process.
func TestPuddleTrap06_ConstructorPanic(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		h.wantMake().panic("boom")
		var pe *resource.PanicError
		if e := c.wantFailed(); !errors.As(e, &pe) {
			t.Errorf("%v has no PanicError", e)
		}
		h.wantLoad(resource.Load{})
	})
}

// Trap 7: runtime.Goexit in the constructor, as t.FailNow calls it, hung the
// acquire and lost its slot for ever.
func TestPuddleTrap07_ConstructorGoexit(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		h.wantMake().goexit()
		c.wantErr(resource.ErrGoexit)
		h.wantLoad(resource.Load{})
		time.Sleep(time.Minute)
		c = h.acquire()
		h.wantMakeWithin(time.Minute).finish()
		c.wantLease()
	})
}

// Trap 8: a panic in the destructor killed the process.
func TestPuddleTrap08_DestructorPanic(t *testing.T) {
	boom := errors.New("boom")
	edit := func(h *harness) { h.onDestroy = func(*item, error) { panic(boom) } }
	script(t, 1, edit, func(h *harness) {
		h.lend().Discard(nil)
		h.wantLoad(resource.Load{})
		h.stock(1)
		h.p.Reset(nil)
		h.wantLoad(resource.Load{})
		if s := h.p.Stats(); s.Panics != 2 || s.Destroyed != 2 {
			t.Errorf("%d panics, %d destroyed, want 2 and 2", s.Panics, s.Destroyed)
		}
	})
}

// hollowError is an error whose methods panic in a nil one.
type hollowError struct{ err error }

func (e *hollowError) Error() string { return e.err.Error() }
func (e *hollowError) Unwrap() error { return e.err }

// A typed nil as an error brought the process down: its methods were called on
// a goroutine of the pool's.
func TestI9_TypedNilErrors(t *testing.T) {
	var hollow *hollowError
	t.Run("gate", func(t *testing.T) {
		edit := func(h *harness) { h.cfg.MakeGate = refusing(hollow) }
		script(t, 1, edit, func(h *harness) {
			c := h.acquireFor(100 * time.Millisecond)
			time.Sleep(100 * time.Millisecond)
			c.wantFailed()
			h.wantLoad(resource.Load{})
		})
	})
	t.Run("late make", func(t *testing.T) {
		edit := func(h *harness) { h.cfg.MakeTimeout = time.Second }
		script(t, 1, edit, func(h *harness) {
			c := h.acquire()
			m := h.wantMake()
			m.hang()
			time.Sleep(1050 * time.Millisecond)
			m.fail(hollow)
			c.wantFailed()
			h.wantLoad(resource.Load{})
		})
	})
}

// A check that ended its goroutine ended the sweep: the resources behind it were
// never checked, and the unhealthy one stayed.
func TestI9_GoexitInSweepChecksTheOthers(t *testing.T) {
	var mu sync.Mutex
	checks := map[*item]int{}
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.SweepInterval = time.Second
		h.cfg.Health = checkFunc(func(_ context.Context, it *item, _ resource.Info) error {
			mu.Lock()
			checks[it]++
			mu.Unlock()
			if it.n == 3 {
				runtime.Goexit()
			}
			return nil
		})
	}
	script(t, 4, edit, func(h *harness) {
		h.wantDone(h.warm(context.Background(), 4), nil)
		time.Sleep(10*time.Second + time.Millisecond)
		h.wantLoad(resource.Load{Idle: 3})
		mu.Lock()
		defer mu.Unlock()
		if len(checks) != 4 {
			t.Errorf("%d of 4 were checked", len(checks))
		}
		for it, n := range checks {
			switch {
			case it.n == 3 && n != 1:
				t.Errorf("the unhealthy one was checked %d times", n)
			case it.n == 3:
				h.wantDestroyed(it, resource.ErrGoexit)
			case n < 9:
				t.Errorf("item %d was checked %d times in 10 sweeps", it.n, n)
			}
		}
	})
}

type goexitErr struct{}

func (goexitErr) Error() string { return "x" }
func (goexitErr) Is(error) bool { runtime.Goexit(); return false }

// A Goexit in a method of a gate's error cost a slot for ever.
func TestI9_GoexitInErrorIs(t *testing.T) {
	refused := false
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.MakeGate = gate(func() error {
			if refused {
				return nil
			}
			refused = true
			return goexitErr{}
		})
	}
	script(t, 1, edit, func(h *harness) {
		h.acquireFor(time.Minute).await(time.Minute)
		h.acquire().wantLeaseWithin(time.Minute)
	})
}

// After a panic in Evict the Health is asked all the same.
func TestI9_HealthAfterEvictPanics(t *testing.T) {
	for _, due := range []bool{false, true} {
		var armed bool
		var checks int
		p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
			cfg.Eviction = evictFunc(func(resource.Info) error {
				if armed {
					armed = false
					panic(errFault)
				}
				return nil
			})
			cfg.Health = scheduled[*token]{
				due:   func(resource.Info) bool { return due },
				check: func(context.Context, *token, resource.Info) error { checks++; return nil },
			}
			cfg.SweepInterval = time.Hour
		})
		onHit(t, p, func() {})
		armed, checks = true, 0
		p.must(context.Background()).Release()
		want := 0
		if due {
			want = 1
		}
		if checks != want || armed || p.Stats().Panics != 1 {
			t.Errorf("due: %t; %d checks, want %d; %d panics", due, checks, want, p.Stats().Panics)
		}
	}
}
