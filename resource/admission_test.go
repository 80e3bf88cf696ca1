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
					t.Errorf("Done got %+v, want verdict %d and %v", o, test.verdict, test.err)
				}
				if o := g.last(); o.Latency != 0 {
					t.Errorf("Done of a lease got a latency of %v", o.Latency)
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

// Copies of one lease are released at the same time, while others take what one
// of them gave back: each permit goes back once, and it is that lease's.
func TestI4_CopiesOnHitPath(t *testing.T) {
	for _, size := range []int{1, 3, 64} {
		g := newCountingGate(t)
		var asked atomic.Int64
		p := newPlain(t, size, func(cfg *resource.Config[*token]) {
			cfg.Admission = g
			cfg.Eviction = evictFunc(func(i resource.Info) error { // ends one now and then, either way
				if n := asked.Add(1); n%997 == 0 {
					return errOld
				}
				return nil
			})
			cfg.Health = scheduled[*token]{due: func(i resource.Info) bool { return i.Leases%101 == 100 }}
		})
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		var served atomic.Int64
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				copies := make(chan resource.Lease[*token])
				var other sync.WaitGroup
				other.Go(func() {
					for l := range copies {
						l.Release()
					}
				})
				for n := 0; ctx.Err() == nil; n++ {
					l, err := p.AcquireWith(ctx, resource.Request{Priority: n % 3})
					if err != nil {
						break
					}
					served.Add(1)
					p.hold(l.Value())
					p.drop(l.Value())
					copies <- l
					switch n % 50 {
					case 7:
						l.Fail(errSick)
					case 9:
						l.Discard(nil)
					default:
						l.Release()
					}
				}
				close(copies)
				other.Wait()
			})
		}
		wg.Wait()
		g.check()
		if served.Load() < 100 {
			t.Errorf("size %d: only %d leases", size, served.Load())
		}
		if err := unbalanced(p.Stats()); err != nil {
			t.Error(err)
		}
	}
}

// A Done runs after the resource has been returned: an acquire in it finds the
// resource idle.
func TestI4_DoneAfterReturn(t *testing.T) {
	var p *plain
	var idle []int
	p = newPlain(t, 1, func(cfg *resource.Config[*token]) {
		cfg.Admission = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			return func(resource.Outcome) { idle = append(idle, p.Stats().Idle) }, nil
		})
	})
	for range 3 {
		p.must(context.Background()).Release()
	}
	if len(idle) != 3 || idle[0] != 1 || idle[1] != 1 || idle[2] != 1 {
		t.Errorf("idle in Done: %v, want 1 each time", idle)
	}
}

// A lease without a Done does not end with that of the lease before it, however
// it ends.
func TestI4_NoDoneAfterDone(t *testing.T) {
	ends := map[string]func(l resource.Lease[*token]){
		"release": func(l resource.Lease[*token]) { l.Release() },
		"fail":    func(l resource.Lease[*token]) { l.Fail(errSick) },
		"discard": func(l resource.Lease[*token]) { l.Discard(nil) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			var ran int
			done := func(resource.Outcome) { ran++ }
			p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
				cfg.Admission = admitFunc(func(_ context.Context, r resource.Request) (resource.Done, error) {
					if r.Class == "none" {
						return nil, nil
					}
					return done, nil
				})
			})
			p.must(context.Background()).Release()
			p.must(context.Background()).Release()
			l, err := p.AcquireWith(context.Background(), resource.Request{Class: "none"})
			if err != nil {
				t.Fatal(err)
			}
			end(l)
			if ran != 2 {
				t.Errorf("Done ran %d times for two permits", ran)
			}
		})
	}
}

