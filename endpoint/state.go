package endpoint

import (
	"fmt"
	"time"
)

// Status is what a [Set] does with an endpoint.
type Status uint8

// What a [Set] does with an endpoint.
const (
	// Joining: [SetConfig.OnJoin] has not returned yet. It is not ranked.
	Joining Status = iota
	// Healthy: it is ranked with its whole share.
	Healthy
	// SlowStart: it is ranked with a share that grows.
	SlowStart
	// Standby: it is healthy, and its Priority is not in use.
	Standby
	// Ejected: it fails, and waits for its next probe. See [State.Ignored].
	Ejected
	// Probing: it is ejected, and a probe is running.
	Probing
	// Draining: the resolver no longer lists it, and [SetConfig.OnLeave] has not returned yet.
	// It is not ranked.
	Draining

	statuses
)

var statusNames = [statuses]string{"joining", "healthy", "slow start", "standby", "ejected", "probing", "draining"}

// String returns the name in words, such as "slow start".
func (s Status) String() string {
	if s < statuses {
		return statusNames[s]
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// State is the state of one endpoint.
type State struct {
	Endpoint Endpoint
	Status   Status
	// Cause is why it is ejected, or why it fails and is used nevertheless (Failing); nil
	// otherwise.
	Cause error
	// Since is when Status last changed.
	Since time.Time
	// Failing is whether the [Ejector] decided that it fails. Status is then Ejected or
	// Probing, unless [SetConfig.MaxEjected] did not permit that.
	Failing bool
	// Ignored is whether it is ranked although it is ejected: too few endpoints are healthy
	// ([SetConfig.PanicBelow]).
	Ignored bool
	// NextProbe is when the next probe begins, if Status is Ejected.
	NextProbe time.Time
	// Ranked is whether [Set.Rank] may return it.
	Ranked bool

	Load    int           // see [Candidate.Load]
	Latency time.Duration // see [Candidate.Latency]
	Share   float64       // see [Candidate.Share]; not divided by the sum

	Begun     int64 // uses that have begun
	Good      int64 // evidence that counted as success
	Bad       int64 // evidence that counted as failure
	Refused   int64 // evidence that counted as refusal
	Failures  int   // failures in a row
	Ejections int64 // how often it was ejected
	Probes    int64 // probes that have ended
}

// Snapshot is the state of a [Set] at one moment.
type Snapshot struct {
	// Endpoints has the endpoints in order of Priority, then Addr.
	Endpoints []State
	// Priority is the Priority that is in use, if there is an endpoint.
	Priority int
	// Panic is whether ejections are ignored, because too few endpoints are healthy.
	Panic bool
	// Failovers and Failbacks are how often a worse or better Priority was taken into use.
	Failovers, Failbacks int64
	// Updates is how many answers of the resolver were applied, Failed how many were empty or
	// invalid, or had an error. An answer that has endpoints beside an error is both.
	Updates, Failed int64
	// UpdateErr is what was wrong with the last answer; nil: nothing. ResolverErr is why the
	// last call of Watch ended early, nil: it runs.
	UpdateErr, ResolverErr error
	// Panics is how many panics of the user's functions were contained.
	Panics int64
}
