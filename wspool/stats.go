package wspool

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
)

// Stats is a snapshot of a pool.
type Stats struct {
	resource.Stats // what is known of its connections as resources
	Sockets
}

// String says it in a line.
func (s Stats) String() string { return s.Stats.String() + "; " + s.Sockets.String() }

// Sockets is what is known of connections as WebSockets.
type Sockets struct {
	// Unwatched is how many connections are not watched just now: those idle
	// only for a moment, and those leased, but for those that their lease has
	// not read for a tenth of a second or so.
	Unwatched int
	// Unsolicited is how many messages came that belonged to no lease.
	Unsolicited int64
	// Tainted is how many leases ended and did not leave their connection
	// clean.
	Tainted int64
	// Stale is how many leases found their connection dead that had been used
	// before.
	Stale int64
	// Silent is how many connections did not answer a ping.
	Silent int64
	// Quarantined is how many connections are idle and not lent yet: see
	// [Config.Quiet].
	Quarantined int
	// Late is how many messages came behind the last of a lease and were dropped
	// in the quarantine or by [Conn.Drain].
	Late int64
	// Heartbeats is how many heartbeats were sent: see [Config.Heartbeat].
	Heartbeats int64
	// Dropped is how many leases nobody ended, so that the garbage collector
	// found them: see [Config.Reclaim].
	Dropped int64
	// Closed is how many connections have ended by which close code: the
	// peer's, 1006 where there was none, 1002, 1007 or 1009 where the peer
	// broke the protocol, CheckUTF8 or ReadLimit. Those that the pool closed are not in it.
	Closed map[int]int64
}

// String says it in a line.
func (s Sockets) String() string {
	return fmt.Sprintf("%d unwatched, %d quarantined; %d unsolicited, %d late, %d tainted, %d stale, %d silent, %d dropped, %d heartbeats; closed %v",
		s.Unwatched, s.Quarantined, s.Unsolicited, s.Late, s.Tainted, s.Stale, s.Silent, s.Dropped, s.Heartbeats, s.Closed)
}

// counts are events that resource does not know of.
type counts struct {
	unwatched, quarantined              atomic.Int64 // levels
	unsolicited, tainted, stale, silent atomic.Int64
	late, heartbeats                    atomic.Int64
	dropped                             atomic.Int64
	panics                              atomic.Int64 // contained here, and not by the pool of resources
	resets                              atomic.Int64
	reclaims                            reclaims // that run
	roster                              roster[*link]

	mu     sync.Mutex
	closed map[int]int64
}

// end counts the end of a connection that the pool did not end.
func (c *counts) end(cause error) {
	if errors.Is(cause, ErrSilent) {
		c.silent.Add(1)
	}
	code := 0
	var ce *CloseError
	switch {
	case errors.As(cause, &ce):
		code = ce.Code
	case errors.Is(cause, ErrReadLimit):
		code = websocket.CloseMessageTooBig
	case errors.Is(cause, ErrNotUTF8):
		code = websocket.CloseInvalidFramePayloadData
	default:
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed == nil {
		c.closed = make(map[int]int64)
	}
	c.closed[code]++
}

// sockets returns what is counted.
func (c *counts) sockets() Sockets {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Sockets{
		Unwatched:   int(c.unwatched.Load()),
		Quarantined: int(c.quarantined.Load()),
		Late:        c.late.Load(),
		Heartbeats:  c.heartbeats.Load(),
		Unsolicited: c.unsolicited.Load(),
		Tainted:     c.tainted.Load(),
		Stale:       c.stale.Load(),
		Silent:      c.silent.Load(),
		Dropped:     c.dropped.Load(),
		Closed:      maps.Clone(c.closed),
	}
}
