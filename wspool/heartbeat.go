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

// MinHeartbeat is the least [Heartbeat.Every].
const MinHeartbeat = 10 * time.Millisecond

// Heartbeat is a keepalive message of the application's own protocol, for
// [Config.Heartbeat]: {"type":"KeepAlive"}, which speech services want every few
// seconds, or a request that shows that the application behind the server works.
// It is sent on every connection on which no message has been sent for Every,
// idle or leased, once its dial is over.
//
// A server that answers heartbeats needs an Expect: without it, an answer is
// unsolicited, or passes for the answer to what a lease has written.
//
// A heartbeat is a message between two others: it is never sent inside a message
// that a lease writes, so not while a [Conn.NextWriter] is open. It counts in
// [Sockets.Heartbeats], and neither it nor its answer counts in
// [Config.Exchange].
type Heartbeat struct {
	// Every is for how long no message may be sent before a heartbeat is. Each
	// connection takes up to a tenth less, so that they do not beat together.
	// At least MinHeartbeat. Zero: no heartbeat.
	Every time.Duration
	// Message is what is sent, if New is nil.
	Message Message
	// New returns what to send, for messages with a time or a number in them.
	// It must not block. It is called by several goroutines at once, one for
	// each connection; a panic destroys the connection. Nil: Message.
	New func() Message
	// Expect reports whether m is the peer's answer to a heartbeat. It is asked
	// about each message of up to MaxHeartbeatAnswer bytes that comes in while
	// an answer is missing, and a message for which it returns true reaches
	// neither a lease nor OnUnsolicited. If no answer comes within
	// [Config.PongWait] the connection is dead ([ErrSilent]); the time while a
	// message waits for the lease to read it does not count. It runs on the
	// goroutine that reads the connection, must not block or keep m.Data, and
	// a panic destroys the connection. Nil: heartbeats are not answered.
	Expect func(m Message) bool
}

// MaxHeartbeatAnswer is how many bytes the answer to a heartbeat may have. A
// longer message is never taken for one.
const MaxHeartbeatAnswer = 64 << 10

// heartbeat is about the fields of h.
func (bad *complaints) heartbeat(h *Heartbeat) {
	bad.no(h.Every == 0 || h.Every >= MinHeartbeat, "Heartbeat.Every is %v, not 0 or at least %v", h.Every, MinHeartbeat)
	if h.Every == 0 {
		bad.no(h.New == nil && h.Expect == nil && h.Message.Type == 0 && h.Message.Data == nil, "Heartbeat.Every is 0, but other fields are set")
		return
	}
	bad.no(h.New == nil || h.Message.Type == 0 && h.Message.Data == nil, "Heartbeat has both a Message and New")
	bad.no(h.New != nil || isData(h.Message.Type), "Heartbeat.Message.Type is %d, not TextMessage or BinaryMessage", h.Message.Type)
	bad.no(h.Message.Type != websocket.TextMessage || utf8.Valid(h.Message.Data), "Heartbeat.Message is a text that is not UTF-8")
}

// heartbeat is the state of a link's heartbeats. Its link's lock guards all
// fields but written.
type heartbeat struct {
	written atomic.Int64 // when a message was last written, on the hub's clock
	timer   *time.Timer  // nil: there are none, or not yet
	ended   bool         // there are none any more
	owed    int          // answers that have not come
	by      int64        // until when one of them must; 0: for ever
	heard   int64        // when bytes had last come in when by was set
	looked  bool         // the time was up, and the reader has had another moment
}

const (
	// lookAgain is how long the reader gets to find an answer that may have come
	// in already: after a process has stood still, its timers fire before its
	// readers run.
	lookAgain = 100 * time.Millisecond
	// busyPart is for which part of Every a heartbeat is put off that found a
	// message being written.
	busyPart = 16
)

// startHeartbeat begins the heartbeats of l, whose dial is over.
func (l *link) startHeartbeat() {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.heartbeat
	if h == nil || h.ended {
		return
	}
	h.written.Store(max(h.written.Load(), l.dialed))
	h.timer = time.AfterFunc(l.untilHeartbeat(l.hub.clock.Now()), l.onHeartbeat)
}

// stopHeartbeat ends the heartbeats. One that is being sent counts as a sender.
// l is locked.
func (l *link) stopHeartbeat() {
	h := l.heartbeat
	if h == nil {
		return
	}
	h.ended = true
	if h.timer != nil {
		h.timer.Stop()
	}
}

// owesAnswer reports whether a heartbeat has not been answered. l is locked.
func (l *link) owesAnswer() bool { return l.heartbeat != nil && l.heartbeat.owed > 0 }

// untilHeartbeat is how long until a heartbeat is due, at least 0. l is locked.
func (l *link) untilHeartbeat(now int64) time.Duration {
	every := l.hub.cfg.Heartbeat.Every
	every -= time.Duration(l.care.spread * float64(every) / 10)
	return max(0, time.Duration(l.heartbeat.written.Load()+int64(every)-now))
}

