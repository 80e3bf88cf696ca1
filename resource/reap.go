package resource

import (
	"runtime"
	"sync/atomic"
	"time"
)

// How Reset, Close and Resize end many idle resources: a few under each hold of
// the lock, and the rest in the background.
const (
	// reapChunk is how many destroys begin under one hold of the lock.
	reapChunk = 64
	// reapAtOnce is how many destroys may run when the next few begin. It bounds
	// the memory that their goroutines take, and how long the goroutine of an
	// acquire waits behind them for a processor.
	reapAtOnce = 256
	// reapPatience is after how long without room as many again may begin: those
	// that run take long, or hang, and must not keep others from being destroyed
	// (I11).
	reapPatience = 2 * time.Millisecond
)

// reaper is how far the pool is with what is to be destroyed. Its fields are
// guarded by the pool's lock, but for wake.
type reaper struct {
	on    bool          // reapOn runs
	limit int           // no destroy begins while as many run
	wake  chan struct{} // holds one: there is room for some more
}

func newReaper() reaper { return reaper{limit: reapAtOnce, wake: make(chan struct{}, 1)} }

// ended notes that so many destroys run still.
func (r *reaper) ended(running int) {
	if running < reapAtOnce {
		r.limit = reapAtOnce
	}
	if r.on && running <= r.limit-reapAtOnce/2 {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// discards is what waits to be destroyed. Its user holds the pool's lock.
type discards[T any] struct {
	lists       []idleList[T] // of eras that are over, and still in the pool's books
	first, last *entry[T]     // the others, linked by down
	n           int
}

func (d *discards[T]) addList(s idleList[T]) {
	if s.n > 0 {
		d.lists = append(d.lists, s)
		d.n += s.n
	}
}

func (d *discards[T]) add(e *entry[T]) {
	if d.last == nil {
		d.first = e
	} else {
		d.last.down = e
	}
	d.last = e
	d.n++
}

// next takes out the next one: of a list the one that was idle longest.
func (d *discards[T]) next() *entry[T] {
	d.n--
	if e := d.first; e != nil {
		if d.first = e.down; e.down == nil {
			d.last = nil
		}
		e.down = nil
		return e
	}
	s := &d.lists[0]
	e := s.first(OldestFirst, nil)
	s.remove(e)
	if s.n == 0 {
		d.lists[0] = idleList[T]{}
		d.lists = d.lists[1:]
	}
	return e
}

// destroy has e, which is out of the books and counts as being destroyed,
// destroyed as soon as not too many are at once. The pool is locked.
func (p *Pool[T]) destroy(e *entry[T]) {
	if p.discards.n == 0 && p.destroys() < p.reaper.limit {
		p.life.destroy(e.res) // calls destruct on a goroutine of its own
		return
	}
	p.discards.add(e)
	p.startReaper()
}

// destroys is how many destroys run. The pool is locked.
func (p *Pool[T]) destroys() int { return p.cap.dying - p.discards.n }

// reap begins to destroy the discards and, if the maximum was lowered, what is
// idle beyond it; if they are many it goes on in the background. The pool is
// locked.
func (p *Pool[T]) reap() {
	if p.reapSome() {
		p.startReaper()
	}
}

func (p *Pool[T]) startReaper() {
	if !p.reaper.on {
		p.reaper.on = true
		p.busy++
		go p.reapOn()
	}
}

// reapSome has the next few destroyed, those idle longest first, and reports
// whether there are more. The pool is locked.
func (p *Pool[T]) reapSome() (more bool) {
	for range reapChunk {
		switch {
		case p.discards.n > 0:
			e := p.discards.next()
			if e.loc != gone {
				p.registry.remove(e)
				why, cause := e.whyInvalid()
				e.cause = cause
				p.counts.ended[why]++
			}
			p.life.destroy(e.res)
		case p.cap.surplus():
			e := p.health.unverified.first(OldestFirst, nil)
			if e == nil {
				e = p.idle.list.first(OldestFirst, nil)
			}
			if e == nil {
				return false
			}
			p.retire(e, ErrResized, fateOther)
		default:
			return false
		}
	}
	return p.discards.n > 0 || p.cap.surplus()
}

// reapOn goes on with what reap has begun, and lets callers have the lock in
// between.
func (p *Pool[T]) reapOn() {
	defer p.unbusy()
	patience := time.NewTimer(reapPatience)
	defer patience.Stop()
	for {
		p.mu.Lock() // not lock: it would count as a caller
		r := &p.reaper
		wait := p.destroys() >= r.limit
		more := wait || p.reapSome()
		r.on = more
		p.unlock()
		switch {
		case !more:
			return
		case !wait:
			// A mutex that is unlocked goes to the goroutine that runs, which
			// is this one, unless it makes way for those who wait for it.
			runtime.Gosched()
			continue
		}
		patience.Reset(reapPatience)
		select {
		case <-r.wake:
		case <-patience.C:
			p.mu.Lock()
			r.limit += reapAtOnce
			p.mu.Unlock()
		}
	}
}

// endings is what the goroutines that destroy have to tell the pool: of how many
// resources Destroy has returned, and how many calls of Trace.Destroyed have.
// They do not all ask for the lock, behind which callers would have to wait in
// line with them: the first takes it, and tells of those who came meanwhile too.
type endings struct{ n atomic.Uint64 }

const (
	slotFree   = 1
	traceEnded = 1 << 32
)

// note adds one. It reports whether the caller is to take all, under the lock.
func (d *endings) note(what uint64) (first bool) { return d.n.Add(what) == what }

// take returns what was noted and not taken.
func (d *endings) take() (slots, traces int) {
	n := d.n.Swap(0)
	return int(n % traceEnded), int(n / traceEnded)
}

// ended tells the pool what a goroutine that destroys has done.
func (p *Pool[T]) ended(what uint64) {
	if !p.endings.note(what) {
		return
	}
	p.mu.Lock() // not lock: it would count as a caller
	slots, traces := p.endings.take()
	for n := 0; slots > 0; slots-- {
		if n++; n > reapChunk {
			n = 0
			p.grow()
			p.unlock()
			runtime.Gosched()
			p.mu.Lock()
		}
		p.cap.freeDead()
		p.counts.destroyed++
		if p.cfg.Trace.Destroyed != nil {
			p.busy++ // until it has been called
		}
	}
	p.busy -= traces
	p.reaper.ended(p.destroys())
	p.grow()
	p.unlock()
}
