package resource

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/respool/respool/internal/treap"
)

// Waiter is a caller that waits, as a [Queue] sees it.
type Waiter struct {
	Request Request       // what it asked for
	Since   time.Duration // when it began to wait, since the pool's New
	// Deadline is when the caller stops waiting, since the pool's New: the deadline of its
	// context or the end of Request.MaxWait, whichever comes first; 0: there is neither. The
	// deadline of the context bounds the caller's work too, MaxWait does not.
	Deadline time.Duration
	owner    any // its *waiter[T]
}

// waiter is a caller that waits. It belongs to the waiting goroutine, except from insert
// until the pool sends on ready, or passes it over, or the goroutine removes it from the queue.
type waiter[T any] struct {
	Waiter
	ready chan struct{} // holds one

	// Set before it is in the queue, then constant.
	ctx      context.Context
	deadline time.Duration // ctx's, on the pool's clock; 0: none
	min      time.Duration // its MinRemaining, if there is an Eviction to ask
	slot     int
	turn     int64         // its ordinal among all waiters that the pool ever had
	multi    *multiWait[T] // its caller waits in other lines too; nil: in this one alone
	line     int           // its index among these lines

	// Guarded by the pool's lock.
	order                    *waitOrder[T] // that it is in; nil: none
	pos                      int64         // its position there
	node                     *treap.Node[*waiter[T]]
	prev, next               *waiter[T] // in order.plain or late; next also in the chain of woken
	prevUnasked, nextUnasked *waiter[T]
	unasked                  bool          // no creation was begun for it
	timer                    int           // its index in the heap of deadlines, from 1; 0: none
	late                     bool          // in late
	lateAt                   time.Duration // when it was put there
	lasted                   time.Duration // how long its caller had waited when it left the queue
	passed                   int           // how often others were served before it
	popped                   bool          // the Queue has given it out
	passive                  bool          // no creation is begun for it; only with multi
	passedOver               bool          // the pool has dropped it, because its caller was being served in another line
	seen                     uint64        // the last inspection that listed it
	lease                    Lease[T]      // what it got
	verified                 bool          // the resource of lease has just passed a check
	idle                     int64         // for how many ticks the resource of lease was idle
	err                      error         // why it got no lease
	rejected                 bool          // a policy refused it

	handOff handOffNote // set by the releaser; the waiter's once it is woken
}

// waiting reports whether the waiter is in the queue.
func (w *waiter[T]) waiting() bool { return w.order != nil || w.late }

// expired reports whether the deadline of w has passed, though its goroutine may not have
// run since. Lending to it would keep the resource from the next waiter until that goroutine
// runs: under overload, when many expire and processors are busy, that would be most of the
// time. If w still waits after lateFor its context uses another clock, and w is served like
// every other waiter.
func (w *waiter[T]) expired(now time.Duration) bool {
	return w.deadline != 0 && w.deadline <= now && now-w.deadline < lateFor
}

const lateFor = time.Second

// waiterList is a doubly linked list.
type waiterList[T any] struct {
	front, back *waiter[T]
	n           int
}

func (l *waiterList[T]) push(w *waiter[T]) {
	w.prev, w.next = l.back, nil
	if l.back != nil {
		l.back.next = w
	} else {
		l.front = w
	}
	l.back = w
	l.n++
}

func (l *waiterList[T]) remove(w *waiter[T]) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.front = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.back = w.prev
	}
	w.prev, w.next = nil, nil
	l.n--
}

// waitOrder is waiters in the order of their positions. A linked list holds those that any
// resource serves and that were added last; trees hold the others, by position, with the
// MinRemaining as value.
type waitOrder[T any] struct {
	plain  waiterList[T]
	others treap.Set[*waiter[T]] // not Fresh: those with a MinRemaining, passive ones, and those that came back to an old position
	fresh  treap.Set[*waiter[T]] // that ask for Fresh
}

func (o *waitOrder[T]) insert(w *waiter[T], pos int64) {
	w.order, w.pos = o, pos
	switch {
	case w.Request.Fresh:
		o.addToTree(&o.fresh, w)
	case w.min > 0 || w.passive || o.plain.back != nil && o.plain.back.pos > pos:
		o.addToTree(&o.others, w)
	default:
		o.plain.push(w)
	}
}

