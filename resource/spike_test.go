package resource_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// Growth is the pool's decision: few makes for a spike of short work, all at
// once for long work. In virtual time, so that the figures are exact.

// spike is callers that all come at one instant.
type spike struct {
	idle, callers, max int
	making, work       time.Duration
	before             time.Duration // how long the idle ones were held before; zero: not at all
}

type spikeResult struct {
	makes int           // begun because of the spike, until its end
	last  time.Duration // when the last was served
	total time.Duration // when all had done their work
}

func (r spikeResult) String() string {
	return fmt.Sprintf("%d makes, the last served after %v, all done after %v", r.makes, r.last, r.total)
}

func (s spike) run(t *testing.T) (r spikeResult) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := start(t, s.max, func(h *harness) {
			h.auto = func(m *makeCall) { m.finishAfter(s.making) }
		})
		s.warm(h)
		synctest.Wait()
		if got := h.p.Stats().Load; got.Idle != s.idle || got.Leased+got.Making > 0 {
			t.Fatalf("before the spike: %v", got)
		}
		already := h.begun()
		began := time.Now()
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range s.callers {
			wg.Go(func() {
				l, err := h.p.Acquire(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				r.last = max(r.last, time.Since(began))
				mu.Unlock()
				time.Sleep(s.work)
				l.Release()
			})
		}
		wg.Wait()
		r.total = time.Since(began)
		r.makes = h.begun() - already
		t.Logf("%+v: %v", s, r)
	})
	return r
}

// warm makes the idle ones, and holds them as long as s says, several times.
func (s spike) warm(h *harness) {
	for range 4 {
		var wg sync.WaitGroup
		for range s.idle {
			wg.Go(func() {
				l, err := h.p.Acquire(context.Background())
				if err != nil {
					h.t.Error(err)
					return
				}
				time.Sleep(s.before)
				l.Release()
			})
		}
		wg.Wait()
		time.Sleep(time.Second)
	}
}

// Short work: what is there serves it, however long the leases before were.
func TestSpike_ShortWork(t *testing.T) {
	for _, before := range []time.Duration{time.Millisecond, 2 * time.Second} {
		t.Run(fmt.Sprint("before=", before), func(t *testing.T) {
			s := spike{idle: 5, callers: 50, max: 50, making: 150 * time.Millisecond, work: 2 * time.Millisecond, before: before}
			r := s.run(t)
			if r.total > 30*time.Millisecond || r.makes > 3 {
				t.Errorf("%v; want 30ms and 3 makes at most", r)
			}
		})
	}
}

// Long work: all that is needed is made at once, however short the leases
// before were.
func TestSpike_LongWork(t *testing.T) {
	for _, before := range []time.Duration{time.Millisecond, 2 * time.Second} {
		t.Run(fmt.Sprint("before=", before), func(t *testing.T) {
			s := spike{idle: 5, callers: 50, max: 50, making: 150 * time.Millisecond, work: 2 * time.Second, before: before}
			r := s.run(t)
			if r.last > 180*time.Millisecond || r.makes != 45 {
				t.Errorf("%v; want the last within 180ms and 45 makes", r)
			}
		})
	}
}

// On an empty pool there is nothing to wait for: all are made at once.
func TestSpike_EmptyPool(t *testing.T) {
	s := spike{callers: 50, max: 50, making: 250 * time.Millisecond, work: 2 * time.Second}
	if r := s.run(t); r.last > 260*time.Millisecond || r.makes != 50 {
		t.Errorf("%v; want the last within 260ms and 50 makes", r)
	}
}

// Acquires without any work, on an empty pool, end soon after the first make.
func TestSpike_ZeroWork(t *testing.T) {
	script(t, 50, func(h *harness) {
		h.auto = func(m *makeCall) { m.finishAfter(250 * time.Millisecond) }
	}, func(h *harness) {
		began := time.Now()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for range 100 {
					l, err := h.p.Acquire(context.Background())
					if err != nil {
						t.Error(err)
						return
					}
					l.Release()
				}
			})
		}
		wg.Wait()
		if took, most := time.Since(began), 375*time.Millisecond; took > most {
			t.Errorf("took %v, want at most %v", took, most)
		}
		t.Logf("%d makes", h.begun())
	})
}

// sustain keeps callers working without a pause for d, and returns how many
// exist then.
func sustain(t *testing.T, max, idle, callers int, making, work, d time.Duration) (exist int) {
	t.Helper()
	script(t, max, func(h *harness) {
		h.auto = func(m *makeCall) { m.finishAfter(making) }
	}, func(h *harness) {
		spike{idle: idle, before: time.Millisecond}.warm(h)
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for ctx.Err() == nil {
					l, err := h.p.Acquire(ctx)
					if err != nil {
						return
					}
					time.Sleep(work)
					l.Release()
				}
			})
		}
		wg.Wait()
		s := h.p.Stats()
		exist = s.Idle + s.Leased
	})
	return exist
}

// Load that lasts, beyond what exists, grows the pool within a few makes,
// whether its work is longer than a make or much shorter.
func TestSpike_SustainedLoadGrows(t *testing.T) {
	for _, test := range []struct {
		work        time.Duration
		makes, want int
	}{
		{100 * time.Millisecond, 3, 10},
		{2 * time.Second, 3, 10},
		{10 * time.Millisecond, 6, 8},
		{2 * time.Millisecond, 6, 8},
	} {
		const making = 50 * time.Millisecond
		got := sustain(t, 10, 2, 20, making, test.work, time.Duration(test.makes)*making)
		if got < test.want {
			t.Errorf("work of %v: %d exist after %d makes' time, want %d", test.work, got, test.makes, test.want)
		}
	}
}

// Load that what exists can serve does not grow it.
func TestSpike_EnoughStaysEnough(t *testing.T) {
	if got := sustain(t, 10, 2, 2, 50*time.Millisecond, 2*time.Millisecond, 2*time.Second); got != 2 {
		t.Errorf("%d exist, want 2", got)
	}
}

// A spike of short work on a pool whose creations are fast, as a connect over loopback
// is, creates few: released resources serve it. The time is virtual: on a busy machine
// work of 2 ms takes longer, and then more are rightly created.
func TestSpike_FastMakes(t *testing.T) {
	for _, making := range []time.Duration{50 * time.Microsecond, 500 * time.Microsecond, 2 * time.Millisecond, 5 * time.Millisecond} {
		s := spike{idle: 5, callers: 50, max: 100, making: making, work: 2 * time.Millisecond}
		if r := s.run(t); r.makes > 3 {
			t.Errorf("creations of %v: %d, want at most 3", making, r.makes)
		}
	}
}

// Trap 12: every miss dialled: 50 callers on 5 idle made 45, of which one was
// needed.
func TestPuddleTrap12_EveryMissMakes(t *testing.T) {
	s := spike{idle: 5, callers: 50, max: 50, making: 150 * time.Millisecond, work: 2 * time.Millisecond}
	if r := s.run(t); r.makes > 3 {
		t.Errorf("%d makes, want at most 3", r.makes)
	}
}

// One resource that failed early made the pool grow by one make at a time.
func TestGrowth_AfterOneEarlyFailure(t *testing.T) {
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

// onlyItem is the one item that is alive.
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
