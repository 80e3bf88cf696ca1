package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// sockets is the section of a wspool.Pool. Its callers exchange messages, or hold leases by hand.
type sockets struct {
	name   string
	load   *load
	target *target
	secure *tls.Config // nil: none
	most   int
	byHand bool

	gone   atomic.Int64 // creations of earlier generations
	number int          // generations so far; used by one goroutine at a time
	now    atomic.Pointer[socketPool]
}

// socketPool is a pool from New to Close.
type socketPool struct {
	pool   *wspool.Pool
	meter  *metrics.Meter
	users  atomic.Int64
	forgot atomic.Int64 // leases that were forgotten

	mu       sync.Mutex
	leaked   []socketLeak
	shutting bool
}

type socketLeak struct {
	c      *wspool.Conn
	h      *holder
	tenant int64
	id     uint64
	at     time.Time
}

// holder is the Value of a connection: which tenant has it.
type holder struct{ owner atomic.Int64 }

func (h *holder) take(j *journal, name string, tenant int64) {
	if o := h.owner.Swap(tenant); o != 0 {
		j.violation(name, "I2: a connection is lent to tenant %d while tenant %d has it", tenant, o)
	}
}

func (h *holder) drop(j *journal, name string, tenant int64) {
	if !h.owner.CompareAndSwap(tenant, 0) {
		j.violation(name, "I2: the connection of tenant %d belongs to tenant %d", tenant, h.owner.Load())
	}
}

// redial is DefaultRedial with shorter pauses: faults come more often here than to a service.
func redial(cause error, streak int) time.Duration {
	return min(wspool.DefaultRedial(cause, streak), 200*time.Millisecond)
}

// socketConfig is the Config of all connections to a wsServer.
func socketConfig(t *target, secure *tls.Config, most int, trace *resource.Trace) wspool.Config {
	scheme := "ws://"
	if secure != nil {
		scheme = "wss://"
	}
	return wspool.Config{
		// The target may have moved: the URL is computed for each dial.
		Prepare: func(_ context.Context, h *wspool.Handshake) error { h.URL = scheme + t.addr(); return nil },
		TLS:     secure, MaxSize: most, Trace: trace, Redial: redial,
		DialTimeout: 1500 * time.Millisecond, WriteTimeout: time.Second, CloseTimeout: 300 * time.Millisecond,
		KeepAlive: 700 * time.Millisecond, PongWait: time.Second, SweepInterval: 200 * time.Millisecond,
		OnConnect: func(_ context.Context, c *wspool.Conn) error { c.SetValue(new(holder)); return nil },
	}
}

func (s *sockets) label() string      { return s.name }
func (s *sockets) targets() []*target { return []*target{s.target} }

func (s *sockets) open() error {
	s.number++
	g := new(socketPool)
	var err error
	if g.meter, err = newMeter(s.name, s.number); err != nil {
		return err
	}
	c := socketConfig(s.target, s.secure, s.most, g.meter.Trace(nil))
	if s.byHand {
		c.OnUnsolicited, c.UnsolicitedLimit = wspool.DropUnsolicited, 1000
		c.Reclaim = true
		c.Eviction = policy.MaxLeases(2000, 0.5)
		c.Heartbeat = wspool.Heartbeat{Every: 500 * time.Millisecond, Message: wspool.Message{Type: websocket.TextMessage, Data: []byte(beat)}}
	} else {
		c.Eviction = policy.AnyOf(policy.MaxAge(20*time.Second, 0.5), policy.SoftIdle(3*time.Second, 1))
		c.Admission = policy.BoundedQueue(s.most, 30)
		c.Exchange = []wspool.Exchange{wspool.ReplyLast, wspool.ReplyEach}[s.number%2]
		c.WatchAfter = []time.Duration{0, -1, time.Millisecond}[s.number%3]
		c.MinIdle = 1
	}
	if g.pool, err = wspool.New(c); err != nil {
		return err
	}
	if err := g.meter.Watch(g.pool); err != nil {
		g.pool.CloseNow()
		return err
	}
	s.now.Store(g)
	return nil
}

// floor is MinIdle.
func (s *sockets) floor() int {
	if s.byHand {
		return 0
	}
	return 1
}

// beat is the heartbeat: it has no answer.
const beat = "beat"

