package isolation_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/proof/testkit"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// A testRun is one pool with its server and workers.
type testRun struct {
	pool     *wspool.Pool
	server   *server
	actions  []action
	numbers  atomic.Uint64
	crossed  atomic.Int64
	served   atomic.Int64 // leases
	complain func(format string, args ...any)
}

// run takes leases until done returns true.
func (x *worker) run(done func() bool) {
	weights := 0
	for _, a := range x.actions {
		weights += a.weight
	}
	for !done() {
		w := x.rand.IntN(weights)
		i := 0
		for ; w >= x.actions[i].weight; i++ {
			w -= x.actions[i].weight
		}
		x.lease(x.actions[i])
		if x.rand.IntN(10) == 0 {
			x.useEnded()
		}
		if x.rand.IntN(50) == 0 {
			time.Sleep(2 * x.server.delays.draw()) // lets connections be idle long enough to be watched
		}
	}
}

// lease takes a lease and performs a on it.
func (x *worker) lease(a action) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := x.pool.Acquire(ctx)
	if err != nil {
		x.failed++
		if ctx.Err() != nil {
			x.complain("no lease in %v: %v", patience, err)
		}
		return
	}
	x.served.Add(1)
	x.leases++
	x.counts[a.name]++
	l := &lease{worker: x, c: c, conn: c.Info().ID, own: map[uint64]bool{}}
	g := x.server.gate(l.conn)
	if !g.holder.CompareAndSwap(nil, x) {
		x.complain("connection %d has two holders", l.conn)
	}
	x.sendExtra(l.conn)
	g.Lock()
	a.do(l)
	l.endExchange()
	g.Unlock()
	x.sendExtra(l.conn)
	l.end()
	x.sendExtra(l.conn)
	if l.connFailed {
		x.failed++
	}
	x.ended[x.rand.IntN(len(x.ended))] = c
}

// sendExtra sometimes makes the server send an extra message.
func (x *worker) sendExtra(conn uint64) {
	if x.rand.IntN(200) == 0 {
		x.server.sendExtra(conn)
	}
}

// endExchange records that the lease makes no further exchange.
func (l *lease) endExchange() { l.server.gate(l.conn).holder.CompareAndSwap(l.worker, nil) }

// TestI13_StressIsolation runs 64 workers on 24 connections to a server that misbehaves in
// every way that a pool can guard against (see server). No lease reads a reply to
// another or sends what another left unfinished, no connection has two holders, and no
// connection is left at the end.
func TestI13_StressIsolation(t *testing.T) {
	const workers, connections = 64, 24
	ways := []struct {
		name     string
		exchange wspool.Exchange
		watch    time.Duration
	}{{"last", wspool.ReplyLast, 0}, {"each", wspool.ReplyEach, 0}, {"watched", wspool.ReplyLast, -1}}
	n := int64(2 * len(ways))
	for _, scheme := range []string{"ws", "wss"} {
		for _, way := range ways {
			t.Run(scheme+"/"+way.name, func(t *testing.T) {
				s := testkit.Seed(t)
				r := rand.New(rand.NewPCG(s, 0))
				var complaints atomic.Int64
				h := &testRun{actions: actions(way.exchange), complain: func(format string, args ...any) {
					if complaints.Add(1) <= 20 {
						t.Errorf(format, args...)
					}
				}}
				h.server = &server{complain: h.complain, delays: &delays{rand: rand.New(rand.NewPCG(r.Uint64(), 0))}}
				cfg := listen(t, scheme == "wss", h.server)
				cfg.MaxSize, cfg.Exchange, cfg.WatchAfter = connections, way.exchange, way.watch
				cfg.Outage = resource.KeepWaiting
				cfg.Redial = func(error, int) time.Duration { return 0 } // most connections fail in this test
				var err error
				if h.pool, err = wspool.New(cfg); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				leases, limit := stressLeases(t)/n, 2*testkit.StressTime(t)/time.Duration(n) // the total time is split evenly
				done := func() bool {
					if leases > 0 {
						return h.served.Load() >= leases || h.crossed.Load() > 0
					}
					return time.Since(begin) >= limit && h.served.Load() >= 300
				}
				all := make([]*worker, workers)
				var busy sync.WaitGroup
				for i := range all {
					x := &worker{testRun: h, rand: rand.New(rand.NewPCG(r.Uint64(), 0)), counts: map[string]int64{}}
					all[i] = x
					busy.Go(func() { x.run(done) })
				}
				busy.Wait()
				h.report(t, all, time.Since(begin))
			})
		}
	}
}

