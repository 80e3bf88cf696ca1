// Package sched runs the goroutines of a program one at a time, and decides at each of their
// operations on shared objects which one continues. It searches all schedules with a bounded
// number of preemptions.
//
// A program under it uses the packages in internal/explore/sim in place of sync, sync/atomic,
// time, context and runtime; internal/explore rewrites the imports, the go statements and the
// operations on channels of a copy of its source. A goroutine runs until its next operation
// (Before, Wait): there the scheduler lets it continue, or parks it and resumes another one. A
// switch from a goroutine that could continue is a preemption. Code between two operations is
// one step, which is exact for a program without data races.
//
// Time is virtual. It advances when every goroutine is blocked, if the scene allows that, and by
// [X.Advance].
package sched

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"unsafe"
)

// Kind is an operation on an object.
type Kind uint8

// The operations. A failed TryLock or CompareAndSwap only reads.
const (
	Start Kind = iota
	Load
	Store
	Swap
	CompareAndSwap
	Add
	Lock
	TryLock
	Unlock
	RLock
	RUnlock
	WaitGroupWait
	CondWait
	Wake
	Receive
	Send
	Select
	Close
	Cancel
	SetTimer
	StopTimer
	Now
	Advance
	Yield
	WaitForActors
)

var kindNames = [...]string{
	"start", "Load", "Store", "Swap", "CompareAndSwap", "Add", "Lock", "TryLock", "Unlock", "RLock", "RUnlock",
	"Wait", "Wait", "wake", "receive", "send", "select", "close", "cancel", "set timer", "stop timer", "Now", "advance", "Gosched", "wait for actors",
}

func (k Kind) String() string { return kindNames[k] }

// Obj is what the scheduler keeps of an object: a part of each mutex, atomic, timer and so on. The
// zero Obj is ready.
type Obj struct {
	Busy bool // a Wait for it to be free blocks

	exec    uint64 // the execution that the fields below belong to
	write   uint64 // hash of the last write
	reads   uint64 // sum of the hashes of the reads since
	by      *g     // the goroutine that used it while schedules are explored
	several bool   // more than one did
	written bool   // one of them wrote
	known   bool   // its sites are conflicts
	sites   []int32
	number  int // ordinal of its first use, for the table of steps
}

// g is a goroutine under the scheduler.
type g struct {
	id    int
	name  string
	actor bool
	main  bool
	wake  chan struct{} // holds one
	done  bool
	hash  uint64 // of its last operation, and so of all that happened before it
	at    int32  // its site when it was parked
	// asleep says that it was preempted, and that nothing has happened since that its next
	// operation depends on.
	asleep bool
	op     op     // the next operation
	noted  bool   // the operation is in the table of steps
	draws  uint64 // random numbers drawn
	slot   int    // see Slot

	caches map[*Pool][]any // what it put into each Pool
}

// op is the operation that a goroutine does when it continues.
type op struct {
	kind  Kind
	obj   *Obj
	block bool        // it needs obj not to be Busy
	ready func() bool // it needs this too; nil: nothing
}

func (o *op) enabled() bool {
	return !(o.block && o.obj.Busy) && (o.ready == nil || o.ready())
}

// exec is one execution.
type exec struct {
	search *search
	number uint64
	gs     []*g
	cur    *g
	over   chan struct{} // holds one: the execution has ended
	reaped chan struct{} // holds one: a goroutine has ended while killing
	ending bool          // over is sent
	// killing says that the execution has ended and its goroutines are unwound: nothing blocks and
	// nothing is scheduled any more.
	killing bool
	unwound int // operations since
	failure string
	pruned  bool

	exploring bool
	begun     bool // Explore was called
	choosing  bool // a select statement chooses
	seen      int  // actors that there were
	actors    int  // that have not ended
	timePass  bool // time may pass while schedules are explored
	left      int  // preemptions that may still happen
	depth     int  // decisions made
	steps     int
	sum       uint64 // of the hashes of all goroutines: the state, up to the order of independent operations
	switches  []Switch
	trace     []Step
	objects   int

	clock     Obj
	now       int64 // ns
	timers    []*Timer
	timerSeqs int64
	channels  map[unsafe.Pointer]*channel
	raw       map[unsafe.Pointer]*Obj
	x         X
}

