package endpoint

import (
	"context"
	"errors"
	"time"
)

// What zero means in a [SetConfig].
const (
	DefaultChoices       = 8
	DefaultPanicBelow    = 0.5
	DefaultMaxEjected    = 0.3
	DefaultInterval      = 10 * time.Second
	DefaultFailbackAfter = time.Minute
	DefaultProbeDelay    = time.Second
	DefaultMaxProbeDelay = 30 * time.Second
	DefaultProbeTimeout  = 10 * time.Second
	DefaultMinShare      = 0.1
)

// FailbackInterval is the least time between two failbacks, whatever
// [SetConfig.FailbackAfter] is, so that a primary that comes and goes does not move the
// callers all the time.
const FailbackInterval = time.Minute

// SetConfig configures a [Set]. Resolver is required, and Probe unless Ejector is [Never].
// The functions are called without a lock; a panic in one is contained and counted.
type SetConfig struct {
	// Resolver says which endpoints there are.
	Resolver Resolver
	// Balancer picks one. Nil: [P2C].
	Balancer Balancer
	// Choices is how many addresses [Set.Rank] appends at most. Zero: DefaultChoices.
	Choices int

	// Ejector decides which endpoints fail. Nil: five consecutive failures, or a success rate far below
	// that of the others: [AnyOf]([ConsecutiveFailures](5), [SuccessRate]([SuccessRateConfig]{})).
	Ejector Ejector
	// MaxEjected is the part of the endpoints that may be ejected at once: at most that part
	// of them, rounded down, is ejected afterwards, but one may always be ejected if there
	// are two. Draining endpoints do not count. Zero: DefaultMaxEjected; at most 1; negative:
	// none is ejected.
	MaxEjected float64
	// PanicBelow is the part of all endpoints that must be healthy: if fewer are, ejections are
	// ignored. Zero: DefaultPanicBelow; at most 1; negative: ejections are never ignored.
	PanicBelow float64
	// Interval is how often the success rates are judged. Zero: DefaultInterval.
	Interval time.Duration

	// Probe tries whether the endpoint works again. It should do all that the first use of a
	// connection needs, such as signing in, and return nil only if that succeeded; it may
	// keep the connection for later use. Its context ends after ProbeTimeout, when the endpoint
	// leaves, and when the Set is closed. Calls for different endpoints run at the same time.
	Probe func(ctx context.Context, addr string) error
	// ProbeDelay times the number of recent ejections and failed probes is the time before
	// the next probe, at most MaxProbeDelay, plus up to a fifth of it at random. Zero:
	// DefaultProbeDelay and DefaultMaxProbeDelay.
	ProbeDelay, MaxProbeDelay time.Duration
	// ProbeTimeout bounds one probe. Zero: DefaultProbeTimeout.
	ProbeTimeout time.Duration

	// SlowStart is how long the share of an endpoint grows after its first good connection
	// ([Connected], [Success], or a successful probe), when it has joined or was readmitted. The
	// endpoints of the first answer begin with their whole share. Zero: no slow start.
	SlowStart time.Duration
	// Aggression is how the share grows: after t of SlowStart it is the Weight times
	// (t / SlowStart) ^ (1 / Aggression), but at least the Weight times MinShare. Zero: 1, which is linear.
	Aggression float64
	// MinShare is the part of the Weight with which a slow start begins. Zero: DefaultMinShare; at most 1.
	MinShare float64

	// FailoverBelow is the part of the endpoints of one Priority that must be healthy for
	// that Priority to be in use. Zero: one endpoint suffices. At most 1.
	FailoverBelow float64
	// FailbackAfter is how long a better Priority must have been healthy before it is used
	// again. Meanwhile its endpoints are probed. Zero: DefaultFailbackAfter; negative: no
	// delay. See also FailbackInterval.
	FailbackAfter time.Duration

	// OnJoin is called when the resolver lists an endpoint, before it is ranked. If it returns
	// an error the endpoint is not used, and is tried again with the next answer. Calls run
	// one at a time, in the order of the resolver's answers; OnJoin must not block for long.
	OnJoin func(e Endpoint) error
	// OnChange is called when attributes of an endpoint that has joined have changed, in order with OnJoin.
	OnChange func(e Endpoint)
	// OnLeave is called when the resolver no longer lists an endpoint that has joined. The owner drains it and
	// returns when nothing of it is left. The context ends when the resolver lists the endpoint
	// again, with the cause ErrReturned, and when the Set is closed; OnJoin of the same endpoint is
	// called only after OnLeave has returned. Calls for different endpoints run at the same time.
	OnLeave func(ctx context.Context, addr string)

	// Trace is called with each event, one at a time and in order. It must not block.
	Trace func(Event)
}

