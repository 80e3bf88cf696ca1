package cluster

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/internal/redact"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/internal/bridge"
)

// Stats is a snapshot of a [Cluster].
type Stats struct {
	wspool.ManagerStats // of all connections; the keys are the endpoints in use
	// Endpoints has what is known of each endpoint, in order of Priority, then Addr.
	Endpoints []EndpointStats
	// Set has what the Set has counted, without Endpoints.
	Set endpoint.Snapshot
	// Moved is how many connections were moved to another endpoint, and MovesFailed how often
	// that failed: see [Rebalance].
	Moved, MovesFailed int64
	// Panics of the cluster's own functions, such as Trace, count in ManagerStats.
}

// EndpointStats is a snapshot of one endpoint.
type EndpointStats struct {
	endpoint.State
	// Pool is the statistics of its connections. The counters begin at 0 again if the endpoint
	// has left and returned, or had no connection for a minute.
	Pool resource.Stats
	// Shared is how many of its leases are shared ([resource.Request.Shared]).
	Shared int
	// Moved is how many connections were moved to the endpoint, less those moved away.
	Moved int64
}

// String returns s in one line. What looks like a secret in the address is not shown.
func (s EndpointStats) String() string {
	text := fmt.Sprintf("%s %v, load %d, %v", redact.Clean(redact.Hide(s.Endpoint.Addr), 200), s.Status, s.Load, s.Pool.Load)
	if s.Cause != nil {
		text += fmt.Sprintf(" (%v)", s.Cause)
	}
	return text
}

// moveCounts are counters of connections that were moved.
type moveCounts struct{ done, failed, panics atomic.Int64 }

// Stats returns a snapshot. It does not wait. Its cost grows with the number of endpoints.
func (c *Cluster) Stats() Stats {
	s := Stats{ManagerStats: c.manager.Stats(), Set: c.set.Snapshot(), Moved: c.moves.done.Load(), MovesFailed: c.moves.failed.Load()}
	s.Panics += c.moves.panics.Load() + s.Set.Panics
	s.Endpoints = make([]EndpointStats, len(s.Set.Endpoints))
	for i, state := range s.Set.Endpoints {
		e := EndpointStats{State: state}
		if n := c.node(state.Endpoint.Addr); n != nil {
			e.Pool, _ = bridge.StatsOf(c.manager, n.addr)
			e.Shared, e.Moved = int(n.shared.Load()), n.moved.Load()
		}
		s.Endpoints[i] = e
	}
	s.Set.Endpoints = nil
	return s
}

// SampleFor samples every lease that begins in the next d, as [wspool.Pool.SampleFor] does.
func (c *Cluster) SampleFor(d time.Duration) { c.manager.SampleFor(d) }

// View returns a view of the connections of one endpoint, for code that watches pools. The
// endpoint need not be known, now or later.
func (c *Cluster) View(addr string) wspool.KeyView[string] { return c.manager.View(addr) }

// guard calls f, a function of the user, and contains a panic or Goexit.
func (c *Cluster) guard(f func()) {
	done := make(chan struct{})
	go func() { // a Goexit must not end the goroutine that moves connections
		defer close(done)
		defer func() {
			if recover() != nil {
				c.moves.panics.Add(1)
			}
		}()
		f()
	}()
	<-done
}
