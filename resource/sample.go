package resource

import (
	"context"
	"math/bits"
	"sync/atomic"
	"time"
)

// Trace.Leased and Trace.Ended are for those who measure leases and look for the
// ones that never end. To tell of each would cost more than a lease, so most are
// passed over: what an unsampled one costs is a look at its number when it
// begins, and when it ends a look at its number and at its tick.

// DefaultSampleLeases is what zero means in [Config.SampleLeases].
const DefaultSampleLeases = 512

// maxSampleLeases is far over what is of use.
const maxSampleLeases = 1 << 30

// longTicks is the hold from which a lease is told at its end though it was not
// sampled: what lasts is what one looks for.
const longTicks = 2

// mark is the last lease of a resource that was sampled. The holder of that lease
// sets it; who ends a lease, or only tries to, reads it.
type mark struct {
	lease  atomic.Uint64
	weight atomic.Int64 // for how many leases it stands
	start  atomic.Int64 // on the pool's clock, exact
}

// sampleMask is SampleLeases, rounded up to a power of two, less one.
func (c *Config[T]) sampleMask() uint64 {
	n := uint64(c.SampleLeases)
	if n == 0 {
		n = DefaultSampleLeases
	}
	return 1<<bits.Len64(n-1) - 1
}

// judgeSampling has every lease sampled while at least four fifths of the maximum
// is leased, when it matters most who holds what. What is on seats is counted
// only if its lease is long: else a small pool whose leases come and go would count
// as used up. It takes a look at all seats, so unless scan is set that is done only
// to end such a time, not to begin one. The pool is locked.
func (p *Pool[T]) judgeSampling(scan bool) {
	leased := p.out()
	most := p.cap.max - p.cap.max/5 // four fifths, rounded up; four times it may be too much for an int
	full := func() bool { return leased >= most }
	if full() && p.idle.occupied > 0 {
		if leased -= p.idle.occupied; !full() {
			if !scan && (p.mask.Load() == p.sparse || p.clock.tick.Load() < p.sampleUntil) {
				return
			}
			leased += p.idle.longLeases()
		}
	}
	mask := p.sparse
	if full() || p.clock.tick.Load() < p.sampleUntil {
		mask = 0
	}
	if p.mask.Load() != mask {
		p.mask.Store(mask)
	}
}

// SampleFor has every lease that begins in the next d sampled, if the Trace has a
// Leased or an Ended: see [Config.SampleLeases]. A meter of package metrics calls
// it when a lease is overdue that was not sampled, since a leak usually happens
// again. A call never ends an earlier one's time. It does nothing if d is not
// positive.
func (p *Pool[T]) SampleFor(d time.Duration) {
	p.lock()
	defer p.unlock()
	until := int64(plus(p.clock.now(), d)/tickLen) + 1
	if d <= 0 || !p.tellsBegin || until <= p.sampleUntil {
		return
	}
	p.startClock()
	p.sampleUntil = until
	p.mask.Store(0)
}

// sampled reports whether lease gen of e is sampled. Where in each row of leases
// the sampled one is differs from resource to resource, so that each lease has
// the same chance.
func (e *entry[T]) sampled(gen, mask uint64) bool { return (gen+e.phase)&mask == 0 }

// mark notes that l is sampled, and for how many leases it stands, and returns
// when it begins: now. Its holder calls it.
func (p *Pool[T]) mark(l Lease[T], weight int64) (now time.Duration) {
	now = p.clock.now()
	m := &l.e.mark
	m.start.Store(int64(now))
	m.weight.Store(weight)
	m.lease.Store(l.gen())
	return now
}

// sampledHit is the hit path of a pool where leases are sampled and nothing else
// is asked or told.
func (p *Pool[T]) sampledHit(ctx context.Context, r *Request, slot int) (Lease[T], bool) {
	l, _, ok := p.hit(slot)
	if ok && l.e.sampled(l.gen(), p.mask.Load()) {
		p.introduce(ctx, r, l)
	}
	return l, ok
}

