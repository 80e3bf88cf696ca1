package cluster

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/internal/cause"
	"github.com/respool/respool/wspool"
)

// What zero means in a [Config] and in a [Rebalance].
const (
	DefaultDrainTimeout = 30 * time.Second

	DefaultTolerance = 0.25
	DefaultAfter     = 30 * time.Second
	DefaultPart      = 0.1
	DefaultEvery     = 10 * time.Second
)

// Config configures a [Cluster]. [New] copies it. Resolver, Config and MaxTotal are required;
// every other zero value is a working default.
type Config struct {
	// Resolver says which endpoints there are.
	Resolver endpoint.Resolver
	// Config returns how to connect to an endpoint. It is called when the endpoint joins, and
	// must not block. Its MaxSize may be 0: then MaxEach is the limit. An error, or a bad Config,
	// keeps the endpoint out of use until the resolver's next answer (with [endpoint.Static] for
	// ever), and is reported to Trace.Event ([endpoint.EndpointRefused]) and by
	// Stats().Set.UpdateErr. It is not called again when other fields of e than Addr change.
	Config func(e endpoint.Endpoint) (wspool.Config, error)
	// MaxTotal is how many connections of all endpoints may exist at once, at least 1. If it is
	// used up an idle connection of another endpoint gives way: see [wspool.Manager].
	MaxTotal int
	// MaxEach is how many of these one endpoint may have. Zero: this MaxTotal, whatever
	// [Cluster.Resize] says later.
	MaxEach int

	// Balancer picks an endpoint. Nil: [endpoint.P2C]. For a [resource.Request] that is Shared
	// the endpoint with the fewest shared connections, relative to its weight, is preferred among
	// those that were chosen.
	Balancer endpoint.Balancer
	// Choices is how many endpoints one acquire tries at once, at most; if all of these fail it
	// tries others. Zero: [endpoint.DefaultChoices].
	Choices int
	// Ejector, MaxEjected and PanicBelow decide which endpoints are not used because they fail:
	// see [endpoint.SetConfig].
	Ejector    endpoint.Ejector
	MaxEjected float64
	PanicBelow float64
	// ProbeDelay, MaxProbeDelay and ProbeTimeout time the dials that try an endpoint again: see
	// [endpoint.SetConfig].
	ProbeDelay, MaxProbeDelay, ProbeTimeout time.Duration
	// SlowStart is for how long the share of an endpoint that has joined, or was ejected, grows:
	// see [endpoint.SetConfig].
	SlowStart time.Duration
	// FailoverBelow and FailbackAfter decide which [endpoint.Endpoint.Priority] is used: see
	// [endpoint.SetConfig].
	FailoverBelow float64
	FailbackAfter time.Duration

	// DrainTimeout is how long the leases of an endpoint that has left may go on; then its
	// connections are closed, and reads and writes of these leases return [wspool.ErrReleased].
	// Zero: DefaultDrainTimeout; negative: there is no limit.
	DrainTimeout time.Duration
	// Rebalance says when connections are moved from one endpoint to another.
	Rebalance Rebalance

	// Trace is called when something happens; nil: there is none.
	Trace *Trace
}

// Rebalance says when connections are moved from one endpoint to another.
//
// The fair share of an endpoint is the part of all connections that its weight is of all
// weights; an endpoint whose Priority is not in use has none. When an endpoint has had
// more or less than its fair share, by more than Tolerance, for After, connections are moved until
// every endpoint has its share. To move one, a connection is dialled at an endpoint that has too
// few, and then one of an endpoint that has too many is closed: an idle one, or else a leased one
// whose holder is notified ([wspool.Conn.OnRecall], with [ErrRebalanced]) and that is closed when
// its lease ends. If MaxTotal, or a Quota, is used up the order is reversed. If the dial fails
// otherwise nothing is closed. Connections that are new and unused are not moved.
type Rebalance struct {
	// Tolerance is a part of the fair share. Zero: DefaultTolerance.
	Tolerance float64
	// After is how long a distribution must have been uneven. Zero: DefaultAfter.
	After time.Duration
	// Part of all connections is moved in each Every at most, but at least one. Zero:
	// DefaultPart, at most 1, and DefaultEvery.
	Part  float64
	Every time.Duration
	// Off says that no connections are moved.
	Off bool
}

