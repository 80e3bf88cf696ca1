package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/jsonrpc"
)

// codec is the protocol of the calls.
var codec = jsonrpc.Codec{Unsubscribe: "unsub", Cancel: "$/cancel", Away: "away"}

// muxConfig is the Config of a mux.Client. With events the client keeps its last connection.
func muxConfig(conns int, events bool) mux.Config {
	cfg := mux.Config{
		Codec: codec, MaxConns: conns, MaxInFlight: 16, GrowAt: 3, MaxOrphans: 8, OrphanWait: 500 * time.Millisecond,
		IdleAfter: 300 * time.Millisecond, DrainWait: time.Second, ReplayRatio: 1,
		OnRequest: func(_ context.Context, m mux.Message) (*mux.Message, error) {
			return jsonrpc.Answer(m, map[string]int{"n": 1}, nil)
		},
	}
	if events {
		cfg.OnEvent = func(context.Context, mux.Message) error { return nil }
	}
	return cfg
}

// caller makes calls of a mux.Client, and checks the replies and errors.
type caller struct {
	name   string
	client *mux.Client
	runs   *runs // nil: what has run is not compared with the fates
	// repeats lets the server repeat replies, late. On a connection that is lent without ids
	// afterwards, no pool can tell such a reply from that of the next lease.
	repeats bool

	mu      sync.Mutex
	streams []*follower
}

// sessionNames are the sessions of calls.
var sessionNames = []string{"a", "b", "c"}

// follower is a stream and what was read from it.
type follower struct {
	stream *mux.Stream
	who    identity
	next   int  // the number of the next message
	gap    bool // a gap came before it
}

// call makes one call.
func (c *caller) call(ctx context.Context, w *worker) error {
	who := identity{Tenant: int(w.tenant), Call: w.calls.Add(1), Size: w.size() / 4, Mode: "plain"}
	r := mux.Request{Body: &jsonrpc.Request{Method: "work", Params: &who}, Idempotent: w.chance(2), NoWait: w.chance(20)}
	switch n := w.rand.IntN(2000); {
	case n < 60:
		who.Mode = "slow"
	case n < 90 && c.repeats:
		who.Mode = "twice"
	case n < 94:
		who.Mode = "cut"
	case n < 96:
		who.Mode = "never"
		fallthrough
	case n < 200: // the caller gives up
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(w.rand.Int64N(int64(15*time.Millisecond))))
		defer cancel()
	case n < 220:
		r.Session = sessionNames[w.rand.IntN(len(sessionNames))]
	}
	reply, err := c.client.Call(ctx, r)
	if r.Session != "" && w.chance(3) {
		c.client.EndSession(r.Session)
	}
	if err == nil {
		var got identity
		if err := jsonrpc.Decode(reply, &got); err != nil || got.Tenant != who.Tenant || got.Call != who.Call || len(got.Pad) != who.Size {
			w.violation(c.name, "I13: call %d of tenant %d has the reply %.120q, %v", who.Call, who.Tenant, reply.Data, err)
		}
	}
	c.note(w, who.Call, r.Idempotent, err)
	return err
}

// note records the result that the caller of a call got.
func (c *caller) note(w *worker, call uint64, again bool, err error) {
	if c.runs == nil {
		return
	}
	most, fate := 1, replied
	if again {
		most = 2
	}
	var failed *mux.CallError
	switch {
	case err == nil:
	case !errors.As(err, &failed):
		w.violation(c.name, "a call fails with %T: %v", err, err)
		return
	case errors.Is(err, mux.ErrNotSent):
		most, fate = 0, err.Error()
	default:
		fate = err.Error()
	}
	c.runs.told(call, fate, most)
}

