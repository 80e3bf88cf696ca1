package wspool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/internal/random"
	"github.com/respool/respool/resource"
)

// The pauses of DefaultRedial. Each ramp grows from its first pause to its last, with each
// cause of the streak.
const (
	restartPause = time.Second // uniform, from 0

	firstUnavailable = 200 * time.Millisecond // after a 503
	firstBusy        = time.Second            // after a 429 or 1013
	maxBusy          = time.Minute            // the limit of both

	firstLogin = 350 * time.Millisecond // after the second refusal in a row of the client
	maxLogin   = 10 * time.Minute

	firstLost = 100 * time.Millisecond // after a lost connection
	maxLost   = 30 * time.Second

	// maxAsked is the longest pause after an end that may be the answer to what one lease
	// wrote ([EndError].Asked).
	maxAsked = 5 * time.Second

	gentle = 1.5 // growth of pauses after conditions that often end within seconds
	steep  = 2   // growth of the others
)

// DefaultRedial is the default of [Config.Redial]. It decides by what the server said: the
// close code of a connection that ended, or the HTTP status of a failed dial. A growing
// pause is drawn each time from two thirds to all of the time stated, so that the clients
// of a server do not return together.
//
//   - An answer of any status with a Retry-After ([DialError.RetryAfterSet]): that time,
//     [Config.MaxRetryAfter] at most, and up to a tenth more. Retry-After: 0 is no pause.
//   - 503: 200 ms, growing by half up to a minute, which takes 16 in a row. A proxy answers
//     so while its server restarts.
//   - 429, and close code 1013: 1 s, doubling up to a minute. The client itself is asked to
//     come less often; most limits count by the second or the minute.
//   - 401, 403, 407, and close codes 1008, 3000, 4401 and 4403: the server does not accept
//     the client. First 0, because [Config.Prepare] may have better credentials by now; if
//     the streak continues, 350 ms, growing by half up to 10 minutes. The close codes count
//     so only if the connection had served no lease and the lease that had it, if any, had
//     written nothing: otherwise they answer what that lease wrote (see [EndError]), and
//     count as any other end.
//   - 1001 and 1012, the server restarts: from 0 to 1 s.
//   - 1006, 1011 and 1014, and a connection that the network or silence ended: from 0 to
//     100 ms, doubling up to 30 s.
//   - Any other end of a connection: 0, because it may have served its purpose; if the
//     streak continues, as for 1006.
//   - Any other failed dial: 0. The pool itself backs off from dials that keep failing.
//
// After an end within a lease that had written, no pause by the rule for 1006 or a later
// one is longer than 5 s: one caller's messages must not stop the others.
func DefaultRedial(cause error, streak int) time.Duration {
	var dial *DialError
	dialed := foreign.As(cause, &dial)
	if dialed {
		if dial.RetryAfterSet {
			d := min(max(dial.RetryAfter, 0), forever)
			return d + random.N(d/10+1)
		}
		switch dial.Status {
		case http.StatusServiceUnavailable:
			return spread(grown(firstUnavailable, gentle, streak, maxBusy))
		case http.StatusTooManyRequests:
			return spread(grown(firstBusy, steep, streak, maxBusy))
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
			return loginAgain(streak)
		}
	}
	var end *EndError
	answered := false // the end may be the answer to what a lease wrote
	served := false
	if foreign.As(cause, &end) {
		answered, served = end.Asked, end.Served
	}
	code := closeCode(cause)
	switch code {
	case websocket.CloseGoingAway, websocket.CloseServiceRestart:
		return random.N(restartPause)
	case websocket.CloseTryAgainLater:
		return spread(grown(firstBusy, steep, streak, maxBusy))
	}
	if refusesClient(code) && !served && !answered {
		return loginAgain(streak)
	}
	most := maxLost
	if answered {
		most = maxAsked
	}
	switch {
	case dialed:
		return 0
	case lost(cause, code):
		return random.N(grown(firstLost, steep, streak, most))
	case streak > 1:
		// A server that agrees to every handshake and ends every connection looks healthy to
		// the pool, whose callers return at once.
		return random.N(grown(firstLost, steep, streak-1, most))
	}
	return 0
}

// refusesClient reports whether a server may use that close code when it does not accept
// the client: policy violation, the IANA registry's Unauthorized, and the HTTP statuses 401
// and 403 as many services write them.
func refusesClient(code int) bool {
	switch code {
	case websocket.ClosePolicyViolation, 3000, 4401, 4403:
		return true
	}
	return false
}

