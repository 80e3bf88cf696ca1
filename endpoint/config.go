package endpoint

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
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

// FailbackInterval is the least time between two failbacks, whatever [SetConfig.FailbackAfter]
// is, so that a primary that comes and goes does not move the callers all the time.
const FailbackInterval = time.Minute

// SetConfig configures a [Set]. Resolver is required, and Probe unless Ejector is [Never]. The
// functions are called without a lock; a panic in one is contained and counted.
type SetConfig struct {
	// Resolver says which endpoints there are.
	Resolver Resolver
	// Balancer picks one. It should not be shared with another Set: some balancers remember
	// what they have computed for the candidates of one. Nil: [P2C].
	Balancer Balancer
	// Choices is how many addresses [Set.Rank] appends at most. Zero: DefaultChoices.
	Choices int

	// Ejector decides which endpoints fail. Nil: five consecutive failures, or a success rate
	// far below that of the others: [AnyOf]([ConsecutiveFailures](5),
	// [SuccessRate]([SuccessRateConfig]{})).
	Ejector Ejector
	// MaxEjected is the part of the endpoints that may be ejected at once: at most that part of
	// them, rounded down, is ejected afterwards, but one may always be ejected if there are
	// two. Draining endpoints do not count. Zero: DefaultMaxEjected; at most 1; negative: none
	// is ejected.
	MaxEjected float64
	// PanicBelow is the part of all endpoints that must be healthy: if fewer are, ejections are
	// ignored. Zero: DefaultPanicBelow; at most 1; negative: ejections are never ignored.
	PanicBelow float64
	// Interval is how often the success rates are judged. Zero: DefaultInterval.
	Interval time.Duration

	// Probe tries whether an endpoint works: one that is ejected, one whose share is reduced by
	// failures, one that has joined and got no caller yet, if there is a SlowStart, and one of
	// a better Priority than the one in use. It should do all that the first use of a
	// connection needs, such as signing in, and return nil only if that succeeded: an idle
	// connection shows nothing, since it may be dead. It may keep the connection for later use.
	// An error counts as a failed dial, unless evidence of a failure is reported with
	// [Set.Observe] meanwhile, which can say more. If only [Local] failures are reported the probe
	// has shown nothing: the endpoint stays as it was, and is probed again. The context ends
	// after ProbeTimeout, when the endpoint leaves, and when the Set is closed. Calls for
	// different endpoints run at the same time, those for one endpoint do not: it has left only
	// when Probe has returned too, unless it is listed again. If Probe is nil, reduced shares
	// recover with time, and a slow start begins after ProbeDelay.
	Probe func(ctx context.Context, addr string) error
	// ProbeDelay times the number of recent ejections and failed probes, at least once, is the
	// time before the next probe, at most MaxProbeDelay, plus up to a fifth of it at random.
	// Zero: DefaultProbeDelay and DefaultMaxProbeDelay.
	ProbeDelay, MaxProbeDelay time.Duration
	// ProbeTimeout bounds one probe. Zero: DefaultProbeTimeout.
	ProbeTimeout time.Duration

	// SlowStart is how long the share of an endpoint grows after its first good connection
	// ([Connected], [Success], or a successful probe), when it has joined or was readmitted.
	// The endpoints of the first answer begin with their whole share. Zero: no slow start.
	SlowStart time.Duration
	// Aggression is how the share grows: after t of SlowStart it is the Weight times (t /
	// SlowStart) ^ (1 / Aggression), but at least the Weight times MinShare. Zero: 1, which is
	// linear.
	Aggression float64
	// MinShare is the part of the Weight with which a slow start begins. Zero: DefaultMinShare;
	// at most 1.
	MinShare float64

	// FailoverBelow is the part of the endpoints of one Priority that must be healthy for that
	// Priority to be in use. Zero: one endpoint suffices. At most 1.
	FailoverBelow float64
	// FailbackAfter is how long a better Priority must have been healthy before it is used
	// again. Meanwhile its endpoints are probed. Zero: DefaultFailbackAfter; negative: no
	// delay. See also FailbackInterval.
	FailbackAfter time.Duration

	// OnJoin is called when the resolver lists an endpoint, before it is ranked. If it returns
	// an error the endpoint is not used, and is tried again with the next answer. Calls run one
	// at a time, in the order of the resolver's answers; OnJoin must not block for long.
	OnJoin func(e Endpoint) error
	// OnChange is called when attributes of an endpoint that has joined have changed, in order
	// with OnJoin.
	OnChange func(e Endpoint)
	// OnLeave is called when the resolver no longer lists an endpoint that has joined, after
	// OnJoin for those that it lists now; if none of these could join nothing leaves. The owner
	// drains it and returns when nothing of it is left. The context ends when the resolver
	// lists the endpoint again, with the cause ErrReturned, and when the Set is closed; OnJoin
	// of the same endpoint is called only after OnLeave has returned. After ErrReturned OnJoin is
	// called, and then OnLeave, even if the resolver has removed the endpoint once more
	// meanwhile, so that what the owner has kept is drained. If that OnJoin fails, the owner has
	// to end what it has kept. Calls for different endpoints run at the same time.
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
	// ErrPanic: a function of the user has panicked, or has ended its goroutine.
	ErrPanic = errors.New("endpoint: panic")
	// ErrReturned is why the context of OnLeave ends when the resolver lists the endpoint
	// again.
	ErrReturned = errors.New("endpoint: endpoint is listed again")
)