func (o *waitOrder[T]) addToTree(s *treap.Set[*waiter[T]], w *waiter[T]) {
	if w.node == nil {
		w.node = &treap.Node[*waiter[T]]{Item: w}
	}
	s.Insert(w.node, w.pos, int64(w.min))
}

func (o *waitOrder[T]) remove(w *waiter[T]) {
	switch {
	case !w.node.Member():
		o.plain.remove(w)
	case w.Request.Fresh:
		o.fresh.Remove(w.node)
	default:
		o.others.Remove(w.node)
	}
	w.order = nil
}

// first returns the first waiter that r can serve; nil if there is none.
func (o *waitOrder[T]) first(r reach) *waiter[T] {
	var w *waiter[T]
	if r.used > 0 {
		w = o.plain.front
		if o.others.Len() > 0 {
			w = sooner(w, itemOf(o.others.FirstBelow(r.used)))
		}
	}
	if o.fresh.Len() > 0 {
		w = sooner(w, itemOf(o.fresh.FirstBelow(r.unused)))
	}
	return w
}

// passes notes that w is served before an earlier waiter for which every idle resource is too near its end. It
// reports whether that one has been passed over often enough.
func (o *waitOrder[T]) passes(w *waiter[T]) bool {
	f := itemOf(o.others.First())
	if f == nil || f.pos >= w.pos || f.passive {
		return false
	}
	f.passed++
	return f.passed > maxPassed
}

// last returns the last waiter; nil if there is none.
func (o *waitOrder[T]) last() *waiter[T] {
	w := o.plain.back
	for _, other := range [...]*waiter[T]{itemOf(o.others.Last()), itemOf(o.fresh.Last())} {
		if w == nil || other != nil && other.pos > w.pos {
			w = other
		}
	}
	return w
}

// sooner returns which of two waiters of one order is first. Either may be nil.
func sooner[T any](a, b *waiter[T]) *waiter[T] {
	if a == nil || b != nil && b.pos < a.pos {
		return b
	}
	return a
}

// waitQueue is the callers that wait. No operation grows with their number (I12), except
// logarithmically. Its user holds the pool's lock.
type waitQueue[T any] struct {
	n      int           // all
	line   waitOrder[T]  // in the order of arrival
	aside  waitOrder[T]  // the passive ones, in the order of arrival too
	given  waitOrder[T]  // those that a Queue has given out and no idle resource could serve, in that order
	late   waiterList[T] // those whose deadline has passed, in the order in which that was found
	turns  int64
	multis int // of callers of AcquireAny
	gifts  int64

	passive      int // the passive ones that are not late
	latePassive  int // and those that are
	givenPassive int // the passive ones in given that ask for Fresh

	// Those for which no creation was begun yet, in the order of arrival.
	unaskedFront, unaskedBack *waiter[T]

	// By deadline: those that ask for Fresh, and the others. Kept only if
	// timed, which is constant.
	timed  bool
	timers [2]timers[T]

	ordered  bool       // constant: there is a Queue
	spares   sync.Pool  // of *waiter[T]; none is reused with a Queue, which may retain it
	woken    *waiter[T] // served or refused, to be woken when the pool is unlocked
	refusing refusal    // that is under way
	away     error      // why all waiters, and all callers that come to wait, are refused; nil: they are not

	// What is to be reported to a Queue: see queueOp.
	asking bool           // a goroutine calls it
	news   []queueNews[T] // what was not reported to it, the oldest first
	broken bool           // it panicked: the first waiter is served

	seen uint64  // how many inspections there were
	walk walk[T] // the inspection that is under way
}

// everyone is the reach that serves every waiter.
var everyone = reach{everything, everything}

// active is how many waiters there are whose deadline has not passed, passive ones left out.
func (q *waitQueue[T]) active() int { return q.n - q.late.n - q.passive }

// wanting is how many waiters there are for which creations may begin.
func (q *waitQueue[T]) wanting() int { return q.n - q.passive - q.latePassive }

// fresh is how many of the active ask for Fresh.
func (q *waitQueue[T]) fresh() int {
	if q.uniform() {
		return 0
	}
	return q.line.fresh.Len() + q.given.fresh.Len() - q.givenPassive
}

// uniform reports whether every waiter is in line.plain, which is the usual case:
// then the trees, given, aside and late are empty.
func (q *waitQueue[T]) uniform() bool { return q.line.plain.n == q.n }

