package suite

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	geth "github.com/ethereum/go-ethereum/rpc"
	"github.com/gorilla/websocket"
	"github.com/sourcegraph/jsonrpc2"
	jsonrpc2ws "github.com/sourcegraph/jsonrpc2/websocket"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/jsonrpc"
)

// Clients that send the calls of all callers on one connection too.
const (
	gethName     = "go-ethereum"
	jsonrpc2Name = "sourcegraph/jsonrpc2"
)

// numbered is the smallest codec: a message begins with its id, and so does its reply. It
// allocates nothing.
type numbered struct{}

func (numbered) IDBits() int { return 64 }

func (numbered) Append(dst []byte, id uint64, body any) (int, []byte, error) {
	return websocket.BinaryMessage, append(binary.BigEndian.AppendUint64(dst, id), body.([]byte)[8:]...), nil
}

func (numbered) Classify(_ int, p []byte) (mux.Frame, error) {
	if len(p) < 8 {
		return mux.Frame{}, io.ErrUnexpectedEOF
	}
	return mux.Frame{Kind: mux.Reply, ID: binary.BigEndian.Uint64(p)}, nil
}

// shared returns a client that holds conns connections to a, until the row ends. It frees the
// buffers of idle ones soon, every half OrphanWait.
func (x *setup) shared(a address, conns int, codec mux.Codec, body any) *mux.Client {
	return x.share(x.warmSockets(a, "ws", 2*conns, conns, nil), conns, codec, body)
}

func (x *setup) share(p *wspool.Pool, conns int, codec mux.Codec, body any) *mux.Client {
	c := must(mux.New(p, mux.Config{Codec: codec, MaxConns: conns, GrowAt: 1, IdleAfter: -1, OrphanWait: 100 * ms, ReplayRatio: 1}))
	x.cleanup(func() error { return peer.Close(c) })
	for len(c.Stats().Conns) < conns { // at most measureTime
		crowd(x.ctx, 2*conns, func(ctx context.Context, _ int) { must(c.Call(ctx, mux.Request{Body: body})) })
	}
	return c
}

// sharing opens callers of one client of so many connections.
func sharing(conns, callers int) func(x *setup, a address) []asker {
	return func(x *setup, a address) []asker {
		return asking(x.shared(a, conns, numbered{}, question), callers)
	}
}

func asking(c *mux.Client, callers int) []asker {
	var body any = question // made once: that a []byte becomes an any is no cost of a call
	return slices.Repeat([]asker{func(ctx context.Context, exchanges int) {
		for range exchanges {
			m, err := c.Call(ctx, mux.Request{Body: body})
			answered(m.Data, err)
		}
	}}, callers)
}

// callers is an entrant whose server serves as query says. It is measured in short turns, as in
// duelRow. Each caller reads the clock after so many calls.
func callers(name, query string, each int, d time.Duration, open func(x *setup, a address) []asker) entrant {
	return served(name, 0, func(x *setup, a address) []asker { return open(x, a.With(query)) }, func(ctx context.Context, ask []asker) sample {
		return sample{"op/s": float64(each) * perSecond(len(ask), d, func(i int) { ask[i](ctx, each) })}
	})
}

