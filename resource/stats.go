package resource

import (
	"fmt"
	"time"
)

// Load is how many resources and callers are where, at one instant.
type Load struct {
	Max        int // the current maximum
	Idle       int // on the shelf, or aside for a health check
	Leased     int // held by callers
	Making     int // being made, or waiting for a MakeGate or Quota
	Destroying int // being destroyed
	Abandoned  int // makes given up at MakeTimeout that have not returned; they hold no place
	Waiting    int // callers
}

func (l Load) String() string {
	s := fmt.Sprintf("max %d: %d idle, %d leased, %d making, %d destroying; %d waiting",
		l.Max, l.Idle, l.Leased, l.Making, l.Destroying, l.Waiting)
	if l.Abandoned > 0 {
		s += fmt.Sprintf("; %d abandoned", l.Abandoned)
	}
	return s
}

// Stats is a snapshot of one pool. The counters count from its making and only
// grow. At every instant
//
//	Made - Destroyed - Hijacked = Idle + Leased + Destroying
//	Acquired = Released + Leased
type Stats struct {
	Load

	Acquired int64         // leases begun
	Released int64         // leases ended, in whatever way
	Waited   int64         // acquires that had to wait, however they ended
	WaitTime time.Duration // their waits, summed
	Canceled int64         // acquires that ended with the caller's context
	Rejected int64         // acquires that an Admission refused, or a Queue

	Made      int64         // makes that succeeded
	MakeTime  time.Duration // their time, summed
	Failed    int64         // makes that failed; not those a MakeGate or Quota refused
	Refused   int64         // makes that a MakeGate or Quota refused
	Destroyed int64         // resources whose Destroy has ended
	Hijacked  int64         // resources handed out for good
	Evicted   int64         // resources that an Eviction ended
	Unhealthy int64         // resources that a Health check ended
	Doomed    int64         // resources that doom ended

	Outage   bool  // makes keep failing just now
	LastMake error // how the last make failed, if none has succeeded since
	Panics   int64 // panics and Goexits contained, in any function that the pool called
}
