package resource_test

import (
	"errors"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// MakeTimeout bounds a make that does not return by itself.

func oneSecond(h *harness) { h.cfg.MakeTimeout = time.Second }

// A make that listens to its context ends at MakeTimeout, and its waiter is
// told that it was the time.
func TestHang_Listening(t *testing.T) {
	script(t, 1, oneSecond, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		time.Sleep(time.Second - 1)
		if m.ctx.Err() != nil {
			t.Error("the make's context has ended too early")
		}
		time.Sleep(time.Nanosecond)
		e := c.wantErr(resource.ErrMakeTimeout)
		if e.Waited != time.Second {
			t.Errorf("waited %v, want 1s", e.Waited)
		}
		if n := h.p.Stats().Failed; n != 1 {
			t.Errorf("%d failed, want 1", n)
		}
	})
}

// One that does not listen is abandoned a tenth later: the waiter is told and
// the place is free, though it still runs.
func TestHang_Deaf(t *testing.T) {
	script(t, 1, oneSecond, func(h *harness) {
		c1, c2 := h.acquire(), h.acquire()
		m := h.wantMake()
		m.hang()
		time.Sleep(1099 * time.Millisecond)
		h.wantLoad(resource.Load{Making: 1, Waiting: 2})
		time.Sleep(time.Millisecond)
		c1.wantErr(resource.ErrMakeTimeout)
		h.wantWaiting(c2)
		h.wantMakeWithin(time.Minute).finish()
		c2.wantLease()
		h.wantLoad(resource.Load{Leased: 1, Abandoned: 1})
		it := m.finish()
		h.wantGone(it)
		h.wantLoad(resource.Load{Leased: 1})
	})
}

// The grace is at most a second.
func TestHang_Grace(t *testing.T) {
	edit := func(h *harness) { h.cfg.MakeTimeout = time.Minute }
	script(t, 1, edit, func(h *harness) {
		c := h.acquire()
		h.wantMake().hang()
		time.Sleep(60999 * time.Millisecond)
		h.wantWaiting(c)
		time.Sleep(time.Millisecond)
		c.wantErr(resource.ErrMakeTimeout)
	})
}

// Zero is the default, never for ever.
func TestHang_Default(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		h.wantMake()
		time.Sleep(resource.DefaultMakeTimeout)
		c.wantErr(resource.ErrMakeTimeout)
	})
}

// What an abandoned make fails with is nobody's concern any more.
func TestHang_AbandonedFails(t *testing.T) {
	for name, end := range map[string]func(m *makeCall){
		"error":  func(m *makeCall) { m.fail(errors.New("late")) },
		"panic":  func(m *makeCall) { m.panic("late") },
		"goexit": func(m *makeCall) { m.goexit() },
	} {
		t.Run(name, func(t *testing.T) {
			script(t, 1, oneSecond, func(h *harness) {
				c := h.acquire()
				m := h.wantMake()
				m.hang()
				time.Sleep(1100 * time.Millisecond)
				c.wantErr(resource.ErrMakeTimeout)
				h.wantLoad(resource.Load{Abandoned: 1})
				end(m)
				h.wantLoad(resource.Load{})
				if n := h.p.Stats().Failed; n != 1 {
					t.Errorf("%d failed, want 1", n)
				}
			})
		})
	}
}

// A factory that hangs again and again is an outage like any other: makes do
// not pile up without end.
func TestHang_Outage(t *testing.T) {
	edit := func(h *harness) {
		oneSecond(h)
		h.auto = func(m *makeCall) { m.hang() }
	}
	script(t, 4, edit, func(h *harness) {
		for range 20 {
			h.acquireFor(time.Hour)
		}
		time.Sleep(30 * time.Second)
		h.settle()
		s := h.p.Stats()
		if !s.Outage || s.Waiting != 0 {
			t.Errorf("outage %t, %v; want everyone told", s.Outage, s.Load)
		}
		for _, c := range h.calls {
			c.wantErr(resource.ErrMakeTimeout)
		}
		if s.Abandoned > 10 {
			t.Errorf("%d abandoned makes piled up", s.Abandoned)
		}
	})
}
