package mux

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// call is one attempt of a call on one connection, or a message without an id that a caller
// waits to be written. It is used again for other calls: nothing refers to it once its caller
// has returned.
type call struct {
	waiter
	buf    []byte  // of the encoded message
	stream *Stream // the request is that of a stream; nil: of a call
	cost   int64

	// Set before arrived, under the lock of the connection.
	reply Message
	err   error // why there is no reply
	fate  error // ErrNotSent or ErrMayHaveRun, if err is set
	flown bool  // it was handed to the network

	parted bool // reply is the first Part, and the End is awaited
	shared bool // a large message may take a connection that others use
}

// getCall returns a call that nothing refers to. The pool of them is the client's, since a channel
// that was made in a bubble of testing/synctest must stay in it.
func (c *Client) getCall(r *Request) *call {
	k, _ := c.calls.Get().(*call)
	if k == nil {
		k = new(call)
		k.init()
	}
	k.clear(r)
	return k
}

// clear makes k ready for another attempt.
func (k *call) clear(r *Request) {
	k.reset()
	k.stream, k.reply, k.err, k.fate, k.flown, k.parted, k.shared = nil, Message{}, nil, nil, false, false, false
	k.cost = int64(max(1, r.Cost))
}

func (c *Client) putCall(k *call) {
	if cap(k.buf) > keptBuffer {
		k.buf = nil
	}
	k.stream, k.reply, k.err = nil, Message{}, nil
	c.calls.Put(k)
}

// connState is what a connection is used for.
type connState uint8

const (
	open     connState = iota
	draining           // it takes no more calls
	ended
)

// conn is the coordinator of one leased connection. Its components are slots, outbox, ring and
// inbox.
//
// # Which goroutine writes
//
// A call adds its message to the outbox. If no goroutine writes, its goroutine does, for all
// messages that are in the outbox by then. No write waits for the network: what that does not
// take at once is written in the background (wspool.Conn.StartBatch), and the outbox collects
// meanwhile.
//
// # Which goroutine reads
//
// A caller that waits reads, if no goroutine does, and delivers what arrives to others (it has
// the lead), until its own reply is there. Then it wakes another waiter to take the lead. If
// none waits, the connection calls onReady when something arrives.
type conn struct {
	client    *Client
	ws        *wspool.Conn
	id        uint64 // of the connection in its pool
	server    string // its address; empty: not known
	exclusive bool   // for one stream, or one large message at a time
	replaced  bool   // another one has taken its place; guarded by Client.mu
	written   func(whole int, err error)
	onReady   func()
	ctx       context.Context // of OnEvent and OnRequest; nil: there is neither
	cancel    context.CancelCauseFunc
	load      atomic.Int64 // cost of what is in flight
	backlog   atomic.Int64 // bytes in the outbox

	// Guarded by mu. Client.mu is locked before it, link.mu of wspool and Stream.mu after it.
	mu       sync.Mutex
	state    connState
	cause    error // why it is draining or has ended
	closing  bool  // the client is being closed: streams end, and do not move
	slots    slots[*call]
	reserved int // calls that were promised a slot
	out      outbox
	broken   bool // a write has failed: it is about to end
	writing  bool // a goroutine writes the outbox, or a batch is written in the background
	leading  bool // a goroutine reads
	waiters  ring
	inbox    inbox
	streams  map[*Stream]struct{}
	keys     map[string]*Stream
	dirty    bool // the server may still send messages of a stream or call that was ended here, or has sent Away
	sessions int  // names of sessions that are bound to it
	used     bool // since the last sweep
	unused   int  // sweeps since it was used
	deadline *time.Timer
	chunk    []byte // where replies are read to
	stats    connCounts
}

// connCounts are counters of one connection.
type connCounts struct {
	calls, batches, messages              int64
	late, unknown, bad, ignored, unwanted int64
	eventsDropped, streamDropped          int64
	orphaned                              int64
}

