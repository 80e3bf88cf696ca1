package resource_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// anyCall is an AcquireAny on a goroutine of its own.
type anyCall struct {
	h      *keyedHarness
	cancel context.CancelFunc
	ended  chan struct{}
	key    string
	lease  resource.Lease[*keyedItem]
	err    error
	after  time.Duration
}

func (h *keyedHarness) goAny(r resource.Request, keys ...string) *anyCall {
	ctx, cancel := context.WithCancel(h.t.Context())
	c := &anyCall{h: h, cancel: cancel, ended: make(chan struct{})}
	began := time.Now()
	go func() {
		defer close(c.ended)
		c.key, c.lease, c.err = h.k.AcquireAny(ctx, keys, r)
		c.after = time.Since(began)
	}()
	return c
}

// waits checks that the call has not returned though nothing else happens.
func (c *anyCall) waits() {
	c.h.t.Helper()
	synctest.Wait()
	select {
	case <-c.ended:
		c.h.t.Fatalf("returned %q, %v after %v; it was to wait", c.key, c.err, c.after)
	default:
	}
}

// got waits for the lease of that key.
func (c *anyCall) got(key string) resource.Lease[*keyedItem] {
	c.h.t.Helper()
	<-c.ended
	if c.err != nil || c.key != key || c.lease.Value().key != key {
		c.h.t.Fatalf("got %q, %v; want one of %q; %v", c.key, c.err, key, c.h.k.Stats())
	}
	return c.lease
}

// failed waits for the error.
func (c *anyCall) failed(want error) *resource.AcquireError {
	c.h.t.Helper()
	<-c.ended
	var err *resource.AcquireError
	if !errors.As(c.err, &err) || !errors.Is(c.err, want) {
		c.h.t.Fatalf("got %q, %v; want the error %v", c.key, c.err, want)
	}
	return err
}

// noneWait checks that no caller is in any line, as the pools and the Keyed see it.
func (h *keyedHarness) noneWait() {
	h.t.Helper()
	synctest.Wait()
	for key, p := range h.k.All() {
		if n := p.Stats().Waiting; n != 0 {
			h.t.Errorf("%d wait at %s", n, key)
		}
	}
	if n := h.k.Stats().Waiting; n != 0 {
		h.t.Errorf("%d wait", n)
	}
}

// An idle resource of the first key that has one is lent at once.
func TestAnyIdle(t *testing.T) {
	keyed(t, 9, 3, nil, func(h *keyedHarness) {
		h.acquire("b").Release()
		h.acquire("c").Release()
		c := h.goAny(resource.Request{}, "a", "b", "c")
		l := c.got("b")
		if c.after != 0 {
			t.Errorf("it took %v", c.after)
		}
		h.goAny(resource.Request{}, "b", "c").got("c").Release()
		l.Release()
		if n := h.begun["a"]; n != 0 {
			t.Errorf("%d creations at a", n)
		}
	})
}

// The caller waits in every line; a release at any key serves it, and no line has it any more.
func TestAnyServedByEachLine(t *testing.T) {
	for _, served := range []string{"a", "b", "c"} {
		t.Run(served, func(t *testing.T) {
			keyed(t, 3, 1, nil, func(h *keyedHarness) {
				held := map[string]resource.Lease[*keyedItem]{}
				for _, key := range []string{"a", "b", "c"} {
					held[key] = h.acquire(key)
				}
				c := h.goAny(resource.Request{}, "a", "b", "c")
				c.waits()
				if s := h.k.Stats(); s.Waiting != 1 || s.Waited != 4 {
					t.Errorf("%d of %d wait in the sum of three lines", s.Waiting, s.Waited)
				}
				time.Sleep(time.Minute)
				held[served].Release()
				l := c.got(served)
				if c.after != time.Minute || l.Waited() != time.Minute {
					t.Errorf("served after %v, %v", c.after, l.Waited())
				}
				h.noneWait()
				s := h.k.Stats()
				if s.Waited != 4 || s.WaitsServed != 4 || s.WaitTime != time.Minute {
					t.Errorf("%d waited, %d served, for %v", s.Waited, s.WaitsServed, s.WaitTime)
				}
				for key := range held {
					if s := h.pool(key).Stats(); s.WaitsServed != 2 || s.WaitsServedTime != time.Minute {
						t.Errorf("key %s: %d waits were served after %v, want 2 after a minute", key, s.WaitsServed, s.WaitsServedTime)
					}
				}
				for _, l := range held {
					l.Release()
				}
				l.Release()
			})
		})
	}
}

