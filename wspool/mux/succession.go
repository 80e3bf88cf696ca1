package mux

import (
	"errors"
	"slices"
	"time"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// retiree is a connection that goes on taking calls until another one takes its place, and is
// drained then.
type retiree struct {
	conn  *conn
	cause error
}

// succeedWait bounds the acquire of a connection that takes the place of another one. It includes
// the dial. It is growWait if the Leaser does not tell whether its pool has room, since a pool
// without room waits for the connection that is to be replaced.
const succeedWait = 10 * time.Second

// retire drains the connection because of cause, after another one has joined that takes its
// calls, if it needs one and there can be one.
func (c *conn) retire(cause error) {
	if !c.client.succeed(c, cause) {
		c.drain(cause)
	}
}

// succeed has a connection acquired in the background that takes the place of n; then n is
// drained. It returns false if n is to be drained at once.
func (c *Client) succeed(n *conn, cause error) bool {
	if n.exclusive || c.slotWanted(cause) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || !c.missedLocked(n) {
		return false
	}
	if !slices.ContainsFunc(c.retiring, func(r retiree) bool { return r.conn == n }) {
		c.retiring = append(c.retiring, retiree{n, cause})
	}
	if !c.succeeding {
		c.succeeding = true
		c.work.Go(c.succession)
	}
	return true
}

// slotWanted reports whether the pool wants a slot back, and not only the connection: then it has
// none for another connection.
func (c *Client) slotWanted(cause error) bool {
	return c.is(cause, resource.ErrResized) || c.is(cause, resource.ErrPreempted) || c.is(cause, resource.ErrClosed)
}

// missedLocked reports whether calls, streams or events would have to wait without n: it is in
// use, or was used lately, or receives the events.
func (c *Client) missedLocked(n *conn) bool {
	if c.line.Len() > 0 || c.lastOfEvents(n) {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.used || !n.emptyLocked()
}

// succession replaces the connections that retire, one after the other, so that the client has at
// most one more than MaxConns. While no connection can be dialled those that retire go on.
func (c *Client) succession() {
	for {
		c.mu.Lock()
		c.retiring = slices.DeleteFunc(c.retiring, func(r retiree) bool { return !takesCalls(r.conn) })
		if c.closed || len(c.retiring) == 0 {
			c.retiring, c.succeeding = nil, false
			c.mu.Unlock()
			return
		}
		first := c.retiring[0]
		c.mu.Unlock()
		wait, room := c.roomFor()
		var ws *wspool.Conn
		var err error = resource.ErrMaxWait
		if room {
			ws, err = c.acquire(c.ctx, resource.Request{Shared: true, MaxWait: wait})
		}
		switch {
		case err == nil:
			c.replace(first, ws)
		case c.goesOn(err, room && wait == succeedWait):
			c.pause(growWait)
		default:
			first.conn.drain(first.cause)
		}
	}
}

// replace lets ws take the place of r.conn, which is drained.
func (c *Client) replace(r retiree, ws *wspool.Conn) {
	stays, joined := takesCalls(r.conn), false
	n := newConn(c, ws, false)
	c.mu.Lock()
	if stays || len(*c.open.Load()) < c.cfg.MaxConns { // else others have taken its place
		if joined = c.joinLocked(n); joined {
			r.conn.replaced = true
			c.admitLocked()
		}
	}
	c.mu.Unlock()
	c.began(n, joined)
	r.conn.drain(r.cause)
}

// goesOn reports whether a connection that retires goes on after the acquire of another one has
// failed with err, because a later attempt can succeed while it does: the dial has failed, or
// takes long. Otherwise the pool has no room, refuses, or is closed. room says that it has room.
func (c *Client) goesOn(err error, room bool) bool {
	failed, ok := err.(*resource.AcquireError)
	if !ok { // of a Leaser of the user: its methods may be the user's
		_ = c.guard("errors.As", func() error { ok = errors.As(err, &failed); return nil })
	}
	if !ok {
		return !c.is(err, resource.ErrMaxWait) && !c.is(err, ErrClosed)
	}
	switch failed.Reason {
	case resource.ReasonOutage, resource.ReasonMakeFailed:
		return true
	case resource.ReasonMaxWait:
		return room
	}
	return false
}

// poolHasRoom reports whether the pool can lend another connection before one is given back, and
// whether that is known.
func (c *Client) poolHasRoom() (room, told bool) {
	p, ok := c.from.(interface{ Stats() wspool.Stats })
	if !ok {
		return true, false
	}
	var s wspool.Stats
	if c.guard("Stats", func() error { s = p.Stats(); return nil }) != nil {
		return true, false
	}
	return s.Idle > 0 || s.Idle+s.Leased+s.Making+s.Destroying < s.Max, true
}

// roomFor returns for how long to wait for another connection of the pool, and whether it has room.
func (c *Client) roomFor() (wait time.Duration, room bool) {
	room, told := c.poolHasRoom()
	if told {
		return succeedWait, room
	}
	return growWait, room
}

// pause waits, unless the client ends.
func (c *Client) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.ctx.Done():
	}
}

// takesCalls reports whether the connection takes calls.
func takesCalls(c *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == open
}