// usedIDs is the largest id, before its generation begins again, on a connection that was given back to its
// pool: the next client that leases it must not use an id again for which the server may repeat a reply. It
// is one number for all, since the pools of two clients may be the same. It is no generation, since clients
// with other limits divide ids into slot and generation differently.
var usedIDs atomic.Uint64

// noteIDs raises usedIDs.
func noteIDs(last uint64) {
	for {
		old := usedIDs.Load()
		if last <= old || usedIDs.CompareAndSwap(old, last) {
			return
		}
	}
}

// newConn returns a connection that the client does not have yet. No lock is held: the methods of the
// address may be those of a net.Conn of the user.
func newConn(c *Client, ws *wspool.Conn, exclusive bool) *conn {
	n := &conn{client: c, ws: ws, id: ws.Info().ID, exclusive: exclusive}
	_ = c.guard("RemoteAddr", func() error {
		if addr := ws.RemoteAddr(); addr != nil {
			n.server = addr.String()
		}
		return nil
	})
	n.written, n.onReady = n.batchWritten, n.readReady
	if c.cfg.OnEvent != nil || c.cfg.OnRequest != nil {
		n.ctx, n.cancel = context.WithCancelCause(c.ctx)
	}
	n.slots = newSlots[*call](c.idBits, c.cfg.MaxInFlight+c.cfg.mostOrphans()+1, usedIDs.Load())
	n.inbox.limit, n.inbox.maxAsks = c.cfg.EventBuffer, c.cfg.MaxAsks
	return n
}

// start begins to use the connection.
func (c *conn) start() {
	c.mu.Lock()
	c.relayLocked()
	c.mu.Unlock()
	c.ws.OnRecall(c.retire)
}

// roomLocked reports whether the connection takes another call.
func (c *conn) roomLocked() bool {
	most := c.client.cfg.MaxInFlight
	if c.exclusive {
		most = 1
	}
	if c.exclusive && len(c.streams) > 0 {
		return false
	}
	inUse := c.slots.live + c.reserved
	return c.state == open && inUse < most && inUse+c.slots.orphans < c.slots.max
}

// reserve promises a slot to a call.
func (c *conn) reserve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.roomLocked() {
		return false
	}
	c.reserved++
	return true
}

// unreserve takes a promise back.
func (c *conn) unreserve() {
	c.mu.Lock()
	c.reserved--
	c.unlock(true)
}

// errElsewhere: the connection does not take the call, which can be sent on another one.
var errElsewhere = errors.New("mux: the connection takes no call")

// errBulk: the message is too long for a connection that others use.
var errBulk = errors.New("mux: the message is large")

// takeSlot takes the slot that k was promised.
func (c *conn) takeSlot(k *call) (id uint64, ok bool) {
	c.mu.Lock()
	c.reserved--
	if c.state != open {
		c.unlock(false)
		return 0, false
	}
	defer c.mu.Unlock()
	if id, ok = c.slots.take(k); ok {
		c.load.Add(k.cost)
		c.used = true
		if k.stream != nil && c.client.subscriber == nil {
			c.attachLocked(k.stream, id, "", Message{})
		}
	}
	return id, ok
}

// giveSlotBack frees the slot of a call that was not sent.
func (c *conn) giveSlotBack(id uint64, k *call) {
	c.mu.Lock()
	if e := c.slots.find(id); e != nil && e.owner == k { // else fail was faster
		c.slots.release(id)
		c.load.Add(-k.cost)
		c.detachLocked(k)
	}
	c.unlock(true)
}

