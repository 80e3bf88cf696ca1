package servers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

const (
	workers = 16 // callers
	rounds  = 60 // questions of each caller before the fault, and again after it
)

// sizes are the sizes of the pools. In the small one callers wait for connections; in the
// others connections are idle when the server ends.
var sizes = map[fault]int{stop: 8, drain: 24, kill: 20}

// Phases of a load. A caller reads the phase before it acquires a connection.
const (
	healthy int32 = iota
	failing       // the server is about to end
	dead          // its process has ended, and with it every connection
	back          // it listens again
	well          // a caller that acquired in phase back was served
)

// errCrossed means that a reply was to another question.
var errCrossed = errors.New("not the reply to this question")

// load is a group of callers that ask questions through one pool without a pause. No reply
// may be crossed and no call may hang. A question may fail only
//
//   - if its lease may have run while the server ended; not if the caller began to acquire
//     when the server had ended, since the pool must know by then;
//   - if its caller got no connection because a dial failed that began while the server was
//     down, or because the new connection was closed at once.
type load struct {
	t          testing.TB
	pool       *wspool.Pool
	ask        func(ctx context.Context, c *wspool.Conn, id int64) error
	callers    int
	rounds     int
	anyFailure bool // from phase failing on any question may fail, with an error other than the caller's deadline

	phase   atomic.Int32
	ids     atomic.Int64
	warm    sync.WaitGroup // callers with fewer than rounds replies
	all     sync.WaitGroup // callers with fewer than rounds replies after the fault
	quit    chan struct{}  // closed when the test fails
	refused chan struct{}  // closed when a caller first gets the error of a dial
	once    sync.Once
	lost    atomic.Int64 // leases that failed by the fault
	noConn  atomic.Int64 // acquires that failed

	mu     sync.Mutex
	causes map[string]int // number of destroyed connections by cause
	status map[int]int    // refused dials by HTTP status
}

// dialed is the error of a TCP dial, and when it began.
type dialed struct {
	error
	phase int32
}

func (d dialed) Unwrap() error { return d.error }

// begin creates the pool and starts the callers.
func (l *load) begin(t testing.TB, cfg wspool.Config) *load {
	t.Helper()
	l.t, l.quit, l.refused, l.causes, l.status = t, make(chan struct{}), make(chan struct{}), map[string]int{}, map[int]int{}
	dial := cfg.NetDial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		phase := l.phase.Load()
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, dialed{err, phase}
		}
		return c, nil
	}
	cfg.Trace = &resource.Trace{Made: l.made, Destroyed: l.destroyed}
	var err error
	if l.pool, err = wspool.New(cfg); err != nil {
		t.Fatal(err)
	}
	for range l.callers {
		l.warm.Add(1)
		l.all.Go(l.call)
	}
	t.Cleanup(func() {
		close(l.quit)
		l.all.Wait()
		l.close()
	})
	return l
}

// call runs one caller.
func (l *load) call() {
	early, late := 0, 0
	defer func() {
		if early < l.rounds {
			l.warm.Done()
		}
	}()
	for late < l.rounds {
		select {
		case <-l.quit:
			return
		default:
		}
		phase := l.phase.Load()
		err := l.question()
		switch {
		case err == nil:
			if phase >= back {
				l.phase.CompareAndSwap(back, well)
				late++
			}
			if early++; early == l.rounds {
				l.warm.Done()
			}
		case !l.may(phase, err):
			l.t.Errorf("asked in phase %d, failed in phase %d: %v", phase, l.phase.Load(), err)
			return
		}
	}
}

// got is the error of a question that had a connection.
type got struct{ error }

func (g got) Unwrap() error { return g.error }

// question acquires a connection and asks one question.
func (l *load) question() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := l.pool.Acquire(ctx)
	if err != nil {
		l.pause(err)
		return err
	}
	err = l.ask(ctx, c, l.ids.Add(1))
	c.Fail(err)
	if err != nil {
		return got{err}
	}
	return nil
}

// pause waits for the RetryAfter of the pool, up to a short limit, so that callers do not
// spin while the server is down.
func (l *load) pause(err error) {
	var e *resource.AcquireError
	if errors.As(err, &e) && e.RetryAfter > 0 {
		select {
		case <-time.After(min(e.RetryAfter, 50*time.Millisecond)):
		case <-l.quit:
		}
	}
}

// may reports whether a question may fail with err.
func (l *load) may(phase int32, err error) bool {
	if errors.Is(err, errCrossed) || errors.Is(err, context.DeadlineExceeded) || l.phase.Load() == healthy {
		return false
	}
	if errors.As(err, new(got)) {
		l.lost.Add(1)
		return l.anyFailure || phase < dead
	}
	l.noConn.Add(1)
	if l.anyFailure {
		if errors.As(err, new(*wspool.DialError)) {
			l.once.Do(func() { close(l.refused) })
		}
		return true
	}
	if errors.As(err, new(*wspool.DialError)) {
		l.once.Do(func() { close(l.refused) })
		// The start time of a dial that reached the ending server is unknown; the
		// test ends when other dials succeed.
		var d dialed
		return !errors.As(err, &d) || d.phase < back
	}
	if errors.As(err, new(*resource.AcquireError)) {
		return phase < well // a new connection was closed at once
	}
	return phase < dead // a connection was closed while it was lent
}

