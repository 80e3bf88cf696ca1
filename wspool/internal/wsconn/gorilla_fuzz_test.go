package wsconn

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/boundary"
)

// script is a connection whose server answers the handshake, sends stream in pieces, and
// ends.
type script struct {
	deflate bool
	stream  []byte
	cuts    []byte // sizes of the pieces, over and over

	request  bytes.Buffer
	answered bool
}

func (s *script) Read(p []byte) (int, error) {
	if !s.answered {
		r, err := http.ReadRequest(bufio.NewReader(&s.request))
		if err != nil {
			return 0, err
		}
		sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		if s.deflate {
			head += "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
		}
		head += "Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
		n := copy(p, head)
		s.answered = n == len(head)
		return n, nil
	}
	if len(s.stream) == 0 {
		return 0, io.EOF
	}
	n := len(s.stream)
	if len(s.cuts) > 0 {
		n = min(n, int(s.cuts[0])+1)
		s.cuts = append(s.cuts[1:], s.cuts[0])
	}
	n = copy(p, s.stream[:n])
	s.stream = s.stream[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error) {
	if s.answered {
		return len(p), nil
	}
	return s.request.Write(p)
}

func (*script) Close() error                     { return nil }
func (*script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*script) SetDeadline(time.Time) error      { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }

// dialScript returns a gorilla connection over s.
func dialScript(t *testing.T, s net.Conn, deflate bool) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return s, nil }, EnableCompression: deflate, ReadBufferSize: 512}
	ws, _, err := d.Dial("ws://host/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return ws
}

// FuzzGorilla: with a FrameConn below it, whose reader takes short messages itself and
// enters gorilla only when it has to, the same messages are read as by gorilla alone, and every ping and pong that gorilla would
// handle is returned, in order, up to the first frame that breaks a rule.
func FuzzGorilla(f *testing.F) {
	f.Add([]byte("\x89\x02p1\x01\x03abc\x89\x02p2\x80\x01d\x8a\x02p3\x82\x05hello\x89\x02p4\x88\x02\x03\xe8"), []byte{0}, false)
	f.Add([]byte("\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00\x89\x01p\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00\x89\x01q"), []byte{9, 0, 3}, true)
	f.Add([]byte("\x41\x03\xf2\x48\xcd\x89\x01p\x80\x04\xc9\xc9\x07\x00\x89\x01q"), []byte{2, 6}, true)
	f.Add([]byte("\x89\x01p\x83\x00\x89\x01q"), []byte{40}, false)
	f.Fuzz(func(t *testing.T, stream, cuts []byte, deflate bool) {
		plain := dialScript(t, &script{deflate: deflate, stream: slices.Clone(stream)}, deflate)
		var messages, controls []string
		note := func(kind string) func(string) error {
			return func(p string) error { controls = append(controls, kind+p); return nil }
		}
		plain.SetPingHandler(note("ping "))
		plain.SetPongHandler(note("pong "))
		var end error
		for end == nil {
			var kind int
			var p []byte
			if kind, p, end = plain.ReadMessage(); end == nil {
				messages = append(messages, fmt.Sprint(kind, p))
			}
		}

		w := NewRawConn(&script{deflate: deflate, stream: slices.Clone(stream), cuts: slices.Clone(cuts)}, false, time.Second)
		c := NewFrameConn(w, w, NewClock(), 0, 1<<30, deflate)
		ws := dialScript(t, c, deflate)
		var gotMessages, gotControls []string
		take := func(string) error {
			for _, one := range c.TakeControls() {
				gotControls = append(gotControls, map[byte]string{Ping: "ping ", Pong: "pong "}[one.Opcode]+one.Payload)
			}
			return nil
		}
		ws.SetPingHandler(take)
		ws.SetPongHandler(take)
		var gotEnd error
		for gotEnd == nil {
			take("")
			if !c.gorillaNeeded() {
				c.Watch()
				continue
			}
			kind, p, whole := c.TakeMessage(1<<62, nil)
			if whole {
				gotMessages = append(gotMessages, fmt.Sprint(kind, p))
				continue
			}
			if kind, p, gotEnd = ws.ReadMessage(); gotEnd == nil {
				c.MessageDone()
				gotMessages = append(gotMessages, fmt.Sprint(kind, p))
			}
		}
		take("")
		if !slices.Equal(messages, gotMessages) {
			t.Errorf("gorilla reads %q alone, %q above a FrameConn", messages, gotMessages)
		}
		judge := boundary.Frames() // gorilla accepts a compressed ping, which breaks a rule
		judge.Deflate = deflate
		judge.Feed([]byte("\r\n"))
		judge.Feed(stream)
		controls = controls[:min(len(controls), judge.Kept())]
		if len(gotControls) < len(controls) || !slices.Equal(controls, gotControls[:len(controls)]) {
			t.Errorf("gorilla handles %q alone, FrameConn returns %q", controls, gotControls)
		}
		if (end.Error() == "websocket: close 1006 (abnormal closure): unexpected EOF") != (gotEnd.Error() == "websocket: close 1006 (abnormal closure): unexpected EOF") {
			t.Errorf("%v alone, %v above a FrameConn", end, gotEnd)
		}
	})
}
