package mux

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/tasks"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// Client shares connections among calls. Make one with [New]. Any number of goroutines may call
// its methods at once.
type Client struct {
	from       Leaser
	cfg        Config
	idBits     int
	canceler   Canceler   // nil: the codec is none
	final      bool       // the server sends nothing for what was canceled
	subscriber Subscriber // nil: the codec is none
	noStreams  error      // of OptionalSubscriber
	ctx        context.Context
	cancel     context.CancelCauseFunc
	replays    replays
	ticks      atomic.Int64 // sweeps so far
	waiting    atomic.Int32 // callers in the line
	growAfter  atomic.Int64 // Unix time in ns before which the client does not grow
	work       tasks.Group
	calls      sync.Pool // of *call
	stats      counts
	failed     failures
	durations  durations
	detach     func() // from the figures of the pool

	// open is what calls choose from: connections that take calls and are not exclusive.
	// It is replaced under mu.
	open atomic.Pointer[[]*conn]

	// Guarded by mu, which is locked before that of a connection.
	mu         sync.Mutex
	closed     bool
	all        map[*conn]struct{} // every connection that has not ended
	growing    bool               // an acquire for the shared connections runs
	retiring   []retiree          // connections that another one is to replace, in order
	succeeding bool               // succession runs
	line       list.List          // of *inLine: callers that wait for a connection to have room, in order
	sessions   map[string]*conn   // by name; their connections are open or about to leave
	sweeper    *time.Timer
	gone       chan struct{} // closed when the client is closed and all is empty; nil before Close
}

// counts are counters of a client, and of the connections that it had.
type counts struct {
	acquired, replayed, retried, resumes, gaps, panics atomic.Int64

	past connCounts // of connections that have left; guarded by Client.mu
}

// inLine is a caller that waits for a connection to have room.
type inLine struct {
	ready   chan struct{}
	session string // of its request; empty: none
	avoid   string // see choose
	got     *conn  // has promised a slot
	err     error
	at      *list.Element
	since   time.Time
}

