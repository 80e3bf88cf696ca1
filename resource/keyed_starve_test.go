package resource_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// What hangs in its end is no use to its key, which is served as one that has
// the less.
func TestKeyedHungDestroyDoesNotStarveItsKey(t *testing.T) {
	var hang chan struct{}
	keyed(t, 3, 3, func(h *keyedHarness) {
		h.makeTime = ms
		hang = make(chan struct{}) // of the bubble
		h.edit = func(key string, cfg *resource.Config[*keyedItem]) {
			if key == "hung" {
				destroy := cfg.Destroy
				cfg.Destroy = func(it *keyedItem, cause error) { <-hang; destroy(it, cause) }
			}
		}
	}, func(h *keyedHarness) {
		h.acquire("hung").Discard(nil)
		time.Sleep(time.Minute)
		stop := h.busy("hot", 10, 5*ms, 0)
		time.Sleep(time.Second)
		l, err := h.acquireFor("hung", 5*time.Second)
		if err != nil {
			t.Errorf("the key of which one hangs: %v; %v", err, h.k.Stats())
		} else {
			l.Release()
		}
		close(hang)
		stop()
	})
}

// Config must not block; if it does that keeps nobody from closing the rest, for
// longer than it wants to wait.
func TestKeyedCloseDoesNotWaitForConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		k, err := resource.NewKeyed(resource.KeyedConfig[string, int]{MaxTotal: 2, Config: func(key string) (resource.Config[int], error) {
			if key == "slow" {
				<-block
			}
			return resource.Config[int]{MaxSize: 1, Make: func(context.Context) (int, error) { return 7, nil }}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			_, err := k.Acquire(t.Context(), "slow")
			got <- err
		}()
		time.AfterFunc(time.Hour, func() { close(block) })
		synctest.Wait()
		began := time.Now()
		if _, ok := k.Find("slow"); ok {
			t.Error("a pool is found whose Config has not returned")
		}
		for range k.All() {
			t.Error("a pool is listed whose Config has not returned")
		}
		k.Reset(nil)
		if err := k.Drain(t.Context(), "slow"); err != nil {
			t.Errorf("Drain: %v", err)
		}
		if l, err := k.Acquire(t.Context(), "other"); err != nil {
			t.Errorf("another key: %v", err)
		} else {
			l.Release()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var ce *resource.CloseError
		if err := k.Close(ctx); !errors.As(err, &ce) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if d := time.Since(began); d != time.Second {
			t.Errorf("that took %v, want 1s", d)
		}
		if err := k.Close(t.Context()); err != nil {
			t.Errorf("the second Close: %v", err)
		}
		if err := <-got; !errors.Is(err, resource.ErrClosed) {
			t.Errorf("whose Config it was: %v", err)
		}
		if k.Len() != 0 {
			t.Errorf("%d keys", k.Len())
		}
	})
}

// Two keys that each have a place do not take it from each other in turns, each
// to make its resource anew: a busy one waits for what another has idle, and has
// no more of, for as long as it took to make.
func TestKeyedIdleIsNotTakenInTurns(t *testing.T) {
	const takes = 20 * ms
	keyed(t, 4, 4, func(h *keyedHarness) { h.makeTime = takes }, func(h *keyedHarness) {
		stop := h.busy("hot", 20, 5*ms, 0)
		time.Sleep(time.Second)
		var cold []func() int
		for i := range 3 {
			cold = append(cold, h.busy(fmt.Sprint(i), 1, 5*ms, 5*ms))
		}
		time.Sleep(10 * time.Second)
		before := h.k.Stats().Made
		time.Sleep(10 * time.Second)
		if n := h.k.Stats().Made - before; n != 0 {
			t.Errorf("%d were made in 10s, and each key has one", n)
		}
		for i, stop := range cold {
			if n := stop(); n < 1900 {
				t.Errorf("key %d was served %d times in 20s", i, n)
			}
		}
		time.Sleep(2*takes + 5*ms) // one to keep it for, one to make another
		if s := h.k.Stats(); s.Leased != 4 {
			t.Errorf("the rest: %v", s)
		}
		stop()
	})
}

// What is idle is not kept from who has nothing, nor from who has less.
func TestKeyedIdleIsKeptFromNoPoorerKey(t *testing.T) {
	const takes = time.Second
	keyed(t, 3, 3, func(h *keyedHarness) { h.makeTime = takes }, func(h *keyedHarness) {
		a, a2, a3 := h.acquire("a"), h.acquire("a"), h.acquire("a")
		a.Release()
		b := h.begin("b")
		h.wantPreempted(1)
		time.Sleep(takes)
		l := b.wantLease()
		a2.Release()
		b2 := h.begin("b")
		time.Sleep(takes / 2)
		h.wantPreempted(1) // a has as many
		c := h.begin("c")
		a3.Release()
		time.Sleep(takes)
		c.wantLease().Release()
		time.Sleep(3 * takes)
		b2.wantLease().Release()
		l.Release()
	})
}
