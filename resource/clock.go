package resource

import (
	"math"
	"sync/atomic"
	"time"
)

// tickLen is the grain of Info's times. A hit must not read a clock, which costs
// more than the hit: it reads the tick that a timer advances. The timer runs only
// while leases begin or end, so an idle pool costs nothing. A shorter tick would
// make every network wait of the process dearer: each time that the timer fires, a
// goroutine starts and wakes a second thread, and with 10 ms a round trip on
// loopback took 3 to 7 percent longer.
const tickLen = 100 * time.Millisecond

// clock is the clock of a pool. It needs no lock.
type clock struct {
	base time.Time      // constant: when the clock began
	tick atomic.Int64   // the time in ticks, as of the last time that the timer fired
	set  atomic.Int64   // when tick was set, in nanoseconds since base
	slow *atomic.Uint32 // constant: the pool's slowPath, not 0 while the timer may stand still
}

// ticks is the time in ticks for the facts that policies get: exact where the timer may stand
// still.
func (c *clock) ticks() int64 {
	if c.slow.Load() != 0 {
		return c.nowTick()
	}
	return c.tick.Load()
}

// now is the exact time since the clock began. Only slow paths read it.
func (c *clock) now() time.Duration { return time.Since(c.base) }

// nowTick is the exact time in ticks.
func (c *clock) nowTick() int64 { return int64(c.now() / tickLen) }

// update makes the tick current and returns it.
func (c *clock) update() int64 {
	now := c.now()
	c.set.Store(int64(now))
	c.tick.Store(int64(now / tickLen))
	return int64(now / tickLen)
}

// passed is the part of the present tick, as ticks has it, that has passed.
func (c *clock) passed() time.Duration {
	now := c.now()
	if c.slow.Load() != 0 {
		return now % tickLen
	}
	return min(max(0, now-time.Duration(c.set.Load())), tickLen) // the timer may be late
}

// catchUp makes the tick current where the timer may not have run for long because
// the process was stopped (SIGSTOP, a container's pause): idle times jump with it.
// It reads the clock, so it is called only for a resource that a policy is about to
// judge and that was in the idle list for more than the current tick. A resource in
// a local slot is lent without it; the timer runs as soon as the process resumes.
func (c *clock) catchUp() {
	if c.nowTick() > c.tick.Load() {
		c.update()
	}
}

// ticksUp is d in ticks, rounded up. d is not negative.
func ticksUp(d time.Duration) int64 {
	n := int64(d / tickLen)
	if d%tickLen > 0 {
		n++
	}
	return n
}

// plus adds durations and saturates at the largest one.
func plus(a, b time.Duration) time.Duration {
	if sum := a + b; sum >= a || b < 0 {
		return sum
	}
	return math.MaxInt64
}

// alarm has one timer for the time at which the pool decides anew even if nothing
// happens. Its user holds the pool's lock.
type alarm struct {
	ring  func() // constant: runs on a goroutine of its own
	timer *time.Timer
	at    time.Duration // when it rings; 0: it does not
}

// after has the alarm ring after d, or earlier if it is set to.
func (a *alarm) after(now, d time.Duration) {
	at := plus(now, d)
	if a.at != 0 && a.at <= at && a.at > now {
		return
	}
	a.at = at
	if a.timer == nil {
		a.timer = time.AfterFunc(d, a.ring)
	} else {
		a.timer.Reset(d)
	}
}

// rang notes that the alarm has rung.
func (a *alarm) rang() { a.at = 0 }

// startClockLocked makes the tick current and keeps it so while the pool is in use. Every
// slow path begins with it.
func (p *Pool[T]) startClockLocked() {
	if p.ticking || p.closed {
		return
	}
	p.ticking = true
	p.cap.awake(true)
	p.clock.update()
	if p.ticker == nil {
		p.ticker = time.AfterFunc(tickLen, p.onTick)
	} else {
		p.ticker.Reset(tickLen)
	}
}

// onTick advances the clock. When the pool was not used since the tick before it stops.
func (p *Pool[T]) onTick() {
	p.mu.Lock() // not lock: that would count as contention
	defer p.unlock()
	if p.closed {
		return
	}
	now := p.clock.update()
	p.idle.contention /= 2
	if p.sampler.begins {
		p.sampler.judge(&p.idle, p.leasedLocked(), p.cap.max, true)
	}
	// usage differs if a lease began or ended meanwhile.
	usage := func() int64 {
		idle, begun := p.idle.slotLevels()
		return (p.counts.returned+p.counts.acquired+begun)<<8 + int64(idle)
	}
	used := usage()
	if used == p.used {
		// No lease began or ended since the last tick. The local slots are flushed
		// so that a pool under light load lends its newest resource, and dispatch
		// sends the next caller through the lock, where it starts the clock.
		p.ticking = false
		p.setSlowPathLocked()
		p.idle.flushSlots(0)
		p.idle.noteLeases()
		p.used = usage()
		p.cap.awake(false)
		return
	}
	p.used = used
	p.slowPath.Store(p.slowPath.Load() | timeNext)
	if now-p.cooled >= coolTicks {
		p.cooled = now
		p.idle.flushSlots(coolTicks)
		p.idle.noteLeases()
		if spent := p.idle.spent(); spent != nil {
			for _, e := range spent {
				p.markDeadLocked(e, ErrWornOut, fateOther)
			}
			p.changed = true
		}
	}
	p.ticker.Reset(tickLen)
}