// current is the execution that runs; nil: none.
var current *exec

// At is the place in the source of the statement that runs, as the rewritten code sets it: a
// number of a file, and a line.
var At int32

// Bug is the number of the planted bug that is present; 0: none.
var Bug int

// Active reports whether the caller runs under the scheduler.
func Active() bool { return current != nil }

// live returns the execution if the scheduler is to act.
func live() *exec {
	if e := current; e != nil && !e.killing {
		return e
	}
	return nil
}

// Before is called before an operation on o that never blocks. Read or Write must follow.
func Before(o *Obj, k Kind) {
	if e := live(); e != nil {
		e.point(op{kind: k, obj: o})
	} else if current != nil {
		current.unwind()
	}
}

// Wait is called before an operation on o that blocks while o is Busy. It returns false if the
// goroutine is being unwound.
func Wait(o *Obj, k Kind) bool {
	e := live()
	if e != nil {
		e.point(op{kind: k, obj: o, block: true})
	} else if current == nil && o.Busy {
		panic("explore: an operation blocks outside of an execution")
	}
	return e != nil
}

// WaitFor is Wait until ready returns true.
func WaitFor(o *Obj, k Kind, ready func() bool) bool {
	e := live()
	if e != nil {
		e.point(op{kind: k, obj: o, ready: ready})
	} else if current == nil && !ready() {
		panic("explore: an operation blocks outside of an execution")
	}
	return e != nil
}

// unwind bounds how much a goroutine does while it is unwound.
func (e *exec) unwind() {
	if e.unwound++; e.unwound > 100000 {
		panic("explore: a deferred function of a goroutine that is unwound does not return")
	}
}

// Read notes that the goroutine that runs has read o.
func Read(o *Obj) { touch(o, false) }

// Write notes that the goroutine that runs has changed o.
func Write(o *Obj) { touch(o, true) }

func touch(o *Obj, write bool) {
	if e := live(); e != nil && e.exploring {
		e.touch(e.cur, o, write)
	}
}

// point is a scheduling point of the goroutine that runs: when it returns, that goroutine does p.
func (e *exec) point(p op) {
	me := e.cur
	if me.id < 0 {
		return // a timer fires
	}
	me.op = p
	e.steps++
	if e.steps > e.search.maxSteps {
		e.fail(fmt.Sprintf("the program has not ended after %d steps (livelock)", e.steps))
	}
	enabled := p.enabled()
	if !e.exploring {
		if !enabled || p.kind == Yield {
			e.release(me)
		}
		return
	}
	me.noted = false
	if !enabled || p.kind == Yield {
		if e.search.trace {
			e.noteBlocked()
		}
		e.blocked(&me.op)
		e.release(me)
		return
	}
	if e.search.script != nil {
		if to, ok := e.search.script[e.steps]; ok && to != me.id {
			e.switchTo(e.scripted(to), me)
		}
		return
	}
	if e.left == 0 || !e.search.plain && !e.search.conflicts.has(At) {
		return
	}
	others := e.enabledExcept(me)
	if len(others) == 0 {
		return
	}
	if c := e.choose(1+len(others), me); c > 0 {
		e.left--
		me.asleep = !e.search.plain && p.single()
		e.switchTo(others[c-1], me)
	}
}

// A goroutine that was preempted before an operation sleeps until another goroutine does one that
// the first depends on. Until then it need not continue: what would follow is what also follows if
// it is preempted one operation later, with no more preemptions.

// single reports whether the operation uses nothing but its object.
func (o *op) single() bool {
	switch o.kind {
	case Load, Store, Swap, CompareAndSwap, Add, Lock, TryLock, Unlock, RLock, RUnlock, Receive, Send, Close:
		return true
	}
	return false
}

// blocked ends the sleep of goroutines whose next operation could have kept another one from blocking on
// o: then that one would not have let others continue without being preempted.
func (e *exec) blocked(o *op) {
	for _, other := range e.gs {
		if other.asleep && (o.ready != nil || other.op.obj == o.obj) {
			other.asleep = false
		}
	}
}