// loginAgain returns the pause after the server did not accept the client.
func loginAgain(streak int) time.Duration {
	if streak <= 1 {
		return 0
	}
	return spread(grown(firstLogin, gentle, streak-1, maxLogin))
}

// spread draws from two thirds of d to all of it.
func spread(d time.Duration) time.Duration { return d - random.N(d/3+1) }

// grown returns first for a streak of 1, and factor times more with each, up to most.
func grown(first time.Duration, factor float64, streak int, most time.Duration) time.Duration {
	d := float64(first) * math.Pow(factor, float64(max(streak, 1)-1))
	if d >= float64(most) {
		return most
	}
	return time.Duration(d)
}

// closeCode returns the close code in cause; 0: there is none.
func closeCode(cause error) int {
	var ce *CloseError
	if foreign.As(cause, &ce) {
		return ce.Code
	}
	return 0
}

// lost reports whether an established connection ended without a close code that says what
// to do.
func lost(cause error, code int) bool {
	switch code {
	case websocket.CloseAbnormalClosure, websocket.CloseInternalServerErr, 1014:
		return true
	case 0:
		var ne net.Error
		return foreign.Is(cause, ErrSilent) || foreign.As(cause, &ne) || foreign.Is(cause, io.EOF) || foreign.Is(cause, io.ErrUnexpectedEOF)
	}
	return false
}

// burst is how long after a cause further ones of its kind are not counted again.
const burst = time.Second

var errDialsBusy = errors.New("wspool: Config.MaxDials dials are running")

