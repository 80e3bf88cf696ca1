package resource

import "time"

// State is where a resource is.
type State uint8

const (
	Idle     State = iota // ready to be lent
	Leased                // held by a caller
	Checking              // idle, and a Health, OnRelease or a ReleaseAfter has it
)

// String is the state's name in lower case.
func (s State) String() string {
	return [...]string{Idle: "idle", Leased: "leased", Checking: "checking"}[s]
}

// ResourceInfo is one resource as [Pool.Inspect] finds it.
type ResourceInfo struct {
	Info                      // Leases includes the one that runs
	State       State         // where it is
	Lease       uint64        // ordinal of the lease that runs, from 1, as in LeaseEvent; 0 unless leased
	Held        time.Duration // for how long its lease has lasted, exact if that was sampled, else to 100 ms; 0 unless leased
	Invalidated error         // why it will be destroyed when its lease ends; nil: nothing is decided
	Detail      string        // what Config.Describe says
}

// WaiterInfo is one caller that waits, as [Pool.Inspect] finds it.
type WaiterInfo struct {
	Request Request       // what it asked for
	Waited  time.Duration // so far
}

// PolicyState is one policy of a pool and what it says of itself.
type PolicyState struct {
	Moment string // the field of Config it stands in
	Type   string // its Go type
	State  string // of a policy with a method State() string; else ""
}

// Inspection is what a pool is made of at one time.
type Inspection struct {
	Stats
	MinIdle    int            // of its Config; of a Keyed, of all its keys together
	OldestWait time.Duration  // of those who wait now; 0 if nobody does
	Resources  []ResourceInfo // some of those made, in no order; not those being destroyed
	Waiting    []WaiterInfo   // the first of those who wait, who came first in front
	Policies   []PolicyState  // those that there are
	Facts      []Fact         // what a pool of a particular kind adds, such as wspool's
}

// Fact is one more figure of a pool.
type Fact struct {
	Name  string // in words, such as "tainted"
	Value int64  // how many
	Level bool   // it goes up and down; else it counts
}
