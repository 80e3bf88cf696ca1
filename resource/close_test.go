package resource_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// I6: after Close returns nil nothing of the pool runs; before that, its
// error says what still does.

// wantCloseError checks that Close fails after d, and returns its error.
func (h *harness) wantCloseError(d time.Duration) *resource.CloseError {
	h.t.Helper()
	done := h.close(d)
	began := time.Now()
	err := <-done
	var ce *resource.CloseError
	if !errors.As(err, &ce) {
		h.t.Fatalf("Close: %v, want a CloseError", err)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		h.t.Errorf("%v does not match the context's error", err)
	}
	if took := time.Since(began); took != d {
		h.t.Errorf("Close took %v, want %v", took, d)
	}
	return ce
}

// The error counts what is out and names the leases; when they have ended a
// later Close returns nil.
func TestI6_LeasesOut(t *testing.T) {
	script(t, 5, nil, func(h *harness) {
		ls, _ := h.lendN(4)
		ls[0].Release()
		ce := h.wantCloseError(time.Second)
		want := []uint64{ls[1].Info().ID, ls[2].Info().ID, ls[3].Info().ID}
		slices.Sort(ce.Leased)
		if ce.Load.Leased != 3 || !slices.Equal(ce.Leased, want) {
			t.Errorf("CloseError is %+v, want 3 leased, IDs %v", ce, want)
		}
		if !strings.Contains(fmt.Sprintf("%+v", ce), "3 leased") {
			t.Errorf("%+v does not say that 3 are leased", ce)
		}
		ls[1].Release()
		if ce = h.wantCloseError(time.Second); ce.Load.Leased != 2 {
			t.Errorf("the second Close: %v, want 2 leased", ce)
		}
		done := h.close(time.Hour)
		ls[2].Release()
		ls[3].Discard(nil)
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("Close: %v", err)
			}
			done = h.close(time.Hour)
		}
	})
}

// At most 16 leases are named; all are counted.
func TestI6_ManyLeasesOut(t *testing.T) {
	script(t, 40, nil, func(h *harness) {
		h.lendN(40)
		ce := h.wantCloseError(time.Second)
		if ce.Load.Leased != 40 || len(ce.Leased) != 16 {
			t.Errorf("%d counted and %d named, want 40 and 16", ce.Load.Leased, len(ce.Leased))
		}
	})
}

// A CloseError reports everything that hangs: a make, a Destroy, a check.
func TestI6_Hanging(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(h *harness)
		run  func(h *harness)
		out  func(l resource.Load) int
	}{
		"make": {nil, func(h *harness) {
			h.acquire()
			h.wantMake().hang()
		}, func(l resource.Load) int { return l.Making + l.Abandoned }},
		"destroy": {func(h *harness) {
			h.onDestroy = func(*item, error) { <-h.over }
		}, func(h *harness) {
			h.lend().Discard(nil)
		}, func(l resource.Load) int { return l.Destroying }},
		"destroy begun by Close": {func(h *harness) {
			h.onDestroy = func(*item, error) { <-h.over }
		}, func(h *harness) {
			h.stock(1)
		}, func(l resource.Load) int { return l.Destroying }},
		"check in the sweep": {func(h *harness) {
			h.cfg.SweepInterval = time.Second
			h.cfg.Health = checkFunc(func(context.Context, *item, resource.Info) error { <-h.over; return nil })
		}, func(h *harness) {
			c := h.acquire()
			h.wantMake().finish()
			h.settle()
			if o := c.poll(); o != nil && o.err == nil {
				o.lease.Release()
			}
			time.Sleep(3 * time.Second)
		}, func(l resource.Load) int { return l.Idle + l.Leased }},
	} {
		t.Run(name, func(t *testing.T) {
			script(t, 1, test.edit, func(h *harness) {
				test.run(h)
				ce := h.wantCloseError(5 * time.Second)
				if n := test.out(ce.Load); n != 1 {
					t.Errorf("CloseError is %v, which does not count what hangs", ce)
				}
			})
		})
	}
}

