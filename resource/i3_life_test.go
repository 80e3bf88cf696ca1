package resource_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// I3: every value that Make returned is destroyed or hijacked, once. The
// harness checks it at the end of every script.

// A make that ends after Close is destroyed, not lent; Close waits for it.
func TestI3_MakeAfterClose(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		m.hang()
		done := h.close(time.Minute)
		c.wantErr(resource.ErrClosed)
		it := m.finish()
		h.wantDestroyed(it, resource.ErrClosed)
		if err := <-done; err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// A make that returns after it was abandoned is destroyed.
func TestI3_AbandonedMake(t *testing.T) {
	limit := func(h *harness) { h.cfg.MakeTimeout = time.Second }
	script(t, 1, limit, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		m.hang()
		time.Sleep(1100 * time.Millisecond)
		h.settle()
		if n := h.p.Stats().Abandoned; n != 1 {
			t.Fatalf("%d abandoned, want 1: %v", n, h.p.Stats().Load)
		}
		it := m.finish()
		h.wantDestroyed(it, resource.ErrMakeTimeout)
		if n := h.p.Stats().Abandoned; n != 0 {
			t.Errorf("%d abandoned, want 0", n)
		}
		c.cancel()
	})
}

// A hijacked value is the caller's own: neither Close nor invalidate destroys it,
// and its place is free.
func TestI3_Hijack(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		want := l.Value()
		it, ok := h.hijack(l)
		if !ok || it != want {
			t.Fatalf("Hijack returned %v, %t", it, ok)
		}
		h.wantLoad(resource.Load{})
		it.invalidate(errors.New("too late"))
		next := h.lend()
		if next.Value() == it {
			t.Error("a hijacked item was lent again")
		}
		next.Release()
		h.settle()
		if s := h.p.Stats(); s.Hijacked != 1 || s.Made != 2 {
			t.Errorf("%d hijacked of %d made, want 1 of 2", s.Hijacked, s.Made)
		}
		if err := <-h.close(time.Minute); err != nil {
			t.Errorf("Close: %v", err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.causes[it]; ok {
			t.Error("a hijacked item was destroyed")
		}
	})
}

// Hijack waits for no Close: a holder may take its resource out of a pool
// that is closing, which then has nothing more to wait for.
func TestI3_HijackWhileClosing(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		done := h.close(time.Hour)
		if _, ok := h.hijack(l); !ok {
			t.Fatal("Hijack failed")
		}
		if err := <-done; err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// invalidate from many sides, while the lease ends and the pool is reset and
// closed: one Destroy.
func TestI3_InvalidateRaces(t *testing.T) {
	for range 300 {
		p := newPlain(t, 1, nil)
		l := p.must(context.Background())
		invalidate := *l.Value().invalidate.Load()
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for _, f := range []func(){
			func() { invalidate(nil) },
			func() { invalidate(errors.New("dead")) },
			func() { l.Discard(nil) },
			func() { p.Reset(nil) },
			l.Release,
			p.end,
		} {
			wg.Go(func() { <-begin; f() })
		}
		close(begin)
		wg.Wait()
		invalidate(nil)
		if n := p.destroyed.Load(); n != 1 {
			t.Fatalf("destroyed %d times", n)
		}
	}
}

// invalidate after the end of its resource does nothing, least of all to the
// resource that came after it.
func TestI3_LateInvalidate(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		old := l.Value()
		l.Discard(nil)
		h.wantDestroyed(old, resource.ErrDiscarded)
		next := h.lend()
		it := next.Value()
		old.invalidate(errors.New("late"))
		next.Release()
		h.wantAlive(it)
		if n := h.p.Stats().Invalidated; n != 0 {
			t.Errorf("%d invalidated, want 0", n)
		}
	})
}

// The zero T and a nil interface are values like any other: made once, lent
// again and again, destroyed once.
func TestI3_ZeroValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zeroValue[any](t)
		zeroValue[*item](t)
		zeroValue[int](t)
		zeroValue[struct{}](t)
		zeroValue[func()](t)
		zeroValue[[]byte](t)
	})
}

func zeroValue[T any](t *testing.T) {
	t.Helper()
	made, destroyed := 0, 0
	p, err := resource.New(resource.Config[T]{
		Make:    func(context.Context) (v T, err error) { made++; return },
		Destroy: func(T, error) { destroyed++ },
		MaxSize: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for range 3 {
		if err := p.Do(ctx, func(context.Context, T) error { return nil }); err != nil {
			t.Errorf("%T: %v", *new(T), err)
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
	if made != 1 || destroyed != 1 {
		t.Errorf("%T: made %d, destroyed %d, want 1 and 1", *new(T), made, destroyed)
	}
}

// A make's error drops its value: Destroy does not see it.
func TestI3_FailedMakeIsNotDestroyed(t *testing.T) {
	cause := errors.New("half made")
	p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
		cfg.Make = func(context.Context) (*token, error) { return &token{}, cause }
	})
	if _, err := p.Acquire(context.Background()); !errors.Is(err, cause) {
		t.Errorf("Acquire: %v", err)
	}
	if n := p.destroyed.Load(); n != 0 {
		t.Errorf("%d destroyed, want 0", n)
	}
}

// Without a Destroy there is nothing to free, and everything else holds.
func TestI3_NilDestroy(t *testing.T) {
	noDestroy := func(h *harness) { h.cfg.Destroy = nil }
	script(t, 1, noDestroy, func(h *harness) {
		forget := func() { // the harness is told of no end
			h.mu.Lock()
			defer h.mu.Unlock()
			clear(h.living)
		}
		h.lend().Discard(nil)
		h.wantLoad(resource.Load{})
		forget()
		h.lend().Release()
		h.wantLoad(resource.Load{Idle: 1})
		forget()
		if s := h.p.Stats(); s.Made != 2 || s.Destroyed != 1 {
			t.Errorf("made %d, destroyed %d, want 2 and 1", s.Made, s.Destroyed)
		}
	})
}
