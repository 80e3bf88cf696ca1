package suite

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/wspool"
)

const keepAlive = 20 * time.Second

// idleSockets returns a pool of n idle connections that are kept alive.
func (x *setup) idleSockets(a address, scheme string, n int, s size, edits ...func(*wspool.Config)) *wspool.Pool {
	p := x.sockets(a, scheme, n, func(c *wspool.Config) {
		c.MaxDials, c.KeepAlive = 64, s.time(keepAlive)
		for _, edit := range edits {
			edit(c)
		}
	})
	check(p.Warm(x.ctx, n))
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
			d := a.dialer(scheme)
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
				pings += a.counts(x.ctx).Pings
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