// muxRows are the rows of wspool/mux: callers that share connections.
func muxRows(s size) (out []row) {
	short := s.micro() / 4
	duel := func(name, work, query string, each int, than string, bound float64, ours, theirs func(x *setup, a address) []asker) {
		out = append(out, row{name: name, turns: 7, entrants: []entrant{
			callers("respool", query, each, short, ours), callers(than, query, each, short, theirs),
		}, figures: []figure{{work: work, metric: "op/s", rule: ratioAtLeast, bound: bound, than: than, more: true}}})
	}
	bare := func(x *setup, a address) []asker { return gorillaAskers(x, a, "ws", 64, nil) }
	duel("mux-64", "64 callers on 4 shared connections, beside a bare one each", "", 8, gorillaName, 1.8, sharing(4, 64), bare)
	duel("mux-64-coalesced", "  a server that writes the replies to what it read at once together", "coalesce=1", 8, gorillaName, 3, sharing(4, 64), bare)
	for i, callers := range []int{64, 256} {
		duel(fmt.Sprintf("mux-%d-1ms", callers), fmt.Sprintf("%d callers on 4 shared, beside leases of 4, server takes 1 ms", callers), "from=1ms&to=1ms", 1,
			"leases", []float64{10, 25}[i], sharing(4, callers), func(x *setup, a address) []asker {
				return slices.Repeat(pooled(lease, nil)(x, a, "ws", 4)[:1], callers)
			})
	}
	duel("mux-1", "one caller on one shared connection, beside Exchange", "", 8, "Exchange", 0.9, sharing(1, 1),
		func(x *setup, a address) []asker { return pooled(exchange, nil)(x, a, "ws", 1) })
	return append(out, muxCostRow(s), muxRPCRow(short), muxIdleRow(s), muxCutRow(s))
}

// muxCostRow counts what calls cost on one connection: writes, of 64 callers, and
// allocations. The codec has none.
func muxCostRow(s size) row {
	return row{name: "mux-cost", figures: []figure{
		{work: "64 callers on one shared connection: writes for a call", metric: "writes/op", rule: atMost, bound: 0.15},
		{work: "  allocations of a call beyond the codec's", metric: "allocs at 64 callers", rule: atMost, bound: 1},
		{work: "  of one caller's, a write for each", metric: "allocs at one caller"},
	}, entrants: []entrant{served("respool", 0, func(x *setup, a address) *mux.Client { return x.shared(a, 1, numbered{}, question) },
		func(ctx context.Context, c *mux.Client) sample {
			before := c.Stats()
			call := asksOf(asking(c, 1)[0])
			many := metered(s, crew{goroutines: 64, own: true}.loop(peer.Loops{Plain: call}))(ctx)
			after := c.Stats()
			return sample{
				"writes/op":            float64(after.Batches-before.Batches) / float64(after.Calls-before.Calls),
				"allocs at 64 callers": many["allocs/op"],
				"allocs at one caller": metered(s, call)(ctx)["allocs/op"],
			}
		})}}
}

// muxRPCRow has 64 callers make JSON-RPC calls through one connection of each client, and
// of ours through four too.
func muxRPCRow(d time.Duration) row {
	const workers, method = 64, "echo"
	type caller = func(ctx context.Context, params, result any) error
	one := func(name string, open func(x *setup, a address) caller) entrant {
		return callers(name, "rpc=1", 8, d, func(x *setup, a address) []asker {
			call, params := open(x, a), []string{string(question)}
			return slices.Repeat([]asker{func(ctx context.Context, exchanges int) {
				for range exchanges {
					var result []string
					check(call(ctx, params, &result))
					answered([]byte(result[0]), nil)
				}
			}}, workers)
		})
	}
	ours := func(conns int) func(x *setup, a address) caller {
		return func(x *setup, a address) caller {
			c := x.shared(a, conns, jsonrpc.Codec{}, &jsonrpc.Request{Method: method})
			return func(ctx context.Context, params, result any) error {
				return jsonrpc.Call(ctx, c, method, params, result)
			}
		}
	}
	return row{name: "mux-jsonrpc", turns: 7, entrants: []entrant{
		one("respool", ours(1)), one("four shared", ours(4)),
		one(gethName, func(x *setup, a address) caller {
			c := must(geth.DialContext(x.ctx, a.WS))
			x.cleanup(func() error { c.Close(); return nil })
			return func(ctx context.Context, params, result any) error {
				return c.CallContext(ctx, result, method, params.([]string)[0])
			}
		}),
		one(jsonrpc2Name, func(x *setup, a address) caller {
			c := jsonrpc2.NewConn(x.ctx, jsonrpc2ws.NewObjectStream(dialer(a, "ws").dial(x.ctx)), nil)
			x.cleanup(c.Close)
			return func(ctx context.Context, params, result any) error { return c.Call(ctx, method, params, result) }
		}),
	}, figures: []figure{
		{work: "JSON-RPC, 64 callers on one connection", metric: "op/s", rule: ratioAtLeast, bound: 1.5, than: gethName, more: true},
		{work: "  beside jsonrpc2", metric: "op/s", rule: ratioAtLeast, bound: 2, than: jsonrpc2Name, more: true},
	}}
}

