package resource_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// Drain fails waiters, also those that wait only for the total; leased resources
// are destroyed as they are released; then the key is as new.
func TestKeyedDrain(t *testing.T) {
	keyed(t, 3, 2, nil, func(h *keyedHarness) {
		a, a2, b := h.acquire("a"), h.acquire("a"), h.acquire("b")
		waiting, short := h.begin("a"), h.begin("c")
		short.wantWaiting()
		time.Sleep(time.Second)

		drained := make(chan error, 1)
		go func() { drained <- h.k.Drain(h.t.Context(), "a") }()
		waiting.wantErr(resource.ErrClosed)
		if _, err := h.acquireFor("a", time.Second); !errors.Is(err, resource.ErrClosed) {
			t.Errorf("Acquire of a key that is being drained: %v", err)
		}
		if _, ok := h.k.TryAcquire("a"); ok {
			t.Error("TryAcquire of a key that is being drained")
		}
		if err := h.k.Drain(h.t.Context(), "c"); err != nil { // it has nothing
			t.Errorf("Drain of a key that only waits: %v", err)
		}
		short.wantErr(resource.ErrClosed)
		ctx, cancel := context.WithTimeout(h.t.Context(), time.Second)
		defer cancel()
		var ce *resource.CloseError
		if err := h.k.Drain(ctx, "a"); !errors.As(err, &ce) || ce.Load.Leased != 2 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain with two leased: %v", err)
		}
		a.Release()
		a2.Release()
		if err := <-drained; err != nil {
			t.Errorf("Drain: %v", err)
		}
		h.acquire("a").Release() // and the key may be used anew
		h.acquire("c").Release()
		b.Release()
		if err := h.k.Drain(h.t.Context(), "never used"); err != nil {
			t.Errorf("Drain of a key not in use: %v", err)
		}
		if got := h.destroyed(resource.ErrClosed); !slices.Equal(got, []int{1, 2}) && !slices.Equal(got, []int{2, 1}) {
			t.Errorf("%v were destroyed by Drain, want 1 and 2", got)
		}
	})
}

// Closing a key's pool drains the key, which may be used again at once.
func TestKeyedPoolClose(t *testing.T) {
	keyed(t, 2, 2, nil, func(h *keyedHarness) {
		for range 100 {
			h.acquire("a").Release()
			if err := h.pool("a").Close(h.t.Context()); err != nil {
				t.Fatal(err)
			}
			h.acquire("a").Release() // whether it was seen to be gone or not
		}
		if s := h.k.Stats(); s.Keys != 1 || s.Made != 101 {
			t.Errorf("%v", s)
		}
	})
}

// Close fails the waiters of every key, and reports what is leased.
func TestKeyedClose(t *testing.T) {
	keyed(t, 20, 20, func(h *keyedHarness) { h.destroyTime = time.Second }, func(h *keyedHarness) {
		var ls []resource.Lease[*keyedItem]
		for i := range 19 {
			ls = append(ls, h.acquire(fmt.Sprint(i%4)))
		}
		h.acquire("idle").Release()
		synctest.Wait()
		h.makeTime = time.Hour
		waiting := h.begin("1")
		time.Sleep(100 * ms)
		ctx, cancel := context.WithTimeout(h.t.Context(), 100*ms)
		defer cancel()
		began := time.Now()
		err := h.k.Close(ctx)
		if took := time.Since(began); took != 100*ms {
			t.Errorf("Close took %v of its 100 ms", took)
		}
		var ce *resource.CloseError
		if !errors.As(err, &ce) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Close: %v", err)
		}
		if l := ce.Load; l.Max != 20 || l.Leased != 19 || l.Destroying != 1 || l.Waiting != 0 || len(ce.Leased) != 16 {
			t.Errorf("Close: %v", ce)
		}
		slices.Sort(ce.Leased)
		if len(slices.Compact(ce.Leased)) != 16 {
			t.Errorf("the same ID twice: %v", ce.Leased)
		}
		waiting.wantErr(resource.ErrClosed)
		for _, key := range []string{"1", "new"} {
			if _, err := h.acquireFor(key, time.Second); !errors.Is(err, resource.ErrClosed) {
				t.Errorf("Acquire after Close: %v", err)
			}
			if _, ok := h.k.TryAcquire(key); ok {
				t.Error("TryAcquire after Close")
			}
		}
		if _, err := h.k.Pool("newer"); !errors.Is(err, resource.ErrClosed) {
			t.Errorf("Pool after Close: %v", err)
		}
		for _, l := range ls {
			l.Release()
		}
		if err := h.k.Close(h.t.Context()); err != nil {
			t.Errorf("Close again: %v", err)
		}
		ended, cancelEnded := context.WithCancel(h.t.Context())
		cancelEnded()
		if err := h.k.Close(ended); err != nil {
			t.Errorf("Close of what is closed, with a context that has ended: %v", err)
		}
		if n := h.k.Len(); n != 0 {
			t.Errorf("%d keys are left", n)
		}
		h.makeTime = 0
	})
}