// A key whose new resource fails its first check drops out, as an Acquire of it fails.
func TestAnyFirstCheckFails(t *testing.T) {
	keyed(t, 4, 2, func(h *keyedHarness) {
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			cfg.Health = checkOf[*keyedItem](func(_ context.Context, it *keyedItem, _ resource.Info) error {
				if it.key == "a" {
					return errSick
				}
				return nil
			})
		}
	}, func(h *keyedHarness) {
		h.beginAny("a").wantErr(errSick)
		if n := h.begunOf("a"); n != 1 {
			t.Errorf("%d creations began for a, want 1", n)
		}
		l := h.beginAny("a", "b").wantLease()
		if got := l.Value().key; got != "b" {
			t.Errorf("got a resource of key %s, want b", got)
		}
		l.Release()
	})
}

// A dead first endpoint costs attemptDelay; no more than two creations begin.
func TestAnyDeadFirst(t *testing.T) {
	keyed(t, 9, 3, func(h *keyedHarness) { h.makeTime = 50 * time.Millisecond }, func(h *keyedHarness) {
		hang := make(chan struct{})
		h.fails = func(key string) error {
			if key == "a" {
				<-hang
			}
			return nil
		}
		c := h.goAny(resource.Request{}, "a", "b", "c", "d")
		c.got("b").Release()
		if c.after != 300*time.Millisecond {
			t.Errorf("served after %v", c.after)
		}
		if h.begun["a"] != 1 || h.begun["b"] != 1 || h.begun["c"]+h.begun["d"] != 0 {
			t.Errorf("creations: %v", h.begun)
		}
		h.noneWait()
		close(hang)
	})
}

// A canceled caller is in no line any more.
func TestAnyCanceled(t *testing.T) {
	keyed(t, 3, 1, nil, func(h *keyedHarness) {
		a, b, c := h.acquire("a"), h.acquire("b"), h.acquire("c")
		call := h.goAny(resource.Request{}, "a", "b", "c")
		call.waits()
		call.cancel()
		err := call.failed(context.Canceled)
		if err.Reason != resource.ReasonCanceled {
			t.Errorf("%v", err.Reason)
		}
		h.noneWait()
		a.Release()
		b.Release()
		c.Release()
	})
}

// hold acquires one resource of each key.
func (h *keyedHarness) hold(keys ...string) map[string]resource.Lease[*keyedItem] {
	h.t.Helper()
	held := map[string]resource.Lease[*keyedItem]{}
	for _, key := range keys {
		held[key] = h.acquire(key)
	}
	return held
}

// two is a request for any of two keys, which are full in most of these scenes.
var two = []string{"a", "b"}

// I2, I8: of two resources that are given back at the same instant one serves the caller, and
// the other goes to the next waiter or lies idle.
func TestI8_AnyTwoReleases(t *testing.T) {
	for range 200 {
		keyed(t, 2, 1, nil, func(h *keyedHarness) {
			held := h.hold(two...)
			c := h.goAny(resource.Request{}, two...)
			c.waits()
			next := h.begin("b")
			go held["a"].Release()
			go held["b"].Release()
			<-c.ended
			if c.err != nil {
				t.Fatal(c.err)
			}
			synctest.Wait()
			if c.key == "b" {
				next.wantWaiting()
				h.wantLoad(resource.Load{Idle: 1, Leased: 1, Waiting: 1})
				c.lease.Release()
				next.wantLease().Release()
			} else {
				next.wantLease().Release()
				h.wantLoad(resource.Load{Idle: 1, Leased: 1})
				c.lease.Release()
			}
			h.noneWait()
			if n := h.k.Stats().Acquired; n != 4 {
				t.Errorf("I8: %d leases began for 4 callers", n)
			}
		})
	}
}

// I7: if the resource that serves the caller fails its check, a resource that was given back at
// another key meanwhile serves it. Callers that came later do not get it.
func TestI7_AnyFailedCheck(t *testing.T) {
	sick := errors.New("sick")
	keyed(t, 2, 1, func(h *keyedHarness) {
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			cfg.MakeTimeout = 2 * time.Hour
			if key != "a" {
				return
			}
			cfg.Health = checkOf[*keyedItem](func(ctx context.Context, _ *keyedItem, i resource.Info) error {
				if i.Leases == 0 {
					return nil
				}
				time.Sleep(time.Second)
				return sick
			})
		}
	}, func(h *keyedHarness) {
		held := h.hold("a")
		held["b"] = h.acquire("b")
		h.makeTime = time.Hour // no creation matters
		c := h.goAny(resource.Request{}, two...)
		c.waits()
		later := h.begin("b")
		held["a"].Release() // the check of a second begins
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		held["b"].Release()
		l := later.wantLease() // the caller of AcquireAny is being served at a
		last := h.begin("b")
		time.Sleep(time.Minute)
		c.waits() // its check has failed: it is in both lines again
		l.Release()
		c.got("b").Release() // before the last, at the position of its arrival
		last.wantLease().Release()
		h.noneWait()
	})
}

