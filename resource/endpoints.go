package resource

import "time"

// Endpoints is the state of what spreads the resources of a pool over several endpoints, as a
// cluster.Cluster does. Counters count since it was made.
type Endpoints struct {
	All      []EndpointInfo // in order of Priority, then Addr
	Priority int            // the Priority in use
	Panic    bool           // ejections are ignored, because too few endpoints are healthy

	Failovers     int64 // how often a worse Priority was taken into use
	Failbacks     int64 // how often a better Priority was taken into use again
	Updates       int64 // answers of the resolver that were applied
	UpdatesFailed int64 // answers of the resolver that were not applied: an error, empty, or invalid
	ResolverErr   error // why the last answer was not applied, or why the resolver has ended; nil: all is well
	Moved         int64 // resources that were moved from one endpoint to another
	MovesFailed   int64 // moves that failed
}

// EndpointInfo is one of [Endpoints].
type EndpointInfo struct {
	Addr     string // shown, after what looks like a secret was removed
	Zone     string
	Priority int
	Status   string        // in words: "healthy", "slow start", "standby", "ejected", "probing", "draining", "joining"
	Cause    error         // why it is ejected or fails; nil otherwise
	For      time.Duration // how long Status has lasted
	Ranked   bool          // callers may be sent to it
	Failing  bool          // its failures are over the limit, whether or not it is ejected
	Ejected  bool          // it is ejected or probed; callers may be sent to it nevertheless if Panic

	Share   float64       // part of the callers that it is to get, from 0 to 1
	Load    int           // leases and calls in flight, and callers that wait
	Latency time.Duration // average with a penalty for failures; 0: not known
	Idle    int           // resources that are idle
	Leased  int           // resources that are leased
	Shared  int           // of these, resources with a lease that is shared
	Making  int           // resources that are being created

	Begun     int64 // uses that have begun
	Good      int64 // evidence that counted as success
	Bad       int64 // evidence that counted as failure
	Refused   int64 // evidence that counted as refusal
	Ejections int64 // how often it was ejected
	Probes    int64 // probes that have ended
	Moved     int64 // resources that were moved to it, less those moved away
}