// Close cancels makes, and waits for those that ignore it.
func TestKeyedCloseDuringMakes(t *testing.T) {
	keyed(t, 4, 4, func(h *keyedHarness) { h.makeTime = 3 * time.Second }, func(h *keyedHarness) {
		calls := []*keyedCall{h.begin("a"), h.begin("b"), h.begin("b")}
		began := time.Now()
		if err := h.k.Close(h.t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("Close took %v", took)
		}
		for _, c := range calls {
			c.wantErr(resource.ErrClosed)
		}
	})
}

// A key is forgotten once it was empty and unused for ForgetAfter, not before, and
// a caller that comes just then is served all the same.
func TestKeyedForgetsInTime(t *testing.T) {
	keyed(t, 5, 1, func(h *keyedHarness) {
		h.forgetAfter = time.Minute
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			cfg.Broken = nil
			if key == "down" {
				cfg.Make = func(context.Context) (*keyedItem, error) { return nil, errors.New("down") }
			}
		}
	}, func(h *keyedHarness) {
		h.acquire("gone").Discard(nil)
		l := h.acquire("leased")
		h.acquire("idle").Release()
		for range 8 {
			_, _ = h.acquireFor("down", time.Second)
			time.Sleep(time.Second)
		}
		time.Sleep(50 * time.Second)
		if _, ok := h.k.Find("gone"); !ok {
			t.Error("forgotten before its time")
		}
		time.Sleep(2 * time.Minute)
		if n := h.k.Len(); n != 2 {
			t.Errorf("%d keys, want 2: the one with a lease and the one with an idle resource", n)
		}
		s := h.k.Stats()
		if s.Made != 3 || s.Acquired != 3 || s.Destroyed != 1 || s.Failed == 0 {
			t.Errorf("what forgotten keys did is missing: %v", s)
		}
		l.Release()
	})
}

// The timer that has keys forgotten runs only while there is a key.
func TestKeyedTidiesWhileThereAreKeys(t *testing.T) {
	keyed(t, 1, 1, func(h *keyedHarness) { h.forgetAfter = time.Minute }, func(h *keyedHarness) {
		for range 2 {
			if h.k.Tidies() {
				t.Error("the timer runs without a key")
			}
			h.acquire("a").Discard(nil)
			if !h.k.Tidies() {
				t.Error("the timer does not run")
			}
			time.Sleep(10 * time.Minute) // in the bubble of keyed
			if n := h.k.Len(); n != 0 {
				t.Fatalf("%d keys after ten minutes, want 0", n)
			}
		}
	})
}

