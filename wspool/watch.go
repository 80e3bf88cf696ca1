package wspool

import (
	"io"

	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/internal/readiness"
	"github.com/respool/respool/wspool/internal/wsconn"
)

// reader says which goroutine reads a connection.
type reader uint8

const (
	noReader reader = iota
	watcherReader
	leaseReader // that of the lease, or one that closes or hijacks the connection
)

// incoming is a message that has begun to arrive.
type incoming struct {
	kind  int
	r     io.Reader // nil: there is none, or it is whole
	whole []byte    // the message, if it was taken in one piece, without gorilla
	added bool      // whole is what the caller gave, with the message appended
}

// watchState is how a connection is read: by which goroutine, which message that has left
// for the lease, and whether the bell waits for readiness of the socket instead.
type watchState struct {
	reader  reader
	pending incoming        // a message for the lease, which has begun
	open    bool            // the lease is reading a message
	bell    *readiness.Bell // nil: a watcher stays until something arrives
	armed   bool            // the bell will ring; there is no reader
	since   uint64          // the monitor's tick when the connection was last read, or given back
}

// midMessage reports whether gorilla has begun a message: then only the goroutine that
// has its reader may read.
func (w *watchState) midMessage() bool { return w.open || w.pending.r != nil }

// free reports whether a goroutine may become the reader.
func (w *watchState) free() bool { return w.reader == noReader && !w.midMessage() }

// hot reports whether nothing notices what arrives.
func (w *watchState) hot() bool { return w.reader == noReader && !w.armed }

// stalled reports whether a message waits for the lease to read it, so that what has
// arrived behind it cannot be seen.
func (w *watchState) stalled() bool {
	return w.pending.r != nil || w.open && w.reader == noReader
}

// arm has the bell ring when something arrives, at once if something has. It reports
// whether it will, and whether that is new.
func (w *watchState) arm() (armed, changed bool) {
	switch {
	case w.armed:
		return true, false
	case w.bell == nil:
		return false, false
	case !w.bell.Arm(): // the system has no room for another
		w.closeBell()
		return false, false
	}
	w.armed = true
	return true, true
}

// disarm takes arm back, and reports whether the bell was armed.
func (w *watchState) disarm() (was bool) {
	was = w.armed
	if was {
		w.armed = false
		w.bell.Disarm()
	}
	return was
}

// closeBell ends the bell for good.
func (w *watchState) closeBell() {
	w.armed = false
	if w.bell != nil {
		w.bell.Close()
		w.bell = nil
	}
}

// begin sets the reader to a watcher. It returns the message that the watcher has to
// deal with first, and whether the watcher is to stop when nothing is left.
func (w *watchState) begin() (first incoming, brief bool) {
	first, w.pending = w.pending, incoming{}
	w.reader = watcherReader
	return first, w.bell != nil
}

// String returns a word for the state of a live connection, which has a lease or not.
func (w *watchState) String(leased bool) string {
	switch {
	case w.reader == watcherReader:
		return "watched"
	case w.reader == leaseReader:
		return "being read"
	case w.midMessage():
		return "a message waits"
	case leased:
		return "unread"
	case w.armed:
		return "watched"
	}
	return "hot"
}

// watchableLocked reports whether a watcher may read.
func (l *link) watchableLocked() bool { return l.watch.free() && l.end.usable() }

// startWatchLocked has the connection, which has no reader, watched: by its bell, or
// by a watcher if it has none or something has arrived already.
func (l *link) startWatchLocked() {
	if l.watch.bell != nil && l.end.usable() {
		more, known := false, true
		if !l.watch.armed {
			more, known = l.frames.TryPoll(false) // bytes that TLS has taken from the kernel ring no bell
		}
		if known && !more && l.frames.Drained() && !l.raw.MidRecord() && l.armLocked() {
			l.freeLocked()
			return
		}
	}
	l.disarmLocked()
	l.hub.monitor.watched(&l.node)
	l.beginWatchLocked()
}

// beginWatchLocked starts a watcher. If a message is pending its lease has ended.
func (l *link) beginWatchLocked() {
	first, brief := l.watch.begin()
	go (&watcher{l: l, brief: brief}).run(first)
}

// armLocked arms the bell, if there is one. Everything that has arrived was dealt with
// or is still in the kernel.
func (l *link) armLocked() bool {
	if l.end.closing {
		return l.watch.armed
	}
	armed, changed := l.watch.arm()
	if changed {
		l.hub.monitor.watched(&l.node)
	}
	return armed
}

// disarmLocked keeps the bell quiet, because a goroutine is about to read.
func (l *link) disarmLocked() {
	if l.watch.disarm() {
		l.hub.monitor.unwatched(&l.node)
	}
}

