package wspool

import "errors"

// startWatch has l, which nobody reads, watched: by its bell, or by a watcher if
// it has none or something is there already. l is locked.
func (l *link) startWatch() {
	if l.bell != nil && !l.closing && l.cause == nil {
		if !l.armed {
			l.frames.Poll() // what TLS has taken from the kernel rings no bell
		}
		if l.frames.Drained() && !l.raw.MidRecord() && l.arm() {
			l.free()
			return
		}
	}
	l.disarm()
	l.hub.keeper.tied(l)
	l.beginWatch()
}

// beginWatch puts a watcher to l, which stays if there is no bell. If a message
// is pending, its lease has ended: the watcher deals with it first. l is locked.
func (l *link) beginWatch() {
	l.reader = watcher
	first := l.pending
	l.pending = incoming{}
	go l.watch(first, l.bell != nil)
}

// arm has the bell ring when something comes in. It returns false if there is
// none, or if that is too late. l is locked, and everything that has come in was
// dealt with, or is still in the kernel.
func (l *link) arm() bool {
	switch {
	case l.armed:
		return true
	case l.bell == nil || l.closing:
		return false
	case !l.bell.Arm(): // the system has no room: a watcher stays
		l.unbell()
		return false
	}
	l.armed = true
	l.hub.keeper.tied(l)
	return true
}

// disarm has the bell not ring: somebody is about to read, and would only be
// disturbed. l is locked.
func (l *link) disarm() {
	if l.armed {
		l.armed = false
		l.bell.Disarm()
		l.hub.keeper.untied(l)
	}
}

// unbell ends the bell, for good. l is locked.
func (l *link) unbell() {
	l.armed = false
	if l.bell != nil {
		l.bell.Close()
		l.bell = nil
	}
}

// rung is called when something has come in. It must not wait for l: its bell is
// one of many.
func (l *link) rung() {
	if l.mu.TryLock() {
		defer l.mu.Unlock()
		l.attendBell()
		return
	}
	go func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.attendBell()
	}()
}

// attendBell puts a watcher to what the bell rang for. l is locked.
func (l *link) attendBell() {
	switch {
	case !l.armed: // it was disarmed while it rang
	case !l.watchable():
		l.armed = false
		l.hub.keeper.untied(l)
	default:
		l.armed = false
		l.beginWatch()
	}
}

// watch reads l until there is a message for the tenant, or the end. m is a
// message that has begun already, if it has a reader.
func (l *link) watch(m incoming, brief bool) {
	left := false
	defer func() { // also if OnUnsolicited ends the goroutine
		if left {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.leave()
	}()
	for ; ; m.r = nil {
		var err error
		if m.r == nil {
			if !l.awaitFrame(brief) {
				return
			}
			m.kind, m.r, err = l.ws.NextReader()
		}
		taken := false
		if err == nil && l.hub.cfg.Heartbeat.Expect != nil {
			taken, err = l.takeAnswer(&m)
		}
		if err != nil {
			l.fail(readError(err))
			return
		}
		if taken {
			continue
		}
		switch whose := l.claim(m); whose {
		case claimed:
			left = true
			return
		case stray, trailing:
			err = l.stray(m, whose)
		case late:
			err = l.dropLate(m)
		case dropped: // NextReader skips what is left of it
		}
		if err != nil {
			if errors.Is(err, ErrUnread) {
				l.hub.count.tainted.Add(1)
				l.mu.Lock()
				l.closing = true // the pool ends it: no news for Config.Redial
				l.mu.Unlock()
			}
			l.fail(err)
			return
		}
	}
}

// awaitFrame deals with control frames until gorilla has something to do. It returns
// false if the watcher is to stop: it was dismissed, or it is brief and everything that
// has arrived was dealt with.
func (l *link) awaitFrame(brief bool) bool {
	for {
		l.handleControls()
		switch {
		case l.frames.MessagePending() || l.frames.EndPending():
			return true
		case brief && !l.frames.Partial():
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

// leave ends the watcher's reading. l is locked.
func (l *link) leave() {
	l.raw.EndDismissal()
	l.free()
	if !l.watchable() || !l.arm() {
		l.hub.keeper.untied(l)
	}
	l.signal()
}