// I6: after Close has returned nil the clock that times the ends of resources does not tick,
// though one ended just before.
func TestI6_KeyedCloseStopsTheClock(t *testing.T) {
	keyed(t, 2, 2, nil, func(h *keyedHarness) {
		reads := h.k.CountClock()
		h.acquire("a").Discard(nil)
		synctest.Wait()
		before := reads.Load()
		time.Sleep(time.Second)
		if reads.Load() == before {
			t.Fatal("the clock does not tick after the end of a resource")
		}
		h.acquire("a").Discard(nil)
		synctest.Wait()
		if err := h.k.Close(h.t.Context()); err != nil {
			t.Fatal(err)
		}
		before = reads.Load()
		time.Sleep(10 * time.Second)
		if n := reads.Load() - before; n != 0 {
			t.Errorf("I6: the clock was read %d times after Close", n)
		}
	})
}

// A key whose leases end in its local slots, without its lock, gives way as soon as its next
// lease ends.
func TestKeyedBusyKeyGivesWayAtOnce(t *testing.T) {
	keyed(t, 1, 1, nil, func(h *keyedHarness) {
		h.acquire("a").Release()
		time.Sleep(50 * time.Millisecond) // in the bubble of keyed: a tick passes
		for range 3 {
			h.acquire("a").Release()
		}
		l := h.acquire("a")
		c := h.begin("b")
		c.wantWaiting()
		l.Release()
		c.wantLease().Release()
		if c.after != 0 {
			t.Errorf("I7: the other key waited for %v after the release", c.after)
		}
	})
}

// A key whose makes fail, or are refused, is remembered for as long as that says
// when to try again.
func TestKeyedOutageIsNotForgotten(t *testing.T) {
	down := errors.New("down")
	keyed(t, 5, 1, func(h *keyedHarness) {
		h.forgetAfter = 10 * ms
		h.fails = func(string) error { return down }
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "refused" {
				cfg.Quota = refusing(&resource.Rejection{RetryAfter: time.Minute})
			}
		}
	}, func(h *keyedHarness) {
		_, _ = h.acquireFor("refused", ms)
		var ae *resource.AcquireError
		for range 100 {
			if _, err := h.acquireFor("down", time.Second); !errors.As(err, &ae) {
				t.Fatal(err)
			}
			if ae.RetryAfter > 3*time.Second {
				break
			}
			time.Sleep(ae.RetryAfter)
		}
		time.Sleep(2 * time.Second)
		if n := h.k.Len(); n != 2 {
			t.Errorf("%d keys, want both", n)
		}
		before := h.begunOf("down")
		_, err := h.acquireFor("down", time.Second)
		if wantAcquireError(t, err, resource.ErrOutage); h.begunOf("down") != before {
			t.Error("what was forgotten was tried before its time")
		}
		time.Sleep(time.Hour)
		if n := h.k.Len(); n != 0 {
			t.Errorf("%d keys an hour later", n)
		}
	})
}

// Callers come while their key is being forgotten, again and again.
func TestKeyedForgetRace(t *testing.T) {
	keyed(t, 3, 1, func(h *keyedHarness) { h.forgetAfter = time.Millisecond }, func(h *keyedHarness) {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				for n := range 300 {
					time.Sleep(time.Duration(i*37%20+n%40) * ms / 10 * 11)
					l, err := h.acquireFor(fmt.Sprint(i%5), time.Minute)
					if err != nil {
						t.Errorf("a caller met a key being forgotten: %v", err)
						return
					}
					l.Discard(nil)
				}
			})
		}
		wg.Wait()
		if s := h.k.Stats(); s.Acquired < 20*300 {
			t.Errorf("%v", s)
		}
	})
}

// Reset of all, and of one key.
func TestKeyedReset(t *testing.T) {
	cause := errors.New("new password")
	keyed(t, 5, 2, nil, func(h *keyedHarness) {
		a, b := h.acquire("a"), h.acquire("b")
		h.acquire("c").Release()
		h.k.Reset(cause)
		if got := h.destroyed(cause); !slices.Equal(got, []int{3}) {
			t.Errorf("%v were destroyed, want the idle one", got)
		}
		a.Release()
		if got := h.destroyed(cause); !slices.Equal(got, []int{3, 1}) {
			t.Errorf("%v were destroyed, want 3 and 1", got)
		}
		h.acquire("a").Release()
		h.acquire("c").Release()
		h.pool("a").Reset(nil)
		if got := h.destroyed(resource.ErrReset); !slices.Equal(got, []int{4}) {
			t.Errorf("%v were destroyed, want a's", got)
		}
		b.Release()
		h.wantLoad(resource.Load{Idle: 1})
	})
}