// The same, where b has an idle resource when the check at a fails.
func TestI7_AnyIdleElsewhere(t *testing.T) {
	keyed(t, 2, 1, func(h *keyedHarness) {
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "a" {
				cfg.Health = checkOf[*keyedItem](func(_ context.Context, _ *keyedItem, i resource.Info) error {
					if i.Leases == 0 {
						return nil
					}
					time.Sleep(time.Second) // in the bubble
					return errors.New("sick")
				})
				create, first := cfg.Make, true
				cfg.Make = func(ctx context.Context) (*keyedItem, error) {
					if !first {
						time.Sleep(time.Second) // in the bubble: a new one is not as soon as the idle one
					}
					first = false
					return create(ctx)
				}
			}
		}
	}, func(h *keyedHarness) {
		held := h.hold(two...)
		c := h.goAny(resource.Request{}, two...)
		c.waits()
		held["a"].Release()
		synctest.Wait()
		held["b"].Release()
		h.noneWait() // b has dropped the caller, a serves it
		c.got("b").Release()
		if c.after != time.Second {
			t.Errorf("served after %v", c.after)
		}
	})
}

// The resource that serves the caller is ended by the Eviction: the caller waits on, and gets the
// one that takes its slot.
func TestI7_AnyEvicted(t *testing.T) {
	var left atomic.Int32 // calls until the one that ends the resource
	keyed(t, 2, 1, func(h *keyedHarness) {
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "a" {
				cfg.EvictIf = func(*keyedItem, resource.Info) error {
					if left.Add(-1) == 0 {
						return errOld
					}
					return nil
				}
			}
		}
	}, func(h *keyedHarness) {
		held := h.hold(two...)
		c := h.goAny(resource.Request{}, two...)
		c.waits()
		left.Store(2) // the releaser's is the first, the caller's the second
		held["a"].Release()
		l := c.got("a")
		if l.Info().Leases != 1 || h.begunOf("a") != 2 {
			t.Errorf("%+v; creations: %v", l.Info(), h.begun)
		}
		l.Release()
		held["b"].Release()
		h.noneWait()
	})
}

// The order in each line is that of arrival, whatever the callers wait for.
func TestAnyFair(t *testing.T) {
	keyed(t, 2, 1, nil, func(h *keyedHarness) {
		held := h.hold(two...)
		first := h.begin("b")
		c := h.goAny(resource.Request{}, two...)
		c.waits()
		later := h.begin("b")
		both := h.goAny(resource.Request{}, "b", "a")
		both.waits()
		held["b"].Release()
		l := first.wantLease()
		c.waits()
		l.Release()
		l = c.got("b")
		l.Release()
		l = later.wantLease()
		held["a"].Release()
		both.got("a").Release()
		l.Release()
		h.noneWait()
	})
}

// A caller of AcquireAny is not passed over for ever by callers of one line, nor they by it.
func TestAnyNotStarved(t *testing.T) {
	keyed(t, 2, 1, nil, func(h *keyedHarness) {
		stopA, stopB := h.busy("a", 4, time.Second, 0), h.busy("b", 4, time.Second, 0)
		time.Sleep(10 * time.Second)
		for range 20 {
			c := h.goAny(resource.Request{}, two...)
			<-c.ended
			if c.err != nil || c.after > 5*time.Second {
				t.Errorf("served after %v: %v", c.after, c.err)
			}
			c.lease.Release()
		}
		if a, b := stopA(), stopB(); a < 20 || b < 20 {
			t.Errorf("%d and %d served in the single lines", a, b)
		}
	})
}

