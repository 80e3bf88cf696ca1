package wspool

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// MinHeartbeat is the shortest [Heartbeat.Every].
const MinHeartbeat = 10 * time.Millisecond

// Heartbeat is a keepalive message of the application's own protocol, for
// [Config.Heartbeat]: {"type":"KeepAlive"}, which speech services require every few
// seconds, or a request that shows that the application behind the server works. It is
// sent on every connection, idle or leased, on which no message has been sent for Every,
// once its dial is over.
//
// A server that answers heartbeats needs an Expect: without it an answer is unsolicited,
// or passes for the answer to what a lease has written.
//
// A heartbeat is never sent inside a message that a lease writes, and so not while a
// [Conn.NextWriter] is open. [Sockets.Heartbeats] counts it; neither it nor its answer
// counts in [Config.Exchange].
type Heartbeat struct {
	// Every is how long no message may be sent before a heartbeat is. Each connection
	// uses up to a tenth less, so that heartbeats do not synchronize. At least
	// MinHeartbeat. Zero: no heartbeats.
	Every time.Duration
	// Message is what is sent, if New is nil.
	Message Message
	// New returns what to send, for messages that contain a time or a number. It must
	// not block. Several goroutines call it at once, one for each connection; a panic
	// destroys the connection. Nil: Message.
	New func() Message
	// Expect reports whether m is the peer's answer to a heartbeat. It is called for
	// each message of up to MaxHeartbeatAnswer bytes that arrives while an answer is
	// awaited; a message for which it returns true reaches neither a lease nor
	// OnUnsolicited. If no answer arrives within [Config.PongWait] the connection is
	// dead ([ErrSilent]); time during which a message waits for the lease to read it
	// does not count. It runs on the goroutine that reads the connection and must
	// neither block nor keep m.Data; a panic destroys the connection. Nil: heartbeats
	// are not answered.
	Expect func(m Message) bool
}

// MaxHeartbeatAnswer is the greatest length of an answer to a heartbeat, in bytes. A
// longer message is never taken for one.
const MaxHeartbeatAnswer = 64 << 10

// heartbeat checks the fields of h.
func (bad *complaints) heartbeat(h *Heartbeat) {
	bad.no(h.Every == 0 || h.Every >= MinHeartbeat, "Heartbeat.Every must be 0 or at least %v, got %v", MinHeartbeat, h.Every)
	if h.Every == 0 {
		bad.no(h.New == nil && h.Expect == nil && h.Message.Type == 0 && h.Message.Data == nil, "Heartbeat.Every is 0, but other fields are set")
		return
	}
	bad.no(h.New == nil || h.Message.Type == 0 && h.Message.Data == nil, "Heartbeat has both a Message and New")
	bad.no(h.New != nil || isData(h.Message.Type), "Heartbeat.Message.Type must be TextMessage or BinaryMessage, got %d", h.Message.Type)
	bad.no(h.Message.Type != websocket.TextMessage || utf8.Valid(h.Message.Data), "Heartbeat.Message is a text that is not UTF-8")
}

const (
	// answerGrace is how long the reader gets to find an answer that may have arrived
	// already: after a process has stood still, its timers fire before its readers run.
	answerGrace = 100 * time.Millisecond

	// busyPart is by which part of Every a heartbeat is put off that finds a message
	// being written.
	busyPart = 16
)

// heartbeat decides when a heartbeat is sent and when its answer is overdue. The
// connection's lock guards all fields but written. A nil heartbeat sends none.
type heartbeat struct {
	every    time.Duration // Heartbeat.Every, less jitter
	patience time.Duration // PongWait

	written atomic.Int64 // when a message was last written
	timer   *time.Timer  // nil: not started
	ended   bool         // no more are sent
	owed    int          // answers that are awaited
	by      int64        // when one of them must have arrived; 0: none is awaited
	heard   int64        // when bytes had last arrived as by was set
	graced  bool         // the time was up, and the reader has had answerGrace
}

