package resource_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// In an outage RetryNow has a creation tried at once, and if that fails the next
// delay is as short as at the beginning of an outage.
func TestRetryNow_Outage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFailing(t, nil)
		ae := f.outage(t)
		for began := time.Now(); time.Since(began) < time.Minute; ae = f.refusedNow(t) {
			if err := ae.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if ae.RetryAfter < time.Second {
			t.Fatalf("the delay is %v after a minute", ae.RetryAfter)
		}
		makes := f.makes.Load()
		f.RetryNow()
		began := time.Now()
		if err := ae.Wait(t.Context()); err != nil || time.Since(began) != time.Millisecond || f.makes.Load() != makes+1 {
			t.Errorf("Wait: %v after %v, %d creations", err, time.Since(began), f.makes.Load()-makes)
		}
		if ae = f.refusedNow(t); ae.RetryAfter > 100*time.Millisecond {
			t.Errorf("the delay is %v after RetryNow", ae.RetryAfter)
		}
		f.down.Store(false)
		f.RetryNow()
		began = time.Now()
		if err := ae.Wait(t.Context()); err != nil { // for the creation that RetryNow began
			t.Error(err)
		}
		if l, err := f.Acquire(t.Context()); err != nil || time.Since(began) > time.Millisecond {
			t.Errorf("Acquire: %v after %v", err, time.Since(began))
		} else {
			l.Release()
		}
		f.RetryNow() // nothing is wrong
		if l, err := f.Acquire(t.Context()); err != nil {
			t.Error(err)
		} else {
			l.Release()
		}
		if err := f.Close(t.Context()); err != nil {
			t.Error(err)
		}
		f.RetryNow() // does nothing
	})
}

// RetryNow has a gate that refused asked anew, and wakes a Wait that waits for the RetryAfter
// of its refusal.
func TestRetryNow_Refused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Bool
		asked := 0
		f := newFailing(t, func(cfg *resource.Config[int]) {
			cfg.MakeGate = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
				asked++
				if open.Load() {
					return nil, nil
				}
				return nil, &resource.Rejection{RetryAfter: time.Hour}
			})
		})
		f.down.Store(false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := f.Acquire(ctx)
		var refused *resource.AcquireError
		if !errors.As(err, &refused) || refused.Reason != resource.ReasonMakeGate {
			t.Fatal(err)
		}
		f.RetryNow()
		synctest.Wait()
		if asked != 1 {
			t.Errorf("the gate was asked %d times, and nothing waits", asked)
		}
		_, err = f.Acquire(ctx)
		if !errors.As(err, &refused) || asked != 2 {
			t.Errorf("%v; the gate was asked %d times", err, asked)
		}
		began := time.Now()
		time.AfterFunc(time.Second, func() { open.Store(true); f.RetryNow() })
		if err := refused.Wait(t.Context()); err != nil || time.Since(began) != time.Second {
			t.Errorf("Wait: %v after %v", err, time.Since(began))
		}
		if l, err := f.Acquire(t.Context()); err != nil {
			t.Error(err)
		} else {
			l.Release()
		}
	})
}
