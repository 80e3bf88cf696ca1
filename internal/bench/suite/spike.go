package suite

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

const (
	spikeCallers = 50
	spikeIdle    = 5
)

// spikeRow: 50 callers at once and 5 idle. If work is much shorter than a make the
// idle five could serve them all in ten turns; if it is much longer, 45 makes at
// once are right.
func spikeRow(name string, kinds []peer.Kind, work func(size) time.Duration) row {
	r := row{name: name}
	for _, k := range kinds {
		r.entrants = append(r.entrants, entrant{k.Name, func(_ context.Context, s size) (session, error) {
			var served []point
			return session{
				measure: func(ctx context.Context) (sample, error) {
					t := &timeline{}
					got, err := spike(ctx, k, s, work(s), t)
					served = t.points()
					return got, err
				},
				curve: func() []point { return served },
			}, nil
		}})
	}
	return r
}

// A timeline is when things happened.
type timeline struct {
	start time.Time

	mu sync.Mutex
	at []time.Time
}

// note returns how many there are now.
func (t *timeline) note() int {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at = append(t.at, now)
	return len(t.at)
}

// points counts them, from start.
func (t *timeline) points() (out []point) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.at, time.Time.Compare)
	for i, at := range t.at {
		out = append(out, point{AtMs: millis(at.Sub(t.start)), Count: i + 1})
	}
	return out
}

// spike warms with the real make, so that a pool can know what one costs.
// Once the last is served there is nothing more to learn, and all let go.
func spike(ctx context.Context, k peer.Kind, s size, work time.Duration, served *timeline) (sample, error) {
	f := &factory{takes: s.spikeMake}
	return with(k, spikeCallers, f.make, func(p peer.Pool) (sample, error) {
		if err := p.Warm(ctx, spikeIdle); err != nil {
			return nil, err
		}
		begin := time.Now()
		var doneAt atomic.Int64 // since begin, of the last
		all, allServed := context.WithCancel(context.Background())
		defer allServed()
		start, err := crowd(ctx, spikeCallers, func(ctx context.Context, _ int) error {
			h, err := p.Acquire(ctx)
			if err != nil {
				return err
			}
			if served.note() == spikeCallers && work == s.spikeLong {
				allServed()
			}
			_ = pause(all, work) // that it ended early is no error
			h.Release()
			raise(&doneAt, time.Since(begin))
			return nil
		})
		if err != nil {
			return nil, err
		}
		served.start = start
		line := served.points()
		return sample{
			"served ms": line[len(line)-1].AtMs,
			"total ms":  millis(time.Duration(doneAt.Load()) - start.Sub(begin)),
			"makes":     float64(len(f.since(start))),
		}, nil
	})
}

// raise makes top at least d.
func raise(top *atomic.Int64, d time.Duration) {
	for {
		old := top.Load()
		if int64(d) <= old || top.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// zeroWork: a pool that is empty, and acquires that are over at once. The
// first make serves everybody; waiting for more would be time lost.
func zeroWork(ctx context.Context, k peer.Kind, s size) (sample, error) {
	const callers = 50
	f := &factory{takes: s.zeroMake}
	return with(k, callers, f.make, func(p peer.Pool) (sample, error) {
		start, err := crowd(ctx, callers, func(ctx context.Context, _ int) error {
			for range s.zeroOps / callers {
				h, err := p.Acquire(ctx)
				if err != nil {
					return err
				}
				h.Release()
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		took := time.Since(start)
		return sample{
			"makes long": float64(took) / float64(s.zeroMake),
			"makes":      float64(len(f.since(start))),
		}, nil
	})
}