// wake ends the sleep of goroutines whose next operation depends on one on o.
func (e *exec) wake(o *Obj, write bool) {
	for _, other := range e.gs {
		if other.asleep && other.op.obj == o && (write || other.op.kind != Load) {
			other.asleep = false
		}
	}
}

// enabledExcept returns the goroutines other than me that can continue.
func (e *exec) enabledExcept(me *g) (some []*g) {
	some = e.search.scratch[:0]
	for _, other := range e.gs {
		if other != me && !other.done && !other.main && !other.asleep && other.op.enabled() {
			some = append(some, other)
		}
	}
	e.search.scratch = some
	return some
}

// release has another goroutine continue, since me is blocked, yields or has ended. It returns when me
// is resumed; at once if me has ended.
func (e *exec) release(me *g) {
	for {
		if e.ending {
			e.parkForever(me)
			return
		}
		if next := e.next(me); next != nil {
			if next == me {
				return
			}
			e.switchTo(next, me)
			return
		}
	}
}

// next returns the goroutine that continues when me does not; nil: time has advanced, ask again.
func (e *exec) next(me *g) *g {
	yields := !me.done && me.op.kind == Yield
	if !e.exploring {
		for _, other := range e.gs { // the scene's own goroutine, if it can continue, comes first
			if !other.done && other.op.enabled() && !(yields && other == me) {
				return other
			}
		}
		if yields {
			return me
		}
		if !e.advance() {
			e.failBlocked("every goroutine is blocked, and no timer is set")
		}
		return nil
	}
	if e.search.script != nil {
		if to, ok := e.search.script[e.steps]; ok {
			return e.scripted(to)
		}
	}
	others := e.enabledExcept(me)
	self := !me.done && !me.main && (yields && e.left > 0 || me.op.kind != Yield && me.op.enabled())
	switch {
	case len(others) == 0 && yields:
		return me
	case len(others) > 0:
		n := len(others)
		if self {
			n++
		}
		c := 0
		if n > 1 {
			if c = e.choose(n, nil); c == ended {
				return nil
			}
		}
		if c == len(others) {
			e.left--
			e.switches = append(e.switches, Switch{e.steps, me.id})
			return me
		}
		return others[c]
	case self:
		return me
	}
	for _, other := range e.gs {
		if other.asleep && !other.done && other.op.enabled() {
			e.pruned = true
			e.end()
			return nil
		}
	}
	// Nothing can continue: quiescence.
	if e.actors == 0 {
		e.exploring = false
		return e.gs[0]
	}
	if !e.timePass {
		e.failBlocked("goroutines are blocked, and only a timer could wake them (lost wake-up)")
	} else if !e.advance() {
		e.failBlocked("every goroutine is blocked, and no timer is set (deadlock)")
	}
	return nil
}

// scripted returns the goroutine that a replayed schedule names.
func (e *exec) scripted(id int) *g {
	if id >= len(e.gs) || e.gs[id].done || !e.gs[id].op.enabled() {
		e.fail(fmt.Sprintf("the schedule does not fit the program: at step %d goroutine %d cannot continue", e.steps, id))
		return nil
	}
	return e.gs[id]
}

// switchTo resumes next, and returns when me is resumed.
func (e *exec) switchTo(next, me *g) {
	me.at = At
	if e.exploring {
		e.switches = append(e.switches, Switch{e.steps, next.id})
	}
	e.cur = next
	At = next.at
	next.wake <- struct{}{}
	if me.done {
		return
	}
	<-me.wake
	if e.killing {
		runtime.Goexit()
	}
	At = me.at
}

// parkForever parks me until the execution is unwound.
func (e *exec) parkForever(me *g) {
	if me.done {
		return
	}
	<-me.wake
	runtime.Goexit()
}

// end ends the execution. It does not return unless the goroutine that runs has ended.
func (e *exec) end() {
	me := e.cur // read first: the execution may be unwound at once
	if !e.ending {
		e.ending = true
		e.over <- struct{}{}
	}
	e.parkForever(me)
}

