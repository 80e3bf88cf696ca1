// Package explore runs the core of this module under a scheduler of its own, in every order of
// operations up to a number of preemptions, and checks the invariants in each. It is for tests.
//
// # How it works
//
// [Build] copies the packages that the scenes import, those of other modules included, to a module in a
// temporary directory, and rewrites them there: sync, sync/atomic, time, context, runtime and math/rand
// become the packages in sim, and go statements and operations on channels become calls of package
// sched. So what runs in production does not change by a byte, and a lock or an atomic that is added
// is explored without being declared anywhere. (An alias layer under a build tag would have to be
// used by every package that is explored, and by puddle too.)
//
// In that program one goroutine runs at a time. Before each operation on a shared object package sched
// decides which goroutine continues. A scene is a small program: it sets up a pool, lets two or three
// goroutines use it at once, and checks the results. sched explores all schedules without a
// preemption first, then those with at most one, two and three, so that the first failure has the
// fewest. It prints that schedule as a table of steps, and a line that repeats it.
//
// Three reductions keep the number of schedules small, and lose none that differs:
//
//   - A goroutine is preempted only before an operation on an object that several goroutines use and
//     one changes while schedules are explored. Which these are is found out by exploring: a new
//     one begins the search anew.
//   - The operations that have happened, in the order in which they depend on each other, have a hash. A
//     schedule that reaches a hash seen before, with no more preemptions left, ends there: what can
//     follow was explored. (Hashes have 64 bits, and a search has fewer than 2^23 states so far.)
//   - A goroutine that was preempted continues only when another one has done, or was blocked by, something
//     that its next operation depends on. Otherwise it could have been preempted one operation later.
//
// A test of sched compares them with a search without them, on random programs.
//
// # What it can miss
//
// Memory is sequentially consistent, as Go's atomics and locks are. Plain memory is not watched: a data
// race is for the race detector. sync.Pool hands a value only to the goroutine that put it there.
// Time passes only where a scene lets it. A local slot belongs to an actor and not to a processor.
// Pool.lock is a plain lock: that it counts contention, which matters from 160 on, is left out. More
// goroutines, operations or preemptions than a scene has are not explored.
//
// The scenes of wspool and mux run all of these packages, over a connection in memory that stands for a
// socket: edits give wsconn its functions in place of the system calls. Its peer serves what the client
// writes as part of the write, so a write never waits for the network, and no batch is written in the
// background. It rings no bell (package readiness), so a watcher stays, as on a system without one, and
// has no TLS.
//
// # Scenes
//
// In how many schedules each was explored completely, with at most three preemptions, and what meets in
// it:
//
//	word-take-return-claim      14502  claim.Word: two callers take and return, the pool claims
//	word-invalidate              7814  claim.Word: two callers take and return, the pool invalidates and claims
//	word-end                     1506  claim.Word: a lease is ended by two while the pool invalidates
//	word-stale                   2544  claim.Word: a lease is ended twice while another begins
//	two-callers                  2285  two callers and one resource: each acquires and releases twice
//	two-resources               32615  three callers and two resources: each acquires and releases once
//	release-wait                19107  a release against two callers that begin to wait
//	release-invalidate         112876  a release against an invalidation, and a caller
//	release-resize              45803  two releases against a Resize to 1
//	resize-held                  1066  a release against a Resize to 1 while another value stays leased
//	release-reset              101219  a release against a Reset, and a caller
//	release-close               76844  a release against Close, and a caller
//	close-waiters               14766  Close against two callers that wait
//	try-settle                  12491  a TryAcquire against a release that settles for a caller that waits
//	stale-release               23708  a lease is released twice, from two goroutines, while another begins
//	cancel                      78996  a release against the end of a waiter's context, and another waiter
//	all-idle                     2827  a release against a caller that begins to wait, and AcquireAllIdle
//	tick                        55884  a release against a caller that begins to wait, and ticks of the clock
//	stats                       41990  two calls of Stats against acquires and releases
//	hijack                      81518  a Hijack against a Release of the same lease, and a caller that waits for the slot
//	permit-wait                 22080  a release with a permit of policy.Limit against two callers, of which one may be refused
//	quota-discard               75036  a Discard against a caller that waits, with a Quota that is used up
//	quota-hijack                 9002  a Hijack against a caller that waits, with a Quota that is used up
//	deadline-permit              3570  policy.WithinDeadline(2): three callers begin and end
//	budget-continue              3167  budget: a claim against the goroutine that continues a Settle with much to do
//	queue                     3860489  a release against two callers that wait in a Queue
//	queue-cancel               117197  a release against the end of the context of a caller in a Queue
//	on-release                   2095  a release with OnRelease against two callers
//	make-fails                2455022  a creation that fails, and one that succeeds, against a Discard and two callers
//	health                        367  two callers and a resource that a Health must check before each lease
//	evict                        4277  a release against a caller, with an Eviction that ends each resource after its second lease
//	warm                          823  Warm against a Discard
//	keyed-give-way           25439014  one slot for two keys: a release at one key against a caller of each
//	keyed-idle                6995583  one slot for two keys: callers of both while the slot is idle at one
//	keyed-drain               6228843  a Drain of a key against a release and a caller at that key
//	keyed-forget              1779206  a caller in the Admission of an idle key against the timer that forgets it
//	any-twice                   15667  a caller of AcquireAny against releases at both of its keys
//	any-cancel                   3677  a caller of AcquireAny whose context ends against a release at one of its keys
//	watch-message               63379  wspool: a lease of a watched connection against a message that belongs to no lease
//	watch-close               1370979  wspool: a lease of a watched connection against the peer that closes it
//	lease-twice                171824  wspool: two leases of one caller against a message that neither has asked for
//	lease-wait                6479365  wspool: a lease, a caller that waits for its connection, and a message that neither has asked for
//	watch-tick               17772130  wspool: a lease of a hot connection against the tick that has it watched, and a message that belongs to no lease
//	mux-cancel                 783662  mux: a call that is canceled against a call that writes the batch, on one connection
//	mux-late                   662676  mux: a call that is canceled against its reply and another call, on one connection
//
// These are 75 049 491 schedules, and none violates an invariant; it takes two processors about two hours,
// and 2 GiB of memory. go test alone explores fewer: each scene says with how many preemptions.
//
// # Planted bugs
//
// [Bugs] are single places of the protocol that are wrong. Each is built into the program beside the
// right form of its function, so one program has them all, and a test requires that a scene
// finds each.
//
// # How to use it
//
//	go test ./internal/explore                                          few preemptions, some seconds
//	RESPOOL_EXPLORE=3 go test -timeout 9h -v ./internal/explore         three preemptions, a line each minute
//	RESPOOL_EXPLORE=4 go test -run 'TestScenes/^queue$' -v ...          four, of one scene
//	RESPOOL_EXPLORE_SCHEDULE='scene: 31>5 40>4' go test -run Replay -v ./internal/explore
//
// The last repeats a schedule that has failed, as TestScenes prints it, and shows its steps.
//
// A new scene is a function in scenes. It may use whatever the rewritten packages have; for what it
// notes itself it uses sync/atomic, so that the scheduler sees that the order matters. A goroutine that
// sends on a channel without a buffer is not supported.
package explore
