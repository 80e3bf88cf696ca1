package mux

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/respool/respool/internal/redact"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// Leaser lends connections: a [*wspool.Pool], or one key of a [wspool.Manager] (see [Key]). If it
// has a method Attach as [wspool.Pool] has, it is called with each [Client] that uses the Leaser, so
// that the meter of the pool has the figures of the client. Other callers of that pool do not fail
// at once in an outage while the client has a connection: see [resource.FailFast].
type Leaser interface {
	AcquireWith(ctx context.Context, r resource.Request) (*wspool.Conn, error)
}

// Key returns key of m as a [Leaser].
func Key[K comparable](m *wspool.Manager[K], key K) Leaser { return keyOf[K]{m, key} }

type keyOf[K comparable] struct {
	manager *wspool.Manager[K]
	key     K
}

func (k keyOf[K]) AcquireWith(ctx context.Context, r resource.Request) (*wspool.Conn, error) {
	return k.manager.AcquireWith(ctx, k.key, r)
}

// Attach lists r in the figures of the Manager and of the key.
func (k keyOf[K]) Attach(r resource.MultiplexReporter) (detach func()) {
	return k.manager.Attach(k.key, r)
}

// attacher is what a Leaser may be.
type attacher interface {
	Attach(r resource.MultiplexReporter) (detach func())
}

// What zero means in a [Config].
const (
	DefaultMaxInFlight = 256
	DefaultGrowAt      = 16
	DefaultMaxOrphans  = 64
	DefaultOrphanWait  = 30 * time.Second
	DefaultMaxBatch    = 64 << 10
	DefaultBulk        = 256 << 10
	DefaultEventBuffer = 1024
	DefaultMaxAsks     = 64
	DefaultReplayRatio = 0.1
	DefaultIdleAfter   = 10 * time.Second
	DefaultDrainWait   = 30 * time.Second
)

