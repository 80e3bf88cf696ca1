package resource

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// MultiplexReporter is a layer above a pool that leases resources and shares each of them among
// many calls, as a mux.Client does. A pool to which it is attached, such as a *wspool.Pool, lists
// the result of Multiplexer in its [Inspection]. Multiplexer returns a snapshot with at most
// limit of the resources that the layer holds; with a limit of 0 it lists none. It must not
// block, and may be called by many goroutines at once. A panic in it is contained.
type MultiplexReporter interface {
	Multiplexer(limit int) Multiplexer
}

// Multiplexer is the state of a [MultiplexReporter], or of several of one name together. The
// counters count since it was made.
type Multiplexer struct {
	Name string // of its Config; shown, so not a secret

	Held       int           // resources that it holds
	Draining   int           // of these, resources that take no more calls
	Limit      int           // calls that may be in flight on one resource
	InFlight   int           // calls that await a reply
	Busiest    int           // calls in flight on the resource that has most
	Waiting    int           // callers that wait for a resource to have room
	OldestWait time.Duration // how long the first of them has waited; 0: none waits
	Orphans    int           // calls that were given up and whose replies have not come
	MaxOrphans int           // orphans beyond which a resource is drained
	Streams    int           // streams that are open
	Queued     int           // bytes that wait to be written

	Acquired      int64 // resources acquired
	Calls         int64 // calls that were answered
	NotSent       int64 // calls, notifications and subscriptions that failed and were certainly not sent
	MayHaveRun    int64 // those that failed and may have run
	Batches       int64 // writes
	Messages      int64 // messages written or to be written: Messages / Batches is calls per write
	Retried       int64 // attempts after a resource ended before a call was sent on it
	Replayed      int64 // calls that may have run and were sent once more
	Orphaned      int64 // calls that were given up after they were sent
	Late          int64 // messages for calls or streams that were given up or had ended
	Unknown       int64 // messages for ids that were never sent: the peer has crossed ids
	Bad           int64 // messages that could not be classified
	Unwanted      int64 // messages that nothing was set to receive
	EventsDropped int64 // messages of the peer's own accord that found their buffer full
	StreamDropped int64 // messages for streams that found their buffer full
	Resumes       int64 // attempts to resume a stream
	Gaps          int64 // streams that were resumed, so that messages may be missing
	Panics        int64 // panics contained in functions of the user

	Took      Durations             // of calls that were answered, estimated from a sample of them
	Resources []MultiplexedResource // some of those that it holds, by id
	Settings  []Setting             // how it was configured; none if no resources are listed
}

// MultiplexedResource is one resource that a [MultiplexReporter] holds.
type MultiplexedResource struct {
	ID        uint64 // in its pool
	InFlight  int
	Orphans   int
	Streams   int
	Queued    int   // bytes that wait to be written
	Draining  bool  // it takes no more calls
	Cause     error // why it is draining; nil unless Draining
	Dedicated bool  // it serves one stream, or large messages
	Calls     int64
	Batches   int64
	Messages  int64
	Late      int64
	Unknown   int64
	Bad       int64
}

// Merge returns the state of both together: levels and counters are added, but Limit, Busiest,
// OldestWait and MaxOrphans are the larger. At most limit of their resources are listed. Name is
// that of m, and so are the Settings if it has any. Neither changes.
func (m Multiplexer) Merge(o Multiplexer, limit int) Multiplexer {
	m.Limit, m.Busiest = max(m.Limit, o.Limit), max(m.Busiest, o.Busiest)
	m.OldestWait, m.MaxOrphans = max(m.OldestWait, o.OldestWait), max(m.MaxOrphans, o.MaxOrphans)
	m.Held += o.Held
	m.Draining += o.Draining
	m.InFlight += o.InFlight
	m.Waiting += o.Waiting
	m.Orphans += o.Orphans
	m.Streams += o.Streams
	m.Queued += o.Queued
	m.Acquired += o.Acquired
	m.Calls += o.Calls
	m.NotSent += o.NotSent
	m.MayHaveRun += o.MayHaveRun
	m.Batches += o.Batches
	m.Messages += o.Messages
	m.Retried += o.Retried
	m.Replayed += o.Replayed
	m.Orphaned += o.Orphaned
	m.Late += o.Late
	m.Unknown += o.Unknown
	m.Bad += o.Bad
	m.Unwanted += o.Unwanted
	m.EventsDropped += o.EventsDropped
	m.StreamDropped += o.StreamDropped
	m.Resumes += o.Resumes
	m.Gaps += o.Gaps
	m.Panics += o.Panics
	m.Took = m.Took.Merge(o.Took)
	if len(m.Settings) == 0 {
		m.Settings = o.Settings
	}
	m.Resources = slices.Concat(m.Resources, o.Resources)
	slices.SortFunc(m.Resources, func(a, b MultiplexedResource) int { return cmp.Compare(a.ID, b.ID) })
	m.Resources = m.Resources[:min(max(limit, 0), len(m.Resources))]
	return m
}

// Counters returns m with its counters alone: no levels, no resources and no settings.
func (m Multiplexer) Counters() Multiplexer {
	m.Held, m.Draining, m.Limit, m.InFlight, m.Busiest, m.Waiting, m.OldestWait = 0, 0, 0, 0, 0, 0, 0
	m.Orphans, m.MaxOrphans, m.Streams, m.Queued, m.Resources, m.Settings = 0, 0, 0, 0, nil, nil
	return m
}

// Durations is a distribution of durations, in buckets that grow by 2^(1/16). The zero
// Durations is empty.
type Durations struct {
	Sum     time.Duration // at most 146 years
	Zero    int64         // durations under a microsecond
	First   int           // index of Buckets[0]; a multiple of 4
	Buckets []int64       // Buckets[i] has those over 2^((First+i)/16) ns and up to 2^((First+i+1)/16) ns
}

// Merge returns the sum of both. Neither changes.
func (d Durations) Merge(o Durations) Durations {
	sum := Durations{Sum: d.Sum + min(o.Sum, math.MaxInt64-d.Sum), Zero: d.Zero + o.Zero}
	switch {
	case len(d.Buckets) == 0:
		sum.First, sum.Buckets = o.First, slices.Clone(o.Buckets)
	case len(o.Buckets) == 0:
		sum.First, sum.Buckets = d.First, slices.Clone(d.Buckets)
	default:
		sum.First = min(d.First, o.First)
		sum.Buckets = make([]int64, max(d.First+len(d.Buckets), o.First+len(o.Buckets))-sum.First)
		for _, one := range []Durations{d, o} {
			for i, n := range one.Buckets {
				sum.Buckets[one.First-sum.First+i] += n
			}
		}
	}
	return sum
}
