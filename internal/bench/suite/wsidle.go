package suite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

const keepAlive = 20 * time.Second

// idleSockets returns a pool of n idle connections that are kept alive.
func (x *setup) idleSockets(a address, scheme string, n int, s size, edits ...func(*wspool.Config)) *wspool.Pool {
	p := x.warmSockets(a, scheme, n, n, func(c *wspool.Config) {
		c.MaxDials, c.KeepAlive = 64, s.time(keepAlive)
		for _, edit := range edits {
			edit(c)
		}
	})
	allIdle(p, n)
	check(peer.Pause(x.ctx, s.time(100*ms)))
	return p
}

func allIdle(p *wspool.Pool, n int) {
	got := p.Stats().Idle
	failIf(got != n, "%d of %d connections are idle", got, n)
}

// socketMemoryRow finds the memory of this process that an idle connection keeps, whose
// end is noticed when it comes: by the pool, or by a goroutine that reads.
func socketMemoryRow(scheme string, s size, bound float64) row {
	conns := s.count(2000)
	one := func(name string, open func(x *setup, a address)) entrant {
		return entrant{name, func(x *setup) measurement {
			a := x.server()
			return perRound(func(x *setup) sample {
				before := memoryInUse()
				open(x, a)
				check(peer.Pause(x.ctx, s.time(100*ms)))
				return sample{"KiB": (memoryInUse() - before) / float64(conns) / 1024}
			})(x)
		}}
	}
	gorilla := func(tune func(*websocket.Dialer)) func(x *setup, a address) {
		return func(x *setup, a address) {
			d := dialer(a, scheme)
			tune(&d.Dialer)
			var readers sync.WaitGroup
			x.cleanup(func() error { readers.Wait(); return nil })
			for range conns {
				ws := d.dial(x.ctx)
				x.cleanup(ws.Close)
				readers.Go(func() { _, _, _ = ws.NextReader() }) // until it is closed
			}
		}
	}
	return row{name: scheme + "-memory", figures: []figure{
		{work: "memory of an idle connection that is read (and, ours, kept alive), " + scheme, metric: "KiB", than: gorillaName, rule: atMost, bound: bound},
	}, entrants: []entrant{
		one("respool", func(x *setup, a address) {
			p := x.idleSockets(a, scheme, conns, s)
			x.cleanup(func() error { return attempt(func() { allIdle(p, conns) }) }) // still
		}),
		one(gorillaName, gorilla(func(*websocket.Dialer) {})),
		one(tunedName, gorilla(func(d *websocket.Dialer) { d.ReadBufferSize, d.WriteBufferPool = 512, new(sync.Pool) })),
		one(coderName, func(x *setup, a address) {
			all, end := coderConns(x.ctx, a, scheme, conns)
			x.cleanup(func() error { _ = end(); return nil }) // they closed when their reads were cancelled
			reading, stop := context.WithCancel(x.ctx)
			x.cleanup(func() error { stop(); return nil })
			for _, c := range all {
				c.CloseRead(reading)
			}
		}),
	}}
}

// memoryInUse returns the bytes of heap and stacks in use after garbage collection. The
// content of a sync.Pool survives the first collection.
func memoryInUse() float64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// firstOfFive measures in every fifth round only, from the first.
func firstOfFive(open func(x *setup) measurement) func(x *setup) measurement {
	return func(x *setup) measurement {
		measure, round := open(x), 0
		return func(ctx context.Context) sample {
			if round++; round%5 != 1 {
				return sample{}
			}
			return measure(ctx)
		}
	}
}