// TryAcquire, Do, Find and All.
func TestKeyedOtherWays(t *testing.T) {
	keyed(t, 5, 2, nil, func(h *keyedHarness) {
		if _, ok := h.k.TryAcquire("a"); ok || h.k.Len() != 0 {
			t.Errorf("TryAcquire of a key not in use: %t, and %d keys", ok, h.k.Len())
		}
		if n := h.k.Stats().Failures.NoneIdle; n != 1 {
			t.Errorf("%d acquires found nothing idle, want 1", n)
		}
		if _, ok := h.k.Find("a"); ok || h.k.Len() != 0 {
			t.Errorf("Find of a key not in use: %t, and %d keys", ok, h.k.Len())
		}
		wrong := errors.New("wrong")
		for _, want := range []error{nil, wrong} {
			err := h.k.Do(h.t.Context(), "a", func(_ context.Context, it *keyedItem) error {
				if it.key != "a" {
					t.Errorf("got one of key %s", it.key)
				}
				return want
			})
			if err != want {
				t.Errorf("Do: %v", err)
			}
			if l, ok := h.k.TryAcquire("a"); ok != (want == nil) {
				t.Errorf("after %v one is idle: %t", want, ok)
			} else {
				l.Release()
			}
		}
		ended, cancel := context.WithCancel(h.t.Context())
		cancel()
		if err := h.k.Do(ended, "b", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Do with a context that has ended: %v", err)
		}
		synctest.Wait() // the last TryAcquire has had one created
		got := map[string]int{}
		for key, p := range h.k.All() {
			got[key] = p.Stats().Idle
		}
		if len(got) != 2 || h.k.Len() != 2 || got["a"] != 1 || got["b"] != 0 {
			t.Errorf("All yields %v", got)
		}
		for range h.k.All() {
			break // is allowed
		}
		if _, err := h.k.AcquireWith(h.t.Context(), "b", resource.Request{NoWait: true}); !errors.Is(err, resource.ErrNoneIdle) {
			t.Errorf("AcquireWith NoWait: %v", err)
		}
		// Counted in the pool of the key as well, where the earlier one of key a is not.
		if own, all := h.pool("b").Stats().Failures.NoneIdle, h.k.Stats().Failures.NoneIdle; own != 1 || all != 3 {
			t.Errorf("%d acquires of b and %d of all found nothing idle, want 1 and 3", own, all)
		}
	})
}

// Outages are counted by key, and what is out reconciles at every rest.
func TestKeyedStats(t *testing.T) {
	down := errors.New("down")
	keyed(t, 6, 2, func(h *keyedHarness) {
		h.forgetAfter = time.Hour
		h.fails = func(key string) error {
			if key == "x" || key == "y" {
				return down
			}
			return nil
		}
	}, func(h *keyedHarness) {
		for range 5 {
			for _, key := range []string{"x", "y", "a"} {
				if l, err := h.acquireFor(key, time.Second); err == nil {
					l.Release()
				} else if !errors.Is(err, down) {
					t.Errorf("key %s: %v", key, err)
				}
			}
		}
		s := h.k.Stats()
		if s.Keys != 3 || s.Outages != 2 || !s.Outage || !errors.Is(s.LastMake, down) || s.Max != 6 || s.Failed < 6 {
			t.Errorf("%v", s)
		}
		if err := unbalanced(s.Stats); err != nil {
			t.Error(err)
		}
		const want = "3 keys, 2 in outage; max 6: 1 idle"
		if got := s.String(); len(got) < len(want) || got[:len(want)] != want {
			t.Errorf("String: %q", got)
		}
	})
}