// Trace is a set of functions that a [Cluster] calls. Nil functions are skipped. They must return
// soon. A panic in one is contained.
type Trace struct {
	// Event is called with each event of the [endpoint.Set], one at a time and in order.
	Event func(endpoint.Event)
	// Moved is called when a connection was moved: see [Rebalance].
	Moved func(MoveEvent)
}

// MoveEvent is a connection that was moved, or the attempt.
type MoveEvent struct {
	From, To string
	Leased   bool  // the connection at From is leased, and is closed when its lease ends
	Err      error // why the dial at To failed; nothing was closed then, unless MaxTotal or a Quota was used up
}

// Why the cluster ends connections: the causes that holders and Trace see. Test with errors.Is.
var (
	// ErrLeft: the resolver no longer lists the endpoint of the connection.
	ErrLeft = cause.New("cluster: endpoint has left", "endpoint left")
	// ErrDrainTimeout: the endpoint has left, and the lease went on for [Config.DrainTimeout].
	ErrDrainTimeout = cause.New("cluster: endpoint has left, and its lease did not end in time", "drain timeout")
	// ErrRebalanced: the endpoint of the connection has more than its share. See [Rebalance].
	ErrRebalanced = cause.New("cluster: connection moves to another endpoint", "rebalanced")
)

// check returns the faults of c, apart from those that an endpoint.Set finds.
func (c *Config) check() (bad []error) {
	no := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf(format, args...))
		}
	}
	if c.Resolver != nil { // NewSet, which sees it wrapped, says if there is none
		err := endpoint.Check(c.Resolver)
		no(err == nil, "Resolver: %w", err)
	}
	no(c.Config != nil, "Config is required")
	no(c.MaxTotal >= 1 && c.MaxTotal <= math.MaxInt32, "MaxTotal must be between 1 and %d, got %d", math.MaxInt32, c.MaxTotal)
	no(c.MaxEach >= 0, "MaxEach must be at least 0, got %d", c.MaxEach)
	r := &c.Rebalance
	no(r.Tolerance >= 0 && !math.IsInf(r.Tolerance, 0), "Rebalance.Tolerance must be a number of at least 0, got %v", r.Tolerance)
	no(r.After >= 0, "Rebalance.After must be at least 0, got %v", r.After)
	no(r.Part >= 0 && r.Part <= 1, "Rebalance.Part must be between 0 and 1, got %v", r.Part)
	no(r.Every >= 0, "Rebalance.Every must be at least 0, got %v", r.Every)
	return bad
}

// withDefaults returns a copy in which zero values are replaced.
func (c Config) withDefaults() Config {
	if c.MaxEach == 0 || c.MaxEach > c.MaxTotal {
		c.MaxEach = c.MaxTotal
	}
	if c.Balancer == nil {
		c.Balancer = endpoint.P2C()
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = DefaultDrainTimeout
	}
	r := &c.Rebalance
	if r.Tolerance == 0 {
		r.Tolerance = DefaultTolerance
	}
	if r.After == 0 {
		r.After = DefaultAfter
	}
	if r.Part == 0 {
		r.Part = DefaultPart
	}
	if r.Every == 0 {
		r.Every = DefaultEvery
	}
	t := Trace{}
	if c.Trace != nil {
		t = *c.Trace
	}
	c.Trace = &t
	return c
}

// badConfig returns the error of New for these faults.
func badConfig(bad []error) error { return fmt.Errorf("cluster: bad Config: %w", errors.Join(bad...)) }