// A caller that a policy rejects after it was admitted returns its own permit, not
// the permit of the resource's previous lease.
func TestI4_StalePermit(t *testing.T) {
	ledger := &ledger{}
	var evict atomic.Bool
	edit := func(h *harness) {
		h.cfg.Admission = ledger
		h.cfg.Eviction = evictFunc(func(i resource.Info) error {
			if evict.Load() {
				return errOld
			}
			return nil
		})
	}
	script(t, 1, edit, func(h *harness) {
		it := h.stock(1)[0]
		evict.Store(true)
		c := h.acquire()
		h.wantDestroyed(it, errOld)
		c.cancel()
		c.wantErr(context.Canceled)
		evict.Store(false)
		h.wantMake().finish()
		if err := ledger.check(); err != nil || ledger.given() != 2 {
			t.Errorf("%d permits: %v", ledger.given(), err)
		}
		if o := ledger.last(); o.Verdict != resource.Ignored || !errors.Is(o.Err, nil) {
			t.Errorf("the second got %+v, want Ignored", o)
		}
	})
}

// gates is a pool with a ledger at each of the three moments.
func gates(a, g, q *ledger) func(h *harness) {
	return func(h *harness) {
		h.cfg.Admission, h.cfg.MakeGate, h.cfg.Quota = a, g, q
		h.cfg.MakeTimeout = time.Second
	}
}