func newHeartbeat(cfg *Config, jitter float64) *heartbeat {
	if cfg.Heartbeat.Every <= 0 {
		return nil
	}
	return &heartbeat{every: cfg.Heartbeat.Every - time.Duration(jitter*float64(cfg.Heartbeat.Every)/10), patience: cfg.PongWait}
}

// start starts the timer, which calls f. A dial that ended at dialed counts as a write.
func (h *heartbeat) start(now, dialed int64, f func()) {
	if h == nil || h.ended {
		return
	}
	h.written.Store(max(h.written.Load(), dialed))
	h.timer = time.AfterFunc(h.until(now), f)
}

// stop ends the heartbeats. One that is being sent is counted in link.senders.
func (h *heartbeat) stop() {
	if h == nil {
		return
	}
	h.ended = true
	if h.timer != nil {
		h.timer.Stop()
	}
}

// wrote notes that a message was written.
func (h *heartbeat) wrote(now int64) {
	if h != nil {
		h.written.Store(now)
	}
}

// owesAnswer reports whether an answer is awaited.
func (h *heartbeat) owesAnswer() bool { return h != nil && h.owed > 0 }

// until returns how long until a heartbeat is due, at least 0.
func (h *heartbeat) until(now int64) time.Duration {
	return max(0, time.Duration(h.written.Load()+int64(h.every)-now))
}

// beatFacts are what due decides by.
type beatFacts struct {
	now      int64
	lastRead int64
	stalled  bool // a message waits for the lease to read it
	arriving bool // part of a message has arrived
}

// beat is what due decides.
type beat uint8

const (
	beatWait beat = iota
	beatRead      // have the connection read, and wait
	beatSend      // send a heartbeat
	beatDead      // the answer is overdue
)

// due decides what is to be done now, and for how long to wait then.
func (h *heartbeat) due(f beatFacts) (b beat, wait time.Duration) {
	wait = h.until(f.now)
	if h.by != 0 {
		var left time.Duration
		if b, left = h.answerDue(f); b == beatDead {
			return b, 0
		}
		wait = min(max(wait, time.Millisecond), left)
	}
	if h.until(f.now) == 0 {
		if b == beatWait {
			b = beatSend
		}
	}
	return b, wait
}

// answerDue decides about the answer that is awaited, and for how long it still may be.
func (h *heartbeat) answerDue(f beatFacts) (b beat, left time.Duration) {
	if f.now < h.by {
		return beatWait, time.Duration(h.by - f.now)
	}
	left = h.patience
	switch {
	case f.stalled: // the answer may lie behind the message that waits
	case f.arriving && f.lastRead > h.heard: // or behind the one that is still arriving
	case !h.graced:
		h.graced = true
		b, left = beatRead, answerGrace
	default:
		return beatDead, 0
	}
	h.by, h.heard = f.now+int64(left), f.lastRead
	return b, left
}

// asks notes that a heartbeat is sent whose answer is awaited.
func (h *heartbeat) asks(now, lastRead int64) {
	h.owed++
	if h.by == 0 {
		h.by, h.heard, h.graced = now+int64(h.patience), lastRead, false
	}
}

// answered notes that an answer has arrived. If several are awaited, the next heartbeat
// starts the time of the others.
func (h *heartbeat) answered() {
	h.owed--
	h.by, h.graced = 0, false
}

// next returns how long to wait after an attempt to send a heartbeat.
func (h *heartbeat) next(now int64, sent bool) time.Duration {
	next := h.until(now)
	if !sent {
		next = max(MinHeartbeat, h.every/busyPart)
	}
	if h.by != 0 {
		next = min(next, max(0, time.Duration(h.by-now)))
	}
	return next
}

