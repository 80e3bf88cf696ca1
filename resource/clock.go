package resource

import (
	"math"
	"time"
)

// tickLen is the grain of Info's times. A hit must not read a clock (it costs
// more than the hit); it reads the tick that a timer advances. The timer runs
// only while leases begin or end, so an idle pool costs nothing. A shorter tick
// would make every wait of the process for the network dearer: each time that the
// timer fires, a goroutine starts and wakes a second thread, and with 10 ms a
// round trip on loopback took 3 to 7 percent longer.
const tickLen = 100 * time.Millisecond

// coolTicks is how long a resource stays on a seat without being taken, before
// it goes to the shelf where the newest is lent first.
const coolTicks = int64(time.Second / tickLen)

// since is the pool's own clock: exact, and only for slow paths.
func (p *Pool[T]) since() time.Duration { return time.Since(p.base) }

// plus adds durations and stays at the longest there is.
func plus(a, b time.Duration) time.Duration {
	if sum := a + b; sum >= a || b < 0 {
		return sum
	}
	return math.MaxInt64
}

// ticks is the tick as policies are told it: exact where the clock may stand.
func (p *Pool[T]) ticks() int64 {
	if p.detour.Load() != 0 {
		return int64(p.since() / tickLen)
	}
	return p.tick.Load()
}

// startClock makes the tick current and keeps it so while the pool is in use.
// Every slow path begins with it. The pool is locked.
func (p *Pool[T]) startClock() {
	if p.ticking || p.closed {
		return
	}
	p.ticking = true
	if p.shared != nil {
		p.share.Awake(true)
	}
	p.tick.Store(int64(p.since() / tickLen))
	if p.ticker == nil {
		p.ticker = time.AfterFunc(tickLen, p.onTick)
	} else {
		p.ticker.Reset(tickLen)
	}
}

// catchUp makes the tick current where the timer may not have run for long, since
// the process has stood still (SIGSTOP, a container's pause): idle times jump with
// it. It reads the clock, so it is called only for a resource that a policy is about
// to judge and that was on the shelf for more than the present tick. What is hot is
// lent without, and the timer runs as soon as the process goes on. The pool is
// locked.
func (p *Pool[T]) catchUp() {
	if now := p.nowTick(); now > p.tick.Load() {
		p.tick.Store(now)
	}
}

func (p *Pool[T]) onTick() {
	p.mu.Lock() // not lock: it would count as a caller
	defer p.unlock()
	if p.closed {
		return
	}
	now := int64(p.since() / tickLen)
	p.tick.Store(now)
	p.crowd /= 2
	if p.tellsBegin {
		p.judgeSampling(true)
	}
	used := p.usage()
	if used == p.used {
		// Nothing began or ended since the last tick. The seats are cleared
		// so that a pool under little load lends its newest, and unlock
		// sends the next caller through the lock, which starts the clock.
		p.ticking = false
		p.setDetour()
		p.clearSeats(0)
		p.noteSeats()
		p.used = p.usage()
		if p.shared != nil {
			p.share.Awake(false)
		}
		return
	}
	p.used = used
	p.askForTime()
	if now-p.cooled >= coolTicks {
		p.cooled = now
		p.clearSeats(coolTicks)
		p.noteSeats()
		p.retireSpent()
	}
	p.ticker.Reset(tickLen)
}

// usage is a number that differs if a lease began or ended meanwhile. The pool
// is locked.
func (p *Pool[T]) usage() int64 {
	idle, begun := p.seatLevels()
	return (p.returned+p.acquired+begun)<<8 + int64(idle)
}
