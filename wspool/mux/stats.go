package mux

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/respool/respool/internal/settings"
	"github.com/respool/respool/resource"
)

// Stats is a snapshot of a [Client]. Counters count from New on.
type Stats struct {
	Conns    []ConnStats   // of the connections that are held now, in no order
	Waiting  int           // callers that wait for a connection to have room
	Oldest   time.Duration // how long the first of them has waited; 0: none waits
	InFlight int           // calls that await a reply, and streams whose messages carry the id of their request
	Orphans  int           // calls that were given up and whose replies have not come
	Streams  int           // streams on the connections that are held now

	Acquired      int64 // connections acquired
	Calls         int64 // calls that were answered
	NotSent       int64 // calls of Call, Notify and Stream that failed with ErrNotSent
	MayHaveRun    int64 // those that failed with ErrMayHaveRun
	Batches       int64 // writes
	Messages      int64 // messages written or to be written: Messages / Batches is calls per write
	Retried       int64 // attempts after a connection ended before a call was sent on it
	Replayed      int64 // calls that may have run and were sent once more
	Orphaned      int64 // calls that were given up after they were sent
	Late          int64 // messages for calls or streams that were given up or had ended
	Unknown       int64 // messages for ids that were never sent
	Bad           int64 // messages that the codec could not classify
	Ignored       int64 // messages that the codec classified as Ignore
	Unwanted      int64 // messages that nothing was set to receive
	EventsDropped int64 // messages for OnEvent and OnRequest that found their buffer full
	StreamDropped int64 // messages for streams that found their buffer full
	Resumes       int64 // attempts to resume a stream
	Gaps          int64 // streams that were resumed
	Panics        int64 // panics and Goexits in functions of the user that were contained
}

// String returns s in one line.
func (s Stats) String() string {
	return fmt.Sprintf("%d connections, %d in flight, %d waiting, %d orphans, %d streams; %d acquired, %d answered, %d not sent, %d may have run, "+
		"%d messages in %d writes, %d retried, %d replayed, %d given up; %d late, %d unknown, %d bad, %d unwanted, %d events and %d stream messages dropped; "+
		"%d gaps, %d resumes, %d panics",
		len(s.Conns), s.InFlight, s.Waiting, s.Orphans, s.Streams, s.Acquired, s.Calls, s.NotSent, s.MayHaveRun,
		s.Messages, s.Batches, s.Retried, s.Replayed, s.Orphaned, s.Late, s.Unknown, s.Bad, s.Unwanted, s.EventsDropped, s.StreamDropped,
		s.Gaps, s.Resumes, s.Panics)
}

// ConnStats is a snapshot of one connection.
type ConnStats struct {
	ID       uint64 // in its pool
	InFlight int
	Orphans  int
	Streams  int
	Queued   int   // bytes that wait to be written
	Draining bool  // it takes no more calls
	Cause    error // why it is draining; nil unless Draining
	Alone    bool  // it is that of a dedicated stream, or for large messages
	Calls    int64
	Batches  int64
	Messages int64
	Late     int64
	Unknown  int64
	Bad      int64
}

// add adds the counters of o.
func (s *connCounts) add(o *connCounts) {
	s.calls += o.calls
	s.batches += o.batches
	s.messages += o.messages
	s.late += o.late
	s.unknown += o.unknown
	s.bad += o.bad
	s.ignored += o.ignored
	s.unwanted += o.unwanted
	s.eventsDropped += o.eventsDropped
	s.streamDropped += o.streamDropped
	s.orphaned += o.orphaned
}

// Stats returns a snapshot. Its parts are not all of the same instant, but no counter is ever less
// than in an earlier snapshot.
func (c *Client) Stats() Stats {
	s := Stats{
		Waiting: int(c.waiting.Load()), Acquired: c.stats.acquired.Load(), Retried: c.stats.retried.Load(),
		Replayed: c.stats.replayed.Load(), Resumes: c.stats.resumes.Load(), Gaps: c.stats.gaps.Load(), Panics: c.stats.panics.Load(),
	}
	c.mu.Lock()
	if at := c.line.Front(); at != nil {
		if since := at.Value.(*inLine).since; !since.IsZero() {
			s.Oldest = time.Since(since)
		}
	}
	sum := c.stats.past
	s.Conns = make([]ConnStats, 0, len(c.all))
	for n := range c.all { // with the lock of the client, or one that leaves would be in neither sum
		n.mu.Lock()
		sum.add(&n.stats)
		s.InFlight += n.slots.live
		s.Orphans += n.slots.orphans
		s.Streams += len(n.streams)
		one := ConnStats{
			ID: n.id, InFlight: n.slots.live, Orphans: n.slots.orphans, Streams: len(n.streams), Queued: n.out.bytes(),
			Draining: n.state == draining, Alone: n.exclusive, Calls: n.stats.calls, Batches: n.stats.batches,
			Messages: n.stats.messages, Late: n.stats.late, Unknown: n.stats.unknown, Bad: n.stats.bad,
		}
		if one.Draining {
			one.Cause = n.cause
		}
		n.mu.Unlock()
		s.Conns = append(s.Conns, one)
	}
	c.mu.Unlock()
	s.NotSent, s.MayHaveRun, _, _ = c.failed.read()
	s.Calls, s.Batches, s.Messages, s.Orphaned = sum.calls, sum.batches, sum.messages, sum.orphaned
	s.Late, s.Unknown, s.Bad, s.Ignored, s.Unwanted = sum.late, sum.unknown, sum.bad, sum.ignored, sum.unwanted
	s.EventsDropped, s.StreamDropped = sum.eventsDropped, sum.streamDropped
	return s
}

