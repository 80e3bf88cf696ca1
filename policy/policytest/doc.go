// Package policytest tests a policy written for package resource against the contract
// of its interface. One call tests one policy. It stops at the first violation and
// reports what was done and what was expected:
//
//	func TestMine(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			policytest.Admission(t, func() resource.Admission { return mine.New(8) })
//		})
//	}
//
// In a testing/synctest bubble, as here, time is virtual: waiting costs nothing and a
// call that hangs is found at once. A call that hangs for ever still hangs when the test
// has failed, and a bubble cannot end with it: after the failure has been reported,
// synctest panics. A policy that uses the network cannot run in a bubble; the same call
// works outside of one, in real time.
//
// Run it under the race detector too: every concurrent test then also detects races.
//
// Where a test uses random numbers, the failure message begins with the seed. Set
// RESPOOL_SEED in the environment to repeat the run.
//
// A policy that runs goroutines for its whole life must have a method Close() error,
// which is called at the end of each test. Goroutines that are left after that are
// reported.
package policytest
