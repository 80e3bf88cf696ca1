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

// I4: every Done that an Admission returned runs once, on every path.

var errPermit = errors.New("why it ended")

// admissionPaths are the ways from an admission to its Done.
var admissionPaths = []struct {
	name    string
	run     func(h *harness)
	verdict resource.Verdict
	err     error
}{
	{"release", func(h *harness) { h.lend().Release() }, resource.OK, nil},
	{"fail nil", func(h *harness) { h.lend().Fail(nil) }, resource.OK, nil},
	{"fail", func(h *harness) { h.lend().Fail(errPermit) }, resource.Failed, errPermit},
	{"hijack", func(h *harness) { h.hijack(h.lend()) }, resource.OK, nil},
	{"double release", func(h *harness) { l := h.lend(); l.Release(); l.Release(); l.Discard(nil) }, resource.OK, nil},
	{"release to a waiter", func(h *harness) {
		l := h.lend()
		c := h.acquireCtx(context.Background(), resource.Request{Class: "second"})
		l.Release()
		c.wantLease().Release()
	}, resource.OK, nil},
	{"cancel", func(h *harness) {
		c := h.acquire()
		c.cancel()
		c.wantErr(context.Canceled)
		h.wantMake().finish()
	}, resource.Ignored, nil},
	{"deadline", func(h *harness) {
		c := h.acquireFor(time.Second)
		h.wantMake()
		time.Sleep(time.Second)
		c.wantErr(context.DeadlineExceeded)
	}, resource.Ignored, nil},
	{"close while waiting", func(h *harness) {
		c := h.acquire()
		h.wantMake()
		h.close(time.Minute)
		c.wantErr(resource.ErrClosed)
	}, resource.Ignored, nil},
	{"closed while leased", func(h *harness) {
		l := h.lend()
		done := h.close(time.Minute)
		l.Release()
		<-done
	}, resource.OK, nil},
	{"none idle", func(h *harness) {
		c := h.acquireWith(resource.Request{NoWait: true})
		c.wantErr(resource.ErrNoneIdle)
	}, resource.Ignored, nil},
	{"try", func(h *harness) {
		h.stock(1)
		if l, ok := h.p.TryAcquire(); ok {
			l.Release()
		}
	}, resource.OK, nil},
	{"do", func(h *harness) {
		h.stock(1)
		h.p.Do(context.Background(), func(context.Context, *item) error { return errPermit })
	}, resource.Failed, errPermit},
}

