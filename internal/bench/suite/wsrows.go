package suite

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/wspool"
)

// Entrants with connections of their own instead of a pool.
const (
	gorillaName = "gorilla"
	tunedName   = "gorilla, tuned" // for many idle connections
	coderName   = "coder"
)

// wsRows are the rows of wspool.
func wsRows(s size) (out []row) {
	schemes := []string{"ws", "wss"}
	for _, scheme := range schemes {
		out = append(out, headlineRow(scheme, s))
	}
	for _, scheme := range schemes {
		exchanges := map[string]float64{"ws": 0.95, "wss": 0.93}[scheme]
		for _, n := range []int{16, 64} {
			out = append(out,
				duelRow(fmt.Sprintf("%s-exchange-%d", scheme, n), scheme, n, s, 0, pooled(exchange, nil), figure{
					work:   fmt.Sprintf("%d workers, Exchange, %s, beside a connection each", n, scheme),
					metric: "op/s", rule: ratioAtLeast, bound: exchanges, than: gorillaName, more: true,
				}, oneEach),
				duelRow(fmt.Sprintf("%s-lease-%d", scheme, n), scheme, n, s, 0, pooled(lease, nil), figure{
					work:   fmt.Sprintf("%d workers, one exchange a lease, %s, beside a connection each", n, scheme),
					metric: "op/s", rule: ratioAtLeast, bound: 0.9, than: gorillaName, more: true,
				}, oneEach))
		}
		for _, far := range []time.Duration{ms, 20 * ms} {
			out = append(out, duelRow(fmt.Sprintf("%s-exchange-16-%v", scheme, far), scheme, 16, s, s.time(far), pooled(exchange, nil), figure{
				work:   fmt.Sprintf("  16 workers, %s, over a network that takes %v each way", scheme, far),
				metric: "op/s", than: gorillaName, more: true, rule: ratioAtLeast, bound: 0.95,
			}, oneEach))
		}
		out = append(out, duelRow(scheme+"-exchange-1", scheme, 1, s, 0, pooled(exchange, nil), figure{
			work:   "Exchange back to back, " + scheme + ": a message",
			metric: "us/op", rule: ratioAtMost, bound: 1.05, than: gorillaName,
		}, timePerMessage(1)))
	}
	for _, scheme := range schemes {
		for _, h := range []struct {
			exchanges int
			bound     float64
		}{{1, 1.2}, {10, 1.1}, {100, 1.05}} {
			out = append(out, duelRow(fmt.Sprintf("%s-hot-%d", scheme, h.exchanges), scheme, 1, s, 0, pooled(lease, nil), figure{
				work:   fmt.Sprintf("leases of %d back to back, %s: a message", h.exchanges, scheme),
				metric: "us/op", rule: ratioAtMost, bound: h.bound, than: gorillaName,
			}, timePerMessage(h.exchanges)))
		}
	}
	for _, scheme := range schemes {
		goals := map[string]struct {
			watched, allocs rule
			dial, memory    float64
		}{"ws": {ratioAtMost, atMost, 12, 4.5}, "wss": {noGoal, noGoal, 50, 13}}[scheme]
		watched := duelRow(scheme+"-watched-1", scheme, 1, s, 0, pooled(lease, func(c *wspool.Config) { c.WatchAfter = -1 }),
			figure{work: "leases of 1 of watched connections, " + scheme + ": a message", metric: "us/op", rule: goals.watched, bound: 2.2, than: gorillaName}, timePerMessage(1))
		watched.figures = watched.figures[:3]
		out = append(out, watched,
			dialRow(scheme, s, goals.dial), allocsRow(scheme, s, goals.allocs),
			socketMemoryRow(scheme, s, goals.memory), idleCloseRow(scheme, s))
	}
	most := crowdRow("ws-100k", 100_000, s, 15)
	most.large = true // many systems allow fewer descriptors
	return append(out, crowdRow("ws-10k", 10_000, s, 3), crowdRow("ws-20k", 19_000, s, 3), most, amongManyRow(s), massRow(s))
}

