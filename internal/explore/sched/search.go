package sched

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// Scene is a small program to explore. Run sets things up, adds actors with
// [X.Actor], calls [X.Explore], and checks the result. Only during Explore are schedules
// explored: before and after it the goroutines run in one order.
type Scene struct {
	Name  string
	Doc   string // one line
	Bound int    // of the search in go test
	Run   func(x *X)
}

// X is the scheduler as a scene sees it.
type X struct{ e *exec }

// Actor adds a goroutine that runs when Explore is called.
func (x *X) Actor(name string, f func()) {
	n := x.e.start(name, f)
	x.e.seen++
	n.actor, n.slot = true, x.e.seen
	n.op.ready = func() bool { return x.e.begun }
	x.e.actors++
}

// Explore has the actors run, in every order that the search tries, and returns when all have
// ended and every other goroutine is blocked or has ended. The scene fails if they do not end, or if
// only a timer could let them continue.
func (x *X) Explore() { x.explore(false) }

// ExploreInTime is Explore, but time may pass when every goroutine is blocked.
func (x *X) ExploreInTime() { x.explore(true) }

func (x *X) explore(timePass bool) {
	e := live()
	if e == nil {
		return
	}
	e.timePass = timePass
	e.left = e.search.bound
	e.exploring, e.begun = true, true
	e.point(op{kind: WaitForActors, obj: &e.clock, ready: func() bool { return !e.exploring }})
}

// Require fails the scene unless ok.
func (x *X) Require(ok bool, format string, args ...any) {
	if !ok {
		x.Fail(format, args...)
	}
}

// Fail fails the scene.
func (x *X) Fail(format string, args ...any) {
	if e := live(); e != nil {
		e.fail(fmt.Sprintf(format, args...))
	}
}

// Quiet reports whether no goroutine but the caller's exists and no timer is set.
func (x *X) Quiet() (text string, ok bool) {
	e := x.e
	for _, other := range e.gs {
		if other != e.cur && !other.done {
			return fmt.Sprintf("goroutine %d %s has not ended: %s", other.id, other.name, other.op.kind), false
		}
	}
	if n := len(e.timers); n > 0 {
		return fmt.Sprintf("%d timers are set", n), false
	}
	return "", true
}

// Switch is a step before which another goroutine continues, or, if To is negative, at which
// a select statement takes its ready case number -1-To.
type Switch struct{ Step, To int }

// Options are those of a search.
type Options struct {
	Bound    int // how many preemptions at most
	MaxSteps int // of one execution; 0: 20000
	// MaxSchedules ends a search that has not ended by then; 0: never.
	MaxSchedules int
	Bug          int // which planted bug is present; 0: none
	// Plain explores every schedule: also those that reach a state seen before, and those that
	// preempt a goroutine before an operation that no other depends on. It is for tests of the search.
	Plain bool
	// Progress is called about each minute of a search; nil: no report. bound is how many preemptions it
	// allows by now, and schedules how many were explored with these. done is an estimate of the part of the
	// search that is done: as if each goroutine that may begin, and each decision of the first schedule in which
	// it does, had as many schedules as any other.
	Progress func(bound, schedules int, done float64) `json:"-"`
}

// Result is the result of a search.
type Result struct {
	Scene     string
	Bug       int
	Schedules []int // explored, by how many preemptions were allowed; restarts are not counted
	Pruned    []int // of these, ended early because they had reached a state seen before
	States    int   // in which a decision was made, with the last bound
	Complete  bool  // every schedule within the bound was explored
	Failure   string
	Bound     int    // with which the failure was found
	Schedule  string // that fails, for Replay
	Took      time.Duration
}

// search is a search, or one replay.
type search struct {
	bound     int
	maxSteps  int
	path      []decision
	seen      map[uint64]int8 // preemptions left, by state
	conflicts sites           // before which a goroutine may be preempted
	grown     bool
	first     int // decisions of the first schedule in which the goroutine that began now begins
	scratch   []*g
	executed  uint64
	plain     bool

	script map[int]int // which goroutine continues at a step; nil: search
	cases  map[int]int
	trace  bool
}