// needs are the least MinRemaining that is asked for, by waiters that ask for Fresh and by
// the others; everything: there is none.
type needs struct{ used, fresh int64 }

func (q *waitQueue[T]) needs() needs {
	n := needs{everything, everything}
	for _, o := range [...]*waitOrder[T]{&q.line, &q.aside, &q.given} {
		if o.plain.n > 0 {
			n.used = 0
		} else if least, ok := o.others.Min(); ok {
			n.used = min(n.used, least)
		}
		if least, ok := o.fresh.Min(); ok {
			n.fresh = min(n.fresh, least)
		}
	}
	return n
}

// servedBy reports whether r can serve one of the waiters that have these needs.
func (n needs) servedBy(r reach) bool { return n.used < r.used || n.fresh < r.unused }

// front returns the waiter that came first; nil if none is active.
func (q *waitQueue[T]) front() *waiter[T] {
	if q.uniform() {
		return q.line.plain.front
	}
	w, given := q.firstInLine(everyone), q.given.first(everyone)
	if w == nil || given != nil && given.turn < w.turn {
		return given
	}
	return w
}

// frontWanting returns the waiter that came first of those for which creations may begin; nil
// if none is active.
func (q *waitQueue[T]) frontWanting() *waiter[T] {
	if q.uniform() {
		return q.line.plain.front
	}
	w, given := q.line.first(everyone), q.given.first(everyone)
	if given != nil && !given.passive && (w == nil || given.turn < w.turn) {
		return given
	}
	return w
}

// firstInLine returns the first waiter that r can serve and that no Queue has given out; nil if
// there is none.
func (q *waitQueue[T]) firstInLine(r reach) *waiter[T] {
	w := q.line.first(r)
	if q.passive > 0 {
		w = sooner(w, q.aside.first(r))
	}
	return w
}

// back returns the waiter that came last; nil if none is active.
func (q *waitQueue[T]) back() *waiter[T] {
	w, aside := q.line.last(), q.aside.last()
	switch {
	case w == nil && aside == nil:
		return q.given.last()
	case w == nil || aside != nil && aside.pos > w.pos:
		return aside
	}
	return w
}

// mayPass reports whether a caller with that turn, 0 for a new one, may take an idle
// resource: no earlier caller waits.
func (q *waitQueue[T]) mayPass(turn int64) bool {
	w := q.front()
	return w == nil || turn != 0 && turn < w.turn
}

// insert puts w in its position: at the end, or where it was if it has a turn.
func (q *waitQueue[T]) insert(w *waiter[T]) {
	if w.turn == 0 {
		q.turns++
		w.turn = q.turns
	}
	q.n++
	q.joinOrder(w)
	if !w.passive {
		q.time(w)
	}
}

// joinOrder puts w, which is not late, into the order that it belongs to.
func (q *waitQueue[T]) joinOrder(w *waiter[T]) {
	if w.passive {
		q.aside.insert(w, w.turn)
		q.passive++
		return
	}
	q.line.insert(w, w.turn)
	q.ask(w)
}

// time adds w to the heap of deadlines, if it has one that matters.
func (q *waitQueue[T]) time(w *waiter[T]) {
	if q.timed && w.deadline != 0 {
		heap.Push(q.timersOf(w), w)
	}
}

// promote ends that w is passive: creations may begin for it. It keeps its position. It does
// nothing if w is not in the queue.
func (q *waitQueue[T]) promote(w *waiter[T]) {
	if !w.waiting() || !w.passive {
		return
	}
	if w.late {
		w.passive = false
		q.latePassive--
		return
	}
	q.walk.leave(w)
	o, pos := w.order, w.pos
	q.leaveOrder(w)
	w.passive = false
	if o == &q.aside {
		o = &q.line
	}
	o.insert(w, pos)
	q.ask(w)
	q.time(w)
}

// spare returns a waiter that is in no queue, for its caller to fill in.
func (q *waitQueue[T]) spare() *waiter[T] {
	w, _ := q.spares.Get().(*waiter[T])
	if w == nil {
		w = &waiter[T]{ready: make(chan struct{}, 1)}
		w.owner = w
	}
	return w
}

