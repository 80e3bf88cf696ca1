package policy_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// The queues in a pool.

// throng is callers of one pool, who hold what they get for a while.
type throng struct {
	l    *lender
	hold time.Duration
	wg   sync.WaitGroup

	mu      sync.Mutex
	served  []string        // in this order
	waits   []time.Duration // of those served
	refused []time.Duration // waits of those refused with ErrOverloaded
	left    int             // whose own time was up
}

// come sends one caller, who waits up to patience.
func (c *throng) come(name string, r resource.Request, patience time.Duration) {
	c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		began := time.Now()
		lease, err := c.l.AcquireWith(ctx, r)
		waited := time.Since(began)
		c.mu.Lock()
		switch {
		case err == nil:
			c.served = append(c.served, name)
			c.waits = append(c.waits, waited)
		case errors.Is(err, policy.ErrOverloaded):
			c.refused = append(c.refused, waited)
			var a *resource.AcquireError
			if !errors.Is(err, resource.ErrRejected) || !errors.As(err, &a) || a.RetryAfter != interval {
				c.l.t.Errorf("refused with %v, which should say to retry after %v", err, interval)
			}
		case errors.Is(err, context.DeadlineExceeded):
			c.left++
		default:
			c.l.t.Errorf("%s: %v", name, err)
		}
		c.mu.Unlock()
		if err == nil {
			time.Sleep(c.hold)
			lease.Release()
		}
	})
	synctest.Wait() // the next comes later
}

// The more urgent goes first, but one level is worth only so much waiting.
func TestPriority_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, resource.Config[int]{MaxSize: 1, Queue: policy.Priority(time.Second)})
		c := &throng{l: l, hold: 10 * time.Millisecond}
		at := func(p int) resource.Request { return resource.Request{Priority: p} }
		held := l.get()
		c.come("batch", at(-1), time.Hour)
		c.come("plain 1", at(0), time.Hour)
		time.Sleep(900 * time.Millisecond)
		c.come("urgent 1", at(1), time.Hour) // 0.9 s after plain 1: before it
		time.Sleep(200 * time.Millisecond)
		c.come("urgent 2", at(1), time.Hour) // 1.1 s: after it
		c.come("plain 2", at(0), time.Hour)  // 1.1 s after batch: after it
		c.come("pressing", at(9), time.Hour)
		held.Release()
		c.wg.Wait()
		got := strings.Join(c.served, ", ")
		if want := "pressing, urgent 1, plain 1, urgent 2, batch, plain 2"; got != want {
			t.Errorf("served %s; want %s", got, want)
		}
	})
}

// Under a flood of urgent callers one who is not urgent is served when his
// waiting has outweighed that; in a strict order he is not.
func TestPriority_Starves(t *testing.T) {
	for _, c := range []struct {
		name     string
		step     time.Duration
		from, to time.Duration // when he is served
	}{
		{"in time", time.Second, 3 * time.Second, 3100 * time.Millisecond},
		{"strict", math.MaxInt64, 10 * time.Second, 11 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lend(t, resource.Config[int]{MaxSize: 1, Queue: policy.Priority(c.step)})
				urgent := &throng{l: l, hold: 10 * time.Millisecond}
				low := &throng{l: l}
				for n := range 1000 { // for 10 s, as many as can be served, and one more
					if n < 2 {
						urgent.come("urgent", resource.Request{Priority: 3}, time.Hour)
					}
					urgent.come("urgent", resource.Request{Priority: 3}, time.Hour)
					if n == 0 {
						low.come("low", resource.Request{}, time.Hour)
					}
					time.Sleep(10 * time.Millisecond)
				}
				urgent.wg.Wait()
				low.wg.Wait()
				if len(low.waits) != 1 || low.waits[0] < c.from || low.waits[0] > c.to {
					t.Errorf("served after %v, want from %v to %v", low.waits, c.from, c.to)
				}
			})
		})
	}
}

const target, interval = 5 * time.Millisecond, 100 * time.Millisecond

// overload is 10 leases of 10 ms: 1000 callers a second can be served. For 2 s
// come load times as many.
func overload(t *testing.T, q resource.Queue, load float64) *throng {
	l := lend(t, resource.Config[int]{MaxSize: 10, Queue: q})
	if err := l.Warm(context.Background(), 10); err != nil {
		t.Fatal(err)
	}
	c := &throng{l: l, hold: 10 * time.Millisecond}
	n := int(2000 * load)
	for range n {
		c.come("", resource.Request{}, 200*time.Millisecond)
		time.Sleep(2 * time.Second / time.Duration(n))
	}
	c.wg.Wait()
	slices.Sort(c.waits)
	t.Logf("%d came: %d served, half within %v, 99 of 100 within %v; %d refused, %d left",
		n, len(c.waits), c.waits[len(c.waits)/2], c.waits[len(c.waits)*99/100], len(c.refused), c.left)
	return c
}

// Under overload all that can be served are, soon; first come, first served
// lets everybody wait as long as his patience.
func TestCoDel_Overload(t *testing.T) {
	for _, load := range []float64{1.2, 2, 3} {
		t.Run(fmt.Sprintf("load=%v", load), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fifo, codel := overload(t, nil, load), overload(t, policy.CoDel(target, interval), load)
				if median := fifo.waits[len(fifo.waits)/2]; median < 100*time.Millisecond {
					t.Errorf("without CoDel half were served within %v: no overload", median)
				}
				if n := len(codel.waits); n < 1980 {
					t.Errorf("%d were served; 2000 could be", n)
				}
				if median := codel.waits[len(codel.waits)/2]; median > 4*target {
					t.Errorf("half were served within %v, want %v", median, 4*target)
				}
				if len(codel.refused) == 0 || slices.Min(codel.refused) <= 2*target {
					t.Errorf("%d refused, after %v at least; want more than %v", len(codel.refused), slices.Min(codel.refused), 2*target)
				}
			})
		})
	}
}

// In good order, and while a burst lasts that is shorter than the interval,
// nobody is refused and all are served as they came.
func TestCoDel_Burst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, resource.Config[int]{MaxSize: 1, Queue: policy.CoDel(target, interval)})
		l.get().Release()
		c := &throng{l: l, hold: time.Millisecond}
		var want []string
		for round := range 20 {
			for n := range 90 { // 90 ms of work
				name := fmt.Sprint(round, n)
				want = append(want, name)
				c.come(name, resource.Request{}, time.Hour)
			}
			time.Sleep(interval)
		}
		c.wg.Wait()
		if len(c.refused) > 0 || !slices.Equal(c.served, want) {
			t.Errorf("%d refused, served %v; want all in order", len(c.refused), c.served)
		}
	})
}
