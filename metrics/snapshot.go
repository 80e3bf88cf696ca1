package metrics

import (
	"time"

	"github.com/respool/respool/resource"
)

// Source is a pool to be watched: a *resource.Pool, a *wspool.Pool, or one key
// of many.
type Source interface {
	// Inspect returns what the pool is made of, with at most limit resources
	// and as many waiting callers; 0: none. It is called by many goroutines at
	// once, and must not wait for a resource. A Source that has a method
	// SampleFor, as [resource.Pool] and the others have, is asked to sample every
	// lease for ten minutes when one was overdue that was not sampled.
	Inspect(limit int) resource.Inspection
}

// Snapshot is what a [Meter] knows of its pool at one time. It is the reader's.
type Snapshot struct {
	Name string    // of the meter
	Time time.Time // when it was taken

	// Inspection is what the pool says; it is empty before [Meter.Watch].
	resource.Inspection

	Wait  Histogram // acquires that got a resource, those that found one idle as 0
	Hold  Histogram // leases that have ended, estimated from those sampled
	Make  Histogram // makes that succeeded
	Check Histogram // health checks, passed or failed
	Close Histogram // Destroys

	Destroyed map[string]int64 // by cause, a few words each, the rest under "other"
	Refused   map[string]int64 // callers and makes refused, by policy
	Outages   int64            // that have begun
	Since     time.Time        // when the present outage began; zero: there is none

	Overdue int // leases that run and were found overdue, however few Held lists

	Held   []Held  // leases that run and whose beginning was sampled or that are overdue, the longest first
	Events []Event // the last, the newest first
}

// Held is a lease that runs.
type Held struct {
	ID      uint64        // of the resource
	Lease   uint64        // the resource's how manieth, from 1
	For     time.Duration // how long it has lasted
	Class   string        // of its Request; at most 64 bytes
	Overdue bool          // it was reported
	Stack   []Frame       // who acquired it, innermost first; nil: its beginning was not sampled
}

// Frame is one line of a stack.
type Frame struct {
	Func string // with the path of its package
	File string // as the compiler was given it
	Line int    // in File
}

// Event is something that happened, in words.
type Event struct {
	Time time.Time // when
	Kind string    // "made", "destroyed", "refused", "outage", "overdue", …
	Text string    // at most 200 bytes of valid UTF-8, without control characters and the secrets of URLs
	More int64     // how many of the same kind and label came within a second after it, and have no Event of their own
}
