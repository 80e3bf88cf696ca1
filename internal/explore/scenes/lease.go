package main

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/explore/sched"
	"github.com/respool/respool/wspool"
)

// Scenes of wspool: a lease meets the watcher of its connection, and the peer.
var leaseScenes = []sched.Scene{
	{Name: "watch-message", Doc: "wspool: a lease of a watched connection against a message that belongs to no lease", Bound: 1, Run: watchMessage},
	{Name: "watch-close", Doc: "wspool: a lease of a watched connection against the peer that closes it", Bound: 1, Run: watchClose},
	{Name: "lease-twice", Doc: "wspool: two leases of one caller against a message that neither has asked for", Bound: 1, Run: leaseTwice},
	{Name: "lease-wait", Doc: "wspool: a lease, a caller that waits for its connection, and a message that neither has asked for", Bound: 0, Run: leaseWait},
	{Name: "watch-tick", Doc: "wspool: a lease of a hot connection against the tick that has it watched, and a message that belongs to no lease", Bound: 0, Run: tickMessage},
}

// sockets is a wspool.Pool of one connection, and its peers.
type sockets struct {
	x     *sched.X
	pool  *wspool.Pool
	wires []*wire
	lent  atomic.Uint64 // the connection that is leased; 0: none is
}

func newSockets(x *sched.X, serve func(w *wire, message string), change func(c *wspool.Config)) *sockets {
	s := &sockets{x: x}
	c := wspool.Config{
		URL: "ws://peer/", MaxSize: 1, KeepAlive: -1, WatchAfter: -1, WriteFrameSize: wspool.MinWriteFrameSize,
		Redial: func(error, int) time.Duration { return 0 },
		NetDial: func(context.Context, string, string) (net.Conn, error) {
			w := newWire(x, serve)
			s.wires = append(s.wires, w)
			return w, nil
		},
	}
	if change != nil {
		change(&c)
	}
	p, err := wspool.New(c)
	x.Require(err == nil, "New: %v", err)
	s.pool = p
	return s
}

// echo answers each message.
func echo(w *wire, message string) { w.sayLocked("re " + message) }

// exchange acquires, and exchanges one message. acquired, if it is not nil, is called when the
// lease has begun, and released when it is about to end.
func (s *sockets) exchange(text string, acquired, released func()) (reply string, err error) {
	ctx := context.Background()
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return "", err
	}
	n := c.Info().ID
	s.x.Require(s.lent.Swap(n) == 0, "I2: connection %d has two leases", n)
	end := func(f func()) {
		s.x.Require(s.lent.Swap(0) == n, "I2: connection %d was lent meanwhile", n)
		f()
	}
	if acquired != nil {
		acquired()
	}
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(text)); err != nil {
		end(func() { c.Discard(err) })
		return "", err
	}
	_, p, err := c.ReadMessage(ctx)
	if err != nil {
		end(func() { c.Discard(err) })
		return "", err
	}
	if released != nil {
		released()
	}
	end(c.Release)
	return string(p), nil
}

// ready exchanges a message, so that a connection is idle.
func (s *sockets) ready() {
	reply, err := s.exchange("first", nil, nil)
	s.x.Require(err == nil && reply == "re first", "the first exchange: %q, %v", reply, err)
}

// end closes the pool and checks what is left.
func (s *sockets) end() {
	err := s.pool.Close(context.Background())
	s.x.Require(err == nil, "Close: %v", err)
	text, quiet := s.x.Quiet()
	s.x.Require(quiet, "I6: after Close %s", text)
	for i, w := range s.wires {
		s.x.Require(w.closed, "I6: after Close connection %d is open", i+1)
	}
}

// message is one message of the peer that no lease has asked for.
type message struct {
	x    *sched.X
	said atomic.Bool // it has arrived
}

func (m *message) say(w *wire) {
	w.say("unasked")
	m.said.Store(true)
}

