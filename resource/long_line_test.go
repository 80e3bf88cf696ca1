package resource_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// The total work of n operations grows with n, and no faster: each scenario runs
// at two sizes, and the exponent between them is fitted. Work that is quadratic
// in total has 2, and linear work has 1 and a little for caches and the garbage
// collector, which serve the small size better.
const (
	smallLine   = 2_000
	largeLine   = 16_000
	maxExponent = 1.5
)

// waiterGroup is n callers that wait, or have waited.
type waiterGroup struct {
	t      *testing.T
	p      *resource.Pool[int]
	wg     sync.WaitGroup
	leases []resource.Lease[int]
	errs   []error
	cancel context.CancelFunc
}

// startWaiters starts n callers with the request r and contexts that end after d; 0: that
// do not end.
func startWaiters(t *testing.T, p *resource.Pool[int], n int, d time.Duration, r func(i int) resource.Request) *waiterGroup {
	c := &waiterGroup{t: t, p: p, leases: make([]resource.Lease[int], n), errs: make([]error, n)}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	t.Cleanup(cancel)
	at := time.Now().Add(d)
	for i := range n {
		c.wg.Go(func() {
			mine := ctx
			if d > 0 {
				var cancel context.CancelFunc
				mine, cancel = context.WithDeadline(ctx, at)
				defer cancel()
			}
			c.leases[i], c.errs[i] = p.AcquireWith(mine, r(i))
		})
	}
	return c
}

// waitFor waits until cond holds.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(200 * time.Microsecond) // a poll with a bound
	}
}

func (c *waiterGroup) waiting() {
	c.t.Helper()
	waitFor(c.t, "all wait", func() bool { return c.p.Stats().Waiting == len(c.leases) })
}

// served waits until all have what they asked for, and gives it back.
func (c *waiterGroup) served() {
	c.t.Helper()
	c.wg.Wait()
	for i, err := range c.errs {
		if err != nil {
			c.t.Fatalf("caller %d: %v", i, err)
		}
		c.leases[i].Release()
	}
}

// refused waits until all were refused with target.
func (c *waiterGroup) refused(target error) {
	c.t.Helper()
	c.wg.Wait()
	for i, err := range c.errs {
		if !errors.Is(err, target) {
			c.t.Fatalf("caller %d: %v, want %v", i, err, target)
		}
	}
}

func anything(int) resource.Request { return resource.Request{} }
func freshOne(int) resource.Request { return resource.Request{Fresh: true} }

// fifo is a Queue that serves in order.
type fifo struct{ ws []*resource.Waiter }

func (q *fifo) Push(w *resource.Waiter, _ time.Duration) { q.ws = append(q.ws, w) }
func (q *fifo) Remove(*resource.Waiter)                  {}
func (q *fifo) Pop(time.Duration) (*resource.Waiter, error) {
	if len(q.ws) == 0 {
		return nil, nil
	}
	w := q.ws[0]
	q.ws = q.ws[1:]
	return w, nil
}

