package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/metrics"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/cluster"
	"github.com/respool/respool/wspool/mux"
)

// registry is a resolver whose endpoints the section decides.
type registry struct {
	mu      sync.Mutex
	all     []endpoint.Endpoint
	changed chan struct{} // closed when all changes
}

// Watch implements [endpoint.Resolver].
func (r *registry) Watch(ctx context.Context, f func(endpoint.Update)) error {
	for {
		r.mu.Lock()
		u, changed := endpoint.Update{Endpoints: slices.Clone(r.all), Complete: true}, r.changed
		r.mu.Unlock()
		f(u)
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (r *registry) set(all []endpoint.Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = all
	if r.changed != nil {
		close(r.changed)
	}
	r.changed = make(chan struct{})
}

// clusters is the section of a cluster.Cluster, with a mux.Client on it.
type clusters struct {
	load    *load
	servers []*target
	secure  *tls.Config // of all servers; nil: none
	total   int

	registry registry
	cluster  *cluster.Cluster
	meter    *metrics.Meter
	caller

	listed []bool // by server; used with the gate held for writing, or by the operator
}

func (c *clusters) label() string      { return c.name }
func (c *clusters) targets() []*target { return c.servers }

func (c *clusters) open() (err error) {
	if c.meter, err = newMeter(c.name, 1); err != nil {
		return err
	}
	c.listed = slices.Repeat([]bool{true}, len(c.servers))
	c.publish()
	trace := c.meter.Trace(nil)
	c.cluster, err = cluster.New(cluster.Config{
		Resolver: &c.registry,
		Config: func(e endpoint.Endpoint) (wspool.Config, error) {
			scheme := "ws://"
			if c.secure != nil {
				scheme = "wss://"
			}
			cfg := socketConfig(nil, c.secure, 0, trace)
			cfg.URL, cfg.Prepare = scheme+e.Addr, nil
			cfg.OnUnsolicited, cfg.UnsolicitedLimit = wspool.DropUnsolicited, 1000
			return cfg, nil
		},
		MaxTotal: c.total, MaxEach: c.total / 2,
		ProbeDelay: 100 * time.Millisecond, MaxProbeDelay: time.Second, ProbeTimeout: time.Second, SlowStart: 500 * time.Millisecond,
		DrainTimeout: 2 * time.Second,
		Rebalance:    cluster.Rebalance{After: time.Second, Every: 200 * time.Millisecond},
	})
	if err != nil {
		return err
	}
	if c.client, err = mux.New(c.cluster, muxConfig(3, false)); err != nil {
		return err
	}
	return c.meter.Watch(c.cluster)
}

// publish tells the resolver which servers are listed.
func (c *clusters) publish() {
	var all []endpoint.Endpoint
	for i, t := range c.servers {
		if c.listed[i] {
			all = append(all, endpoint.Endpoint{Addr: t.addr(), Weight: float64(1 + i%2)})
		}
	}
	c.registry.set(all)
}

func (c *clusters) start(l *load) {
	l.begin(c.name, l.callers, c.exchange)
	l.begin("cluster mux", max(1, l.callers/3), c.caller.op)
	l.keep(100*time.Millisecond, c.operate)
}

// exchange makes one call at any endpoint.
func (c *clusters) exchange(w *worker) {
	ctx, cancel := w.patience()
	defer cancel()
	began := time.Now()
	mode, call := "plain", w.calls.Add(1)
	switch n := w.rand.IntN(200); {
	case n < 4:
		mode = "slow"
	case n < 6:
		mode = "1001"
	case n < 7:
		mode = "half"
	case n < 9:
		mode = "never"
		var end context.CancelFunc
		ctx, end = context.WithTimeout(ctx, 20*time.Millisecond)
		defer end()
	}
	request := fmt.Sprintf("work %d %d %d %s.", w.tenant, call, w.rand.IntN(300), mode)
	var err error
	if w.chance(4) {
		err = c.hand(ctx, w, request, call)
	} else {
		o := cluster.ExchangeOptions{Request: w.request(), Idempotent: w.chance(2), Key: []string{"", "a", "b"}[w.rand.IntN(3)]}
		var p []byte
		if _, p, err = c.cluster.ExchangeWith(ctx, o, websocket.TextMessage, []byte(request)); err == nil {
			c.check(w, string(p), call, "")
		}
	}
	w.count(began, err)
}

// hand makes the call on a lease, and checks which server answers.
func (c *clusters) hand(ctx context.Context, w *worker, request string, call uint64) error {
	conn, err := c.cluster.Acquire(ctx)
	if err != nil {
		return err
	}
	h, _ := wspool.ValueOf[*holder](conn)
	h.take(w.journal, c.name, w.tenant)
	_, p, err := conn.Exchange(ctx, websocket.TextMessage, []byte(request))
	if err == nil {
		c.check(w, string(p), call, conn.RemoteAddr().String())
	}
	h.drop(w.journal, c.name, w.tenant)
	conn.Release()
	return err
}

// check checks a reply, and that the server at addr has sent it, unless addr is empty or has left.
func (c *clusters) check(w *worker, got string, call uint64, addr string) {
	f := strings.Fields(got)
	if len(f) != 5 || f[0] != "done" || f[1] != fmt.Sprint(w.tenant) || f[2] != fmt.Sprint(call) {
		w.violation(c.name, "I13: call %d of tenant %d has the answer %.80q", call, w.tenant, got)
		return
	}
	for _, t := range c.servers {
		if t.addr() == addr && t.name != f[3] {
			w.violation(c.name, "a connection to %s is answered by %s", t.name, f[3])
		}
	}
}

func (c *clusters) operate(w *worker) {
	i := w.rand.IntN(len(c.servers))
	t, d := c.servers[i], time.Duration(w.rand.Int64N(int64(4*time.Second)))
	switch n := w.rand.IntN(200); {
	case n < 5:
		n := 0
		for _, on := range c.listed {
			if on {
				n++
			}
		}
		if c.listed[i] && n <= 2 {
			return
		}
		c.listed[i] = !c.listed[i]
		w.event(c.name, "%s is listed: %t", t.name, c.listed[i])
		c.publish()
	case n < 8:
		t.dieFor(500*time.Millisecond + d)
	case n < 10:
		w.event(c.name, "%s moves to another address", t.name)
		if err := t.move(); err != nil {
			w.event(c.name, "it does not: %v", err) // the system has no socket for it now
		}
		c.publish()
	case n < 14:
		size := 2 + w.rand.IntN(c.total-1)
		w.event(c.name, "resized to %d", size)
		if err := c.cluster.Resize(size); err != nil {
			w.violation(c.name, "Resize: %v", err)
		}
	case n < 15:
		w.event(c.name, "reset")
		c.cluster.Reset(errPlanned)
	case n < 16:
		w.event(c.name, "reset now")
		c.cluster.ResetNow(errPlanned)
	}
}

func (c *clusters) calm() {
	c.endStreams()
	for i := range c.listed {
		c.listed[i] = true
	}
	c.publish()
}

func (c *clusters) probe(ctx context.Context) error {
	if err := c.cluster.Resize(c.total); err != nil {
		return err
	}
	err := again(ctx, func(ctx context.Context) error {
		w := &worker{load: c.load, tenant: -1}
		call := w.calls.Add(1)
		return c.cluster.Do(ctx, func(ctx context.Context, conn *wspool.Conn) error {
			_, p, err := conn.Exchange(ctx, websocket.TextMessage, fmt.Appendf(nil, "work -1 %d 10 plain.", call))
			if err == nil {
				c.check(w, string(p), call, conn.RemoteAddr().String())
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	return again(ctx, func(ctx context.Context) error { return probeCall(ctx, c.load, &c.caller) })
}

// always returns nothing: the sum of the endpoints is read one after the other.
func (c *clusters) always() []string { return nil }

func (c *clusters) rest() string {
	n := c.cluster.Stats()
	return first(c.caller.rest(), probed(n.Endpoints), atServers(n.Load, c.servers), disagrees(c.meter, n.Stats, true))
}

// probed returns which endpoint is still to be probed; "": none. A probe dials, and its connection
// stays: at any time until then there may be one more.
func probed(all []cluster.EndpointStats) string {
	for _, e := range all {
		if e.Status == endpoint.Ejected || e.Status == endpoint.Probing || !e.NextProbe.IsZero() {
			return e.String()
		}
	}
	return ""
}

func (c *clusters) once() []string { return equations(c.name, c.cluster.Stats().Stats) }

func (c *clusters) empty() { c.cluster.ResetNow(errPlanned) }

func (c *clusters) bare() string {
	if l := c.cluster.Stats().Load; l.Idle > 0 || busy(l) != "" {
		return l.String()
	}
	for _, t := range c.servers {
		if text := t.left(); text != "" {
			return text
		}
	}
	return ""
}

func (c *clusters) close(ctx context.Context) (bad []string) {
	if err := c.client.Close(ctx); err != nil {
		bad = append(bad, fmt.Sprintf("I6: Close of the client: %v; %v", err, c.client.Stats()))
	}
	if err := c.cluster.Close(ctx); err != nil {
		bad = append(bad, fmt.Sprintf("I6: Close: %+v", err))
	}
	c.meter.Close()
	return append(bad, c.once()...)
}

func (c *clusters) dials() int64 { return c.cluster.Stats().Begun.Total() }