// release is called when w has left the queue and its caller has what it got. It clears
// the references: a Queue may retain w after popping it, and the context of w may lead
// to all that the caller has.
func (q *waitQueue[T]) release(w *waiter[T]) {
	if q.ordered {
		w.ctx, w.lease, w.err, w.next, w.multi = nil, Lease[T]{}, nil, nil, nil
		return
	}
	// Field by field, since the assignment of a whole zero waiter would copy it twice.
	// The other fields are set before each use, or were reset when w left the queue.
	w.Request, w.ctx, w.next, w.lease, w.err = Request{}, nil, nil, Lease[T]{}, nil
	w.verified, w.idle, w.passed, w.rejected, w.seen = false, 0, 0, false, 0
	w.multi, w.passive, w.passedOver = nil, false, false
	q.spares.Put(w)
}

// enter inserts w, and has that reported to the Queue.
func (q *waitQueue[T]) enter(w *waiter[T]) {
	q.insert(w)
	if w.multi != nil {
		q.multis++
		w.multi.entered()
	}
	if q.ordered {
		q.news = append(q.news, queueNews[T]{w, false})
	}
}

// leave removes w, and has that reported to the Queue unless the Queue has given w out.
func (q *waitQueue[T]) leave(w *waiter[T], now time.Duration) {
	popped := w.popped
	q.remove(w)
	if w.multi != nil {
		q.multis--
		w.multi.left()
	}
	w.lasted = now - w.Since
	if q.ordered && !popped {
		q.news = append(q.news, queueNews[T]{w, true})
	}
}

// queueNews is an event to report to a Queue: w came, or left.
type queueNews[T any] struct {
	w    *waiter[T]
	left bool
}

// nextNews takes out the next event to report to the Queue.
func (q *waitQueue[T]) nextNews() queueNews[T] {
	n := q.news[0]
	q.news[0] = queueNews[T]{}
	q.news = q.news[1:]
	return n
}

// wake has w, which has left the queue, woken when the pool is unlocked.
func (q *waitQueue[T]) wake(w *waiter[T]) { w.next, q.woken = q.woken, w }

// takeWoken returns the waiters to wake.
func (q *waitQueue[T]) takeWoken() *waiter[T] {
	w := q.woken
	q.woken = nil
	return w
}

// wakeAll wakes w and those after it. The pool is not locked.
func wakeAll[T any](w *waiter[T]) {
	for w != nil {
		next := w.next
		if w.multi != nil {
			w.multi.woken <- w // never blocks; w is its caller's again
		} else {
			w.ready <- struct{}{} // likewise
		}
		w = next
	}
}

// refusal is the refusal of all waiters that came up to a turn, as far as nothing that
// is leased could serve them. The zero refusal refuses none.
type refusal struct {
	err  error
	last int64
}

// refuseAll begins the refusal of all waiters that wait now.
func (q *waitQueue[T]) refuseAll(err error) { q.refusing = refusal{err: err, last: q.turns} }

// misfit returns the cause with which e makes room for a waiter that cannot use it.
func (q *waitQueue[T]) misfit(e *entry[T]) error {
	if q.fresh() > 0 && !e.unused() {
		return ErrNotFresh
	}
	return ErrNearEnd
}

// maxPassed is how often a waiter for which every resource is too near its end is
// passed over before it gets a slot.
const maxPassed = 8

// yields returns why e, which has come back and which w can use, is to make room for an
// earlier waiter that cannot use it; nil: w gets e. Without it, in a full pool, later waiters
// could get e again and again, and the earlier one would starve. coming is how many slots
// will have new resources, reserved how many idle ones a policy is asked about; roomHelps
// says that a creation waits only for a slot. There is no Queue.
func (q *waitQueue[T]) yields(e *entry[T], w *waiter[T], coming, reserved int, roomHelps bool) error {
	front := q.front()
	if front == w {
		return nil
	}
	if f := itemOf(q.line.fresh.At(coming)); f != nil && f.turn < w.turn && roomHelps {
		return ErrNotFresh
	}
	if front.Request.Fresh || front.passive || e.fits(&front.Request) {
		return nil
	}
	if front.passed++; front.passed > maxPassed && coming+reserved == 0 && roomHelps {
		return ErrNearEnd
	}
	return nil
}

// give moves w, which the Queue has given out, behind the waiters given out before.
func (q *waitQueue[T]) give(w *waiter[T]) {
	w.order.remove(w)
	q.gifts++
	q.given.insert(w, q.gifts)
	if w.passive && w.Request.Fresh {
		q.givenPassive++
	}
}