// muxIdleRow finds what an idle shared connection keeps in this process, its connection in
// the pool included.
func muxIdleRow(s size) row {
	conns := s.count(1000)
	return row{name: "mux-idle", figures: []figure{
		{work: "memory of an idle shared connection", metric: "KiB", rule: atMost, bound: 5},
		{work: "  without its connection in the pool", metric: "KiB at the client"},
		{work: "  goroutines of 1,000 of them and of their pool", metric: "goroutines", rule: atMost, bound: 10},
	}, entrants: []entrant{{"respool", perRound(func(x *setup) sample {
		a := x.server().With("from=5ms&to=5ms")
		crowd(x.ctx, 3*conns, func(ctx context.Context, _ int) { check(peer.Pause(ctx, 500*ms)) }) // what goroutines leave
		begin, goroutines := memoryInUse(), runtime.NumGoroutine()
		used := func() float64 {
			check(peer.Pause(x.ctx, 500*ms))
			return (memoryInUse() - begin) / float64(conns) / 1024
		}
		p := x.warmSockets(a, "ws", conns, conns, nil)
		pool := used()
		x.share(p, conns, numbered{}, question)
		all := used()
		return sample{"KiB": all, "KiB at the client": all - pool, "goroutines": float64(runtime.NumGoroutine() - goroutines)}
	})}}}
}

// muxCutRow has 100 callers make 1,000 JSON-RPC calls on 4 connections, whose replies come out
// of order after 5 to 25 ms, while the server cuts a connection after each quarter of them, and
// does so several times. Every other call is idempotent.
func muxCutRow(s size) row {
	const workers, parts, times = 100, 4, 5
	calls := int64(s.count(1000))
	return row{name: "mux-cut", figures: []figure{
		{work: "1,000 calls of 100 callers on 4, replies after 5 to 25 ms, connections cut", metric: "op/s", rule: atLeast, bound: 5000},
		{work: "  idempotent calls lost", metric: "lost", rule: neverOver, bound: 0},
		{work: "  other calls that failed", metric: "told"},
		{work: "  those without a fate", metric: "untold", rule: neverOver, bound: 0},
	}, entrants: []entrant{{"respool", func(x *setup) measurement {
		a := x.server().With("rpc=1&from=5ms&to=25ms")
		c := x.shared(a, 4, jsonrpc.Codec{}, &jsonrpc.Request{Method: "echo"})
		return func(ctx context.Context) sample {
			var next, lost, told, untold atomic.Int64
			one := func(ctx context.Context, n int64) {
				m, err := c.Call(ctx, mux.Request{Body: &jsonrpc.Request{Method: "echo", Params: []int64{n}}, Idempotent: n%2 == 0})
				var got []int64
				var failed *mux.CallError
				switch {
				case err == nil:
					check(jsonrpc.Decode(m, &got))
					failIf(!slices.Equal(got, []int64{n}), "call %d got the reply %v", n, got)
				case n%2 == 0:
					lost.Add(1)
				case errors.As(err, &failed) && (failed.Fate == mux.ErrMayHaveRun || failed.Fate == mux.ErrNotSent):
					told.Add(1)
				default:
					untold.Add(1)
				}
			}
			var took time.Duration
			for range times {
				next.Store(0)
				took += time.Since(crowd(ctx, workers, func(ctx context.Context, _ int) {
					for n := next.Add(1); n <= calls; n = next.Add(1) {
						if n%max(calls/parts, 1) == 0 && n < calls {
							check(a.Cut(ctx, 1))
						}
						one(ctx, n)
					}
				}))
			}
			return sample{"op/s": float64(times*calls) / took.Seconds(), "lost": float64(lost.Load()), "told": float64(told.Load()), "untold": float64(untold.Load())}
		}
	}}}}
}