// Config configures a [Client]. [New] copies it. Only Codec is required.
type Config struct {
	Codec Codec

	// Name is shown in metrics, as a label: printable UTF-8 of up to 64 bytes that is not a
	// secret and one of a few. Clients of one name and pool are counted together. Empty: the
	// type of Codec, such as "jsonrpc.Codec".
	Name string

	// MaxConns is how many connections the client holds at once, besides those of dedicated
	// streams and large messages, and those that are drained. While one is replaced there is
	// one more, if the pool has room. Zero: 1.
	MaxConns int
	// MaxInFlight is how many calls may await a reply on one connection. Callers beyond it
	// wait, first come, first served, until their context ends. At most 32768. Zero:
	// DefaultMaxInFlight.
	MaxInFlight int
	// GrowAt is the load of the least loaded connection from which the client acquires
	// another one in the background, up to MaxConns. Zero: DefaultGrowAt.
	GrowAt int
	// MaxOrphans is how many calls that were given up by their callers may await their
	// replies on one connection. Beyond it the connection is replaced and drained, beyond
	// twice as many it is drained first. Zero: DefaultMaxOrphans.
	MaxOrphans int
	// OrphanWait is for how long a call that was given up may await its reply before its
	// connection is replaced and drained. Zero: DefaultOrphanWait; negative: for ever.
	OrphanWait time.Duration
	// MaxBatch is how many bytes of messages one write carries, unless a single message is
	// longer. Zero: DefaultMaxBatch.
	MaxBatch int
	// Bulk is the length in bytes from which a message of a call is sent on another
	// connection, because a message cannot be interleaved with others. Such a connection
	// carries one call at a time and counts towards the limit of the pool, not MaxConns. If
	// the pool has none to lend, as where all of its connections are the client's already,
	// the message is sent on a shared connection, and those behind it wait for it: give the
	// pool a larger MaxSize than MaxConns. While the pool has room the call waits up to 10 s
	// (succeedWait) for its connection, and up to 1 s (growWait) if the [Leaser] does not
	// tell. A call with a Session stays on the connection of the session. Zero: DefaultBulk;
	// negative: every message is sent on the shared connections.
	Bulk int

	// OnEvent gets each message that the server sends of its own accord ([Event]), in the
	// order of arrival on each connection. It runs on a goroutine of the client and may
	// block: up to EventBuffer messages wait for it on each connection, and further ones
	// are dropped and counted ([Stats.EventsDropped]). ctx ends when the connection ends
	// or the client is closed. An error or a panic destroys the connection, with it as the
	// cause. [Client.Close] waits for it, so it must not call Close, nor wait for that.
	// Nil: events are dropped.
	OnEvent func(ctx context.Context, m Message) error
	// OnRequest answers a message with which the server asks the client ([Ask]). A nil
	// message sends no answer. It may block; up to MaxAsks requests are answered at once on
	// each connection, and further ones wait in the order of arrival, as events do. ctx,
	// errors and Close as with OnEvent. Nil: requests are dropped.
	OnRequest func(ctx context.Context, m Message) (*Message, error)
	// EventBuffer is how many messages may wait for OnEvent and OnRequest on each
	// connection. Zero: DefaultEventBuffer.
	EventBuffer int
	// MaxAsks is how many requests of the server may be answered at once on each connection:
	// OnRequest runs, or its answer waits to be written because the server reads slowly.
	// Zero: DefaultMaxAsks.
	MaxAsks int

	// ReplayRatio is the budget of replays: a call with [Request.Idempotent] whose fate is
	// unknown is sent once more if replays do not exceed this part of the calls. Ten
	// replays are allowed in any case. Zero: DefaultReplayRatio; negative: none.
	ReplayRatio float64

	// IdleAfter is for how long a connection must carry nothing before its lease ends.
	// The last connection stays for as long as OnEvent is set. What the server sends after the
	// end of the lease comes to [wspool.Config.OnUnsolicited]. Zero: DefaultIdleAfter;
	// negative: for ever.
	IdleAfter time.Duration
	// DrainWait is how long a connection that is drained may take for the calls and
	// streams that are left on it; after it they fail. Zero: DefaultDrainWait.
	DrainWait time.Duration

	// Trace is called when something happens. Nil: nothing is traced. Copied.
	Trace *Trace
}

// Trace has functions that are called when something happens in a [Client]. Each may be nil.
// They run on goroutines that callers wait for, with no lock held, and must not block, nor call
// [Client.Close], which waits for them. A panic in one is contained.
type Trace struct {
	// Connected is called when a connection joins the client.
	Connected func(ConnEvent)
	// Draining is called when a connection takes no more calls; Err is why.
	Draining func(ConnEvent)
	// Disconnected is called when a connection has left the client; Err is why, nil if it
	// was given back because it was idle.
	Disconnected func(ConnEvent)
	// Called is called when a call has ended.
	Called func(CallEvent)
	// Dropped is called when a message that arrived was dropped, with the reason.
	Dropped func(DropEvent)
	// Panicked is called when a function of the user has panicked.
	Panicked func(error)
}

// ConnEvent is the argument of [Trace.Connected], Draining and Disconnected.
type ConnEvent struct {
	Conn     uint64 // the id of the connection in its pool
	InFlight int    // calls and streams on it
	Orphans  int    // calls on it that their callers have given up
	Err      error
}

// CallEvent is the argument of [Trace.Called].
type CallEvent struct {
	Conn uint64        // of the last attempt; 0: none was made
	Took time.Duration // from the call of Call to its end
	Sent int           // how many times the call was handed to a connection
	Err  error         // what Call returned
}

// DropReason says why a message was dropped.
type DropReason uint8

const (
	DropLate     DropReason = iota // its call was given up, or had been answered
	DropUnknown                    // no call with its id was ever sent on the connection
	DropBad                        // the codec could not classify it
	DropOverflow                   // the buffer of its stream, or of OnEvent, was full
	DropUnwanted                   // nothing is set to receive it
)

