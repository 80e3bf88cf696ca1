package wspool

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/internal/bridge"
)

// lease is one caller's use of a connection. The caller holds it through a [Conn];
// nothing that the pool holds leads to that Conn, so that the garbage collector can
// find a Conn that its caller has lost.
type lease struct {
	pooled   resource.Lease[*link] // the zero Lease if detached
	link     *link
	detached bool            // of OnConnect or a Health: no caller of the pool has it
	early    bool            // of OnConnect: Config.Exchange does not apply
	facts    *detachedFacts  // of a detached lease; else nil
	ended    atomic.Bool     // the first end counts
	claim    *bridge.Claim   // of package cluster; nil: none
	lost     runtime.Cleanup // calls dropped, if Config.Reclaim is set

	state leaseState // guarded by link.mu
}

// detachedFacts are what methods of Conn return for a detached lease.
type detachedFacts struct {
	info     resource.Info
	answer   atomic.Pointer[Response] // to the handshake, while OnConnect runs
	greeting *Message                 // guarded by link.mu; nil: none
}

// newConn returns a Conn for the next lease of l.
func newConn(l *link) *Conn {
	if l.hub.cfg.Reclaim {
		return &Conn{&lease{link: l}}
	}
	both := new(struct {
		conn  Conn
		lease lease
	}) // one allocation: without Reclaim neither has to become unreachable alone
	both.lease.link = l
	both.conn.lease = &both.lease
	return &both.conn
}

// end ends the lease once, and has the garbage collector no longer look for c.
func (c *Conn) end(err error, destroy bool, give func(resource.Lease[*link])) {
	defer runtime.KeepAlive(c)
	c.lost.Stop()
	c.lease.end(err, destroy, give)
}

// end ends the lease once. It calls give if the connection is clean, or if destroy says
// that give destroys it in any case; otherwise end destroys the connection. It returns false if
// the lease has ended before, or is being ended.
func (c *lease) end(err error, destroy bool, give func(resource.Lease[*link])) bool {
	if !c.ended.CompareAndSwap(false, true) {
		return false
	}
	var seen bridge.LeaseEnd
	c.link.mu.Lock()
	if c.claim != nil {
		seen = c.seenLocked()
	}
	dirty := c.link.detachLocked(c, destroy)
	c.link.mu.Unlock()
	if c.claim != nil {
		c.claim.Use.Ended(seen) // first: a policy that is called below may end the goroutine
	}
	if destroy || dirty != nil {
		c.link.raw.UnhookContext() // of a reader that is still open
	}
	switch {
	case c.detached: // the connection is destroyed on any error
		switch {
		case err != nil:
			c.link.fail(err)
		case dirty != nil:
			c.link.fail(dirty)
		case destroy:
			c.link.fail(resource.ErrDiscarded)
		}
	case dirty == nil || destroy:
		give(c.pooled)
	case err != nil:
		c.pooled.Discard(err)
	default:
		c.pooled.Discard(dirty)
	}
	return true
}

// reclaimable has the lease ended if the garbage collector finds c unreachable.
func (c *Conn) reclaimable() {
	if c.link.hub.cfg.Reclaim {
		c.lost = runtime.AddCleanup(c, (*lease).dropped, c.lease)
	}
}

// dropped ends a lease whose Conn is unreachable. It does so on a goroutine of its own:
// ending a lease can take a while and calls user code, and cleanups must not block.
func (c *lease) dropped() {
	count := c.link.hub.count
	count.reclaims.begin()
	go func() {
		defer count.reclaims.end()
		c.end(ErrDropped, true, func(l resource.Lease[*link]) {
			count.dropped.Add(1)
			l.Discard(ErrDropped)
		})
	}()
}

// orReleased returns err, or ErrReleased if the lease has ended meanwhile, because err is
// then a consequence of that. If the connection had been used before this lease, and is
// dead, and nothing has arrived for the lease, the error matches ErrStale as well.
func (c *lease) orReleased(err error) error {
	if err == nil {
		return nil
	}
	if c.ended.Load() {
		return ErrReleased
	}
	l := c.link
	over := c.endedBy(err)
	l.mu.Lock()
	dead := over || l.dirt.mute
	stale := dead && c.state.in == 0 && !l.frames.State().MessagePending && !c.detached
	l.mu.Unlock()
	if !stale || foreign.Is(err, ErrUnsolicited) || foreign.Is(err, context.Canceled) ||
		foreign.Is(err, context.DeadlineExceeded) || c.pooled.Info().Leases <= 1 {
		return err
	}
	l.mu.Lock()
	reported := c.state.stale
	c.state.stale = true
	l.mu.Unlock()
	if !reported {
		l.hub.stale()
	}
	return fmt.Errorf("%w: %w", ErrStale, err)
}

