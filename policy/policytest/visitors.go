package policytest

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// A policy that keeps its promises when called by hand is then used by a pool.

const (
	visitors = 12 // callers at once
	visits   = 40 // of each
	places   = 4  // resources at most
)

var (
	errHeld = errors.New("policytest: the holder says it is broken")
	errMake = errors.New("policytest: make failed")
)

// visit is how the callers of a pool behave.
type visit struct {
	requests []resource.Request // asked with in turn
	patient  bool               // every second caller waits as long as it takes
	served   bool               // those must be served; else they may be refused
}

// inPool makes a pool of cfg and lets callers come and go. No policy in it may
// panic, every caller must come back, and the pool must close.
func inPool[T any](k *kit, cfg resource.Config[T], v visit) {
	k.Helper()
	var first atomic.Value
	cfg.MaxSize = places
	cfg.SweepInterval = resource.MinSweepInterval
	cfg.Trace = &resource.Trace{Panicked: func(err error) { first.CompareAndSwap(nil, err.Error()) }}
	pool, err := resource.New(cfg)
	if err != nil {
		k.fatalf("resource.New: %v", err)
	}
	back := k.crowd(visitors, patience, "a caller of a pool with it", func(i int, r *rand.Rand) {
		for n := range visits {
			if k.bad.Load() {
				return
			}
			come(k, pool, v, v.requests[(i+n)%len(v.requests)], v.patient && i%2 == 0, r)
		}
	})
	s := pool.Stats()
	closing, cancel := context.WithTimeout(context.Background(), prompt)
	defer cancel()
	if err := pool.Close(closing); err != nil {
		k.errorf("the pool with it does not close: %v", err)
	}
	if n := pool.Stats().Panics; n > 0 {
		k.errorf("it panicked %d times in a pool: %v", n, first.Load())
	}
	if !back {
		k.errorf("the pool was then: %v", s)
	}
	k.stopIfBad()
}

// come is one visit of one caller.
func come[T any](k *kit, pool *resource.Pool[T], v visit, req resource.Request, patient bool, r *rand.Rand) {
	limit := time.Duration(r.IntN(3000)) * time.Microsecond
	if patient {
		limit = patience / 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if !patient && r.IntN(4) == 0 {
		time.AfterFunc(limit/2, cancel)
	}
	began := time.Now()
	l, err := pool.AcquireWith(ctx, req)
	if late := time.Since(began) - limit; late > prompt {
		k.errorf("AcquireWith(%+v) came back %v after its context had ended", req, late)
	}
	if patient {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			k.errorf("a caller that asked with %+v was neither served nor refused for %v: %v", req, limit, err)
		case err != nil && v.served:
			k.errorf("a caller that asked with %+v was turned away: %v", req, err)
		}
	}
	if err == nil {
		hold(l, r)
	}
}

// hold keeps a lease for a little, and ends it in some way.
func hold[T any](l resource.Lease[T], r *rand.Rand) {
	for range r.IntN(4) {
		runtime.Gosched()
	}
	if r.IntN(2) == 0 {
		time.Sleep(time.Duration(r.IntN(200)) * time.Microsecond)
	}
	switch r.IntN(16) {
	case 0:
		l.Discard(nil)
	case 1, 2, 3:
		l.Fail(errHeld)
	case 4:
		l.Hijack()
	default:
		l.Release()
	}
}

// makes is a Make of numbers. One in eight fails if failing.
func makes(failing bool) func(context.Context) (int, error) {
	var n atomic.Int64
	return func(context.Context) (int, error) {
		i := int(n.Add(1))
		if failing && i%8 == 3 {
			return 0, errMake
		}
		return i, nil
	}
}

// evictsInPool lets an Eviction decide in a pool.
func evictsInPool(k *kit, e resource.Eviction) {
	inPool(k, resource.Config[int]{Make: makes(false), Eviction: e},
		visit{requests: []resource.Request{{}, {MinRemaining: moment}}, patient: true})
}