// shut ends a generation that callers no longer find.
func (s *sockets) shut(ctx context.Context, g *socketPool) (bad []string) {
	g.mu.Lock()
	g.shutting = true
	g.mu.Unlock()
	s.endLeaks(g)
	for g.forgot.Load() > g.pool.Stats().Dropped && ctx.Err() == nil {
		runtime.GC()                 // finds forgotten leases
		pause(ctx, time.Millisecond) // until their ends have run
	}
	if err := g.pool.Close(ctx); err != nil {
		return []string{fmt.Sprintf("I6: Close: %+v", err)}
	}
	for g.users.Load() > 0 && ctx.Err() == nil {
		pause(ctx, time.Millisecond) // callers that are about to find it closed
	}
	n := g.pool.Stats()
	bad = append(bad, equations(s.name, n.Stats)...)
	if n.Load != (resource.Load{Max: n.Max}) || n.Made != n.Destroyed+n.Hijacked {
		bad = append(bad, fmt.Sprintf("I6: after Close: %v", n))
	}
	if text := disagrees(g.meter, n.Stats, false); text != "" {
		bad = append(bad, text)
	}
	g.meter.Close()
	s.gone.Add(n.Begun.Total())
	return bad
}

func (s *sockets) start(l *load) {
	l.begin(s.name, l.callers, s.op)
	l.keep(40*time.Millisecond, s.operate)
}

// A mode is how the server answers, with its weight.
type mode struct {
	name   string
	weight int
	short  bool // the answer must be short, so that what follows arrives with it
	splits bool // it may be used where the relay splits what the server sends at once
	gives  bool // the caller gives up early
}

var modes = []mode{
	{"plain", 2000, false, true, false}, {"pings", 60, false, true, false}, {"fragments", 60, false, true, false},
	{"slow", 40, false, true, false}, {"slow", 20, false, true, true}, {"never", 10, false, true, true},
	{"half", 3, false, true, false}, {"rst", 3, false, true, false}, {"fragments", 10, false, true, true},
	{"1001", 3, true, true, false}, {"1012", 2, true, true, false}, {"1013", 1, true, true, false}, {"1008", 1, true, true, false},
	{"twice", 10, true, false, false}, {"torn", 5, true, false, false},
}

// draw draws a mode.
func (s *sockets) draw(w *worker) mode {
	for {
		n := w.rand.IntN(3000)
		for _, m := range modes {
			if n -= m.weight; n < 0 {
				if s.target.splits && !m.splits {
					break
				}
				return m
			}
		}
		if n >= 0 {
			return modes[0]
		}
	}
}

// message returns a request, and the beginning of its reply.
func (s *sockets) message(w *worker, m mode) (request, reply string) {
	size := w.size()
	if m.short {
		size = w.rand.IntN(400)
	}
	call := w.calls.Add(1)
	return fmt.Sprintf("work %d %d %d %s.", w.tenant, call, size, m.name), fmt.Sprintf("done %d %d %s ", w.tenant, call, s.target.name)
}

// check checks that a message is the reply that begins so.
func (s *sockets) check(w *worker, got, want string) {
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, ".") || strings.Trim(got[len(want):], "x") != "." {
		w.violation(s.name, "I13: a call that awaits %q has the answer %.80q", want, got)
	}
}

func (s *sockets) op(w *worker) {
	g := inUse(&s.now, func(g *socketPool) *atomic.Int64 { return &g.users })
	defer g.users.Add(-1)
	m := s.draw(w)
	ctx, cancel := w.patience()
	defer cancel()
	if m.gives {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(w.rand.Int64N(int64(15*time.Millisecond))))
		defer cancel()
	}
	began := time.Now()
	var err error
	if s.byHand {
		err = s.hand(ctx, w, g, m)
	} else {
		err = s.exchange(ctx, w, g, m)
	}
	w.count(began, err)
}

