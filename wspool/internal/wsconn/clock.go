package wsconn

import "time"

// Clock is a monotonic clock for comparisons only.
type Clock struct{ base time.Time }

// NewClock returns a clock that starts now.
func NewClock() Clock { return Clock{time.Now()} }

// Now returns the nanoseconds since the clock was made, starting at 1: 0 can stand
// for "never".
func (c Clock) Now() int64 { return int64(time.Since(c.base)) + 1 }