// Drain of one key drops that line alone; of all keys it fails the caller.
func TestAnyDrain(t *testing.T) {
	keyed(t, 2, 1, nil, func(h *keyedHarness) {
		held := h.hold(two...)
		c := h.goAny(resource.Request{}, two...)
		c.waits()
		drain := func(key string) {
			go h.k.Drain(h.t.Context(), key)
			synctest.Wait()
		}
		drain("a")
		c.waits()
		if n := h.k.Stats().Waiting; n != 1 {
			t.Errorf("%d wait", n)
		}
		drain("b")
		err := c.failed(resource.ErrDraining)
		if err.Reason != resource.ReasonClosed || !errors.Is(err, resource.ErrClosed) {
			t.Errorf("%v: %v", err.Reason, err)
		}
		if n := h.k.Stats().Failures.Total(); n != 1 {
			t.Errorf("%d acquires failed", n)
		}
		h.goAny(resource.Request{}, two...).failed(resource.ErrDraining)
		held["a"].Release()
		held["b"].Release()
		synctest.Wait()
		h.goAny(resource.Request{}, two...).got("a").Release() // anew
	})
}

// Close fails the callers.
func TestAnyClosed(t *testing.T) {
	keyed(t, 2, 1, nil, func(h *keyedHarness) {
		held := h.hold(two...)
		c := h.goAny(resource.Request{}, "a", "b", "c")
		c.waits()
		go h.k.Close(h.t.Context())
		err := c.failed(resource.ErrClosed)
		if errors.Is(err, resource.ErrDraining) || err.Reason != resource.ReasonClosed {
			t.Errorf("%v: %v", err.Reason, err)
		}
		held["a"].Release()
		held["b"].Release()
		err = h.goAny(resource.Request{}, two...).failed(resource.ErrClosed)
		if err.Wait(h.t.Context()) != resource.ErrClosed {
			t.Error("Wait waits for a closed Keyed")
		}
		if f := h.k.Stats().Failures; f.Closed != 2 || f.Total() != 2 {
			t.Errorf("%+v", f)
		}
	})
}

// The bounds of a wait, and requests that do not wait.
func TestAnyRequests(t *testing.T) {
	keyed(t, 2, 1, nil, func(h *keyedHarness) {
		held := h.hold(two...)
		c := h.goAny(resource.Request{MaxWait: time.Minute}, two...)
		if err := c.failed(resource.ErrMaxWait); err.Reason != resource.ReasonMaxWait || c.after != time.Minute || err.Waited != time.Minute {
			t.Errorf("%v after %v, %v", err.Reason, c.after, err.Waited)
		}
		h.noneWait()
		c = h.goAny(resource.Request{NoWait: true}, two...)
		if err := c.failed(resource.ErrNoneIdle); c.after != 0 || err.Reason != resource.ReasonNoneIdle {
			t.Errorf("%v after %v", err.Reason, c.after)
		}
		held["b"].Release()
		h.goAny(resource.Request{NoWait: true}, two...).got("b").Release()
		used := h.acquire("b")
		used.Release()
		c = h.goAny(resource.Request{Fresh: true}, "b") // the used one makes room
		l := c.got("b")
		if l.Info().Leases != 1 {
			t.Errorf("not fresh: %+v", l.Info())
		}
		l.Release()
		held["a"].Release()
	})
}

// A NoWait request has one creation begun, at the first key that can.
func TestAnyNoWaitBeginsOne(t *testing.T) {
	keyed(t, 9, 1, nil, func(h *keyedHarness) {
		l := h.acquire("a")
		h.goAny(resource.Request{NoWait: true}, "a", "b", "c").failed(resource.ErrNoneIdle)
		synctest.Wait()
		if h.begun["a"] != 1 || h.begun["b"] != 1 || h.begun["c"] != 0 {
			t.Errorf("creations: %v", h.begun)
		}
		l.Release()
	})
}

// MinRemaining in several lines.
func TestAnyMinRemaining(t *testing.T) {
	keyed(t, 2, 1, func(h *keyedHarness) {
		h.edit = func(_ string, cfg *resource.Config[*keyedItem]) { cfg.Eviction = olderThan(time.Hour) }
	}, func(h *keyedHarness) {
		h.acquire("a").Release()
		time.Sleep(50 * time.Minute)
		h.acquire("b").Release()
		h.goAny(resource.Request{MinRemaining: 30 * time.Minute}, two...).got("b").Release()
		h.goAny(resource.Request{MinRemaining: time.Minute}, two...).got("a").Release()
	})
}