// question is what the rows send; the server sends it back.
var question = []byte("a question of sixty-four bytes, as long as its answer: 0123456789")[:64]

// answered checks the reply to question.
func answered(p []byte, err error) {
	check(err)
	failIf(len(p) != len(question), "reply of %d bytes, want %d", len(p), len(question))
}

// An asker takes a connection, exchanges so many messages over it and lets go of it.
type asker func(ctx context.Context, exchanges int)

// An opener opens n askers.
type opener func(x *setup, a address, scheme string, n int) []asker

// sockets returns a pool of WebSockets to a, which closes when the row ends.
func (x *setup) sockets(a address, scheme string, size int, edit func(*wspool.Config)) *wspool.Pool {
	cfg := wspool.Config{URL: a.URL(scheme), TLS: a.TLS(), MaxSize: size, SweepInterval: time.Hour}
	if edit != nil {
		edit(&cfg)
	}
	p := must(wspool.New(cfg))
	x.cleanup(func() error { return peer.Close(p) })
	return p
}

// warmSockets is sockets with so many connections open.
func (x *setup) warmSockets(a address, scheme string, size, warm int, edit func(*wspool.Config)) *wspool.Pool {
	p := x.sockets(a, scheme, size, edit)
	check(p.Warm(x.ctx, warm))
	return p
}

// pooled opens askers that share a pool, and ask through it by lease or by exchange.
func pooled(ask func(ctx context.Context, p *wspool.Pool, exchanges int), edit func(*wspool.Config)) opener {
	return func(x *setup, a address, scheme string, n int) []asker {
		p := x.warmSockets(a, scheme, n, n, edit)
		return slices.Repeat([]asker{func(ctx context.Context, exchanges int) { ask(ctx, p, exchanges) }}, n)
	}
}

// exchange calls Exchange so many times.
func exchange(ctx context.Context, p *wspool.Pool, exchanges int) {
	for range exchanges {
		_, got, err := p.Exchange(ctx, websocket.BinaryMessage, question)
		answered(got, err)
	}
}

// lease exchanges messages through one lease.
func lease(ctx context.Context, p *wspool.Pool, exchanges int) {
	c := must(p.Acquire(ctx))
	defer c.Release()
	for range exchanges {
		check(c.WriteMessage(ctx, websocket.BinaryMessage, question))
		_, got, err := c.ReadMessage(ctx)
		answered(got, err)
	}
}

// A gorillaDialer has gorilla's defaults. It resumes TLS sessions, as a program does
// that dials again and again.
type gorillaDialer struct {
	websocket.Dialer
	url string
}

func dialer(a address, scheme string) *gorillaDialer {
	secure := a.TLS()
	secure.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	return &gorillaDialer{websocket.Dialer{TLSClientConfig: secure, HandshakeTimeout: wspool.DefaultDialTimeout}, a.URL(scheme)}
}

func (d *gorillaDialer) dial(ctx context.Context) *websocket.Conn {
	ws, _, err := d.DialContext(ctx, d.url, nil)
	return must(ws, err)
}

// gorillaAskers have a connection each, and no use for a context.
func gorillaAskers(x *setup, a address, scheme string, n int, buffers websocket.BufferPool) (out []asker) {
	d := dialer(a, scheme)
	d.WriteBufferPool = buffers
	for range n {
		ws := d.dial(x.ctx)
		x.cleanup(func() error { return closeGorilla(ws) })
		out = append(out, func(_ context.Context, exchanges int) { askGorilla(ws, exchanges) })
	}
	return out
}

func askGorilla(ws *websocket.Conn, exchanges int) {
	for range exchanges {
		check(ws.WriteMessage(websocket.BinaryMessage, question))
		_, got, err := ws.ReadMessage()
		answered(got, err)
	}
}

