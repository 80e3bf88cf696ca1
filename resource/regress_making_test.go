package resource_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// How many are made and when: extreme times, gates that refuse, and maxima
// that change. All of these but those that shrink the pool once failed.

// The longest MakeTimeout there is overflowed, and every make was abandoned at
// once.
func TestMakeTimeout_Longest(t *testing.T) {
	edit := func(h *harness) { h.cfg.MakeTimeout = math.MaxInt64 }
	script(t, 1, edit, func(h *harness) {
		c := h.acquire()
		m := h.wantMake()
		time.Sleep(time.Second)
		h.wantWaiting(c)
		c.wantItem(m.finish())
		if s := h.p.Stats(); s.Abandoned != 0 || s.Failed != 0 {
			t.Errorf("%d abandoned, %d failed", s.Abandoned, s.Failed)
		}
	})
}

// The longest RetryAfter overflowed, and the gate was asked in a loop without
// a pause.
func TestMakeGate_LongestRetryAfter(t *testing.T) {
	var asked atomic.Int64
	edit := func(h *harness) {
		h.cfg.MakeGate = admitFunc(func(ctx context.Context, r resource.Request) (resource.Done, error) {
			if asked.Add(1) > 1000 { // so that the test ends
				<-ctx.Done()
			}
			return nil, &resource.Rejection{RetryAfter: math.MaxInt64}
		})
	}
	script(t, 1, edit, func(h *harness) {
		time.Sleep(time.Second)
		c := h.acquireFor(time.Millisecond)
		time.Sleep(time.Millisecond)
		c.wantFailed()
		if n := asked.Load(); n < 1 || n > 2 {
			t.Errorf("the gate was asked %d times in 1ms", n)
		}
	})
}

// A gate that lets one make through at a time refused a caller while another's
// make was under way, though that one was about to be of use.
func TestMakeGate_OfOneRefusesNobody(t *testing.T) {
	var busy atomic.Bool
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finishAfter(100 * time.Millisecond) }
		h.cfg.MakeGate = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			if !busy.CompareAndSwap(false, true) {
				return nil, errors.New("one at a time")
			}
			return func(resource.Outcome) { busy.Store(false) }, nil
		})
	}
	script(t, 2, edit, func(h *harness) {
		c1, c2 := h.acquire(), h.acquire()
		c1.wantLeaseWithin(time.Minute)
		c2.wantLeaseWithin(time.Minute)
	})
}

// With nobody waiting, a gate that refuses was asked for MinIdle over and over.
func TestMinIdle_UnderARefusingGate(t *testing.T) {
	var asked atomic.Int64
	edit := func(h *harness) {
		h.cfg.MinIdle = 100
		h.cfg.MakeGate = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			asked.Add(1)
			return nil, errors.New("no")
		})
	}
	script(t, 100, edit, func(h *harness) {
		time.Sleep(10 * time.Second)
		h.settle()
		if n := asked.Load(); n < 1 || n > 1000 {
			t.Errorf("the gate was asked %d times in 10s", n)
		}
	})
}

// Makes that wait at the gate do not all begin when it opens, if the maximum is
// smaller by then.
func TestMakeGate_OpensAfterShrink(t *testing.T) {
	var now, most atomic.Int64
	var open chan struct{}
	edit := func(h *harness) {
		open = make(chan struct{})
		h.auto = func(m *makeCall) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			m.finishAfter(time.Second)
		}
		h.cfg.MakeGate = admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
			<-open
			return nil, nil
		})
	}
	script(t, 4, edit, func(h *harness) {
		var cs []*call
		for range 4 {
			cs = append(cs, h.acquire())
		}
		h.resize(1)
		close(open)
		for _, c := range cs {
			c.wantLeaseWithin(time.Minute).Release()
		}
		if n := most.Load(); n != 1 {
			t.Errorf("%d makes at once, all begun after Resize(1)", n)
		}
	})
}

// Warm does not wait for what the pool had room for when it was called and has
// none for now.
func TestWarm_Shrink(t *testing.T) {
	var hang chan struct{}
	edit := func(h *harness) {
		hang = make(chan struct{})
		h.auto = func(m *makeCall) { m.finish() }
		h.onDestroy = func(*item, error) { <-hang }
	}
	script(t, 2, edit, func(h *harness) {
		h.wantDone(h.warm(context.Background(), 2), nil)
		h.lend().Discard(nil)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		done := h.warm(ctx, 2)
		h.wantPending(done) // what is being destroyed has the place
		h.resize(1)
		close(hang)
		h.wantDone(done, nil)
	})
}

// One resource that died young made the pool grow by one make at a time.
func TestGrowth_AfterOneStillborn(t *testing.T) {
	for name, invalidated := range map[string]bool{"none": false, "one": true} {
		t.Run(name, func(t *testing.T) {
			edit := func(h *harness) {
				h.auto = func(m *makeCall) { m.finishAfter(150 * time.Millisecond) }
			}
			script(t, 50, edit, func(h *harness) {
				done := h.warm(context.Background(), 1)
				time.Sleep(time.Second)
				h.wantDone(done, nil)
				if invalidated {
					h.onlyItem().invalidate(nil)
					time.Sleep(time.Second)
				}
				if took := sessions(h, 40); took > time.Second {
					t.Errorf("40 long sessions had begun after %v", took)
				}
			})
		})
	}
}

// onlyItem is the one item that lives.
func (h *harness) onlyItem() *item {
	h.t.Helper()
	h.settle()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.living) != 1 {
		h.t.Fatalf("%d items live, want 1", len(h.living))
	}
	for it := range h.living {
		return it
	}
	return nil
}

// sessions lends n at once to callers that keep them, and is how long it took
// until all had one.
func sessions(h *harness, n int) time.Duration {
	began := time.Now()
	leases := make([]resource.Lease[*item], n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			l, err := h.p.Acquire(context.Background())
			if err != nil {
				h.t.Error(err)
				return
			}
			leases[i] = l
		})
	}
	wg.Wait()
	took := time.Since(began)
	for _, l := range leases {
		l.Release()
	}
	return took
}