// check returns an error that names every invalid field.
func (c *SetConfig) check() error {
	var faults []string
	require := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	require(c.Resolver != nil, "Resolver is required")
	if c.Resolver != nil {
		err := Check(c.Resolver)
		require(err == nil, "Resolver: %v", err)
	}
	_, ejects := c.Ejector.(never)
	require(c.Probe != nil || ejects, "Probe is required unless Ejector is Never()")
	require(c.Choices >= 0 && c.Choices <= maxChoices, "Choices must be between 0 and %d, got %d", maxChoices, c.Choices)
	require(c.MaxEjected <= 1, "MaxEjected must be at most 1, got %v", c.MaxEjected)
	require(c.PanicBelow <= 1, "PanicBelow must be at most 1, got %v", c.PanicBelow)
	require(c.MinShare >= 0 && c.MinShare <= 1, "MinShare must be between 0 and 1, got %v", c.MinShare)
	require(c.FailoverBelow >= 0 && c.FailoverBelow <= 1, "FailoverBelow must be between 0 and 1, got %v", c.FailoverBelow)
	require(c.Aggression >= 0, "Aggression must be a number of at least 0, got %v", c.Aggression)
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"Interval", c.Interval}, {"ProbeDelay", c.ProbeDelay}, {"MaxProbeDelay", c.MaxProbeDelay},
		{"ProbeTimeout", c.ProbeTimeout}, {"SlowStart", c.SlowStart},
	} {
		require(d.value >= 0, "%s must be at least 0, got %v", d.name, d.value)
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrConfig, strings.Join(faults, "; "))
}

// withDefaults returns a copy in which zero values are replaced.
func (c SetConfig) withDefaults() SetConfig {
	if c.Balancer == nil {
		c.Balancer = P2C()
	}
	if c.Ejector == nil {
		c.Ejector = AnyOf(ConsecutiveFailures(5), SuccessRate(SuccessRateConfig{}))
	}
	orDefault(&c.Choices, DefaultChoices)
	orDefault(&c.MaxEjected, DefaultMaxEjected)
	orDefault(&c.PanicBelow, DefaultPanicBelow)
	orDefault(&c.Interval, DefaultInterval)
	orDefault(&c.ProbeDelay, DefaultProbeDelay)
	orDefault(&c.MaxProbeDelay, max(DefaultMaxProbeDelay, c.ProbeDelay))
	c.ProbeDelay = min(c.ProbeDelay, c.MaxProbeDelay)
	orDefault(&c.ProbeTimeout, DefaultProbeTimeout)
	orDefault(&c.Aggression, 1)
	orDefault(&c.MinShare, DefaultMinShare)
	orDefault(&c.FailbackAfter, DefaultFailbackAfter)
	for _, d := range []*time.Duration{&c.Interval, &c.ProbeDelay, &c.MaxProbeDelay, &c.SlowStart, &c.FailbackAfter} {
		*d = min(*d, forever)
	}
	return c
}

// forever stands for any longer time: two of them can still be added to the clock.
const forever = math.MaxInt64 / 4

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