// decision is a point at which one of n ways was taken.
type decision struct {
	n, at int
	state uint64
}

// sites is a set of places in the source: by file, a set of lines.
type sites [][]bool

func (s sites) has(at int32) bool {
	file, line := at>>16, at&0xffff
	return int(file) < len(s) && int(line) < len(s[file]) && s[file][line]
}

// add reports whether at was not in the set.
func (s *sites) add(at int32) bool {
	if s.has(at) {
		return false
	}
	file, line := int(at>>16), int(at&0xffff)
	for len(*s) <= file {
		*s = append(*s, nil)
	}
	for len((*s)[file]) <= line {
		(*s)[file] = append((*s)[file], false)
	}
	(*s)[file][line] = true
	return true
}

// conflict notes that operations of several goroutines meet at a site.
func (s *search) conflict(at int32) {
	if s.conflicts.add(at) {
		s.grown = true
	}
}

// ended is what choose returns when it has ended the execution. Only a goroutine that has ended itself
// sees it: any other is unwound.
const ended = -1

// choose decides between n ways. me is the goroutine that could continue; nil: there is none.
func (e *exec) choose(n int, me *g) int {
	s := e.search
	if s.script != nil {
		return 0
	}
	state := mix(e.sum, uint64(n))
	if me != nil {
		state = mix(state, me.hash)
	}
	if kind := e.cur.op.kind; kind == Yield && !e.cur.done || e.choosing {
		state = mix(mix(state, e.cur.hash), uint64(kind))
	}
	if e.depth < len(s.path) {
		d := &s.path[e.depth]
		if d.n != n || d.state != state {
			e.fail(fmt.Sprintf("the program is not deterministic: decision %d, at step %d, has %d ways or another state; it had %d", e.depth, e.steps, n, d.n))
			return ended
		}
		e.depth++
		return d.at
	}
	key := state
	for _, other := range e.gs {
		if other.asleep {
			key += mix(other.hash, 8)
		}
	}
	if !s.plain && (s.was(key, e.left) || key != state && s.was(state, e.left)) {
		e.pruned = true
		e.end()
		return ended
	}
	s.seen[key] = int8(e.left)
	s.path = append(s.path, decision{n, 0, state})
	e.depth++
	return 0
}

// was reports whether a state was reached with as many preemptions left.
func (s *search) was(key uint64, left int) bool {
	n, ok := s.seen[key]
	return ok && int(n) >= left
}

// next prepares the next execution. It reports false if there is none.
func (s *search) next() bool {
	for len(s.path) > 0 {
		d := &s.path[len(s.path)-1]
		if d.at++; d.at < d.n {
			return true
		}
		s.path = s.path[:len(s.path)-1]
	}
	return false
}

// deviates returns the first decision after that for the goroutine that begins of which another way than the
// first is taken; -1: none is.
func (s *search) deviates() int {
	for i := 1; i < len(s.path); i++ {
		if s.path[i].at > 0 {
			return i
		}
	}
	return -1
}

// done estimates which part of the search is done.
func (s *search) done() float64 {
	if len(s.path) == 0 {
		return 0
	}
	part := 0.0
	if i := s.deviates(); i > 0 && i < s.first {
		part = 1 - float64(i)/float64(s.first)
	}
	return (float64(s.path[0].at) + part) / float64(s.path[0].n)
}

// once runs the scene once.
func (s *search) once(scene Scene) *exec {
	s.executed++
	e := &exec{
		search: s, number: executions.next(), over: make(chan struct{}, 1), reaped: make(chan struct{}, 1),
		channels: make(map[unsafe.Pointer]*channel), raw: make(map[unsafe.Pointer]*Obj),
	}
	e.x.e = e
	e.run(scene.Run)
	return e
}

