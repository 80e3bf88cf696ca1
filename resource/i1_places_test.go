package resource_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// I1: idle + leased + being made + being destroyed are at most the maximum.
// The harness checks it too, at each make and each expectation.

// A place is taken from the moment a make begins until it has failed.
func TestI1_MakesHoldPlaces(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		c1, c2, c3 := h.acquire(), h.acquire(), h.acquire()
		ms := h.wantMakes(2)
		h.wantWaiting(c1, c2, c3)
		h.wantLoad(resource.Load{Making: 2, Waiting: 3})

		ms[0].finish()
		l := c1.wantLease()
		time.Sleep(10 * time.Second) // however long: no place, no make
		h.wantNoMake()
		h.wantLoad(resource.Load{Leased: 1, Making: 1, Waiting: 2})

		ms[1].finish()
		c2.wantLease()
		h.wantNoMake()
		l.Release()
		c3.wantLease()
		h.wantNoMake()
	})
}

// A place is taken until Destroy has returned, however the resource ended.
func TestI1_DestroyHoldsItsPlace(t *testing.T) {
	cause := errors.New("cause")
	for name, finish := range map[string]func(h *harness, l resource.Lease[*item]){
		"discard":    func(h *harness, l resource.Lease[*item]) { l.Discard(cause) },
		"fail":       func(h *harness, l resource.Lease[*item]) { l.Fail(cause) },
		"invalidate": func(h *harness, l resource.Lease[*item]) { it := l.Value(); l.Release(); it.invalidate(cause) },
		"invalidated while leased": func(h *harness, l resource.Lease[*item]) {
			l.Value().invalidate(cause)
			l.Release()
		},
		"reset":              func(h *harness, l resource.Lease[*item]) { l.Release(); h.p.Reset(cause) },
		"reset while leased": func(h *harness, l resource.Lease[*item]) { h.p.Reset(cause); l.Release() },
	} {
		t.Run(name, func(t *testing.T) {
			var free chan struct{} // of the bubble
			slow := func(h *harness) {
				free = make(chan struct{})
				h.onDestroy = func(*item, error) {
					select {
					case <-free:
					case <-h.over:
					}
				}
			}
			script(t, 1, slow, func(h *harness) {
				l := h.lend()
				it := l.Value()
				finish(h, l)
				h.wantLoad(resource.Load{Destroying: 1})
				c := h.acquire()
				time.Sleep(10 * time.Second)
				h.wantNoMake()
				h.wantLoad(resource.Load{Destroying: 1, Waiting: 1})
				close(free)
				h.wantDestroyed(it, cause)
				h.wantMakeWithin(time.Second).finish()
				c.wantLease()
			})
		})
	}
}

// Shrinking ends what is idle at once and what is leased as it comes back,
// until no more than the new maximum is left; then nothing more goes.
func TestI1_ShrinkAndGrow(t *testing.T) {
	script(t, 4, nil, func(h *harness) {
		ls, its := h.lendN(4)
		ls[0].Release()
		h.resize(2)
		h.wantDestroyed(its[0], resource.ErrResized)
		h.wantLoad(resource.Load{Leased: 3})
		c := h.acquire()
		h.wantNoMake()

		ls[1].Release() // one too many: it is not handed over
		h.wantDestroyed(its[1], resource.ErrResized)
		h.wantWaiting(c)
		h.wantNoMake()

		ls[2].Release() // now it is
		c.wantItem(its[2])
		h.wantLoad(resource.Load{Leased: 2})

		c4, c5 := h.acquire(), h.acquire()
		h.resize(3)
		m := h.wantMakeWithin(time.Minute)
		h.wantNoMake()
		m.finish()
		c4.wantLease()
		h.wantWaiting(c5)
	})
}

// A make that was begun before the pool shrank holds its place, and what it
// returns goes if it is too many.
func TestI1_ShrinkDuringMake(t *testing.T) {
	script(t, 3, nil, func(h *harness) {
		cs := []*call{h.acquire(), h.acquire(), h.acquire()}
		ms := h.wantMakes(3)
		h.resize(1)
		h.wantNoMake()
		for _, m := range ms {
			m.finish()
		}
		h.settle()
		if n := h.p.Stats().Idle + h.p.Stats().Leased; n != 1 {
			t.Errorf("%d live, want 1: %v", n, h.p.Stats().Load)
		}
		served := 0
		for _, c := range cs {
			if o := c.poll(); o != nil && o.err == nil {
				served++
			}
		}
		if served != 1 {
			t.Errorf("%d served, want 1", served)
		}
	})
}

// After Close nothing is made any more.
func TestI1_CloseMakesNothing(t *testing.T) {
	script(t, 3, func(h *harness) { h.cfg.MinIdle = 2 }, func(h *harness) {
		for _, m := range h.wantMakes(2) {
			m.finish()
		}
		l := h.lend()
		done := h.close(time.Hour)
		l.Release()
		h.wantNoMake()
		if err := <-done; err != nil {
			t.Errorf("Close: %v", err)
		}
		time.Sleep(time.Minute)
		h.wantNoMake()
		h.wantLoad(resource.Load{})
	})
}

// Many goroutines end their leases in every way, while the pool is reset and
// invalidates arrive: there are never more than the maximum, seen from Make and
// Destroy, nor in any Stats, and every Stats adds up.
func TestI1_Stress(t *testing.T) {
	for _, order := range []resource.Order{resource.NewestFirst, resource.OldestFirst} {
		t.Run(fmt.Sprint("order=", order), func(t *testing.T) { stress(t, order) })
	}
}

func stress(t *testing.T, order resource.Order) {
	const max = 4
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p := newPlain(t, max, func(cfg *resource.Config[*token]) { cfg.Order = order })
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for g := range 16 {
		rnd := rand.New(rand.NewPCG(seed, uint64(g)))
		wg.Go(func() {
			for ctx.Err() == nil {
				l, err := p.Acquire(ctx)
				if err != nil {
					return
				}
				p.hold(l.Value())
				runtime.Gosched()
				p.finish(l, rnd.IntN(40))
			}
		})
	}
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			s := p.Stats()
			if n := s.Idle + s.Leased + s.Making + s.Destroying; n > max {
				t.Errorf("I1: %d places taken: %v", n, s.Load)
				return
			}
			if err := unbalanced(s); err != nil {
				t.Error(err)
				return
			}
			if i%500 == 0 {
				p.Reset(nil)
			}
			runtime.Gosched()
		}
	})
	wg.Wait()
	if n := p.peak.Load(); n > max {
		t.Errorf("I1: %d were out at once", n)
	}
}

// finish ends l in one of several ways, most often by Release.
func (p *plain) finish(l resource.Lease[*token], way int) {
	tok := l.Value()
	p.drop(tok)
	switch way {
	case 0:
		l.Discard(nil)
	case 1:
		l.Fail(errors.New("broken"))
	case 2:
		p.hijack(l)
	case 3:
		(*tok.invalidate.Load())(nil)
		l.Release()
	case 4:
		l.Release()
		(*tok.invalidate.Load())(nil) // idle, or the next holder's
	default:
		l.Release()
	}
}
