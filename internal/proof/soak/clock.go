package main

import (
	"sync/atomic"
	"time"
)

// A clock notices that the process stood still: that it was stopped, or that other programs used the
// processors. It excuses what no process can keep then.
type clock struct {
	began time.Time
	tick  atomic.Int64 // when it last ran, in ns since began
	stood atomic.Int64 // when it last found that the process had stood still
	times atomic.Int64 // how often it did
}

// stoodFor is how long the process must have stood still for it to count.
const stoodFor = quotaLease / 4

// run runs until stop is closed.
func (c *clock) run(stop <-chan struct{}) {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		now := int64(time.Since(c.began))
		if now-c.tick.Swap(now) > int64(stoodFor) {
			c.stood.Store(now)
			c.times.Add(1)
		}
		select {
		case <-t.C:
		case <-stop:
			return
		}
	}
}

// excused reports whether the process has stood still lately.
func (c *clock) excused() bool {
	now := int64(time.Since(c.began))
	return now-c.tick.Load() > int64(stoodFor) || c.times.Load() > 0 && now-c.stood.Load() < int64(2*quotaLease)
}
