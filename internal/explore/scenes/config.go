package main

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/explore/sched"
	"github.com/respool/respool/resource"
)

// Scenes of pools in which functions of the Config take part.
var configScenes = []sched.Scene{
	{Name: "queue", Doc: "a release against two callers that wait in a Queue", Bound: 1, Run: queueWait},
	{Name: "queue-cancel", Doc: "a release against the end of the context of a caller in a Queue", Bound: 1, Run: queueCancel},
	{Name: "on-release", Doc: "a release with OnRelease against two callers", Bound: 2, Run: onRelease},
	{Name: "make-fails", Doc: "a creation that fails, and one that succeeds, against a Discard and two callers", Bound: 1, Run: makeFails},
	{Name: "health", Doc: "two callers and a resource that a Health must check before each lease", Bound: 2, Run: healthCheck},
	{Name: "evict", Doc: "a release against a caller, with an Eviction that ends each resource after its second lease", Bound: 2, Run: evict},
	{Name: "warm", Doc: "Warm against a Discard", Bound: 1, Run: warm},
}

// fifo is a Queue that checks that its methods run one at a time.
type fifo struct {
	x    *sched.X
	user owner
	all  []*resource.Waiter
}

func (q *fifo) Push(w *resource.Waiter, _ time.Duration) {
	q.user.begin(q.x, 1)
	q.all = append(q.all, w)
	q.user.end(q.x, 1)
}

func (q *fifo) Remove(w *resource.Waiter) {
	q.user.begin(q.x, 2)
	i := slices.Index(q.all, w)
	q.x.Require(i >= 0, "a waiter is removed that the Queue does not have")
	q.all = slices.Delete(q.all, i, i+1)
	q.user.end(q.x, 2)
}

func (q *fifo) Pop(time.Duration) (*resource.Waiter, error) {
	q.user.begin(q.x, 3)
	var w *resource.Waiter
	if len(q.all) > 0 {
		w, q.all = q.all[0], q.all[1:]
	}
	q.user.end(q.x, 3)
	return w, nil
}

func queueWait(x *sched.X) {
	q := &fifo{x: x}
	w := newWorld(x, 1, func(c *resource.Config[*value]) { c.Queue = q })
	w.ready()
	l := w.acquire(context.Background())
	x.Actor("release", l.Release)
	for id := range int32(2) {
		x.Actor("caller", func() { w.acquireReleases(id+1, 1) })
	}
	x.Explore()
	x.Require(len(q.all) == 0, "the Queue has %d waiters", len(q.all))
	w.end()
}

func queueCancel(x *sched.X) {
	q := &fifo{x: x}
	w := newWorld(x, 1, func(c *resource.Config[*value]) { c.Queue = q })
	w.ready()
	l := w.acquire(context.Background())
	ctx, cancel := context.WithCancel(context.Background())
	x.Actor("release", l.Release)
	x.Actor("caller", func() {
		l, err := w.pool.Acquire(ctx)
		if err == nil {
			w.use(l, 1)
			l.Release()
		} else {
			x.Require(errors.Is(err, context.Canceled), "Acquire: %v", err)
		}
	})
	x.Actor("cancel", cancel)
	x.Explore()
	x.Require(len(q.all) == 0, "the Queue has %d waiters", len(q.all))
	w.end()
}

func onRelease(x *sched.X) {
	w := newWorld(x, 1, func(c *resource.Config[*value]) {
		c.OnRelease = func(_ context.Context, v *value) error {
			v.user.begin(x, 9)
			v.user.end(x, 9)
			return nil
		}
	})
	w.ready()
	l := w.acquire(context.Background())
	x.Actor("release", l.Release)
	x.Actor("caller", func() { w.acquireReleases(1, 1) })
	x.Explore()
	w.end()
}

func makeFails(x *sched.X) {
	broken := errors.New("broken")
	var tries atomic.Int32
	w := newWorld(x, 1, func(c *resource.Config[*value]) {
		right := c.Make
		c.Make = func(ctx context.Context) (*value, error) {
			if tries.Add(1) == 2 {
				return nil, broken
			}
			return right(ctx)
		}
	})
	w.ready()
	l := w.acquire(context.Background())
	x.Actor("discard", func() { l.Discard(nil) })
	failed := 0
	for id := range int32(2) {
		x.Actor("caller", func() {
			l, err := w.pool.Acquire(context.Background())
			if err != nil {
				x.Require(errors.Is(err, broken), "Acquire: %v", err)
				failed++
				return
			}
			w.use(l, id+1)
			l.Release()
		})
	}
	x.Explore()
	x.Require(failed <= 1, "one creation has failed, and %d callers", failed)
	w.end()
}

// health is a Health that checks each time.
type health struct{ x *sched.X }

func (h health) Check(_ context.Context, v *value, _ resource.Info) error {
	v.user.begin(h.x, 8)
	v.user.end(h.x, 8)
	return nil
}

func healthCheck(x *sched.X) {
	w := newWorld(x, 1, func(c *resource.Config[*value]) { c.Health = health{x} })
	w.ready()
	for id := range int32(2) {
		x.Actor("caller", func() { w.acquireReleases(id+1, 1) })
	}
	x.Explore()
	w.end()
}

// twice is an Eviction that ends each resource after two leases.
type twice struct{}

var errTwice = errors.New("leased twice")

func (twice) Evict(i resource.Info) error {
	if i.Leases >= 2 {
		return errTwice
	}
	return nil
}

func evict(x *sched.X) {
	w := newWorld(x, 1, func(c *resource.Config[*value]) { c.Eviction = twice{} })
	l := w.acquire(context.Background())
	x.Actor("release", l.Release)
	x.Actor("caller", func() { w.acquireReleases(1, 2) })
	x.Explore()
	w.end()
}

func warm(x *sched.X) {
	w := newWorld(x, 1, nil)
	w.ready()
	l := w.acquire(context.Background())
	x.Actor("discard", func() { l.Discard(nil) })
	x.Actor("warm", func() {
		err := w.pool.Warm(context.Background(), 1)
		x.Require(err == nil, "Warm: %v", err)
	})
	x.Explore()
	w.end()
}
