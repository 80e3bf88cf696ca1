// Package ledgertest checks that a [fleet.Ledger] keeps the contract of the interface. One
// call runs all checks:
//
//	func TestLedger(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			ledgertest.Run(t, func(t testing.TB) ledgertest.Harness {
//				l := mine.New()
//				return ledgertest.Harness{Open: func() fleet.Ledger { return l }}
//			})
//		})
//	}
//
// If the engine is another process, call Run outside of a bubble, in real time. The [Harness]
// then states the shortest lease that the engine supports, and how late the engine may forget a
// holder.
//
// A failure message names the rule that the ledger breaks, the claims made and the expected
// grant. If the check uses random numbers the message has the seed: set the environment variable
// RESPOOL_SEED to it to repeat the run.
//
// [Model] is the contract as a sequential program. [Run] compares the ledger with it, and a
// checker of concurrent histories can use it as its specification.
package ledgertest
