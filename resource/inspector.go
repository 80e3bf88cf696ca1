package resource

import (
	"runtime"
	"slices"
	"sync/atomic"
	"time"
)

// listChunk is how many resources, or callers who wait, are listed under one hold
// of the lock.
const listChunk = 64

// Inspect returns a snapshot with at most limit resources and as many waiting
// callers; 0: none, which is cheap however many there are. It does not wait, and
// holds the pool's lock for no more than a few microseconds at a time, so that
// what it lists is not of one instant: what moves meanwhile may be seen where it
// was or where it is, and what is made meanwhile not at all, but nothing is
// listed twice. It works as well when the pool is closed.
func (p *Pool[T]) Inspect(limit int) Inspection {
	var in Inspection
	p.mu.Lock()
	in.Stats = p.stats()
	in.OldestWait = p.longestWait()
	p.mu.Unlock()
	in.MinIdle = p.cfg.MinIdle
	p.list(&in, limit)
	in.Waiting = p.listWaiting(limit)
	in.Policies = p.policies.states()
	return in
}

// longestWait is how long who came first has waited. The pool is locked.
func (p *Pool[T]) longestWait() time.Duration {
	if w := p.waiters.front(); w != nil {
		return p.clock.now() - w.Since
	}
	return 0
}

// list adds resources to in, as long as it has less than limit of them.
func (p *Pool[T]) list(in *Inspection, limit int) {
	if limit <= 0 {
		return
	}
	from := len(in.Resources)
	made := p.listResources(in, limit)
	if p.cfg.Describe == nil {
		return
	}
	for i, e := range made {
		r := &in.Resources[from+i]
		_ = p.guard.call("Describe", func() { r.Detail = p.cfg.Describe(e.value) })
	}
}

// listResources adds to in as list does, and returns what it has added.
func (p *Pool[T]) listResources(in *Inspection, limit int) (listed []*entry[T]) {
	p.mu.Lock()
	n := min(len(p.all), limit-len(in.Resources))
	p.mu.Unlock()
	if n <= 0 {
		return nil
	}
	in.Resources = slices.Grow(in.Resources, n)
	listed = make([]*entry[T], 0, n)
	p.eachEntry(func(e *entry[T]) bool {
		if len(in.Resources) == limit {
			return false
		}
		if !e.discarded() {
			listed = append(listed, e)
			in.Resources = append(in.Resources, p.inspect(e))
		}
		return true
	})
	return listed
}

// eachEntry calls f for each resource, with the pool locked, until f returns false.
// It goes through the pool's list from the end, a few at a time. What is retired
// meanwhile is replaced there by the last one: that was visited, which it knows.
func (p *Pool[T]) eachEntry(f func(e *entry[T]) bool) {
	p.listing.Lock()
	defer p.listing.Unlock()
	p.mu.Lock()
	from := len(p.all)
	p.listings++
	stamp := p.listings
	p.mu.Unlock()
	more := true
	for holds := 1; from > 0 && more; holds++ {
		p.mu.Lock() // not lock: it would count as a caller
		upTo := min(from, len(p.all))
		for from = max(0, upTo-listChunk); upTo > from && more; {
			upTo--
			if e := p.all[upTo]; e.seen != stamp {
				e.seen = stamp
				more = f(e)
			}
		}
		p.mu.Unlock()
		makeWay(holds)
	}
}

// inspect says how e is. What is between two hands counts as leased, as in Stats.
// The pool is locked.
func (p *Pool[T]) inspect(e *entry[T]) (r ResourceInfo) {
	word := e.word.Load()
	now := p.clock.now()
	tick := max(int64(now/tickLen), p.clock.tick.Load()) // read after the word: not behind it
	idle := int64(0)
	switch {
	case e.idle():
		idle = max(0, tick-e.since)
		if e.reserved || e.loc == releasing {
			r.State = Checking
		}
	case word.Open:
		idle = word.Ticks(tick)
	default:
		r.State = Leased
		if word.Leased {
			r.Lease = uint64(word.Leases)
			r.Held = p.heldFor(e, word.Leases, tick-word.Ticks(tick), now)
		}
	}
	e.tell(&r.Info, tick, idle, word.Leases)
	r.Idle = min(r.Idle, r.Age)
	if e.invalid() {
		_, r.Invalidated = e.whyInvalid()
	}
	return r
}

// heldFor is for how long that lease of e has lasted, which began at tick. The
// pool is locked.
func (p *Pool[T]) heldFor(e *entry[T], lease, tick int64, now time.Duration) time.Duration {
	if e.mark.lease.Load() == uint64(lease) {
		return max(0, now-time.Duration(e.mark.start.Load()))
	}
	since := e.known.note(lease, tick)
	return max(0, now.Truncate(tickLen)-time.Duration(since)*tickLen)
}

// known is a lease that runs or has run, and the tick at which it began. That of a
// claim turns over after 46 hours.
type known struct {
	lease atomic.Int64
	tick  atomic.Int64 // set before lease
}

// note notes a lease that runs and began at tick, or before if that is known, and
// returns when. The pool is locked.
func (k *known) note(lease, tick int64) (began int64) {
	if k.lease.Load() != lease {
		k.tick.Store(tick)
		k.lease.Store(lease)
	}
	return k.tick.Load()
}

// began returns when a lease began that its holder has not ended, if that is
// known. It needs no lock.
func (k *known) began(lease uint64) (tick int64, ok bool) {
	if k.lease.Load() != int64(lease) {
		return 0, false
	}
	return k.tick.Load(), true
}

// listWaiting goes through the line from the front, up to limit.
func (p *Pool[T]) listWaiting(limit int) (some []WaiterInfo) {
	p.listing.Lock()
	defer p.listing.Unlock()
	line := &p.waiters
	p.mu.Lock()
	limit = min(limit, line.n)
	p.mu.Unlock()
	if limit <= 0 {
		return nil
	}
	some = make([]WaiterInfo, 0, limit) // not under the lock, where to grow it would be to copy it
	p.mu.Lock()
	line.begin()
	for holds := 1; ; holds++ {
		now := p.clock.now()
		w := line.step()
		for n := 1; w != nil; n++ {
			some = append(some, WaiterInfo{Request: w.Request, Waited: now - w.Since})
			if n == listChunk || len(some) == limit {
				break
			}
			w = line.step()
		}
		if w == nil || len(some) == limit {
			line.walk = walk[T]{}
			p.mu.Unlock()
			return some
		}
		p.mu.Unlock()
		makeWay(holds)
		p.mu.Lock()
	}
}

// wayAfter is after how many holds of the lock those who wait for it are let in.
// Each time would be too often: where processors are busy it takes long to come
// back.
const wayAfter = 8

// makeWay is called after each hold of the lock. A mutex that is unlocked goes to
// who runs, and that is the one who lists: who sleeps before it would get it a
// millisecond later, or when all is listed.
func makeWay(holds int) {
	if holds%wayAfter == 0 {
		runtime.Gosched()
	}
}