// endedBy reports whether err is why the connection has ended. No lock is held: err may be the caller's.
func (c *lease) endedBy(err error) bool {
	cause := c.link.cause()
	return cause != nil && foreign.Is(err, cause)
}

// unsent reports whether err is why the connection ended, and the lease has written
// nothing, so that the peer cannot have acted on it.
func (c *lease) unsent(err error) bool {
	if err == nil {
		return false
	}
	l := c.link
	over := c.endedBy(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	return over && c.state.out == 0 && l.lease == c
}

// received reports whether the lease has read a message.
func (c *lease) received() bool {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.state.in > 0
}

// begin notes that a read or write runs. It returns false if the lease is over.
func (c *lease) begin() bool {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lease != c {
		return false
	}
	c.state.running++
	return true
}

// finish notes that a read or write has returned.
func (c *lease) finish() {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.state.running--
}

// dirtyLocked returns why the lease does not leave the connection clean.
func (c *lease) dirtyLocked() error {
	l := c.link
	if l.end.cause != nil {
		return l.end.cause
	}
	if l.dirt.why != nil {
		return l.dirt.why
	}
	if err := c.state.unfinished(l.watch.open); err != nil {
		return err
	}
	// A message behind the answer still belongs to this lease. If the lease has read one
	// answer for each message that it wrote, and ends soon after the last read, it need
	// not poll: that read took what had arrived. But if OnUnsolicited may drop a message,
	// a later poll could not distinguish part of a reply from a message of no lease, and
	// the next part would pass for the next lease's answer.
	known := true
	if l.watch.reader == noReader && l.watch.pending.r == nil && l.raw.CanPoll() &&
		(l.hub.cfg.OnUnsolicited != nil || c.state.in != max(1, c.state.out) || c.state.awaits || l.watch.since != l.hub.monitor.tick.Load()) {
		_, known = l.frames.TryPoll(true) // no message is being written: the lease would be unfinished
	}
	incomplete := c.incomplete()
	arrived := l.frames.State()
	waiting, partial := l.watch.pending.r != nil || arrived.MessagePending, arrived.Partial || l.raw.MidRecord()
	switch {
	case !c.expects() || c.answered(): // what has arrived belongs to no lease: restLocked has it dealt with
		return nil
	case incomplete == nil && c.quarantines(): // the quarantine drops late messages
	case !known && (l.hub.cfg.OnUnsolicited != nil || l.heartbeat.owesAnswer()):
		return fmt.Errorf("%w: part of one may have come: a write waits for the network", ErrUnread)
	case !waiting && !partial:
	case incomplete == nil && !partial && (l.hub.cfg.OnUnsolicited != nil || l.heartbeat.owesAnswer()):
		// It may be a ping of the application's protocol, or the answer to a heartbeat:
		// the watcher finds out. It has arrived whole, so the next lease does not wait
		// for the peer.
		l.trailing = arrived.Messages
	case waiting:
		return fmt.Errorf("%w: one is waiting", ErrUnread)
	default:
		return fmt.Errorf("%w: part of one has come", ErrUnread)
	}
	return incomplete
}

// quarantines reports whether the end of the lease begins a quarantine: it is a lease of
// the pool that has exchanged messages.
func (c *lease) quarantines() bool {
	return c.link.hub.cfg.Quiet > 0 && !c.detached && c.state.exchanged()
}

// servedLocked notes that the connection has served the lease.
func (c *lease) servedLocked() {
	if !c.detached {
		c.link.ticket.servedLease()
	}
}

// reserve takes the connection away from the pool, from watchers and from the lease, so
// that the caller can hijack it. It returns false, and nothing has changed, if it cannot.
func (c *lease) reserve() bool {
	l := c.link
	late := false
	limit := time.AfterFunc(quietWait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		late = true
		l.freed.Broadcast()
	})
	defer limit.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for !late && l.lease == c && c.hijackableLocked() {
		switch {
		case l.senders > 0: // a ping or pong is being sent
			l.freed.Wait()
		case l.watch.reader == noReader && l.frames.ControlsPending():
			l.startWatchLocked() // the watcher answers them
		case l.watch.reader == noReader:
			l.disarmLocked()
			l.watch.reader, l.lease = leaseReader, nil
			l.hub.monitor.watched(&l.node)
			return true
		case l.raw.Dismiss(l.frames.Drained):
			for l.watch.reader == watcherReader && !late {
				l.freed.Wait()
			}
		default:
			_ = l.settleUntil(context.Background(), tryWait, func() bool { return l.watch.reader != watcherReader })
			l.mu.Lock()
		}
	}
	return false
}