func TestI4_AdmissionPaths(t *testing.T) {
	for _, test := range admissionPaths {
		t.Run(test.name, func(t *testing.T) {
			g := &ledger{}
			script(t, 1, func(h *harness) { h.cfg.Admission = g }, func(h *harness) {
				test.run(h)
				h.settle()
				if g.given() == 0 {
					t.Fatal("the Admission was not asked")
				}
				if err := g.check(); err != nil {
					t.Error(err)
				}
				if o := g.last(); o.Verdict != test.verdict || !errors.Is(o.Err, test.err) {
					t.Errorf("Done was told %+v, want verdict %d and %v", o, test.verdict, test.err)
				}
				if o := g.last(); o.Latency != 0 {
					t.Errorf("Done of a lease was told a latency of %v", o.Latency)
				}
			})
			if err := g.check(); err != nil {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

// The same where the pool fails the caller: the permit comes back.
func TestI4_AdmissionOnFailures(t *testing.T) {
	boom := errors.New("boom")
	for name, test := range map[string]struct {
		edit func(h *harness)
		run  func(h *harness)
	}{
		"make fails":   {nil, func(h *harness) { c := h.acquire(); h.wantMake().fail(boom); c.wantErr(boom) }},
		"make panics":  {nil, func(h *harness) { c := h.acquire(); h.wantMake().panic(boom); c.wantErr(boom) }},
		"make goexits": {nil, func(h *harness) { c := h.acquire(); h.wantMake().goexit(); c.wantErr(resource.ErrGoexit) }},
		"queue refuses": {
			func(h *harness) { h.cfg.Queue = &listQueue{} },
			func(h *harness) {
				l := h.lend()
				c := h.acquire()
				h.cfg.Queue.(*listQueue).refuse = boom
				l.Release()
				c.wantErr(boom)
			},
		},
		"make gate refuses": {
			func(h *harness) { h.cfg.MakeGate = refusing(boom) },
			func(h *harness) { c := h.acquireFor(time.Second); time.Sleep(time.Second); c.wantFailed() },
		},
		"check fails": {
			func(h *harness) {
				h.cfg.Health = checkFunc(func(context.Context, *item, resource.Info) error { return boom })
			},
			func(h *harness) {
				c := h.acquireFor(time.Second)
				h.wantMake().finish()
				h.settle()
				c.cancel()
				h.settle()
			},
		},
		"evict panics": {
			func(h *harness) { h.cfg.Eviction = evictFunc(func(resource.Info) error { panic(boom) }) },
			func(h *harness) { h.lend().Release() },
		},
		"do panics": {nil, func(h *harness) {
			h.lend().Release()
			caught(func() { h.p.Do(context.Background(), func(context.Context, *item) error { panic(boom) }) })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g := &ledger{}
			edit := func(h *harness) {
				h.cfg.Admission = g
				if test.edit != nil {
					test.edit(h)
				}
			}
			script(t, 1, edit, test.run)
			if g.given() == 0 {
				t.Error("the Admission was not asked")
			}
			if err := g.check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A refusal gives nothing that could come back, and a panic is a refusal. The
// next caller is asked again.
func TestI4_Refusals(t *testing.T) {
	boom := errors.New("boom")
	for name, before := range map[string]func(context.Context, resource.Request) error{
		"error": func(context.Context, resource.Request) error { return boom },
		"panic": func(context.Context, resource.Request) error { panic(boom) },
		"rejection": func(context.Context, resource.Request) error {
			return &resource.Rejection{Err: boom, RetryAfter: time.Second}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := &ledger{before: before}
			script(t, 1, func(h *harness) { h.cfg.Admission = g }, func(h *harness) {
				e := h.acquire().wantErr(boom)
				if !errors.Is(e, resource.ErrRejected) {
					t.Errorf("%v does not match ErrRejected", e)
				}
				if name == "rejection" && e.RetryAfter != time.Second {
					t.Errorf("RetryAfter is %v, want 1s", e.RetryAfter)
				}
				if l, ok := h.p.TryAcquire(); ok {
					t.Errorf("TryAcquire lent item %d", l.Value().n)
				}
				if n := h.p.Stats().Rejected; n < 1 {
					t.Errorf("%d rejected, want at least 1", n)
				}
				h.wantNoMake()
				g.before = nil
				h.lend().Release()
			})
			if err := g.check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The permit comes back if Trace.Leased ends the caller's goroutine, and
// Trace.Ended or Trace.Panicked does so again while the pool ends the lease.
func TestI4_AdmissionOnRepeatedGoexit(t *testing.T) {
	for name, ended := range map[string]func(){
		"Ended goexits":                     runtime.Goexit,
		"Ended panics and Panicked goexits": func() { panic(errFault) },
	} {
		for _, hit := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, hit=%t", name, hit), func(t *testing.T) {
				g := &ledger{}
				armed, calls := false, ""
				when := func(name string, f func()) {
					if armed {
						calls += name + " "
						f()
					}
				}
				edit := func(h *harness) {
					h.auto = func(m *makeCall) { m.finish() }
					h.cfg.Admission, h.cfg.SampleLeases = g, 1
					h.cfg.Trace = &resource.Trace{
						Leased:   func(context.Context, resource.LeaseEvent) { when("Leased", runtime.Goexit) },
						Ended:    func(resource.EndEvent) { when("Ended", ended) },
						Panicked: func(error) { when("Panicked", runtime.Goexit) },
					}
				}
				script(t, 1, edit, func(h *harness) {
					if hit {
						h.lend().Release() // leaves it where the next caller hits
					}
					armed = true
					mayEnd(func() {
						_, err := h.p.Acquire(context.Background())
						t.Errorf("Acquire returned, with error %v", err)
					})
					armed = false
					if want := "Leased Panicked Ended Panicked "; calls != want {
						t.Errorf("calls: %q, want %q", calls, want)
					}
					h.wantLoad(resource.Load{})
					if err := g.check(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// An Admission may give a nil Done, and may block as long as the caller does.
func TestI4_BlockingAdmission(t *testing.T) {
	var open atomic.Bool
	g := &ledger{before: func(ctx context.Context, r resource.Request) error {
		if open.Load() {
			return nil
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	script(t, 1, func(h *harness) { h.cfg.Admission = g }, func(h *harness) {
		c := h.acquireFor(time.Second)
		h.wantWaiting(c)
		time.Sleep(time.Second)
		c.wantErr(context.DeadlineExceeded)
		h.wantNoMake()
		open.Store(true)
		h.lend().Release()
	})
	if err := g.check(); err != nil {
		t.Error(err)
	}
}
