package resource_test

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// Shrinking ends those idle longest first, with a cause that says so.
func TestResize_ShrinkIdle(t *testing.T) {
	script(t, 4, nil, func(h *harness) {
		its := h.stock(4)
		h.resize(2)
		h.wantDestroyed(its[0], resource.ErrResized)
		h.wantDestroyed(its[1], resource.ErrResized)
		h.wantAlive(its[2], its[3])
		h.wantLoad(resource.Load{Idle: 2})
	})
}

// No holder is interrupted; what comes back goes while too many exist.
func TestResize_ShrinkLeased(t *testing.T) {
	script(t, 3, nil, func(h *harness) {
		ls, its := h.lendN(3)
		h.resize(1)
		h.wantLoad(resource.Load{Leased: 3})
		for i, l := range ls {
			if l.Value() != its[i] {
				t.Errorf("holder %d has another item", i)
			}
		}
		ls[0].Release()
		h.wantDestroyed(its[0], resource.ErrResized)
		ls[1].Release()
		h.wantDestroyed(its[1], resource.ErrResized)
		ls[2].Release()
		h.wantAlive(its[2])
		h.wantLoad(resource.Load{Idle: 1})
	})
}

// Growing lets waiters have new ones at once.
func TestResize_Grow(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		h.lend()
		c := h.acquire()
		h.wantNoMake()
		h.resize(2)
		h.wantMake().finish()
		c.wantLease()
		h.wantLoad(resource.Load{Leased: 2})
	})
}

// Back to the same maximum before anything came back: nobody is hurt.
func TestResize_ThereAndBack(t *testing.T) {
	script(t, 3, nil, func(h *harness) {
		ls, its := h.lendN(3)
		h.resize(1)
		h.resize(3)
		for _, l := range ls {
			l.Release()
		}
		h.wantAlive(its...)
		h.wantLoad(resource.Load{Idle: 3})
	})
}

// Less than one is refused, and changes nothing.
func TestResize_Bad(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		for _, max := range []int{0, -1} {
			if err := h.p.Resize(max); err == nil {
				t.Errorf("Resize(%d) succeeded", max)
			}
		}
		h.wantLoad(resource.Load{})
	})
}

// Shrinking below MinIdle keeps what there is room for, and makes no more.
func TestResize_BelowMinIdle(t *testing.T) {
	edit := func(h *harness) { h.cfg.MinIdle, h.cfg.SweepInterval = 3, time.Second }
	script(t, 3, edit, func(h *harness) {
		for _, m := range h.wantMakes(3) {
			m.finish()
		}
		h.resize(1)
		time.Sleep(5 * time.Second)
		h.wantNoMake()
		h.wantLoad(resource.Load{Idle: 1})
	})
}

// Reset ends what is idle now, with the cause.
func TestReset_Idle(t *testing.T) {
	why := errors.New("new credentials")
	script(t, 2, nil, func(h *harness) {
		its := h.stock(2)
		h.p.Reset(why)
		h.wantDestroyed(its[0], why)
		h.wantDestroyed(its[1], why)
		h.wantLoad(resource.Load{})
	})
}

// What is leased goes when its lease ends; what was made since stays.
func TestReset_Leased(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		h.p.Reset(nil)
		if l.Value() != it {
			t.Error("Reset touched a lease")
		}
		fresh := h.lend()
		h.wantAlive(it)
		kept := fresh.Value()
		l.Release()
		h.wantDestroyed(it, resource.ErrReset)
		fresh.Release()
		h.wantAlive(kept)
		h.wantLoad(resource.Load{Idle: 1})
	})
}

// A waiter is not handed the old one.
func TestReset_WaiterGetsANewOne(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		old := l.Value()
		c := h.acquire()
		h.p.Reset(nil)
		l.Release()
		h.wantDestroyed(old, resource.ErrReset)
		it := h.wantMakeWithin(time.Second).finish()
		c.wantItem(it)
	})
}

