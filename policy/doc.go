// Package policy has ready-made policies for [resource.Pool] and combinators for
// them. Each policy is set in one field of the pool's Config; a nil field costs
// nothing. docs/policies.md in the repository has recipes: a problem, the lines that solve
// it, and what the live page and the metrics show then.
//
//	you need                                           use                        in
//	---------------------------------------------------------------------------------------------
//	at most n at once, others refused                  Limit                      Admission
//	at most n waiting                                  BoundedQueue               Admission
//	guaranteed capacity for a class                    Shares                     Admission
//	at most n for each class, whatever its name        examples/custompolicy      Admission
//	capacity reserved for high priorities              Reserve                    Admission
//	a different policy for each priority               ByPriority                 any of the three
//	early refusal of calls that would time out         WithinDeadline             Admission
//	a rate limit, others refused                       Rate                       Admission, MakeGate
//	a rate limit, others wait in order                 Pace                       MakeGate, Admission
//	pause and resume, for a fail-over                  Gate                       Admission, MakeGate
//	bounded creation, backoff, one probe, slow start   NewMakeGate                MakeGate
//	a circuit breaker (gobreaker, failsafe-go)         Breaker, PermitBreaker     MakeGate
//	a limit that adapts to latency (failsafe-go)       Adaptive                   MakeGate only
//	throttling by failure rate (failsafe-go)           Throttle                   MakeGate, Admission
//	a semaphore shared with other code (x/sync)        Semaphore                  any of the three
//	a quota or rate shared by many processes           package policy/fleet       Quota, MakeGate
//	several of these together, or one of several       All, Any                   any of the three
//	a name of your own in the refusals                 Named                      any of the three
//
//	a maximum age, with jitter                         MaxAge                     Eviction
//	a maximum number of leases                         MaxLeases                  Eviction
//	an idle timeout that keeps a minimum               SoftIdle(d, MinIdle)       Eviction
//	an idle limit that the server enforces             MaxIdle                    Eviction
//	a minimum remaining time for every lease           MinRemaining               Eviction
//	several of these together; never the last ones     AnyOf, AllOf, Protect      Eviction
//	a decision by the state of the resource            a function of yours        EvictIf
//
//	a function that checks a resource                  Check                      Health
//	checks only after a time without use               IfIdle                     Health
//	a timeout for checks, tolerated failures           CheckTimeout, Consecutive  Health
//	after one death, a check of all older resources    Cohort                     Health
//
//	high priorities first, without starvation          Priority                   Queue
//	the earliest deadline first                        EarliestDeadline           Queue
//	short waits under overload                         CoDel                      Queue
//
// "Any of the three" means Admission, MakeGate and Quota. An Admission or Eviction may
// be used in several fields and several pools and is safe for concurrent use; its
// counts then apply to all of them together. A Queue and a Cohort serve one pool each.
// Constructors that return no error panic if an argument is nil or out of range, and
// the message names every such argument.
//
// [BoundedQueue], [WithinDeadline] and [Shares] are given the size of the pool, and
// follow [resource.Pool.Resize]; [All], [Any], [Named] and [Reserve] pass the new size
// on to their members. The new size applies when Resize returns. With concurrent calls
// of Resize, one of them informs the policies for all, so another may return before they
// have followed its size; the last size always applies in the end.
//
// [All], [Any], [Named] and [Reserve] report the quotas of their members that several
// processes share ([resource.QuotaReporter]), so that metrics show them.
//
// A refusal is a [*resource.Rejection] with the name of the policy and, where known,
// the time after which to ask again. If the caller's context ends while it waits in an
// Admission, the context's error is returned unchanged; that is no refusal. A request
// with NoWait never waits.
//
// [Limit], [BoundedQueue], [Shares], [Reserve], [Rate], [Pace] and [Semaphore] count the
// Cost of a request and refuse a negative one with [ErrCost]; for the other policies every
// request counts as one. To admit a request of cost 1 without waiting allocates nothing,
// except in [NewMakeGate], [Breaker] and [Adaptive], which are used where a resource is
// created.
//
// # Admission, MakeGate, Quota
//
// An Admission can be asked at three moments, and its permit lasts as long as what it
// admits: in [resource.Config.Admission] for the lease and the wait before it; in
// [resource.Config.MakeGate] for one resource creation; in [resource.Config.Quota] for the
// life of a resource. The moment matters more than the choice of policy. A limit that
// adapts to latency must be a MakeGate: how long a caller holds a lease says nothing about
// the server, and a limiter that takes it for latency refuses callers of a healthy server.
//
// A refusal by the Admission is returned to the caller. The MakeGate and the Quota are
// asked by the pool, on behalf of waiting callers. After a refusal the pool asks again at
// the RetryAfter; without one, as soon as a permit of the same pool is returned to the
// policy, or after a growing delay. It does not learn of permits that other pools return.
// So a policy shared by several pools should either wait (Semaphore, Pace, Gate) or give a
// RetryAfter (Rate, NewMakeGate).
//
// # The order in All
//
// [All] asks its members in order, and returns the permits of the first ones if a later
// one refuses. So put first the policies that refuse immediately and whose permits can be
// returned (Limit, Shares, Reserve, WithinDeadline, a paused Gate with NoWait); then those
// that wait (Semaphore, Gate, Pace), which should not wait for a request that is refused
// afterwards; last those whose permits cannot be returned: the tokens of a Rate, the trial
// of a half-open breaker.
//
// # Evictions and health checks that are composed
//
// The Evictions of this package are [resource.Predictable]: a hit compares numbers, whatever
// their combination, and calls Evict only at a limit. An AnyOf with a member that is not
// Predictable, such as an [EvictionFunc], is asked on each hit, and so is a MinRemaining of
// one. An AllOf needs one member that is, and a Protect none. An AnyOf with one member that is
// [resource.Capped], as the Surplus of a shared quota is, is Capped itself: if the others are Predictable a hit
// compares numbers while the pool has no more resources than the cap.
//
// An Eviction that ends many resources at once, as one by version during a rollout does,
// can leave the pool without idle resources until others are created. Protect(MinIdle-1,
// it) ends them a few at a time; or let it compare [resource.Info.Jitter] with a part that
// grows from 0 to 1.
//
// CheckTimeout, Consecutive and Cohort implement [resource.Scheduled] as the Health that
// they wrap does, so IfIdle may be inside or outside of them.
//
// # Custom policies
//
// A policy is one method. Package policytest tests a custom policy against the contract of
// its interface, and examples/custompolicy is a program with an Admission, an Eviction and
// a Health of its own.
package policy
