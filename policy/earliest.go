package policy

import (
	"math"
	"time"

	"github.com/respool/respool/resource"
)

// EarliestDeadline is a [resource.Queue] that serves the caller first whose
// context has the earliest deadline: where all can be served in time, all are. A
// caller whose context has none is served as if its deadline were otherwise after
// it began to wait; so it waits longer than others, but not for ever. Among
// equals, the more urgent by [resource.Request.Priority] is first, then the one
// that has waited longer.
//
// It is no means against overload: then it serves every caller just before its
// time is over, and so many of them in vain. Refuse some at the Admission, by
// [WithinDeadline], or use [CoDel].
//
// Every method takes time in proportion to the logarithm of how many wait. A
// Queue serves one pool. Panics if otherwise is not positive.
func EarliestDeadline(otherwise time.Duration) resource.Queue {
	var m misuse
	m.unless(otherwise > 0, "the time without a deadline is %v, not more than 0", otherwise)
	m.report("EarliestDeadline")
	return &earliestDeadline{newPriority(func(w *resource.Waiter) time.Duration {
		switch {
		case w.Deadline != 0:
			return w.Deadline
		case w.Since > math.MaxInt64-otherwise:
			return math.MaxInt64
		}
		return w.Since + otherwise
	})}
}

type earliestDeadline struct{ priority }
