// Package policy has ready-made policies for [resource.Pool], and the means to
// compose them with each other and with one's own. A pool asks a policy at one
// seam of its Config; nil there costs nothing.
//
//	you need                                           use                        at
//	---------------------------------------------------------------------------------------------
//	at most n at once, the others refused              Limit                      Admission
//	at most n waiting                                  BoundedQueue               Admission
//	a share that a class can not lose                  Shares                     Admission
//	some kept for the urgent                           Reserve                    Admission
//	another policy for each priority                   ByPriority                 any of the three
//	refusal at once of who could not be served in time WithinDeadline             Admission
//	so many each second, the others refused            Rate                       Admission, MakeGate
//	so many each second, the others wait their turn    Pace                       MakeGate, Admission
//	to stop and go on, for a fail-over                 Gate                       Admission, MakeGate
//	at most n makes at once, backoff, one prober, ramp NewMakeGate                MakeGate
//	a circuit breaker (gobreaker, failsafe-go)         Breaker, PermitBreaker     MakeGate
//	a limit that follows latency (failsafe-go)         Adaptive                   MakeGate only
//	throttling by failure rate (failsafe-go)           Throttle                   MakeGate, Admission
//	a semaphore that others use too (x/sync)           Semaphore                  any of the three
//	several of these together, or one of several       All, Any                   any of the three
//	your own name in the refusals                      Named                      any of the three
//
//	nothing older than d, not all at the same time     MaxAge                     Eviction
//	nothing lent more than n times                     MaxLeases                  Eviction
//	an idle timeout: what a burst left given back      SoftIdle(d, MinIdle)       Eviction
//	nothing idle longer than the other side allows     MaxIdle                    Eviction
//	time left for whoever is lent one                  MinRemaining               Eviction
//	several of these together; never the last ones     AnyOf, AllOf, Protect      Eviction
//	what the resource has learned decides              a function of yours        EvictIf
//
//	a function that says whether it works              Check                      Health
//	asked only of what has been idle                   IfIdle                     Health
//	that can not take for ever, or may fail twice      CheckTimeout, Consecutive  Health
//	after one dead, all that is as old asked first     Cohort                     Health
//
//	the urgent first, and nobody starved               Priority                   Queue
//	the earliest deadline first                        EarliestDeadline           Queue
//	short waits under overload                         CoDel                      Queue
//
// One value of an Admission or Eviction may serve several seams and several
// pools, and be used by any number of goroutines at once; then it counts for all
// of them together. A Queue and a Cohort serve one pool each. Constructors that
// return no error panic if an argument is out of its range or nil, and name
// every one that is.
//
// [BoundedQueue], [WithinDeadline] and [Shares] are given the size of the pool, and
// follow it when that is resized; [All], [Any], [Named] and [Reserve] pass it on.
//
// A refusal is a [*resource.Rejection] that names its policy and says, where
// that is known, when to ask again. The end of the caller's context while it
// waits in an admission is no refusal: it is returned as it is. A request with
// NoWait is never kept waiting.
//
// [Limit], [BoundedQueue], [Shares], [Reserve], [Rate], [Pace] and [Semaphore]
// count the Cost of a request and refuse a negative one with [ErrCost]; to the
// others every request is one. To admit at once a request that costs 1 allocates
// nothing, but for [NewMakeGate], [Breaker] and [Adaptive], which belong where
// something is made.
//
// # Three moments
//
// An Admission is asked at one of three moments, and its permit lasts as long as
// what it admits: [resource.Config.Admission] the lease, waiting included;
// [resource.Config.MakeGate] one making; [resource.Config.Quota] the life of a
// resource. The moment matters more than the policy. A limit that learns from
// latency must be a MakeGate: how long a caller holds a lease says nothing of how
// the server is, and a limiter that takes it for latency refuses callers of a
// healthy one.
//
// A refusal at the Admission is the caller's to hear. At the MakeGate and Quota
// the pool asks, on behalf of those who wait for a lease, and after a refusal it
// asks again when that said, or else after a while that grows. So a make that has
// only to wait its turn should wait there (Semaphore, Pace, Gate) or be told for
// how long (Rate, NewMakeGate); a bare Limit makes the pool guess.
//
// # The order in a chain
//
// [All] asks its members in order, and gives back what the first ones gave if a
// later one refuses. So first those that refuse at once and whose permit can be
// given back (Limit, Shares, Reserve, WithinDeadline, a paused Gate with NoWait);
// then those that wait (Semaphore, Gate, Pace), which should not wait for a
// caller who is then refused; last those whose permit can not be given back: the
// tokens of a Rate, the trial of a half-open breaker.
//
// # One's own
//
// A policy is one method. Package policytest runs one's own through what the pool
// expects of it, and examples/custompolicy is a program with an Admission, an
// Eviction and a Health of its own.
package policy