// exchange makes a call in one of three ways.
func (s *sockets) exchange(ctx context.Context, w *worker, g *socketPool, m mode) error {
	request, want := s.message(w, m)
	switch w.rand.IntN(4) {
	case 0:
		return g.pool.DoIdempotent(ctx, func(ctx context.Context, c *wspool.Conn) error {
			h, _ := wspool.ValueOf[*holder](c)
			h.take(w.journal, s.name, w.tenant)
			defer h.drop(w.journal, s.name, w.tenant)
			_, p, err := c.Exchange(ctx, websocket.TextMessage, []byte(request))
			if err == nil {
				s.check(w, string(p), want)
			}
			return err
		})
	default:
		o := wspool.ExchangeOptions{Request: w.request(), Idempotent: w.chance(4)}
		_, p, err := g.pool.ExchangeWith(ctx, o, websocket.TextMessage, []byte(request))
		if err == nil {
			s.check(w, string(p), want)
		}
		return err
	}
}

// hand holds a lease by hand.
func (s *sockets) hand(ctx context.Context, w *worker, g *socketPool, m mode) error {
	c, err := g.pool.AcquireWith(ctx, w.request())
	if err != nil {
		return err
	}
	h, ok := wspool.ValueOf[*holder](c)
	if !ok {
		c.Release()
		w.violation(s.name, "a lease has no Value")
		return nil
	}
	h.take(w.journal, s.name, w.tenant)
	switch w.rand.IntN(1500) {
	case 0: // it leaks; the operator reclaims it
		s.leave(w, g, c, h)
		return nil
	case 1: // it is forgotten; the garbage collector finds it
		h.drop(w.journal, s.name, w.tenant)
		g.forgot.Add(1)
		runtime.KeepAlive(c)
		return nil
	}
	if w.chance(10) {
		c.OnRecall(func(error) {})
	}
	n := w.rand.IntN(3)
	if m.short {
		n = 0 // a copy of the reply may follow, which is this lease's
	}
	for ; n >= 0 && err == nil; n-- {
		err = s.call(ctx, w, c, m)
		m = modes[0]
	}
	if err == nil && w.chance(50) {
		_, err = c.Ping(ctx)
	}
	h.drop(w.journal, s.name, w.tenant)
	switch n := w.rand.IntN(200); {
	case n < 2:
		c.Discard(errPlanned)
	case n < 4:
		c.Fail(errPlanned)
	case n == 4:
		if ws, ok := c.Hijack(); ok {
			ws.Close()
		} else {
			c.Release() // the connection has ended
		}
	case n < 9:
		var both sync.WaitGroup
		both.Go(c.Release)
		both.Go(func() { c.Fail(errPlanned) })
		both.Wait()
	case n < 12 && err == nil:
		_ = c.Drain(ctx, time.Millisecond, nil) // it fails if the connection ends
		c.Release()
	default:
		c.Release() // whether or not err is nil: the pool knows whether the connection is clean
	}
	if w.chance(10) {
		if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("never sent")); !errors.Is(err, wspool.ErrReleased) {
			w.violation(s.name, "a write after the end of the lease: %v", err)
		}
		c.Release()
	}
	return err
}

// call makes one call on a lease.
func (s *sockets) call(ctx context.Context, w *worker, c *wspool.Conn, m mode) error {
	request, want := s.message(w, m)
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(request)); err != nil {
		return err
	}
	for {
		var p []byte
		var err error
		if w.chance(4) {
			var r io.Reader
			if _, r, err = c.NextReader(ctx); err == nil {
				p, err = io.ReadAll(r)
			}
		} else {
			_, p, err = c.ReadMessage(ctx)
		}
		if err != nil {
			return err
		}
		if strings.HasPrefix(string(p), "push ") {
			continue // unsolicited: after its first write a lease gets such messages
		}
		s.check(w, string(p), want)
		return nil
	}
}

// leave keeps a lease without ending it.
func (s *sockets) leave(w *worker, g *socketPool, c *wspool.Conn, h *holder) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shutting {
		h.drop(w.journal, s.name, w.tenant)
		c.Release()
		return
	}
	g.leaked = append(g.leaked, socketLeak{c, h, w.tenant, c.Info().ID, time.Now()})
}

func (s *sockets) endLeaks(g *socketPool) {
	g.mu.Lock()
	all := g.leaked
	g.leaked = nil
	g.mu.Unlock()
	for _, k := range all {
		k.h.drop(s.load.journal, s.name, k.tenant)
		k.c.Release()
	}
}

