package metrics

import (
	"runtime/pprof"
	"sync/atomic"
	"time"
)

// ProfileName is the name of the profile in runtime/pprof that shows who holds
// what, in all pools of the process that have a [Meter]: at
// /debug/pprof/respool.leases where net/http/pprof is served.
//
// A lease that is sampled goes into it as it begins, as that package wants, for
// a microsecond or two and under a lock of the process; so a meter adds no more
// than 500 a second, after the first 1,000. In a pool that lends faster it can
// miss a lease that leaks. [WriteLeases] writes the same of all leases that are
// noted, which costs nothing until then.
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

// budget bounds how often something is done: once each profileEvery, and
// profileBurst times at first and after a quiet time.
type budget struct{ next atomic.Int64 } // when its turn would come, were there no burst

// take reports whether it may be done now, after so long.
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