// check checks what a lease has read in reply to a text. late says that the message had arrived when it
// could not be a reply any more.
func (m *message) check(text, reply string, err error, late bool) {
	m.x.Require(err == nil, "the exchange: %v", err)
	m.x.Require(reply == "re "+text || !late && reply == "unasked", "I13: the lease has read %q in reply to %q", reply, text)
}

func watchMessage(x *sched.X) {
	s := newSockets(x, echo, func(c *wspool.Config) { c.OnUnsolicited = wspool.DropUnsolicited })
	s.ready()
	m := message{x: x}
	x.Actor("peer", func() { m.say(s.wires[0]) })
	x.Actor("caller", func() {
		late := false
		reply, err := s.exchange("ask", func() { late = m.said.Load() }, nil)
		m.check("ask", reply, err, late)
	})
	x.Explore()
	x.Require(len(s.wires) == 1, "%d connections were dialled", len(s.wires))
	s.end()
}

func watchClose(x *sched.X) {
	s := newSockets(x, echo, nil)
	s.ready()
	var left atomic.Bool
	x.Actor("peer", func() {
		s.wires[0].leave()
		left.Store(true)
	})
	x.Actor("caller", func() {
		late := left.Load()
		reply, err := s.exchange("ask", nil, nil)
		if err != nil {
			x.Require(!late, "a lease of a connection that had ended: %v", err)
			x.Require(errors.Is(err, wspool.ErrStale), "the connection has ended, and the lease gets %v", err)
			return
		}
		x.Require(reply == "re ask", "I13: the lease has read %q", reply)
	})
	x.Explore()
	x.Require(len(s.wires) <= 2, "%d connections were dialled", len(s.wires))
	s.end()
}

func tickMessage(x *sched.X) {
	s := newSockets(x, echo, func(c *wspool.Config) {
		c.OnUnsolicited = wspool.DropUnsolicited
		c.WatchAfter = 100 * time.Millisecond // hot, until the second tick of the monitor
	})
	s.ready()
	time.Sleep(150 * time.Millisecond) // until after the first
	m := message{x: x}
	x.Actor("clock", func() { x.Advance(int64(60 * time.Millisecond)) })
	x.Actor("peer", func() { m.say(s.wires[0]) })
	x.Actor("caller", func() {
		late := m.said.Load()
		reply, err := s.exchange("ask", nil, nil)
		m.check("ask", reply, err, late)
	})
	x.Explore()
	x.Require(len(s.wires) == 1, "%d connections were dialled", len(s.wires))
	s.end()
}

// leases adds actors that acquire, one lease for each text, and checks what each reads. The message may
// arrive at any time.
func (s *sockets) leases(m *message, actors ...[]string) {
	var left atomic.Bool // a lease began to end when the message had arrived
	for _, texts := range actors {
		s.x.Actor("caller", func() {
			for _, text := range texts {
				late := m.said.Load()
				reply, err := s.exchange(text, func() { late = late || left.Load() }, func() { left.Store(left.Load() || m.said.Load()) })
				if !errors.Is(err, wspool.ErrUnsolicited) { // it arrived before the lease wrote
					m.check(text, reply, err, late)
				}
			}
		})
	}
}

func leaseTwice(x *sched.X) {
	s := newSockets(x, echo, func(c *wspool.Config) { c.WatchAfter = 0 })
	s.ready()
	m := message{x: x}
	x.Actor("peer", func() { m.say(s.wires[0]) })
	s.leases(&m, []string{"one", "two"})
	x.Explore()
	x.Require(len(s.wires) <= 2, "%d connections were dialled", len(s.wires))
	s.end()
}

func leaseWait(x *sched.X) {
	s := newSockets(x, echo, func(c *wspool.Config) { c.WatchAfter = 0 })
	s.ready()
	m := message{x: x}
	x.Actor("peer", func() { m.say(s.wires[0]) })
	s.leases(&m, []string{"one"}, []string{"two"})
	x.Explore()
	x.Require(len(s.wires) <= 2, "%d connections were dialled", len(s.wires))
	s.end()
}
