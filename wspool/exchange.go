package wspool

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/internal/wsconn"
)

// ExchangeOptions are the options of [Pool.ExchangeWith]. The zero value is that of
// [Pool.Exchange].
type ExchangeOptions struct {
	// Request is the request for a connection, as for [Pool.AcquireWith].
	Request resource.Request
	// Idempotent permits the server to get the message twice: the exchange is then repeated
	// once, on an unused connection, in the two cases of [Pool.DoIdempotent].
	Idempotent bool
}

// Exchange leases a connection, sends one message, as [Conn.WriteMessage] does, returns the
// message that arrives next, as [Conn.ReadMessage] does, and ends the lease. It is the fastest
// way to make one request: for a message of up to 4 KiB it makes no more system calls than a
// connection without a pool. The caller owns the reply, and Exchange does not retain data. If
// [Config.Exchange] is [Unpaired] the reply is the next message, which may have been sent before
// the request.
//
// It blocks and fails as Acquire, WriteMessage and ReadMessage. If it fails after it began to
// send, the connection is destroyed, so that no reply to this message reaches another caller. An
// error that matches [ErrStale] says that the connection had been used before and was dead;
// [ExchangeOptions].Idempotent repeats the exchange then.
func (p *Pool) Exchange(ctx context.Context, messageType int, data []byte) (replyType int, reply []byte, err error) {
	return p.ExchangeWith(ctx, ExchangeOptions{}, messageType, data)
}

// ExchangeWith is Exchange with options. It blocks and fails as Exchange.
func (p *Pool) ExchangeWith(ctx context.Context, o ExchangeOptions, messageType int, data []byte) (replyType int, reply []byte, err error) {
	request := Message{messageType, data}
	if err := p.hub.checkText(messageType, data); err != nil {
		return 0, nil, fmt.Errorf("wspool: write: %w", err)
	}
	answer, err := exchange(ctx, p.pool, o, request)
	return answer.Type, answer.Data, err
}

// ExchangeJSON is Exchange of a text message with the JSON of request. It decodes the JSON
// of the reply into reply, and drops it if reply is nil. It fails as Exchange,
// [Conn.WriteJSON] and [Conn.ReadJSON]. A reply that cannot be decoded into reply does not
// end the connection. It blocks as Exchange.
func (p *Pool) ExchangeJSON(ctx context.Context, request, reply any) error {
	return exchangeJSON(request, reply, func(data []byte) ([]byte, error) {
		_, answer, err := p.Exchange(ctx, websocket.TextMessage, data)
		return answer, err
	})
}

// Exchange is WriteMessage followed by ReadMessage. It takes less time than these if no other
// goroutine reads or writes in the lease. If it fails after it began to send, the connection is destroyed at
// the end of the lease, also if [Config.Exchange] is [Unpaired], unless a later [Conn.Drain]
// completes the exchange.
func (c *Conn) Exchange(ctx context.Context, messageType int, data []byte) (replyType int, reply []byte, err error) {
	defer runtime.KeepAlive(c)
	answer, err := c.exchange(ctx, Message{messageType, data})
	return answer.Type, answer.Data, err
}

// ExchangeJSON is WriteJSON followed by ReadJSON, with the properties of Exchange. If
// reply is nil the message read is dropped. It blocks and fails as WriteJSON and ReadJSON do.
func (c *Conn) ExchangeJSON(ctx context.Context, request, reply any) error {
	return exchangeJSON(request, reply, func(data []byte) ([]byte, error) {
		_, answer, err := c.Exchange(ctx, websocket.TextMessage, data)
		return answer, err
	})
}

func exchangeJSON(request, reply any, exchange func([]byte) ([]byte, error)) error {
	data, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("wspool: write: %w", err)
	}
	answer, err := exchange(data)
	if err != nil || reply == nil {
		return err
	}
	return decodeJSON(answer, reply)
}

// exchange is ExchangeWith.
func exchange(ctx context.Context, from lender, o ExchangeOptions, request Message) (reply Message, err error) {
	if !isData(request.Type) {
		return reply, fmt.Errorf("wspool: write: %w", badType(request.Type))
	}
	reply, unsent, err := exchangeOnce(ctx, from, o.Request, request)
	if o.Idempotent && (unsent || foreign.Is(err, ErrStale)) {
		o.Request.Fresh = true
		reply, _, err = exchangeOnce(ctx, from, o.Request, request)
	}
	return reply, err
}