// executions numbers the executions of the process.
var executions counter

type counter uint64

func (c *counter) next() uint64 { *c++; return uint64(*c) }

// Explore explores the schedules of a scene: first those without a preemption, then those with at
// most one, and so on. So the first failure that it finds has as few preemptions as possible.
func Explore(scene Scene, o Options) (r Result) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // a hand-over between processors takes long
	began := time.Now()
	defer func() { r.Took = time.Since(began) }()
	Bug = o.Bug
	defer func() { Bug = 0 }()
	r.Scene, r.Bug = scene.Name, o.Bug
	s := &search{maxSteps: o.MaxSteps}
	if s.maxSteps == 0 {
		s.maxSteps = 20000
	}
	s.plain = o.Plain
	total, reported := 0, began
	for bound := range o.Bound + 1 {
		s.bound, r.Bound = bound, bound
		n, pruned := 0, 0
		s.path, s.seen, s.grown = s.path[:0], make(map[uint64]int8), false
		for {
			e := s.once(scene)
			n++
			if s.deviates() < 0 {
				s.first = len(s.path)
			}
			total++
			if o.Progress != nil && total%1024 == 0 && time.Since(reported) >= time.Minute {
				reported = time.Now()
				o.Progress(bound, n, s.done())
			}
			if e.pruned {
				pruned++
			}
			if e.failure != "" {
				r.Schedules, r.Pruned = append(r.Schedules, n), append(r.Pruned, pruned)
				r.Failure, r.Schedule = e.failure, format(e.switches)
				return r
			}
			if s.grown && bound > 0 { // goroutines must be preempted at more sites: begin anew
				s.path, s.seen, s.grown = s.path[:0], make(map[uint64]int8), false
				n, pruned = 0, 0
			} else if !s.next() {
				break
			}
			if o.MaxSchedules > 0 && total >= o.MaxSchedules {
				r.Schedules, r.Pruned = append(r.Schedules, n), append(r.Pruned, pruned)
				r.States = len(s.seen)
				return r
			}
		}
		r.Schedules, r.Pruned = append(r.Schedules, n), append(r.Pruned, pruned)
		r.States = len(s.seen)
	}
	r.Complete = true
	return r
}

// format writes a schedule: "12>3" says that goroutine 3 continues at step 12, "15=1" that the
// select statement of step 15 takes its second ready case.
func format(some []Switch) string {
	var b strings.Builder
	for i, s := range some {
		if i > 0 {
			b.WriteByte(' ')
		}
		if s.To < 0 {
			fmt.Fprintf(&b, "%d=%d", s.Step, -1-s.To)
		} else {
			fmt.Fprintf(&b, "%d>%d", s.Step, s.To)
		}
	}
	return b.String()
}

// parse reads a schedule.
func parse(schedule string) (script, cases map[int]int, err error) {
	script, cases = make(map[int]int), make(map[int]int)
	for _, word := range strings.Fields(schedule) {
		to, m := script, ">"
		if strings.Contains(word, "=") {
			to, m = cases, "="
		}
		a, b, _ := strings.Cut(word, m)
		step, err1 := strconv.Atoi(a)
		n, err2 := strconv.Atoi(b)
		if err := errors.Join(err1, err2); err != nil {
			return nil, nil, fmt.Errorf("explore: invalid schedule: %q: %w", word, err)
		}
		to[step] = n
	}
	return script, cases, nil
}

// Replay runs a scene in a schedule that a search has returned. It returns the failure, "" if there
// is none, and the steps.
func Replay(scene Scene, schedule string, bug int) (failure string, steps []Step, err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	script, cases, err := parse(schedule)
	if err != nil {
		return "", nil, err
	}
	Bug = bug
	defer func() { Bug = 0 }()
	s := &search{script: script, cases: cases, trace: true, maxSteps: 20000}
	e := s.once(scene)
	return e.failure, e.trace, nil
}
