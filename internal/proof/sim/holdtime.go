package sim

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

const (
	holdRate = 250 // callers per second
	making   = 20 * time.Millisecond
	waitFor  = 200 * time.Millisecond // of a caller, which then leaves
)

// Hold time is not latency: a server that is never overloaded, whose callers hold their
// leases for 40 ms, and later for 400 ms, as when a larger job begins. An adaptive limiter
// takes the time that its permit is held for the latency of the server. As Admission it
// sees the latency rise tenfold and lowers its limit; as MakeGate it sees the real
// latency.
var holdTime = Scene{
	Name:    "hold-time",
	Promise: "longer leases on a healthy server: callers refused by an adaptive limiter",
	Clients: 20_000,
	play: func(s *Stage) {
		s.row("adaptive limiter as", "held for", "served", "turned away", "p99 wait", "least limit")
		run := func(name string, edit func(cfg *resource.Config[int], a resource.Admission)) (brief, long trap) {
			brief, long = s.playTrap(name, edit)
			s.row(name, "40ms", brief.served, brief.turnedAway, quantile(brief.waits, 0.99), brief.least)
			s.row(name, "400ms", long.served, long.turnedAway, quantile(long.waits, 0.99), long.least)
			return brief, long
		}
		_, leases := run("Admission", func(cfg *resource.Config[int], a resource.Admission) { cfg.Admission = a })
		brief, makes := run("MakeGate", func(cfg *resource.Config[int], a resource.Admission) { cfg.MakeGate = a })
		refused := brief.turnedAway + makes.turnedAway
		s.goal(refused == 0, "as MakeGate: a healthy server refused %d callers, none", refused)
		p99 := max(quantile(brief.waits, 0.99), quantile(makes.waits, 0.99))
		s.goal(p99 <= 2*making, "as MakeGate: the 99th percentile of the waits is %v, at most %v", p99, 2*making)
		part := float64(leases.turnedAway) / float64(leases.turnedAway+leases.served)
		s.goal(part >= 0.07, "as Admission: %.3f refused, at least 0.07, or the effect is gone and the doc of policy.Adaptive wrong", part)
		s.figures(percent(part)+" (as `Admission`)", percent(float64(refused)/float64(s.res.Clients))+" (as `MakeGate`)")
	},
}

// trap is the result of one phase.
type trap struct {
	served, turnedAway int
	waits              []time.Duration
	least              int // lowest limit
}

// hold generates callers that hold their leases for about d.
func (p *trap) hold(pool *resource.Pool[int], r *rand.Rand, rate float64, lasts time.Duration, limit func() int, d time.Duration) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	p.least = limit()
	for end := time.Now().Add(lasts); time.Now().Before(end); {
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

// playTrap returns the results of both phases.
func (s *Stage) playTrap(name string, edit func(cfg *resource.Config[int], a resource.Admission)) (brief, long trap) {
	// The limiter adapts over time, so more clients mean a longer phase.
	phase := time.Duration(s.res.Clients) * time.Second / holdRate / 2
	s.bubble(name, func(t *testing.T) {
		var n atomic.Int64
		limiter := adaptivelimiter.NewWithDefaults[any]()
		r := s.rand(0)
		cfg := resource.Config[int]{
			Make: func(ctx context.Context) (int, error) {
				time.Sleep(making + instant(int(n.Add(1)%1000)))
				return 1, nil
			},
			MaxSize:  300,                      // more than needed
			Order:    resource.OldestFirst,     // repeatable, see the package comment
			Eviction: policy.MaxLeases(5, 0.5), // causes constant creation
		}
		edit(&cfg, policy.Adaptive(limiter))
		pool := newPool(t, cfg)
		brief.hold(pool, r, holdRate, phase, limiter.Limit, 40*time.Millisecond)
		long.hold(pool, r, holdRate, phase, limiter.Limit, 400*time.Millisecond)
		closePool(t, pool)
	})
	return brief, long
}
