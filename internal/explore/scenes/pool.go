package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/explore/sched"
	"github.com/respool/respool/resource"
)

// value is a resource.
type value struct {
	n         int
	user      owner
	destroyed atomic.Int32
	hijacked  atomic.Int32
}

// world is a pool, and checks what happens to its values.
type world struct {
	x      *sched.X
	pool   *resource.Pool[*value]
	exist  atomic.Int32 // values that were made, or are being made, and are neither destroyed nor hijacked
	max    atomic.Int32 // that there may be
	values []*value
}

// newWorld returns a pool of at most max values. change changes its Config.
func newWorld(x *sched.X, max int, change func(c *resource.Config[*value])) *world {
	w := &world{x: x}
	w.max.Store(int32(max))
	c := w.config(max)
	if change != nil {
		change(&c)
	}
	p, err := resource.New(c)
	x.Require(err == nil, "New: %v", err)
	w.pool = p
	return w
}

// config is the Config of a pool of at most max values, which it counts.
func (w *world) config(max int) resource.Config[*value] {
	return resource.Config[*value]{
		MaxSize: max,
		Make: func(context.Context) (*value, error) {
			n := w.exist.Add(1)
			w.x.Require(n <= w.max.Load(), "I1: %d values exist, and %d may", n, w.max.Load())
			v := &value{n: len(w.values) + 1}
			w.values = append(w.values, v)
			return v, nil
		},
		Destroy: func(v *value, _ error) {
			v.user.begin(w.x, -1)
			w.x.Require(v.destroyed.Add(1) == 1, "I3: value %d is destroyed twice", v.n)
			w.x.Require(v.hijacked.Load() == 0, "I3: value %d is destroyed after it was hijacked", v.n)
			w.exist.Add(-1)
		},
	}
}

// ready has the pool create its first value, and lend it often enough for it to be idle in a local slot.
func (w *world) ready() {
	for range 2 {
		l := w.acquire(context.Background())
		l.Release()
	}
	w.x.Require(w.pool.Stats().Idle == 1, "nothing is idle")
}

// acquire acquires, and must succeed.
func (w *world) acquire(ctx context.Context) resource.Lease[*value] {
	l, err := w.pool.Acquire(ctx)
	w.x.Require(err == nil, "Acquire: %v", err)
	return l
}

// use uses the value of a lease.
func (w *world) use(l resource.Lease[*value], id int32) {
	v := l.Value()
	v.user.begin(w.x, id) // fails too if the value is destroyed: that use does not end
	v.user.end(w.x, id)
}

// end closes the pool and checks what is left.
func (w *world) end() {
	s := w.pool.Stats()
	w.x.Require(s.Waiting == 0, "I7: %d callers wait, %d values are idle", s.Waiting, s.Idle)
	w.x.Require(s.Leased == 0, "%d leases have not ended: %+v", s.Leased, s.Load)
	w.x.Require(s.Acquired == s.Released, "%d leases began, %d ended", s.Acquired, s.Released)
	w.close()
}

// close closes the pool and checks what is left then.
func (w *world) close() {
	err := w.pool.Close(context.Background())
	w.x.Require(err == nil, "Close: %v", err)
	w.check()
}

// check checks what is left when all is closed.
func (w *world) check() {
	text, quiet := w.x.Quiet()
	w.x.Require(quiet, "I6: after Close %s", text)
	for _, v := range w.values {
		n := v.destroyed.Load() + v.hijacked.Load()
		w.x.Require(n == 1, "I3: value %d was destroyed or hijacked %d times", v.n, n)
	}
	w.x.Require(w.exist.Load() == 0, "I3: %d values are left", w.exist.Load())
}

var poolScenes = []sched.Scene{
	{Name: "two-callers", Doc: "two callers and one resource: each acquires and releases twice", Bound: 2, Run: twoCallers},
	{Name: "two-resources", Doc: "three callers and two resources: each acquires and releases once", Bound: 2, Run: twoResources},
	{Name: "release-wait", Doc: "a release against two callers that begin to wait", Bound: 2, Run: releaseWait},
	{Name: "release-invalidate", Doc: "a release against an invalidation, and a caller", Bound: 1, Run: releaseInvalidate},
	{Name: "release-resize", Doc: "two releases against a Resize to 1", Bound: 1, Run: releaseResize},
	{Name: "resize-held", Doc: "a release against a Resize to 1 while another value stays leased", Bound: 2, Run: resizeHeld},
	{Name: "release-reset", Doc: "a release against a Reset, and a caller", Bound: 1, Run: releaseReset},
	{Name: "release-close", Doc: "a release against Close, and a caller", Bound: 1, Run: releaseClose},
	{Name: "close-waiters", Doc: "Close against two callers that wait", Bound: 2, Run: closeWaiters},
	{Name: "try-settle", Doc: "a TryAcquire against a release that settles for a caller that waits", Bound: 2, Run: trySettle},
	{Name: "stale-release", Doc: "a lease is released twice, from two goroutines, while another begins", Bound: 2, Run: staleRelease},
	{Name: "cancel", Doc: "a release against the end of a waiter's context, and another waiter", Bound: 1, Run: cancelWaiter},
	{Name: "all-idle", Doc: "a release against a caller that begins to wait, and AcquireAllIdle", Bound: 2, Run: allIdle},
	{Name: "tick", Doc: "a release against a caller that begins to wait, and ticks of the clock", Bound: 1, Run: ticks},
	{Name: "stats", Doc: "two calls of Stats against acquires and releases", Bound: 1, Run: stats},
	{Name: "hijack", Doc: "a Hijack against a Release of the same lease, and a caller that waits for the slot", Bound: 1, Run: hijack},
}

