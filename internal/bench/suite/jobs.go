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

const (
	spikeCallers, spikeIdle = 50, 5
	spikeShort, spikeLong   = 2 * ms, 2 * time.Second // holds
	zeroMake                = 250 * ms
)

// spikeRow has 50 callers at once and 5 idle items. If the work is much shorter than a
// make, the five could serve all callers in ten turns; if it is much longer, 45
// makes at once are right.
func spikeRow(name string, kinds []peer.Kind, s size, work time.Duration, figures ...figure) row {
	return row{name: name, figures: figures, entrants: each(kinds, func(x *setup, k peer.Kind) measurement {
		return func(ctx context.Context) sample { return x.spike(ctx, k, s, work) }
	})}
}

// spike warms with the real make, so that a pool can know its cost. In the row of long
// work all callers release once the last is served: what follows says nothing.
func (x *setup) spike(ctx context.Context, k peer.Kind, s size, work time.Duration) sample {
	f := &peer.Factory{Takes: s.time(150 * ms)}
	return with(ctx, k, spikeCallers, spikeIdle, f.Make, func(p peer.Pool) sample {
		var mu sync.Mutex
		var served []time.Time
		begin := time.Now()
		var doneAt atomic.Int64 // since begin, of the last caller
		all, allServed := context.WithCancel(context.Background())
		defer allServed()
		start := crowd(ctx, spikeCallers, func(ctx context.Context, _ int) {
			l := must(p.Acquire(ctx))
			mu.Lock()
			served = append(served, time.Now())
			last := len(served) == spikeCallers
			mu.Unlock()
			if last && work == s.time(spikeLong) {
				allServed()
			}
			_ = peer.Pause(all, work) // an early end is no error
			l.Release()
			raise(&doneAt, int64(time.Since(begin)))
		})
		slices.SortFunc(served, time.Time.Compare)
		x.curve = nil
		for i, at := range served {
			x.curve = append(x.curve, point{AtMs: millis(at.Sub(start)), Count: i + 1})
		}
		return sample{
			"served ms": millis(served[len(served)-1].Sub(start)),
			"total ms":  millis(time.Duration(doneAt.Load()) - start.Sub(begin)),
			"makes":     float64(len(f.Since(start))),
		}
	})
}

// zeroWork has acquires without work on an empty pool. The first make serves all
// callers; time spent waiting for another is lost.
func zeroWork(ctx context.Context, k peer.Kind, s size) sample {
	const callers = 50
	f := &peer.Factory{Takes: s.time(zeroMake)}
	return with(ctx, k, callers, 0, f.Make, func(p peer.Pool) sample {
		start := crowd(ctx, callers, func(ctx context.Context, _ int) {
			for range s.count(5000) / callers {
				must(p.Acquire(ctx)).Release()
			}
		})
		took := time.Since(start)
		return sample{"times a make": float64(took) / float64(s.time(zeroMake)), "makes": float64(len(f.Since(start)))}
	})
}

const (
	deadCallers = 200
	deadMax     = 10
	deadMake    = 100 * ms        // how long a make takes to fail
	deadTold    = 5 * time.Second // when every caller should have an error
)

// deadFactory has 200 callers at once on a pool whose makes fail. A caller that gets an
// error pauses and acquires again. Once all have got one, or have waited for deadTold,
// and the makes were counted, the factory recovers under the same callers.
func deadFactory(ctx context.Context, k peer.Kind, s size) sample {
	var recovering atomic.Bool
	f := &peer.Factory{Takes: s.time(deadMake), Making: func(context.Context, int) error {
		if !recovering.Load() {
			return errors.New("the factory is dead")
		}
		return nil
	}}
	return with(ctx, k, deadMax, 0, f.Make, func(p peer.Pool) (got sample) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var waiting sync.WaitGroup // callers without an error yet
		waiting.Add(deadCallers)
		var last atomic.Int64
		begin := time.Now()
		finished := make(chan error, 1)
		go func() {
			finished <- attempt(func() {
				crowd(ctx, deadCallers, func(ctx context.Context, _ int) {
					notified := sync.OnceFunc(func() {
						raise(&last, int64(time.Since(begin)))
						waiting.Done()
					})
					defer notified()
					politeCaller(ctx, p, s, notified, &recovering)
				})
			})
		}()
		err := attempt(func() { got = watchOutage(ctx, f, s, begin, &waiting, &recovering) })
		cancel()
		if cerr := <-finished; !errors.Is(cerr, context.Canceled) {
			err = errors.Join(err, cerr)
		}
		check(err)
		got["notified ms"] = min(millis(time.Duration(last.Load())), millis(s.time(deadTold)))
		return got
	})
}

// politeCaller acquires until ctx ends, and pauses in between. Before the recovery it
// must get nothing. After it, its work of half a make wants more items than a pool that
// recovers cautiously has at first.
func politeCaller(ctx context.Context, p peer.Pool, s size, notified func(), recovering *atomic.Bool) {
	for ctx.Err() == nil {
		may := recovering.Load()
		if l, err := p.Acquire(ctx); err == nil {
			_ = peer.Pause(ctx, s.time(deadMake)/2)
			l.Release()
			failIf(!may && !recovering.Load(), "a lease from a dead factory")
		}
		notified()
		_ = peer.Pause(ctx, s.time(10*ms))
	}
}

// watchOutage waits out both phases and reads the factory's log.
func watchOutage(ctx context.Context, f *peer.Factory, s size, begin time.Time, waiting *sync.WaitGroup, recovering *atomic.Bool) sample {
	notified := make(chan struct{})
	go func() { waiting.Wait(); close(notified) }()
	check(peer.Pause(ctx, s.time(time.Second)))
	select {
	case <-notified:
	case <-time.After(time.Until(begin.Add(s.time(deadTold)))):
	case <-ctx.Done():
		check(ctx.Err())
	}
	makes := f.Since(begin).Before(begin.Add(s.time(time.Second)))

	recovering.Store(true)
	flip := time.Now()
	for f.Since(flip).FirstSuccess().IsZero() { // at most measureTime
		check(peer.Pause(ctx, ms))
	}
	check(peer.Pause(ctx, 2*s.time(deadMake)))
	log := f.Since(begin)
	back := log.FirstSuccess()
	// A little less than one make's time: the second step of a ramp begins when the
	// first one's make has ended, and is not counted with the first.
	until := back.Add(s.time(deadMake) * 9 / 10)
	return sample{
		"makes":        float64(makes),
		"burst":        float64(log.Peak(flip, until)),
		"recovered ms": millis(back.Sub(flip)),
	}
}

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
