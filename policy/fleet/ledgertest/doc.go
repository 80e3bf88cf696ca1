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
// A ledger whose engine is another process runs outside of a bubble, in real time. Its
// [Harness] then states the shortest lease that the engine keeps, and how late it may
// forget a holder.
//
// A failure names the rule that the ledger breaks, what was done and what was expected.
// Where a check uses random numbers the message has the seed: set RESPOOL_SEED to repeat
// the run.
//
// [Model] is the contract as a sequential program. The kit compares the ledger with it, and
// a checker of concurrent histories can use it as its specification.
package ledgertest
