package resource_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// I2: a lease ends once. Ending it again does nothing to anyone.

// endings are the ways to end a lease.
var endings = []struct {
	name string
	end  func(l resource.Lease[*item])
}{
	{"Release", func(l resource.Lease[*item]) { l.Release() }},
	{"Fail(nil)", func(l resource.Lease[*item]) { l.Fail(nil) }},
	{"Fail(err)", func(l resource.Lease[*item]) { l.Fail(errors.New("stale failure")) }},
	{"Discard(nil)", func(l resource.Lease[*item]) { l.Discard(nil) }},
	{"Discard(err)", func(l resource.Lease[*item]) { l.Discard(errors.New("stale discard")) }},
	{"Hijack", func(l resource.Lease[*item]) { l.Hijack() }},
}

// misuse does everything to l that ends a lease or reads it. l has ended.
func misuse(t *testing.T, l resource.Lease[*item]) {
	t.Helper()
	for _, e := range endings {
		e.end(l)
	}
	if v, ok := l.Hijack(); ok || v != nil {
		t.Errorf("Hijack of an ended lease returned %v, %t", v, ok)
	}
	if got := l.Info(); got != (resource.Info{}) {
		t.Errorf("Info of an ended lease is %+v", got)
	}
	wantValuePanic(t, l)
}

// wantValuePanic checks that Value panics and says why.
func wantValuePanic(t *testing.T, l resource.Lease[*item]) {
	t.Helper()
	v := caught(func() { l.Value() })
	if v == nil {
		t.Error("Value of an ended lease did not panic")
	} else if s := fmt.Sprint(v); !strings.Contains(s, "resource") || !strings.Contains(s, "lease") {
		t.Errorf("Value panicked with %q, which does not speak of a lease", s)
	}
}

// However a lease ended, ending it again in whatever way, from a copy as well,
// does nothing to the next holder of the resource or its place.
func TestI2_EndedLeaseDoesNothing(t *testing.T) {
	for _, first := range endings {
		t.Run(first.name, func(t *testing.T) {
			script(t, 1, nil, func(h *harness) {
				old := h.lend()
				it := old.Value()
				if first.name == "Hijack" {
					h.hijack(old)
				} else {
					first.end(old)
				}
				misuse(t, old) // nobody has it
				h.settle()

				next := h.lend()
				held := next.Value()
				before := h.p.Stats()
				misuse(t, old) // next has it, or its successor
				h.settle()
				if after := h.p.Stats(); after != before {
					t.Errorf("the misuse changed the Stats:\n%+v\n%+v", before, after)
				}
				if got := next.Value(); got != held {
					t.Errorf("the next holder has item %d, had %d", got.n, held.n)
				}
				if l, ok := h.p.TryAcquire(); ok {
					t.Errorf("item %d has a second holder", l.Value().n)
				}
				h.wantAlive(held)

				next.Release()
				h.wantAlive(held)
				if first.name == "Hijack" && held == it {
					t.Error("a hijacked item was lent again")
				}
				h.wantLoad(resource.Load{Idle: 1})
			})
		})
	}
}

// Neither does it after Close, whether the lease ended before or after it.
func TestI2_EndedLeaseAfterClose(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		before, after := h.lend(), h.lend()
		its := []*item{before.Value(), after.Value()}
		before.Release()
		done := h.close(time.Hour)
		misuse(t, before)
		if after.Value() != its[1] {
			t.Error("Close changed what a holder has")
		}
		after.Release()
		if err := <-done; err != nil {
			t.Fatalf("Close: %v", err)
		}
		misuse(t, before)
		misuse(t, after)
		h.wantDestroyed(its[0], resource.ErrClosed)
		h.wantDestroyed(its[1], resource.ErrClosed)
	})
}

// The zero Lease is one that has ended.
func TestI2_ZeroLease(t *testing.T) {
	var l resource.Lease[*item]
	misuse(t, l)
}

// A lease of one pool does nothing to another.
func TestI2_OtherPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := start(t, 1, nil), start(t, 1, nil)
		la, lb := a.lend(), b.lend()
		la.Release()
		misuse(t, la)
		b.wantLoad(resource.Load{Leased: 1})
		a.wantLoad(resource.Load{Idle: 1})
		lb.Value()
	})
}

// Eight goroutines end the same lease at once, in all ways: one of them does,
// and one place comes free, not more.
func TestI2_ConcurrentEnds(t *testing.T) {
	p := newPlain(t, 1, nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for round := range 2000 {
		l := p.must(ctx)
		p.hold(l.Value())
		p.drop(l.Value())
		released := p.Stats().Released
		var hijacks atomic.Int32
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for g := range 8 {
			copied := l
			wg.Go(func() {
				<-begin
				switch (g + round) % 4 {
				case 0:
					copied.Release()
				case 1:
					copied.Discard(nil)
				case 2:
					copied.Fail(errors.New("broken"))
				case 3:
					if _, ok := copied.Hijack(); ok {
						hijacks.Add(1)
						p.live.Add(-1)
					}
				}
			})
		}
		close(begin)
		wg.Wait()
		if n := hijacks.Load(); n > 1 {
			t.Fatalf("round %d: hijacked %d times", round, n)
		}
		if got := p.Stats().Released - released; got != 1 {
			t.Fatalf("round %d: %d leases ended, want 1", round, got)
		}
	}
}

// Holders end their old leases again while others hold the resource: nobody
// ever sees a second holder.
func TestI2_StaleEndsUnderLoad(t *testing.T) {
	p := newPlain(t, 2, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	var served atomic.Int64
	for range 8 {
		wg.Go(func() {
			var old resource.Lease[*token]
			for ctx.Err() == nil {
				l, err := p.Acquire(ctx)
				if err != nil {
					return
				}
				served.Add(1)
				p.hold(l.Value())
				old.Release()
				old.Discard(nil)
				p.drop(l.Value())
				l.Release()
				old = l
			}
		})
	}
	wg.Wait()
	if served.Load() < 100 {
		t.Errorf("only %d leases", served.Load())
	}
	if n := p.destroyed.Load(); n != 0 {
		t.Errorf("%d were destroyed by leases that had ended", n)
	}
}