// introduce is greet in a frame of its own.
func (p *Pool[T]) introduce(ctx context.Context, r *Request, l Lease[T]) {
	v := visit[T]{lease: l}
	defer func() {
		if v.step != inPool {
			p.stumbled(&v, recover())
		}
	}()
	p.greet(ctx, r, &v)
}

// greet tells Trace of the lease that v holds, if it is sampled. Whatever Leased
// does short of ending the goroutine, the caller has it. In quick's frame, or one
// like it.
func (p *Pool[T]) greet(ctx context.Context, r *Request, v *visit[T]) {
	mask := p.mask.Load()
	if !v.lease.e.sampled(v.lease.gen(), mask) {
		return
	}
	p.mark(v.lease, int64(mask)+1)
	if f := p.cfg.Trace.Leased; f != nil {
		v.step = inLeased
		f(ctx, LeaseEvent{ID: v.lease.e.id, Lease: v.lease.gen(), Request: *r})
		v.step = inPool
	}
}

// greetLate is greet off the hit path. The first lease of a resource is always
// sampled: as such it stands for itself alone.
func (p *Pool[T]) greetLate(s *search[T], l Lease[T]) {
	mask := p.mask.Load()
	weight := int64(mask) + 1
	switch {
	case l.gen() == uint64(l.e.unseen)+1:
		weight = 1
	case !l.e.sampled(l.gen(), mask):
		return
	}
	now := p.mark(l, weight)
	if p.cfg.Trace.Leased == nil {
		return
	}
	e := LeaseEvent{ID: l.e.id, Lease: l.gen(), Request: s.r}
	if s.waited {
		e.Waited = max(1, now-s.start)
	}
	p.trace.leased(s.ctx, e)
}

// ending is what Trace is told of a lease that ends. The zero ending is nothing.
type ending struct {
	held   time.Duration
	weight int64
	cause  error
}

// ending is that of l, which has not ended yet and lasts for so many ticks. It is
// worth something only to who then ends l.
func (p *Pool[T]) ending(l Lease[T], ticks int64) (x ending) {
	m := &l.e.mark
	switch {
	case !p.tellsEnd:
	case m.lease.Load() == l.gen():
		x.held = max(0, p.clock.now()-time.Duration(m.start.Load()))
		if x.weight = m.weight.Load(); ticks >= longTicks {
			x.weight = 1 // those that were not sampled are told too
		}
	case ticks >= longTicks:
		x.held = time.Duration(ticks) * tickLen
		if began, ok := l.e.known.began(l.gen()); ok {
			x.held = max(x.held, time.Duration(p.clock.ticks()-began)*tickLen)
		}
	}
	return x
}

// lasted is for how many ticks l, which has not ended, has lasted.
func (p *Pool[T]) lasted(l Lease[T]) int64 {
	if !p.tellsEnd {
		return 0
	}
	s := l.e.word.Load() // before the clock, which then is not behind it
	return s.Ticks(p.clock.ticks())
}

// tellEnded tells Trace that l has ended.
func (p *Pool[T]) tellEnded(l Lease[T], x ending) {
	if x.weight > 0 || x.held > 0 {
		e := EndEvent{ID: l.e.id, Lease: l.gen(), Held: x.held, Sampled: x.weight, Cause: x.cause}
		p.trace.ended(e)
	}
}

// partSampled is Release where leases are sampled and nothing else is asked or
// told.
func (p *Pool[T]) partSampled(l Lease[T]) {
	e := l.e
	ticks, ok := e.word.Lasts(l.n, &p.clock.tick)
	if !ok {
		return
	}
	var x ending
	if ticks >= longTicks || e.mark.lease.Load() == l.gen() {
		x = p.ending(l, ticks)
	}
	if !e.word.Return(l.n, p.clock.tick.Load()) {
		p.end(l, nil, Outcome{Verdict: OK})
		return
	}
	var b *pause
	if p.slowPath.Load() != 0 {
		b = p.settle(e)
	}
	p.tellEnded(l, x)
	p.handOff.wait(b)
}
