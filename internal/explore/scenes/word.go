package main

import (
	"sync/atomic"

	"github.com/respool/respool/internal/claim"
	"github.com/respool/respool/internal/explore/sched"
)

// The scenes of claim.Word alone: three goroutines with four operations each.

var wordScenes = []sched.Scene{
	{Name: "word-take-return-claim", Doc: "claim.Word: two callers take and return, the pool claims", Bound: 3, Run: wordClaim},
	{Name: "word-invalidate", Doc: "claim.Word: two callers take and return, the pool invalidates and claims", Bound: 3, Run: wordInvalidate},
	{Name: "word-end", Doc: "claim.Word: a lease is ended by two while the pool invalidates", Bound: 3, Run: wordEnd},
	{Name: "word-stale", Doc: "claim.Word: a lease is ended twice while another begins", Bound: 3, Run: wordStale},
}

// owner checks that a resource has one user at a time.
type owner struct{ v atomic.Int32 }

func (o *owner) begin(x *sched.X, id int32) {
	x.Require(o.v.CompareAndSwap(0, id), "I2: %d uses the resource, which another has", id)
}

func (o *owner) end(x *sched.X, id int32) {
	x.Require(o.v.CompareAndSwap(id, 0), "I2: %d has lost the resource to another", id)
}

// word is a Word with what a pool has around it.
type word struct {
	x     *sched.X
	w     claim.Word
	clock atomic.Int64
	user  owner
	pool  atomic.Int32 // 1: the pool has the resource, outside its slot
}

// newWord returns a word that is open, in a local slot.
func newWord(x *sched.X) *word {
	w := &word{x: x}
	w.w.Park(0)
	return w
}

// use takes, uses and returns the resource once, as a hit does. It reports whether it got it.
func (w *word) use(id int32) bool {
	gen, _, ok := w.w.Take(&w.clock)
	if !ok {
		return false
	}
	w.user.begin(w.x, id)
	w.x.Require(w.w.Holds(gen), "lease %d does not hold the resource", gen)
	w.user.end(w.x, id)
	if !w.w.Return(gen, 1) {
		w.x.Require(w.w.End(gen), "lease %d had ended", gen)
		w.give()
	}
	return true
}

// give notes that the pool has the resource.
func (w *word) give() {
	w.x.Require(w.pool.CompareAndSwap(0, 1), "the pool has the resource twice")
}

// final checks that exactly one of pool, slot and caller has the resource, which no caller can.
func (w *word) final() {
	s := w.w.Load()
	w.x.Require(!s.Leased, "a lease has not ended")
	w.x.Require(s.Open != (w.pool.Load() == 1), "the resource is open: %v; the pool has it: %v", s.Open, w.pool.Load() == 1)
}

func wordClaim(x *sched.X) {
	w := newWord(x)
	for id := range int32(2) {
		x.Actor("caller", func() {
			for range 2 {
				w.use(id + 1)
			}
		})
	}
	x.Actor("pool", func() {
		for range 2 {
			if !w.w.Claim() {
				continue
			}
			w.user.begin(x, 3)
			w.w.Unpark()
			gen := w.w.Lend(1) // to a waiter, which ends it
			x.Require(w.w.End(gen), "lease %d had ended", gen)
			w.user.end(x, 3)
			w.w.Park(1)
		}
	})
	x.Explore()
	w.final()
}

func wordInvalidate(x *sched.X) {
	w := newWord(x)
	var over atomic.Bool
	for id := range int32(2) {
		x.Actor("caller", func() {
			for range 2 {
				late := over.Load()
				x.Require(!w.use(id+1) || !late, "a resource was taken after it was invalidated")
			}
		})
	}
	x.Actor("pool", func() {
		w.w.Invalidate()
		over.Store(true)
		x.Require(w.w.Invalidated(), "the mark is lost")
		if w.w.Claim() {
			w.user.begin(x, 3)
			w.give()
			w.user.end(x, 3)
			w.w.Unpark()
		}
	})
	x.Explore()
	x.Require(w.pool.Load() == 1, "the invalidated resource has not come to the pool")
	x.Require(w.w.Invalidated(), "the mark is lost")
	w.final()
}

func wordStale(x *sched.X) {
	w := newWord(x)
	gen, _, _ := w.w.Take(&w.clock)
	var ended atomic.Int32
	for range 2 {
		x.Actor("release", func() {
			if w.w.Return(gen, 1) {
				ended.Add(1)
			}
			if w.w.End(gen) {
				ended.Add(1)
				w.w.Park(1)
			}
			x.Require(!w.w.Holds(gen), "lease %d holds the resource after its end", gen)
			_, running := w.w.Lasts(gen, &w.clock)
			x.Require(!running, "lease %d lasts after its end", gen)
		})
	}
	x.Actor("next", func() {
		for range 2 {
			w.use(3)
		}
	})
	x.Explore()
	x.Require(ended.Load() == 1, "a lease has ended %d times", ended.Load())
	w.final()
}

func wordEnd(x *sched.X) {
	w := newWord(x)
	gen, _, _ := w.w.Take(&w.clock)
	var ended atomic.Int32
	for range 2 {
		x.Actor("end", func() {
			for range 2 {
				if w.w.End(gen) {
					ended.Add(1)
					w.give()
				}
				x.Require(!w.w.Holds(gen), "lease %d holds the resource after its end", gen)
			}
		})
	}
	x.Actor("invalidate", func() {
		w.w.Invalidate()
		x.Require(w.w.Invalidated(), "the mark is lost")
		_, _, ok := w.w.Take(&w.clock)
		x.Require(!ok, "an invalidated resource was taken")
		x.Require(!w.w.Return(gen, 1), "an invalidated resource was opened")
	})
	x.Explore()
	x.Require(ended.Load() == 1, "a lease has ended %d times", ended.Load())
	x.Require(w.w.Invalidated(), "the mark is lost")
	w.final()
}
