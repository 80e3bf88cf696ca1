package proof_test

// Behavior that the documentation allows and a stricter pool would not need. Set one to
// false to get a script in which the pool uses it.
const (
	// Acquired and Released count a resource that a policy rejected before the caller
	// got it as a lease that began and ended: see Stats.Acquired.
	turnedDownCounts = true
	// TryAcquire may fail although at each instant a resource was idle: it examines
	// one location after another, and idle resources move between them.
	tryMayMiss = true
)
