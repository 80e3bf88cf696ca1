package tenants_test

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

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// A house is one pool and all who live off it.
type house struct {
	pool     *wspool.Pool
	server   *server
	acting   []act
	numbers  atomic.Uint64
	crossed  atomic.Int64
	served   atomic.Int64 // leases
	complain func(format string, args ...any)
}

// stay takes leases until it is told to leave.
func (x *tenant) stay(over func() bool) {
	weights := 0
	for _, a := range x.acting {
		weights += a.weight
	}
	for !over() {
		w := x.rand.IntN(weights)
		i := 0
		for ; w >= x.acting[i].weight; i++ {
			w -= x.acting[i].weight
		}
		x.lease(x.acting[i])
		if x.rand.IntN(10) == 0 {
			x.meddle()
		}
		if x.rand.IntN(50) == 0 {
			time.Sleep(2 * x.server.delays.draw()) // some connections are idle for long enough to be watched
		}
	}
}

// lease takes one and does a with it.
func (x *tenant) lease(a act) {
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
	x.acts[a.name]++
	l := &lease{tenant: x, c: c, conn: c.Info().ID, own: map[uint64]bool{}}
	g := x.server.gate(l.conn)
	if !g.holder.CompareAndSwap(nil, x) {
		x.complain("connection %d is lent to two", l.conn)
	}
	x.pester(l.conn)
	g.Lock()
	a.do(l)
	l.leave()
	g.Unlock()
	x.pester(l.conn)
	l.end()
	x.pester(l.conn)
	if l.bad {
		x.failed++
	}
	x.kept[x.rand.IntN(len(x.kept))] = c
}

// pester has the server send something extra just now, once in a while.
func (x *tenant) pester(conn uint64) {
	if x.rand.IntN(200) == 0 {
		x.server.pester(conn)
	}
}

// leave notes that the lease is as good as over.
func (l *lease) leave() { l.server.gate(l.conn).holder.CompareAndSwap(l.tenant, nil) }

// TestStressTenants: 64 tenants on 24 connections to a server that misbehaves in
// every way that a pool can guard against, see type server. Nobody reads an
// answer to another, nobody sends what another left behind, no connection is
// lent to two, and nothing is left at the end.
func TestStressTenants(t *testing.T) {
	const tenants, connections = 64, 24
	ways := []struct {
		name     string
		exchange wspool.Exchange
		watch    time.Duration
	}{{"last", wspool.ReplyLast, 0}, {"each", wspool.ReplyEach, 0}, {"watched", wspool.ReplyLast, -1}}
	n := int64(2 * len(ways))
	for _, scheme := range []string{"ws", "wss"} {
		for _, way := range ways {
			t.Run(scheme+"/"+way.name, func(t *testing.T) {
				s := seed(t)
				r := rand.New(rand.NewPCG(s, 0))
				var complaints atomic.Int64
				h := &house{acting: acts(way.exchange), complain: func(format string, args ...any) {
					if complaints.Add(1) <= 20 {
						t.Errorf(format, args...)
					}
				}}
				h.server = &server{complain: h.complain, delays: &delays{rand: rand.New(rand.NewPCG(r.Uint64(), 0))}}
				cfg := listen(t, scheme == "wss", h.server)
				cfg.MaxSize, cfg.Exchange, cfg.WatchAfter = connections, way.exchange, way.watch
				cfg.Outage = resource.KeepWaiting
				cfg.Redial = func(error, int) time.Duration { return 0 } // nearly every connection ends badly here
				var err error
				if h.pool, err = wspool.New(cfg); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				leases, limit := stressLeases(t)/n, 2*stressTime(t)/time.Duration(n) // a third, each
				over := func() bool {
					if leases > 0 {
						return h.served.Load() >= leases || h.crossed.Load() > 0
					}
					return time.Since(begin) >= limit && h.served.Load() >= 300
				}
				all := make([]*tenant, tenants)
				var busy sync.WaitGroup
				for i := range all {
					x := &tenant{house: h, rand: rand.New(rand.NewPCG(r.Uint64(), 0)), acts: map[string]int64{}}
					all[i] = x
					busy.Go(func() { x.stay(over) })
				}
				busy.Wait()
				h.report(t, all, time.Since(begin))
			})
		}
	}
}

// report closes the pool and says what there was. It must have been much.
func (h *house) report(t *testing.T, all []*tenant, took time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.pool.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	var sum tenant
	sum.acts = map[string]int64{}
	for _, x := range all {
		sum.leases += x.leases
		sum.got += x.got
		sum.failed += x.failed
		for name, n := range x.acts {
			sum.acts[name] += n
		}
	}
	var done []string
	for _, name := range slices.Sorted(maps.Keys(sum.acts)) {
		done = append(done, fmt.Sprintf("%s %d", name, sum.acts[name]))
	}
	s := h.pool.Stats()
	t.Logf("%d leases in %v, %.0f a second; %d answers, %d crossed; %d leases failed; %d connections, %d greeted",
		sum.leases, took.Round(time.Millisecond), float64(sum.leases)/took.Seconds(),
		sum.got, h.crossed.Load(), sum.failed, s.Made, h.server.greeted.Load())
	t.Log(strings.Join(done, ", "))
	if s.Made != s.Destroyed+s.Hijacked || s.Idle+s.Leased+s.Making+s.Destroying != 0 {
		t.Errorf("after Close: %+v", s)
	}
	if sum.leases < 100 || sum.got < sum.leases/2 || sum.failed > sum.leases/5 {
		t.Error("the test did not test much")
	}
}
