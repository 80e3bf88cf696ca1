package resource_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// outageOf acquires until that fails for an outage.
func outageOf(t *testing.T, acquire func() error) *resource.AcquireError {
	t.Helper()
	for range 6 {
		var failed *resource.AcquireError
		if err := acquire(); errors.As(err, &failed) && failed.Reason == resource.ReasonOutage {
			return failed
		}
	}
	t.Fatal("no outage")
	return nil
}

// wantWait checks that Wait of failed comes to an end by itself.
func wantWait(t *testing.T, failed *resource.AcquireError) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if err := failed.Wait(ctx); err != nil {
		t.Errorf("Wait: %v", err)
	}
}

// keyedDown is a Keyed of a total of one. Key a cannot make anything while down.
func keyedDown(t *testing.T, forget time.Duration, down *atomic.Bool) *resource.Keyed[string, int] {
	t.Helper()
	k, err := resource.NewKeyed(resource.KeyedConfig[string, int]{
		MaxTotal: 1, ForgetAfter: forget,
		Config: func(key string) (resource.Config[int], error) {
			return resource.Config[int]{MaxSize: 1, Make: func(context.Context) (int, error) {
				if key == "a" && down.Load() {
					return 0, errDown
				}
				return 1, nil
			}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A caller that waits for the next try of its key is woken although another key has
// the whole total when the try is due, and although another caller came for the key
// and left meanwhile (I7).
func TestAgain_KeyedTotalTaken(t *testing.T) {
	for _, other := range []bool{false, true} {
		t.Run(fmt.Sprint("another caller: ", other), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var down atomic.Bool
				down.Store(true)
				k := keyedDown(t, time.Hour, &down)
				failed := outageOf(t, func() error { _, err := k.Acquire(t.Context(), "a"); return err })
				b, err := k.Acquire(t.Context(), "b")
				if err != nil {
					t.Fatal(err)
				}
				down.Store(false)
				time.Sleep(time.Second)
				if other {
					short, stop := context.WithTimeout(t.Context(), time.Second)
					_, err = k.Acquire(short, "a")
					stop()
					if err == nil {
						t.Fatal("lent though the total is taken")
					}
				}
				time.AfterFunc(time.Second, func() { b.Discard(nil) })
				wantWait(t, failed)
				if err := k.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A caller that waits for the next try of a key which is forgotten meanwhile asks
// again.
func TestAgain_KeyForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		k := keyedDown(t, time.Second, &down)
		failed := outageOf(t, func() error { _, err := k.Acquire(t.Context(), "a"); return err })
		b, err := k.Acquire(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Minute, func() { b.Discard(nil) })
		wantWait(t, failed)
		synctest.Wait()
		time.Sleep(2 * time.Minute)
		if err := k.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// In a full pool there is no try to wait for: Wait goes by RetryAfter, after which
// the caller makes room for itself.
func TestAgain_FreshInFullPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFailing(t, nil)
		f.down.Store(false)
		l, err := f.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f.down.Store(true)
		fresh := func() error {
			_, err := f.AcquireWith(t.Context(), resource.Request{Fresh: true})
			return err
		}
		outageOf(t, fresh)
		if err := f.Resize(1); err != nil {
			t.Fatal(err)
		}
		l.Release()
		f.down.Store(false)
		var failed *resource.AcquireError
		if err := fresh(); !errors.As(err, &failed) {
			t.Fatal(err)
		}
		wantWait(t, failed)
	})
}

// A Make whose error wraps the ErrClosed of another pool has not closed this one.
func TestAgain_ForeignErrClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := fmt.Errorf("the pool below: %w", resource.ErrClosed)
		p, err := resource.New(resource.Config[int]{MaxSize: 1, Make: func(context.Context) (int, error) { return 0, below }})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Acquire(t.Context())
		var failed *resource.AcquireError
		if !errors.As(err, &failed) || failed.Reason != resource.ReasonMakeFailed {
			t.Fatal(err)
		}
		wantWait(t, failed)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
