package proof_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/respool/respool/resource"
)

// place is where a thing is in its life.
type place uint8

const (
	living place = iota
	dying
	dead
	away // hijacked
)

// thing is what the pools lend here. World.mu guards it.
type thing struct {
	n           int  // the how-manieth made, from 1
	gen         int  // how many resets had been when its make began
	late        bool // it came after MakeTimeout or its make was given up, or Watch failed: never in the pool
	from        *making
	fails       error // of late ones: what the make fails with when Destroy has returned; nil: it has failed before
	plan        makePlan
	place       place
	holder      *caller
	since       time.Time // made, or given back last
	back        time.Time // given back last; zero: not yet
	invalidated bool
	sick        bool
	used        bool // somebody has had it
	invalidate  func(cause error)
}

// making is one Make that runs.
type making struct {
	n     int
	gen   int
	began time.Time
	plan  makePlan
	ctx   context.Context // that the pool gave it
	cut   time.Time       // when a Reset ended ctx; zero: none did
}

// failure is a make that failed.
type failure struct {
	n   int
	at  time.Time
	err error // what a caller's error must match

	silent bool // canceled by Reset or ended after Close: no caller may be told
	leased int  // how many were leased then
	coming int  // how many other makes ran or waited for a permit
}

// world is everything around the pool: it makes and destroys, knows who holds
// what, and notes every promise it sees broken.
type world struct {
	script script

	mu       sync.Mutex
	max      int
	most     int // the largest max so far
	gen      int // resets so far
	closed   bool
	healed   bool // no more planned trouble
	begun    int
	running  map[*making]bool
	things   []*thing
	callers  []*caller
	failures []failure
	streak   int // failed makes in a row
	worst    int // the most so far: once there was an outage one more failure may be the next
	failed   int
	warming  int // most that Warm asked for
	resets   []time.Time
	asking   func() int // how many makes wait for a permit

	last, lastButOne time.Time     // when makes began, not at the same instant
	missed           time.Time     // when a caller that does not wait last got nothing
	longest          time.Duration // make that succeeded
	shortest         time.Duration // that too
	slow             bool          // a make was slow since the last one that succeeded
	warms            int           // Warms that wait
	wrong            []string
}

func newWorld(s script) *world {
	return &world{script: s, max: s.shape.max, most: s.shape.max, running: map[*making]bool{}}
}

// err notes a broken promise. World.mu is held.
func (w *world) err(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// grace is how long the pool waits for a make whose context has ended.
func (w *world) grace() time.Duration { return min(w.script.shape.makeTimeout/10, time.Second) }

// givenUp reports whether the pool has stopped waiting for m: some time after
// MakeTimeout, or after a Reset that came before it.
func (w *world) givenUp(m *making) bool {
	if !m.cut.IsZero() {
		return time.Since(m.cut) >= w.grace()
	}
	return time.Since(m.began) >= w.script.shape.makeTimeout+w.grace()
}

// patience returns bounds of the time after which a make is not counted on any
// more: that of RFC 6298, from the makes so far.
func (w *world) patience() (least, most time.Duration) {
	if w.longest == 0 {
		return time.Second, 2 * time.Second
	}
	return max(ms(250), 2*w.shortest), max(2*time.Second, 5*w.longest)
}

// overdue is how many makes certainly are not counted on, or with maybe those that
// perhaps are not: at most half of the maximum.
func (w *world) overdue(maybe bool) (n int) {
	least, most := w.patience()
	if !maybe {
		least = most
	}
	for m := range w.running {
		if m.cut.IsZero() && !w.givenUp(m) && time.Since(m.began) >= least {
			n++
		}
	}
	return min(n, w.max/2)
}

// canceled is how many makes a Reset has canceled that have not returned.
func (w *world) canceled() (n int) {
	for m := range w.running {
		if !m.cut.IsZero() && !w.givenUp(m) {
			n++
		}
	}
	for _, v := range w.things {
		if !v.from.cut.IsZero() && v.failing(w) {
			n++
		}
	}
	return n
}

// cutOff notes which makes a Reset has canceled. Others may go on only if callers
// wait and the Reset before was shortly before. World.mu is held.
func (w *world) cutOff(awaited bool) {
	now := time.Now()
	w.resets = append(w.resets, now)
	_, most := w.patience()
	spare := awaited && len(w.resets) > 1 && now.Sub(w.resets[len(w.resets)-2]) < most
	for m := range w.running {
		switch cause := context.Cause(m.ctx); {
		case cause == resource.ErrReset && m.cut.IsZero():
			m.cut = now
		case cause == nil && m.gen < w.gen && !spare && !w.closed:
			w.err("make %d goes on after a Reset", m.n)
		}
	}
	for _, v := range w.things {
		if m := v.from; v.failing(w) && context.Cause(m.ctx) == resource.ErrReset && m.cut.IsZero() {
			m.cut = now
		}
	}
}

// taken counts places as Config.MaxSize does.
func (w *world) taken() int {
	n := 0
	for m := range w.running {
		if !w.givenUp(m) {
			n++
		}
	}
	for _, v := range w.things {
		if !v.late && (v.place == living || v.place == dying) {
			n++
		}
	}
	return n
}

var errMake = errors.New("planned make failure")

// makeError is the failure of one particular make.
type makeError struct{ n int }

func (e makeError) Error() string { return fmt.Sprintf("make %d: %v", e.n, errMake) }

// make is the pool's Make.
func (w *world) make(ctx context.Context) (v *thing, err error) {
	m := w.beginMake(ctx)
	normal := false
	defer func() { // runs on panic and Goexit as well
		w.endMake(m, v, err, normal)
	}()
	after := m.plan.after + time.Duration(m.n*13+1)*time.Microsecond
	switch m.plan.how {
	case "hangs", "tardy":
		after = 24 * time.Hour
	case "ignores":
		time.Sleep(after + 3*w.script.shape.makeTimeout)
		after = 0
	}
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		switch m.plan.how {
		case "ignores":
		case "tardy":
			time.Sleep(w.grace()/2 + time.Duration(m.n*7+1)*time.Microsecond) // in the bubble: late enough to outlive its context
		default:
			normal = true
			return nil, ctx.Err()
		}
	}
	switch m.plan.how {
	case "fails":
		normal = true
		return nil, makeError{m.n}
	case "panics":
		panic(makeError{m.n})
	case "goexits":
		runtime.Goexit()
	}
	normal = true
	return &thing{n: m.n, gen: m.gen, plan: m.plan, from: m}, nil
}

