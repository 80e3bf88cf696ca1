package wspool

import (
	"errors"
	"fmt"
	"io"
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

// destroy closes the connection, politely if it can, within CloseTimeout. When
// it returns nobody reads or writes it any more.
func (l *link) destroy(cause error) {
	l.mu.Lock()
	l.closing = true
	l.stopHeartbeat()
	l.unbell()
	l.mu.Unlock()
	l.fail(cause) // who still reads or waits to write hears of it
	l.tie.ended(nil)
	l.hub.keeper.forget(l)
	over := make(chan struct{})
	limit := time.AfterFunc(l.hub.cfg.CloseTimeout, func() {
		close(over)
		l.wire.abort()
	})
	defer limit.Stop()
	select {
	case l.hub.closing <- struct{}{}:
		if l.sayGoodbye(cause) {
			l.ws.Close() // says goodbye to TLS too
		}
		<-l.hub.closing
	case <-over:
	}
	l.wire.abort()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.reader != nobody || l.care.pulse.senders > 0 {
		l.freed.Wait()
	}
}

// sayGoodbye does the closing handshake and reports whether it came to an end.
func (l *link) sayGoodbye(cause error) bool {
	l.mu.Lock()
	for l.care.pulse.senders > 0 { // a ping that came before is answered before
		l.freed.Wait()
	}
	mute := l.mute
	l.mu.Unlock()
	if mute || l.wire.isSevered() {
		return false
	}
	code := websocket.CloseNormalClosure
	switch {
	case errors.Is(cause, resource.ErrClosed):
		code = websocket.CloseGoingAway
	case errors.Is(cause, ErrReadLimit):
		code = websocket.CloseMessageTooBig
	case errors.Is(cause, ErrNotUTF8):
		code = websocket.CloseInvalidFramePayloadData
	}
	wait, silent := l.hub.cfg.CloseTimeout, errors.Is(cause, ErrSilent)
	if silent { // it would not answer, and its place is wanted
		wait = min(wait, hangUpWait)
	}
	err := l.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(wait))
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
		return false
	}
	if !silent {
		l.drain()
	}
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
	if l.wire.uncut() { // gorilla could not read to the close
		io.Copy(io.Discard, l.tap.Conn)
	} else {
		l.tap.Conn.SetReadDeadline(time.Now().Add(hangUpWait))
		io.Copy(io.Discard, l.tap.Conn)
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