// exchangeOnce is exchange without a second attempt. It also reports whether the connection
// ended before the request was sent.
func exchangeOnce(ctx context.Context, from lender, r resource.Request, request Message) (reply Message, unsent bool, err error) {
	bound := boundOf(ctx)
	b := newBorrower(from, r)
	pooled, err := b.acquire(ctx)
	if err != nil {
		return reply, false, err
	}
	l := pooled.Value()
	if err := l.hub.checkText(request.Type, request.Data); err != nil {
		pooled.ReleaseUnused()
		return reply, false, fmt.Errorf("wspool: write: %w", err)
	}
	if c := (&lease{link: l, pooled: pooled}); l.asking.attach(c, request) {
		l.leases++
		reply, stage, err := l.asking.run(ctx, bound, true)
		switch stage {
		case askedReplied:
			return reply, false, nil
		case askedSent:
			defer c.end(errNotReturned, true, func(l resource.Lease[*link]) { l.Discard(errNotReturned) }) // does nothing after the next end
			if err != nil {
				err = c.writeError(ctx, err)
			} else {
				reply, err = c.readReply(ctx)
			}
			err = c.orReleased(err)
			c.end(err, false, resource.Lease[*link].Release)
			return reply, false, err
		}
		l.leases--
		if !c.ended.CompareAndSwap(false, true) { // endNow has ended it, and pooled with it
			if pooled, err = b.acquire(ctx); err != nil {
				return reply, false, err
			}
		}
	}
	c, err := b.lend(ctx, pooled)
	if err != nil {
		return reply, false, err
	}
	defer c.Discard(errNotReturned) // does nothing after the next end
	reply, err = c.exchange(ctx, request)
	unsent = c.unsent(err)
	c.end(err, false, resource.Lease[*link].Release)
	return reply, unsent, err
}

// exchange is Conn.Exchange.
func (c *lease) exchange(ctx context.Context, request Message) (reply Message, err error) {
	switch err := c.link.hub.checkText(request.Type, request.Data); {
	case !isData(request.Type):
		return reply, fmt.Errorf("wspool: write: %w", badType(request.Type))
	case err != nil:
		return reply, fmt.Errorf("wspool: write: %w", err)
	}
	stage := askedNot
	if bound, a := boundOf(ctx), &c.link.asking; ctx.Err() == nil && a.begin(c, request) {
		reply, stage, err = a.run(ctx, bound, false)
	}
	switch {
	case stage == askedReplied:
		return reply, nil
	case err != nil:
		return reply, c.orReleased(c.writeError(ctx, err))
	case stage == askedNot:
		if err := c.send(ctx, request); err != nil {
			return reply, err
		}
	}
	reply, err = c.readReply(ctx)
	return reply, c.orReleased(err)
}

// boundOf returns ctx, or nil if ctx never ends.
func boundOf(ctx context.Context) context.Context {
	if ctx.Done() == nil {
		return nil
	}
	return ctx
}

// readReply reads the reply to a request that was sent. If it fails the reply may still arrive,
// which it notes in dirt.
func (c *lease) readReply(ctx context.Context) (reply Message, err error) {
	m, err := c.next(ctx, false)
	if err == nil {
		reply.Type = m.kind
		reply.Data, err = c.readWhole(ctx, m)
	}
	if err != nil {
		c.link.mu.Lock()
		c.link.dirt.giveUp(fmt.Errorf("%w: an exchange failed: %w", ErrUnread, err))
		c.link.mu.Unlock()
		return Message{}, err
	}
	return reply, nil
}

// askStage says how far an exchange in one pass got.
type askStage uint8

const (
	askedNot     askStage = iota // nothing was sent: something arrived before the request
	askedSent                    // the request was sent, or its write failed
	askedReplied                 // the reply was read
)

// asking is the coordinator of an exchange in one pass: the goroutine sends the request once a
// read has found the socket empty, and then waits for the reply without another attempt to read
// (see [wsconn.FrameConn.Ask]). A connection has one asking; only its current reader uses it.
type asking struct {
	l       *link
	onEmpty func() (wait bool) // send; made once, so that an exchange does not allocate it

	c       *lease
	request Message
	sent    bool  // the write has begun
	err     error // of the write
}