// closeGorilla does the closing handshake and closes the connection.
func closeGorilla(ws *websocket.Conn) error {
	by := time.Now().Add(wspool.DefaultCloseTimeout)
	err := ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), by)
	if err == nil {
		_ = ws.SetReadDeadline(by)
		if _, _, err = ws.ReadMessage(); websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			err = nil
		}
	}
	return errors.Join(err, ws.Close())
}

// coderConns dials n connections of coder/websocket and returns how to close them.
func coderConns(ctx context.Context, a address, scheme string, n int) (all []*coder.Conn, end func() error) {
	transport := &http.Transport{TLSClientConfig: a.TLS()}
	client := &http.Client{Transport: transport, Timeout: wspool.DefaultDialTimeout}
	for range n {
		c, _, err := coder.Dial(ctx, a.URL(scheme), &coder.DialOptions{HTTPClient: client})
		all = append(all, must(c, err))
	}
	return all, func() (err error) {
		for _, c := range all {
			err = errors.Join(err, c.Close(coder.StatusNormalClosure, ""))
		}
		transport.CloseIdleConnections()
		return err
	}
}

// coderAskers have a connection each.
func coderAskers(x *setup, a address, scheme string, n int) (out []asker) {
	all, end := coderConns(x.ctx, a, scheme, n)
	x.cleanup(end)
	for _, c := range all {
		out = append(out, func(ctx context.Context, exchanges int) {
			for range exchanges {
				check(c.Write(ctx, coder.MessageBinary, question))
				_, got, err := c.Read(ctx)
				answered(got, err)
			}
		})
	}
	return out
}

// oneEach has all workers exchange one message a lease, and returns how many they do in a
// second.
func oneEach(ctx context.Context, d time.Duration, ask []asker) float64 {
	return perSecond(len(ask), d, func(i int) { ask[i](ctx, 1) })
}

// timePerMessage has one worker take leases of so many exchanges back to back.
func timePerMessage(exchanges int) func(context.Context, time.Duration, []asker) float64 {
	return func(ctx context.Context, d time.Duration, ask []asker) float64 {
		begin := time.Now()
		for n := exchanges; ; n += exchanges {
			ask[0](ctx, exchanges)
			if took := time.Since(begin); took >= d {
				return micros(took) / float64(n)
			}
		}
	}
}

// served is an entrant with a server of its own, which open connects to.
func served[T any](name string, far time.Duration, open func(x *setup, a address) T, measure func(ctx context.Context, opened T) sample) entrant {
	return entrant{name, func(x *setup) measurement {
		opened := open(x, must(x.server().Far(x.ctx, far)))
		return func(ctx context.Context) sample { return measure(ctx, opened) }
	}}
}

// duelRow has workers do the same through one pool of as many connections, and on
// connections of gorilla and of coder of their own, in seven short turns a round: what
// takes a few microseconds is often disturbed by more than a pool costs. The metrics
// that begin with "ctx " are with a context that can be cancelled; gorilla has no use for
// one. "cpu us" is the CPU time of this process for an exchange, which depends less than the
// others on what else the machine does. The server is so far away each way.
func duelRow(name, scheme string, workers int, s size, far time.Duration, ours opener, f figure,
	try func(ctx context.Context, d time.Duration, ask []asker) float64) row {
	one := func(name string, open func(x *setup, a address) []asker) entrant {
		var exchanged atomic.Int64
		counted := func(x *setup, a address) []asker {
			ask := open(x, a)
			for i, one := range ask {
				ask[i] = func(ctx context.Context, exchanges int) {
					one(ctx, exchanges)
					exchanged.Add(int64(exchanges))
				}
			}
			return ask
		}
		d := max(s.micro()/4, 10*far) // several round trips
		return served(name, far, counted, func(cancellable context.Context, ask []asker) sample {
			exchanges, cpu := exchanged.Load(), cpuNow()
			got := sample{f.metric: try(context.Background(), d, ask)}
			got["cpu us"] = micros(cpuNow()-cpu) / float64(exchanged.Load()-exchanges)
			if got["ctx "+f.metric] = got[f.metric]; name != gorillaName {
				runtime.GC()
				got["ctx "+f.metric] = try(cancellable, d, ask)
			}
			return got
		})
	}
	return row{name: name, turns: 7, entrants: []entrant{
		one("respool", func(x *setup, a address) []asker { return ours(x, a, scheme, workers) }),
		one(gorillaName, func(x *setup, a address) []asker { return gorillaAskers(x, a, scheme, workers, nil) }),
		one(coderName, func(x *setup, a address) []asker { return coderAskers(x, a, scheme, workers) }),
	}, figures: []figure{f,
		{work: "  the client's CPU time for an exchange", metric: "cpu us", than: gorillaName},
		{work: "  with a context that can be cancelled", metric: "ctx " + f.metric, than: gorillaName, more: f.more},
		{work: "  beside coder's", metric: "ctx " + f.metric, than: coderName, more: f.more},
	}}
}