// dialGate is the pool's MakeGate: at most MaxDials dials run at once, none begins during a
// pause, and then Config.MakeGate decides.
//
// A pause follows from the reason why a connection ended or a dial failed. When a server
// with hundreds of connections goes away, one cause is reported hundreds of times. So
// causes are counted in terms: each cause that counts begins a term, and the end of a
// connection whose dial began in an earlier term does not count.
type dialGate struct {
	max    int
	redial func(cause error, streak int) time.Duration
	next   resource.Admission // Config.MakeGate; nil: none

	// doubts counts the causes that may be the fault of one lease. If any connection serves
	// a lease after such a cause, the cause was the fault of one lease.
	doubts atomic.Uint32

	contained func(error) // reports a panic of redial; nil: none is reported

	lifts *atomic.Int64 // calls of ResetNow so far, of all pools that share the counter; nil: none is counted

	mu      sync.Mutex
	lifted  int64        // lifts when the pause and the streak were last looked at
	running int          // dials admitted, and waiters that were just given a turn
	line    []chan error // waiters for a turn, in order; nil is sent to admit one

	term        int
	streak      int
	blamesLease bool      // the last cause that counted may be the fault of one lease
	kinds       []int     // the kinds of the causes since began; see kindOf
	began       time.Time // when the first of these causes was reported
	until       time.Time // end of the pause: no dial begins before
	cause       error     // the cause of the pause
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
	term, paused := g.term, g.pausedLocked()
	g.mu.Unlock()
	if paused != nil { // the pause began while the user's gate decided
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
	g.liftLocked()
	running, waiting, rest := min(g.running, g.max), len(g.line), time.Until(g.until)
	g.mu.Unlock()
	s := fmt.Sprintf("%d of %d dials run, %d waiting", running, g.max, waiting)
	if rest > 0 {
		s = fmt.Sprintf("paused for %v more; %s", max(time.Millisecond, rest.Round(time.Millisecond)), s)
	}
	return s + inner(g.next)
}

// inner returns the state of a policy within another, to be appended.
func inner(policy any) string {
	if s, ok := policy.(resource.Stateful); ok {
		if text := s.State(); text != "" {
			return "; " + text
		}
	}
	return ""
}

// enter acquires a turn, and waits for it.
func (g *dialGate) enter(ctx context.Context, r resource.Request) error {
	g.mu.Lock()
	if err := g.pausedLocked(); err != nil {
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
	if <-turn == nil { // the turn was given when ctx ended
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

// liftLocked ends the pause and the streak if they are from before the last
// [Pool.ResetNow].
func (g *dialGate) liftLocked() {
	if g.lifts == nil {
		return
	}
	if n := g.lifts.Load(); n != g.lifted {
		g.lifted = n
		g.until, g.cause, g.streak, g.kinds = time.Time{}, nil, 0, nil
	}
}

// pausedLocked returns the refusal during a pause, else nil.
func (g *dialGate) pausedLocked() error {
	g.liftLocked()
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

// learn records why a connection ended, or a dial failed, whose dial began in that term.
func (g *dialGate) learn(term int, cause error) {
	kind := kindOf(cause)
	g.mu.Lock()
	g.liftLocked()
	now := time.Now()
	if now.Sub(g.began) >= burst && !now.Before(g.until) {
		g.kinds = g.kinds[:0]
	}
	// A cause that ends a time without causes begins a streak, however old the connection.
	news := term == g.term || g.streak == 0 && len(g.kinds) == 0
	if !news && slices.Contains(g.kinds, kind) {
		g.mu.Unlock()
		return
	}
	if news {
		g.term++
		g.streak++
		if g.blamesLease = ofLease(cause); g.blamesLease {
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

// hold begins a pause, or extends the present one.
func (g *dialGate) hold(now time.Time, pause time.Duration, cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := now.Add(pause); until.After(g.until) {
		g.until, g.cause = until, cause
	}
	if refusal := g.pausedLocked(); refusal != nil {
		for _, turn := range g.line {
			turn <- refusal
		}
		g.line = nil
	}
}

// ask calls Config.Redial on a goroutine of its own: its panic or Goexit must not end the
// goroutine that reads the connection. No lock is held.
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

// kindOf distinguishes causes that may call for different pauses.
func kindOf(cause error) int {
	var de *DialError
	code := closeCode(cause)
	switch {
	case code == 0 && foreign.As(cause, &de):
		if de.RetryAfterSet {
			return -de.Status
		}
		return de.Status
	case refusesClient(code) && ofLease(cause):
		return -code
	}
	return code
}

// ofLease reports whether cause is an end that is evidence about one lease at most.
func ofLease(cause error) bool {
	var end *EndError
	return foreign.As(cause, &end) && (end.Served || end.Asked)
}

// provenAfter is how long a connection must stay up to show that the cause that ended
// others before it is over.
const provenAfter = 5 * time.Second

// dialTicket is a connection's record at the gate.
type dialTicket struct {
	gate *dialGate
	term int // the gate's, when its dial began

	// Guarded by the lock of the connection.
	proved bool   // it has served a lease
	doubts uint32 // gate.doubts at that time

	// Guarded by gate.mu.
	isUp  bool
	cause *EndError   // of an end before the dial had succeeded; nil: there was none
	proof *time.Timer // fires when the connection has stayed up; nil: there is nothing to prove
}

// newDialTicket returns the ticket of a dial that begins now.
func newDialTicket(g *dialGate) *dialTicket {
	g.mu.Lock()
	defer g.mu.Unlock()
	return &dialTicket{gate: g, term: g.term}
}

// up reports, once, that the dial has succeeded.
func (t *dialTicket) up() {
	g := t.gate
	g.mu.Lock()
	t.isUp = true
	if t.cause == nil && g.streak > 0 {
		t.proof = time.AfterFunc(provenAfter, t.stayed)
	}
	g.mu.Unlock()
	if t.cause != nil {
		g.learn(t.term, t.cause)
	}
}

// servedLease notes that the connection has served a lease. It calls served the first time,
// and again once after each cause that the gate's doubts count. The connection's lock is held.
func (t *dialTicket) servedLease() {
	if doubts := t.gate.doubts.Load(); !t.proved || t.doubts != doubts {
		t.proved, t.doubts = true, doubts
		t.served()
	}
}

// served reports that the connection has served a lease: the cause that ended those before
// it is over. A connection from before the last cause shows that only if the cause may be
// the fault of one lease.
func (t *dialTicket) served() {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	if t.term == t.gate.term || t.gate.blamesLease {
		t.gate.streak = 0
	}
}

// stayed reports that the connection has stayed up for provenAfter: the cause that ended
// those before it is over, unless the connection is from before the last cause.
func (t *dialTicket) stayed() {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	if t.term == t.gate.term {
		t.gate.streak = 0
	}
}

// ended reports why the connection ended; nil: the pool ended it, or it was hijacked. It is
// called before the end is reported to the pool, which may dial then, and for every connection,
// so that no timer is left. A dial that fails is reported by its Done.
func (t *dialTicket) ended(cause *EndError) {
	g := t.gate
	g.mu.Lock()
	if !t.isUp {
		t.cause = cause
		g.mu.Unlock()
		return
	}
	if t.proof != nil {
		t.proof.Stop()
	}
	g.mu.Unlock()
	if cause != nil {
		g.learn(t.term, cause)
	}
}
