package metrics

import (
	"runtime/pprof"
	"sync/atomic"
	"time"
)

// ProfileName is the name of the profile in runtime/pprof of the leases that are held,
// by the stacks of their acquires, in all pools of the process that have a [Meter]. It
// is at /debug/pprof/respool.leases where net/http/pprof is served.
//
// runtime/pprof needs a lease to be added when it begins, which takes one or two
// microseconds under a lock of the process. So a meter adds at most 500 sampled leases
// a second, after a burst of 1,000, and the profile of a pool that lends faster can
// lack a lease that leaks, as it lacks every lease that is not sampled:
// [Snapshot.Held] and the live page list those too once they are overdue. [WriteLeases] writes all leases of [Snapshot.Held] and costs
// nothing until it is called.
const ProfileName = "respool.leases"

// heldProfile is the one profile of the process.
var heldProfile = func() *pprof.Profile {
	if p := pprof.Lookup(ProfileName); p != nil { // another copy of this package
		return p
	}
	return pprof.NewProfile(ProfileName)
}()

const (
	profileEvery = time.Second / 500
	profileBurst = 1000
)

// budget is a rate limit: one each profileEvery, with bursts of profileBurst.
type budget struct{ next atomic.Int64 } // time of the next one without a burst

// take reports whether one more is allowed at now, the time since the meter was made.
func (b *budget) take(now time.Duration) bool {
	for {
		next := b.next.Load()
		turn := max(next, int64(now))
		if turn-int64(now) >= int64(profileBurst*profileEvery) {
			return false
		}
		if b.next.CompareAndSwap(next, turn+int64(profileEvery)) {
			return true
		}
	}
}
