package sched

import "slices"

// Timer is a timer in virtual time. The zero Timer is not set.
type Timer struct {
	F    func() // called when it fires, by no goroutine: it must not block
	obj  Obj
	when int64
	seq  int64
	set  bool
}

// Set sets t to fire after ns. It reports whether t was set.
func (t *Timer) Set(ns int64) bool {
	Before(&t.obj, SetTimer)
	was := t.set
	if e := live(); e != nil {
		t.remove(e)
		e.timerSeqs++
		t.when, t.seq, t.set = e.now+max(ns, 0), e.timerSeqs, true
		e.timers = append(e.timers, t)
	}
	Write(&t.obj)
	return was
}

// Stop ends that t is set. It reports whether it was.
func (t *Timer) Stop() bool {
	Before(&t.obj, StopTimer)
	was := t.set
	if current != nil {
		t.remove(current)
	}
	Write(&t.obj)
	return was
}

func (t *Timer) remove(e *exec) {
	if t.set {
		t.set = false
		e.timers = slices.DeleteFunc(e.timers, func(other *Timer) bool { return other == t })
	}
}

// Nanos returns the virtual time.
func Nanos() int64 {
	e := current
	if e == nil {
		return 0
	}
	if !e.killing {
		e.point(op{kind: Now, obj: &e.clock})
		touch(&e.clock, false)
	}
	return e.now
}

// advance has time pass until the next timer fires. It reports false if none is set.
func (e *exec) advance() bool {
	if len(e.timers) == 0 {
		return false
	}
	next := e.timers[0]
	for _, t := range e.timers {
		if t.when < next.when || t.when == next.when && t.seq < next.seq {
			next = t
		}
	}
	// Everything that has happened is before what follows.
	e.fire(next, mix(e.sum, 7))
	return true
}

// fire fires t. What it starts continues from hash.
func (e *exec) fire(t *Timer, hash uint64) {
	e.now = max(e.now, t.when)
	t.remove(e)
	me, at := e.cur, At
	// The goroutines that it starts are children of the clock, which is no goroutine.
	e.cur = &g{id: -1, name: "timer", hash: mix(hash, uint64(t.when))}
	e.sum += mix(e.cur.hash, 3)
	if e.exploring {
		e.touch(e.cur, &t.obj, true)
		e.touch(e.cur, &e.clock, true)
	}
	t.F()
	e.cur, At = me, at
}

// Advance has ns pass at once, as a step of the goroutine that runs. Every timer that is due fires.
func (x *X) Advance(ns int64) {
	e := live()
	if e == nil {
		return
	}
	e.point(op{kind: Advance, obj: &e.clock})
	to := e.now + ns
	touch(&e.clock, true)
	for {
		var next *Timer
		for _, t := range e.timers {
			if t.when <= to && (next == nil || t.when < next.when || t.when == next.when && t.seq < next.seq) {
				next = t
			}
		}
		if next == nil {
			break
		}
		e.fire(next, e.cur.hash)
		touch(&next.obj, true)
	}
	e.now = to
}

// Clock returns the virtual time as part of the step that runs.
func Clock() int64 {
	if current == nil {
		return 0
	}
	return current.now
}
