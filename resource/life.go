package resource

import (
	"context"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/puddle/v2"
)

// life has the resources in puddle: each is created, counted, hijacked and destroyed there.
// puddle finds a resource to remove by searching the list of all that it has, so the time
// to destroy n of them would grow with n². Therefore life has many puddle pools and keeps
// each of them small.
//
// puddle's own bound is not used: the pool's maximum changes, and is enforced before puddle
// is called. So no goroutine ever blocks in puddle.
type life[V any] struct {
	construct puddle.Constructor[V]
	destruct  puddle.Destructor[V]

	mu     sync.Mutex // a leaf: nothing else is locked while it is held
	shards []*shard[V]
	room   []*shard[V] // those with less than shardSize resources
}

// shardSize is how many resources a puddle pool has at most, apart from those
// that puddle is about to remove.
const shardSize = 256

// shard is one of life's puddle pools.
type shard[V any] struct {
	puddle *puddle.Pool[V]
	n      int // resources that exist or are being created; guarded by life's mu
}

// resident is a resource as life has it.
type resident[V any] struct {
	res   *puddle.Resource[V]
	shard *shard[V]
}

// make creates a resource. ctx is what the constructor gets, on this goroutine: puddle's
// Acquire would start another. puddle adds the new resource to its idle ones, and make takes
// one of these out: not always the same if others are created at once, so the caller uses
// the value of the one that it got.
func (l *life[V]) make(ctx context.Context) (resident[V], error) {
	s := l.enter()
	err := s.puddle.CreateResource(ctx)
	if err != nil {
		l.leave(s)
		return resident[V]{}, err
	}
	res, err := s.puddle.TryAcquire(ctx)
	if err != nil {
		panic("resource: bug: puddle has nothing idle: " + err.Error()) // each call takes one after it has added one
	}
	return resident[V]{res, s}, nil
}

// enter finds a shard that has room for one more.
func (l *life[V]) enter() *shard[V] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.room) == 0 {
		s := l.newShard()
		l.shards, l.room = append(l.shards, s), append(l.room, s)
	}
	last := len(l.room) - 1
	s := l.room[last]
	if s.n++; s.n == shardSize {
		l.room[last] = nil
		l.room = l.room[:last]
	}
	return s
}

func (l *life[V]) newShard() *shard[V] {
	pool, err := puddle.NewPool(&puddle.Config[V]{
		Constructor: l.construct,
		Destructor:  l.destruct,
		MaxSize:     math.MaxInt32,
	})
	if err != nil {
		panic("resource: bug: " + err.Error()) // only if MaxSize is less than 1
	}
	return &shard[V]{puddle: pool}
}

// leave notes that one resource of s is gone, or was not created. When a resource is
// destroyed, destruct calls leave as soon as all that takes long has ended: the rest of
// puddle's work is short.
func (l *life[V]) leave(s *shard[V]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.n == shardSize {
		l.room = append(l.room, s)
	}
	s.n--
}

// destroy has r destroyed on a goroutine of its own.
func (l *life[V]) destroy(r resident[V]) { r.res.Destroy() }

// hijack releases r from puddle.
func (l *life[V]) hijack(r resident[V]) {
	r.res.Hijack()
	l.leave(r.shard)
}

// close waits for the last steps of puddle's goroutines. No resource exists any more and
// none is being created.
func (l *life[V]) close() {
	l.mu.Lock()
	shards := l.shards
	l.mu.Unlock()
	for _, s := range shards {
		s.puddle.Close()
	}
}

// Reset, Close and Resize may end many idle resources: a few under each hold of the
// lock, and the rest in the background.
const (
	// reapChunk is how many destroys begin under one hold of the lock.
	reapChunk = 64
	// reapAtOnce is how many destroys may run when the next few begin. It bounds the
	// memory that their goroutines take, and how long the goroutine of an acquire
	// queues behind them for a processor.
	reapAtOnce = 256
	// reapPatience is after how long without room as many again may begin: those that
	// run take long, or hang, and must not keep others from being destroyed (I11).
	reapPatience = 2 * time.Millisecond
)

// reaper has the resources that are to be destroyed, and says when. Its user holds the
// pool's lock, except for wake and ends.
type reaper[T any] struct {
	on    bool          // a reapOp runs
	limit int           // no destroy begins while as many run
	wake  chan struct{} // holds one: there is room for some more
	ends  destroyEnds

	lists       []idleList[T] // of eras that are over: resources still in the registry
	first, last *entry[T]     // the others, linked by down
	n           int           // all of these
}

func newReaper[T any]() reaper[T] {
	return reaper[T]{limit: reapAtOnce, wake: make(chan struct{}, 1)}
}

// running is how many destroys run, of those dying.
func (r *reaper[T]) running(dying int) int { return dying - r.n }

// mayDestroy reports whether a destroy may begin at once.
func (r *reaper[T]) mayDestroy(dying int) bool { return r.n == 0 && r.running(dying) < r.limit }

