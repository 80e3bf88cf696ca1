// Package policytest holds a policy written for package resource to what its
// interface promises. One call checks one policy, and the first broken promise
// ends it with a message that says what was done and what was expected:
//
//	func TestMine(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			policytest.Admission(t, func() resource.Admission { return mine.New(8) })
//		})
//	}
//
// In a bubble of testing/synctest, as here, time is virtual: waiting costs
// nothing and what hangs is found at once. What hangs for good hangs on when the
// check has failed, and no bubble ends with that: after the message, which comes
// first, synctest panics. A policy that talks to a network can not live in a
// bubble; the same call works outside one, in real time.
//
// Run it under the race detector too: every check that lets many goroutines
// use a policy at once is then a check for races.
//
// Where chance plays a part, the message of a failure begins with the seed, and
// RESPOOL_SEED in the environment makes the same choices again.
//
// A policy that runs goroutines of its own for as long as it lives must have a
// method Close() error, which is called when a check has ended. Goroutines
// that are left behind then are reported.
package policytest
