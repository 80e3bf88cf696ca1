package suite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// perRound opens what a measurement needs anew, and closes it when it ends.
func perRound(f func(x *setup) sample) func(*setup) measurement {
	return func(*setup) measurement {
		return func(ctx context.Context) (got sample) {
			check(scoped(ctx, func(x *setup) { got = f(x) }))
			return got
		}
	}
}

// idleCloseRow finds how long a connection stays in the pool after the server has closed
// it: until it is answered, hung up and destroyed.
func idleCloseRow(scheme string, s size) row {
	closes := s.count(200)
	return row{name: scheme + "-idle-close", figures: []figure{
		{work: "from the server's close to the end of the connection, idle, " + scheme, metric: "p99 ms", rule: atMost, bound: 5},
		{work: "  half of them", metric: "p50 ms"},
	}, entrants: []entrant{{"respool", perRound(func(x *setup) sample {
		a := x.server()
		gone := make(departures, closes)
		p := x.sockets(a, scheme, closes, gone.trace)
		check(p.Warm(x.ctx, closes))
		check(peer.Pause(x.ctx, s.time(100*ms)))
		took := gone.measure(x.ctx, a, closes)
		return sample{"p50 ms": quantile(took, 0.5), "p99 ms": quantile(took, 0.99), "longest ms": slices.Max(took)}
	})}}}
}

// departures are the times at which connections were gone.
type departures chan time.Time

func (gone departures) trace(c *wspool.Config) {
	c.Trace = &resource.Trace{Destroyed: func(resource.DestroyEvent) {
		select {
		case gone <- time.Now():
		default: // the pool closes: they are measured no more
		}
	}}
}

// measure has the server close n connections, one after the other, and returns the
// milliseconds until each is gone.
func (gone departures) measure(ctx context.Context, a address, n int) (took []float64) {
	for range n {
		start := a.goAway(ctx, 1)
		select {
		case at := <-gone:
			took = append(took, millis(at.Sub(start)))
		case <-time.After(peer.CloseTime):
			check(fmt.Errorf("a connection that the server closed %v ago is still in the pool", peer.CloseTime))
		}
	}
	return took
}

// massRow has the server close every connection at once with 1001, and then take its
// time over each handshake when all are dialed again. The pool makes 50 resources at once
// while it has none that works, and ahead of demand: 200 take four dials one after the
// other, whatever MaxDials allows beyond 50.
func massRow(s size) row {
	conns, dials := s.count(200), s.count(70)
	handshake, maxDelay := s.time(50*ms), s.time(100*ms)
	return row{name: "ws-mass-1001", figures: []figure{
		{work: "1001 to 200 at once: concurrent dials", metric: "peak", rule: neverOver, bound: float64(dials)},
		{work: "  all back, of 4 dials and the jitter", metric: "of bound", rule: atMost, bound: 1},
		{work: "  in time", metric: "back ms"},
	}, entrants: []entrant{{"respool", perRound(func(x *setup) sample {
		dial := slowestDial(x.ctx, handshake, dials)
		var made, last atomic.Int64 // last is since base
		base := time.Now()
		back := make(chan struct{})
		a := x.server().with("?handshake=" + handshake.String())
		p := x.sockets(a, "ws", conns, func(c *wspool.Config) {
			c.MinIdle, c.MaxDials = conns, dials
			c.Redial = func(error, int) time.Duration { return rand.N(maxDelay) }
			c.Trace = &resource.Trace{Made: func(_ context.Context, e resource.MakeEvent) {
				if e.Err == nil && made.Add(1) == int64(2*conns) {
					raise(&last, int64(time.Since(base)))
					close(back)
				}
			}}
		})
		check(p.Warm(x.ctx, conns))
		useAll(x.ctx, p, conns)
		check(peer.Pause(x.ctx, s.time(100*ms)))
		start := a.goAway(x.ctx, conns)
		select {
		case <-back:
		case <-x.ctx.Done():
			check(fmt.Errorf("%d of %d connections are back: %w", made.Load()-int64(conns), conns, x.ctx.Err()))
		}
		took := base.Add(time.Duration(last.Load())).Sub(start)
		return sample{
			"peak":     float64(a.counts(x.ctx).Peak),
			"back ms":  millis(took),
			"dials":    float64(took-maxDelay) / float64(dial),
			"of bound": float64(took) / float64(4*dial+maxDelay),
		}
	})}}}
}

// useAll leases n connections, all at once. Connections that end before their first
// lease indicate a server in trouble, and the pool would replace them cautiously.
func useAll(ctx context.Context, p *wspool.Pool, n int) {
	for range n {
		c := must(p.Acquire(ctx))
		defer c.Release()
	}
}

// slowestDial is how long n concurrent dials with gorilla alone take.
func slowestDial(ctx context.Context, takes time.Duration, n int) time.Duration {
	var slowest atomic.Int64
	var start, begin time.Time
	check(scoped(ctx, func(x *setup) {
		d := x.server().with("?handshake=" + takes.String()).dialer("ws")
		var mu sync.Mutex
		begin = time.Now()
		start = crowd(ctx, n, func(ctx context.Context, _ int) {
			ws := d.dial(ctx)
			raise(&slowest, int64(time.Since(begin)))
			mu.Lock()
			defer mu.Unlock()
			x.cleanup(func() error { return closeGorilla(ws) })
		})
	}))
	return time.Duration(slowest.Load()) - start.Sub(begin)
}