// follow opens a stream, and reads the first messages.
func (c *caller) follow(ctx context.Context, w *worker) error {
	f := &follower{who: identity{Tenant: int(w.tenant), Call: w.calls.Add(1), Size: w.rand.IntN(100)}}
	cfg := mux.StreamConfig{Overflow: mux.DropOldest, Buffer: 8 + w.rand.IntN(64)}
	if w.chance(2) {
		who := f.who
		cfg.Resume = func(mux.Message) (mux.Request, bool) {
			return mux.Request{Body: &jsonrpc.Request{Method: "sub", Params: &who}}, true
		}
	}
	s, err := c.client.Stream(ctx, mux.Request{Body: &jsonrpc.Request{Method: "sub", Params: &f.who}}, cfg)
	if err != nil {
		return err
	}
	f.stream = s
	err = c.read(ctx, w, f)
	if err == nil && w.chance(2) { // another operation goes on with it
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.streams) < 8 {
			c.streams = append(c.streams, f)
			return nil
		}
	}
	_ = s.Close() // it fails if the connection is gone
	return err
}

// goOn reads on from a stream, and perhaps closes it.
func (c *caller) goOn(ctx context.Context, w *worker) error {
	c.mu.Lock()
	if len(c.streams) == 0 {
		c.mu.Unlock()
		return nil
	}
	f := c.streams[0]
	c.streams = slices.Delete(c.streams, 0, 1)
	c.mu.Unlock()
	err := c.read(ctx, w, f)
	if err == nil && w.chance(2) {
		c.mu.Lock()
		c.streams = append(c.streams, f)
		c.mu.Unlock()
		return nil
	}
	_ = f.stream.Close()
	return err
}

// read reads some messages of a stream.
func (c *caller) read(ctx context.Context, w *worker, f *follower) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(w.rand.Int64N(int64(60*time.Millisecond))))
	defer cancel()
	for range w.rand.IntN(10) {
		i, err := f.stream.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil // no more messages in time
			}
			return err
		}
		if i.Gap != nil {
			f.gap = true
			continue
		}
		var got identity
		if err := jsonrpc.DecodePart(i.Message, &got); err != nil || got.Tenant != f.who.Tenant || got.Call != f.who.Call || len(got.Pad) != f.who.Size {
			w.violation(c.name, "I13: stream %d of tenant %d has the message %.120q, %v", f.who.Call, f.who.Tenant, i.Data, err)
		}
		if got.Seq != f.next && !f.gap {
			w.violation(c.name, "stream %d of tenant %d has message %d without a gap after message %d", f.who.Call, f.who.Tenant, got.Seq, f.next-1)
		}
		f.next, f.gap = got.Seq+1, false
	}
	return nil
}

func (c *caller) op(w *worker) {
	ctx, cancel := w.patience()
	defer cancel()
	began := time.Now()
	var err error
	switch n := w.rand.IntN(100); {
	case n < 3:
		err = c.follow(ctx, w)
	case n < 8:
		err = c.goOn(ctx, w)
	case n < 9:
		err = jsonrpc.Notify(ctx, c.client, "note", []int{1})
	default:
		for n := w.rand.IntN(8); n >= 0; n-- {
			err = c.call(ctx, w)
		}
	}
	w.count(began, err)
}