// The permit of a MakeGate lasts as long as the make; its Done gets the outcome and
// the latency.
func TestI4_MakeGate(t *testing.T) {
	boom := errors.New("boom")
	for name, test := range map[string]struct {
		end     func(m *makeCall)
		verdict resource.Verdict
		err     error
	}{
		"success": {func(m *makeCall) { m.finish() }, resource.OK, nil},
		"failure": {func(m *makeCall) { m.fail(boom) }, resource.Failed, boom},
		"panic":   {func(m *makeCall) { m.panic(boom) }, resource.Failed, boom},
		"goexit":  {func(m *makeCall) { m.goexit() }, resource.Failed, resource.ErrGoexit},
		"timeout": {func(m *makeCall) { time.Sleep(time.Second) }, resource.Failed, resource.ErrMakeTimeout},
		"hang": {func(m *makeCall) {
			m.hang()
			time.Sleep(1100 * time.Millisecond)
		}, resource.Failed, resource.ErrMakeTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			var a, g, q ledger
			script(t, 1, gates(&a, &g, &q), func(h *harness) {
				c := h.acquire()
				m := h.wantMake()
				began := time.Now()
				if g.open() != 1 || q.open() != 1 {
					t.Fatalf("while making: %d and %d permits open, want 1 and 1", g.open(), q.open())
				}
				time.Sleep(10 * time.Millisecond)
				c.cancel() // so that there is one make and no more
				h.settle()
				test.end(m)
				h.settle()
				if err := g.check(); err != nil {
					t.Error(err)
				}
				o := g.last()
				if o.Verdict != test.verdict || !errors.Is(o.Err, test.err) {
					t.Errorf("Done got %+v, want verdict %d and %v", o, test.verdict, test.err)
				}
				if took := time.Since(began); o.Latency < 10*time.Millisecond || o.Latency > took {
					t.Errorf("Done got a latency of %v, want 10ms to %v", o.Latency, took)
				}
			})
			for _, err := range []error{a.check(), g.check(), q.check()} {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// The permit of a Quota lasts until Destroy has returned or the resource was
// hijacked.
func TestI4_Quota(t *testing.T) {
	for name, end := range map[string]func(h *harness, l resource.Lease[*item]){
		"discard":    func(h *harness, l resource.Lease[*item]) { l.Discard(nil) },
		"hijack":     func(h *harness, l resource.Lease[*item]) { h.hijack(l) },
		"invalidate": func(h *harness, l resource.Lease[*item]) { it := l.Value(); l.Release(); it.invalidate(nil) },
		"reset":      func(h *harness, l resource.Lease[*item]) { h.p.Reset(nil); l.Release() },
		"destroy panics": func(h *harness, l resource.Lease[*item]) {
			h.onDestroy = func(*item, error) { panic("boom") }
			l.Discard(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var a, g, q ledger
			script(t, 1, gates(&a, &g, &q), func(h *harness) {
				l := h.lend()
				l.Release()
				l = h.lend()
				if q.open() != 1 {
					t.Fatalf("%d permits open while it lives, want 1", q.open())
				}
				end(h, l)
				h.settle()
				if err := q.check(); err != nil {
					t.Error(err)
				}
			})
			for _, err := range []error{a.check(), g.check(), q.check()} {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A Done that ends the goroutine of a Hijack does not keep the other one from
// being called.
func TestI4_HijackWhileDoneGoexits(t *testing.T) {
	var a, g, q ledger
	a.after = func(resource.Outcome) { runtime.Goexit() }
	script(t, 1, gates(&a, &g, &q), func(h *harness) {
		l := h.lend()
		mayEnd(func() { h.hijack(l) })
		h.wantLoad(resource.Load{})
	})
	for _, err := range []error{a.check(), g.check(), q.check()} {
		if err != nil {
			t.Error(err)
		}
	}
}

// While Destroy runs the Quota's permit is held.
func TestI4_QuotaWhileDestroying(t *testing.T) {
	var q ledger
	slow := func(h *harness) {
		h.cfg.Quota = &q
		h.onDestroy = func(*item, error) { time.Sleep(time.Second) }
	}
	script(t, 1, slow, func(h *harness) {
		h.lend().Discard(nil)
		h.settle()
		if q.open() != 1 {
			t.Errorf("%d permits open while it is destroyed, want 1", q.open())
		}
		time.Sleep(time.Second)
		h.settle()
		if err := q.check(); err != nil {
			t.Error(err)
		}
	})
}

// A refusal of one of the two gates returns the other's permit and costs no slot:
// nothing is made, the refusal is counted and traced.
func TestI4_GateRefuses(t *testing.T) {
	boom := errors.New("boom")
	for name, pick := range map[string]func(g, q *ledger) *ledger{
		"MakeGate": func(g, q *ledger) *ledger { return g },
		"Quota":    func(g, q *ledger) *ledger { return q },
	} {
		t.Run(name, func(t *testing.T) {
			var a, g, q ledger
			pick(&g, &q).before = func(context.Context, resource.Request) error { return boom }
			refused := 0
			edit := func(h *harness) {
				gates(&a, &g, &q)(h)
				h.cfg.Trace = &resource.Trace{Refused: func(ctx context.Context, err error) {
					if errors.Is(err, boom) {
						refused++
					}
				}}
			}
			script(t, 1, edit, func(h *harness) {
				c := h.acquireFor(time.Second)
				time.Sleep(time.Second)
				c.wantFailed()
				h.wantNoMake()
				h.wantLoad(resource.Load{})
				if n := h.p.Stats().Refused; n < 1 || int(n) != refused {
					t.Errorf("%d refused, %d traced, want as many and at least 1", n, refused)
				}
				if g.open() != 0 || q.open() != 0 {
					t.Errorf("%d and %d permits open, want none", g.open(), q.open())
				}
			})
			for _, err := range []error{a.check(), g.check(), q.check()} {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Close ends what waits in a gate, and its permits.
func TestI4_CloseWhileGated(t *testing.T) {
	var a, g, q ledger
	g.before = func(ctx context.Context, r resource.Request) error {
		<-ctx.Done()
		return ctx.Err()
	}
	script(t, 2, gates(&a, &g, &q), func(h *harness) {
		c := h.acquire()
		h.wantLoad(resource.Load{Making: 1, Waiting: 1})
		if err := <-h.close(time.Minute); err != nil {
			t.Errorf("Close: %v", err)
		}
		c.wantErr(resource.ErrClosed)
	})
	for _, err := range []error{a.check(), g.check(), q.check()} {
		if err != nil {
			t.Error(err)
		}
	}
}

// Hijack freed the slot before it returned the Quota's permit: the waiter for the
// slot was refused for want of a permit.
func TestI4_HijackGivesQuotaBackFirst(t *testing.T) {
	var taken atomic.Bool
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.Quota = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			if !taken.CompareAndSwap(false, true) {
				return nil, errors.New("one exists")
			}
			return func(resource.Outcome) { taken.Store(false) }, nil
		})
		h.cfg.Admission = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			return func(resource.Outcome) { time.Sleep(time.Microsecond) }, nil
		})
	}
	script(t, 1, edit, func(h *harness) {
		l := h.lend()
		c := h.acquire()
		h.wantWaiting(c)
		if _, ok := h.hijack(l); !ok {
			t.Fatal("Hijack failed")
		}
		c.wantLeaseWithin(time.Minute)
	})
}