// New returns a client that holds connections of from, and none yet. The error names every bad
// field. Call [Client.Close] when done, before the pool is closed.
func New(from Leaser, cfg Config) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if from == nil {
		return nil, errors.New("mux: New needs a pool")
	}
	c := &Client{from: from, cfg: cfg.withDefaults(), all: make(map[*conn]struct{}), sessions: make(map[string]*conn)}
	c.idBits = c.cfg.Codec.IDBits()
	if c.idBits < 20 || c.idBits > 64 {
		return nil, fmt.Errorf("mux: IDBits of the codec must be from 20 to 64, got %d", c.idBits)
	}
	c.canceler, _ = c.cfg.Codec.(Canceler)
	if f, ok := c.cfg.Codec.(FinalCanceler); ok {
		c.final = f.CancelFinal()
	}
	c.subscriber, _ = c.cfg.Codec.(Subscriber)
	if s, ok := c.cfg.Codec.(OptionalSubscriber); ok {
		c.noStreams = s.CanStream()
	}
	c.replays.ratio = c.cfg.ReplayRatio
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.open.Store(new([]*conn))
	c.durations.refill()
	c.detach = func() {}
	if a, ok := from.(attacher); ok {
		if err := c.guard("Attach", func() error { c.detach = a.Attach(c); return nil }); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Call sends a request and returns the reply, whose bytes are the caller's. A reply that says
// that the call has failed is a reply too; the protocol's package decodes it. Small replies are
// allocated together, so one that is kept keeps up to 2 KiB (chunkSize).
//
// Call blocks until the reply has arrived: first for a connection to have room, callers first
// come, first served, and for a connection to be dialled if there is none. It may read the
// connection for other callers meanwhile. When ctx ends it returns at once; a call that was not
// sent by then is never sent, and one that was is canceled, if the codec is a [Canceler]; its
// late reply is dropped.
//
// It fails with a [*CallError], which says whether the call may have run. A call that was not
// sent because its connection ended is sent on another one until ctx ends; one that may have
// run, if it is Idempotent, once.
func (c *Client) Call(ctx context.Context, r Request) (Message, error) {
	var began time.Time
	weight := c.durations.sample(c.replays.calls.Add(1))
	if weight > 0 {
		began = time.Now()
	}
	k := c.getCall(&r)
	var m Message
	err := c.attempts(ctx, k, &r, func(n *conn) (err error) {
		m, err = n.do(ctx, k, &r)
		return err
	})
	c.putCall(k)
	if weight > 0 && err == nil {
		c.durations.add(began, weight)
	}
	return m, err
}

// Notify sends a message that has no reply. It returns nil when the message was handed to the
// network, which does not mean that the server has it; it blocks for a connection to have room
// as Call does, and fails as Call.
func (c *Client) Notify(ctx context.Context, body any) error {
	r := Request{Body: body}
	k := c.getCall(&r)
	err := c.attempts(ctx, k, &r, func(n *conn) error {
		defer n.unreserve()
		return n.notify(ctx, k, body)
	})
	c.putCall(k)
	return err
}

// Stream sends a request whose messages are returned by the [Stream]. With a codec that is a
// [Subscriber] it waits for the reply, and fails with the error that StreamKey finds in it, or with
// [ErrDuplicateKey]; otherwise it waits until the request is written. ctx bounds the call of Stream
// alone. It blocks and fails as Call otherwise. The caller must end the stream with [Stream.Close],
// or read it to its end.
func (c *Client) Stream(ctx context.Context, r Request, cfg StreamConfig) (*Stream, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if c.noStreams != nil {
		return nil, &CallError{Fate: ErrNotSent, Err: c.noStreams}
	}
	s := newStream(c, cfg)
	if err := c.subscribe(ctx, s, &r); err != nil {
		s.finish(ErrStreamClosed, true)
		return nil, err
	}
	s.opened()
	return s, nil
}

// subscribe puts s on a connection.
func (c *Client) subscribe(ctx context.Context, s *Stream, r *Request) error {
	k := new(call) // the slot of a stream may refer to it for long
	k.init()
	k.clear(r)
	k.stream = s
	return c.attempts(ctx, k, r, func(n *conn) error {
		_, err := n.do(ctx, k, r)
		return err
	})
}

// attempts chooses a connection and calls try with it, again with another where the call was
// certainly not sent, and once more where that is allowed.
func (c *Client) attempts(ctx context.Context, k *call, r *Request, try func(n *conn) error) error {
	var began time.Time
	if c.cfg.Trace.Called != nil {
		began = time.Now()
	}
	stream, sent, replayed, bulk := k.stream, 0, false, false
	dedicated := stream != nil && stream.cfg.Dedicated
	mayHaveRun := false // in an attempt
	avoid := ""         // the server on which the last attempt failed
	var n *conn
	var err error
	for {
		switch {
		case dedicated:
			n, err = c.exclusive(ctx, resource.Request{Shared: true, NoWait: r.NoWait, Cost: r.Cost})
		case bulk:
			n, err = c.chooseBulk(ctx, k, r, avoid)
		default:
			n, err = c.choose(ctx, r, avoid)
		}
		if err != nil {
			k.fate = ErrNotSent
			break
		}
		if err = try(n); err == nil {
			break
		}
		if k.flown {
			sent++
		}
		mayHaveRun = mayHaveRun || k.fate == ErrMayHaveRun
		switch {
		case err == errBulk:
			bulk = true
		case k.fate == nil, ctx.Err() != nil: // answered, or given up
		case k.fate == ErrNotSent && c.elsewhere(n, err):
			c.stats.retried.Add(1)
		case k.fate == ErrMayHaveRun && r.Idempotent && !replayed && c.replays.take():
			replayed = true
			c.stats.replayed.Add(1)
		default:
			goto over
		}
		if k.fate == nil || ctx.Err() != nil {
			if err == errBulk || err == errElsewhere { // the call was to move to another connection
				err = causeOf(ctx)
			}
			break
		}
		k.clear(r)
		k.stream, avoid = stream, n.server
	}
over:
	if err != nil && k.fate != nil {
		if mayHaveRun {
			k.fate = ErrMayHaveRun // whatever became of the replay
		}
		if c.failed.add(k.fate) {
			c.reportLate(k.fate)
		}
		failed := &CallError{Fate: k.fate, Sent: sent, Err: err}
		if n != nil {
			failed.Conn = n.id
		}
		err = failed
	}
	if f := c.cfg.Trace.Called; f != nil {
		e := CallEvent{Took: time.Since(began), Sent: sent, Err: err}
		if err == nil {
			e.Sent++
		}
		if n != nil {
			e.Conn = n.id
		}
		c.trace(func() { f(e) })
	}
	return err
}

// elsewhere reports whether a call that was not sent on n because of err can be sent on another
// connection: n takes it no more, and the reason is not the call itself.
func (c *Client) elsewhere(n *conn, err error) bool {
	if err == errElsewhere {
		return true
	}
	n.mu.Lock()
	gone := n.state == ended || n.broken
	n.mu.Unlock()
	return gone && !c.is(err, errEncode) && !c.is(err, ErrClosed)
}

// avoided is added to the load of the connections to a server that is to be avoided.
const avoided = 1 << 40

// loadOf returns by how much n is less fit for a call than an idle connection.
func loadOf(n *conn, avoid string) int64 {
	load := n.load.Load() + n.backlog.Load()>>12
	if avoid != "" && n.server == avoid {
		load += avoided
	}
	return load
}

// choose returns a connection that has promised a slot to the caller. It prefers other servers
// than avoid: a server that goes away ends all its connections, and a call is replayed only once.
func (c *Client) choose(ctx context.Context, r *Request, avoid string) (*conn, error) {
	if ctx.Err() != nil {
		return nil, causeOf(ctx)
	}
	if r.Session == "" && c.waiting.Load() == 0 {
		if all := *c.open.Load(); len(all) > 0 {
			i, load := pick(len(all), avoid != "", func(i int) int64 { return loadOf(all[i], avoid) })
			if load >= int64(c.cfg.GrowAt) && len(all) < c.cfg.MaxConns {
				c.mu.Lock()
				c.growLocked()
				c.mu.Unlock()
			}
			if all[i].reserve() {
				return all[i], nil
			}
		}
	}
	return c.wait(ctx, r, avoid)
}

// wait waits in line for a connection that has room.
func (c *Client) wait(ctx context.Context, r *Request, avoid string) (*conn, error) {
	w := &inLine{ready: make(chan struct{}), session: r.Session, avoid: avoid}
	done := ctx.Done() // before w is in line: it may be a method of the user, which panics
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	w.at = c.line.PushBack(w)
	c.waiting.Add(1) // before looking for room: whatever frees a slot later sees it
	c.admitLocked()
	if w.got == nil && r.NoWait {
		c.outLocked(w)
		c.growLocked()
		c.mu.Unlock()
		return nil, ErrBusy
	}
	c.growLocked()
	if w.got == nil {
		w.since = time.Now()
	}
	c.mu.Unlock()
	select {
	case <-w.ready:
	case <-done:
		c.mu.Lock()
		left := w.got == nil && w.err == nil
		if left {
			c.outLocked(w)
		}
		c.mu.Unlock()
		if left {
			return nil, causeOf(ctx)
		}
	}
	if w.err != nil {
		return nil, w.err
	}
	return w.got, nil
}

// EndSession forgets which connection the calls of a session use: see [Request.Session].
func (c *Client) EndSession(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.sessions[name]; n != nil {
		delete(c.sessions, name)
		n.mu.Lock()
		n.sessions--
		n.mu.Unlock()
		c.admitLocked() // callers that waited for n alone
	}
}

// outLocked takes w out of the line.
func (c *Client) outLocked(w *inLine) {
	c.line.Remove(w.at)
	c.waiting.Add(-1)
}

// refuseLineLocked turns away all callers in line.
func (c *Client) refuseLineLocked(err error) {
	for c.line.Len() > 0 {
		w := c.line.Front().Value.(*inLine)
		c.outLocked(w)
		w.err = err
		close(w.ready)
	}
}

// freed is called when a slot may have become free. No lock is held.
func (c *Client) freed() {
	if c.waiting.Load() > 0 {
		c.mu.Lock()
		c.admitLocked()
		c.mu.Unlock()
	}
}

// admitLocked gives slots to the callers that wait, in order. A caller whose session is bound to a
// connection without room does not keep others waiting. The first of a session that gets a slot binds
// the session in the same step, so that the next one in line, which may have joined it when the session
// was not bound yet, follows.
func (c *Client) admitLocked() {
	for at := c.line.Front(); at != nil; {
		w := at.Value.(*inLine)
		at = at.Next()
		n := c.boundLocked(w.session)
		switch {
		case n == nil:
			if n = c.roomiest(w.avoid); n == nil {
				return // no connection has room, those of the sessions included
			}
			c.bindLocked(w.session, n)
		case !n.reserve():
			continue
		}
		w.got = n
		c.outLocked(w)
		close(w.ready)
	}
}

// boundLocked returns the connection of a session; nil: it has none.
func (c *Client) boundLocked(session string) *conn {
	if session == "" {
		return nil
	}
	return c.sessions[session]
}

// bindLocked binds a session that is not bound, if it has a name, to n, which has promised a slot. If n
// was drained since, leaves is about to unbind it.
func (c *Client) bindLocked(session string, n *conn) {
	if session == "" {
		return
	}
	c.sessions[session] = n
	n.mu.Lock()
	n.sessions++
	n.mu.Unlock()
}

// roomiest returns the least loaded connection that has room, with a slot promised; nil: none
// has.
func (c *Client) roomiest(avoid string) (best *conn) {
	for _, n := range *c.open.Load() {
		if (best == nil || loadOf(n, avoid) < loadOf(best, avoid)) && n.reserve() {
			if best != nil {
				best.mu.Lock()
				best.reserved--
				best.mu.Unlock()
			}
			best = n
		}
	}
	return best
}

// growWait bounds an acquire where other connections are in use, and is the pause after one
// that failed.
const growWait = time.Second

// growLocked acquires another connection in the background, if there is none, or the client may
// have more and did not fail to get one just now.
func (c *Client) growLocked() {
	n := len(*c.open.Load())
	if c.closed || c.growing || n >= c.cfg.MaxConns || n > 0 && time.Now().UnixNano() < c.growAfter.Load() {
		return
	}
	c.growing = true
	r := resource.Request{Shared: true}
	if n > 0 {
		r.MaxWait = growWait
	}
	c.work.Go(func() { c.grow(r) })
}

// grow acquires a connection.
func (c *Client) grow(r resource.Request) {
	ws, err := c.acquire(c.ctx, r)
	var n *conn
	if err == nil {
		n = newConn(c, ws, false)
	}
	c.mu.Lock()
	c.growing = false
	if err != nil {
		c.growAfter.Store(time.Now().Add(growWait).UnixNano())
		switch {
		case len(*c.open.Load()) > 0: // those serve the line
		case r.MaxWait > 0: // it began when there were others, and was bounded
			if c.line.Len() > 0 {
				c.growLocked()
			}
		default:
			c.refuseLineLocked(err)
		}
		c.mu.Unlock()
		return
	}
	joined := c.joinLocked(n)
	if joined {
		c.admitLocked()
		if c.line.Len() > 0 || n.busy() {
			c.growLocked()
		}
	}
	c.mu.Unlock()
	c.began(n, joined)
}

// busy reports whether the connection has, or is about to have, the load from which the client
// grows.
func (c *conn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.slots.live+c.reserved >= c.client.cfg.GrowAt
}

// acquire acquires a connection. A panic in the Leaser becomes an error.
func (c *Client) acquire(ctx context.Context, r resource.Request) (ws *wspool.Conn, err error) {
	broke := c.guard("AcquireWith", func() error { ws, err = c.from.AcquireWith(ctx, r); return nil })
	if broke != nil {
		return nil, broke
	}
	if err != nil && c.ctx.Err() != nil {
		err = ErrClosed
	}
	return ws, err
}

// joinLocked adds a connection; false: the client is closed.
func (c *Client) joinLocked(n *conn) bool {
	if c.closed {
		return false
	}
	c.all[n] = struct{}{}
	if !n.exclusive {
		all := append(slices.Clone(*c.open.Load()), n)
		c.open.Store(&all)
	}
	c.armLocked()
	return true
}

// began is called without a lock when a connection was acquired and has joined, or has not.
func (c *Client) began(n *conn, joined bool) {
	if !joined {
		n.stopLocked(ErrClosed) // no other goroutine has n
		n.ws.Release()
		return
	}
	c.stats.acquired.Add(1)
	c.traceConn(c.cfg.Trace.Connected, ConnEvent{Conn: n.id})
	n.start()
}

// chooseBulk returns a connection that has promised a slot to k, whose message is large: one for k alone
// or, if the pool has none to lend, one that others use. All of the pool may be the client's: then no
// connection would come back to the pool while calls keep the client's in use.
func (c *Client) chooseBulk(ctx context.Context, k *call, r *Request, avoid string) (*conn, error) {
	n, err := c.exclusiveIdle()
	if n == nil && err == nil {
		if wait, room := c.roomFor(); room {
			n, err = c.exclusive(ctx, resource.Request{Shared: true, NoWait: r.NoWait, MaxWait: wait, Cost: r.Cost})
		}
	}
	if n != nil || err != nil && ctx.Err() != nil {
		return n, err
	}
	k.shared = true
	return c.choose(ctx, r, avoid)
}

// exclusiveIdle returns a connection for one large message or one stream that the client has and that
// is idle, with its slot promised; nil: there is none.
func (c *Client) exclusiveIdle() (*conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	for n := range c.all {
		if n.exclusive && n.reserve() {
			return n, nil
		}
	}
	return nil, nil
}

// exclusive returns a connection for one large message or one stream, with its slot promised:
// one that is idle, or a new one, which is acquired with r.
func (c *Client) exclusive(ctx context.Context, r resource.Request) (*conn, error) {
	if n, err := c.exclusiveIdle(); n != nil || err != nil {
		return n, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	ws, err := c.acquire(ctx, r)
	if err != nil {
		return nil, err
	}
	n := newConn(c, ws, true)
	n.reserved = 1
	c.mu.Lock()
	joined := c.joinLocked(n)
	c.mu.Unlock()
	c.began(n, joined)
	if !joined {
		return nil, ErrClosed
	}
	return n, nil
}

// leaves is called when a connection takes no more calls. No lock is held.
func (c *Client) leaves(n *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leavesLocked(n)
	if c.line.Len() > 0 || n.load.Load() > 0 && !n.replaced {
		c.growLocked() // before callers need it
	}
	c.admitLocked() // callers that waited for n alone
}

func (c *Client) leavesLocked(n *conn) {
	if all := *c.open.Load(); slices.Contains(all, n) {
		all = slices.DeleteFunc(slices.Clone(all), func(o *conn) bool { return o == n })
		c.open.Store(&all)
	}
	for name, of := range c.sessions {
		if of == n {
			delete(c.sessions, name)
		}
	}
}

// left is called when a connection has ended. No lock is held.
func (c *Client) left(n *conn, e ConnEvent) {
	c.traceConn(c.cfg.Trace.Disconnected, e)
	c.mu.Lock()
	defer c.mu.Unlock()
	n.mu.Lock()
	c.stats.past.add(&n.stats) // and what is still counted there is lost, so that no sum falls
	n.mu.Unlock()
	delete(c.all, n)
	c.leavesLocked(n)
	c.admitLocked()
	if c.line.Len() > 0 {
		c.growLocked()
	}
	if c.closed && len(c.all) == 0 {
		close(c.gone)
	}
}

// minSweep is the least time between two sweeps.
const minSweep = 50 * time.Millisecond

// sweepEvery is the time between two sweeps; 0: there is nothing to sweep for.
func (c *Client) sweepEvery() time.Duration {
	every := time.Duration(0)
	for _, d := range []time.Duration{c.cfg.IdleAfter, c.cfg.OrphanWait} {
		if d > 0 && (every == 0 || d < every) {
			every = d
		}
	}
	if every == 0 {
		return 0
	}
	return max(every/2, minSweep)
}

// armLocked starts the timer of sweeps, which runs while there are connections.
func (c *Client) armLocked() {
	every := c.sweepEvery()
	switch {
	case every == 0:
	case c.sweeper == nil:
		c.sweeper = time.AfterFunc(every, c.sweep)
	case len(c.all) == 1:
		c.sweeper.Reset(every)
	}
}

// sweep gives back what is idle, and drains connections with old orphans.
func (c *Client) sweep() {
	every := c.sweepEvery()
	now := c.ticks.Add(1)
	c.durations.refill()
	c.mu.Lock()
	all := make([]*conn, 0, len(c.all))
	for n := range c.all {
		all = append(all, n)
	}
	if len(all) > 0 && !c.closed {
		c.sweeper.Reset(every)
	}
	c.mu.Unlock()
	for _, n := range all {
		n.sweep(now, every)
	}
}

// sweep is Client.sweep for one connection.
func (c *conn) sweep(now int64, every time.Duration) {
	cfg := &c.client.cfg
	c.mu.Lock()
	if since, ok := c.slots.oldest(); ok && cfg.OrphanWait > 0 && time.Duration(now-since-1)*every >= cfg.OrphanWait {
		c.mu.Unlock()
		c.retire(fmt.Errorf("%w: one for %v", ErrOrphans, cfg.OrphanWait))
		return
	}
	if c.used || !c.emptyLocked() || c.leading || c.sessions > 0 || c.state != open {
		c.used, c.unused = false, 0
		c.mu.Unlock()
		return
	}
	c.unused++
	c.chunk, c.out = nil, outbox{} // no goroutine reads or writes
	c.slots.compact()
	c.backlog.Store(0)
	idle := cfg.IdleAfter > 0 && time.Duration(c.unused)*every >= cfg.IdleAfter
	c.mu.Unlock()
	if idle && !c.client.lastOfEvents(c) {
		c.giveBack()
	}
}

// lastOfEvents reports whether n is the connection that receives events.
func (c *Client) lastOfEvents(n *conn) bool {
	return c.cfg.OnEvent != nil && !n.exclusive && len(*c.open.Load()) == 1
}

// giveBack ends the lease of an idle connection, unless it is used again.
func (c *conn) giveBack() {
	c.mu.Lock()
	if c.state != open || !c.emptyLocked() || c.leading {
		c.mu.Unlock()
		return
	}
	c.endLeaseLocked(nil)
}

// background runs f on a goroutine; false: the client is closed.
func (c *Client) background(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.work.Go(f)
	return true
}

// Close ends the client: new calls and those that wait for a connection fail with [ErrClosed],
// streams end with it, and calls in flight go on until ctx ends, when they fail with it too.
// Connections are given back to the pool when nothing is on them. It returns nil when nothing
// of the client runs any more and all calls had ended before ctx did, else ctx's error. Close
// the pool afterwards.
//
// Close waits for the functions of [Config], [StreamConfig], [Trace] and the [Codec] that run. So if one
// of them, such as [Config.OnEvent], calls Close, that waits for its own caller until ctx ends. Such a
// function can start a goroutine that calls Close, and return.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	if c.gone == nil {
		c.gone = make(chan struct{})
	}
	first := !c.closed
	c.closed = true
	var all []*conn
	if first {
		c.refuseLineLocked(ErrClosed)
		if len(c.all) == 0 {
			close(c.gone)
		}
		if c.sweeper != nil {
			c.sweeper.Stop()
		}
	}
	for n := range c.all {
		all = append(all, n)
	}
	c.mu.Unlock()
	for _, n := range all {
		n.mu.Lock()
		n.closing = true // a stream that is put on it later ends too
		streams := n.streamsLocked()
		n.mu.Unlock()
		for _, s := range streams {
			s.finish(ErrClosed, true)
		}
		n.drain(ErrClosed)
	}
	var err error
	select {
	case <-c.gone:
	default:
		select {
		case <-c.gone:
		case <-ctx.Done():
			err = causeOf(ctx)
			for _, n := range all {
				n.fail(ErrClosed)
			}
		}
	}
	c.cancel(ErrClosed)
	if err == nil {
		err = c.work.Wait(ctx)
	}
	c.failed.end()
	c.detach()
	return err
}