// Close fails waiters at once, though a lease is out, and fails later callers too.
func TestI6_CloseWakesWaiters(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		c1, c2 := h.acquire(), h.acquireWith(resource.Request{Priority: 3})
		h.wantWaiting(c1, c2)
		began := time.Now()
		done := h.close(time.Hour)
		for _, c := range []*call{c1, c2} {
			if err := c.wantErr(resource.ErrClosed); err.RetryAfter != 0 {
				t.Errorf("RetryAfter is %v, but a closed pool never lends again", err.RetryAfter)
			}
		}
		h.acquire().wantErr(resource.ErrClosed)
		h.acquireWith(resource.Request{NoWait: true}).wantErr(resource.ErrClosed)
		if _, ok := h.p.TryAcquire(); ok {
			t.Error("TryAcquire lent something after Close")
		}
		if err := h.p.Warm(context.Background(), 1); !errors.Is(err, resource.ErrClosed) {
			t.Errorf("Warm: %v", err)
		}
		err := h.p.Do(context.Background(), func(context.Context, *item) error { return nil })
		if !errors.Is(err, resource.ErrClosed) {
			t.Errorf("Do: %v", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("that took %v", took)
		}
		l.Release()
		if err := <-done; err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// Close cancels makes: one that obeys its context delays Close no longer.
func TestI6_CloseCancelsMakes(t *testing.T) {
	script(t, 2, nil, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		began := time.Now()
		if err := <-h.close(time.Hour); err != nil {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
		if m.ctx.Err() == nil {
			t.Error("the make's context has not ended")
		}
		c.wantErr(resource.ErrClosed)
	})
}

// Every Close gets its own answer: many at once, with and without patience.
func TestI6_ConcurrentCloses(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		short, long1, long2 := h.close(time.Second), h.close(time.Hour), h.close(time.Hour)
		if err := <-short; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the short Close: %v", err)
		}
		l.Release()
		for _, done := range []<-chan error{long1, long2, h.close(time.Second)} {
			if err := <-done; err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
}

// With a context that has ended Close still begins the closing.
func TestI6_CloseWithEndedContext(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		l := h.lend()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := h.p.Close(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Close: %v, want context.Canceled", err)
		}
		h.acquire().wantErr(resource.ErrClosed)
		l.Release()
		h.wantLoad(resource.Load{})
	})
}

// Trap 21: a resource that was being made when Close was called was counted as
// idle for ever.
func TestPuddleTrap21_MakeRacesClose(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		h.acquire()
		m := h.wantMake()
		m.hang()
		done := h.close(time.Hour)
		m.finish()
		if err := <-done; err != nil {
			t.Errorf("Close: %v", err)
		}
		h.wantLoad(resource.Load{})
	})
}

// Trap 22: Close did not wake the waiters, and without a bound waited itself for a
// lease that was never ended.
func TestPuddleTrap22_CloseWakesNoWaiter(t *testing.T) {
	script(t, 1, nil, func(h *harness) {
		h.lend()
		c := h.acquire()
		done := h.close(time.Second)
		c.wantErr(resource.ErrClosed)
		var ce *resource.CloseError
		if err := <-done; !errors.As(err, &ce) || ce.Load.Leased != 1 {
			t.Errorf("Close: %v, want a CloseError with 1 leased", err)
		}
	})
}

// I6: Close waits for a call that runs.
func TestI6_CloseWaitsForFollowSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &follower{at: 1, hook: func(int, int) { time.Sleep(time.Second) }}
		p := newPool(t, resource.Config[int]{
			Make: makeOne, MaxSize: 1, Admission: f,
		})
		began := time.Now()
		go p.Resize(2)
		synctest.Wait()
		closeAll(t, p)
		if took := time.Since(began); took != time.Second {
			t.Errorf("Close returned after %v, want 1s", took)
		}
	})
}

// Close returned nil while a method of the Queue still ran.
func TestI6_CloseWaitsForQueue(t *testing.T) {
	q := &listQueue{}
	edit := func(h *harness) {
		h.cfg.Queue = q
		h.cfg.MakeGate = refusing(&resource.Rejection{Policy: "x", RetryAfter: time.Hour})
	}
	script(t, 1, edit, func(h *harness) {
		running, finish := make(chan struct{}), make(chan struct{})
		q.hook = func(m string) {
			if m == "Remove" {
				close(running)
				<-finish
			}
		}
		h.acquire()
		h.close(time.Minute)
		<-running
		if err := <-h.close(time.Second); err == nil {
			t.Error("Close returned nil while Queue.Remove runs")
		}
		close(finish)
	})
}
