package wspool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// burst is how long after a cause others of its kind belong to it.
const burst = time.Second

var errDialsBusy = errors.New("wspool: as many dials run as may")

// dialGate is the pool's MakeGate: no more than so many dials run at once, none
// begins while a pause runs, and then Config.MakeGate is asked.
//
// A pause follows from why a connection ended or a dial failed. When a server
// that has hundreds of connections goes, it has one cause, told hundreds of
// times. So causes are counted in terms: each that counts begins a term, and one
// from a dial of an earlier term says nothing new.
type dialGate struct {
	max    int
	redial func(cause error, streak int) time.Duration
	next   resource.Admission // Config.MakeGate; nil: none

	// doubts counts the causes that may be the fault of one lease: a connection
	// that serves a lease after one shows that it was.
	doubts atomic.Uint32

	contained func(error) // reports a panic in redial; nil: none is reported

	mu      sync.Mutex
	running int          // those let in, and those on their way
	line    []chan error // who waits for its turn, the first first; nil: come in

	term   int
	streak int
	mild   bool      // the last cause that counted is in doubts
	kinds  []int     // what the causes since began were; see kindOf
	began  time.Time // when the first of them came
	until  time.Time // no dial before
	cause  error     // why not
}

func newDialGate(cfg *Config) *dialGate {
	return &dialGate{max: cfg.MaxDials, redial: cfg.Redial, next: cfg.MakeGate}
}

// Admit implements [resource.Admission].
func (g *dialGate) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	if err := g.enter(ctx, r); err != nil {
		return nil, err
	}
	admitted := false
	defer func() { // also if the user's gate panics
		if !admitted {
			g.leave()
		}
	}()
	var theirs resource.Done
	if g.next != nil {
		var err error
		if theirs, err = g.next.Admit(ctx, r); err != nil {
			return nil, err
		}
	}
	g.mu.Lock()
	term, paused := g.term, g.paused()
	g.mu.Unlock()
	if paused != nil { // it began while the user's gate took its time
		if theirs != nil {
			theirs(resource.Outcome{})
		}
		return nil, paused
	}
	admitted = true
	return func(o resource.Outcome) {
		defer g.over(term, o)
		if theirs != nil {
			theirs(o)
		}
	}, nil
}

// State implements [resource.Stateful].
func (g *dialGate) State() string {
	g.mu.Lock()
	running, waiting, rest := min(g.running, g.max), len(g.line), time.Until(g.until)
	g.mu.Unlock()
	s := fmt.Sprintf("%d of %d dials run, %d waiting", running, g.max, waiting)
	if rest > 0 {
		s = fmt.Sprintf("paused for %v more; %s", max(time.Millisecond, rest.Round(time.Millisecond)), s)
	}
	return s + inner(g.next)
}

// inner is the state of a policy within another, to be appended.
func inner(policy any) string {
	if s, ok := policy.(resource.Stateful); ok {
		if text := s.State(); text != "" {
			return "; " + text
		}
	}
	return ""
}

// enter waits for a turn, and takes it.
func (g *dialGate) enter(ctx context.Context, r resource.Request) error {
	g.mu.Lock()
	if err := g.paused(); err != nil {
		g.mu.Unlock()
		return err
	}
	if g.running < g.max {
		g.running++
		g.mu.Unlock()
		return nil
	}
	if r.NoWait {
		g.mu.Unlock()
		return &resource.Rejection{Policy: "redial", Err: errDialsBusy}
	}
	turn := make(chan error, 1)
	g.line = append(g.line, turn)
	g.mu.Unlock()
	select {
	case err := <-turn:
		return err
	case <-ctx.Done():
	}
	g.mu.Lock()
	if i := slices.Index(g.line, turn); i >= 0 {
		g.line = slices.Delete(g.line, i, i+1)
		g.mu.Unlock()
		return ctx.Err()
	}
	g.mu.Unlock()
	if <-turn == nil { // it came just then
		g.leave()
	}
	return ctx.Err()
}

// leave passes the turn on.
func (g *dialGate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.line) == 0 {
		g.running--
		return
	}
	g.line[0] <- nil
	g.line = slices.Delete(g.line, 0, 1)
}

// over ends a dial of that term.
func (g *dialGate) over(term int, o resource.Outcome) {
	defer g.leave()
	if o.Verdict == resource.Failed && o.Err != nil {
		g.learn(term, o.Err)
	}
}

// paused is the refusal while a pause runs, else nil. g is locked.
func (g *dialGate) paused() error {
	if g.until.IsZero() {
		return nil
	}
	rest := time.Until(g.until)
	if rest <= 0 {
		g.until, g.cause = time.Time{}, nil
		return nil
	}
	return &resource.Rejection{
		Policy:     "redial",
		RetryAfter: rest,
		Err:        fmt.Errorf("wspool: no dial for now, after: %w", g.cause),
	}
}

// learn is told why a connection ended, or a dial failed, whose dial began in
// that term.
func (g *dialGate) learn(term int, cause error) {
	kind := kindOf(cause)
	g.mu.Lock()
	now := time.Now()
	if now.Sub(g.began) >= burst && !now.Before(g.until) {
		g.kinds = g.kinds[:0]
	}
	// A cause that finds all well begins a streak, however old what it ended.
	news := term == g.term || g.streak == 0 && len(g.kinds) == 0
	if !news && slices.Contains(g.kinds, kind) {
		g.mu.Unlock()
		return
	}
	if news {
		g.term++
		g.streak++
		if g.mild = ofLease(cause); g.mild {
			g.doubts.Add(1)
		}
		g.kinds = g.kinds[:0]
	}
	if len(g.kinds) == 0 {
		g.began = now
	}
	g.kinds = append(g.kinds, kind)
	streak := max(1, g.streak)
	g.mu.Unlock()

	if pause := g.ask(cause, streak); pause > 0 {
		g.hold(now, min(pause, forever), cause)
	}
}

// hold begins a pause, or makes the one that runs longer.
func (g *dialGate) hold(now time.Time, pause time.Duration, cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := now.Add(pause); until.After(g.until) {
		g.until, g.cause = until, cause
	}
	if refusal := g.paused(); refusal != nil {
		for _, turn := range g.line {
			turn <- refusal
		}
		g.line = nil
	}
}

// ask asks Config.Redial, on a goroutine of its own: if it panics, or ends its
// goroutine, then not the one that reads the connection. No lock is held.
func (g *dialGate) ask(cause error, streak int) (pause time.Duration) {
	answer := make(chan time.Duration, 1)
	go func() {
		d, returned := DefaultRedial(cause, streak), false
		defer func() { answer <- d }()
		defer func() {
			v := recover()
			if !returned && g.contained != nil {
				g.contained(panicked("Redial", v))
			}
		}()
		d = g.redial(cause, streak)
		returned = true
	}()
	return <-answer
}

// kindOf tells causes apart as far as one of them may ask for a pause that
// another does not.
func kindOf(cause error) int {
	var de *DialError
	code := closeCode(cause)
	switch {
	case code == 0 && errors.As(cause, &de):
		if de.RetryAfterSet {
			return -de.Status
		}
		return de.Status
	case refusesClient(code) && ofLease(cause):
		return -code
	}
	return code
}

// ofLease reports whether cause is an end that speaks about one lease at most.
func ofLease(cause error) bool {
	var end *EndError
	return errors.As(cause, &end) && (end.Served || end.Asked)
}
