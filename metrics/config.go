package metrics

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
	"unicode"
	"unicode/utf8"
)

// Config says what a [Meter] does. [New] copies it. The zero Config counts, and
// reports nothing by itself.
type Config struct {
	// Overdue is how long a lease may last before it is reported: from 300 ms
	// to a day. One that lasts longer is found no later than an eighth of Overdue
	// after, and reported once: to OnOverdue, to Logger and as an [Event]; and
	// once more when it has ended after all. Zero: none is.
	Overdue time.Duration
	// OnOverdue is called with a lease that is overdue, on a goroutine of the
	// meter's, and delays the next report. A panic in it is contained, and is
	// an Event. Nil: nobody is told.
	OnOverdue func(Held)
	// OnReturned is called with an overdue lease that has ended after all, on
	// the goroutine that has ended it or one of the meter's, and delays that. A
	// panic in it is contained, and is an Event. Nil: nobody is told.
	OnReturned func(Held)
	// OnDropped is called with a lease that ended with [resource.ErrDropped]:
	// nobody ended it, and the garbage collector found it. It has the stack of
	// who took it if it was sampled. It is called where the lease is ended, and
	// delays that; if it was overdue, OnReturned is called as well. A panic in
	// it is contained, and is an Event. Nil: nobody is told.
	OnDropped func(Held)
	// Logger gets a warning for each lease that is overdue or was dropped, and a
	// line when an overdue one has ended. Nil: slog.Default().
	Logger *slog.Logger

	// Cause returns the label, a few words, under which a resource destroyed for
	// cause is counted in [Snapshot.Destroyed]; it must not carry a secret. If Cause
	// is nil or returns "", or panics, the meter takes the first of these:
	//
	//   - what a method Cause() string of an error in the chain returns, which the
	//     errors of resource, policy and wspool have;
	//   - its own label for errors of the standard library that end connections,
	//     such as context.Canceled, io.EOF, timeouts and errno values;
	//   - the text of an error made by errors.New that is a cause again, as the
	//     sentinel of a package is, from its second use on;
	//   - "other", since a text made for one occasion may be long or a secret.
	//
	// One type of error adds at most 32 labels, all together at most 256; the rest
	// is counted under "other".
	Cause func(cause error) string
}

// The bounds of Config.Overdue. After the shortest the pool's clock, which ticks
// every 100 ms, has ticked twice, and every lease has an Ended, whether or not it
// was sampled.
const (
	minOverdue = 300 * time.Millisecond
	maxOverdue = 24 * time.Hour
)

const maxName = 128 // bytes

// check names every bad field.
func (c *Config) check(name string) error {
	var bad []error
	no := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf(format, args...))
		}
	}
	no(name != "", "name is empty")
	no(len(name) <= maxName, "name has %d bytes, over %d", len(name), maxName)
	no(printable(name), "name is not of printable characters")
	off := c.Overdue == 0
	no(off || c.Overdue >= minOverdue && c.Overdue <= maxOverdue,
		"Overdue is %v, not 0 or from %v to %v", c.Overdue, minOverdue, maxOverdue)
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
