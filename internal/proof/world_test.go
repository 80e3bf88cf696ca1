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

// stage is a stage of the life of a thing.
type stage uint8

const (
	living stage = iota
	dying
	dead
	away // hijacked
)

// thing is the resource of the model test. Guarded by world.mu.
type thing struct {
	n           int  // ordinal, starting at 1
	gen         int  // number of resets before its make began
	late        bool // returned after MakeTimeout or after the pool gave up, or Watch failed: never in the pool
	from        *making
	fails       error // of a late one: the error of the make when Destroy has returned; nil: it failed earlier
	plan        makePlan
	stage       stage
	holder      *caller
	since       time.Time // when it was made or last returned
	back        time.Time // when it was last returned; zero: never
	invalidated bool
	sick        bool
	used        bool // it has been leased
	invalidate  func(cause error)
}

// making is a running Make.
type making struct {
	n     int
	gen   int
	began time.Time
	plan  makePlan
	ctx   context.Context // passed by the pool
	cut   time.Time       // when a Reset ended ctx; zero: not
}

// failure is a failed make.
type failure struct {
	n   int
	at  time.Time
	err error // must match the error of a caller

	silent bool // canceled by Reset or ended after Close: no caller may get it
	leased int  // number of leases then
	coming int  // number of other makes that ran or waited for a permit, or began in that instant
}

// world is the environment of the pool: it makes and destroys, knows the holders, and
// records every violation.
type world struct {
	script script

	mu       sync.Mutex
	max      int
	most     int // the largest max so far
	gen      int // resets so far
	closed   bool
	healed   bool // no more planned failures
	begun    int
	running  map[*making]bool
	things   []*thing
	callers  []*caller
	failures []failure
	streak   int // failed makes in a row
	worst    int // the longest streak: after an outage a single failure may begin the next one
	failed   int
	warming  int // largest argument of Warm
	resets   []time.Time
	asking   func() int // number of makes that wait for a permit

	last, lastButOne time.Time     // the last two different times at which makes began
	missed           time.Time     // when a caller with NoWait last failed
	longest          time.Duration // successful make
	shortest         time.Duration // successful make
	slow             bool          // a make was slow since the last one that succeeded
	warms            int           // waiting Warms
	wrong            []string
}

func newWorld(s script) *world {
	return &world{script: s, max: s.shape.max, most: s.shape.max, running: map[*making]bool{}}
}

