package wspool

import (
	"context"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/memnet"
)

// memPool returns a pool of connections in memory to a server that sends messages back. Both end
// with the test, which must be in a bubble. The pool uses what wrap returns for a connection, or the
// connection itself if wrap is nil.
func memPool(t *testing.T, cfg Config, wrap func(net.Conn) net.Conn) *Pool {
	t.Helper()
	l := memnet.Listen(64 << 10)
	h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var u websocket.Upgrader
		ws, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			kind, p, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, p) != nil {
				return
			}
		}
	})}
	served := make(chan struct{})
	go func() { defer close(served); h.Serve(l) }()
	cfg.URL = "ws://mem/"
	cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := l.Dial(ctx, network, addr)
		if err == nil && wrap != nil {
			c = wrap(c)
		}
		return c, err
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
		h.Close()
		<-served
	})
	return p
}

// TestI6_Timers: no timer is left of a connection that was hijacked or destroyed, and none of the
// pool when all its connections are gone. A timer that is left calls the pool after Close.
func TestI6_Timers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := memPool(t, Config{
			MaxSize: 4, KeepAlive: 10 * time.Second, Redial: func(error, int) time.Duration { return 0 },
			Heartbeat: Heartbeat{Every: time.Minute, Message: Message{Type: websocket.TextMessage}},
		}, nil)
		h := p.hub
		m := &h.monitor
		stopped := func(what string, timer *time.Timer) {
			t.Helper()
			if timer != nil && timer.Stop() {
				t.Errorf("the timer of %s is left", what)
			}
		}
		none := func(when string, l *link) {
			t.Helper()
			synctest.Wait()
			stopped("the heartbeat, "+when, l.heartbeat.timer)
			stopped("the proof, "+when, l.ticket.proof)
			m.mu.Lock()
			defer m.mu.Unlock()
			if l.node.index > 0 || l.node.alarm > 0 {
				t.Errorf("%s: the monitor has the connection", when)
			}
		}
		for range 2 { // the timers of the monitor are used again
			h.gate.learn(newDialTicket(h.gate).term, goingAway) // so that each connection has to prove something
			var conns []*Conn
			for range 4 {
				c, err := p.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if c.link.ticket.proof == nil || c.link.heartbeat.timer == nil {
					t.Fatal("a connection has not all the timers that it may have")
				}
				conns = append(conns, c)
			}
			for i, c := range conns {
				if _, _, err := c.Exchange(t.Context(), websocket.TextMessage, []byte{byte('0' + i)}); err != nil {
					t.Fatal(err)
				}
			}
			ws, ok := conns[0].Hijack()
			if !ok {
				t.Fatal("not hijacked")
			}
			none("hijacked", conns[0].link)
			conns[1].Discard(nil)
			none("discarded", conns[1].link)
			time.Sleep(time.Second) // the others are watched
			ws2, ok := conns[2].Hijack()
			if !ok {
				t.Fatal("not hijacked")
			}
			none("hijacked while watched", conns[2].link)
			conns[3].Release()
			p.Reset(nil)
			none("idle, and reset", conns[3].link)
			ws.Close()
			ws2.Close()
			if len(m.open) != 0 || len(m.alarms) != 0 || m.ticking || m.at != 0 || m.level.Load() != 0 {
				t.Errorf("%d connections are unwatched, a level of %d, %d checks are due at %d; ticking %v",
					len(m.open), m.level.Load(), len(m.alarms), m.at, m.ticking)
			}
			stopped("ticks", m.ticker)
			stopped("checks", m.alarm)
			ticks := m.tick.Load()
			time.Sleep(time.Hour)
			if n := m.tick.Load() - ticks; n != 0 {
				t.Errorf("%d ticks without connections", n)
			}
			if len(h.count.roster.all) != 0 || h.gate.running != 0 || len(h.closing) != 0 {
				t.Errorf("%d connections in the roster, %d dials run, %d closings", len(h.count.roster.all), h.gate.running, len(h.closing))
			}
		}
	})
}

// TestMonitor_SecondRound: the timers of the monitor, which are used again, fire again: a second
// connection is watched and pinged as the first was, after a time without connections.
func TestMonitor_SecondRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := memPool(t, Config{MaxSize: 1, KeepAlive: 10 * time.Second}, nil)
		for round := range 3 {
			c, err := p.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			l := c.link
			time.Sleep(time.Second)
			l.mu.Lock()
			if l.watch.hot() {
				t.Errorf("round %d: a lease that has not read for a second is not watched", round)
			}
			l.mu.Unlock()
			time.Sleep(20 * time.Second)
			if rtt := l.keepalive.rtt.Load(); rtt == 0 {
				t.Errorf("round %d: no ping was answered", round)
			}
			c.Discard(nil)
			time.Sleep(time.Hour)
		}
	})
}
