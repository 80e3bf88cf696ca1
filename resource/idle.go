package resource

import (
	"math"
	"time"

	"github.com/respool/respool/internal/treap"
)

// idleSet is the idle resources that have no seat, ordered by when they became
// idle. No operation takes longer the more there are (I12): a list holds those
// that fit every MinRemaining, and a tree by position those that were found too
// near their end for some, or were given back at an old position, each once for resources that a caller has had and
// once for those that none has had.
//
// A resource that a policy looks at (aside) keeps its position and is passed
// over. Few are aside at a time. Its user holds the pool's lock.
type idleSet[T any] struct {
	n              int // aside ones included
	used, unused   entryList[T]
	worn, unworn   treap.Set[*entry[T]] // by stamp; the value is unfit. unworn: unused ones
	newest, oldest int64                // the largest and the smallest stamp given out
}

// entryList is a doubly linked list, the newest on top.
type entryList[T any] struct{ top, bottom *entry[T] }

// stamp returns one above all others: that of the newest.
func (s *idleSet[T]) stamp() int64 {
	s.newest++
	return s.newest
}

// push adds e as the newest.
func (s *idleSet[T]) push(e *entry[T]) {
	e.stamp = s.stamp()
	s.putBack(e)
}

// pushUnder adds e as the oldest.
func (s *idleSet[T]) pushUnder(e *entry[T]) {
	s.oldest--
	e.stamp = s.oldest
	s.putBack(e)
}

// putBack adds e at the position that its stamp says: the newest, or one that it
// had before.
func (s *idleSet[T]) putBack(e *entry[T]) {
	e.place, e.virgin, e.inTree = shelf, e.unused(), false
	s.n++
	l := s.list(e)
	switch {
	case e.unfit > 0:
		e.inTree = true
	case l.top == nil:
		l.top, l.bottom = e, e
	case l.top.stamp < e.stamp:
		e.down, l.top.up = l.top, e
		l.top = e
	case l.bottom.stamp > e.stamp:
		e.up, l.bottom.down = l.bottom, e
		l.bottom = e
	default:
		e.inTree = true
	}
	if e.inTree && !e.aside {
		s.plant(e)
	}
}

// putUnderNewer adds e, idle since that tick, below those that are idle for less
// long, as far as these are few. e has no position of its own.
func (s *idleSet[T]) putUnderNewer(e *entry[T], since int64) {
	var newer [32]*entry[T]
	n := 0
	for n < len(newer) {
		top := s.first(NewestFirst, nil)
		if top == nil || top.since <= since {
			break
		}
		s.remove(top)
		newer[n] = top
		n++
	}
	s.push(e)
	for n > 0 {
		n--
		s.push(newer[n])
	}
}

// remove takes e out of the set.
func (s *idleSet[T]) remove(e *entry[T]) {
	switch {
	case !e.inTree:
		s.unlink(e)
	case !e.aside:
		s.tree(e).Remove(e.node)
	}
	e.inTree = false
	e.place = out
	s.n--
}

// setAside has e passed over from now on.
func (s *idleSet[T]) setAside(e *entry[T]) {
	e.aside = true
	if e.inTree {
		s.tree(e).Remove(e.node)
	}
}

// backFromAside ends setAside.
func (s *idleSet[T]) backFromAside(e *entry[T]) {
	e.aside = false
	if e.inTree {
		s.plant(e)
	}
}

// setUnfit notes the least MinRemaining that e, which is in the set, is known
// not to have left.
func (s *idleSet[T]) setUnfit(e *entry[T], d time.Duration) {
	if e.inTree {
		if !e.aside {
			s.tree(e).Remove(e.node)
		}
	} else {
		s.unlink(e)
	}
	e.unfit, e.inTree = d, true
	if !e.aside {
		s.plant(e)
	}
}

func (s *idleSet[T]) list(e *entry[T]) *entryList[T] {
	if e.virgin {
		return &s.unused
	}
	return &s.used
}