// do sends the call, for which the connection has promised a slot, and waits for its reply. If it
// fails k.fate says whether it may have run.
func (c *conn) do(ctx context.Context, k *call, r *Request) (m Message, err error) {
	k.fate = ErrNotSent
	id, ok := c.takeSlot(k)
	if !ok {
		return m, errElsewhere
	}
	posted, over := false, false
	defer func() { // also if the codec has ended the goroutine, or ctx panics
		switch {
		case !posted:
			c.giveSlotBack(id, k)
		case !over:
			c.giveUp(resource.ErrGoexit, id, k)
		}
	}()
	kind, data, err := c.client.encode(k.buf[:0], id, r.Body)
	if err != nil {
		return m, err
	}
	k.buf = data
	if bulk := c.client.cfg.Bulk; bulk > 0 && len(data) >= bulk && !c.exclusive && !k.shared && r.Session == "" {
		return m, errBulk
	}
	p := parcel{kind: kind, id: id}
	if k.stream != nil && c.client.subscriber == nil {
		p.call = k // nothing says that the server has accepted the request
	}
	if posted = c.post(ctx, p, data); !posted {
		if ctx.Err() != nil {
			return m, causeOf(ctx)
		}
		return m, errElsewhere
	}
	arrived := false
	if p.call != nil {
		arrived = c.awaitWritten(ctx, k)
	} else {
		arrived = c.await(ctx, &k.waiter)
	}
	if !arrived {
		c.giveUp(causeOf(ctx), id, k)
	}
	over = true
	if k.err != nil {
		return Message{}, k.err // a Part may have come
	}
	return k.reply, nil
}

// causeOf returns why ctx, which has ended, has. ctx is the user's, so no lock may be held.
func causeOf(ctx context.Context) error {
	return cmp.Or(context.Cause(ctx), ctx.Err(), context.Canceled) // a type of the user may close Done alone
}

// post adds a message to the outbox and has it written. It reports false if it was not added:
// the caller's context had ended, or the connection has. If the context ends after that look, the
// caller finds that out when it waits, and takes the message back if it is still in the outbox.
func (c *conn) post(ctx context.Context, p parcel, data []byte) bool {
	if ctx.Err() != nil { // without the lock: it may be a method of the user
		return false
	}
	c.mu.Lock()
	if c.state == ended {
		c.mu.Unlock()
		return false
	}
	c.out.add(p, data)
	c.backlog.Store(int64(c.out.bytes()))
	c.stats.messages++
	write, others := !c.writing, c.slots.live > 1
	c.writing = true
	c.mu.Unlock()
	if write {
		if others {
			// Callers that are about to add a message may do so first: with many in flight
			// that makes one write of many. A timer would delay them when there are few.
			runtime.Gosched()
		}
		c.flush(flushRounds)
	}
	return true
}

// flushRounds is how many batches the goroutine of a caller writes. A goroutine of its own
// writes more, so that the caller does not write for others for ever.
const flushRounds = 4

// flush writes the outbox. The calling goroutine has writing.
func (c *conn) flush(rounds int) {
	for i := 0; ; i++ {
		c.mu.Lock()
		if c.state == ended || c.out.empty() {
			c.writing = false
			c.unlock(false)
			return
		}
		if i == rounds {
			c.mu.Unlock()
			c.client.work.Go(func() { c.flush(-1) })
			return
		}
		batch := c.out.swap(c.client.cfg.MaxBatch)
		c.backlog.Store(int64(c.out.bytes()))
		c.stats.batches++
		for _, p := range c.out.sending {
			if e := c.slots.find(p.id); p.id != 0 && e != nil && e.state == queued {
				e.state, e.owner.flown = flying, true
			}
			if p.call != nil {
				p.call.flown = true
			}
		}
		c.mu.Unlock()
		later, whole, err := c.ws.StartBatch(batch, c.written)
		if later || !c.batchEnded(whole, err) {
			return
		}
	}
}

// batchWritten is called when a batch was written in the background.
func (c *conn) batchWritten(whole int, err error) {
	if c.batchEnded(whole, err) {
		c.flush(-1)
	}
}

