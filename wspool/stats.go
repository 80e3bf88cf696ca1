package wspool

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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

// Inspect returns a snapshot with at most limit connections and as many waiting
// callers, as [resource.Pool.Inspect] does, and what is known of them as
// WebSockets in Facts. It does not wait.
func (p *Pool) Inspect(limit int) resource.Inspection {
	in := p.pool.Inspect(limit)
	in.Facts = p.hub.count.sockets().facts()
	in.Panics += p.hub.count.panics.Load()
	return in
}

// SampleFor has every lease that begins in the next d sampled, as
// [resource.Pool.SampleFor] does.
func (p *Pool) SampleFor(d time.Duration) { p.pool.SampleFor(d) }

// SampleFor is [Pool.SampleFor] for every key in use.
func (m *Manager[K]) SampleFor(d time.Duration) { m.keyed.SampleFor(d) }

// Inspect is [Pool.Inspect] for all keys together, as [resource.Keyed.Inspect]
// does it.
func (m *Manager[K]) Inspect(limit int) resource.Inspection {
	in := m.keyed.Inspect(limit)
	in.Facts = m.count.sockets().facts()
	in.Panics += m.count.panics.Load()
	return in
}

// InspectKey is [Pool.Inspect] for one key, if that is in use, without Facts,
// which are counted for all keys together.
func (m *Manager[K]) InspectKey(key K, limit int) (resource.Inspection, bool) {
	return m.keyed.InspectKey(key, limit)
}

// View returns one key as something to inspect: see [resource.Keyed.View].
func (m *Manager[K]) View(key K) KeyView[K] { return KeyView[K]{m, key} }

// KeyView is one key of a [Manager], to be inspected. It may be copied.
type KeyView[K comparable] struct {
	m   *Manager[K]
	key K
}

// Inspect is [Manager.InspectKey]. While the key is not in use it is the zero
// Inspection.
func (v KeyView[K]) Inspect(limit int) resource.Inspection {
	in, _ := v.m.InspectKey(v.key, limit)
	return in
}

// facts are s as an Inspection tells them.
func (s Sockets) facts() []resource.Fact {
	facts := []resource.Fact{
		{Name: "unwatched", Value: int64(s.Unwatched), Level: true},
		{Name: "quarantined", Value: int64(s.Quarantined), Level: true},
		{Name: "unsolicited", Value: s.Unsolicited},
		{Name: "late", Value: s.Late},
		{Name: "tainted", Value: s.Tainted},
		{Name: "stale", Value: s.Stale},
		{Name: "silent", Value: s.Silent},
		{Name: "dropped", Value: s.Dropped},
		{Name: "heartbeats", Value: s.Heartbeats},
	}
	others := int64(0)
	for _, code := range slices.Sorted(maps.Keys(s.Closed)) {
		if code >= firstPrivate && len(s.Closed) > shownCodes { // a server may make up thousands
			others += s.Closed[code]
			continue
		}
		facts = append(facts, resource.Fact{Name: fmt.Sprintf("closed with code %d", code), Value: s.Closed[code]})
	}
	if others > 0 {
		facts = append(facts, resource.Fact{Name: "closed with another code", Value: others})
	}
	return facts
}

// RFC 6455 leaves close codes from 3000 on to those who use them. They are told
// one by one if there are no more than so many in all.
const (
	firstPrivate = 3000
	shownCodes   = 32
)