// What is wrong with the keys.
func TestAnyBadKeys(t *testing.T) {
	keyed(t, 9, 1, func(h *keyedHarness) {
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "bad" {
				cfg.MaxSize = -1
			}
		}
	}, func(h *keyedHarness) {
		if _, _, err := h.k.AcquireAny(h.t.Context(), nil, resource.Request{}); err != resource.ErrNoKeys {
			t.Errorf("without a key: %v", err)
		}
		h.goAny(resource.Request{}, "bad", "b", "b", "bad").got("b").Release()
		var failed *resource.AcquireError
		_, _, err := h.k.AcquireAny(h.t.Context(), []string{"bad", "bad"}, resource.Request{})
		if !errors.As(err, &failed) || failed.Reason != 0 || strings.Count(err.Error(), "MaxSize") != 1 {
			t.Errorf("%v", err)
		}
		ctx, cancel := context.WithCancel(h.t.Context())
		cancel()
		if _, _, err := h.k.AcquireAny(ctx, two, resource.Request{}); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
		c := h.goAny(resource.Request{}, "b", "b")
		l := c.got("b")
		twice := h.goAny(resource.Request{}, "b", "b", "b")
		twice.waits()
		if n := h.pool("b").Stats().Waiting; n != 1 {
			t.Errorf("it waits %d times in the same line", n)
		}
		l.Release()
		twice.got("b").Release()
	})
	type key struct{ any }
	k, err := resource.NewKeyed(resource.KeyedConfig[key, int]{MaxTotal: 2, Config: func(key) (resource.Config[int], error) {
		return resource.Config[int]{MaxSize: 1, Make: func(context.Context) (int, error) { return 1, nil }}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close(t.Context())
	got, l, err := k.AcquireAny(t.Context(), []key{{[]int{1}}, {"x"}, {[]int{2}}}, resource.Request{})
	if err != nil || got != (key{"x"}) {
		t.Errorf("%v, %v", got, err)
	}
	l.Release()
	if _, _, err := k.AcquireAny(t.Context(), []key{{[]int{1}}}, resource.Request{}); !errors.Is(err, resource.ErrBadKey) {
		t.Errorf("%v", err)
	}
}

var errDownToo = errors.New("the other server is down")

// A creation that fails has the next key tried at once; the acquire fails when all have, with
// every error.
func TestAnyCreationFails(t *testing.T) {
	for _, outage := range []resource.OutageMode{resource.FailFast, resource.KeepWaiting} {
		keyed(t, 9, 1, func(h *keyedHarness) {
			h.makeTime = 10 * time.Millisecond
			h.fails = func(key string) error { return map[string]error{"a": errDown, "b": errDownToo}[key] }
			h.edit = func(_ string, cfg *resource.Config[*keyedItem]) { cfg.Outage = outage }
		}, func(h *keyedHarness) {
			c := h.goAny(resource.Request{}, "a", "b", "c")
			c.got("c").Release()
			if c.after != 30*time.Millisecond || outage == resource.FailFast && (h.begun["a"] != 1 || h.begun["b"] != 1) {
				t.Errorf("after %v, with %v", c.after, h.begun)
			}
			if outage != resource.FailFast {
				return
			}
			err := h.goAny(resource.Request{}, two...).failed(errDown)
			if !errors.Is(err, errDownToo) || err.Reason != resource.ReasonMakeFailed {
				t.Errorf("%v: %v", err.Reason, err)
			}
			if s := h.k.Stats(); s.Failures.MakeFailed != 1 || s.Failures.Total() != 1 || s.WaitsFailed != 1 || s.Waited != 2 {
				t.Errorf("%v", s)
			}
			if text := err.Error(); !strings.HasPrefix(text, "resource: acquire: every key failed: ") {
				t.Errorf("%q", text)
			}
		})
	}
}

// A creation fails though a lease could still serve the caller: the next key is tried.
func TestAnyCreationFailsBesideLease(t *testing.T) {
	down := false
	keyed(t, 9, 2, func(h *keyedHarness) {
		h.makeTime = 10 * time.Millisecond
		h.fails = func(key string) error {
			if down && key == "a" {
				return errDown
			}
			return nil
		}
	}, func(h *keyedHarness) {
		l := h.acquire("a")
		down = true
		c := h.goAny(resource.Request{}, two...)
		c.got("b").Release()
		if c.after > 100*time.Millisecond {
			t.Errorf("served after %v", c.after)
		}
		l.Release()
	})
}

// A full first key has the creation begin at the next at once, and a release at the first can
// still serve.
func TestAnyFullFirst(t *testing.T) {
	keyed(t, 9, 1, func(h *keyedHarness) { h.makeTime = time.Second }, func(h *keyedHarness) {
		l := h.acquire("a")
		c := h.goAny(resource.Request{}, "a", "b", "c")
		time.Sleep(200 * time.Millisecond)
		if h.begunOf("b") != 1 || h.begunOf("c") != 0 {
			t.Errorf("creations: %v", h.begun)
		}
		l.Release()
		c.got("a").Release()
		time.Sleep(time.Second)
		h.wantLoad(resource.Load{Idle: 2}) // what was created for nothing lies idle
	})
}

// A refusal of the MakeGate, or of the Quota, has the next key tried at once.
func TestAnyCreationRefused(t *testing.T) {
	for _, retry := range []time.Duration{0, time.Hour} {
		keyed(t, 9, 1, func(h *keyedHarness) {
			h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
				if key != "c" {
					cfg.MakeGate = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
						return nil, &resource.Rejection{Policy: "test", RetryAfter: retry}
					})
				}
			}
		}, func(h *keyedHarness) {
			c := h.goAny(resource.Request{}, "a", "b", "c")
			c.got("c").Release()
			if c.after != 0 {
				t.Errorf("served after %v", c.after)
			}
			c = h.goAny(resource.Request{MaxWait: time.Second}, two...)
			<-c.ended
			if retry == 0 {
				c.failed(resource.ErrMakeRefused)
			}
			if c.err == nil {
				t.Error("served")
			}
		})
	}
}