// fail ends the execution with a failure.
func (e *exec) fail(text string) {
	if e.failure == "" && !e.ending {
		e.failure = text
	}
	e.end()
}

// failBlocked is fail, and says which goroutines are blocked.
func (e *exec) failBlocked(text string) {
	for _, other := range e.gs {
		if !other.done && !other.main {
			text += fmt.Sprintf("\n\t%d %s: %s", other.id, other.name, other.op.kind)
		}
	}
	e.fail(text)
}

// Go starts f on a goroutine of its own.
func Go(f func()) {
	e := live()
	if e == nil {
		if current == nil {
			panic("explore: a goroutine is started outside of an execution")
		}
		return // unwinding
	}
	e.start(e.cur.name+"'", f)
}

// start starts a goroutine, which is parked before its first step.
func (e *exec) start(name string, f func()) *g {
	n := &g{id: len(e.gs), name: name, wake: make(chan struct{}, 1), at: At, op: op{kind: Start}}
	if me := e.cur; me != nil {
		e.advanceHash(me, mix(me.hash, 1))
		n.hash, n.slot = mix(me.hash, 2), me.slot
	}
	e.sum += mix(n.hash, 3)
	e.gs = append(e.gs, n)
	go func() {
		<-n.wake
		returned := false
		defer func() { e.finish(n, returned, recover()) }()
		if e.killing {
			return
		}
		_ = growStack()
		f()
		returned = true
	}()
	return n
}

// growStack has the stack of the goroutine grow at once to what most need: it would grow several times, and
// be copied each time.
//
//go:noinline
func growStack() byte {
	var p [12 << 10]byte
	return p[At&0xfff]
}

// finish ends a goroutine: its function has returned, has panicked with v, or was ended by
// runtime.Goexit.
func (e *exec) finish(me *g, returned bool, v any) {
	me.done = true
	e.steps++
	if e.killing {
		e.reaped <- struct{}{}
		return
	}
	switch {
	case v != nil:
		e.fail(fmt.Sprintf("goroutine %d %s panicked: %v\n%s", me.id, me.name, v, debug.Stack()))
		return
	case !returned && (me.main || me.actor):
		e.fail(fmt.Sprintf("goroutine %d %s was ended by runtime.Goexit", me.id, me.name))
		return
	case me.main:
		for _, other := range e.gs {
			if !other.done {
				e.fail(fmt.Sprintf("goroutine %d %s has not ended when the scene has: %s", other.id, other.name, other.op.kind))
				return
			}
		}
		e.end()
		return
	case me.actor:
		e.actors--
	}
	e.release(me)
}

// run runs the scene once.
func (e *exec) run(scene func(x *X)) {
	current = e
	At = 0
	m := e.start("main", func() { scene(&e.x) })
	m.main = true
	e.cur = m
	m.wake <- struct{}{}
	<-e.over
	e.killing = true
	for i := 0; i < len(e.gs); i++ {
		if other := e.gs[i]; !other.done {
			e.cur = other
			other.wake <- struct{}{}
			<-e.reaped
		}
	}
	current = nil
}

// Gosched is runtime.Gosched: other goroutines that can continue do so first.
func Gosched() {
	if e := live(); e != nil {
		e.point(op{kind: Yield, obj: &e.clock})
	}
}

// Draw returns a number that is as good as random and the same in every execution in which the
// goroutine has done the same.
func Draw() uint64 {
	e := live()
	if e == nil || e.cur == nil {
		return mix(4, 4)
	}
	e.cur.draws++
	return mix(mix(e.cur.hash, e.cur.draws), 5)
}

// Slot returns a small number that stands for the processor of the goroutine that runs: 0 for
// main, and for each actor another one, which the goroutines that it starts have too.
func Slot() int {
	if e := live(); e != nil {
		return e.cur.slot
	}
	return 0
}

// SortBy sorts some by the text of a key: in the rewritten code in place of the order of a map.
func SortBy[E any](some []E, key func(E) any) {
	slices.SortStableFunc(some, func(a, b E) int {
		return strings.Compare(fmt.Sprint(key(a)), fmt.Sprint(key(b)))
	})
}
