package sim_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// Hold time is not latency: a server that is never overloaded, whose callers hold their
// leases for 40 ms, and later for 400 ms, as when a larger job begins. An adaptive limiter
// takes the time that its permit is held for the latency of the server. As Admission it
// sees the latency rise tenfold and lowers its limit; as MakeGate it sees the real
// latency.

const (
	rate    = 250 // callers per second
	phase   = time.Minute
	making  = 20 * time.Millisecond
	waitFor = 200 * time.Millisecond // of a caller, which then leaves
)

// trap is the result of one phase.
type trap struct {
	served, turnedAway int
	waits              []time.Duration
	least              int // lowest limit
}

// hold generates callers that hold their leases for about d.
func (p *trap) hold(pool *resource.Pool[int], r *rand.Rand, limit func() int, d time.Duration) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	p.least = limit()
	for end := time.Now().Add(phase); time.Now().Before(end); {
		time.Sleep(1 + time.Duration(r.ExpFloat64()/rate*float64(time.Second)))
		takes := time.Duration((0.9 + 0.2*r.Float64()) * float64(d))
		p.least = min(p.least, limit())
		wg.Go(func() {
			began := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), waitFor)
			defer cancel()
			l, err := pool.Acquire(ctx)
			mu.Lock()
			if err == nil {
				p.served++
				p.waits = append(p.waits, time.Since(began))
			} else {
				p.turnedAway++
			}
			mu.Unlock()
			if err == nil {
				time.Sleep(takes)
				l.Release()
			}
		})
	}
	wg.Wait()
}

// runTrap returns the results of both phases.
func runTrap(t *testing.T, seed uint64, edit func(cfg *resource.Config[int], a resource.Admission)) (short, long trap) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		limiter := adaptivelimiter.NewWithDefaults[any]()
		r := rand.New(rand.NewPCG(seed, 0))
		cfg := resource.Config[int]{
			Make: func(ctx context.Context) (int, error) {
				time.Sleep(making + instant(int(n.Add(1)%1000)))
				return 1, nil
			},
			MaxSize:  300,                      // more than needed
			Eviction: policy.MaxLeases(5, 0.5), // causes constant creation
		}
		edit(&cfg, policy.Adaptive(limiter))
		pool, err := resource.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		short.hold(pool, r, limiter.Limit, 40*time.Millisecond)
		long.hold(pool, r, limiter.Limit, 400*time.Millisecond)
		if err := pool.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return short, long
}

func TestHoldTime(t *testing.T) {
	seed := source(t).Uint64()
	var b table
	b.add("adaptive limiter as", "held for", "served", "turned away", "p99 wait", "least limit")
	run := func(name string, edit func(cfg *resource.Config[int], a resource.Admission)) (short, long trap) {
		short, long = runTrap(t, seed, edit)
		b.add(name, "40ms", short.served, short.turnedAway, quantile(short.waits, 0.99), short.least)
		b.add(name, "400ms", long.served, long.turnedAway, quantile(long.waits, 0.99), long.least)
		return short, long
	}
	_, leases := run("Admission", func(cfg *resource.Config[int], a resource.Admission) { cfg.Admission = a })
	short, makes := run("MakeGate", func(cfg *resource.Config[int], a resource.Admission) { cfg.MakeGate = a })
	b.log(t)
	if n := short.turnedAway + makes.turnedAway; n > 0 {
		t.Errorf("as MakeGate: a healthy server refused %d callers, want none", n)
	}
	if p99 := max(quantile(short.waits, 0.99), quantile(makes.waits, 0.99)); p99 > 2*making {
		t.Errorf("as MakeGate: the 99th percentile of the waits is %v, want %v at most", p99, 2*making)
	}
	if leases.turnedAway < 1000 {
		t.Errorf("as Admission: limit %d and %d refused; the effect is gone: is the doc of policy.Adaptive still true?",
			leases.least, leases.turnedAway)
	}
}
