package resource_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// I1: idle + leased + being made + being destroyed are at most the maximum.
// The harness checks it too, at each make and each expectation.

// A slot is taken from the moment a make begins until it has failed.
func TestI1_MakesHoldSlots(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		c1, c2, c3 := h.acquire(), h.acquire(), h.acquire()
		ms := h.wantMakes(2)
		h.wantWaiting(c1, c2, c3)
		h.wantLoad(resource.Load{Making: 2, Waiting: 3})

		ms[0].finish()
		l := c1.wantLease()
		time.Sleep(10 * time.Second) // however long: no slot, no make
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

// A slot is taken until Destroy has returned, however the resource ended.
func TestI1_DestroyHoldsItsSlot(t *testing.T) {
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

// A make that was begun before the pool shrank holds its slot, and its result is
// destroyed if there are too many.
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
				t.Errorf("I1: %d slots taken: %v", n, s.Load)
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

// No holder is interrupted; released resources are destroyed while too many exist.
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

// Back to the same maximum before any release: no lease is affected.
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

// Trap 9: the slot of a resource was held while its destructor ran, and shown as
// acquired. It is held here too, because more than the maximum must never exist
// (I1); but it is shown as destroying, and Discard does not wait for it.
func TestPuddleTrap09_SlotHeldWhileDestroying(t *testing.T) {
	script(t, 1, slowDestroy, func(h *harness) {
		l := h.lend()
		began := time.Now()
		l.Discard(nil)
		if took := time.Since(began); took != 0 {
			t.Errorf("Discard took %v", took)
		}
		h.wantLoad(resource.Load{Destroying: 1})
		c := h.acquire()
		h.wantNoMake()
		h.wantLoad(resource.Load{Destroying: 1, Waiting: 1})
		time.Sleep(time.Second)
		h.wantMake().finish()
		c.wantLease()
	})
}

// Trap 17: the maximum was fixed for the life of a pool.
func TestPuddleTrap17_FixedMaxSize(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		h.lend()
		c := h.acquire()
		h.wantNoMake()
		h.resize(2)
		h.wantMake().finish()
		c.wantLease()
	})
}

// follower is an Admission that notes how the maximum was changed.
type follower struct {
	mu       sync.Mutex
	reported []string
	at       int                // the maximum that it knows
	hook     func(from, to int) // runs in FollowSize, after the note
}

func (f *follower) Admit(context.Context, resource.Request) (resource.Done, error) { return nil, nil }

func (f *follower) FollowSize(from, to int) {
	f.mu.Lock()
	f.reported = append(f.reported, fmt.Sprintf("%d to %d", from, to))
	if from != f.at {
		f.reported = append(f.reported, fmt.Sprintf("but it was %d", f.at))
	}
	f.at = to
	f.mu.Unlock()
	if f.hook != nil {
		f.hook(from, to)
	}
}

func (f *follower) wantNotified(t *testing.T, want ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.reported, want) {
		t.Errorf("it was notified of %q, want %q", f.reported, want)
	}
}

// Every Admission of the pool is notified of each change, and of nothing else.
func TestResize_NotifiesPolicies(t *testing.T) {
	all := [3]*follower{{at: 2}, {at: 2}, {at: 2}}
	edit := func(h *harness) {
		h.cfg.Admission, h.cfg.MakeGate, h.cfg.Quota = all[0], all[1], all[2]
	}
	script(t, 2, edit, func(h *harness) {
		for _, n := range []int{2, 5, 5, 1, 2} {
			h.max = n
			if err := h.p.Resize(n); err != nil {
				t.Error(err)
			}
		}
		if err := h.p.Resize(0); err == nil {
			t.Error("a maximum of 0")
		}
		if err := <-h.close(time.Minute); err != nil {
			t.Error(err)
		}
		if err := h.p.Resize(7); err == nil {
			t.Error("a closed pool was resized")
		}
		for _, f := range all {
			f.wantNotified(t, "2 to 5", "5 to 1", "1 to 2")
		}
	})
}

// I5, I9: FollowSize may use the pool, resize it, panic, and end its goroutine: the
// next change is still notified.
func TestI9_FollowSize(t *testing.T) {
	f := &follower{at: 1}
	edit := func(h *harness) { h.cfg.Admission, h.max = f, 10 }
	script(t, 1, edit, func(h *harness) {
		f.hook = func(_, to int) {
			h.p.Stats()
			switch to {
			case 2:
				if err := h.p.Resize(3); err != nil { // it is notified when this call has returned
					t.Error(err)
				}
				f.wantNotified(t, "1 to 2")
			case 3:
				panic(errFault)
			case 4:
				runtime.Goexit()
			}
		}
		for _, n := range []int{2, 4, 5} {
			if err := h.p.Resize(n); err != nil {
				t.Error(err)
			}
		}
		f.wantNotified(t, "1 to 2", "2 to 3", "3 to 4", "4 to 5")
		if n := h.p.Stats().Panics; n != 2 {
			t.Errorf("%d panics, want 2", n)
		}
	})
}

// Changes at the same time: each call begins from what the one before it said, and
// the last one says what the maximum is.
func TestResize_ManyAtOnce(t *testing.T) {
	f := &follower{at: 1}
	p := newPlain(t, 1, func(cfg *resource.Config[*token]) { cfg.Admission = f })
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 200 {
				if err := p.Resize(1 + (g*7+i*3)%20); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if max := p.Stats().Max; f.at != max {
		t.Errorf("the policy knows %d as the maximum, which is %d", f.at, max)
	}
	for _, s := range f.reported {
		if s[:3] == "but" {
			t.Error(s)
		}
	}
}
