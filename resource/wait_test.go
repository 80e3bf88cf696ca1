package resource_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// failing is a pool whose makes fail while down is true, each after a millisecond.
type failing struct {
	*resource.Pool[int]
	down  atomic.Bool
	makes atomic.Int64
}

func newFailing(t *testing.T, change func(*resource.Config[int])) *failing {
	f := &failing{}
	f.down.Store(true)
	cfg := resource.Config[int]{MaxSize: 4, Make: func(context.Context) (int, error) {
		f.makes.Add(1)
		time.Sleep(time.Millisecond) // what a creation takes
		if f.down.Load() {
			return 0, errDown
		}
		return 1, nil
	}}
	if change != nil {
		change(&cfg)
	}
	var err error
	if f.Pool, err = resource.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close(context.Background()) })
	return f
}

// refusedNow checks that an acquire fails, and returns the error.
func (f *failing) refusedNow(t *testing.T) *resource.AcquireError {
	t.Helper()
	l, err := f.Acquire(t.Context())
	var ae *resource.AcquireError
	if !errors.As(err, &ae) {
		t.Fatalf("%v, %v", l, err)
	}
	return ae
}

// outage fails until there is one, and returns the refusal.
func (f *failing) outage(t *testing.T) *resource.AcquireError {
	t.Helper()
	for range 4 {
		if ae := f.refusedNow(t); errors.Is(ae, resource.ErrOutage) {
			return ae
		}
	}
	t.Fatal("no outage")
	panic("unreachable")
}

// A loop of Acquire and Wait fails no more often than the pool tries, however many
// callers run it, and has a lease as soon as a try succeeds.
func TestWait_Loop(t *testing.T) {
	const lasts = 3 * time.Second
	for _, callers := range []int{1, 1000} {
		synctest.Test(t, func(t *testing.T) {
			f := newFailing(t, nil)
			time.AfterFunc(lasts, func() { f.down.Store(false) })
			began := time.Now()
			var failures atomic.Int64
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					for {
						l, err := f.Acquire(t.Context())
						if err == nil {
							l.Release()
							return
						}
						failures.Add(1)
						var ae *resource.AcquireError
						if !errors.As(err, &ae) {
							t.Error(err)
							return
						}
						if err := ae.Wait(t.Context()); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			took, each := time.Since(began), int(failures.Load())/callers
			if took > lasts+lasts/4 || each > 20 || f.makes.Load() > 30 {
				t.Errorf("%d callers: all served after %v, %d failures each, %d makes", callers, took, each, f.makes.Load())
			}
		})
	}
}

// In an outage Wait returns when the next make has ended, to the nanosecond, and
// the pool tries it even if no caller comes.
func TestWait_UntilTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFailing(t, nil)
		ae := f.outage(t)
		began, makes := time.Now(), f.makes.Load()
		if err := ae.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != ae.RetryAfter+time.Millisecond || f.makes.Load() != makes+1 {
			t.Errorf("after %v, want %v and the make; %d makes", took, ae.RetryAfter, f.makes.Load()-makes)
		}
		began = time.Now()
		if err := ae.Wait(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("again: %v after %v", err, time.Since(began))
		}
	})
}

// A gate that refuses the make that was due, and the end of the pool, end the wait
// too.
func TestWait_OtherEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		no := &resource.Rejection{Policy: "gate", RetryAfter: time.Hour}
		var closed atomic.Bool
		f := newFailing(t, func(c *resource.Config[int]) {
			c.MakeGate = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
				if closed.Load() {
					return nil, no
				}
				return nil, nil
			})
		})
		ae := f.outage(t)
		closed.Store(true)
		began := time.Now()
		if err := ae.Wait(t.Context()); err != nil || time.Since(began) > time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		short, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		_, err := f.Acquire(short) // nothing is tried before its deadline
		if !errors.As(err, &ae) || !errors.Is(err, resource.ErrRejected) || ae.RetryAfter < 50*time.Minute {
			t.Fatalf("behind the gate: %v", err)
		}
		began = time.Now()
		if err := ae.Wait(t.Context()); err != nil || time.Since(began) != ae.RetryAfter {
			t.Errorf("behind the gate: %v after %v", err, time.Since(began))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFailing(t, nil)
		ae := f.outage(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		for range 2 {
			if err := ae.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("ctx: %v", err)
			}
		}
		done := make(chan error)
		go func() { done <- ae.Wait(t.Context()) }()
		synctest.Wait()
		f.Close(t.Context())
		if err := <-done; err != nil {
			t.Errorf("Close: %v", err)
		}
		ae = f.refusedNow(t)
		if err := ae.Wait(t.Context()); !errors.Is(err, resource.ErrClosed) {
			t.Errorf("a closed pool: %v", err)
		}
	})
}

// Where no try is promised Wait goes by RetryAfter, counted from the failure, and
// else by 100 ms: a loop never spins.
func TestWait_ByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			retry time.Duration
			want  time.Duration
		}{{0, 100 * time.Millisecond}, {time.Minute, 59 * time.Second}} {
			f := newFailing(t, func(c *resource.Config[int]) {
				c.Admission = refusing(&resource.Rejection{Policy: "p", RetryAfter: tc.retry})
			})
			ae := f.refusedNow(t)
			if tc.retry > 0 {
				time.Sleep(time.Second)
			}
			began := time.Now()
			if err := ae.Wait(t.Context()); err != nil || time.Since(began) != tc.want {
				t.Errorf("%v after %v, want %v", err, time.Since(began), tc.want)
			}
		}
		e := &resource.AcquireError{Err: errDown, RetryAfter: time.Second} // of another pool
		began := time.Now()
		if err := e.Wait(t.Context()); err != nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

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
	k := newKeyed(t, resource.KeyedConfig[string, int]{
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
	return k
}

// A caller that waits for the next try of its key is woken although another key has
// the whole total when the try is due, and although another caller came for the key
// and left meanwhile (I7).
func TestWait_KeyedTotalTaken(t *testing.T) {
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
				closeAll(t, k)
			})
		})
	}
}

// A caller that waits for the next try of a key which is forgotten meanwhile asks
// again.
func TestWait_KeyForgotten(t *testing.T) {
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
		closeAll(t, k)
	})
}

// In a full pool there is no try to wait for: Wait goes by RetryAfter, after which
// the caller makes room for itself.
func TestWait_FreshInFullPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFailing(t, nil)
		f.down.Store(false)
		l := lendOne(t, f)
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
func TestWait_ForeignErrClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := fmt.Errorf("the pool below: %w", resource.ErrClosed)
		p := newPool(t, resource.Config[int]{MaxSize: 1, Make: func(context.Context) (int, error) { return 0, below }})
		_, err := p.Acquire(t.Context())
		var failed *resource.AcquireError
		if !errors.As(err, &failed) || failed.Reason != resource.ReasonMakeFailed {
			t.Fatal(err)
		}
		wantWait(t, failed)
		closeAll(t, p)
	})
}
