package resource_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// gates is a pool with a ledger at each of the three moments.
func gates(a, g, q *ledger) func(h *harness) {
	return func(h *harness) {
		h.cfg.Admission, h.cfg.MakeGate, h.cfg.Quota = a, g, q
		h.cfg.MakeTimeout = time.Second
	}
}

// The permit of a MakeGate lasts as long as the making, and learns how it
// went and how long it took.
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
					t.Errorf("Done was told %+v, want verdict %d and %v", o, test.verdict, test.err)
				}
				if took := time.Since(began); o.Latency < 10*time.Millisecond || o.Latency > took {
					t.Errorf("Done was told a latency of %v, want 10ms to %v", o.Latency, took)
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

// A refusal of one of the two gates gives the other's permit back, and costs
// no place: nothing is made, the refusal is counted and traced.
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