// attach is link.attach for a lease that run begins and, as a rule, ends. run makes the look of
// link.attach. No other goroutine can use the lease meanwhile, so attach takes no readTurn.
func (a *asking) attach(c *lease, request Message) bool {
	l := a.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.end.usable() || l.doubtfulLocked() || !a.possibleLocked(request) {
		return false
	}
	l.lease = c
	a.beginLocked(c, request)
	return true
}

// begin is attach for a lease that exists already. It takes readTurn.
func (a *asking) begin(c *lease, request Message) bool {
	l := a.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.writableLocked() != nil {
		return false
	}
	if !l.readTurn.try() {
		return false
	}
	if !a.possibleLocked(request) {
		l.readTurn.give()
		return false
	}
	a.beginLocked(c, request)
	return true
}

// possibleLocked reports whether the caller may become the reader and send the request
// meanwhile. It refuses a long request: while the write of that waits for the network the
// connection would not be read. If it returns true the caller has writeTurn.
func (a *asking) possibleLocked(request Message) bool {
	l := a.l
	if len(request.Data) > wsconn.MaxShort || !l.raw.CanAsk() || !l.watch.free() || !l.frames.Drained() ||
		l.heartbeat.owesAnswer() || l.hub.cfg.Exchange == Unpaired {
		return false
	}
	return l.writeTurn.try()
}

func (a *asking) beginLocked(c *lease, request Message) {
	l := a.l
	c.state.running++
	l.disarmLocked()
	l.watch.reader = leaseReader
	a.c, a.request, a.sent, a.err = c, request, false, nil
}

// run sends the request and reads its reply. bound is ctx, or nil if ctx never ends. If only is
// true, attach has begun the lease; run then ends it if the reply was read, and detaches the
// connection from it if nothing was sent. Otherwise begin has been called, and the lease
// continues. The error is that of the write.
func (a *asking) run(ctx, bound context.Context, only bool) (reply Message, stage askStage, err error) {
	l, c := a.l, a.c
	l.raw.BeginRead(bound, false)
	if l.hub.monitor.step > hookWithin {
		l.raw.HookContext(false)
	}
	called, on := l.frames.Ask(ctx, a.onEmpty)
	if !called {
		l.writeTurn.give()
	}
	if a.sent {
		stage = askedSent
	}
	err = a.err
	a.c, a.request, a.err = nil, Message{}, nil
	for stage == askedSent && err == nil && on && !l.frames.MessagePending() && !l.frames.EndPending() {
		l.handleControls()
		on = l.frames.Await()
	}
	l.handleControls()

	l.mu.Lock()
	if stage == askedSent && err == nil && on && l.lease == c && !l.heartbeat.owesAnswer() && !l.hub.cfg.CheckUTF8 {
		whole := false
		if reply.Type, reply.Data, whole = l.frames.TakeMessage(l.hub.cfg.ReadLimit, nil); whole {
			stage = askedReplied
			c.state.received()
			c.servedLocked()
		}
	}
	var unhook func() bool
	if bound != nil {
		unhook = l.raw.FinishRead(stage == askedReplied)
	}
	c.state.running--
	l.freeLocked()
	if !only {
		l.readTurn.give()
	}
	if l.keepalive.readOn(l.hub.clock, l.frames.LastRead.Load()) && l.watchableLocked() {
		l.startWatchLocked()
	}
	var dirty error
	ends := false
	switch {
	case !only || l.lease != c:
	case stage == askedNot:
		l.lease = nil
	case stage == askedReplied:
		if ends = c.ended.CompareAndSwap(false, true); ends {
			dirty = l.detachLocked(c, false)
		}
	}
	l.mu.Unlock()
	if unhook != nil {
		unhook()
	}
	switch {
	case !ends:
	case dirty == nil:
		c.pooled.Release()
	default:
		c.pooled.Discard(dirty)
	}
	return reply, stage, err
}

// send is called by FrameConn.Ask. It sends the request, unless the lease or the connection has
// ended meanwhile, and reports whether Ask must wait for the reply.
func (a *asking) send() (wait bool) {
	l := a.l
	defer l.writeTurn.give()
	l.mu.Lock()
	if a.sent = a.c.writableLocked() == nil; a.sent {
		a.c.state.sent()
	}
	l.mu.Unlock()
	if !a.sent {
		return false
	}
	a.err = write(l, a.request)
	wrote(l, a.err)
	return a.err == nil
}
