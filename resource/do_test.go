package resource_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/respool/respool/resource"
)

// Do lends, and ends the lease by what became of the function.

func TestDo_Endings(t *testing.T) {
	boom, fine := errors.New("boom"), errors.New("fine")
	edit := func(h *harness) { h.cfg.Broken = func(err error) bool { return !errors.Is(err, fine) } }
	script(t, 1, edit, func(h *harness) {
		it := h.stock(1)[0]
		for _, want := range []error{nil, fine, nil} {
			err := h.p.Do(context.Background(), func(ctx context.Context, got *item) error {
				if got != it {
					t.Errorf("item %d, want %d", got.n, it.n)
				}
				return want
			})
			if err != want {
				t.Errorf("Do returned %v, want %v", err, want)
			}
			h.wantAlive(it)
		}
		err := h.p.Do(context.Background(), func(context.Context, *item) error { return boom })
		if err != boom {
			t.Errorf("Do returned %v, want %v", err, boom)
		}
		h.wantDestroyed(it, boom)
	})
}

// Do's function gets the caller's context; and Do the acquire's failure.
func TestDo_Context(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		h.stock(1)
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), classKey{}, "mine"))
		err := h.p.Do(ctx, func(ctx context.Context, _ *item) error {
			if ctx.Value(classKey{}) != "mine" {
				t.Error("the function did not get the caller's context")
			}
			cancel()
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Do returned %v", err)
		}
		ran := false
		err = h.p.Do(ctx, func(context.Context, *item) error { ran = true; return nil })
		wantAcquireError(t, err, context.Canceled)
		if ran {
			t.Error("the function ran without a resource")
		}
	})
}

// A panic in Do's function goes on to the caller, with its own value; the
// resource is destroyed, its place free.
func TestI9_DoPanics(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		it := h.stock(1)[0]
		v := caught(func() {
			h.p.Do(context.Background(), func(context.Context, *item) error { panic("boom") })
		})
		if v != "boom" {
			t.Errorf("caught %v, want boom", v)
		}
		h.wantGone(it)
		h.wantLoad(resource.Load{})
		h.lend().Release()
	})
}

// So does Goexit, as t.FailNow in a test would call it.
func TestI9_DoGoexits(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		it := h.stock(1)[0]
		returned := false
		mayEnd(func() {
			h.p.Do(context.Background(), func(context.Context, *item) error { runtime.Goexit(); return nil })
			returned = true
		})
		if returned {
			t.Error("Do returned")
		}
		h.wantGone(it)
		h.wantLoad(resource.Load{})
		h.lend().Release()
	})
}

// What the function has done with the lease's place in the meantime does not
// matter: Do within Do needs a second resource.
func TestDo_Nested(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		h.stock(2)
		err := h.p.Do(context.Background(), func(ctx context.Context, outer *item) error {
			return h.p.Do(ctx, func(ctx context.Context, inner *item) error {
				if inner == outer {
					t.Error("one item for both")
				}
				return nil
			})
		})
		if err != nil {
			t.Error(err)
		}
		h.wantLoad(resource.Load{Idle: 2})
	})
}

// A panic in Broken destroys the resource: nobody knows whether it is good.
func TestI9_BrokenPanics(t *testing.T) {
	edit := func(h *harness) { h.cfg.Broken = func(error) bool { panic("boom") } }
	script(t, 1, edit, func(h *harness) {
		it := h.stock(1)[0]
		h.lend().Fail(errors.New("failed"))
		h.wantGone(it)
		h.wantLoad(resource.Load{})
		if n := h.p.Stats().Panics; n != 1 {
			t.Errorf("%d panics, want 1", n)
		}
	})
}

// A panic in Evict keeps the resource; one in Check ends it.
func TestI9_EvictAndCheckPanic(t *testing.T) {
	evict := func(h *harness) { h.cfg.Eviction = evictFunc(func(resource.Info) error { panic("boom") }) }
	script(t, 1, evict, func(h *harness) {
		it := h.stock(1)[0]
		h.acquire().wantItem(it).Release()
		h.wantAlive(it)
	})
	boom := errors.New("boom")
	sick := false
	check := func(h *harness) {
		h.cfg.Health = checkFunc(func(context.Context, *item, resource.Info) error {
			if sick {
				sick = false
				panic(boom)
			}
			return nil
		})
	}
	script(t, 1, check, func(h *harness) {
		it := h.stock(1)[0]
		sick = true
		c := h.acquire()
		h.wantDestroyed(it, boom)
		h.wantMake().finish()
		c.wantLease()
	})
}
