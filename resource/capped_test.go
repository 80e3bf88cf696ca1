package resource_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

var errAboveCap = errors.New("above the cap")

// capTo is an Eviction that is Capped and counts its calls.
type capTo struct {
	most  atomic.Int64
	asked atomic.Int64
	none  bool                                 // it has no Cap
	panic bool                                 // Cap panics
	up    func(resource.Info) resource.Horizon // nil: without limits
}

func newCap(n int) *capTo {
	c := &capTo{}
	c.most.Store(int64(n))
	return c
}

func (c *capTo) Evict(i resource.Info) error {
	c.asked.Add(1)
	if int64(i.Total) > c.most.Load() && (i.Leases > 0 || i.Idlers > 0) {
		return errAboveCap
	}
	return nil
}

func (c *capTo) Cap() *atomic.Int64 {
	if c.panic {
		panic("broken")
	}
	if c.none {
		return nil
	}
	return &c.most
}

func (c *capTo) HorizonWithinCap(i resource.Info) resource.Horizon {
	if c.up != nil {
		return c.up(i)
	}
	return resource.Horizon{Age: math.MaxInt64, Idle: math.MaxInt64, Leases: math.MaxInt64}
}

// I10: while the pool has no more than the cap, hits do not ask the Eviction and take no lock.
func TestI10_CappedIsNotAsked(t *testing.T) {
	for name, c := range map[string]struct {
		e    *capTo
		asks bool
	}{
		"at the cap":  {newCap(1), false},
		"without one": {&capTo{none: true}, true},
		"panics":      {&capTo{panic: true}, true},
		"no horizon":  {&capTo{up: func(resource.Info) resource.Horizon { return resource.Horizon{} }}, true},
		"leases":      {&capTo{up: upTo(0, 0, 1)}, true},
	} {
		c.e.most.Store(1)
		p := newPlain(t, 1, lateSweep(c.e))
		onHit(t, p, func() {
			c.e.asked.Store(0)
			l := p.must(context.Background())
			l.Release()
			if n := c.e.asked.Load(); n > 0 != c.asks {
				t.Errorf("%s: Evict was called %d times in a hit", name, n)
			}
		})
	}
}

// When the cap falls, resources end as they come back and as they would be lent, at once and no more
// than there are above it; when it rises, none is ended.
func TestCapped_Falls(t *testing.T) {
	for _, traced := range []bool{false, true} {
		e := newCap(4)
		script(t, 4, func(h *harness) {
			h.cfg.Eviction, h.cfg.SweepInterval = e, time.Hour
			h.auto = func(m *makeCall) { m.finish() }
			if traced {
				h.cfg.Trace = &resource.Trace{Ended: func(resource.EndEvent) {}}
			}
		}, func(h *harness) {
			ls, _ := h.lendN(4)
			ls[0].Release()
			ls[1].Release()
			h.settle()
			e.most.Store(3)
			ls[2].Release() // one is above the cap
			h.settle()
			ls[3].Release()
			h.settle()
			if s := h.p.Stats(); s.Destroyed != 1 || s.Evicted != 1 || s.Idle != 3 {
				t.Errorf("at the cap of 3: %+v", s)
			}
			e.most.Store(1)
			l := h.lend() // the two that are looked at first end
			if s := h.p.Stats(); s.Destroyed != 3 || s.Leased != 1 {
				t.Errorf("at the cap of 1: %+v", s)
			}
			e.asked.Store(0)
			l.Release()
			h.lend().Release()
			h.settle()
			e.most.Store(4)
			ls, _ = h.lendN(4)
			for _, l := range ls {
				l.Release()
			}
			h.settle()
			if s := h.p.Stats(); s.Destroyed != 3 || s.Idle != 4 {
				t.Errorf("at the cap of 4: %+v", s)
			}
		})
	}
}

// While the cap changes at any time and goroutines acquire and release, the pool ends what is above the
// lowest cap and no more.
func TestCapped_Stress(t *testing.T) {
	const lowest, most = 3, 12
	e := newCap(most)
	p := newPlain(t, most, func(cfg *resource.Config[*token]) { cfg.Eviction = e })
	total := func() int {
		s := p.Stats()
		return s.Idle + s.Leased
	}
	lendAll := func() {
		var ls []resource.Lease[*token]
		for range lowest {
			ls = append(ls, p.must(context.Background()))
		}
		for _, l := range ls {
			l.Release()
		}
	}
	lendAll()
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range 400 {
				lendAll()
				if n := total(); n < lowest { // it may grow meanwhile, but no Eviction leaves fewer
					t.Errorf("%d resources, below the lowest cap of %d", n, lowest)
				}
			}
		})
	}
	callers.Go(func() {
		for i := range 800 {
			e.most.Store(int64(lowest + i%(most-lowest+1)))
			p.must(context.Background()).Release()
		}
	})
	callers.Wait()
	e.most.Store(lowest)
	within(t, 20*time.Second, func() {
		for total() > lowest { // each hit ends one
			p.must(context.Background()).Release()
		}
	})
	for range 100 {
		p.must(context.Background()).Release()
	}
	if n := total(); n != lowest {
		t.Errorf("%d resources stay with a cap of %d", n, lowest)
	}
}
