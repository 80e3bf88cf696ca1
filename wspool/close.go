package wspool

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
)

// hangUpWait is how long the peer may take to hang up first after the close
// handshake, so that the TIME_WAIT is on its side (RFC 6455, section 7.1.1).
const hangUpWait = 50 * time.Millisecond

// maxClosing is how many closing handshakes of a pool run at once, so that the end
// of a large one does not come over its server as one wave. Who has no turn within
// CloseTimeout goes without.
const maxClosing = 256

// destroy closes the connection, politely if it can, within CloseTimeout. One whose
// peer is known to be dead, or must be taken for that, holds its place for moments
// only. When it returns nobody reads or writes it any more.
func (l *link) destroy(cause error) {
	over := make(chan struct{})
	giveUp := sync.OnceFunc(func() {
		close(over)
		l.raw.Abort()
	})
	l.mu.Lock()
	l.closing = true
	l.giveUp = giveUp
	l.stopHeartbeat()
	l.unbell()
	l.mu.Unlock()
	l.fail(cause) // who still reads or waits to write hears of it
	l.tie.ended(nil)
	l.hub.keeper.forget(l)
	limit := time.AfterFunc(l.hub.cfg.CloseTimeout, giveUp)
	defer limit.Stop()
	if l.deaf(cause) {
		l.takeLeave(cause)
	} else {
		select {
		case l.hub.closing <- struct{}{}:
			if l.sayGoodbye(cause) {
				l.ws.Close() // says goodbye to TLS too
			}
			<-l.hub.closing
		case <-over:
		}
	}
	l.raw.Abort()
	defer l.hub.count.roster.remove(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.reader != nobody || l.care.pulse.senders > 0 {
		l.freed.Wait()
	}
}

// deaf reports whether it is no use to wait for the peer's answer: it has not
// answered a ping, or nothing has come for longer than it may be silent, as where
// the process has stood still; or nobody is to wait.
func (l *link) deaf(cause error) bool {
	l.mu.Lock()
	first, cut := l.cause, l.cut
	l.mu.Unlock()
	if cut || errors.Is(cause, ErrSilent) || errors.Is(first, ErrSilent) {
		return true
	}
	longest := l.hub.longestSilence()
	return longest > 0 && l.hub.clock.Now()-l.frames.LastRead.Load() > longest && !l.raw.Readable()
}

// takeLeave sends a close frame to a peer from which no answer is expected, if that
// can be done soon.
func (l *link) takeLeave(cause error) {
	l.mu.Lock()
	busy := l.care.pulse.senders > 0 || l.mute || l.cut
	l.mu.Unlock()
	if !busy && !l.raw.Severed() && l.sendClose(cause, min(l.hub.cfg.CloseTimeout, hangUpWait)) {
		l.ws.Close()
	}
}

// sendClose sends a close frame, within that time, and reports whether the peer has
// been sent one.
func (l *link) sendClose(cause error, within time.Duration) bool {
	code := websocket.CloseNormalClosure
	switch {
	case errors.Is(cause, resource.ErrClosed):
		code = websocket.CloseGoingAway
	case errors.Is(cause, ErrReadLimit):
		code = websocket.CloseMessageTooBig
	case errors.Is(cause, ErrNotUTF8):
		code = websocket.CloseInvalidFramePayloadData
	}
	err := l.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(within))
	return err == nil || errors.Is(err, websocket.ErrCloseSent)
}

// sayGoodbye does the closing handshake and reports whether it came to an end.
func (l *link) sayGoodbye(cause error) bool {
	l.mu.Lock()
	for l.care.pulse.senders > 0 { // a ping that came before is answered before
		l.freed.Wait()
	}
	mute := l.mute
	l.mu.Unlock()
	if mute || l.raw.Severed() {
		return false
	}
	if !l.sendClose(cause, l.hub.cfg.CloseTimeout) {
		return false
	}
	l.drain()
	return true
}

// drain reads up to the peer's close, and then until it hangs up. The limit of
// destroy bounds it.
func (l *link) drain() {
	l.mu.Lock()
	for l.reader != nobody { // a watcher goes on to the end, a lease was broken off
		l.freed.Wait()
	}
	l.reader = lessee
	l.mu.Unlock()
	var err error
	for err == nil {
		_, _, err = l.ws.NextReader()
	}
	if l.raw.Uncut() { // gorilla could not read to the close
		io.Copy(io.Discard, l.frames.Conn)
	} else {
		l.frames.Conn.SetReadDeadline(time.Now().Add(hangUpWait))
		io.Copy(io.Discard, l.frames.Conn)
	}
	l.mu.Lock()
	l.free()
	l.mu.Unlock()
}

// tooBig tells the peer that its message was longer than ReadLimit, as gorilla
// does where it finds out itself, and returns err with what is known of it.
func (l *link) tooBig(err error) error {
	l.ws.WriteControl(websocket.CloseMessage,
		websocket.FormatCloseMessage(websocket.CloseMessageTooBig, ""), time.Now().Add(time.Second))
	return fmt.Errorf("%w: it inflates to more than %d bytes", err, l.hub.cfg.ReadLimit)
}