// longLines are the scenarios, each with n callers, resources or both.
var longLines = []struct {
	name string
	cfg  func(n int, c *resource.Config[int])
	run  func(t *testing.T, p *resource.Pool[int], n int)
}{
	{"first leases", nil, func(t *testing.T, p *resource.Pool[int], n int) {
		startWaiters(t, p, n, 0, anything).served()
	}},
	{"fresh ones beside used ones", func(n int, c *resource.Config[int]) { c.MaxSize = 2 * n }, func(t *testing.T, p *resource.Pool[int], n int) {
		startWaiters(t, p, n, 0, anything).served()
		startWaiters(t, p, n, 0, freshOne).served()
	}},
	{"fresh ones replace used ones", nil, func(t *testing.T, p *resource.Pool[int], n int) {
		startWaiters(t, p, n, 0, anything).served()
		startWaiters(t, p, n, 0, freshOne).served()
	}},
	{"fresh ones in line for one", func(_ int, c *resource.Config[int]) { c.MaxSize = 1 }, func(t *testing.T, p *resource.Pool[int], n int) {
		c := startWaiters(t, p, n, 0, freshOne)
		waitFor(t, "one is served", func() bool { return p.Stats().Waiting == n-1 })
		c.cancel()
		c.wg.Wait()
		for _, l := range c.leases {
			l.Release()
		}
	}},
	{"too near their end", func(n int, c *resource.Config[int]) {
		c.MaxSize = 2 * n
		c.Eviction = evictFunc(func(i resource.Info) error {
			if i.Age > time.Hour && i.ID <= uint64(n) {
				return errOld
			}
			return nil
		})
	}, func(t *testing.T, p *resource.Pool[int], n int) {
		startWaiters(t, p, n, 0, anything).served()
		remaining := resource.Request{MinRemaining: 2 * time.Hour}
		startWaiters(t, p, n, 0, func(int) resource.Request { return remaining }).served()
	}},
	{"one after the other", func(_ int, c *resource.Config[int]) { c.MaxSize = 1 }, func(t *testing.T, p *resource.Pool[int], n int) {
		oneByOne(t, p, n)
	}},
	{"one after the other, with a Queue", func(_ int, c *resource.Config[int]) { c.MaxSize, c.Queue = 1, &fifo{} },
		func(t *testing.T, p *resource.Pool[int], n int) { oneByOne(t, p, n) }},
	{"a gate that refuses", func(_ int, c *resource.Config[int]) {
		c.MakeGate = refusing(&resource.Rejection{RetryAfter: time.Minute})
	},
		func(t *testing.T, p *resource.Pool[int], n int) {
			c := startWaiters(t, p, n, 0, anything)
			c.waiting()
			c.cancel()
			c.refused(context.Canceled)
		}},
	{"a gate that refuses, and deadlines", func(_ int, c *resource.Config[int]) {
		c.MakeGate = refusing(&resource.Rejection{RetryAfter: time.Hour})
	},
		func(t *testing.T, p *resource.Pool[int], n int) {
			startWaiters(t, p, n, time.Minute, anything).refused(resource.ErrRejected)
		}},
	{"deadlines at one instant", func(_ int, c *resource.Config[int]) { c.MaxSize = 1 }, func(t *testing.T, p *resource.Pool[int], n int) {
		l := lendOne(t, p)
		at := time.Now().Add(2 * time.Second)
		c := startWaiters(t, p, n, time.Until(at), anything)
		c.waiting()
		time.Sleep(time.Until(at)) // it comes back as they expire
		l.Release()
		c.wg.Wait()
		for _, l := range c.leases {
			l.Release()
		}
	}},
	{"an outage", func(_ int, c *resource.Config[int]) {
		c.Make = func(context.Context) (int, error) { return 0, errDown }
	}, func(t *testing.T, p *resource.Pool[int], n int) {
		startWaiters(t, p, n, 0, anything).refused(errDown)
	}},
	{"the end", func(_ int, c *resource.Config[int]) {
		c.Make = func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
	}, func(t *testing.T, p *resource.Pool[int], n int) {
		c := startWaiters(t, p, n, 0, anything)
		c.waiting()
		closeAll(t, p)
		c.refused(resource.ErrClosed)
	}},
}

// oneByOne has n callers wait for one resource, and each gives it back at once.
func oneByOne(t *testing.T, p *resource.Pool[int], n int) {
	l := lendOne(t, p)
	c := &waiterGroup{t: t, p: p, leases: make([]resource.Lease[int], n), errs: make([]error, n)}
	for i := range n {
		c.wg.Go(func() {
			var l resource.Lease[int]
			l, c.errs[i] = p.Acquire(context.Background())
			l.Release()
		})
	}
	c.waiting()
	l.Release()
	c.served()
}

func TestI12_LongLines(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures, which -race and other tests beside it would spoil")
	}
	for _, c := range longLines {
		t.Run(c.name, func(t *testing.T) {
			// In a bubble no deadline passes before all callers wait, however busy the
			// machine is.
			cost := func(n int) (took time.Duration) {
				synctest.Test(t, func(t *testing.T) {
					cfg := resource.Config[int]{MaxSize: n, Make: makeOne}
					if c.cfg != nil {
						c.cfg(n, &cfg)
					}
					p := newPool(t, cfg)
					runtime.GC()
					before := cpuTime(t)
					c.run(t, p, n)
					took = cpuTime(t) - before
					closeAll(t, p)
				})
				return took
			}
			small, large, x := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64), math.Inf(1)
			for tries := 0; tries < 2 || x > maxExponent && tries < 5; tries++ { // a busy machine only adds to either
				small, large = min(small, cost(smallLine)), min(large, cost(largeLine))
				x = math.Log(float64(large)/float64(small)) / math.Log(float64(largeLine)/smallLine)
			}
			t.Logf("%d: %v, %d: %v; exponent %.2f", smallLine, small, largeLine, large, x)
			if x > maxExponent {
				t.Errorf("the exponent is %.2f, over %v", x, maxExponent)
			}
		})
	}
}

// cpuTime is what this process has used. Other work on the machine adds less to
// it than to the time that passes.
func cpuTime(t *testing.T) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
