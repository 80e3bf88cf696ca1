package fleet

import (
	"math"
	"sync/atomic"

	"github.com/respool/respool/resource"
)

// Surplus returns an Eviction for the pool that uses the Quota itself, and not a Member of
// it: see [Member.Surplus].
func (q *Quota) Surplus() resource.Eviction { return q.only.Surplus() }

// Surplus returns the Eviction for the pool that uses m. It ends, with [ErrSurplus], as many
// resources as the process has above its fair share of the quota, so that other processes can
// have them: idle ones in the sweep, and those that are released or about to be lent. It never
// ends a lease. While members of one process together have or want more than its share, the
// share is divided among them; see [Quota.Member]. With [Config.CloseBeforeExpiry] it ends all
// of them, with [ErrExpired], once the lease has ended.
//
//	Eviction: policy.AnyOf(quota.Surplus(), policy.MaxIdle(time.Minute)),
func (m *Member) Surplus() resource.Eviction { return (*surplus)(m) }

type surplus Member

// Evict implements [resource.Eviction]. The share of m is a setting in the sense of that
// contract. A resource that is about to be lent for the first time is kept, because its end
// would count as a failed creation; it ends when it is released.
func (s *surplus) Evict(i resource.Info) error {
	switch {
	case int64(i.Total) <= s.share.n.Load():
		return nil
	case s.share.expired.Load():
		return ErrExpired
	case i.Leases == 0 && i.Idlers == 0:
		return nil
	}
	return ErrSurplus
}

// Cap implements [resource.Capped]: the share changes with each answer of the ledger, and none is
// ended while the pool has no more.
func (s *surplus) Cap() *atomic.Int64 { return &s.share.n }

// HorizonWithinCap implements [resource.Capped].
func (s *surplus) HorizonWithinCap(resource.Info) resource.Horizon {
	return resource.Horizon{Age: math.MaxInt64, Idle: math.MaxInt64, Leases: math.MaxInt64}
}

// State implements [resource.Stateful].
func (s *surplus) State() string { return (*Member)(s).State() }

// quotaShare is how many resources a member may keep.
type quotaShare struct {
	n       atomic.Int64
	expired atomic.Bool // because the lease has ended
}

func (s *quotaShare) set(n int64, expired bool) {
	s.expired.Store(expired)
	s.n.Store(n)
}