// failures counts the calls that failed. A caller counts its call when it returns, which may be after Close,
// when the pool has the counters of the client for the last time. Those that come later are reported one by one.
type failures struct {
	mu                  sync.Mutex
	notSent, mayHaveRun int64
	ended               bool
	lastNotSent         int64 // when end was called
	lastMayHaveRun      int64
}

// add counts a call that failed with fate. late says that end was called.
func (f *failures) add(fate error) (late bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fate == ErrNotSent {
		f.notSent++
	} else {
		f.mayHaveRun++
	}
	return f.ended
}

// end fixes what the pool is shown.
func (f *failures) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended {
		f.ended, f.lastNotSent, f.lastMayHaveRun = true, f.notSent, f.mayHaveRun
	}
}

// read returns the counts, and those that the pool is shown.
func (f *failures) read() (notSent, mayHaveRun, shownNotSent, shownMayHaveRun int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return f.notSent, f.mayHaveRun, f.lastNotSent, f.lastMayHaveRun
	}
	return f.notSent, f.mayHaveRun, f.notSent, f.mayHaveRun
}

// lateCall is a call that failed after the client was detached from the pool.
type lateCall resource.Multiplexer

func (l *lateCall) Multiplexer(int) resource.Multiplexer { return resource.Multiplexer(*l) }

// reportLate adds a call that failed with fate to the figures of the pool, which keeps the counters of what
// is detached.
func (c *Client) reportLate(fate error) {
	a, ok := c.from.(attacher)
	if !ok {
		return
	}
	one := &lateCall{Name: c.cfg.Name}
	if fate == ErrNotSent {
		one.NotSent = 1
	} else {
		one.MayHaveRun = 1
	}
	_ = c.guard("Attach", func() error { a.Attach(one)(); return nil })
}

// Multiplexer implements [resource.MultiplexReporter]: it is [Client.Stats] as the meter of the pool
// shows it.
func (c *Client) Multiplexer(limit int) resource.Multiplexer {
	s := c.Stats()
	m := resource.Multiplexer{
		Name: c.cfg.Name, Held: len(s.Conns), Limit: c.cfg.MaxInFlight, InFlight: s.InFlight, Waiting: s.Waiting, OldestWait: s.Oldest,
		Orphans: s.Orphans, MaxOrphans: c.cfg.MaxOrphans, Streams: s.Streams,
		Acquired: s.Acquired, Calls: s.Calls, Batches: s.Batches, Messages: s.Messages,
		Retried: s.Retried, Replayed: s.Replayed, Orphaned: s.Orphaned, Late: s.Late, Unknown: s.Unknown, Bad: s.Bad, Unwanted: s.Unwanted,
		EventsDropped: s.EventsDropped, StreamDropped: s.StreamDropped, Resumes: s.Resumes, Gaps: s.Gaps, Panics: s.Panics,
		Took: c.durations.read(),
	}
	_, _, m.NotSent, m.MayHaveRun = c.failed.read()
	slices.SortFunc(s.Conns, func(a, b ConnStats) int { return cmp.Compare(a.ID, b.ID) })
	for i, n := range s.Conns {
		m.Busiest = max(m.Busiest, n.InFlight)
		m.Queued += n.Queued
		if n.Draining {
			m.Draining++
		}
		if i < limit {
			m.Resources = append(m.Resources, resource.MultiplexedResource{
				ID: n.ID, InFlight: n.InFlight, Orphans: n.Orphans, Streams: n.Streams, Queued: n.Queued, Draining: n.Draining, Cause: n.Cause,
				Dedicated: n.Alone, Calls: n.Calls, Batches: n.Batches, Messages: n.Messages, Late: n.Late, Unknown: n.Unknown, Bad: n.Bad,
			})
		}
	}
	if limit > 0 {
		m.Settings = c.cfg.settings()
	}
	return m
}

// settings returns what Multiplexer lists as the settings of a client with c, which has its
// defaults.
func (c Config) settings() (all []resource.Setting) {
	zero := Config{Codec: c.Codec}.withDefaults()
	for _, f := range settings.Of(c, c, zero) {
		if f.Name == "Name" {
			f.Value, f.Default = c.Name, c.Name == zero.Name
		}
		all = append(all, resource.Setting{Of: "mux.Config", Name: f.Name, Value: f.Value, Default: f.Default})
	}
	return all
}
