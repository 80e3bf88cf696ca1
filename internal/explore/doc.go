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
// goroutines meet, and checks what has become of them. sched explores all schedules without a
// preemption first, then those with at most one, two and three, so that the first failure has the
// fewest. It prints that schedule as a table of steps, and a line that repeats it.
//
// Two reductions keep the number of schedules small, and lose none that differs:
//
//   - A goroutine is preempted only before an operation on an object that several goroutines use and
//     one changes while schedules are explored. Which these are is found out by exploring: a new
//     one begins the search anew.
//   - The operations that have happened, in the order in which they depend on each other, have a hash. A
//     schedule that reaches a hash seen before, with no more preemptions left, ends there: what can
//     follow was explored. (Hashes have 64 bits, and a search has fewer than 2^24 states.)
//
// A test of sched compares both with a search without them.
//
// # What it can miss
//
// Memory is sequentially consistent, as Go's atomics and locks are. Plain memory is not watched: a data
// race is for the race detector. sync.Pool hands a value only to the goroutine that put it there.
// Time passes only where a scene lets it. A local slot belongs to an actor and not to a processor.
// More goroutines, operations or preemptions than a scene has are not explored.
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
//	RESPOOL_EXPLORE=full go test -timeout 3h ./internal/explore -v      up to three in every scene
//
// A new scene is a function in scenes. It may use whatever the rewritten packages have; for what it
// notes itself it uses sync/atomic, so that the scheduler sees that the order matters. A goroutine that
// sends on a channel without a buffer is not supported.
package explore