// reclaim reclaims a lease that leaked long enough ago.
func (s *sockets) reclaim(w *worker, g *socketPool) {
	g.mu.Lock()
	var k socketLeak
	for i, old := range g.leaked {
		if time.Since(old.at) > 1500*time.Millisecond {
			k = old
			g.leaked = append(g.leaked[:i], g.leaked[i+1:]...)
			break
		}
	}
	g.mu.Unlock()
	if k.c == nil {
		return
	}
	k.h.drop(w.journal, s.name, k.tenant)
	n := held(g.pool.Inspect(2*s.most), k.id)
	if !g.pool.Reclaim(k.id, n) {
		k.h.take(w.journal, s.name, k.tenant)
		g.mu.Lock()
		g.leaked = append(g.leaked, k)
		g.mu.Unlock()
		if time.Since(k.at) > reclaimWait {
			w.violation(s.name, "a lease that leaked for %v is not reclaimed", time.Since(k.at))
		}
		return
	}
	w.event(s.name, "lease %d of connection %d reclaimed", n, k.id)
	k.c.Release() // nothing
	for i := range w.looks {
		// Reclaim does not wait: until the connection is destroyed a write may succeed.
		err := k.c.WriteMessage(context.Background(), websocket.TextMessage, []byte(beat))
		if errors.Is(err, wspool.ErrReleased) {
			return
		}
		if i == w.looks-1 {
			w.violation(s.name, "a write on a reclaimed lease: %v", err)
		}
		time.Sleep(time.Millisecond) // between two looks at what other goroutines do
	}
}

func (s *sockets) operate(w *worker) {
	g := s.now.Load()
	for _, text := range s.always() {
		w.violation(s.name, "%s", text)
	}
	switch n := w.rand.IntN(300); {
	case n < 20:
		size := max(s.floor(), 1+w.rand.IntN(s.most))
		w.event(s.name, "resized to %d", size)
		if err := g.pool.Resize(size); err != nil {
			w.violation(s.name, "Resize: %v", err)
		}
	case n < 23:
		w.event(s.name, "reset")
		g.pool.Reset(errPlanned)
	case n < 25:
		w.event(s.name, "reset now")
		g.pool.ResetNow(errPlanned)
	case n < 27:
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		_ = g.pool.Warm(ctx, w.rand.IntN(s.most)) // an outage may be on
		cancel()
	case n < 28:
		w.event(s.name, "closed and opened again")
		if err := s.open(); err != nil {
			w.violation(s.name, "New: %v", err)
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		for _, text := range s.shut(ctx, g) {
			w.violation(s.name, "%s", text)
		}
	default:
		s.reclaim(w, g)
	}
}

func (s *sockets) calm() {
	g := s.now.Load()
	s.endLeaks(g)
	runtime.GC() // finds forgotten leases
}

func (s *sockets) probe(ctx context.Context) error {
	g := s.now.Load()
	if err := g.pool.Resize(s.most); err != nil {
		return err
	}
	w := &worker{load: s.load, tenant: -1, rand: rand.New(rand.NewPCG(1, 1))}
	return again(ctx, func(ctx context.Context) error {
		return g.pool.Do(ctx, func(ctx context.Context, c *wspool.Conn) error { return s.call(ctx, w, c, modes[0]) })
	})
}

func (s *sockets) always() []string { return equations(s.name, s.now.Load().pool.Stats().Stats) }

func (s *sockets) rest() string {
	g := s.now.Load()
	n := g.pool.Stats()
	if text := busy(n.Load); text != "" {
		return text
	}
	if n.Quarantined > 0 || n.Dropped != g.forgot.Load() {
		return fmt.Sprintf("%d leases were forgotten: %v", g.forgot.Load(), n)
	}
	if k := s.target.server.open(); k != n.Idle {
		return fmt.Sprintf("the pool has %v; %s", n.Load, s.target.left())
	}
	return disagrees(g.meter, n.Stats, false)
}

func (s *sockets) once() []string { return nil }

func (s *sockets) empty() { s.now.Load().pool.ResetNow(errPlanned) }

func (s *sockets) bare() string {
	if l := s.now.Load().pool.Stats().Load; l.Idle != s.floor() || busy(l) != "" {
		return l.String()
	}
	if n := s.target.server.open(); n != s.floor() {
		return s.target.left()
	}
	return ""
}

func (s *sockets) close(ctx context.Context) []string { return s.shut(ctx, s.now.Load()) }

func (s *sockets) dials() int64 { return s.gone.Load() + s.now.Load().pool.Stats().Begun.Total() }