// crowdRow finds what n idle connections cost their process, beyond what the kernel
// uses: memory and goroutines, the CPU time of their keepalive, and the time until one that
// the server closes is gone, and until all are closed. Several servers share them,
// because a process can have too few descriptors for all. It is measured in one round of
// five.
func crowdRow(name string, n int, s size, cpu float64) row {
	n = s.count(n)
	const closes, perServer, spare = 200, 10_000, 200 // descriptors
	return row{name: name, figures: []figure{
		{work: fmt.Sprintf("%s idle, 20 s keepalive: memory of each", grouped(n)), metric: "KiB", rule: atMost, bound: 2.5},
		{work: "  goroutines beyond those before", metric: "goroutines", rule: atMost, bound: 50},
		{work: "  CPU, of one core", metric: "cpu %", rule: atMost, bound: cpu},
		{work: "  pings to each meanwhile", metric: "pings", rule: atLeast, bound: 0.9},
		{work: "  from the server's close of one to its end", metric: "p99 ms", rule: atMost, bound: 20},
		{work: "  until all are closed", metric: "close s", rule: atMost, bound: float64(n) / float64(s.count(10_000))},
	}, entrants: []entrant{{"many idle", firstOfFive(perRound(func(x *setup) sample {
		failIf(descriptors() < n+spare, "%d descriptors, want %d", descriptors(), n+spare)
		var servers []address
		for range 1 + n/perServer {
			servers = append(servers, x.server())
		}
		var dials atomic.Int64
		gone := make(departures, closes)
		before := memoryInUse()
		goroutines := runtime.NumGoroutine()
		p := x.idleSockets(servers[0], "ws", n, s, gone.trace, func(c *wspool.Config) {
			c.NetDial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				to := must(url.Parse(servers[int(dials.Add(1))%len(servers)].WS))
				return new(net.Dialer).DialContext(ctx, network, to.Host)
			}
		})
		got := sample{"KiB": (memoryInUse() - before) / float64(n) / 1024, "goroutines": float64(runtime.NumGoroutine() - goroutines)}
		var pings int64
		used := cpuOf(x.ctx, s.time(keepAlive), func() {
			pings = -pings
			for _, a := range servers {
				pings += must(a.Counts(x.ctx)).Pings
			}
		})
		allIdle(p, n)
		got["cpu %"], got["pings"] = 100*used.Seconds()/s.time(keepAlive).Seconds(), float64(pings)/float64(n)
		got["p99 ms"] = quantile(gone.measure(x.ctx, servers[0], s.count(closes)), 0.99)
		begin := time.Now()
		check(peer.Close(p))
		got["close s"] = time.Since(begin).Seconds()
		return got
	}))}}}
}

// amongManyRow times an acquire and release in a pool of very many idle connections,
// and in one of few.
func amongManyRow(s size) row {
	one := func(name string, n int) entrant {
		return entrant{name, func(x *setup) measurement {
			p := x.idleSockets(x.server(), "ws", n, s)
			return metered(s, repeated(func(ctx context.Context) { lease(ctx, p, 0) }))
		}}
	}
	return row{name: "ws-10k-acquire", entrants: []entrant{one("many idle", s.count(10_000)), one("10 idle", fewIdle)}, figures: []figure{
		{work: "acquire and release among 10,000, beside 10", metric: "ns/op", rule: ratioAtMost, bound: 1.2, than: "10 idle"},
	}}
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
		a := x.server()
		gone := make(departures, closes)
		x.warmSockets(a, scheme, closes, closes, gone.trace)
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
		start := must(a.GoAway(ctx, 1))
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
		a := x.server().With("handshake=" + handshake.String())
		p := x.warmSockets(a, "ws", conns, conns, func(c *wspool.Config) {
			c.MinIdle, c.MaxDials = conns, dials
			c.Redial = func(error, int) time.Duration { return rand.N(maxDelay) }
			c.Trace = &resource.Trace{Made: func(_ context.Context, e resource.MakeEvent) {
				if e.Err == nil && made.Add(1) == int64(2*conns) {
					raise(&last, int64(time.Since(base)))
					close(back)
				}
			}}
		})
		useAll(x.ctx, p, conns)
		check(peer.Pause(x.ctx, s.time(100*ms)))
		start := must(a.GoAway(x.ctx, conns))
		select {
		case <-back:
		case <-x.ctx.Done():
			check(fmt.Errorf("%d of %d connections are back: %w", made.Load()-int64(conns), conns, x.ctx.Err()))
		}
		took := base.Add(time.Duration(last.Load())).Sub(start)
		return sample{
			"peak":     float64(must(a.Counts(x.ctx)).Peak),
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
		d := dialer(x.server().With("handshake="+takes.String()), "ws")
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