// endStreams ends the streams and sessions that operations have left.
func (c *caller) endStreams() {
	for i := range sessionNames {
		c.client.EndSession(sessionNames[i])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.streams {
		_ = f.stream.Close()
	}
	c.streams = nil
}

// rest returns what the client still does.
func (c *caller) rest() string {
	if n := c.client.Stats(); len(n.Conns)+n.InFlight+n.Orphans+n.Streams+n.Waiting > 0 {
		return n.String()
	}
	return ""
}

// calls is the section of a mux.Client.
type calls struct {
	load   *load
	target *target
	secure *tls.Config
	most   int

	pool   *wspool.Pool
	meter  *metrics.Meter
	events bool // the client receives events
	caller
}

func (c *calls) label() string      { return c.name }
func (c *calls) targets() []*target { return []*target{c.target} }

func (c *calls) open() (err error) {
	if c.meter, err = newMeter(c.name, 1); err != nil {
		return err
	}
	cfg := socketConfig(c.target, c.secure, c.most, c.meter.Trace(nil))
	cfg.OnUnsolicited, cfg.UnsolicitedLimit = wspool.DropUnsolicited, 1000
	if c.pool, err = wspool.New(cfg); err != nil {
		return err
	}
	if c.client, err = mux.New(c.pool, muxConfig(c.most-1, false)); err != nil {
		return err
	}
	return c.meter.Watch(c.pool)
}

func (c *calls) start(l *load) {
	l.begin(c.name, l.callers, c.op)
	l.keep(60*time.Millisecond, func(w *worker) {
		for _, text := range c.always() {
			w.violation(c.name, "%s", text)
		}
		switch n := w.rand.IntN(200); {
		case n < 4:
			w.event(c.name, "reset")
			c.pool.Reset(errPlanned)
		case n < 6:
			w.event(c.name, "reset now")
			c.pool.ResetNow(errPlanned)
		case n < 12:
			size := 1 + w.rand.IntN(c.most)
			w.event(c.name, "resized to %d", size)
			if err := c.pool.Resize(size); err != nil {
				w.violation(c.name, "Resize: %v", err)
			}
		case n < 14:
			w.event(c.name, "client closed and opened again")
			w.gate.RUnlock() // no operation may use the client meanwhile
			w.gate.Lock()
			c.renew(w.chance(2))
			w.gate.Unlock()
			w.gate.RLock()
		}
	})
}

// renew closes the client, without calls, and makes another one. The gate is closed.
func (c *calls) renew(events bool) {
	c.endStreams()
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	if err := c.client.Close(ctx); err != nil {
		c.load.violation(c.name, "I6: Close of the client: %v; %v", err, c.client.Stats())
	}
	var err error
	if c.client, err = mux.New(c.pool, muxConfig(c.most-1, events)); err != nil {
		c.load.violation(c.name, "mux.New: %v", err)
	}
	c.events = events
}

func (c *calls) calm() {
	c.endStreams()
	if c.events {
		c.renew(false)
	}
}

func (c *calls) probe(ctx context.Context) error {
	if err := c.pool.Resize(c.most); err != nil {
		return err
	}
	return again(ctx, func(ctx context.Context) error { return probeCall(ctx, c.load, &c.caller) })
}

// probeCall makes one call that must succeed.
func probeCall(ctx context.Context, l *load, c *caller) error {
	who := identity{Tenant: -1, Call: l.calls.Add(1)}
	w := &worker{load: l, tenant: -1, rand: rand.New(rand.NewPCG(1, 1))}
	var got identity
	err := jsonrpc.Call(ctx, c.client, "work", &who, &got)
	if err == nil && got != who {
		l.violation(c.name, "I13: call %d has the reply %v", who.Call, got)
	}
	c.note(w, who.Call, false, err)
	return err
}

func (c *calls) always() []string { return equations(c.name, c.pool.Stats().Stats) }

func (c *calls) rest() string {
	n := c.pool.Stats()
	return first(c.caller.rest(), atServers(n.Load, c.targets()), disagrees(c.meter, n.Stats, false))
}

// atServers compares a pool at rest with its servers.
func atServers(l resource.Load, all []*target) string {
	if text := busy(l); text != "" {
		return text
	}
	open := 0
	for _, t := range all {
		open += t.server.open()
	}
	if open != l.Idle {
		return fmt.Sprintf("the servers have %d connections, the pool %v", open, l)
	}
	return ""
}

func (c *calls) once() []string { return c.runs.judge() }

func (c *calls) empty() { c.pool.ResetNow(errPlanned) }

func (c *calls) bare() string {
	if l := c.pool.Stats().Load; l.Idle > 0 || busy(l) != "" {
		return l.String()
	}
	return c.target.left()
}

func (c *calls) close(ctx context.Context) (bad []string) {
	if err := c.client.Close(ctx); err != nil {
		bad = append(bad, fmt.Sprintf("I6: Close of the client: %v; %v", err, c.client.Stats()))
	}
	if err := c.pool.Close(ctx); err != nil {
		bad = append(bad, fmt.Sprintf("I6: Close: %+v", err))
	}
	c.meter.Close()
	return append(bad, c.always()...)
}

func (c *calls) dials() int64 { return c.pool.Stats().Begun.Total() }