// errEncode: the codec could not encode a call.
var errEncode = errors.New("mux: encoding the call")

// encode calls Codec.Append.
func (c *Client) encode(dst []byte, id uint64, body any) (kind int, out []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %w", errEncode, c.panicked("Codec.Append", v))
		}
	}()
	kind, out, err = c.cfg.Codec.Append(dst, id, body)
	if err != nil {
		err = fmt.Errorf("%w: %w", errEncode, err)
	}
	return kind, out, err
}

// encodeCancel calls Canceler.AppendCancel. ok says that there is something to send.
func (c *Client) encodeCancel(id uint64, key []byte) (kind int, out []byte, ok bool) {
	if c.canceler == nil {
		return 0, nil, false
	}
	err := c.guard("Canceler.AppendCancel", func() (err error) { kind, out, err = c.canceler.AppendCancel(nil, id, key); return err })
	return kind, out, err == nil && len(out) > 0
}

// streamKey calls Subscriber.StreamKey. broke says that it has panicked, so that it is not known what
// the server replied.
func (c *Client) streamKey(m Message) (key []byte, broke bool, err error) {
	failed := c.guard("Subscriber.StreamKey", func() error { key, err = c.subscriber.StreamKey(m); return nil })
	if failed != nil {
		return nil, true, failed
	}
	return key, false, err
}

