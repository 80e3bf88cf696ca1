package mux

// Stats is a snapshot of a [Client]. Counters count from New on.
type Stats struct {
	Conns    []ConnStats // of the connections that are held now, in no order
	Waiting  int         // callers that wait for a connection to have room
	InFlight int         // calls that await a reply, and streams whose messages carry the id of their request
	Orphans  int         // calls that were given up and whose replies have not come
	Streams  int         // streams on the connections that are held now

	Acquired      int64 // connections acquired
	Calls         int64 // calls that were answered
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

// ConnStats is a snapshot of one connection.
type ConnStats struct {
	ID       uint64 // in its pool
	InFlight int
	Orphans  int
	Streams  int
	Queued   int  // bytes that wait to be written
	Draining bool // it takes no more calls
	Alone    bool // it is that of a dedicated stream, or for large messages
	Calls    int64
	Batches  int64
	Messages int64
	Late     int64
	Unknown  int64
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

// Stats returns a snapshot. Its parts are not all of the same instant.
func (c *Client) Stats() Stats {
	s := Stats{
		Waiting: int(c.waiting.Load()), Acquired: c.stats.acquired.Load(), Retried: c.stats.retried.Load(),
		Replayed: c.stats.replayed.Load(), Resumes: c.stats.resumes.Load(), Gaps: c.stats.gaps.Load(), Panics: c.stats.panics.Load(),
	}
	c.mu.Lock()
	all := make([]*conn, 0, len(c.all))
	for n := range c.all {
		all = append(all, n)
	}
	c.stats.mu.Lock()
	sum := c.stats.past
	c.stats.mu.Unlock()
	c.mu.Unlock()
	for _, n := range all {
		n.mu.Lock()
		sum.add(&n.stats)
		s.InFlight += n.slots.live
		s.Orphans += n.slots.orphans
		s.Streams += len(n.streams)
		s.Conns = append(s.Conns, ConnStats{
			ID: n.id, InFlight: n.slots.live, Orphans: n.slots.orphans, Streams: len(n.streams), Queued: n.out.bytes(),
			Draining: n.state == draining, Alone: n.exclusive, Calls: n.stats.calls, Batches: n.stats.batches,
			Messages: n.stats.messages, Late: n.stats.late, Unknown: n.stats.unknown,
		})
		n.mu.Unlock()
	}
	s.Calls, s.Batches, s.Messages, s.Orphaned = sum.calls, sum.batches, sum.messages, sum.orphaned
	s.Late, s.Unknown, s.Bad, s.Ignored, s.Unwanted = sum.late, sum.unknown, sum.bad, sum.ignored, sum.unwanted
	s.EventsDropped, s.StreamDropped = sum.eventsDropped, sum.streamDropped
	return s
}
