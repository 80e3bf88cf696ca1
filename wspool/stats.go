package wspool

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/resource"
)

// Stats is a snapshot of a pool.
type Stats struct {
	resource.Stats // statistics of its connections as resources
	Sockets
}

// String returns s in one line.
func (s Stats) String() string { return s.Stats.String() + "; " + s.Sockets.String() }

// Sockets is the statistics of connections as WebSockets.
type Sockets struct {
	// Unwatched is how many connections are not watched now: those idle only for a moment,
	// and leased ones, unless their lease has not read for about a tenth of a second
	// (thinkTime).
	Unwatched int
	// Unsolicited is how many messages arrived that belonged to no lease.
	Unsolicited int64
	// Tainted is how many leases ended and did not leave their connection clean; a lease whose
	// connection died counts too.
	Tainted int64
	// Stale is how many leases found a connection dead that had been used before.
	Stale int64
	// Silent is how many connections did not answer a ping.
	Silent int64
	// Quarantined is how many connections are idle and not lent yet: see [Config.Quiet].
	Quarantined int
	// Late is how many messages arrived behind the last one of a lease and were dropped in the
	// quarantine or by [Conn.Drain].
	Late int64
	// Heartbeats is how many heartbeats were sent: see [Config.Heartbeat].
	Heartbeats int64
	// Dropped is how many leases the garbage collector found, because they had not been ended:
	// see [Config.Reclaim].
	Dropped int64
	// Closed is how many connections have ended by which close code: the peer's, 1006 if there
	// was none, 1002, 1007 or 1009 if the peer violated the protocol, CheckUTF8 or ReadLimit.
	// Connections that the pool closed are not counted.
	Closed map[int]int64
}

// String returns s in one line.
func (s Sockets) String() string {
	return fmt.Sprintf("%d unwatched, %d quarantined; %d unsolicited, %d late, %d tainted, %d stale, %d silent, %d dropped, %d heartbeats; closed %v",
		s.Unwatched, s.Quarantined, s.Unsolicited, s.Late, s.Tainted, s.Stale, s.Silent, s.Dropped, s.Heartbeats, s.Closed)
}

// registry is what the pools of a Manager share: their counts, and all connections.
type registry struct {
	counts
	roster roster[*link]
}

// counts are events that package resource does not know of.
type counts struct {
	unwatched, quarantined              atomic.Int64 // levels
	unsolicited, tainted, stale, silent atomic.Int64
	late, heartbeats                    atomic.Int64
	dropped                             atomic.Int64
	panics                              atomic.Int64 // contained by this package, not by the pool of resources
	resets, lifts                       atomic.Int64 // calls of Reset, and of these ResetNow
	reclaims                            reclaims     // that are under way

	mu     sync.Mutex
	closed map[int]int64
}

// end counts the end of a connection that the pool did not end.
func (c *counts) end(cause error) {
	if foreign.Is(cause, ErrSilent) {
		c.silent.Add(1)
	}
	code := 0
	var ce *CloseError
	switch {
	case foreign.As(cause, &ce):
		code = ce.Code
	case foreign.Is(cause, ErrReadLimit):
		code = websocket.CloseMessageTooBig
	case foreign.Is(cause, ErrNotUTF8):
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

// sockets returns the counts.
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

// Inspect returns a snapshot with at most limit connections and as many waiting callers, as
// [resource.Pool.Inspect] does, with the statistics of the WebSockets in Facts and what was
// attached in Multiplexers. It does not wait.
func (p *Pool) Inspect(limit int) resource.Inspection {
	in := p.pool.Inspect(limit)
	in.Facts = p.hub.count.sockets().facts()
	in.Multiplexers = p.attached.All(limit)
	in.Panics += p.hub.count.panics.Load()
	return in
}

// SampleFor samples every lease that begins in the next d, as [resource.Pool.SampleFor]
// does.
func (p *Pool) SampleFor(d time.Duration) { p.pool.SampleFor(d) }

// SampleFor is [Pool.SampleFor] for every key in use.
func (m *Manager[K]) SampleFor(d time.Duration) { m.keyed.SampleFor(d) }

// Inspect is [Pool.Inspect] for all keys together, as [resource.Keyed.Inspect] is.
func (m *Manager[K]) Inspect(limit int) resource.Inspection {
	in := m.keyed.Inspect(limit)
	for i, s := range in.Settings {
		if s.Of == "resource.KeyedConfig" {
			in.Settings[i].Of = "wspool.ManagerConfig" // whose fields are the same
			if s.Name == "Config" {
				in.Settings[i].Value = m.config
			}
		}
	}
	in.Facts = m.count.sockets().facts()
	in.Multiplexers = m.attached.All(limit)
	in.Panics += m.count.panics.Load()
	return in
}

// InspectKey is [Pool.Inspect] for one key, if it is in use, without Facts, which are counted
// for all keys together, and with the Multiplexers of the key. These include the counters of
// detached multiplexers, for the 256 pairs of a key and a name that were detached last (maxEnds
// of internal/attached).
func (m *Manager[K]) InspectKey(key K, limit int) (resource.Inspection, bool) {
	in, ok := m.keyed.InspectKey(key, limit)
	if ok {
		in.Multiplexers = m.attached.Of(key, limit)
	}
	return in, ok
}

// Attach lists r in the Multiplexers of [Pool.Inspect] until detach is called. Those of one name
// are listed together, and the counters of one that was detached stay. Inspect calls
// r.Multiplexer, by several goroutines at once, and detach calls it once more. Attach does not
// block. Calling detach again does nothing. A mux.Client attaches itself.
func (p *Pool) Attach(r resource.MultiplexReporter) (detach func()) {
	return p.attached.Add(struct{}{}, r)
}

// Attach is [Pool.Attach] for a multiplexer that uses key.
func (m *Manager[K]) Attach(key K, r resource.MultiplexReporter) (detach func()) {
	return m.attached.Add(key, r)
}

// View returns a view of one key for inspection: see [resource.Keyed.View].
func (m *Manager[K]) View(key K) KeyView[K] { return KeyView[K]{m, key} }

// KeyView is one key of a [Manager], for inspection. It may be copied.
type KeyView[K comparable] struct {
	m   *Manager[K]
	key K
}

// Inspect is [Manager.InspectKey]. While the key is not in use it returns the zero
// Inspection.
func (v KeyView[K]) Inspect(limit int) resource.Inspection {
	in, _ := v.m.InspectKey(v.key, limit)
	return in
}

// SampleFor is [Pool.SampleFor] of the key. It does nothing while the key is not in use.
func (v KeyView[K]) SampleFor(d time.Duration) { v.m.keyed.View(v.key).SampleFor(d) }

// facts returns s in the form of an Inspection.
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
		if code >= firstPrivate && len(s.Closed) > shownCodes { // a server may invent thousands
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

// RFC 6455 leaves close codes from 3000 on to applications. They are listed one by one if
// there are no more than shownCodes in all.
const (
	firstPrivate = 3000
	shownCodes   = 32
)
