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
	n      int  // the how-manieth made, from 1
	gen    int  // how many resets had been when its make began
	late   bool // it came after its make was given up, or Watch failed: never in the pool
	plan   makePlan
	place  place
	holder *caller
	since  time.Time // made, or given back last
	back   time.Time // given back last; zero: not yet
	doomed bool
	sick   bool
	used   bool // somebody has had it
	doom   func(cause error)
}

// making is one Make that runs.
type making struct {
	n     int
	gen   int
	began time.Time
	plan  makePlan
}

// failure is a make that failed.
type failure struct {
	n   int
	at  time.Time
	err error // what a caller's error must match
	old bool  // begun before a Reset or ended after Close: nobody need be told
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
	warms    int // Warms that wait
	wrong    []string
}

func newWorld(s script) *world {
	return &world{script: s, max: s.shape.max, most: s.shape.max, running: map[*making]bool{}}
}

// err notes a broken promise. World.mu is held.
func (w *world) err(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// givenUp reports whether the pool has stopped waiting for m: a tenth of
// MakeTimeout, at most a second, after it.
func (w *world) givenUp(m *making) bool {
	limit := w.script.shape.makeTimeout
	return time.Since(m.began) >= limit+min(limit/10, time.Second)
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
	m := w.beginMake()
	normal := false
	defer func() { // runs on panic and Goexit as well
		w.endMake(m, v, err, normal)
	}()
	after := m.plan.after + time.Duration(m.n*13+1)*time.Microsecond
	switch m.plan.how {
	case "hangs":
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
		if m.plan.how != "ignores" {
			w.mayCancel(m)
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
	return &thing{n: m.n, gen: m.gen, plan: m.plan}, nil
}

func (w *world) beginMake() *making {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &making{n: w.begun + 1, gen: w.gen, began: time.Now(), plan: w.planOf(w.begun)}
	w.begun++
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
// MinIdle and Warm ask for. With a gate the decision was earlier than this.
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
	if fresh > want {
		w.err("surplus: make %d is the %dth that runs, and %d are wanted", m.n, fresh, want)
	}
}

// mayCancel checks that the context of m had a reason to end.
func (w *world) mayCancel(m *making) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && w.gen == m.gen && time.Since(m.began) < w.script.shape.makeTimeout {
		w.err("make %d was cancelled after %v: neither Close nor MakeTimeout", m.n, time.Since(m.began))
	}
}

func (w *world) endMake(m *making, v *thing, err error, normal bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	delete(w.running, m)
	if v != nil {
		v.late, v.since = w.givenUp(m), now
		w.things = append(w.things, v)
		if !v.late {
			w.streak = 0
			return
		}
	}
	w.streak++
	w.worst = max(w.worst, w.streak)
	w.failed++
	if w.givenUp(m) {
		return // whoever waited has been told of ErrMakeTimeout
	}
	f := failure{n: m.n, at: now, err: err}
	switch {
	case m.plan.how == "goexits" && !normal:
		f.err = resource.ErrGoexit
	case m.plan.how == "panics" && !normal:
		f.err = makeError{m.n}
	case now.Sub(m.began) >= w.script.shape.makeTimeout:
		f.err = resource.ErrMakeTimeout
	}
	f.old = w.closed || m.gen != w.gen
	w.failures = append(w.failures, f)
}