func (w *world) beginMake(ctx context.Context) *making {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &making{n: w.begun + 1, gen: w.gen, began: time.Now(), plan: w.planOf(w.begun), ctx: ctx}
	w.begun++
	if m.began.After(w.last) {
		w.last, w.lastButOne = m.began, w.last
	}
	w.running[m] = true
	if n := w.taken(); n > w.places() {
		w.err("I1: make %d began as number %d of %d", m.n, n, w.max)
	}
	if w.closed {
		w.err("make %d began after Close", m.n)
	}
	w.surplus(m)
	return m
}

// places is how many there are for one that begins: with a gate it took its
// place before it began, and the pool may have been shrunk since.
func (w *world) places() int {
	if w.script.shape.gate || w.script.shape.quota {
		return w.most
	}
	return w.max
}

func (w *world) planOf(n int) makePlan {
	if n < len(w.script.makes) && !w.healed {
		return w.script.makes[n]
	}
	return makePlan{how: "ok", after: ms(7), watch: "quiet", destroy: "ok"}
}

// surplus checks that m is wanted: no more makes than callers wait, beside what
// MinIdle and Warm ask for, and one for callers that did not wait. With a gate the
// decision was earlier than this.
func (w *world) surplus(m *making) {
	if w.script.shape.gate || w.script.shape.quota {
		return
	}
	want := w.script.shape.minIdle + w.warming
	for _, c := range w.callers {
		if c.state == asking || c.answered.Equal(m.began) { // it asked when this was decided
			want++
		}
	}
	fresh, trouble := 0, w.failed > 0 || !w.quiet()
	for r := range w.running {
		trouble = trouble || w.givenUp(r)
		if r.gen == w.gen && !w.givenUp(r) {
			fresh++
		}
	}
	if trouble {
		want++ // the prober of an outage, for callers that have been told
	}
	if !w.missed.IsZero() && !w.missed.Before(w.lastButOne) {
		want++
	}
	if fresh -= w.overdue(true); fresh > want {
		w.err("surplus: make %d is the %dth that runs, and %d are wanted", m.n, fresh, want)
	}
}

// mayCancel checks that the context of m has ended if it had a reason to, and
// only then. World.mu is held.
func (w *world) mayCancel(m *making) {
	age, limit := time.Since(m.began), w.script.shape.makeTimeout
	switch cause := context.Cause(m.ctx); {
	case cause == nil && age >= limit:
		w.err("make %d was not canceled in %v", m.n, age)
	case cause == nil || cause == resource.ErrMakeTimeout && age >= limit || cause == resource.ErrReset && !m.cut.IsZero():
	case cause != resource.ErrClosed || !w.closed:
		w.err("make %d was canceled after %v: %v", m.n, age, cause)
	}
}

func (w *world) endMake(m *making, v *thing, err error, normal bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	took := now.Sub(m.began)
	if context.Cause(m.ctx) == resource.ErrReset && m.cut.IsZero() && m.gen < w.gen {
		m.cut = now // before cutOff could say so
	}
	w.mayCancel(m)
	delete(w.running, m)
	if least, _ := w.patience(); took >= least {
		w.slow = true
	}
	if v != nil {
		timeout := context.Cause(m.ctx) == resource.ErrMakeTimeout
		v.late, v.since = timeout || w.givenUp(m), now
		w.things = append(w.things, v)
		if !v.late {
			return // Watch decides
		}
		if timeout && !w.givenUp(m) {
			v.fails = resource.ErrMakeTimeout
		}
	}
	w.streak++
	w.worst = max(w.worst, w.streak)
	w.failed++
	if v != nil || w.givenUp(m) {
		return // the waiter is told later, or has been told of ErrMakeTimeout
	}
	switch {
	case m.plan.how == "goexits" && !normal:
		err = resource.ErrGoexit
	case m.plan.how == "panics" && !normal:
		err = makeError{m.n}
	case took >= w.script.shape.makeTimeout:
		err = resource.ErrMakeTimeout
	}
	w.fail(m, err)
}

// succeed notes that m has succeeded. World.mu is held.
func (w *world) succeed(m *making) {
	w.streak = 0
	if !m.cut.IsZero() {
		return
	}
	took := time.Since(m.began)
	if w.slow = false; w.longest == 0 || took < w.shortest {
		w.shortest = took
	}
	w.longest = max(w.longest, took)
}

// fail notes that m has failed with err, as the pool sees it now. World.mu is
// held.
func (w *world) fail(m *making, err error) {
	f := failure{n: m.n, at: time.Now(), err: err, silent: w.closed || !m.cut.IsZero(), coming: w.asking()}
	for _, v := range w.things {
		if v.holder != nil {
			f.leased++
		}
		if v.from != m && v.failing(w) {
			f.coming++
		}
	}
	for r := range w.running {
		if r.cut.IsZero() && !w.givenUp(r) {
			f.coming++
		}
	}
	w.failures = append(w.failures, f)
}
