package suite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// A closer is the server in this process, which closes connections on command.
type closer struct {
	echoes
	addr address

	mu    sync.Mutex
	conns []*websocket.Conn // open and not closed by goAway, in the order they were opened
}

// closer starts one that ends with the row or round of x, after its connections.
func (x *setup) closer(handshake time.Duration) *closer {
	c := &closer{}
	c.onOpen = func(ws *websocket.Conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.conns = append(c.conns, ws)
	}
	a, stop := c.listen()
	x.cleanup(func() error { stop(); c.all.Wait(); return nil })
	c.addr = a.with("?handshake=" + handshake.String())
	return c
}

// goAway closes the n oldest connections with 1001 and returns when it began.
func (c *closer) goAway(n int) time.Time {
	c.mu.Lock()
	open := len(c.conns)
	oldest := slices.Clone(c.conns[:min(n, open)])
	c.conns = c.conns[len(oldest):]
	c.mu.Unlock()
	failIf(n > open, "%d connections are open, want %d", open, n)
	start := time.Now()
	for _, ws := range oldest {
		check(ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""), start.Add(peer.CloseTime)))
	}
	return start
}

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
		gone := make(chan time.Time, closes)
		c := x.closer(0)
		p := x.sockets(c.addr, scheme, closes, func(c *wspool.Config) {
			c.Trace = &resource.Trace{Destroyed: func(resource.DestroyEvent) { gone <- time.Now() }}
		})
		check(p.Warm(x.ctx, closes))
		check(peer.Pause(x.ctx, s.time(100*ms)))
		var took []float64
		for range closes {
			start := c.goAway(1)
			select {
			case at := <-gone:
				took = append(took, millis(at.Sub(start)))
			case <-time.After(peer.CloseTime):
				check(fmt.Errorf("a connection that the server closed %v ago is still in the pool", peer.CloseTime))
			}
		}
		return sample{"p50 ms": quantile(took, 0.5), "p99 ms": quantile(took, 0.99), "longest ms": slices.Max(took)}
	})}}}
}

// massRow has the server close every connection at once with 1001, and then take its
// time over each handshake when all are dialed again.
func massRow(s size) row {
	conns, dials := s.count(200), s.count(70)
	handshake, maxDelay := s.time(50*ms), s.time(100*ms)
	return row{name: "ws-mass-1001", figures: []figure{
		{work: "1001 to 200 at once: concurrent dials", metric: "peak", rule: neverOver, bound: float64(dials)},
		{work: "  all back, of 3 dials and the jitter", metric: "of bound", rule: atMost, bound: 1},
		{work: "  in time", metric: "back ms"},
	}, entrants: []entrant{{"respool", perRound(func(x *setup) sample {
		dial := slowestDial(x.ctx, handshake, dials)
		var made, last atomic.Int64 // last is since base
		base := time.Now()
		back := make(chan struct{})
		c := x.closer(handshake)
		p := x.sockets(c.addr, "ws", conns, func(c *wspool.Config) {
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
		c.peak.Store(0)
		start := c.goAway(conns)
		select {
		case <-back:
		case <-x.ctx.Done():
			check(fmt.Errorf("%d of %d connections are back: %w", made.Load()-int64(conns), conns, x.ctx.Err()))
		}
		took := base.Add(time.Duration(last.Load())).Sub(start)
		return sample{
			"peak":     float64(c.peak.Load()),
			"back ms":  millis(took),
			"dial ms":  millis(dial),
			"dials":    float64(took-maxDelay) / float64(dial),
			"of bound": float64(took) / float64(3*dial+maxDelay),
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
		d := x.closer(takes).addr.dialer("ws")
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