// While the total is used up the caller wants one slot, not one for each key, and gets the one that
// becomes free.
func TestAnyTotalUsedUp(t *testing.T) {
	keyed(t, 2, 2, func(h *keyedHarness) { h.makeTime = 10 * time.Millisecond }, func(h *keyedHarness) {
		held := h.hold("x", "y")
		c := h.goAny(resource.Request{}, "a", "b", "c")
		c.waits()
		time.Sleep(time.Minute)
		c.waits()
		h.wantLoad(resource.Load{Leased: 2, Waiting: 1, Wanting: 1})
		held["x"].Discard(nil)
		c.got("a").Release()
		held["y"].Release()
	})
}

// A canceled caller that wanted a slot of the total says so.
func TestAnyStarved(t *testing.T) {
	keyed(t, 1, 1, nil, func(h *keyedHarness) {
		l := h.acquire("x")
		c := h.goAny(resource.Request{MaxWait: time.Second}, two...)
		if err := c.failed(resource.ErrMaxWait); err.Load.Wanting != 1 {
			t.Errorf("%+v", err.Load)
		}
		h.wantLoad(resource.Load{Leased: 1})
		l.Release()
	})
}

// I4: the permits of all lines but one are given back, and that one's when the lease ends.
func TestI4_Any(t *testing.T) {
	gates := map[string]*ledger{"a": {}, "b": {}, "c": {}}
	keyed(t, 9, 1, func(h *keyedHarness) {
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) { cfg.Admission = gates[key] }
	}, func(h *keyedHarness) {
		check := func(leases int) {
			t.Helper()
			synctest.Wait()
			n := 0
			for _, g := range gates {
				n += g.open()
			}
			if n != leases {
				t.Errorf("%d permits are out, want %d", n, leases)
			}
		}
		held := h.hold("a", "b", "c")
		check(3)
		c := h.goAny(resource.Request{}, "a", "b", "c")
		c.waits()
		check(6)
		held["b"].Release()
		l := c.got("b")
		check(3)
		l.Release()
		check(2)
		c = h.goAny(resource.Request{}, "b", "a") // idle
		l = c.got("b")
		check(3)
		c = h.goAny(resource.Request{}, "a", "b", "c")
		c.waits()
		c.cancel()
		c.failed(context.Canceled)
		check(3)
		l.Release()
		held["a"].Release()
		held["c"].Release()
		check(0)
		for _, g := range gates {
			if err := g.check(); err != nil {
				t.Error(err)
			}
		}
	})
}

// An Admission that blocks keeps the caller from its own line only; when the caller is served
// elsewhere its context ends.
func TestAnyAdmissionBlocks(t *testing.T) {
	g := &ledger{before: func(ctx context.Context, r resource.Request) error {
		if r.NoWait {
			return errors.New("not now")
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	keyed(t, 9, 1, func(h *keyedHarness) {
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "a" {
				cfg.Admission = g
			}
		}
	}, func(h *keyedHarness) {
		l := h.acquire("b")
		c := h.goAny(resource.Request{}, two...)
		c.waits()
		l.Release()
		c.got("b").Release()
		c = h.goAny(resource.Request{}, "a") // blocked alone
		c.waits()
		if err := h.k.Drain(h.t.Context(), "a"); err != nil {
			t.Errorf("Drain waits for an Admission: %v", err)
		}
		c.waits() // at the key anew
		c.cancel()
		c.failed(context.Canceled)
		c = h.goAny(resource.Request{MaxWait: time.Second}, "a")
		c.failed(resource.ErrMaxWait)
		if err := g.check(); err != nil {
			t.Error(err)
		}
	})
}

// A key whose Admission refuses, panics or ends its goroutine drops out.
func TestI9_AnyAdmission(t *testing.T) {
	for name, admit := range map[string]func() error{
		"refuses": func() error { return errDown },
		"panics":  func() error { panic("admission") },
		"goexit":  func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			keyed(t, 9, 1, func(h *keyedHarness) {
				h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
					if key == "a" {
						cfg.Admission = admitFunc(func(context.Context, resource.Request) (resource.Done, error) { return nil, admit() })
					}
				}
			}, func(h *keyedHarness) {
				h.goAny(resource.Request{}, two...).got("b").Release()
				c := h.goAny(resource.Request{}, "a")
				if err := c.failed(resource.ErrRejected); err.Reason != resource.ReasonAdmission {
					t.Errorf("%v: %v", err.Reason, err)
				}
			})
		})
	}
}