// dialRow has workers ask back to back, through a pool and with a dial for each request. A
// connection for each worker shows what no pool can exceed.
func dialRow(scheme string, s size, bound float64) row {
	const workers = 16
	one := func(name string, open func(x *setup, a address) []asker) entrant {
		return served(name, 0, open, func(ctx context.Context, ask []asker) sample {
			return sample{"op/s": oneEach(ctx, s.micro(), ask)}
		})
	}
	return row{name: scheme + "-dial", entrants: []entrant{
		one("respool", func(x *setup, a address) []asker { return pooled(exchange, nil)(x, a, scheme, workers) }),
		one("dialing", func(_ *setup, a address) []asker {
			d := dialer(a, scheme)
			d.ReadBufferSize, d.WriteBufferPool = 1024, new(sync.Pool) // the fastest
			return slices.Repeat([]asker{func(ctx context.Context, exchanges int) {
				ws := d.dial(ctx)
				err := attempt(func() { askGorilla(ws, exchanges) })
				check(errors.Join(err, closeGorilla(ws)))
			}}, workers)
		}),
		one(gorillaName, func(x *setup, a address) []asker { return gorillaAskers(x, a, scheme, workers, nil) }),
	}, figures: []figure{
		{work: "16 workers, beside a dial for each request, " + scheme, metric: "op/s", rule: ratioAtLeast, bound: bound, than: "dialing", more: true},
	}}
}

// allocsRow counts what a lease of one exchange allocates beyond the exchange itself on a connection
// of gorilla, whose write buffers are from a pool too: it then allocates one object more for each
// message. Less than a tenth of one is refills of caches that a collection emptied.
func allocsRow(scheme string, s size, rule rule) row {
	return row{name: scheme + "-allocs", figures: []figure{
		{work: "allocations of a lease of one exchange beyond gorilla's, " + scheme, metric: "added", rule: rule, bound: 1},
		{work: "allocations of Exchange beyond its reply, " + scheme, metric: "exchange", rule: atMost, bound: 2},
	}, entrants: []entrant{{"respool", func(x *setup) measurement {
		a := x.server()
		ours := metered(s, asksOf(pooled(lease, nil)(x, a, scheme, 1)[0]))
		exchanged := metered(s, asksOf(pooled(exchange, nil)(x, a, scheme, 1)[0]))
		bare := metered(s, asksOf(gorillaAskers(x, a, scheme, 1, new(sync.Pool))[0]))
		return func(ctx context.Context) sample {
			lent, own := ours(ctx)["allocs/op"], bare(ctx)["allocs/op"]
			beyond := exchanged(ctx)["allocs/op"] - 1
			return sample{"pooled": lent, "bare": own, "added": math.Round(10*(lent-own)) / 10, "exchange": math.Round(10*beyond) / 10}
		}
	}}}}
}

// asksOf is a loop of leases of one exchange.
func asksOf(ask asker) peer.Loop {
	return repeated(func(ctx context.Context) { ask(ctx, 1) })
}
