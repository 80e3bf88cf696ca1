package metrics

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
	"unicode"
	"unicode/utf8"
)

// Config configures a [Meter]. [New] copies it. With the zero Config the meter counts
// and reports no lease as overdue.
//
// The functions run on goroutines of the meter or of the pool, as each says. A panic
// in one is contained and becomes an [Event].
type Config struct {
	// Overdue is how long a lease may last before it is reported, from 300 ms to a
	// day. A lease that lasts longer is found within an eighth of Overdue and
	// reported once, to OnOverdue, to Logger and as an [Event], and again when it
	// ends. Leases that were acquired with [resource.Request.Shared] are not reported.
	// The stack of its acquire is known only if the lease was sampled, as one in 512 is
	// unless [resource.Config.SampleLeases] is 1. Zero means that no lease is reported.
	Overdue time.Duration
	// OnOverdue is called with a lease that is overdue, on a goroutine of the meter.
	// The next report waits for it. May be nil.
	OnOverdue func(Held)
	// OnReturned is called with an overdue lease that has ended, after OnOverdue has
	// returned, on the goroutine that ended the lease or on one of the meter, which
	// waits for it. May be nil.
	OnReturned func(Held)
	// OnDropped is called with a lease that ended with [resource.ErrDropped]: its
	// holder did not end it, and the garbage collector found it. Held.Stack is that
	// of its acquire if the lease was sampled. The goroutine that ends the lease
	// calls OnDropped and waits for it. For an overdue lease OnReturned is called as
	// well. May be nil.
	OnDropped func(Held)
	// Logger gets a warning for each lease that is overdue or was dropped, and an
	// info line when an overdue lease has ended, with the cause if its resource is
	// destroyed then, as after [resource.Pool.Reclaim]. Nil means slog.Default().
	Logger *slog.Logger

	// Cause returns the label, a few words, under which a resource destroyed for
	// cause is counted in [Snapshot.Destroyed]; it must not carry a secret. If Cause
	// is nil or returns "", or panics, the meter takes the first of these:
	//
	//   - the result of the method Cause() string of the outermost error in the chain
	//     that has one, as the errors of resource, policy and wspool do;
	//   - its own label for errors of the standard library that end connections,
	//     such as context.Canceled, io.EOF, timeouts and errno values;
	//   - the text of an error made by errors.New, from its second use as a cause on,
	//     as for the sentinel of a package;
	//   - "other", since a text made for one occasion may be long or a secret.
	//
	// One type of error adds at most 32 labels, all together at most 256; the rest
	// is counted under "other".
	Cause func(cause error) string
}

// The bounds of Config.Overdue. In minOverdue the clock of the pool, which ticks
// every 100 ms, has ticked twice, so Trace.Ended is called for the lease whether or
// not it was sampled.
const (
	minOverdue = 300 * time.Millisecond
	maxOverdue = 24 * time.Hour
)

const maxName = 128 // bytes

// check returns an error that names every bad field.
func (c *Config) check(name string) error {
	var bad []error
	no := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf(format, args...))
		}
	}
	no(name != "", "name is empty")
	no(len(name) <= maxName, "name has %d bytes, over %d", len(name), maxName)
	no(printable(name), "name has characters that are not printable")
	off := c.Overdue == 0
	no(off || c.Overdue >= minOverdue && c.Overdue <= maxOverdue,
		"Overdue must be 0 or between %v and %v, got %v", minOverdue, maxOverdue, c.Overdue)
	no(!off || c.OnOverdue == nil, "OnOverdue is set, but Overdue is 0")
	no(!off || c.OnReturned == nil, "OnReturned is set, but Overdue is 0")
	if bad == nil {
		return nil
	}
	return fmt.Errorf("metrics: bad name or Config: %w", errors.Join(bad...))
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
