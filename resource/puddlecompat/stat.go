package puddlecompat

import (
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// counts are what [Stat] adds up beside the pool's own.
type counts struct {
	acquire, acquireTime atomic.Int64
	empty, emptyTime     atomic.Int64
	canceled             atomic.Int64
}

// acquired counts an acquire that took so long; waited: it found nothing idle.
func (c *counts) acquired(took time.Duration, waited bool) {
	c.acquire.Add(1)
	c.acquireTime.Add(int64(took))
	if waited {
		c.empty.Add(1)
		c.emptyTime.Add(int64(took))
	}
}

func (c *counts) stat(max int32, l resource.Load) *Stat {
	return &Stat{
		load: l, max: max,
		acquire: c.acquire.Load(), acquireTime: time.Duration(c.acquireTime.Load()),
		empty: c.empty.Load(), emptyTime: time.Duration(c.emptyTime.Load()),
		canceled: c.canceled.Load(),
	}
}

// Stat is a snapshot of a pool.
type Stat struct {
	load                   resource.Load
	max                    int32
	acquire                int64
	acquireTime, emptyTime time.Duration
	empty, canceled        int64
}

// TotalResources returns how many resources there are: idle, acquired or being
// constructed.
func (s *Stat) TotalResources() int32 {
	return s.ConstructingResources() + s.AcquiredResources() + s.IdleResources()
}

// ConstructingResources returns how many are being constructed.
func (s *Stat) ConstructingResources() int32 { return int32(s.load.Making) }

// AcquiredResources returns how many are acquired.
func (s *Stat) AcquiredResources() int32 { return int32(s.load.Leased) }

// IdleResources returns how many are idle.
func (s *Stat) IdleResources() int32 { return int32(s.load.Idle) }

// MaxResources returns the maximum.
func (s *Stat) MaxResources() int32 { return s.max }

// AcquireCount returns how many acquires have succeeded.
func (s *Stat) AcquireCount() int64 { return s.acquire }

// AcquireDuration returns how long they took, summed; TryAcquire counts as nothing.
func (s *Stat) AcquireDuration() time.Duration { return s.acquireTime }

// EmptyAcquireCount returns how many of them had to wait.
func (s *Stat) EmptyAcquireCount() int64 { return s.empty }

// EmptyAcquireWaitTime returns how long those took, summed.
func (s *Stat) EmptyAcquireWaitTime() time.Duration { return s.emptyTime }

// CanceledAcquireCount returns how many acquires were canceled by their context.
func (s *Stat) CanceledAcquireCount() int64 { return s.canceled }