func (r DropReason) String() string {
	switch r {
	case DropLate:
		return "late"
	case DropUnknown:
		return "unknown id"
	case DropBad:
		return "bad"
	case DropOverflow:
		return "overflow"
	case DropUnwanted:
		return "unwanted"
	}
	return "unknown"
}

// DropEvent is the argument of [Trace.Dropped].
type DropEvent struct {
	Conn   uint64
	Frame  Frame // Key is nil
	Bytes  int   // length of the message
	Reason DropReason
	Err    error // of the codec, if Reason is DropBad
}

// maxSlots bounds MaxInFlight and MaxOrphans, so that 16 bits of an id name a slot.
const maxSlots = 1 << 15

// mostOrphans is how many calls that were given up a connection may have. Beyond it the connection
// does not go on until another one has replaced it.
func (c *Config) mostOrphans() int { return 2 * c.MaxOrphans }

const maxName = 64 // bytes

// check names every bad field.
func (c *Config) check() error {
	var bad []error
	no := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf(format, args...))
		}
	}
	no(c.Codec != nil, "Codec is required")
	for _, f := range []struct {
		name string
		n    int
		max  int
	}{
		{"MaxConns", c.MaxConns, 1 << 20}, {"MaxInFlight", c.MaxInFlight, maxSlots}, {"GrowAt", c.GrowAt, maxSlots},
		{"MaxOrphans", c.MaxOrphans, maxSlots}, {"MaxBatch", c.MaxBatch, 1 << 30},
		{"EventBuffer", c.EventBuffer, 1 << 30}, {"MaxAsks", c.MaxAsks, 1 << 20},
	} {
		no(f.n >= 0 && f.n <= f.max, "%s must be between 0 and %d, got %d", f.name, f.max, f.n)
	}
	no(len(c.Name) <= maxName, "Name has %d bytes, over %d", len(c.Name), maxName)
	no(c.Name == redact.Clean(c.Name, maxName), "Name has characters that are not printable")
	no(c.DrainWait >= 0, "DrainWait must be at least 0, got %v", c.DrainWait)
	no(c.ReplayRatio <= 1, "ReplayRatio must be at most 1, got %v", c.ReplayRatio)
	if bad == nil {
		return nil
	}
	return fmt.Errorf("mux: bad Config: %w", errors.Join(bad...))
}

// withDefaults returns a copy in which zero values are replaced.
func (c Config) withDefaults() Config {
	for _, f := range []struct {
		n       *int
		instead int
	}{
		{&c.MaxConns, 1}, {&c.MaxInFlight, DefaultMaxInFlight}, {&c.GrowAt, DefaultGrowAt},
		{&c.MaxOrphans, DefaultMaxOrphans}, {&c.MaxBatch, DefaultMaxBatch}, {&c.Bulk, DefaultBulk},
		{&c.EventBuffer, DefaultEventBuffer}, {&c.MaxAsks, DefaultMaxAsks},
	} {
		if *f.n == 0 {
			*f.n = f.instead
		}
	}
	for _, f := range []struct {
		d       *time.Duration
		instead time.Duration
	}{
		{&c.OrphanWait, DefaultOrphanWait}, {&c.IdleAfter, DefaultIdleAfter}, {&c.DrainWait, DefaultDrainWait},
	} {
		if *f.d == 0 {
			*f.d = f.instead
		}
	}
	if c.Name == "" {
		c.Name = redact.Clean(strings.TrimLeft(fmt.Sprintf("%T", c.Codec), "*"), maxName)
	}
	if c.ReplayRatio == 0 {
		c.ReplayRatio = DefaultReplayRatio
	}
	if c.Trace == nil {
		c.Trace = &Trace{}
	} else {
		t := *c.Trace
		c.Trace = &t
	}
	return c
}