// onHeartbeat sends a heartbeat if one is due, takes l out of use if an answer is
// overdue, and sets the timer anew.
func (l *link) onHeartbeat() {
	l.mu.Lock()
	h := l.heartbeat
	if h.ended || l.closing || l.cause != nil {
		l.mu.Unlock()
		return
	}
	now := l.hub.clock.Now()
	if l.evacuated() { // by a hijacker, who may give it back
		h.timer.Reset(time.Millisecond)
		l.mu.Unlock()
		return
	}
	wait := l.untilHeartbeat(now)
	if h.by != 0 {
		left, dead := l.awaitHeartbeat(now)
		if dead {
			l.mu.Unlock()
			l.fail(fmt.Errorf("%w: no answer to a heartbeat for %v", ErrSilent, l.hub.cfg.PongWait))
			return
		}
		wait = min(max(wait, time.Millisecond), left)
	}
	if l.untilHeartbeat(now) > 0 {
		h.timer.Reset(wait)
		l.mu.Unlock()
		return
	}
	l.care.pulse.senders++ // who destroys or hijacks l waits for it
	l.mu.Unlock()
	sent := false
	defer func() { l.afterHeartbeat(sent) }() // also if New ends this goroutine
	sent = l.beat()
}

// afterHeartbeat sets the timer after a heartbeat was sent, or could not be.
func (l *link) afterHeartbeat(sent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.heartbeat
	l.care.pulse.senders--
	l.freed.Broadcast()
	if h.ended || l.closing || l.cause != nil {
		return
	}
	now := l.hub.clock.Now()
	next := l.untilHeartbeat(now)
	if !sent {
		next = max(MinHeartbeat, l.hub.cfg.Heartbeat.Every/busyPart)
	}
	if h.by != 0 {
		next = min(next, max(0, time.Duration(h.by-now)))
	}
	h.timer.Reset(next)
}

// awaitHeartbeat returns for how long the answer to a heartbeat may still be
// missing, or that it has been for too long. l is locked.
func (l *link) awaitHeartbeat(now int64) (left time.Duration, dead bool) {
	h := l.heartbeat
	if now < h.by {
		return time.Duration(h.by - now), false
	}
	heard := l.frames.LastRead.Load()
	wait := l.hub.cfg.PongWait
	switch {
	case l.pending.r != nil, l.open && l.reader == nobody: // the answer may lie behind a message that waits for the lease
	case l.frames.State().MessagePending && heard > h.heard: // or behind one that is still coming in
	case !h.looked:
		h.looked = true
		if l.watchable() {
			l.startWatch()
		}
		wait = lookAgain
	default:
		return 0, true
	}
	h.by, h.heard = now+int64(wait), heard
	return wait, false
}

// beat sends a heartbeat, unless a message is being written. It reports whether
// it did.
func (l *link) beat() (sent bool) {
	cfg := &l.hub.cfg.Heartbeat
	m := cfg.Message
	if cfg.New != nil {
		var err error
		if m, err = l.newHeartbeat(); err != nil {
			l.fail(err)
			return false
		}
	}
	l.mu.Lock()
	if l.heartbeat.ended || l.closing || l.cause != nil || l.mute || l.evacuated() {
		l.mu.Unlock()
		return false
	}
	select {
	case l.writeTurn <- struct{}{}:
	default:
		l.mu.Unlock()
		return false
	}
	defer func() { <-l.writeTurn }()
	if cfg.Expect != nil {
		h := l.heartbeat
		h.owed++
		if h.by == 0 {
			h.by, h.heard, h.looked = l.hub.clock.Now()+int64(l.hub.cfg.PongWait), l.frames.LastRead.Load(), false
		}
		if l.watchable() { // or nobody would read the answer
			l.startWatch()
		}
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), l.hub.cfg.WriteTimeout)
	defer cancel()
	if err := l.put(ctx, func() error { return l.ws.WriteMessage(m.Type, m.Data) }); err != nil {
		l.fail(fmt.Errorf("wspool: heartbeat: %w", err))
		return false
	}
	l.hub.count.heartbeats.Add(1)
	return true
}

// newHeartbeat calls New.
func (l *link) newHeartbeat() (m Message, err error) {
	err = l.contain("Heartbeat.New", func() { m = l.hub.cfg.Heartbeat.New() })
	if err == nil && !isData(m.Type) {
		err = fmt.Errorf("wspool: Heartbeat.New: %w", badType(m.Type))
	}
	if err == nil {
		if bad := l.hub.checkText(m.Type, m.Data); bad != nil {
			err = fmt.Errorf("wspool: Heartbeat.New: %v", bad) // not ErrNotUTF8, which is the peer's doing
		}
	}
	return m, err
}

// contain calls f, which is the user's. If f panics, contain returns that as an
// error; if f ends the goroutine, the link fails with the error.
func (l *link) contain(name string, f func()) (err error) {
	returned := false
	defer func() {
		if !returned {
			err = fmt.Errorf("wspool: %s did not return: %w", name, panicked(name, recover()))
			l.fail(err)
			l.hub.contained(err)
		}
	}()
	f()
	returned = true
	return nil
}

// takeAnswer reports whether the message that has begun to come in answers a
// heartbeat: then it was read to its end. Otherwise m is as it was, to be read
// from its beginning. It is for the watcher. A lease does not read while an answer
// is missing: it leaves that to a watcher.
func (l *link) takeAnswer(m *incoming) (taken bool, err error) {
	l.mu.Lock()
	missing := l.owesAnswer() && !l.closing && l.cause == nil
	l.mu.Unlock()
	if !missing {
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
		return false, l.notUTF8(bad)
	}
	if err := l.contain("Heartbeat.Expect", func() { taken = l.hub.cfg.Heartbeat.Expect(Message{m.kind, data}) }); err != nil {
		return false, err
	}
	if !taken {
		return false, nil
	}
	l.frames.MessageDone()
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.heartbeat
	h.owed--
	h.by, h.looked = 0, false // of several that are missing, the next heartbeat waits for the rest
	return true, nil
}