// is is errors.Is for an err whose methods may be the user's. No lock is held.
func (c *Client) is(err, target error) (yes bool) {
	_ = c.guard("errors.Is", func() error { yes = errors.Is(err, target); return nil })
	return yes
}

// classify calls Codec.Classify.
func (c *Client) classify(kind int, p []byte) (f Frame, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = c.panicked("Codec.Classify", v)
		}
	}()
	return c.cfg.Codec.Classify(kind, p)
}

// guard calls f, which calls a function of the user, and turns a panic or Goexit into an error.
func (c *Client) guard(where string, f func() error) (err error) {
	returned := false
	defer func() {
		if !returned {
			err = c.panicked(where, recover())
		}
	}()
	err = f()
	returned = true
	return err
}

// panicked counts and reports a panic with v; nil: the function has ended its goroutine.
func (c *Client) panicked(where string, v any) error {
	err := fmt.Errorf("%w: %s", resource.ErrGoexit, where)
	if v != nil {
		err = &resource.PanicError{Where: where, Value: v, Stack: debug.Stack()}
	}
	c.stats.panics.Add(1)
	if f := c.cfg.Trace.Panicked; f != nil {
		defer func() { _ = recover() }() // a panic in Panicked itself cannot be reported
		f(err)
	}
	return err
}

// trace calls a function of the Trace.
func (c *Client) trace(f func()) { _ = c.guard("Trace", func() error { f(); return nil }) }

func (c *Client) traceConn(f func(ConnEvent), e ConnEvent) {
	if f != nil {
		c.trace(func() { f(e) })
	}
}

func (c *Client) traceDropped(e DropEvent) {
	if f := c.cfg.Trace.Dropped; f != nil {
		c.trace(func() { f(e) })
	}
}