// hijackableLocked reports whether the lease, which has not ended, may take the connection:
// it is alive and clean, and no message has arrived or is awaited.
func (c *lease) hijackableLocked() bool {
	l, s := c.link, &c.state
	arrived := l.frames.State()
	return l.end.cause == nil && l.dirt.why == nil && !l.heartbeat.owesAnswer() && s.running == 0 && !s.writing &&
		!l.watch.midMessage() && !arrived.MessagePending && !arrived.Partial && l.watch.reader != leaseReader
}

// unreserve undoes reserve, except that the lease has ended.
func (c *lease) unreserve() {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	l.freeLocked()
	l.hub.monitor.unwatched(&l.node)
}

// handOver removes the connection from the pool's bookkeeping and gives its handlers back
// to gorilla.
func (c *lease) handOver() {
	l := c.link
	l.hub.monitor.forget(&l.node)
	l.hub.count.roster.remove(l)
	l.mu.Lock()
	l.heartbeat.stop()
	l.watch.closeBell()
	l.ticket.servedLease() // a hijack ends the streak of Redial as a served lease does
	l.mu.Unlock()
	l.ticket.ended(nil) // stop the proof timer: nothing else ends the ticket of a hijacked connection (I6)
	l.ws.SetPingHandler(nil)
	l.ws.SetPongHandler(nil)
	l.ws.SetCloseHandler(nil)
	l.frames.HandOver()
}

// leaseState counts the messages of a lease and decides whether the exchange is
// complete.
type leaseState struct {
	running int  // reads and writes that have not returned
	out, in int  // messages written, and begun to be read
	owed    int  // of those written: how many no message read since can have answered
	awaits  bool // no message has been read since the last was written
	writing bool // a writer is open
	stale   bool // an operation has failed with ErrStale
	drained bool // Drain has dropped messages, which do not count as in
	shared  bool // acquired with resource.Request.Shared: as if Exchange were Unpaired
}

// sent counts a message that is written.
func (s *leaseState) sent() { s.sentAll(1) }

// sentAll counts n messages that are written at once.
func (s *leaseState) sentAll(n int) {
	s.out += n
	s.owed += n
	s.awaits = true
}

// received counts a message that begins to be read.
func (s *leaseState) received() {
	s.in++
	s.owed = max(s.owed-1, 0)
	s.awaits = false
}

// dropped notes that the message counted last is dropped by Drain.
func (s *leaseState) dropped() {
	s.in--
	s.drained = true
}

// complete notes that no more messages will answer what was written.
func (s *leaseState) complete() {
	s.awaits = false
	s.in, s.owed = s.out, 0
}

// exchanged reports whether messages were written, read or dropped.
func (s *leaseState) exchanged() bool { return s.out > 0 || s.in > 0 || s.drained }

// unfinished returns why the lease cannot end cleanly, apart from its messages; open
// says that a message is being read.
func (s *leaseState) unfinished(open bool) error {
	switch {
	case s.running > 0:
		return fmt.Errorf("%w: a read or write still runs", ErrUnfinished)
	case s.writing:
		return fmt.Errorf("%w: a writer is open", ErrUnfinished)
	case open:
		return fmt.Errorf("%w: a message was read in part", ErrUnread)
	}
	return nil
}

// incomplete returns how the messages violate x; nil: they do not.
func (s *leaseState) incomplete(x Exchange) error {
	switch x {
	case ReplyLast:
		if s.awaits {
			return fmt.Errorf("%w: none was read since the last was written", ErrUnread)
		}
	case ReplyEach:
		if s.in != s.out {
			return fmt.Errorf("%w: %d were written and %d read", ErrUnread, s.out, s.in)
		}
	}
	return nil
}

// expects reports whether a message that arrives now can be for the lease.
func (c *lease) expects() bool {
	return c.state.out > 0 || c.state.shared || c.detached || c.link.hub.cfg.Exchange == Unpaired
}

// answered reports whether what has arrived at the end of a set-up is unsolicited: OnUnsolicited is
// there to judge it, and OnConnect has read a message for each that it wrote, so that none can be
// the reply to one of those. No caller has had the connection yet, whose reply it could be.
func (c *lease) answered() bool {
	return c.early && c.state.owed == 0 && c.link.hub.cfg.OnUnsolicited != nil
}