// I9: a policy that ends the caller's goroutine, or panics, leaves no waiter and no lease.
func TestI9_AnyPolicies(t *testing.T) {
	for name, broken := range map[string]func(){"panic": func() { panic("check") }, "goexit": runtime.Goexit} {
		for _, where := range []string{"Check", "Evict", "Trace.Leased", "Trace.Waited"} {
			t.Run(name+" in "+where, func(t *testing.T) {
				armed := false
				calls := 0
				at := func(here string) {
					if armed && here == where {
						if calls++; where == "Evict" && calls == 1 {
							return // the releaser's
						}
						armed = false
						broken()
					}
				}
				keyed(t, 2, 1, func(h *keyedHarness) {
					h.edit = func(_ string, cfg *resource.Config[*keyedItem]) {
						cfg.Health = checkOf[*keyedItem](func(context.Context, *keyedItem, resource.Info) error { at("Check"); return nil })
						cfg.EvictIf = func(*keyedItem, resource.Info) error { at("Evict"); return nil }
						cfg.Trace = &resource.Trace{
							Leased: func(context.Context, resource.LeaseEvent) { at("Trace.Leased") },
							Waited: func(context.Context, resource.WaitEvent) { at("Trace.Waited") },
						}
						cfg.SampleLeases = 1
					}
				}, func(h *keyedHarness) {
					held := h.hold(two...)
					c := h.goAny(resource.Request{}, two...)
					c.waits()
					armed = true
					held["b"].Release()
					<-c.ended
					h.noneWait()
					if c.key != "" {
						c.lease.Release()
					}
					held["a"].Release()
					h.goAny(resource.Request{}, two...).got("a").Release()
					s := h.k.Stats()
					if s.Leased != 0 || s.Panics != 1 {
						t.Errorf("%v", s)
					}
					if s.Waited != s.WaitsServed+s.WaitsFailed {
						t.Errorf("%d waited, %d served, %d failed", s.Waited, s.WaitsServed, s.WaitsFailed)
					}
				})
			})
		}
	}
}

// A pool with a Queue serves callers of AcquireAny in its order.
func TestAnyQueue(t *testing.T) {
	keyed(t, 2, 1, func(h *keyedHarness) {
		h.edit = func(_ string, cfg *resource.Config[*keyedItem]) { cfg.Queue = new(newestFirst) }
	}, func(h *keyedHarness) {
		held := h.hold(two...)
		first := h.goAny(resource.Request{}, two...)
		first.waits()
		second := h.goAny(resource.Request{}, "b", "a")
		second.waits()
		single := h.begin("b")
		held["b"].Release()
		l := single.wantLease()
		l.Release()
		l = second.got("b")
		first.waits()
		held["a"].Release()
		first.got("a").Release()
		l.Release()
		third := h.goAny(resource.Request{}, two...)
		third.got("a").Release()
		h.noneWait()
	})
}

// newestFirst is a Queue that serves the newest waiter first.
type newestFirst struct{ ws []*resource.Waiter }

func (q *newestFirst) Push(w *resource.Waiter, _ time.Duration) { q.ws = append(q.ws, w) }
func (q *newestFirst) Remove(w *resource.Waiter) {
	if i := slices.Index(q.ws, w); i >= 0 {
		q.ws = slices.Delete(q.ws, i, i+1)
	}
}
func (q *newestFirst) Pop(time.Duration) (*resource.Waiter, error) {
	if len(q.ws) == 0 {
		return nil, nil
	}
	w := q.ws[len(q.ws)-1]
	q.ws = q.ws[:len(q.ws)-1]
	return w, nil
}