func (q *waitQueue[T]) remove(w *waiter[T]) {
	q.walk.leave(w)
	if w.late {
		q.leaveLate(w)
	} else {
		q.leaveOrder(w)
	}
	q.n--
}

// joinLate puts w, whose deadline has passed, into late; leaveLate takes it out.
func (q *waitQueue[T]) joinLate(w *waiter[T], now time.Duration) {
	w.late, w.lateAt = true, now
	q.late.push(w)
	if w.passive {
		q.latePassive++
	}
}

func (q *waitQueue[T]) leaveLate(w *waiter[T]) {
	q.late.remove(w)
	w.late = false
	if w.passive {
		q.latePassive--
	}
}

// leaveOrder takes w out of every list but late.
func (q *waitQueue[T]) leaveOrder(w *waiter[T]) {
	if w.passive {
		q.passive--
		if w.order == &q.given && w.Request.Fresh {
			q.givenPassive--
		}
	}
	w.order.remove(w)
	q.unask(w)
	if w.timer > 0 {
		q.untime(w)
	}
}

// first returns the first waiter in line that r can serve and that has not expired; nil if
// there is none. It moves a bounded number of expired waiters to late: more reports whether
// it is to be called again.
func (q *waitQueue[T]) first(r reach, now time.Duration) (w *waiter[T], more bool) {
	if q.uniform() && r.used > 0 {
		if w := q.line.plain.front; w == nil || !w.expired(now) {
			return w, false
		}
	}
	for range maxPerHold {
		w := q.firstInLine(r)
		if w == nil || !w.expired(now) {
			return w, false
		}
		q.walk.leave(w)
		q.leaveOrder(w)
		q.joinLate(w, now)
	}
	return nil, true
}

// revive puts late waiters that still wait back in line, a bounded number. It returns when
// it is to be called again; 0: there is none.
func (q *waitQueue[T]) revive(now time.Duration) (at time.Duration) {
	for range maxPerHold {
		w := q.late.front
		if w == nil {
			return 0
		}
		if at = w.lateAt + lateFor; at > now {
			return at
		}
		q.walk.leave(w)
		q.leaveLate(w)
		q.joinOrder(w)
	}
	return now
}

// ask adds w to the list of waiters for which no creation was begun; unask takes it out.
func (q *waitQueue[T]) ask(w *waiter[T]) {
	w.prevUnasked, w.nextUnasked, w.unasked = q.unaskedBack, nil, true
	if q.unaskedBack != nil {
		q.unaskedBack.nextUnasked = w
	} else {
		q.unaskedFront = w
	}
	q.unaskedBack = w
}

func (q *waitQueue[T]) unask(w *waiter[T]) {
	if !w.unasked {
		return
	}
	if w.prevUnasked != nil {
		w.prevUnasked.nextUnasked = w.nextUnasked
	} else {
		q.unaskedFront = w.nextUnasked
	}
	if w.nextUnasked != nil {
		w.nextUnasked.prevUnasked = w.prevUnasked
	} else {
		q.unaskedBack = w.prevUnasked
	}
	w.prevUnasked, w.nextUnasked, w.unasked = nil, nil, false
}

// asker returns the waiter for which the next creation begins: the first one for which none
// was begun yet, which it notes, else the first of all; nil if none waits.
func (q *waitQueue[T]) asker() *waiter[T] {
	w := q.unaskedFront
	if w == nil {
		return q.frontWanting()
	}
	q.unask(w)
	w.multi.report(w.line, creationBegun)
	return w
}

// soonest returns the waiter whose deadline comes first, among those that ask
// for Fresh or, if freshOnly is false, among all; nil if none has a deadline.
func (q *waitQueue[T]) soonest(freshOnly bool) (w *waiter[T]) {
	for i := range q.timers {
		if t := q.timers[i]; (i == 0 || !freshOnly) && len(t) > 0 && (w == nil || t[0].deadline < w.deadline) {
			w = t[0]
		}
	}
	return w
}

// untime takes w out of the heap of deadlines.
func (q *waitQueue[T]) untime(w *waiter[T]) { heap.Remove(q.timersOf(w), w.timer-1) }