// incomplete returns how the lease has violated Config.Exchange; nil: it has not. A Health
// that has only written declares thereby that no answer will come.
func (c *lease) incomplete() error {
	if c.early || c.state.shared || c.detached && c.state.in == 0 {
		return nil
	}
	return c.state.incomplete(c.link.hub.cfg.Exchange)
}

// dirtiness is why a lease cannot leave its connection clean.
type dirtiness struct {
	why    error // nil: it can
	gaveUp bool  // the reason is that a read was given up before its message began
	mute   bool  // a write failed: nothing more can be sent
}

// mark notes why; the first reason counts. mute says that a write failed.
func (d *dirtiness) mark(why error, mute bool) {
	if d.why == nil || d.gaveUp {
		d.why, d.gaveUp = why, false
	}
	d.mute = d.mute || mute
}

// giveUp is mark where a read was given up, which Drain can make good.
func (d *dirtiness) giveUp(why error) {
	if d.why == nil {
		d.why, d.gaveUp = why, true
	}
}

// forgive takes giveUp back.
func (d *dirtiness) forgive() {
	if d.gaveUp {
		d.why, d.gaveUp = nil, false
	}
}

// setUp reads the greeting and calls OnConnect, as far as they are configured, with a lease
// that is not the pool's and to which Exchange does not apply. It returns why the connection
// must not be pooled. That lease begins before the monitor has the connection watched:
// otherwise a message that the server sends first could count as unsolicited.
func (d *dialing) setUp(ctx context.Context, l *link, answer *Response) error {
	facts := &detachedFacts{info: resource.Info{ID: resource.MakingID(ctx), Age: time.Since(d.start)}}
	facts.answer.Store(answer)
	c := &Conn{&lease{link: l, detached: true, early: true, facts: facts}}
	l.mu.Lock()
	l.lease = c.lease // what has arrived already is for it too
	l.mu.Unlock()
	defer c.end(errNotReturned, true, nil)
	defer facts.answer.Store(nil) // Conn.Response is for OnConnect alone
	d.hub.adopt(l)
	last := ""
	if d.cfg.Greeting {
		d.phase, last = "greeting", "the greeting"
		kind, data, err := c.ReadMessage(ctx)
		if err != nil {
			return fmt.Errorf("the server's greeting, which Config.Greeting says it sends, has not come: %w", err)
		}
		l.mu.Lock()
		facts.greeting = &Message{kind, data}
		l.mu.Unlock()
	}
	if d.cfg.OnConnect != nil {
		d.phase, last = "set-up", "OnConnect"
		if err := d.cfg.OnConnect(ctx, c); err != nil {
			return err
		}
	}
	c.end(nil, false, nil)
	if cause := l.cause(); cause != nil {
		return fmt.Errorf("after %s: %w", last, cause)
	}
	return nil
}

// checker returns a Health of links that calls h, a Health of Conns.
func checker(h resource.Health[*Conn]) resource.Health[*link] {
	if h == nil {
		return nil
	}
	if s, ok := h.(resource.Scheduled); ok {
		return struct {
			check
			resource.Scheduled
		}{check{h}, s}
	}
	return check{h}
}

// ended is the error of a check whose connection has ended, or must end. Its text contains
// that of the check's own error, but it does not match it: if it did, ErrTolerated could keep
// the connection.
type ended struct{ cause, said error }

func (e ended) Error() string {
	if e.said == nil {
		return e.cause.Error()
	}
	return e.cause.Error() + " (" + e.said.Error() + ")"
}

func (e ended) Unwrap() error { return e.cause }

type check struct{ of resource.Health[*Conn] }

// State implements [resource.Stateful].
func (k check) State() string { return fmt.Sprintf("%T", k.of) + inner(k.of) }

// Check calls the check with a lease that is not the pool's.
func (k check) Check(ctx context.Context, l *link, i resource.Info) error {
	c := &Conn{&lease{link: l, detached: true, facts: &detachedFacts{info: i}}}
	if !l.attach(c.lease) {
		err := vetting{l}.fully(ctx)
		if err == nil {
			err = l.attachVetted(c.lease)
		}
		if err != nil {
			return err
		}
	}
	defer c.end(errNotReturned, true, nil)
	err := k.of.Check(ctx, c, i)
	c.end(nil, false, nil)
	if cause := l.cause(); cause != nil {
		return ended{cause, err}
	}
	return err
}