// batchEnded deals with the end of a write. It reports whether to go on writing.
func (c *conn) batchEnded(whole int, err error) bool {
	c.mu.Lock()
	why := err
	if why != nil && c.state == ended {
		why = c.cause // the write was broken off for that
	}
	for i, p := range c.out.sending {
		sent := err == nil || i < whole
		switch {
		case p.lost: // fail has left the fate to this write
			p.call.err, p.call.fate = c.cause, fateOf(sent)
			p.call.arrived()
		case p.call != nil:
			if !p.call.ready.Load() {
				if err != nil {
					p.call.err, p.call.fate = why, fateOf(sent)
				}
				p.call.arrived()
			}
		case sent || p.id == 0:
		default:
			if e := c.slots.find(p.id); e != nil && e.state == flying && e.owner != nil {
				c.endLocked(p.id, e.owner, err, ErrNotSent)
			}
		}
	}
	c.out.sent()
	if err != nil {
		c.writing, c.broken = false, true
	}
	c.mu.Unlock()
	if err != nil {
		c.fail(err)
	}
	return err == nil
}

func fateOf(sent bool) error {
	if sent {
		return ErrMayHaveRun
	}
	return ErrNotSent
}

// endLocked ends a call that has no reply.
func (c *conn) endLocked(id uint64, k *call, err, fate error) {
	c.slots.release(id)
	c.load.Add(-k.cost)
	k.err, k.fate = err, fate
	k.arrived()
}

// await waits until w is ready, and reads the connection for all if no other goroutine does. It
// returns false if ctx ended before. ctx may be a type of the user, and is asked without the lock.
func (c *conn) await(ctx context.Context, w *waiter) bool {
	over := ctx.Err() != nil
	c.mu.Lock()
	locked := true
	defer func() {
		if !locked { // the codec has ended the goroutine, or ctx has panicked
			c.mu.Lock()
		}
		c.waiters.remove(w)
		c.relayLocked()
		c.unlock(false)
	}()
	for !w.ready.Load() && !over {
		lead := !c.leading && c.state != ended
		if lead {
			c.leading = true
			c.waiters.remove(w)
		} else if !w.in {
			c.waiters.add(w)
		}
		c.mu.Unlock()
		locked = false
		if lead {
			c.lead(ctx, w)
			over = ctx.Err() != nil
		} else {
			select {
			case <-w.wake:
				over = ctx.Err() != nil
			case <-ctx.Done():
				over = true
			}
		}
		c.mu.Lock()
		locked = true
	}
	return w.ready.Load()
}

// awaitWritten waits until the message of k is written, or cannot be. The goroutine does not read
// meanwhile: a read would go on after the write, which may end in the background. It returns false if
// ctx ended before.
func (c *conn) awaitWritten(ctx context.Context, k *call) bool {
	c.mu.Lock()
	c.relayLocked() // the messages of the stream may arrive already
	c.unlock(false)
	select {
	case <-k.wake:
	case <-ctx.Done():
	}
	return k.ready.Load()
}

// relayLocked has another goroutine read, if none does: the newest waiter, whose reply is likely
// to come last, or one that is started when something arrives.
func (c *conn) relayLocked() {
	switch {
	case c.leading || c.state == ended:
	case c.waiters.newest != nil:
		c.waiters.newest.rouse()
	default:
		c.ws.Watch(c.onReady, len(c.streams) > 0 || c.client.cfg.OnEvent != nil || c.client.cfg.OnRequest != nil)
	}
}

// lead reads until w is ready, ctx ends or the connection does. The caller has the lead, which
// ends, or goes to another goroutine.
func (c *conn) lead(ctx context.Context, w *waiter) {
	returned := false
	defer func() {
		if !returned { // the codec has ended the goroutine
			c.stepDown()
		}
	}()
	for {
		kind, p, err := c.ws.ReadWhole(ctx, c.space())
		switch err {
		case nil:
			if c.dispatch(kind, p); !w.ready.Load() && ctx.Err() == nil {
				continue
			}
		case wspool.ErrQuiet: // ctx has ended
		case wspool.ErrPartial:
			// The rest of the message must be waited for, and reading it cannot be
			// interrupted without harm: this caller's context would be ignored.
			returned = true
			c.client.work.Go(c.carry)
			return
		default:
			c.fail(err)
		}
		returned = true
		c.mu.Lock()
		c.leading = false
		c.mu.Unlock()
		return
	}
}

