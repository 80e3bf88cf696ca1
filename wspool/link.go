package wspool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
)

const (
	// maxPongWait bounds how long the reader may be busy with a pong.
	maxPongWait = 5 * time.Second
	// hangUpWait is how long the peer may take to hang up first after the
	// close handshake, so that the TIME_WAIT is on its side.
	hangUpWait = 50 * time.Millisecond
)

// link is one connection, as the pool keeps it. One goroutine holds NextReader
// from the handshake to the end: only so are pings answered and is a close seen
// while nobody uses the connection.
type link struct {
	ws   *websocket.Conn
	wire *wire
	cfg  *Config
	tie  *tie

	turn   chan struct{} // holds a token while a message is written
	broken chan struct{} // closed when cause is set
	exited chan struct{} // closed when the reader has ended

	// mu decides whose an incoming message is.
	mu       sync.Mutex
	tenant   *Conn       // the lease that runs; nil: none
	incoming bool        // the reader has a message for the tenant that is not in its box yet
	closing  bool        // what comes in is dropped
	taint    error       // why the tenant cannot leave it clean
	mute     bool        // a write failed: nothing more can be sent
	cause    error       // why it must not be used
	doom     func(error) // tells the pool of cause; nil until watch
}

func newLink(ws *websocket.Conn, w *wire, cfg *Config, t *tie) *link {
	l := &link{
		ws: ws, wire: w, cfg: cfg, tie: t,
		turn:   make(chan struct{}, 1),
		broken: make(chan struct{}),
		exited: make(chan struct{}),
	}
	ws.SetReadLimit(cfg.ReadLimit)
	ws.SetPingHandler(l.pong)
	l.tenant = l.forSetUp()
	go l.read()
	return l
}

// pong answers a ping. That it could not wait its turn behind a message is no
// fault; that the network took no bytes is, and ends the reader.
func (l *link) pong(data string) error {
	by := time.Now().Add(min(l.cfg.WriteTimeout, maxPongWait))
	err := l.ws.WriteControl(websocket.PongMessage, []byte(data), by)
	select {
	case l.turn <- struct{}{}:
		l.wire.calm()
		<-l.turn
	default: // a message is being written, and calms it at its end
	}
	var temporary interface{ Temporary() bool }
	if err == nil || errors.Is(err, websocket.ErrCloseSent) || errors.As(err, &temporary) && temporary.Temporary() {
		return nil
	}
	return fmt.Errorf("answering a ping: %w", err)
}

// read is the reader. It ends with the connection.
func (l *link) read() {
	defer close(l.exited)
	for {
		kind, r, err := l.ws.NextReader()
		if err != nil {
			l.fail(readError(err))
			return
		}
		t := l.claim()
		if t == nil {
			continue // NextReader skips what is left of it
		}
		select {
		case <-t.room:
		case <-t.released:
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			l.fail(readError(err))
			return
		}
		if !t.early {
			l.tie.proved() // before the lease can hear of the end
		}
		l.mu.Lock()
		t.box <- Message{kind, data} // has room
		l.incoming = false
		l.mu.Unlock()
	}
}

// claim decides whose the message is that has begun to come in. Nil: nobody's.
func (l *link) claim() *Conn {
	l.mu.Lock()
	t := l.tenant
	if l.closing || l.cause != nil {
		l.mu.Unlock()
		return nil
	}
	if t != nil && (t.wrote || l.cfg.Exchange == AnswerNone) {
		l.incoming = true
		t.awaiting = false
		l.mu.Unlock()
		return t
	}
	l.mu.Unlock()
	l.fail(ErrUnsolicited)
	return nil
}

// fail takes the connection out of use; the first cause counts.
func (l *link) fail(cause error) {
	l.mu.Lock()
	if l.cause != nil {
		l.mu.Unlock()
		return
	}
	l.cause = cause
	close(l.broken)
	doom, ours := l.doom, l.closing
	l.mu.Unlock()
	if !ours {
		l.tie.ended(cause)
	}
	if doom != nil {
		doom(cause)
	}
}

// watch keeps doom, and uses it if it comes too late.
func (l *link) watch(doom func(error)) {
	l.mu.Lock()
	l.doom = doom
	cause := l.cause
	l.mu.Unlock()
	if cause != nil {
		doom(cause)
	}
}

// settle waits until all that came in before now has been dealt with, and
// returns why the connection must not be used, or ctx's error.
func (l *link) settle(ctx context.Context) error {
	err := l.wire.quiet(ctx, l.broken)
	if errors.Is(err, errNotQuiet) {
		l.fail(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return l.cause
	}
	return err
}

// destroy closes the connection, politely if it can, within CloseTimeout. When
// it returns, the reader has ended.
func (l *link) destroy(cause error) {
	l.mu.Lock()
	l.closing = true
	polite := !l.mute
	l.mu.Unlock()
	l.tie.ended(nil)
	limit := time.AfterFunc(l.cfg.CloseTimeout, l.wire.abort)
	defer limit.Stop()
	if polite && l.sayGoodbye(cause) {
		l.ws.Close() // says goodbye to TLS too
	}
	l.wire.abort()
	<-l.exited
}

// sayGoodbye does the closing handshake and reports whether it came to an end.
func (l *link) sayGoodbye(cause error) bool {
	select {
	case <-l.exited:
		return false
	default:
	}
	select {
	case l.turn <- struct{}{}:
	default:
		return false // a write of the lease still runs
	}
	code := websocket.CloseNormalClosure
	if errors.Is(cause, resource.ErrClosed) {
		code = websocket.CloseGoingAway
	}
	by := time.Now().Add(l.cfg.CloseTimeout)
	if l.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), by) != nil {
		return false
	}
	<-l.exited // the reader drops what comes, up to the peer's close or the limit
	conn := l.ws.NetConn()
	conn.SetReadDeadline(time.Now().Add(hangUpWait))
	io.Copy(io.Discard, conn)
	return true
}
