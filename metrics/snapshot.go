package metrics

import (
	"time"

	"github.com/respool/respool/resource"
)

// Source is a pool that a [Meter] can watch: a *resource.Pool, a *wspool.Pool, a
// Keyed or Manager, or one key of these.
type Source interface {
	// Inspect returns the state of the pool, with at most limit resources and limit
	// waiting callers; none if limit is 0. It is called concurrently, and must not
	// wait for a resource. If a lease is overdue that was not sampled, the meter
	// calls the method SampleFor of the Source, which [resource.Pool] and the others
	// have, to sample every lease for ten minutes.
	Inspect(limit int) resource.Inspection
}

// Snapshot is the state of a pool and of its [Meter] at one time. The caller owns it.
type Snapshot struct {
	Name string    // of the meter
	Time time.Time // when it was taken

	// Inspection is the state of the pool; empty before [Meter.Watch].
	resource.Inspection

	Wait  Histogram // waits of acquires that got a resource; 0 for those that found one idle
	Hold  Histogram // leases that have ended, estimated from the sampled ones
	Make  Histogram // creations that succeeded
	Check Histogram // health checks, passed or failed
	Close Histogram // calls of Destroy

	Destroyed map[string]int64 // resources by cause, a label of a few words; see Config.Cause
	Refused   map[string]int64 // callers and creations refused, by policy
	Outages   int64            // outages that have begun
	Since     time.Time        // when the present outage began; if outages of several keys overlap, when the first of them began; zero: there is none

	Overdue int // leases that are held and were found overdue, whether or not Held lists them

	Held   []Held  // leases that are held and were sampled or are overdue, the longest first
	Events []Event // the last 200, the newest first
}

// Held is a lease that is held.
type Held struct {
	ID      uint64        // of the resource
	Lease   uint64        // ordinal of this lease on its resource, starting at 1
	For     time.Duration // how long it has lasted
	Class   string        // of its Request; at most 64 bytes
	Overdue bool          // it was reported as overdue
	Shared  bool          // it was acquired with [resource.Request.Shared], and so is never overdue
	Ended   error         // for OnReturned and OnDropped: why the resource is destroyed; nil: it is not, or the end was reported late
	Stack   []Frame       // of the acquire, innermost first; nil: the lease was not sampled
}

// Frame is one call in a stack.
type Frame struct {
	Func string // name, with the path of its package
	File string // path, as the compiler got it
	Line int    // in File
}

// Event is a line of the log that a meter keeps.
type Event struct {
	Time time.Time // when
	Kind string    // "made", "destroyed", "refused", "outage", "overdue", …
	Text string    // at most 200 bytes of valid UTF-8, without control characters and secrets in URLs
	More int64     // events of the same kind and label in the second after it; they have no entry of their own
}