// onBell is called when something has arrived. It must not wait for l.mu, because one
// goroutine rings the bells of all connections.
func (l *link) onBell() {
	answer := func() {
		defer l.mu.Unlock()
		if !l.watch.armed { // it was disarmed while it rang
			return
		}
		l.watch.armed = false
		if l.watchableLocked() {
			l.beginWatchLocked()
		} else {
			l.hub.monitor.unwatched(&l.node)
		}
	}
	if l.mu.TryLock() {
		answer()
		return
	}
	go func() {
		l.mu.Lock()
		answer()
	}()
}

// tend is called at each tick of the monitor while the connection is not watched. It
// starts the watch after WatchAfter if the connection is idle, after thinkTime if it is
// leased.
func (l *link) tend(tick uint64) {
	l.raw.HookContext(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watchableLocked() && l.hub.monitor.overdue(tick-l.watch.since, l.lease != nil) {
		l.startWatchLocked()
	}
}

// watcher is the goroutine that reads a connection while no lease does. It ends when it
// has a message for the lease, when the connection ends, when it is dismissed, or, if it
// is brief, when it has dealt with everything that has arrived.
type watcher struct {
	l     *link
	brief bool
	ready func() // of Conn.Watch, to be called when the watcher has left; nil: none
}

// run reads. m is a message that has begun already, if it has a reader.
func (w *watcher) run(m incoming) {
	l, left := w.l, false
	defer func() { // also if OnUnsolicited ends the goroutine
		if left {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		w.leaveLocked()
	}()
	for ; ; m.r = nil {
		var err error
		if m.r == nil {
			if !w.await() {
				return
			}
			m.kind, m.r, err = l.ws.NextReader()
		}
		taken := false
		if err == nil && l.hub.cfg.Heartbeat.Expect != nil {
			taken, err = w.takeAnswer(&m)
		}
		if err != nil {
			l.fail(readError(err))
			return
		}
		if taken {
			continue
		}
		switch owner := w.claim(m); owner {
		case ownerLease:
			left = true
			if w.ready != nil {
				l.hub.notify(w.ready)
			}
			return
		case ownerNone, ownerLeft:
			err = w.unsolicited(m, owner)
		case ownerLate:
			err = w.late(m)
		case ownerGone: // NextReader skips the rest of the message
		}
		if err != nil {
			if foreign.Is(err, ErrUnread) {
				l.hub.count.tainted.Add(1)
				l.mu.Lock()
				l.end.closing = true // the pool ends it: Config.Redial is not asked
				l.mu.Unlock()
			}
			l.fail(err)
			return
		}
	}
}

// await deals with control frames until gorilla has something to read. It returns false
// if the watcher is to stop. Until await returns the watcher is outside gorilla; see
// package wsconn.
func (w *watcher) await() bool {
	l := w.l
	for {
		l.handleControls()
		switch {
		case l.frames.MessagePending() || l.frames.EndPending():
			return true
		case w.brief && !l.frames.Partial():
			if l.frames.Poll() {
				continue
			}
			if !l.raw.MidRecord() {
				return l.frames.EndPending()
			}
		}
		if !l.frames.Watch() {
			return false
		}
	}
}

// owner says to which lease a message belongs.
type owner uint8

const (
	ownerLease owner = iota // the current one
	ownerNone               // none: it is unsolicited
	ownerLeft               // none: the lease before left it unread
	ownerLate               // none: it has arrived in the quarantine after a lease
	ownerGone               // none, and that no longer matters
)

// claim decides to which lease the message belongs. If that is the current lease, claim
// leaves the message in pending and ends the watcher's reading.
func (w *watcher) claim(m incoming) owner {
	l := w.l
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.end.usable():
		return ownerGone
	case l.lease != nil && l.lease.expects():
		l.watch.pending = m
		w.ready = l.holder.take()
		w.leaveLocked() // at once: the lease may read it before this goroutine ends
		return ownerLease
	case l.quarantine.on:
		return ownerLate
	case l.frames.State().Taken < l.trailing:
		return ownerLeft
	}
	return ownerNone
}

// leaveLocked ends the watcher's reading.
func (w *watcher) leaveLocked() {
	l := w.l
	l.raw.EndDismissal()
	l.freeLocked()
	if !l.watchableLocked() || !l.armLocked() {
		l.hub.monitor.unwatched(&l.node)
	}
	l.signalLocked()
}

// handleControls deals with the pings and pongs that have arrived, without blocking.
// Only the reader may call it.
func (l *link) handleControls() {
	all := l.frames.TakeControls()
	if all == nil {
		return
	}
	now := l.hub.clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range all {
		if c.Opcode == wsconn.Pong {
			l.keepalive.pong(c.Payload, now)
		} else if l.keepalive.queuePong(c.Payload) {
			l.senders++
			go l.sendPongs()
		}
	}
}
