package resource_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// I9 on the hit path: a policy that panics or ends its goroutine there, while
// another caller has come to wait, costs that one call.

// snare is policies of which one, when it is reached, waits for the script and
// then misbehaves.
type snare struct {
	where  string // "Admit", "Evict", "Due", "Check", "Done"
	goexit bool
	skip   atomic.Int32 // how often it is passed before it snaps; under 0: not armed
	open   chan struct{}
	caught chan struct{} // closed when somebody is in it
	checks atomic.Int32
	seen   []error // by Trace.Panicked
}

func newSnare(where string, goexit bool) *snare {
	s := &snare{where: where, goexit: goexit}
	s.skip.Store(-1)
	return s
}

func (s *snare) in(where string) {
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

func (s *snare) Check(context.Context, *item, resource.Info) error {
	s.checks.Add(1)
	s.in("Check")
	return nil
}

// Due is true where the snare is in Check, so that it is reached.
func (s *snare) Due(resource.Info) bool {
	s.in("Due")
	return s.where == "Check" && s.skip.Load() >= 0
}

func (s *snare) set(h *harness) {
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

// hitFaults are the calls of a hit and its release. waits: who comes meanwhile
// has to wait. lends: after a panic the caller has a lease all the same.
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
			s := newSnare(f.where, goexit)
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
				<-gone // it may have waited for that one
				wantSnapped(t, h, s)
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

// wantSnapped checks that one fault was counted and told, that the pool is
// whole and idle, and that every permit is back once.
func wantSnapped(t *testing.T, h *harness, s *snare) {
	t.Helper()
	h.wantLoad(resource.Load{Idle: 1})
	h.lend().Release()
	h.wantLoad(resource.Load{Idle: 1})
	if n := h.p.Stats().Panics; n != 1 || len(s.seen) != 1 {
		t.Errorf("%d panics counted, %v told, want 1", n, s.seen)
	}
	want := errFault
	if s.goexit {
		want = resource.ErrGoexit
	}
	for _, err := range s.seen {
		if !errors.Is(err, want) {
			t.Errorf("told %v, want %v", err, want)
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
				s := newSnare(f.where, goexit)
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
					wantSnapped(t, h, s)
				})
			})
		}
	}
}