// err records a violation. world.mu is held.
func (w *world) err(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// grace is how long the pool waits for a make whose context has ended.
func (w *world) grace() time.Duration { return min(w.script.shape.makeTimeout/10, time.Second) }

// givenUp reports whether the pool has stopped waiting for m: some time after MakeTimeout,
// or after an earlier Reset.
func (w *world) givenUp(m *making) bool {
	if !m.cut.IsZero() {
		return time.Since(m.cut) >= w.grace()
	}
	return time.Since(m.began) >= w.script.shape.makeTimeout+w.grace()
}

// patience returns bounds of the time after which the pool no longer relies on a make: the
// timeout of RFC 6298 over the makes so far.
func (w *world) patience() (least, most time.Duration) {
	if w.longest == 0 {
		return time.Second, 2 * time.Second
	}
	return max(ms(250), 2*w.shortest), max(2*time.Second, 5*w.longest)
}

// overdue returns the number of makes on which the pool no longer relies; with maybe, those
// that it may not rely on. At most half of the maximum.
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

// canceled returns the number of running makes that a Reset has canceled.
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

// cutOff records which makes a Reset has canceled. Others may continue only if callers wait
// and the previous Reset was shortly before. world.mu is held.
func (w *world) cutOff(awaited bool) {
	now := time.Now()
	w.resets = append(w.resets, now)
	least, most := w.patience()
	spare := awaited && len(w.resets) > 1 && now.Sub(w.resets[len(w.resets)-2]) < most
	for m := range w.running {
		switch cause := context.Cause(m.ctx); {
		case cause == resource.ErrReset && m.cut.IsZero():
			m.cut = now
			w.slow = w.slow || now.Sub(m.began) >= least
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

// slotsTaken counts slots as Config.MaxSize does.
func (w *world) slotsTaken() int {
	n := 0
	for m := range w.running {
		if !w.givenUp(m) {
			n++
		}
	}
	for _, v := range w.things {
		if !v.late && (v.stage == living || v.stage == dying) {
			n++
		}
	}
	return n
}

// odd is added to every duration of the world: of Make, Destroy, policies and work. Steps
// and the deadlines of callers are at whole microseconds, so no creation ends at the instant
// of a deadline. If one did, either could come first: a resource granted to a caller whose
// context ends before it returns counts in Acquired, and goes to the next caller.
const odd = time.Nanosecond

var errMake = errors.New("planned make failure")

// makeError is the error of one particular make.
type makeError struct{ n int }

func (e makeError) Error() string { return fmt.Sprintf("make %d: %v", e.n, errMake) }

// make is Config.Make.
func (w *world) make(ctx context.Context) (v *thing, err error) {
	m := w.beginMake(ctx)
	normal := false
	defer func() { // runs on panic and Goexit as well
		w.endMake(m, v, err, normal)
	}()
	after := m.plan.after + time.Duration(m.n*13+1)*time.Microsecond + odd
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
			time.Sleep(w.grace()/2 + time.Duration(m.n*7+1)*time.Microsecond + odd) // in the bubble: late enough to outlive its context
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
	w.cameNow()
	if n := w.slotsTaken(); n > w.slotsAllowed() {
		w.err("I1: make %d began as number %d of %d", m.n, n, w.max)
	}
	if w.closed {
		w.err("make %d began after Close", m.n)
	}
	w.surplus(m)
	return m
}

// asks records that a creation asks a gate or quota.
func (w *world) asks() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cameNow()
}

// cameNow counts a creation that asks or calls Make now as coming for each failure of this
// instant: the pool may have begun it before the failure, and it runs on another goroutine.
// world.mu is held.
func (w *world) cameNow() {
	now := time.Now()
	for i := len(w.failures) - 1; i >= 0 && w.failures[i].at.Equal(now); i-- {
		w.failures[i].coming++
	}
}

// slotsAllowed returns the number of slots for a make that begins: with a gate it took its
// slot before, and the maximum may have been lowered since.
func (w *world) slotsAllowed() int {
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

// surplus checks that m is wanted: at most one make per waiting caller, plus those for
// MinIdle and Warm, and one for callers with NoWait. With a gate the decision was
// made earlier.
func (w *world) surplus(m *making) {
	if w.script.shape.gate || w.script.shape.quota {
		return
	}
	want := w.script.shape.minIdle + w.warming
	for _, c := range w.callers {
		if c.state == asking || c.answered.Equal(m.began) { // it was waiting when this was decided
			want++
		}
	}
	fresh, trouble := 0, w.failed > 0 || !w.noneUnfit()
	for r := range w.running {
		trouble = trouble || w.givenUp(r)
		if r.gen == w.gen && !w.givenUp(r) {
			fresh++
		}
	}
	if trouble {
		want++ // the probe of an outage, for callers that have failed
	}
	if !w.missed.IsZero() && !w.missed.Before(w.lastButOne) {
		want++
	}
	if fresh -= w.overdue(true); fresh > want {
		w.err("surplus: make %d is the %dth that runs, and %d are wanted", m.n, fresh, want)
	}
}

// mayCancel checks that the context of m has ended if and only if there is a reason.
// world.mu is held.
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
		m.cut = now // cutOff has not run yet
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
		return // the waiter gets the error later, or got ErrMakeTimeout
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

// succeed records that m has succeeded. One that a Reset has canceled says nothing.
// world.mu is held.
func (w *world) succeed(m *making) {
	if !m.cut.IsZero() {
		return
	}
	w.streak = 0
	took := time.Since(m.began)
	if w.slow = false; w.longest == 0 || took < w.shortest {
		w.shortest = took
	}
	w.longest = max(w.longest, took)
}

// fail records that m has failed with err, as seen by the pool. world.mu is held.
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
