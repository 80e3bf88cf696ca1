package proof_test

// What the documentation allows and a stricter pool would not need. Set one to
// false to see a script in which the pool makes use of it.
const (
	// Acquired and Released count what a policy turned down on its way to a
	// caller as a lease that began and ended: see Stats.Acquired.
	turnedDownCounts = true
	// TryAcquire now and then gets nothing though at each instant something was
	// idle: it looks at one place after the other, and what is idle moves.
	tryMayMiss = true
)
