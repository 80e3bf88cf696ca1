package suite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/resource"
)

const fewIdle = 10

// openIdle returns a pool of n idle resources.
func openIdle(ctx context.Context, n int, c resource.Config[*peer.Item]) (*resource.Pool[*peer.Item], error) {
	c.Make, c.MaxSize = peer.Instant, n
	p, err := resource.New(c)
	if err != nil {
		return nil, err
	}
	if err := p.Warm(ctx, n); err != nil {
		return nil, errors.Join(err, closePool(p))
	}
	if got := p.Stats().Idle; got != n {
		return nil, errors.Join(fmt.Errorf("%d idle, not %d", got, n), closePool(p))
	}
	return p, nil
}

// idleEntrants are a pool of very many idle resources and one of few; body is
// what is metered on each.
func idleEntrants(body func(ctx context.Context, p *resource.Pool[*peer.Item], n int) error) []entrant {
	one := func(name string, n func(size) int) entrant {
		return entrant{name, func(ctx context.Context, s size) (session, error) {
			p, err := openIdle(ctx, n(s), resource.Config[*peer.Item]{SweepInterval: time.Hour})
			if err != nil {
				return session{}, err
			}
			l := func(ctx context.Context, n int) error { return body(ctx, p, n) }
			return session{measure: meterCancellable(s, l), close: func() error { return closePool(p) }}, nil
		}}
	}
	return []entrant{
		one("many idle", func(s size) int { return s.manyIdle }),
		one("10 idle", func(size) int { return fewIdle }),
	}
}

func idleAcquireRow() row { return row{"idle-acquire", idleEntrants(peer.RespoolLoop)} }

func statsRow() row { return row{"idle-stats", idleEntrants(statsLoop)} }

// statsLoop takes n snapshots of p, in which something must be idle.
func statsLoop(_ context.Context, p *resource.Pool[*peer.Item], n int) error {
	idle := 0
	for range n {
		idle += p.Stats().Idle
	}
	if idle == 0 {
		return errors.New("nothing idle in Stats")
	}
	return nil
}

// sweepCounter is an Eviction that keeps everything, and counts sweeps by the
// first resource, which each of them asks about once, as it is not in use.
type sweepCounter struct{ sweeps atomic.Int64 }

func (c *sweepCounter) Evict(i resource.Info) error {
	if i.ID == 1 {
		c.sweeps.Add(1)
	}
	return nil
}

// sweepRow finds the CPU time of one sweep over very many idle resources: what
// the process takes in a while with sweeps, less what it takes in a while
// without.
func sweepRow() row {
	return row{"idle-sweep", []entrant{{"many idle", openSweep}}}
}

func openSweep(ctx context.Context, s size) (session, error) {
	var count sweepCounter
	still, err := openIdle(ctx, s.manyIdle, resource.Config[*peer.Item]{Eviction: &sweepCounter{}, SweepInterval: time.Hour})
	if err != nil {
		return session{}, err
	}
	return session{
		measure: func(ctx context.Context) (sample, error) {
			without, err := cpuOf(ctx, s.sweepFor, nil)
			if err != nil {
				return nil, err
			}
			p, err := openIdle(ctx, s.manyIdle, resource.Config[*peer.Item]{Eviction: &count, SweepInterval: s.sweepEvery})
			if err != nil {
				return nil, err
			}
			var sweeps int64
			with, err := cpuOf(ctx, s.sweepFor, func() error { sweeps = count.sweeps.Load() - sweeps; return nil })
			if err := errors.Join(err, closePool(p)); err != nil {
				return nil, err
			}
			if sweeps == 0 {
				return nil, fmt.Errorf("no sweep in %v", s.sweepFor)
			}
			return sample{"cpu ms": millis(with-without) / float64(sweeps), "sweeps": float64(sweeps)}, nil
		},
		close: func() error { return closePool(still) },
	}, nil
}

// cpuOf returns the CPU time that this process takes in d, with the garbage of
// what came before out of the way. mark, if not nil, is called when that begins
// and when it ends.
func cpuOf(ctx context.Context, d time.Duration, mark func() error) (time.Duration, error) {
	if mark == nil {
		mark = func() error { return nil }
	}
	runtime.GC()
	if err := pause(ctx, d/10); err != nil { // and what it does afterwards
		return 0, err
	}
	if err := mark(); err != nil {
		return 0, err
	}
	before, err := cpuNow()
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, d); err != nil {
		return 0, err
	}
	after, err := cpuNow()
	return after - before, errors.Join(err, mark())
}
