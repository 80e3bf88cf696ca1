package suite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// openIdleSockets returns a pool of n idle connections that are kept alive.
func openIdleSockets(ctx context.Context, a address, scheme string, n int, s size) (*wspool.Pool, error) {
	// Some files are open besides.
	if limit, ok := openFiles(); ok && uint64(n)+100 > limit {
		return nil, fmt.Errorf("%d connections at each end, but the limit on open files is %d (ulimit -n)", n, limit)
	}
	p, err := openSockets(a, scheme, func(c *wspool.Config) {
		c.MaxSize, c.MaxDials, c.KeepAlive = n, 64, s.wsKeepAlive
	})
	if err != nil {
		return nil, err
	}
	err = p.Warm(ctx, n)
	if got := p.Stats().Idle; err == nil && got != n {
		err = fmt.Errorf("%d idle, not %d", got, n)
	}
	if err != nil {
		return nil, errors.Join(err, closePool(p))
	}
	return p, pause(ctx, s.wsSettle)
}

// socketMemoryRow finds what an idle connection keeps of this process's memory, if
// somebody notices when its server goes: the pool, or a goroutine that reads.
func socketMemoryRow(name, scheme string, peer *echoPeer) row {
	one := func(name string, open func(ctx context.Context, a address, scheme string, s size) (func() error, error)) entrant {
		return entrant{name, func(ctx context.Context, s size) (session, error) {
			a, err := peer.open(ctx)
			if err != nil {
				return session{}, err
			}
			return session{
				measure: func(ctx context.Context) (sample, error) {
					return memoryOf(s.wsIdle, func() (func() error, error) { return open(ctx, a, scheme, s) })
				},
				close: peer.close,
			}, nil
		}}
	}
	return row{name, []entrant{one("respool", idlePool), one(bareName, idleBare), one(tunedName, idleTuned), one(coderName, idleCoder)}}
}

func idlePool(ctx context.Context, a address, scheme string, s size) (func() error, error) {
	p, err := openIdleSockets(ctx, a, scheme, s.wsIdle, s)
	if err != nil {
		return nil, err
	}
	return func() (err error) {
		if n := p.Stats().Idle; n != s.wsIdle {
			err = fmt.Errorf("%d of %d connections stayed", n, s.wsIdle)
		}
		return errors.Join(err, closePool(p))
	}, nil
}

// idleBare has connections in gorilla's defaults, each with a goroutine that reads.
func idleBare(ctx context.Context, a address, scheme string, s size) (func() error, error) {
	return idleWith(ctx, a, scheme, s, func(*websocket.Dialer) {})
}

// idleTuned has them with a small buffer for reading, and share those for writing.
func idleTuned(ctx context.Context, a address, scheme string, s size) (func() error, error) {
	return idleWith(ctx, a, scheme, s, func(d *websocket.Dialer) {
		d.ReadBufferSize, d.WriteBufferPool = 512, new(sync.Pool)
	})
}

func idleWith(ctx context.Context, a address, scheme string, s size, tune func(*websocket.Dialer)) (func() error, error) {
	d, err := a.dialer(scheme)
	if err != nil {
		return nil, err
	}
	tune(&d.Dialer)
	var all []*websocket.Conn
	var readers sync.WaitGroup
	end := func() (err error) {
		for _, ws := range all {
			err = errors.Join(err, ws.Close())
		}
		readers.Wait()
		return err
	}
	for range s.wsIdle {
		ws, err := d.dial(ctx)
		if err != nil {
			return nil, errors.Join(err, end())
		}
		all = append(all, ws)
		readers.Go(func() { _, _, _ = ws.NextReader() }) // until it is closed
	}
	return end, pause(ctx, s.wsSettle)
}

// idleCoder has connections of coder's, which it reads if told so.
func idleCoder(ctx context.Context, a address, scheme string, s size) (func() error, error) {
	all, end, err := coderConns(ctx, a, scheme, s.wsIdle)
	if err != nil {
		return nil, err
	}
	reading, stop := context.WithCancel(ctx)
	for _, c := range all {
		c.CloseRead(reading)
	}
	return func() error {
		stop()
		_ = end() // whose read was cancelled it closed
		return nil
	}, pause(ctx, s.wsSettle)
}

// memoryOf is what n connections keep that open opens.
func memoryOf(n int, open func() (end func() error, err error)) (sample, error) {
	heap0, stack0 := memoryInUse()
	end, err := open()
	if err != nil {
		return nil, err
	}
	heap1, stack1 := memoryInUse()
	if err := end(); err != nil {
		return nil, err
	}
	heap, stack := (heap1-heap0)/float64(n)/1024, (stack1-stack0)/float64(n)/1024
	return sample{"KiB": heap + stack, "heap KiB": heap, "stack KiB": stack}, nil
}

// memoryInUse returns the bytes of heap and stacks that are in use once the
// garbage is gone. What is in a sync.Pool goes only at the second collection.
func memoryInUse() (heap, stack float64) {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc), float64(m.StackInuse)
}

// keptAliveRow finds the CPU time that very many idle connections take.
func keptAliveRow(name string, peer *echoPeer) row {
	return row{name, []entrant{{"many idle", func(ctx context.Context, s size) (session, error) {
		a, p, err := openMany(ctx, peer, s, s.wsMany)
		if err != nil {
			return session{}, err
		}
		round := 0
		return session{
			measure: func(ctx context.Context) (sample, error) {
				// Every fifth round: one takes as long as the keepalive.
				if round++; round%5 != 1 {
					return sample{}, nil
				}
				return keptAlive(ctx, a, p, s)
			},
			close: func() error { return errors.Join(closePool(p), peer.close()) },
		}, nil
	}}}}
}

// keptAlive watches for as long as every connection needs to be pinged once,
// whenever that was last.
func keptAlive(ctx context.Context, a address, p *wspool.Pool, s size) (sample, error) {
	var pings int64
	cpu, err := cpuOf(ctx, s.wsKeepAlive, func() error {
		c, err := a.counts(ctx)
		pings = c.Pings - pings
		return err
	})
	if err != nil {
		return nil, err
	}
	n := p.Stats().Idle
	if n != s.wsMany {
		return nil, fmt.Errorf("%d of %d connections stayed", n, s.wsMany)
	}
	return sample{
		"cpu %": 100 * cpu.Seconds() / s.wsKeepAlive.Seconds(),
		"pings": float64(pings) / float64(n),
	}, nil
}

func openMany(ctx context.Context, peer *echoPeer, s size, n int) (address, *wspool.Pool, error) {
	a, err := peer.open(ctx)
	if err != nil {
		return a, nil, err
	}
	p, err := openIdleSockets(ctx, a, "ws", n, s)
	if err != nil {
		return a, nil, errors.Join(err, peer.close())
	}
	return a, p, nil
}

// amongManyRow times an acquire and release of a pool of very many idle
// connections beside one of few.
func amongManyRow(name string, peer *echoPeer) row {
	one := func(name string, n func(size) int) entrant {
		return entrant{name, func(ctx context.Context, s size) (session, error) {
			_, p, err := openMany(ctx, peer, s, n(s))
			if err != nil {
				return session{}, err
			}
			l := func(ctx context.Context, n int) error {
				for range n {
					if err := lease(ctx, p, 0); err != nil {
						return err
					}
				}
				return nil
			}
			return session{
				measure: meterCancellable(s, l),
				close:   func() error { return errors.Join(closePool(p), peer.close()) },
			}, nil
		}}
	}
	return row{name, []entrant{
		one("many idle", func(s size) int { return s.wsMany }),
		one("10 idle", func(size) int { return fewIdle }),
	}}
}