// refusable returns the first waiter that asks for Fresh or, if freshOnly is
// false, the first of all, late and passive ones left out; nil if there is none.
func (q *waitQueue[T]) refusable(freshOnly bool) *waiter[T] {
	if !freshOnly {
		return q.frontWanting()
	}
	if w := itemOf(q.line.fresh.First()); w != nil {
		return w
	}
	if w := itemOf(q.given.fresh.First()); w != nil && !w.passive {
		return w
	}
	return nil
}

// any returns a waiter, the first one if it is not late; nil if there is none.
func (q *waitQueue[T]) any() *waiter[T] {
	if w := q.front(); w != nil {
		return w
	}
	return q.late.front
}

// timers is a heap of waiters by deadline.
type timers[T any] []*waiter[T]

func (q *waitQueue[T]) timersOf(w *waiter[T]) *timers[T] {
	if w.Request.Fresh {
		return &q.timers[0]
	}
	return &q.timers[1]
}

func (t timers[T]) Len() int           { return len(t) }
func (t timers[T]) Less(i, j int) bool { return t[i].deadline < t[j].deadline }
func (t timers[T]) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].timer, t[j].timer = i+1, j+1
}

func (t *timers[T]) Push(x any) {
	w := x.(*waiter[T])
	*t = append(*t, w)
	w.timer = len(*t)
}

func (t *timers[T]) Pop() any {
	last := len(*t) - 1
	w := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	w.timer = 0
	return w
}

// walk is the progress of an inspection through the queue: the waiters given out, then the
// line, then the late ones. It survives the removal of waiters, and a waiter that moves
// meanwhile is listed at most once.
type walk[T any] struct {
	stage int
	list  *waiter[T] // the next of the plain ones, or of the late ones
	after int64      // position of the last one listed
}

// begin starts a walk.
func (q *waitQueue[T]) begin() {
	q.seen++
	q.walk = walk[T]{list: q.given.plain.front}
}

// step returns the next waiter; nil at the end.
func (q *waitQueue[T]) step() *waiter[T] {
	k := &q.walk
	for ; k.stage < 3; k.next(q) {
		for {
			w := k.list
			if o := k.order(q); o != nil {
				w = sooner(w, itemOf(o.others.After(k.after)))
				w = sooner(w, itemOf(o.fresh.After(k.after)))
				if o == &q.line && q.passive > 0 {
					w = sooner(w, itemOf(q.aside.others.After(k.after)))
					w = sooner(w, itemOf(q.aside.fresh.After(k.after)))
				}
			}
			if w == nil {
				break
			}
			if w == k.list {
				k.list = w.next
			}
			k.after = w.pos
			if w.seen != q.seen {
				w.seen = q.seen
				return w
			}
		}
	}
	return nil
}

func (k *walk[T]) order(q *waitQueue[T]) *waitOrder[T] {
	return [...]*waitOrder[T]{&q.given, &q.line, nil}[k.stage]
}

// next continues with the next stage.
func (k *walk[T]) next(q *waitQueue[T]) {
	k.stage++
	k.after = 0
	k.list = [...]*waiter[T]{nil, q.line.plain.front, q.late.front, nil}[k.stage]
}

// leave is called before w leaves the list that it is in.
func (k *walk[T]) leave(w *waiter[T]) {
	if k.list == w {
		k.list = w.next
	}
}

// queueOp asks the Config's Queue which waiter to serve next, and serves it. The Queue is user
// code whose methods run one at a time with the pool unlocked: a goroutine that unlocks the
// pool while there is something to report to the Queue, or to ask it, runs a queueOp, unless
// one runs already.
type queueOp[T any] struct{ p *Pool[T] }

// pendingLocked reports whether there is something to do, and no goroutine does it.
func (op queueOp[T]) pendingLocked() bool {
	q := &op.p.waiters
	return op.p.mode.ordered && !q.asking && (len(q.news) > 0 || op.p.matchesLocked())
}

// run reports the events to the Queue and serves waiters in its order until there is nothing
// left to do. The Queue runs on a goroutine of its own, since a method that ends its
// goroutine must not end a caller's in the middle of something.
func (op queueOp[T]) run() {
	p := op.p
	p.mu.Lock()
	if p.waiters.asking {
		p.mu.Unlock()
		return
	}
	p.waiters.asking = true
	p.busy++
	p.mu.Unlock()
	for {
		err := p.guard.isolate("Queue", func() {
			for op.step() {
			}
		})
		p.lock()
		if p.waiters.broken = err != nil; err == nil && len(p.waiters.news) == 0 && !p.matchesLocked() {
			p.waiters.asking = false
			p.busy--
			p.changed = true
			p.unlock()
			return
		}
		p.unlock()
	}
}

