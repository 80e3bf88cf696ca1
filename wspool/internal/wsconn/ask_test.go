//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package wsconn

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// asker is a FrameConn over a socket, past the handshake, whose attempts to read are counted.
type asker struct {
	*FrameConn
	peer            net.Conn
	attempts, peeks int
}

func newAsker(t *testing.T, secure bool) *asker {
	t.Helper()
	c, peer := tcpPair(t)
	w := NewRawConn(c, secure, time.Second)
	f := NewFrameConn(w, w, NewClock(), 0, 100, false)
	f.frames.Feed([]byte(answer))
	a := &asker{FrameConn: f, peer: peer}
	attempt, look := w.socket.attempt, w.socket.look
	w.socket.attempt = func(fd uintptr) bool { a.attempts++; return attempt(fd) }
	w.socket.look = func(fd uintptr) { a.peeks++; look(fd) }
	return a
}

// send has the peer send s, and returns when it has arrived.
func (a *asker) send(t *testing.T, s string) {
	t.Helper()
	if _, err := io.WriteString(a.peer, s); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !a.Raw.Readable(); time.Sleep(time.Millisecond) { // between looks
		if time.Now().After(end) {
			t.Fatal("nothing arrives")
		}
	}
	a.peeks = 0
}

// forever interrupts no read.
var forever context.Context

// ask has the peer send reply for the request, unless it is empty.
func (a *asker) ask(reply string) (asked, on bool) {
	a.Raw.BeginRead(forever, false)
	return a.Ask(context.Background(), func() bool {
		a.WriteShort(1, []byte("question"))
		frame := make([]byte, 2+4+len("question"))
		io.ReadFull(a.peer, frame)
		if reply != "" {
			io.WriteString(a.peer, reply)
		}
		return reply != ""
	})
}

// An exchange takes one look, one write, and one attempt that finds the reply, also where the
// reply is there before the reader waits.
func TestAsk_Attempts(t *testing.T) {
	a := newAsker(t, false)
	for range 100 {
		a.attempts = 0
		if asked, on := a.ask("\x81\x02hi"); !asked || !on {
			t.Fatal(asked, on)
		}
		if _, p, ok := a.TakeMessage(10, nil); !ok || string(p) != "hi" || !a.Drained() {
			t.Fatalf("%q %v", p, ok)
		}
		// A readiness that came before the look wakes the reader once for nothing.
		if a.attempts > 3 || a.peeks > 0 {
			t.Fatalf("%d attempts, %d peeks", a.attempts, a.peeks)
		}
	}
	if a.attempts != 2 {
		t.Errorf("%d attempts", a.attempts)
	}
}

// If anything has arrived, or the stream has ended, nothing is sent.
func TestAsk_Arrived(t *testing.T) {
	for _, s := range []string{"\x81", "\x81\x02hi", "\x89\x00"} {
		a := newAsker(t, false)
		a.send(t, s)
		if asked, on := a.ask("x"); asked || !on || a.Drained() {
			t.Errorf("%q: asked %v, on %v", s, asked, on)
		}
	}
	a := newAsker(t, false)
	a.peer.Close()
	for !a.Raw.Readable() {
	}
	if asked, _ := a.ask("x"); asked || !a.EndPending() {
		t.Errorf("asked %v after the end", asked)
	}
}

// If part of a TLS record has arrived nothing is sent, and Ask does not wait for the rest.
func TestAsk_MidRecord(t *testing.T) {
	a := newAsker(t, true)
	a.send(t, "\x17\x03\x03")
	if n, err := a.Raw.Read(make([]byte, 10)); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if asked, on := a.ask("x"); asked || !on {
		t.Errorf("asked %v, on %v", asked, on)
	}
}

// Ask does not wait if the write says so, nor if the read was interrupted before, and an
// interruption ends its wait.
func TestAsk_Interrupted(t *testing.T) {
	a := newAsker(t, false)
	if asked, on := a.ask(""); !asked || !on || !a.Drained() {
		t.Errorf("after a failed write: asked %v, on %v", asked, on)
	}
	a.Raw.EndRead(false)

	a.Raw.BeginRead(forever, false)
	a.Raw.Interrupt()
	if asked, on := a.Ask(context.Background(), func() bool { t.Error("it writes"); return true }); asked || on {
		t.Errorf("interrupted before: asked %v, on %v", asked, on)
	}
	a.Raw.EndRead(false)

	ctx, cancel := context.WithCancel(context.Background())
	a.Raw.BeginRead(ctx, false)
	a.Raw.HookContext(false)
	asked, on := a.Ask(ctx, func() bool { cancel(); return true })
	if !asked || on {
		t.Errorf("interrupted after the write: asked %v, on %v", asked, on)
	}
	a.Raw.EndRead(false)
	if asked, on := a.ask("\x81\x02hi"); !asked || !on || !a.MessagePending() {
		t.Errorf("afterwards: asked %v, on %v", asked, on)
	}
}