// acquireReleases acquires, uses and releases n times.
func (w *world) acquireReleases(id int32, n int) {
	for range n {
		l := w.acquire(context.Background())
		w.use(l, id)
		l.Release()
	}
}

func twoCallers(x *sched.X) {
	w := newWorld(x, 1, nil)
	w.ready()
	for id := range int32(2) {
		x.Actor("caller", func() { w.acquireReleases(id+1, 2) })
	}
	x.Explore()
	w.end()
}

func twoResources(x *sched.X) {
	w := newWorld(x, 2, nil)
	w.ready()
	one, two := w.acquire(context.Background()), w.acquire(context.Background())
	one.Release()
	two.Release()
	for id := range int32(3) {
		x.Actor("caller", func() { w.acquireReleases(id+1, 1) })
	}
	x.Explore()
	w.end()
}

func releaseWait(x *sched.X) {
	w := newWorld(x, 1, nil)
	w.ready()
	l := w.acquire(context.Background())
	x.Actor("release", l.Release)
	for id := range int32(2) {
		x.Actor("caller", func() { w.acquireReleases(id+1, 1) })
	}
	x.Explore()
	w.end()
}

func releaseInvalidate(x *sched.X) {
	var invalidate []func(error)
	w := newWorld(x, 1, func(c *resource.Config[*value]) {
		c.Watch = func(_ *value, f func(error)) { invalidate = append(invalidate, f) }
	})
	w.ready()
	first := w.values[0]
	l := w.acquire(context.Background())
	var over atomic.Bool
	x.Actor("release", func() {
		w.use(l, 1)
		l.Release()
	})
	x.Actor("invalidate", func() {
		invalidate[0](nil)
		over.Store(true)
	})
	x.Actor("caller", func() {
		late := over.Load()
		l := w.acquire(context.Background())
		x.Require(!late || l.Value() != first, "an invalidated value was lent")
		w.use(l, 2)
		l.Release()
	})
	x.Explore()
	x.Require(first.destroyed.Load() == 1, "an invalidated value is idle")
	w.end()
}

func releaseResize(x *sched.X) {
	w := newWorld(x, 2, nil)
	w.ready()
	one, two := w.acquire(context.Background()), w.acquire(context.Background())
	for id, l := range [...]resource.Lease[*value]{one, two} {
		x.Actor("release", func() {
			w.use(l, int32(id)+1)
			l.Release()
		})
	}
	x.Actor("resize", func() {
		err := w.pool.Resize(1)
		x.Require(err == nil, "Resize: %v", err)
		w.max.Store(1)
	})
	x.Explore()
	x.Require(w.exist.Load() == 1, "I1: %d values exist at rest, and 1 may", w.exist.Load())
	w.end()
}

func resizeHeld(x *sched.X) {
	w := newWorld(x, 2, nil)
	w.ready()
	one, two := w.acquire(context.Background()), w.acquire(context.Background())
	x.Actor("release", one.Release)
	x.Actor("resize", func() {
		err := w.pool.Resize(1)
		x.Require(err == nil, "Resize: %v", err)
		w.max.Store(1)
	})
	x.Explore()
	x.Require(w.exist.Load() == 1, "I1: %d values exist at rest, one of them idle, and 1 may", w.exist.Load())
	two.Release()
	w.end()
}

func releaseReset(x *sched.X) {
	w := newWorld(x, 1, nil)
	w.ready()
	first := w.values[0]
	l := w.acquire(context.Background())
	var over atomic.Bool
	x.Actor("release", func() {
		w.use(l, 1)
		l.Release()
	})
	x.Actor("reset", func() {
		w.pool.Reset(nil)
		over.Store(true)
	})
	x.Actor("caller", func() {
		late := over.Load()
		l := w.acquire(context.Background())
		x.Require(!late || l.Value() != first, "a value from before the Reset was lent")
		w.use(l, 2)
		l.Release()
	})
	x.Explore()
	x.Require(first.destroyed.Load() == 1, "a value from before the Reset is idle")
	w.end()
}