// step reports one event, or serves or refuses one waiter. It reports whether there was
// anything to do.
func (op queueOp[T]) step() bool {
	p := op.p
	p.lock()
	now := p.clock.now()
	if len(p.waiters.news) > 0 {
		n := p.waiters.nextNews()
		popped := n.w.popped
		p.unlock()
		switch {
		case n.left && popped: // it left while it was popped: the Queue does not have it
		case n.left:
			p.cfg.Queue.Remove(&n.w.Waiter)
		default:
			p.cfg.Queue.Push(&n.w.Waiter, now)
		}
		return true
	}
	if !p.matchesLocked() {
		p.unlock()
		return false
	}
	if op.serveGivenLocked(now) {
		p.unlock()
		return true
	}
	var w *waiter[T]
	var refuse *queueRefusal
	if !p.waiters.broken {
		p.unlock()
		w, refuse = op.pop(now)
		p.lock()
	}
	p.waiters.broken = false
	op.giveLocked(w, refuse, now)
	p.unlock()
	return true
}

// queueRefusal is why the Queue refuses a waiter, and for how long.
type queueRefusal struct {
	err        error // matches ErrRejected
	retryAfter time.Duration
}

// pop asks the Queue for the next waiter, and whether to refuse it. A refusal that is a
// Rejection already stays as it is, so that it names the policy and not the field.
func (op queueOp[T]) pop(now time.Duration) (*waiter[T], *queueRefusal) {
	out, err := op.p.cfg.Queue.Pop(now)
	if out == nil {
		return nil, nil
	}
	w, _ := out.owner.(*waiter[T]) // nil if it is not one of the pool's
	if err == nil {
		return w, nil
	}
	r := &queueRefusal{err, op.p.guard.retryAfter(err)}
	if !op.p.guard.is(err, ErrRejected) {
		r.err = &Rejection{Policy: "Queue", RetryAfter: r.retryAfter, Err: err}
	}
	return w, r
}

// giveLocked notes that the Queue has given out w, or refuses it, and serves the waiter
// whose turn it is now. If the Queue gave out no new waiter, that is the one that waited
// longest and can be served.
func (op queueOp[T]) giveLocked(w *waiter[T], refuse *queueRefusal, now time.Duration) {
	p := op.p
	first := w != nil && !w.popped
	if first {
		w.popped = true
	}
	switch {
	case w == nil || !w.waiting() || !first && refuse == nil:
		if w := p.waiters.firstInLine(p.idle.list.reach()); w != nil {
			p.grantLocked(p.idle.first(&w.Request), w, now)
		}
	case refuse != nil:
		w.rejected = true
		p.refuseLocked(w, p.failureLocked(ReasonQueue, refuse.err, now-w.Since, refuse.retryAfter), now)
	default:
		p.waiters.give(w)
		op.serveGivenLocked(now)
	}
}

// serveGivenLocked serves the first of the waiters that the Queue gave out and that can
// use an idle resource, or retires one to make room for an earlier waiter that cannot: for one that asks for
// Fresh at once, for one with a MinRemaining when it has been passed over often. It reports whether it did.
func (op queueOp[T]) serveGivenLocked(now time.Duration) bool {
	p := op.p
	given := &p.waiters.given
	w := given.first(p.idle.list.reach())
	if f := itemOf(given.fresh.At(p.maker.pending() + p.cap.dying)); f != nil && sooner(w, f) == f && p.maker.roomHelps(now, &p.cap) && !f.passive {
		if e := p.idle.list.first(OldestFirst, nil); e != nil && f != w {
			p.retireLocked(e, p.waiters.misfit(e), fateOther)
			return true
		}
	}
	if w == nil {
		return false
	}
	if given.passes(w) && p.maker.pending()+p.cap.dying+len(p.idle.reserved) == 0 && p.maker.roomHelps(now, &p.cap) {
		if e := p.idle.list.first(OldestFirst, nil); e != nil {
			p.retireLocked(e, ErrNearEnd, fateOther)
			return true
		}
	}
	p.grantLocked(p.idle.first(&w.Request), w, now)
	return true
}
