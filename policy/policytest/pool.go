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

// After the direct tests, a policy is used in a pool.

const (
	poolCallers = 12 // concurrent callers
	poolRounds  = 40 // acquires of each
	poolSize    = 4  // MaxSize
)

var (
	errHeld = errors.New("policytest: the holder reported a failure")
	errMake = errors.New("policytest: make failed")
)

// workload is the behaviour of the callers of a pool.
type workload struct {
	requests   []resource.Request // used in turn
	patient    bool               // every second caller waits without a short deadline
	mustServed bool               // patient callers must be served; otherwise they may be refused
}

// usePool creates a pool and runs the workload on it. No policy in cfg may panic, every
// call must return, and the pool must close.
func usePool[T any](k *kit, cfg resource.Config[T], w workload) {
	k.Helper()
	var firstPanic atomic.Value
	cfg.MaxSize = poolSize
	cfg.SweepInterval = resource.MinSweepInterval
	cfg.Trace = &resource.Trace{Panicked: func(err error) { firstPanic.CompareAndSwap(nil, err.Error()) }}
	pool, err := resource.New(cfg)
	if err != nil {
		k.fatalf("resource.New: %v", err)
	}
	returned := k.concurrently(poolCallers, patiently, "a caller of a pool with it", func(i int, r *rand.Rand) {
		for n := range poolRounds {
			if k.bad.Load() {
				return
			}
			acquireOnce(k, pool, w, w.requests[(i+n)%len(w.requests)], w.patient && i%2 == 0, r)
		}
	})
	s := pool.Stats()
	closing, cancel := context.WithTimeout(context.Background(), promptly)
	defer cancel()
	if err := pool.Close(closing); err != nil {
		k.errorf("the pool with it does not close: %v", err)
	}
	if n := pool.Stats().Panics; n > 0 {
		k.errorf("it panicked %d times in a pool: %v", n, firstPanic.Load())
	}
	if !returned {
		k.errorf("the state of the pool was: %v", s)
	}
	k.stopIfBad()
}

// acquireOnce acquires and ends one lease.
func acquireOnce[T any](k *kit, pool *resource.Pool[T], w workload, req resource.Request, patient bool, r *rand.Rand) {
	limit := time.Duration(r.IntN(3000)) * time.Microsecond
	if patient {
		limit = patiently / 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if !patient && r.IntN(4) == 0 {
		time.AfterFunc(limit/2, cancel)
	}
	began := time.Now()
	l, err := pool.AcquireWith(ctx, req)
	if late := time.Since(began) - limit; late > promptly {
		k.errorf("AcquireWith(%+v) returned %v after the end of its context", req, late)
	}
	if patient {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			k.errorf("a caller with %+v was neither served nor refused for %v: %v", req, limit, err)
		case err != nil && w.mustServed:
			k.errorf("a caller with %+v was refused: %v", req, err)
		}
	}
	if err == nil {
		holdAndEnd(l, r)
	}
}

// holdAndEnd holds a lease for a random time and ends it in a random way.
func holdAndEnd[T any](l resource.Lease[T], r *rand.Rand) {
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

// numbers returns a Make of consecutive numbers. With failing, one in eight fails.
func numbers(failing bool) func(context.Context) (int, error) {
	var n atomic.Int64
	return func(context.Context) (int, error) {
		i := int(n.Add(1))
		if failing && i%8 == 3 {
			return 0, errMake
		}
		return i, nil
	}
}