// stepDown ends the lead and has another goroutine read.
func (c *conn) stepDown() {
	c.mu.Lock()
	c.leading = false
	c.relayLocked()
	c.unlock(false)
}

// carry reads one long message. It has the lead.
func (c *conn) carry() {
	defer c.stepDown()
	kind, p, err := c.ws.ReadMessage(context.Background())
	if err != nil {
		c.fail(err)
	} else {
		c.dispatch(kind, p)
	}
}

// over is a context that has ended.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// readReady is called when something has arrived, or the connection has ended, and no goroutine
// reads. It reads what is there.
func (c *conn) readReady() {
	c.mu.Lock()
	if c.leading || c.state == ended {
		c.mu.Unlock()
		return
	}
	c.leading = true
	c.mu.Unlock()
	defer c.stepDown()
	for {
		kind, p, err := c.ws.ReadWhole(over, c.space())
		if err == wspool.ErrPartial {
			kind, p, err = c.ws.ReadMessage(context.Background())
		}
		if err == wspool.ErrQuiet {
			if err = c.ws.Err(); err == nil {
				return
			}
		}
		if err != nil {
			c.fail(err)
			return
		}
		c.dispatch(kind, p)
		c.mu.Lock()
		others := c.waiters.newest != nil
		c.mu.Unlock()
		if others {
			return
		}
	}
}

// chunkSize is how many bytes are allocated for small replies together. A reply that is kept
// keeps its neighbors.
const chunkSize, smallReply = 2 << 10, 256

// space returns where to read the next message to. The caller has the lead, which guards chunk.
func (c *conn) space() []byte {
	if cap(c.chunk) < smallReply {
		c.chunk = make([]byte, 0, chunkSize)
	}
	return c.chunk[:0]
}

// keep makes p, which was read to space, the receiver's.
func (c *conn) keep(p []byte) []byte {
	if n := len(p); n <= cap(c.chunk) && n > 0 && &p[0] == &c.chunk[:1][0] {
		c.chunk = c.chunk[n:n:cap(c.chunk)]
	}
	return p[:len(p):len(p)]
}

// dispatch delivers a message. The caller has the lead.
func (c *conn) dispatch(kind int, p []byte) {
	f, err := c.client.classify(kind, p)
	if err != nil {
		c.drop(f, len(p), DropBad, err)
		return
	}
	switch f.Kind {
	case Reply, Part, End:
		c.deliver(f, Message{Type: kind, Data: p})
	case Event:
		c.offer(f, kind, p, c.client.cfg.OnEvent != nil)
	case Ask:
		c.offer(f, kind, p, c.client.cfg.OnRequest != nil)
	case Away:
		c.mu.Lock()
		c.dirty = true // whatever it is drained for
		c.mu.Unlock()
		c.drain(ErrAway)
	default:
		c.mu.Lock()
		c.stats.ignored++
		c.mu.Unlock()
	}
}

