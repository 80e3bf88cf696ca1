package suite

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// lostWakeup has two goroutines on one item, and finds the longest wait. A wake-up that
// is lost for good ends in the error of the row.
func lostWakeup(ctx context.Context, k peer.Kind, s size) sample {
	rounds := s.count(400_000)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return with(ctx, k, 1, 1, peer.Instant, func(p peer.Pool) sample {
		var longest atomic.Int64
		start := crowd(ctx, 2, func(ctx context.Context, _ int) {
			for i := range rounds / 2 {
				asked := time.Now()
				l := must(p.Acquire(ctx))
				waited := time.Since(asked)
				if i%4 == 0 {
					runtime.Gosched() // so that the other one begins to wait
				}
				l.Release()
				raise(&longest, int64(waited))
			}
		})
		took := time.Since(start)
		return sample{"longest ms": millis(time.Duration(longest.Load())), "ns/round": float64(took.Nanoseconds()) / float64(rounds)}
	})
}

// handOff has one item, held for 200 us of waiting, and eight goroutines that keep
// their CPU for 200 us after each release. If a waiter runs only once the releaser
// blocks, the item is unused meanwhile.
func handOff(ctx context.Context, k peer.Kind, s size) sample {
	const callers, hold = 8, 200 * time.Microsecond
	ops := s.count(800)
	return with(ctx, k, 1, 1, peer.Instant, func(p peer.Pool) sample {
		start := crowd(ctx, callers, func(ctx context.Context, _ int) {
			for range ops / callers {
				l := must(p.Acquire(ctx))
				err := peer.Pause(ctx, hold)
				l.Release()
				check(err)
				spin(hold)
			}
		})
		return sample{"us/op": micros(time.Since(start)) / float64(ops)}
	})
}

// fairness has 50 goroutines on 2 items for a while, and counts the leases of each.
func fairness(work func()) func(context.Context, peer.Kind, size) sample {
	return func(ctx context.Context, k peer.Kind, s size) sample {
		const callers, slots = 50, 2
		return with(ctx, k, slots, slots, peer.Instant, func(p peer.Pool) sample {
			var over atomic.Bool
			counts := make([]int, callers)
			defer time.AfterFunc(s.time(2*time.Second), func() { over.Store(true) }).Stop()
			crowd(ctx, callers, func(ctx context.Context, i int) {
				for !over.Load() {
					l := must(p.Acquire(ctx))
					work()
					l.Release()
					counts[i]++
				}
			})
			fewest, most := float64(slices.Min(counts)), float64(slices.Max(counts))
			return sample{"fewest": fewest, "most": most, "fewest/most": fewest / most}
		})
	}
}

// timeoutStorm has 600 callers with deadlines of 20 to 50 ms on 8 items of 1 ms work:
// three times what they could serve. Work is useful if it ends before its deadline.
func timeoutStorm(ctx context.Context, k peer.Kind, s size) sample {
	const callers, slots = 600, 8
	return with(ctx, k, slots, slots, peer.Instant, func(p peer.Pool) sample {
		var over atomic.Bool
		var useful atomic.Int64
		defer time.AfterFunc(s.time(3*time.Second), func() { over.Store(true) }).Stop()
		crowd(ctx, callers, func(ctx context.Context, i int) {
			draw := rand.New(rand.NewPCG(s.seed, uint64(i)))
			one := func() {
				deadline := time.Now().Add(20*ms + time.Duration(draw.Int64N(int64(30*ms))))
				ctx, cancel := context.WithDeadline(ctx, deadline)
				defer cancel()
				l, err := p.Acquire(ctx)
				if err != nil {
					return
				}
				time.Sleep(ms)
				l.Release()
				if !time.Now().After(deadline) {
					useful.Add(1)
				}
			}
			for !over.Load() && ctx.Err() == nil {
				one()
			}
		})
		return sample{"useful": float64(useful.Load())}
	})
}

// socketsRow has callers send a few bytes over a leased TCP connection and wait for the
// echo, as queries over a pool of database connections do.
func socketsRow(name string, kinds []peer.Kind, s size, callers, conns int, figures ...figure) row {
	return row{name: name, figures: figures, entrants: each(kinds, func(x *setup, k peer.Kind) measurement {
		addr := x.server().TCP
		return func(ctx context.Context) sample { return askSockets(ctx, k, addr, callers, conns, s.micro()) }
	})}
}

// askSockets has each caller make round trips for d, at least one.
func askSockets(ctx context.Context, k peer.Kind, addr string, callers, conns int, d time.Duration) sample {
	var mu sync.Mutex
	var made []net.Conn
	defer func() {
		for _, c := range made {
			c.Close()
		}
	}()
	dial := func(ctx context.Context) (*peer.Item, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		made = append(made, c)
		return &peer.Item{ID: len(made), Value: c}, nil
	}
	return with(ctx, k, conns, conns, dial, func(p peer.Pool) sample {
		ops, releases := make([][]float64, callers), make([][]float64, callers)
		begin := crowd(ctx, callers, func(ctx context.Context, i int) {
			b := []byte("select 1")
			for begin := time.Now(); ; {
				asked := time.Now()
				l := must(p.Acquire(ctx))
				c := l.Item().Value.(net.Conn)
				_, err := c.Write(b)
				if err == nil {
					_, err = io.ReadFull(c, b)
				}
				answered := time.Now()
				l.Release()
				ended := time.Now()
				check(err)
				ops[i] = append(ops[i], micros(ended.Sub(asked)))
				releases[i] = append(releases[i], micros(ended.Sub(answered)))
				if ended.Sub(begin) >= d {
					return
				}
			}
		})
		took := time.Since(begin)
		all := slices.Concat(ops...)
		return sample{
			"op/s":   float64(len(all)) / took.Seconds(),
			"p50 us": quantile(all, 0.5), "p99 us": quantile(all, 0.99),
			"release p99 us": quantile(slices.Concat(releases...), 0.99),
		}
	})
}

// serveEcho sends back what it reads, on each connection that l accepts.
func serveEcho(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go func() {
				defer c.Close()
				_, _ = io.Copy(struct{ io.Writer }{c}, c) // hides that c can splice, which costs a system call more for each echo
			}()
		}
	}
}