func releaseClose(x *sched.X) {
	w := newWorld(x, 1, nil)
	w.ready()
	l := w.acquire(context.Background())
	var over atomic.Bool
	x.Actor("release", func() {
		w.use(l, 1)
		l.Release()
	})
	x.Actor("close", func() {
		err := w.pool.Close(context.Background())
		x.Require(err == nil, "Close: %v", err)
		x.Require(w.exist.Load() == 0, "I6: %d values are left after Close", w.exist.Load())
		over.Store(true)
	})
	x.Actor("caller", func() {
		late := over.Load()
		l, err := w.pool.Acquire(context.Background())
		if err != nil {
			x.Require(errors.Is(err, resource.ErrClosed), "Acquire: %v", err)
			return
		}
		x.Require(!late, "a value was lent after Close")
		w.use(l, 2)
		l.Release()
	})
	x.Explore()
	w.close()
}

func closeWaiters(x *sched.X) {
	w := newWorld(x, 1, nil)
	w.ready()
	l := w.acquire(context.Background())
	for id := range int32(2) {
		x.Actor("caller", func() {
			l, err := w.pool.Acquire(context.Background())
			x.Require(errors.Is(err, resource.ErrClosed), "Acquire: %v", err)
			if err == nil {
				w.use(l, id+1)
				l.Release()
			}
		})
	}
	x.Actor("close", func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err := w.pool.Close(ctx)
		x.Require(err != nil, "Close has returned nil, and a lease has not ended")
	})
	x.Explore()
	l.Release()
	w.close()
}

func trySettle(x *sched.X) {
	w := newWorld(x, 1, nil)
	w.ready()
	l := w.acquire(context.Background())
	x.Actor("release", l.Release)
	x.Actor("caller", func() { w.acquireReleases(1, 1) })
	x.Actor("try", func() {
		for range 2 {
			if l, ok := w.pool.TryAcquire(); ok {
				w.use(l, 2)
				l.Release()
			}
		}
	})
	x.Explore()
	w.end()
}

func staleRelease(x *sched.X) {
	w := newWorld(x, 1, nil)
	w.ready()
	l := w.acquire(context.Background())
	for range 2 {
		x.Actor("release", func() {
			l.Release()
			l.Release()
		})
	}
	x.Actor("caller", func() { w.acquireReleases(1, 2) })
	x.Explore()
	x.Require(len(w.values) == 1, "another value was created")
	w.end()
}

func cancelWaiter(x *sched.X) {
	w := newWorld(x, 1, nil)
	w.ready()
	l := w.acquire(context.Background())
	ctx, cancel := context.WithCancel(context.Background())
	x.Actor("release", l.Release)
	var over atomic.Bool
	x.Actor("canceled", func() {
		late := over.Load()
		l, err := w.pool.Acquire(ctx)
		x.Require(!late || err != nil, "I8: a caller whose context has ended got a value")
		if err == nil {
			w.use(l, 1)
			l.Release()
		} else {
			x.Require(errors.Is(err, context.Canceled), "Acquire: %v", err)
		}
		w.acquireReleases(1, 1)
	})
	x.Actor("cancel", func() {
		cancel()
		over.Store(true)
		w.acquireReleases(2, 1)
	})
	x.Explore()
	w.end()
}

func allIdle(x *sched.X) {
	w := newWorld(x, 1, nil)
	w.ready()
	l := w.acquire(context.Background())
	x.Actor("release", l.Release)
	x.Actor("caller", func() { w.acquireReleases(1, 1) })
	x.Actor("all", func() {
		for _, l := range w.pool.AcquireAllIdle() {
			w.use(l, 2)
			l.ReleaseUnused()
		}
	})
	x.Explore()
	w.end()
}

func ticks(x *sched.X) {
	w := newWorld(x, 1, nil)
	w.ready()
	l := w.acquire(context.Background())
	x.Actor("release", l.Release)
	x.Actor("caller", func() { w.acquireReleases(1, 2) })
	x.Actor("clock", func() {
		for range 2 {
			x.Advance(int64(100 * time.Millisecond))
		}
	})
	x.Explore()
	w.end()
}

func stats(x *sched.X) {
	w := newWorld(x, 1, nil)
	w.ready()
	l := w.acquire(context.Background())
	x.Actor("discard", func() { l.Discard(nil) })
	for range 2 {
		x.Actor("stats", func() {
			s := w.pool.Stats()
			x.Require(s.Idle+s.Leased+s.Making+s.Destroying <= s.Max, "I1: %+v", s.Load)
		})
	}
	x.Explore()
	w.end()
}

func hijack(x *sched.X) {
	w := newWorld(x, 1, nil)
	w.ready()
	w.max.Store(2) // the slot is free before the goroutine here can count
	l := w.acquire(context.Background())
	x.Actor("hijack", func() {
		if v, ok := l.Hijack(); ok {
			v.user.begin(x, 1)
			v.hijacked.Add(1)
			w.exist.Add(-1)
			v.user.end(x, 1)
		}
	})
	x.Actor("release", l.Release)
	x.Actor("caller", func() { w.acquireReleases(2, 1) })
	x.Explore()
	w.end()
}