// deliver gives a message to its call or stream.
func (c *conn) deliver(f Frame, m Message) {
	c.mu.Lock()
	if f.Key != nil && f.Kind != Reply {
		s := c.keys[string(f.Key)]
		c.mu.Unlock()
		c.toStream(s, f, m)
		return
	}
	e := c.slots.find(f.ID)
	switch {
	case e == nil:
		reason := DropUnknown
		if c.slots.issued(f.ID) {
			reason = DropLate
		}
		c.mu.Unlock()
		c.drop(f, len(m.Data), reason, nil)
	case e.state == queued: // it answers what was not sent
		c.mu.Unlock()
		c.drop(f, len(m.Data), DropUnknown, nil)
	case e.state == orphan && e.subscribed && f.Kind == Reply:
		c.answerStream(nil, f, m)
	case e.state == orphan:
		if f.Kind != Part {
			c.slots.release(f.ID)
		}
		c.unlock(f.Kind != Part)
		c.drop(f, len(m.Data), DropLate, nil)
	case e.owner.stream != nil:
		c.answerStream(e.owner, f, m)
	case f.Kind == Part && e.owner.parted:
		c.mu.Unlock()
		c.drop(f, len(m.Data), DropUnwanted, nil)
	case f.Kind == Part:
		m.Data = c.keep(m.Data)
		e.owner.reply, e.owner.parted = m, true
		c.mu.Unlock()
	default:
		k := e.owner
		c.slots.release(f.ID)
		c.load.Add(-k.cost)
		c.stats.calls++
		replaced := -1
		if f.Kind != End || !k.parted {
			if k.parted {
				replaced = len(k.reply.Data)
			}
			m.Data = c.keep(m.Data)
			k.reply = m
		}
		k.arrived()
		c.unlock(true)
		if replaced >= 0 { // a Part that was no part of a stream
			c.drop(Frame{Kind: Part, ID: f.ID}, replaced, DropUnwanted, nil)
		}
	}
}

// unlock unlocks mu. If a slot was freed a caller may get it, and if the connection is drained
// it may be done.
func (c *conn) unlock(freed bool) {
	drained := c.state == draining
	c.mu.Unlock()
	if freed {
		c.client.freed()
	}
	if drained {
		c.rest()
	}
}

// drop counts a message that nothing receives.
func (c *conn) drop(f Frame, bytes int, why DropReason, err error) {
	c.mu.Lock()
	switch why {
	case DropLate:
		c.stats.late++
	case DropUnknown:
		c.stats.unknown++
	case DropBad:
		c.stats.bad++
	case DropUnwanted:
		c.stats.unwanted++
	case DropOverflow:
		c.stats.streamDropped++
	}
	c.mu.Unlock()
	f.Key = nil
	c.client.traceDropped(DropEvent{Conn: c.id, Frame: f, Bytes: bytes, Reason: why, Err: err})
}

// giveUp ends a call whose caller does not wait any more because of cause, unless its reply or the
// end of the connection was faster.
func (c *conn) giveUp(cause error, id uint64, k *call) {
	c.mu.Lock()
	if k.ready.Load() {
		c.mu.Unlock()
		return
	}
	k.err = cause
	e := c.slots.find(id)
	held := e != nil && e.owner == k // else its stream was closed meanwhile: detach has abandoned it
	if held {
		c.load.Add(-k.cost)
	}
	if c.out.remove(func(p *parcel) bool { return p.id == id }) {
		if e != nil {
			c.slots.release(id)
		}
		c.detachLocked(k)
		k.fate = ErrNotSent
		c.unlock(true)
		return
	}
	c.out.forget(k)
	k.fate = ErrMayHaveRun
	if !held {
		c.detachLocked(k)
		c.unlock(false)
		return
	}
	if subscribed := k.stream != nil && c.client.subscriber != nil; c.client.final && !subscribed {
		c.dirty = true
		c.slots.release(id) // no reply will come, and a late message has another generation
	} else {
		c.slots.abandon(id, c.client.ticks.Load(), subscribed)
		c.stats.orphaned++
	}
	c.detachLocked(k)
	orphans := c.slots.orphans
	c.unlock(true)
	c.sendCancel(id, nil)
	switch cfg := &c.client.cfg; {
	case orphans > cfg.mostOrphans():
		c.drain(fmt.Errorf("%w: over %d", ErrOrphans, cfg.mostOrphans()))
	case orphans > cfg.MaxOrphans:
		c.retire(fmt.Errorf("%w: over %d", ErrOrphans, cfg.MaxOrphans))
	}
}

// sendCancel sends the codec's message that cancels id.
func (c *conn) sendCancel(id uint64, key []byte) {
	if kind, data, ok := c.client.encodeCancel(id, key); ok {
		c.post(context.Background(), parcel{kind: kind}, data)
	}
}