// ended notes that so many destroys still run.
func (r *reaper[T]) ended(running int) {
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

// addList adds the resources of s, which then is empty, and returns their number.
func (r *reaper[T]) addList(s *idleList[T]) (n int) {
	if n = s.n; n > 0 {
		r.lists = append(r.lists, *s)
		r.n += n
	}
	*s = idleList[T]{}
	return n
}

func (r *reaper[T]) add(e *entry[T]) {
	if r.last == nil {
		r.first = e
	} else {
		r.last.down = e
	}
	r.last = e
	r.n++
}

// next takes out the next resource: of a list the one that was idle longest.
func (r *reaper[T]) next() *entry[T] {
	r.n--
	if e := r.first; e != nil {
		if r.first = e.down; e.down == nil {
			r.last = nil
		}
		e.down = nil
		return e
	}
	s := &r.lists[0]
	e := s.first(OldestFirst, nil)
	s.remove(e)
	if s.n == 0 {
		r.lists[0] = idleList[T]{}
		r.lists = r.lists[1:]
	}
	return e
}

// destroyEnds is what the goroutines that destroy have to report to the pool: of how
// many resources Destroy has returned, and how many calls of Trace.Destroyed have. They
// do not all take the lock, for which callers would have to queue behind them: the first
// takes it, and reports for those that came meanwhile too.
type destroyEnds struct{ n atomic.Uint64 }

const (
	slotFree   = 1
	traceEnded = 1 << 32
)

// note adds one. It reports whether the caller is to take all, under the lock.
func (d *destroyEnds) note(what uint64) (first bool) { return d.n.Add(what) == what }

// take returns what was noted and not taken.
func (d *destroyEnds) take() (slots, traces int) {
	n := d.n.Swap(0)
	return int(n % traceEnded), int(n / traceEnded)
}

// destruct is puddle's destructor: it runs on a goroutine of puddle's.
func destruct[T any](e *entry[T]) {
	p := e.pool
	start := p.clock.now()
	if p.cfg.Destroy != nil {
		_ = p.guard.isolate("Destroy", func() { p.cfg.Destroy(e.value, e.cause) })
	}
	e.cancel(e.cause)
	took := p.clock.now() - start
	p.policies.giveBackIsolated(e.quota, Outcome{Verdict: OK})
	p.life.leave(e.res.shard)
	op := reapOp[T]{p}
	if p.cfg.Trace.Destroyed == nil {
		op.ended(slotFree)
		return
	}
	i := e.info(int64(start/tickLen), 0)
	op.ended(slotFree) // a Trace that takes long must not keep the slot
	p.trace.destroyed(DestroyEvent{Info: i, Cause: e.cause, Took: took})
	op.ended(traceEnded)
}

// reapOp has resources destroyed.
type reapOp[T any] struct{ p *Pool[T] }

// destroyLocked has e, which is in no other place and counts as being destroyed,
// destroyed as soon as not too many are at once.
func (op reapOp[T]) destroyLocked(e *entry[T]) {
	p := op.p
	if p.reaper.mayDestroy(p.cap.dying) {
		p.life.destroy(e.res) // calls destruct on a goroutine of its own
		return
	}
	p.reaper.add(e)
	op.startLocked()
}

// reapLocked begins to destroy the discards and, if the maximum was lowered, the idle
// resources beyond it; if they are many it continues in the background.
func (op reapOp[T]) reapLocked() {
	if op.someLocked() {
		op.startLocked()
	}
}

// startLocked continues in the background.
func (op reapOp[T]) startLocked() {
	if p := op.p; !p.reaper.on {
		p.reaper.on = true
		p.busy++
		go op.run()
	}
}

// someLocked has the next few destroyed, those idle longest first, and reports whether
// there are more.
func (op reapOp[T]) someLocked() (more bool) {
	p := op.p
	for range reapChunk {
		switch {
		case p.reaper.n > 0:
			e := p.reaper.next()
			if e.loc != gone {
				why, cause := e.whyInvalid()
				p.forgetLocked(e, cause, why)
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
			p.retireLocked(e, ErrResized, fateOther)
		default:
			return false
		}
	}
	return p.reaper.n > 0 || p.cap.surplus()
}

// run continues what reapLocked has begun, and lets callers have the lock in between.
func (op reapOp[T]) run() {
	p := op.p
	defer p.unbusy()
	patience := time.NewTimer(reapPatience)
	defer patience.Stop()
	for {
		p.mu.Lock() // not lock: that would count as contention
		r := &p.reaper
		wait := r.running(p.cap.dying) >= r.limit
		more := wait || op.someLocked()
		r.on = more
		p.unlock()
		switch {
		case !more:
			return
		case !wait:
			// An unlocked mutex goes to the goroutine that runs, which is this one,
			// unless it yields to those that wait for it.
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

// ended reports to the pool what a goroutine that destroys has done.
func (op reapOp[T]) ended(what uint64) {
	p := op.p
	if !p.reaper.ends.note(what) {
		return
	}
	p.mu.Lock() // not lock: that would count as contention
	slots, traces := p.reaper.ends.take()
	if slots > 0 {
		p.maker.permitReturned(ReasonQuota)
	}
	for n := 0; slots > 0; slots-- {
		if n++; n > reapChunk {
			n = 0
			p.changed = true
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
	p.reaper.ended(p.reaper.running(p.cap.dying))
	p.changed = true
	p.unlock()
}
