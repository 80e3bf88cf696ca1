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

// MinLease is the least [Config.Lease]: a pause of the scheduler could outlast a shorter one.
const MinLease = 100 * time.Millisecond

// LostMode says what a [Quota] does when its lease has ended, or none was granted yet, and the
// last claim failed. In every mode existing resources stay, unless [Config.CloseBeforeExpiry] is set.
type LostMode uint8

const (
	// LocalShare lets the process have up to limit / holders units, rounded down, but at
	// least 1 and at least [Config.Min], with the limit and the holders of the last answer.
	// Before the first answer that is max(1, Min). It also applies while the ledger is
	// learning; holders is then the number before that, or of those that have come back if
	// they are more.
	//
	// All processes together then have at most limit, plus max(units in use, share) of each
	// process that is cut off from a ledger that the others reach; or, if no process
	// reaches the ledger, at most limit plus the shares of all.
	LocalShare LostMode = iota
	// FailClosed refuses every request, with ErrLost.
	FailClosed
	// FailOpen admits every request, while the ledger is learning too. Only the sizes of
	// the pools, and refusals of the provider ([Config.TooMany]), bound the number of
	// resources.
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

// Config says how a process takes part in a quota. Ledger, Quota and Limit are required. Limit
// is at most [MaxUnits], and Quota has 1 to 200 printable ASCII characters without spaces and
// braces.
type Config struct {
	Ledger Ledger // the engine that all processes reach; it stays the caller's
	Quota  string // the name of the quota, the same in all processes; shown, so not a secret
	Limit  int    // units that all processes together may have; if they state different ones the smallest applies

	// Lease is how long the ledger keeps the units of a process that makes no claim before
	// it grants them to others. The process renews it after a third of that time. Zero:
	// DefaultLease; else from MinLease to 24 h.
	Lease time.Duration
	// Margin is how long before the end of the lease, as this process counts it, the
	// process stops relying on it: for clocks that run at different speeds and, with
	// CloseBeforeExpiry, for the time that closing takes. Zero: a tenth of Lease; else at
	// most half of it.
	Margin time.Duration
	// Min is how many units the target of this process does not fall below while it wants
	// that many; nothing is claimed for Min alone. From 0 to Limit. The minimums of all
	// processes should sum to at most Limit: if they do not, they are divided by Priority.
	// The ledger does not know the weights of members ([Quota.Member]): if a fair share can be
	// less than one resource of each, set Min to at least the sum of the weights. Otherwise such
	// a process may get units that it cannot use, and no resource.
	Min int
	// Priority orders processes that want more than there is: those with a larger one get
	// all they want first, after all minimums. From -MaxUnits to MaxUnits.
	Priority int
	// Slack is how many units to have in advance, from New on, while no other process
	// lacks them. At most Limit. Zero: DefaultSlack. Negative: none.
	Slack int

	OnLost LostMode // when the ledger is lost; zero: LocalShare
	// CloseBeforeExpiry ends resources before the lease ends: the functions given to
	// [Quota.OnExpiry] are called, connections of [Quota.Dial] are closed, leased ones too,
	// and Surplus ends resources that are idle or are released. It requires FailClosed. The
	// package comment says what it guarantees.
	CloseBeforeExpiry bool
	// TooMany reports whether err, with which a creation failed, says that the provider
	// refused it because there are too many resources. The quota then asks for less, and
	// refuses requests with ErrTooMany for a time that doubles with each refusal, from a
	// tenth of Lease to six times Lease. TooMany must not block, and may be called by many
	// goroutines at once. A panic in it counts as false. Nil: no error is such a refusal.
	TooMany func(err error) bool
}

// Reasons why a [Quota] or a [DialRate] refuses a request, wrapped in a [*resource.Rejection]
// that has its name, and causes with which a Quota ends resources. Test with errors.Is.
var (
	// ErrFull: no unit is free, and the request has NoWait.
	ErrFull = errors.New("fleet: no unit of the quota is free")
	// ErrLost: the last claim failed, and there is no lease that lasts. For a DialRate: the
	// last fetch of tokens failed. The refusal wraps the error of the ledger too.
	ErrLost = errors.New("fleet: the ledger does not answer")
	// ErrTooMany: the provider has refused a resource, see [Config.TooMany].
	ErrTooMany = errors.New("fleet: the provider has reported too many")
	// ErrWeight: the request needs more units than the whole quota has.
	ErrWeight = errors.New("fleet: the request exceeds the quota")
	// ErrClosed: Close of the [Quota] or [DialRate] was called.
	ErrClosed = errors.New("fleet: quota is closed")
	// ErrSurplus is why Surplus ends a resource: the pool has more than its fair share.
	ErrSurplus = cause.New("fleet: above the fair share", "surplus")
	// ErrExpired is why CloseBeforeExpiry ends a resource, a creation or a dial.
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

// newHolder returns a name that no other Quota has. It begins with the host name and the process
// id, for an operator who inspects the engine.
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