// notify sends a message without an id and waits until it is written.
func (c *conn) notify(ctx context.Context, k *call, body any) error {
	kind, data, err := c.client.encode(k.buf[:0], 0, body)
	k.fate = ErrNotSent
	if err != nil {
		return err
	}
	k.buf = data
	if !c.post(ctx, parcel{kind: kind, call: k}, data) {
		if ctx.Err() != nil {
			return causeOf(ctx)
		}
		return errElsewhere
	}
	select {
	case <-k.wake:
	case <-ctx.Done():
	}
	if k.ready.Load() {
		return k.err
	}
	cause := causeOf(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.ready.Load() {
		return k.err
	}
	if !c.out.remove(func(p *parcel) bool { return p.call == k }) {
		k.fate = ErrMayHaveRun
		c.out.forget(k)
	}
	return cause
}

// offer gives a message to the user's functions.
func (c *conn) offer(f Frame, kind int, p []byte, wanted bool) {
	if !wanted {
		c.drop(f, len(p), DropUnwanted, nil)
		return
	}
	m := Message{Type: kind, Data: append([]byte(nil), p...)}
	c.mu.Lock()
	added, start := c.inbox.offer(incoming{m, f.Kind == Ask})
	if !added {
		c.stats.eventsDropped++
	}
	c.mu.Unlock()
	if !added {
		f.Key = nil
		c.client.traceDropped(DropEvent{Conn: c.id, Frame: f, Bytes: len(p), Reason: DropOverflow})
	}
	if start {
		c.client.work.Go(c.serve)
	}
}

// errGoexit: a function of the user has ended its goroutine.
var errGoexit = fmt.Errorf("%w: %w", ErrUnanswered, resource.ErrGoexit)

// serve calls the user's functions for what waits in the inbox.
func (c *conn) serve() {
	returned := false
	defer func() {
		if !returned {
			c.fail(errGoexit)
		}
	}()
	for {
		c.mu.Lock()
		m, ok := c.inbox.next()
		if !ok {
			returned = true
			c.unlock(false)
			return
		}
		c.mu.Unlock()
		if m.ask {
			c.client.work.Go(func() { c.answer(m.m) })
		} else {
			c.unanswered(c.client.guard("OnEvent", func() error { return c.client.cfg.OnEvent(c.ctx, m.m) }))
		}
	}
}

// answer calls OnRequest and sends what it returns. The request counts towards MaxAsks until its answer
// is written, or the connection has ended: a server that sends requests and does not read the answers
// gets no more of them.
func (c *conn) answer(m Message) {
	err := errGoexit // unless it returns
	defer func() {
		c.unanswered(err)
		c.mu.Lock()
		start := c.inbox.answered()
		c.unlock(false)
		if start {
			c.client.work.Go(c.serve)
		}
	}()
	var reply *Message
	err = c.client.guard("OnRequest", func() (err error) { reply, err = c.client.cfg.OnRequest(c.ctx, m); return err })
	if err != nil || reply == nil {
		return
	}
	k := c.client.getCall(&Request{})
	if c.post(context.Background(), parcel{kind: reply.Type, call: k}, reply.Data) {
		<-k.wake // the end of the connection ends the write too
	}
	c.client.putCall(k)
}

func (c *conn) unanswered(err error) {
	if err != nil {
		c.fail(fmt.Errorf("%w: %w", ErrUnanswered, err))
	}
}

// drain lets the connection take no more calls, because of cause. What is in flight goes on,
// streams move, and then the lease ends.
func (c *conn) drain(cause error) {
	c.mu.Lock()
	if c.state != open {
		c.mu.Unlock()
		return
	}
	c.state, c.cause = draining, cause
	if cause != ErrClosed { // else the context of Close bounds it
		c.deadline = time.AfterFunc(c.client.cfg.DrainWait, func() { c.fail(fmt.Errorf("%w: %w", ErrDrainWait, cause)) })
	}
	e := c.eventLocked(cause)
	streams, closing := c.streamsLocked(), c.closing
	c.mu.Unlock()
	c.client.traceConn(c.client.cfg.Trace.Draining, e)
	c.client.leaves(c)
	for _, s := range streams {
		s.move(c, cause, closing)
	}
	c.rest()
}

func (c *conn) eventLocked(err error) ConnEvent {
	return ConnEvent{Conn: c.id, InFlight: c.slots.live, Orphans: c.slots.orphans, Err: err}
}

func (c *conn) streamsLocked() (all []*Stream) {
	for s := range c.streams {
		all = append(all, s)
	}
	return all
}

// emptyLocked reports whether nothing is on the connection but calls that were given up.
func (c *conn) emptyLocked() bool {
	return c.slots.live == 0 && c.reserved == 0 && len(c.streams) == 0 &&
		c.out.empty() && !c.writing && !c.inbox.serving && c.inbox.asks == 0
}

// rest ends the lease of a connection that is drained and on which nothing is left. Replies to
// calls that were given up are not waited for.
func (c *conn) rest() {
	c.mu.Lock()
	if c.state != draining || c.leading || !c.emptyLocked() {
		c.mu.Unlock()
		return
	}
	c.endLeaseLocked(c.cause)
}

// endLeaseLocked ends the lease and unlocks mu. Nothing is on the connection, and no goroutine
// reads. The connection is destroyed if the server may still send for what was given up or closed
// here, since that would reach the next lease: a reply to an orphan; a message of a stream that was
// closed and whose end nothing confirms, or of a call that was canceled for good; or whatever follows
// Away (conn.dirty).
func (c *conn) endLeaseLocked(cause error) {
	c.state = ended
	e := c.eventLocked(cause)
	dirty := c.slots.orphans > 0 || c.dirty
	noteIDs(c.slots.lastID())
	c.stopLocked(cause)
	c.mu.Unlock()
	if dirty {
		c.ws.Discard(cause)
	} else {
		c.ws.Release()
	}
	c.client.left(c, e)
}

func (c *conn) stopLocked(cause error) {
	if c.deadline != nil {
		c.deadline.Stop()
	}
	if c.cancel != nil {
		c.cancel(cause)
	}
}

// fail ends the connection: every call on it gets its fate. Of the calls that are being written the
// result of the write says which have left whole; it comes at once, since the end of the lease breaks
// the write off. So batchEnded gives them their fate.
func (c *conn) fail(cause error) {
	c.mu.Lock()
	if c.state == ended {
		c.mu.Unlock()
		return
	}
	e := c.eventLocked(cause)
	c.state, c.cause = ended, cause
	for i := range c.out.sending {
		if p := &c.out.sending[i]; p.id != 0 {
			if s := c.slots.find(p.id); s != nil && s.state == flying && !s.owner.ready.Load() {
				p.call, p.lost = s.owner, true
				c.slots.release(p.id)
			}
		}
	}
	for i := range c.slots.all {
		s := &c.slots.all[i]
		if s.state != queued && s.state != flying {
			continue
		}
		if s.owner.stream != nil && s.owner.ready.Load() {
			continue // its stream gets the cause
		}
		k := s.owner
		k.err, k.fate = cause, fateOf(s.state == flying)
		k.arrived()
	}
	c.slots = newSlots[*call](c.client.idBits, 1, 0)
	c.load.Store(0)
	c.out.discard(func(p *parcel) {
		if p.call != nil {
			p.call.err, p.call.fate = cause, ErrNotSent
			p.call.arrived()
		}
	})
	streams := c.streamsLocked()
	c.streams, c.keys = nil, nil
	c.stopLocked(cause)
	c.mu.Unlock()
	c.ws.Discard(cause)
	c.client.left(c, e)
	for _, s := range streams {
		s.lost(c, cause)
	}
}