// What is being made is old too: its value goes, and the waiter gets one that
// was begun since.
func TestReset_DuringMake(t *testing.T) {
	why := errors.New("why")
	script(t, 2, nil, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		m.hang()
		h.p.Reset(why)
		if h.settle(); !errors.Is(context.Cause(m.ctx), why) {
			t.Errorf("the make's context ended with %v, want %v", context.Cause(m.ctx), why)
		}
		old := m.finish()
		h.wantDestroyed(old, why)
		it := h.wantMakeWithin(time.Second).finish()
		c.wantItem(it)
	})
}

// Each Reset counts: the cause is that of the first that found it.
func TestReset_Twice(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	script(t, 2, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		h.p.Reset(first)
		h.p.Reset(second)
		l.Release()
		h.settle()
		h.mu.Lock()
		defer h.mu.Unlock()
		if cause := h.causes[it]; !errors.Is(cause, first) && !errors.Is(cause, second) {
			t.Errorf("destroyed for %v", cause)
		}
	})
}

// A bad Config: the error names every field that is wrong, and only those.
func TestConfig_EveryBadField(t *testing.T) {
	_, err := resource.New(resource.Config[int]{
		MaxSize: -1, MinIdle: -2, SweepInterval: -4, Order: 5, Outage: 6, SampleLeases: -7,
	})
	if err == nil {
		t.Fatal("New succeeded")
	}
	for _, field := range []string{"Make ", "MaxSize", "MinIdle", "SweepInterval", "Order", "Outage", "SampleLeases"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%q does not name %s", err, field)
		}
	}
	good := resource.Config[int]{Make: func(context.Context) (int, error) { return 0, nil }, MaxSize: 2}
	for field, spoil := range map[string]func(cfg *resource.Config[int]){
		"Make ":         func(cfg *resource.Config[int]) { cfg.Make = nil },
		"MaxSize":       func(cfg *resource.Config[int]) { cfg.MaxSize = 0 },
		"MinIdle":       func(cfg *resource.Config[int]) { cfg.MinIdle = 3 },
		"SweepInterval": func(cfg *resource.Config[int]) { cfg.SweepInterval = resource.MinSweepInterval - 1 },
		"Order":         func(cfg *resource.Config[int]) { cfg.Order = 2 },
		"Outage":        func(cfg *resource.Config[int]) { cfg.Outage = 2 },
		"SampleLeases":  func(cfg *resource.Config[int]) { cfg.SampleLeases = 1<<30 + 1 },
	} {
		cfg := good
		spoil(&cfg)
		p, err := resource.New(cfg)
		if err == nil || p != nil {
			t.Errorf("%s: New succeeded", field)
		} else if !strings.Contains(err.Error(), field) {
			t.Errorf("%q does not name %s", err, field)
		}
	}
	p, err := resource.New(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// New copies the Config, the Trace in it too.
func TestConfig_IsCopied(t *testing.T) {
	made := 0
	cfg := resource.Config[int]{
		Make:    func(context.Context) (int, error) { return 1, nil },
		MaxSize: 1,
		Trace:   &resource.Trace{Made: func(context.Context, resource.MakeEvent) { made++ }},
	}
	p, err := resource.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Trace.Made = nil
	if err := p.Warm(context.Background(), 1); err != nil {
		t.Error(err)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if made != 1 {
		t.Errorf("%d makes traced, want 1", made)
	}
}

// The largest maximum is that of 32 bits, also where an int has 64.
func TestConfig_LargestMaxSize(t *testing.T) {
	cfg := resource.Config[int]{Make: func(context.Context) (int, error) { return 0, nil }, MaxSize: math.MaxInt32, SampleLeases: 1}
	p, err := resource.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Resize(math.MaxInt32); err != nil {
		t.Error(err)
	}
	l, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if strconv.IntSize > 32 {
		cfg.MaxSize++
		if _, err := resource.New(cfg); err == nil || !strings.Contains(err.Error(), "MaxSize must be between 1 and 2147483647, got 2147483648") {
			t.Error(err)
		}
	}
}