func (l *load) made(_ context.Context, e resource.MakeEvent) {
	var d *wspool.DialError
	if errors.As(e.Err, &d) && d.Status != 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.status[d.Status]++
	}
}

// refusedWith returns the number of dials refused with that status.
func (l *load) refusedWith(status int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status[status]
}

func (l *load) destroyed(e resource.DestroyEvent) {
	cause := e.Cause.Error()
	var ce *wspool.CloseError
	var ne *net.OpError
	if errors.As(e.Cause, &ce) {
		cause = fmt.Sprintf("%d %q", ce.Code, ce.Text)
	} else if errors.As(e.Cause, &ne) {
		cause = ne.Err.Error() // without the addresses
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.causes[cause]++
}

// await waits for wg, with a timeout.
func (l *load) await(what string, wg *sync.WaitGroup) {
	l.t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); wg.Wait() }()
	select {
	case <-done:
	case <-time.After(4 * patience):
		l.t.Fatalf("%s: %v", what, l.pool.Stats())
	}
	if l.t.Failed() {
		l.t.FailNow()
	}
}

func (l *load) close() {
	l.t.Helper()
	closePool(l.t, l.pool)
}

// brand is a kind of server and its client protocol.
type brand struct {
	start func(t testing.TB, addr string) running
	reach func(cfg *wspool.Config) // nil: the address suffices
	ask   func(ctx context.Context, c *wspool.Conn, id int64) error
}

// endure ends the server of a brand under load and restarts it.
func endure(t *testing.T, b brand, f fault) {
	s := b.start(t, "127.0.0.1:0")
	addr := s.address()
	size := sizes[f]
	cfg := wspool.Config{URL: "ws://" + addr + "/", MaxSize: size, MinIdle: max(size-workers, 0)}
	if b.reach != nil {
		b.reach(&cfg)
	}
	l := (&load{ask: b.ask, callers: workers, rounds: rounds}).begin(t, cfg)
	l.await("callers are not served", &l.warm)

	began := time.Now()
	l.phase.Store(failing)
	s.end(t, f)
	l.phase.Store(dead)
	if f != stop { // otherwise it could be back before any caller notices
		select {
		case <-l.refused:
		case <-time.After(patience):
			t.Fatalf("no caller gets the error of a dial: %v", l.pool.Stats())
		}
	}
	s = b.start(t, addr)
	up := time.Now()
	l.phase.Store(back)
	l.await("callers are not served again", &l.all)
	t.Logf("down for %v, all served %v later; %d questions: %d lost, %d got no connection",
		up.Sub(began).Round(time.Millisecond), time.Since(up).Round(time.Millisecond), l.ids.Load(), l.lost.Load(), l.noConn.Load())

	n := 0
	until(t, "the server has more connections than the pool", func() bool { // it may detect a closed connection late
		n = s.count(t)
		return n <= size
	})
	if n < 1 {
		t.Error("the server counts no connection")
	}
	l.close()
	codes := s.empty(t) // checks that no session is left
	for _, code := range codes {
		if code != "1001" {
			t.Errorf("the server saw clients leave with %v, want 1001 alone", codes)
			break
		}
	}
	t.Logf("%d clients left the server, with 1001", len(codes))
	l.logCauses()
}

func (l *load) logCauses() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, cause := range slices.Sorted(maps.Keys(l.causes)) {
		l.t.Logf("%d connections ended: %s", l.causes[cause], cause)
		if strings.Contains(cause, wspool.ErrUnread.Error()) {
			l.t.Error("a message after a reply closed connections") // it is a ping, which OnUnsolicited answers
		}
	}
}

// padded returns a text that is unique to the id, of up to some kilobytes.
func padded(id int64) string {
	return strconv.FormatInt(id, 10) + strings.Repeat(".", int(id*7919%3000))
}

// askEcho sends a message and checks the echo.
func askEcho(ctx context.Context, c *wspool.Conn, id int64) error {
	question := padded(id)
	kind := websocket.TextMessage + int(id%2) // text or binary
	if err := c.WriteMessage(ctx, kind, []byte(question)); err != nil {
		return err
	}
	k, p, err := c.ReadMessage(ctx)
	if err != nil {
		return err
	}
	if k != kind || string(p) != question {
		return fmt.Errorf("%w: asked %d %q, got %d %q", errCrossed, kind, question, k, p)
	}
	return nil
}

// askText is askEcho with text messages only.
func askText(ctx context.Context, c *wspool.Conn, id int64) error {
	return askEcho(ctx, c, id*2)
}