// exchangeModes are what a server may do to a lease of one exchange that never sees its
// connection, with their relative frequencies. No extra message is sent at another time.
var exchangeModes = []struct {
	mode   string
	weight int
	cancel bool // the caller may give up
}{
	{"plain", 3000, false}, {"pings", 200, false}, {"fragments", 200, false}, {"slow", 20, false},
	{"slow fragments", 10, false}, {"twice", 15, false}, {"torn", 10, false}, {"close", 10, false},
	{"slow", 20, true}, {"slow fragments", 20, true}, {"never", 20, true},
}

// exchanges has a worker call Pool.Exchange until done returns true.
func (x *worker) exchanges(done func() bool) {
	weights := 0
	for _, m := range exchangeModes {
		weights += m.weight
	}
	for !done() {
		w := x.rand.IntN(weights)
		i := 0
		for ; w >= exchangeModes[i].weight; i++ {
			w -= exchangeModes[i].weight
		}
		x.exchange(exchangeModes[i].mode, exchangeModes[i].cancel)
	}
}

// exchange calls Pool.Exchange, which must return the reply to its own request or an error.
func (x *worker) exchange(mode string, gives bool) {
	patient := patience
	if gives {
		patient = x.server.delays.draw()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	l := &lease{worker: x, own: map[uint64]bool{}}
	size := x.size()
	if mode == "twice" || mode == "torn" || mode == "close" {
		size = x.rand.IntN(500) // what follows the reply arrives with it
	}
	o := wspool.ExchangeOptions{Idempotent: x.rand.IntN(4) == 0}
	_, p, err := x.pool.ExchangeWith(ctx, o, websocket.BinaryMessage, []byte(l.request(mode, size).String()))
	x.served.Add(1)
	x.leases++
	x.counts[mode]++
	switch {
	case err == nil:
		l.check(p)
	case gives:
		x.failed++
	default:
		x.failed++
		if ctx.Err() != nil {
			x.complain("no reply in %v: %v", patience, err)
		}
	}
}

// TestI13_StressExchange is TestI13_StressIsolation for Pool.Exchange.
func TestI13_StressExchange(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		for _, exchange := range []wspool.Exchange{wspool.ReplyLast, wspool.ReplyEach} {
			t.Run(fmt.Sprint(scheme, "/", exchange), func(t *testing.T) {
				r := rand.New(rand.NewPCG(testkit.Seed(t), 0))
				h := &testRun{complain: t.Errorf}
				h.server = &server{complain: h.complain, delays: &delays{rand: rand.New(rand.NewPCG(r.Uint64(), 0))}}
				cfg := listen(t, scheme == "wss", h.server)
				cfg.MaxSize, cfg.Exchange = 12, exchange
				cfg.Outage = resource.KeepWaiting
				cfg.Redial = func(error, int) time.Duration { return 0 } // many connections fail in this test
				var err error
				if h.pool, err = wspool.New(cfg); err != nil {
					t.Fatal(err)
				}
				begin, limit := time.Now(), testkit.StressTime(t)/4
				done := func() bool { return time.Since(begin) >= limit && h.served.Load() >= 300 || h.crossed.Load() > 0 }
				all := make([]*worker, 32)
				var busy sync.WaitGroup
				for i := range all {
					all[i] = &worker{testRun: h, rand: rand.New(rand.NewPCG(r.Uint64(), 0)), counts: map[string]int64{}}
					busy.Go(func() { all[i].exchanges(done) })
				}
				busy.Wait()
				h.report(t, all, time.Since(begin))
			})
		}
	}
}

// report closes the pool, logs the totals, and checks that enough was tested.
func (h *testRun) report(t *testing.T, all []*worker, took time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.pool.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	var sum worker
	sum.counts = map[string]int64{}
	for _, x := range all {
		sum.leases += x.leases
		sum.got += x.got
		sum.failed += x.failed
		for name, n := range x.counts {
			sum.counts[name] += n
		}
	}
	var done []string
	for _, name := range slices.Sorted(maps.Keys(sum.counts)) {
		done = append(done, fmt.Sprintf("%s %d", name, sum.counts[name]))
	}
	s := h.pool.Stats()
	t.Logf("%d leases in %v, %.0f per second; %d replies, %d crossed; %d leases failed; %d connections, %d greeted",
		sum.leases, took.Round(time.Millisecond), float64(sum.leases)/took.Seconds(),
		sum.got, h.crossed.Load(), sum.failed, s.Made, h.server.greeted.Load())
	t.Log(strings.Join(done, ", "))
	if s.Made != s.Destroyed+s.Hijacked || s.Idle+s.Leased+s.Making+s.Destroying != 0 {
		t.Errorf("after Close: %+v", s)
	}
	if sum.leases < 100 || sum.got < sum.leases/2 || sum.failed > sum.leases/5 {
		t.Error("too few leases or replies for a meaningful test")
	}
}
