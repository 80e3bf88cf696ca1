package resource

import "fmt"

// KeyedStats is a snapshot of a [Keyed].
type KeyedStats struct {
	// Stats is the sum over all keys, those forgotten included; Load.Max is
	// the total. What is summed is taken from one key after the other, so
	// it reconciles exactly only while nothing happens. Outage and LastMake
	// are those of any key.
	Stats
	Keys      int   // in use
	Outages   int   // of them, how many have one
	Preempted int64 // resources that made way for another key
}

// String says it in a line.
func (s KeyedStats) String() string {
	return fmt.Sprintf("%d keys, %d in outage; %v; %d preempted", s.Keys, s.Outages, s.Stats, s.Preempted)
}

// Stats returns a snapshot. Its cost grows with the number of keys; for one key
// see [Keyed.Find].
func (k *Keyed[K, T]) Stats() KeyedStats {
	k.mu.Lock() // no pool goes meanwhile, and so none is counted twice
	defer k.mu.Unlock()
	s := KeyedStats{Stats: k.gone}
	for _, e := range k.slots.Entries() {
		pool := e.Value.pool.Load()
		if pool == nil {
			continue
		}
		one := pool.Stats()
		s.Stats.add(one)
		s.Stats.Load.add(one.Load)
		s.Keys++
		if one.Outage {
			s.Outage = true
			s.Outages++
		}
		if one.LastMake != nil {
			s.LastMake = one.LastMake
		}
	}
	for r := range k.common.failures {
		*s.Failures.field(Reason(r)) = k.common.failures[r].Load()
	}
	s.Canceled, s.Rejected = s.Failures.Canceled, s.Failures.Rejected()
	s.Max, _, s.Preempted = k.common.budget.Levels()
	return s
}

// add adds the levels of o.
func (l *Load) add(o Load) {
	l.Max += o.Max
	l.Idle += o.Idle
	l.Leased += o.Leased
	l.Making += o.Making
	l.Destroying += o.Destroying
	l.Hanging += o.Hanging
	l.Abandoned += o.Abandoned
	l.Waiting += o.Waiting
	l.Wanting += o.Wanting
}

// add adds the counters of o.
func (s *Stats) add(o Stats) {
	s.Acquired += o.Acquired
	s.Released += o.Released
	s.AcquireTime += o.AcquireTime
	s.Waited += o.Waited
	s.WaitTime += o.WaitTime
	s.WaitsServed += o.WaitsServed
	s.WaitsServedTime += o.WaitsServedTime
	s.WaitsFailed += o.WaitsFailed
	s.WaitsFailedTime += o.WaitsFailedTime
	s.Begun.add(o.Begun)
	s.Withdrawn += o.Withdrawn
	s.Canceled += o.Canceled
	s.Rejected += o.Rejected
	s.Failures.add(o.Failures)
	s.Made += o.Made
	s.MakeTime += o.MakeTime
	s.Failed += o.Failed
	s.Refused += o.Refused
	s.Destroyed += o.Destroyed
	s.Hijacked += o.Hijacked
	s.Evicted += o.Evicted
	s.Unhealthy += o.Unhealthy
	s.Invalidated += o.Invalidated
	s.ReleaseFailed += o.ReleaseFailed
	s.Panics += o.Panics
}