// onHeartbeat is called by the heartbeat's timer, and sets it anew.
func (l *link) onHeartbeat() {
	l.mu.Lock()
	h := l.heartbeat
	if h.ended || !l.end.usable() {
		l.mu.Unlock()
		return
	}
	if l.reservedLocked() { // the hijack may be undone
		h.timer.Reset(time.Millisecond)
		l.mu.Unlock()
		return
	}
	b, wait := h.due(beatFacts{
		now: l.hub.clock.Now(), lastRead: l.frames.LastRead.Load(),
		stalled: l.watch.stalled(), arriving: l.frames.State().MessagePending,
	})
	if b == beatRead && l.watchableLocked() {
		l.startWatchLocked()
	}
	if b == beatWait || b == beatRead {
		h.timer.Reset(wait)
	}
	if b == beatSend {
		l.senders++
	}
	l.mu.Unlock()
	switch b {
	case beatDead:
		l.fail(fmt.Errorf("%w: no answer to a heartbeat for %v", ErrSilent, l.hub.cfg.PongWait))
	case beatSend:
		sent := false
		defer func() { // also if Heartbeat.New ends this goroutine
			l.mu.Lock()
			defer l.mu.Unlock()
			l.sentLocked()
			if !h.ended && l.end.usable() {
				h.timer.Reset(h.next(l.hub.clock.Now(), sent))
			}
		}()
		sent = l.sendHeartbeat()
	}
}

// sendHeartbeat sends a heartbeat, unless a message is being written. It reports whether
// it did.
func (l *link) sendHeartbeat() (sent bool) {
	cfg := &l.hub.cfg.Heartbeat
	m := cfg.Message
	if cfg.New != nil {
		var err error
		if m, err = l.hub.newHeartbeat(l.fail); err != nil {
			l.fail(err)
			return false
		}
	}
	l.mu.Lock()
	if l.heartbeat.ended || !l.end.usable() || l.dirt.mute || l.reservedLocked() {
		l.mu.Unlock()
		return false
	}
	if !l.writeTurn.try() {
		l.mu.Unlock()
		return false
	}
	defer l.writeTurn.give()
	if cfg.Expect != nil {
		l.heartbeat.asks(l.hub.clock.Now(), l.frames.LastRead.Load())
		if l.watchableLocked() { // else the answer would not be read
			l.startWatchLocked()
		}
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), l.hub.cfg.WriteTimeout)
	defer cancel()
	if err := l.put(ctx, func() error { return write(l, m) }); err != nil {
		l.fail(fmt.Errorf("wspool: heartbeat: %w", err))
		return false
	}
	l.hub.count.heartbeats.Add(1)
	return true
}

// newHeartbeat calls Heartbeat.New. failed is as in contain.
func (h *hub) newHeartbeat(failed func(error)) (m Message, err error) {
	err = h.contain("Heartbeat.New", failed, func() { m = h.cfg.Heartbeat.New() })
	if err == nil && !isData(m.Type) {
		err = fmt.Errorf("wspool: Heartbeat.New: %w", badType(m.Type))
	}
	if err == nil {
		if bad := h.checkText(m.Type, m.Data); bad != nil {
			err = fmt.Errorf("wspool: Heartbeat.New: %v", bad) // not ErrNotUTF8, which blames the peer
		}
	}
	return m, err
}

// takeAnswer reports whether the message that has begun to arrive answers a heartbeat:
// then it was read to its end. Otherwise m is as before, to be read from its beginning.
// A lease does not read while an answer is awaited: it leaves that to a watcher.
func (w *watcher) takeAnswer(m *incoming) (taken bool, err error) {
	l := w.l
	l.mu.Lock()
	awaited := l.heartbeat.owesAnswer() && l.end.usable()
	l.mu.Unlock()
	if !awaited {
		return false, nil
	}
	data, err := io.ReadAll(io.LimitReader(m.r, MaxHeartbeatAnswer+1))
	if err != nil {
		return false, err
	}
	if len(data) > MaxHeartbeatAnswer {
		m.r = io.MultiReader(bytes.NewReader(data), m.r)
		return false, nil
	}
	m.r = bytes.NewReader(data)
	if bad := l.hub.checkText(m.kind, data); bad != nil {
		return false, refuseText(l.ws, bad)
	}
	if err := l.hub.contain("Heartbeat.Expect", l.fail, func() { taken = l.hub.cfg.Heartbeat.Expect(Message{m.kind, data}) }); err != nil {
		return false, err
	}
	if !taken {
		return false, nil
	}
	l.frames.MessageDone()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heartbeat.answered()
	return true, nil
}