// Errors of a [Set]. Test with errors.Is.
var (
	// ErrConfig is the error of a constructor: its configuration has invalid fields, which the
	// error names.
	ErrConfig = errors.New("endpoint: bad configuration")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("endpoint: set is closed")
	// ErrNoEndpoints: no endpoint is known.
	ErrNoEndpoints = errors.New("endpoint: no endpoints")
	// ErrReturned is why the context of OnLeave ends when the resolver lists the endpoint again.
	ErrReturned = errors.New("endpoint: endpoint is listed again")
)

// Set says which endpoint to use. Make one with [NewSet], and close it. All methods may be
// called by any number of goroutines at once.
type Set struct{}

// Use is one use of an endpoint, from [Set.Begin] to [Use.End]. The zero Use is of no
// endpoint; its methods do nothing.
type Use struct{ live *live }

// NewSet returns a Set that follows the resolver until Close is called. It does not wait for the first
// answer, see [Set.Ready]. The error wraps [ErrConfig] and names every invalid field.
func NewSet(cfg SetConfig) (*Set, error) { return &Set{}, nil }

// Ready blocks until there is an endpoint to rank. It fails when ctx ends, with an error that
// wraps that of ctx, [ErrNoEndpoints] and why the last answer of the resolver was not applied;
// and with [ErrClosed].
func (s *Set) Ready(ctx context.Context) error { return nil }

// Rank appends to dst the addresses of endpoints worth trying for one acquire, the best first:
// first the pick of the Balancer, then others of the same Priority. If one of these
// has failed lately, endpoints of the next Priority follow. At most [SetConfig.Choices] are
// appended, without duplicates. key is for balancers such as [Rendezvous]; it may be
// empty.
//
// It appends at least one address while any endpoint has joined and is not draining. It takes no
// lock, reads no clock, and allocates only if dst has no room.
//
// If the caller has tried all of them in vain, and has reported the evidence, it may rank again: the result
// reflects the evidence.
func (s *Set) Rank(dst []string, key string) []string { return dst[:len(dst):len(dst)] }

// Begin counts a use of the endpoint, which must end with exactly one call of [Use.End]. To let the
// load include callers that wait, begin before acquiring a connection, with the address that
// Rank put first, and use [Use.Move] if the connection turns out to be another endpoint's.
// It takes no lock. If the endpoint is unknown it returns the zero Use.
func (s *Set) Begin(addr string) Use { return Use{} }

// Move moves the use to another endpoint. It returns the Use that replaces u, of which End is to be
// called.
func (u Use) Move(addr string) Use { return Use{u.live} }

// End ends the use, with what it has shown about the endpoint. With [Success] for an endpoint
// without failures it takes no lock, and reads no clock unless the balancer is [PeakEWMA].
func (u Use) End(e Evidence) {}

// Observe reports evidence apart from a use, such as the failure of a dial.
// It does nothing if the endpoint is unknown or drains.
func (s *Set) Observe(addr string, e Evidence) {}

// Refresh asks the resolver to look up again, if it is a [Refresher]. A Set does so itself
// when an endpoint is ejected.
func (s *Set) Refresh() {}

// Snapshot returns the state of all endpoints.
func (s *Set) Snapshot() Snapshot { return Snapshot{} }

// Close stops following the resolver and cancels probes and the contexts of OnLeave, which is
// not called for the endpoints that remain: they stay the owner's. It blocks until all functions
// of the user have returned or ctx ends; its error then wraps that of ctx and says what still runs. It may
// be called again. Rank returns nothing afterwards; uses still end as usual.
func (s *Set) Close(ctx context.Context) error { return nil }
