package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/explore/sched"
	"github.com/respool/respool/resource"
)

var keyedScenes = []sched.Scene{
	{Name: "keyed-give-way", Doc: "one slot for two keys: a release at one key against a caller of each", Bound: 1, Run: keyedGiveWay},
	{Name: "keyed-idle", Doc: "one slot for two keys: callers of both while the slot is idle at one", Bound: 1, Run: keyedIdle},
	{Name: "keyed-drain", Doc: "a Drain of a key against a release and a caller at that key", Bound: 1, Run: keyedDrain},
	{Name: "keyed-forget", Doc: "a caller in the Admission of an idle key against the timer that forgets it", Bound: 1, Run: keyedForget},
	{Name: "any-twice", Doc: "a caller of AcquireAny against releases at both of its keys", Bound: 2, Run: anyTwice},
	{Name: "any-cancel", Doc: "a caller of AcquireAny whose context ends against a release at one of its keys", Bound: 2, Run: anyCancel},
}

// keyed is a Keyed, and checks what happens to its values.
type keyed struct {
	world
	keys *resource.Keyed[string, *value]
}

// newKeyed returns a keyed with a total of max values, and at most one for each key.
func newKeyed(x *sched.X, max int) *keyed {
	w := &keyed{world: world{x: x}}
	w.max.Store(int32(max))
	k, err := resource.NewKeyed(resource.KeyedConfig[string, *value]{
		MaxTotal: max,
		Config:   func(string) (resource.Config[*value], error) { return w.config(1), nil },
	})
	x.Require(err == nil, "NewKeyed: %v", err)
	w.keys = k
	return w
}

// lease acquires a resource of key, and must succeed.
func (w *keyed) lease(key string) resource.Lease[*value] {
	l, err := w.keys.Acquire(context.Background(), key)
	w.x.Require(err == nil, "Acquire: %v", err)
	return l
}

// leaseReleases acquires, uses and releases a resource of key.
func (w *keyed) leaseReleases(key string, id int32) {
	l := w.lease(key)
	w.use(l, id)
	l.Release()
}

// end closes the Keyed and checks what is left.
func (w *keyed) end() {
	s := w.keys.Stats()
	w.x.Require(s.Waiting == 0 && s.Leased == 0, "callers wait or leases have not ended: %+v", s.Load)
	err := w.keys.Close(context.Background())
	w.x.Require(err == nil, "Close: %v", err)
	w.check()
}

func keyedGiveWay(x *sched.X) {
	w := newKeyed(x, 1)
	w.leaseReleases("a", 1)
	l := w.lease("a")
	x.Actor("release", l.Release)
	x.Actor("caller a", func() { w.leaseReleases("a", 1) })
	x.Actor("caller b", func() { w.leaseReleases("b", 2) })
	x.Explore()
	w.end()
}

func keyedIdle(x *sched.X) {
	w := newKeyed(x, 1)
	w.leaseReleases("a", 1)
	w.leaseReleases("a", 1)
	x.Actor("caller a", func() { w.leaseReleases("a", 1) })
	x.Actor("caller b", func() { w.leaseReleases("b", 2) })
	x.Explore()
	w.end()
}

func keyedDrain(x *sched.X) {
	w := newKeyed(x, 1)
	w.leaseReleases("a", 1)
	l := w.lease("a")
	x.Actor("release", l.Release)
	x.Actor("drain", func() {
		err := w.keys.Drain(context.Background(), "a")
		x.Require(err == nil, "Drain: %v", err)
	})
	x.Actor("caller", func() {
		l, err := w.keys.Acquire(context.Background(), "a")
		if err != nil {
			x.Require(errors.Is(err, resource.ErrDraining), "Acquire: %v", err)
			return
		}
		w.use(l, 1)
		l.Release()
	})
	x.Explore()
	w.end()
}

// turns is an Admission that counts how often it is asked.
type turns struct{ asked atomic.Int32 }

func (t *turns) Admit(context.Context, resource.Request) (resource.Done, error) {
	t.asked.Add(1)
	return nil, nil
}

func keyedForget(x *sched.X) {
	w := &keyed{world: world{x: x}}
	w.max.Store(1)
	t := new(turns)
	k, err := resource.NewKeyed(resource.KeyedConfig[string, *value]{
		MaxTotal: 1, ForgetAfter: time.Minute,
		Config: func(string) (resource.Config[*value], error) {
			c := w.config(1)
			c.Admission = t
			return c, nil
		},
	})
	x.Require(err == nil, "NewKeyed: %v", err)
	w.keys = k
	w.lease("a").Discard(nil)
	time.Sleep(90 * time.Second) // since the first look the key has had nothing; the next one, at 2 min, forgets it
	t.asked.Store(0)
	x.Actor("clock", func() { x.Advance(int64(time.Minute)) })
	x.Actor("caller", func() { w.leaseReleases("a", 1) })
	x.Explore()
	n := t.asked.Load()
	x.Require(n == 1, "the Admission was asked %d times for one caller", n)
	w.end()
}

func anyTwice(x *sched.X) {
	w := newKeyed(x, 2)
	for _, key := range []string{"a", "b"} {
		w.leaseReleases(key, 1)
		l := w.lease(key)
		x.Actor("release "+key, l.Release)
	}
	x.Actor("any", func() {
		_, l, err := w.keys.AcquireAny(context.Background(), []string{"a", "b"}, resource.Request{})
		x.Require(err == nil, "AcquireAny: %v", err)
		w.use(l, 1)
		l.Release()
	})
	x.Explore()
	w.end()
}

func anyCancel(x *sched.X) {
	w := newKeyed(x, 2)
	var leases []resource.Lease[*value]
	for _, key := range []string{"a", "b"} {
		w.leaseReleases(key, 1)
		leases = append(leases, w.lease(key))
	}
	ctx, cancel := context.WithCancel(context.Background())
	x.Actor("release", leases[0].Release)
	x.Actor("cancel", cancel)
	x.Actor("any", func() {
		_, l, err := w.keys.AcquireAny(ctx, []string{"b", "a"}, resource.Request{})
		if err != nil {
			x.Require(errors.Is(err, context.Canceled), "AcquireAny: %v", err)
			return
		}
		w.use(l, 1)
		l.Release()
	})
	x.Explore()
	leases[1].Release()
	w.end()
}
