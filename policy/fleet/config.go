package fleet

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/respool/respool/internal/cause"
)

// What zero means in a [Config].
const (
	DefaultLease = 10 * time.Second
	DefaultSlack = 1
)

// MinLease is the least [Config.Lease]: with a shorter one a pause of the scheduler ends it.
const MinLease = 100 * time.Millisecond

// LostMode says what a [Quota] does when its lease has ended and the ledger does not answer.
// In every mode resources that exist stay, unless [Config.CloseBeforeExpiry] is set.
type LostMode uint8

const (
	// LocalShare lets the process have up to limit / holders units, rounded down, but at
	// least 1 and at least [Config.Min], with the limit and the holders of the last answer.
	// Before the first answer it is max(1, Min). It also applies while the ledger is
	// learning, with the holders before that.
	//
	// All processes together then have at most limit, plus max(units in use, share) of each
	// process that is cut off from a ledger that the others reach; or, if no process
	// reaches the ledger, at most limit plus the shares of all.
	LocalShare LostMode = iota
	// FailClosed admits nothing more.
	FailClosed
	// FailOpen admits everything, while the ledger is learning too: only the sizes of the
	// pools bound the number of resources.
	FailOpen
)

// String returns "local share", "fail closed" or "fail open".
func (m LostMode) String() string {
	switch m {
	case LocalShare:
		return "local share"
	case FailClosed:
		return "fail closed"
	case FailOpen:
		return "fail open"
	}
	return fmt.Sprintf("LostMode(%d)", uint8(m))
}

// Config says how a process takes part in a quota. Ledger, Quota and Limit are required.
type Config struct {
	Ledger Ledger // the engine that all processes reach; it stays the caller's
	Quota  string // the name of the quota, the same in all processes; shown, so not a secret
	Limit  int    // units that all processes together may have; if they disagree the smallest is the limit

	// Lease is how long the ledger waits for a process that does not answer before it gives
	// its units to others. It is renewed after a third of it. Zero: DefaultLease; else at
	// least MinLease.
	Lease time.Duration
	// Margin is how long before the end of the lease, as this process counts it, the
	// process stops to rely on it: for clocks that run at different speeds, and with
	// CloseBeforeExpiry for the time that closing takes. Zero: a tenth of Lease; else at
	// most half of it.
	Margin time.Duration
	// Min is a number of units that the target of this process does not fall below while it
	// wants them. The minimums of all processes should sum to at most Limit.
	Min int
	// Priority orders processes that want more than there is: those with a larger one get
	// all they want first, after all minimums.
	Priority int
	// Slack is how many units to have in advance while no other process lacks them. Zero:
	// DefaultSlack. Negative: none.
	Slack int

	OnLost LostMode // when the ledger is lost; zero: LocalShare
	// CloseBeforeExpiry ends resources before the lease does: the functions given to
	// [Quota.OnExpiry] are called, connections of [Quota.Dial] are closed, leased ones too,
	// and Surplus ends what is idle or comes back. It requires FailClosed. See the package
	// comment for what it guarantees.
	CloseBeforeExpiry bool
	// TooMany reports whether err, why a creation failed, is the provider's own refusal
	// because there are too many. The quota then asks for less, and admits nothing for a
	// time that doubles from refusal to refusal. It must not block, and may be called by many
	// goroutines at once. Nil: no error is.
	TooMany func(err error) bool
}

// Reasons why a [Quota] refuses, wrapped in a [*resource.Rejection] that has the name of the
// quota, and causes of what it ends. Test with errors.Is.
var (
	// ErrFull: no unit is free, and the request has NoWait.
	ErrFull = errors.New("fleet: no unit of the quota is free")
	// ErrLost: the lease has ended, and the ledger does not answer. The refusal wraps the
	// error of the ledger too.
	ErrLost = errors.New("fleet: the ledger does not answer")
	// ErrTooMany: the provider has refused a resource because there are too many.
	ErrTooMany = errors.New("fleet: the provider has reported too many")
	// ErrWeight: the request needs more units than the whole quota has.
	ErrWeight = errors.New("fleet: the request exceeds the quota")
	// ErrClosed: the [Quota] is closed.
	ErrClosed = errors.New("fleet: quota is closed")
	// ErrSurplus is why Surplus ends a resource: there are more than the fair share.
	ErrSurplus = cause.New("fleet: above the fair share", "surplus")
	// ErrExpired is why CloseBeforeExpiry ends a resource.
	ErrExpired = cause.New("fleet: the lease of the quota ends", "quota lease ended")
)

// ErrConfig is the error of a constructor: a [Config] or [RateConfig] has invalid fields, which the error names.
var ErrConfig = errors.New("fleet: bad Config")

func (c *Config) check() error {
	var e fieldErrors
	e.require(c.Ledger != nil, "Ledger is required")
	e.name("Quota", c.Quota)
	e.units("Limit", c.Limit, 1)
	e.require(c.Lease == 0 || c.Lease >= MinLease && c.Lease <= maxLease, "Lease must be 0 or between %v and %v, got %v", MinLease, maxLease, c.Lease)
	lease := c.Lease
	if lease == 0 {
		lease = DefaultLease
	}
	e.require(c.Margin >= 0 && c.Margin <= max(0, lease/2), "Margin must be between 0 and half of Lease (%v), got %v", max(0, lease/2), c.Margin)
	e.units("Min", c.Min, 0)
	e.require(c.Min <= max(c.Limit, 0), "Min must be at most Limit (%d), got %d", c.Limit, c.Min)
	e.require(c.Priority >= -MaxUnits && c.Priority <= MaxUnits, "Priority must be between -%d and %[1]d, got %d", MaxUnits, c.Priority)
	e.require(c.Slack <= max(c.Limit, 0), "Slack must be at most Limit (%d), got %d", c.Limit, c.Slack)
	e.require(c.OnLost <= FailOpen, "OnLost must be LocalShare, FailClosed or FailOpen, got %d", c.OnLost)
	e.require(!c.CloseBeforeExpiry || c.OnLost == FailClosed, "CloseBeforeExpiry requires OnLost: FailClosed, got %v", c.OnLost)
	return e.wrap(ErrConfig)
}

// withDefaults returns a copy in which zero values are replaced.
func (c Config) withDefaults() Config {
	if c.Lease == 0 {
		c.Lease = DefaultLease
	}
	if c.Margin == 0 {
		c.Margin = c.Lease / 10
	}
	switch {
	case c.Slack == 0:
		c.Slack = DefaultSlack
	case c.Slack < 0:
		c.Slack = 0
	}
	return c
}

// newHolder returns a name that no other Quota has. It begins with that of the machine and
// the process, for an operator who looks at the engine.
func newHolder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	host = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return -1
	}, host)
	return fmt.Sprintf("%s-%d-%s", host[:min(len(host), 60)], os.Getpid(), strings.ToLower(rand.Text()[:16]))
}