func (s *idleSet[T]) tree(e *entry[T]) *treap.Set[*entry[T]] {
	if e.virgin {
		return &s.unworn
	}
	return &s.worn
}

func (s *idleSet[T]) plant(e *entry[T]) {
	if e.node == nil {
		e.node = &treap.Node[*entry[T]]{Item: e}
	}
	fits := int64(e.unfit)
	if fits == 0 {
		fits = everything
	}
	s.tree(e).Insert(e.node, e.stamp, fits)
}

func (s *idleSet[T]) unlink(e *entry[T]) {
	l := s.list(e)
	if e.up != nil {
		e.up.down = e.down
	} else {
		l.top = e.down
	}
	if e.down != nil {
		e.down.up = e.up
	} else {
		l.bottom = e.up
	}
	e.up, e.down = nil, nil
}

// first returns the resource to lend first, by order, to a caller who asked for
// r; nil if there is none.
func (s *idleSet[T]) first(o Order, r *Request) (best *entry[T]) {
	least := int64(0)
	if r != nil {
		least = int64(max(0, r.MinRemaining))
	}
	best = s.unused.first(o)
	best = earlier(o, best, treeFirst(&s.unworn, o, least))
	if r == nil || !r.Fresh {
		best = earlier(o, best, s.used.first(o))
		best = earlier(o, best, treeFirst(&s.worn, o, least))
	}
	return best
}

// first returns the first by order that no policy looks at.
func (l *entryList[T]) first(o Order) *entry[T] {
	if o == OldestFirst {
		e := l.bottom
		for e != nil && e.aside {
			e = e.up
		}
		return e
	}
	e := l.top
	for e != nil && e.aside {
		e = e.down
	}
	return e
}

// treeFirst returns the first by order of those that have more than least left.
func treeFirst[T any](s *treap.Set[*entry[T]], o Order, least int64) *entry[T] {
	if s.Len() == 0 {
		return nil
	}
	find := s.LastAbove
	if o == OldestFirst {
		find = s.FirstAbove
	}
	return itemOf(find(least))
}

func itemOf[T any](n *treap.Node[*T]) *T {
	if n == nil {
		return nil
	}
	return n.Item
}

// earlier returns which of the two is lent first, by order. Either may be nil.
func earlier[T any](o Order, a, b *entry[T]) *entry[T] {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case (a.stamp > b.stamp) == (o == NewestFirst):
		return a
	}
	return b
}

// reach says which requests a set of resources can serve: one that asks for
// MinRemaining d and takes used resources if d < used, and one that asks for
// Fresh if d < unused. Zero: none.
type reach struct{ used, unused int64 }

const everything = math.MaxInt64

// reach is that of all resources in the set that no policy looks at.
func (s *idleSet[T]) reach() (r reach) {
	r.unused = reachOf(&s.unused, &s.unworn)
	r.used = max(r.unused, reachOf(&s.used, &s.worn))
	return r
}

func reachOf[T any](l *entryList[T], t *treap.Set[*entry[T]]) int64 {
	if l.first(NewestFirst) != nil {
		return everything
	}
	most, _ := t.Max()
	return most
}

// reach is that of e alone.
func (e *entry[T]) reach() (r reach) {
	r.used = everything
	if e.unfit > 0 {
		r.used = int64(e.unfit)
	}
	if e.unused() {
		r.unused = r.used
	}
	return r
}

// unwanted returns the resource idle longest that none of the waiters whose
// needs are n can use; nil if there is none.
func (s *idleSet[T]) unwanted(n needs) (oldest *entry[T]) {
	oldest = notAbove(&s.unused, &s.unworn, min(n.used, n.fresh))
	return earlier(OldestFirst, oldest, notAbove(&s.used, &s.worn, n.used))
}

// notAbove returns the oldest that has no more than least left.
func notAbove[T any](l *entryList[T], t *treap.Set[*entry[T]], least int64) *entry[T] {
	if least != everything {
		return itemOf(t.FirstBelow(least + 1))
	}
	return earlier(OldestFirst, l.first(OldestFirst), itemOf(t.First()))
}