// Trace.Waited and Trace.Failed are called once for one acquire, not once for each line.
func TestAnyTracedOnce(t *testing.T) {
	waited, failed := 0, 0
	keyed(t, 2, 1, func(h *keyedHarness) {
		h.edit = func(_ string, cfg *resource.Config[*keyedItem]) {
			cfg.Trace = &resource.Trace{
				Waited: func(context.Context, resource.WaitEvent) { waited++ },
				Failed: func(context.Context, *resource.AcquireError) { failed++ },
			}
		}
	}, func(h *keyedHarness) {
		held := h.hold(two...)
		c := h.goAny(resource.Request{}, two...)
		c.waits()
		before := waited
		held["b"].Release()
		l := c.got("b")
		if waited != before+1 || failed != 0 {
			t.Errorf("Waited was called %d times, Failed %d times", waited-before, failed)
		}
		h.goAny(resource.Request{MaxWait: time.Second}, two...).failed(resource.ErrMaxWait)
		if waited != before+2 || failed != 1 {
			t.Errorf("Waited was called %d times, Failed %d times", waited-before, failed)
		}
		l.Release()
		held["a"].Release()
	})
}

// Inspect of a Keyed lists a caller once.
func TestAnyInspect(t *testing.T) {
	keyed(t, 2, 1, nil, func(h *keyedHarness) {
		held := h.hold(two...)
		one := h.begin("b")
		c := h.goAny(resource.Request{Class: "any"}, two...)
		c.waits()
		time.Sleep(time.Second)
		in := h.k.Inspect(10)
		if len(in.Waiting) != 2 || in.Stats.Waiting != 2 || in.OldestWait != time.Second {
			t.Errorf("%+v, the oldest for %v", in.Waiting, in.OldestWait)
		}
		if in, _ := h.k.InspectKey("b", 10); len(in.Waiting) != 2 || in.Waiting[1].Request.Class != "any" {
			t.Errorf("%+v", in.Waiting)
		}
		held["a"].Release()
		c.got("a").Release()
		held["b"].Release()
		one.wantLease().Release()
	})
}

// A listing of a Keyed names a caller once, in however many lines it waits.
func TestAnyInspect_ThreeLines(t *testing.T) {
	keyed(t, 3, 1, nil, func(h *keyedHarness) {
		held := h.hold("a", "b", "c")
		c := h.goAny(resource.Request{Class: "any"}, "a", "b", "c")
		c.waits()
		for range 2 {
			if in := h.k.Inspect(10); len(in.Waiting) != 1 || in.Stats.Waiting != 1 {
				t.Errorf("%+v", in.Waiting)
			}
		}
		held["c"].Release()
		c.got("c").Release()
		held["a"].Release()
		held["b"].Release()
	})
}

// How long calls of AcquireAny take that do not wait is extrapolated from a sample of them.
func TestAnyAcquireTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const late, n = 7 * time.Millisecond, 1000
		k, err := resource.NewKeyed(resource.KeyedConfig[string, int]{
			MaxTotal: 2,
			Config: func(string) (resource.Config[int], error) {
				return resource.Config[int]{
					MaxSize: 1, Make: func(context.Context) (int, error) { return 1, nil },
					Admission: gate(func() error { time.Sleep(late); return nil }),
				}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			_, l, err := k.AcquireAny(t.Context(), []string{"a", "b"}, resource.Request{})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			l.Release()
		}
		if got, want := k.Stats().AcquireTime, n*late; got < want*9/10 || got > want*11/10 {
			t.Errorf("%d acquires took %v, want about %v", n, got, want)
		}
		if err := k.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// The delay before the next key runs from when a creation may begin at a key, even if none does,
// since one that was begun for another purpose is expected to serve the caller.
func TestAnyOthersCreationHangs(t *testing.T) {
	keyed(t, 9, 1, func(h *keyedHarness) { h.makeTime = 50 * time.Millisecond }, func(h *keyedHarness) {
		hang := make(chan struct{})
		h.fails = func(key string) error {
			if key == "a" {
				<-hang
			}
			return nil
		}
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "a" {
				cfg.MaxSize = 2
			}
		}
		h.perKey = 2
		warmed := make(chan error)
		go func() { warmed <- h.pool("a").Warm(h.t.Context(), 1) }()
		synctest.Wait()
		c := h.goAny(resource.Request{}, two...)
		c.got("b").Release()
		if c.after != 300*time.Millisecond || h.begunOf("a") != 1 {
			t.Errorf("after %v, with %v", c.after, h.begun)
		}
		close(hang)
		if err := <-warmed; err != nil {
			t.Error(err)
		}
	})
}
