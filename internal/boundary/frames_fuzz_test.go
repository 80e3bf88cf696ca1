package boundary_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/boundary"
)

// sentinel is the payload of a ping after the fuzzed bytes. It is answered exactly if they
// end between two frames: as part of another frame it is not a ping.
const sentinel = "\xffsentinel\xff"

// scripted is a connection whose server answers the handshake and then sends stream in
// chunks.
type scripted struct {
	offer  string // the extensions in the response
	stream []byte
	cuts   []byte // sizes of the chunks, repeated
	frames *boundary.FrameTracker

	request bytes.Buffer
	pending []byte
	phase   int    // 0: the response, 1: stream, 2: sentinel, 3: EOF
	used    func() // called at the first read after all of stream
}

func (c *scripted) Read(p []byte) (int, error) {
	for len(c.pending) == 0 {
		switch c.phase {
		case 0:
			r, err := http.ReadRequest(bufio.NewReader(&c.request))
			if err != nil {
				return 0, err
			}
			sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
			head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + c.offer +
				"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
			c.pending = append([]byte(head), c.stream...)
		case 1:
			c.used()
			c.pending = append([]byte{0x89, byte(len(sentinel))}, sentinel...)
		default:
			return 0, io.EOF
		}
		c.phase++
	}
	n := len(c.pending)
	if len(c.cuts) > 0 {
		n = min(n, int(c.cuts[0])+1)
		c.cuts = append(c.cuts[1:], c.cuts[0])
	}
	n = copy(p, c.pending[:n])
	c.frames.Feed(c.pending[:n])
	c.pending = c.pending[n:]
	return n, nil
}

func (c *scripted) Write(p []byte) (int, error) {
	if c.phase > 0 {
		return len(p), nil
	}
	return c.request.Write(p)
}

func (*scripted) Close() error                     { return nil }
func (*scripted) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*scripted) SetDeadline(time.Time) error      { return nil }
func (*scripted) SetReadDeadline(time.Time) error  { return nil }
func (*scripted) SetWriteDeadline(time.Time) error { return nil }

// deflated returns p as the payload of a compressed message.
func deflated(p string) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestSpeed) // fails only for an invalid level
	w.Write([]byte(p))
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// The counts agree with what gorilla reads from the same bytes.
func FuzzFrames(f *testing.F) {
	packed := deflated("hello hello hello hello")
	for _, s := range []string{
		"",
		"\x81\x05hello", "\x82\x00", "\x81\x00\x81\x00", "\x81\x05hel",
		"\x01\x02ab\x00\x00\x80\x01c", "\x01\x02ab", "\x01\x02ab\x89\x01p\x8a\x00\x80\x01c", // fragments
		"\x89\x00\x8a\x03abc\x89\x01a", "\x89\x03a", "\x8a",
		"\x88\x02\x03\xe8", "\x88\x00", "\x88\x01a", "\x88\x02\x03\xe7", "\x01\x00\x88\x02\x03\xe8", "\x88\x00\x81\x00",
		"\x81\x7e\x00\x01a", "\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x01a", "\x81\x7f\xff\x00\x00\x00\x00\x00\x00\x01a",
		string(frame(126, false)), string(frame(65535, false)), string(frame(65536, false)), string(frame(3, true)),
		"\x89\x7e\x00\x01a", "\x09\x00", "\xc9\x00", "\x83\x00", "\x8b\x00", "\x80\x00", "\x81\x00\x80\x00", "\x01\x00\x81\x00", "\xa1\x00", "\x91\x00",
		"\xc1" + string(rune(len(packed))) + string(packed), "\xc1\x00", "\x41\x00\x80\x00", "\xc1\x03\x4b\x04\x00\x81\x00", "\x01\x00\xc0\x00",
	} {
		for _, cuts := range []string{"", "\x00", "\x01\x06"} {
			f.Add([]byte(s), []byte(cuts), false)
			f.Add([]byte(s), []byte(cuts), true)
		}
	}
	f.Fuzz(func(t *testing.T, stream, cuts []byte, compress bool) {
		frames := boundary.Frames()
		conn := &scripted{stream: stream, cuts: bytes.Clone(cuts), frames: frames}
		if compress {
			conn.offer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
		}
		dialer := websocket.Dialer{
			NetDialContext:    func(context.Context, string, string) (net.Conn, error) { return conn, nil },
			EnableCompression: compress,
		}
		ws, _, err := dialer.Dial("ws://h/", nil)
		if err != nil {
			t.Fatal(err)
		}
		var delivered, controls uint64
		reached, heard := false, false // of the sentinel
		ws.SetPingHandler(func(p string) error {
			if heard = p == sentinel; !heard {
				controls++
			}
			return nil
		})
		ws.SetPongHandler(func(string) error { controls++; return nil })
		ws.SetCloseHandler(func(int, string) error { controls++; return nil })

		var after state // after stream and before the sentinel
		var accepted [2]uint64
		conn.used = func() {
			reached, after, accepted = true, counts(frames), [2]uint64{delivered, controls}
		}
		for {
			if _, _, err = ws.ReadMessage(); err != nil {
				break
			}
			if delivered++; frames.Messages() < delivered {
				t.Fatalf("message %d was delivered: %+v", delivered, counts(frames))
			}
		}
		if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseNoStatusReceived) && !frames.Closing() {
			t.Fatalf("%v: %+v", err, counts(frames))
		}
		if !reached {
			return // gorilla reported an error or a close frame
		}
		if after.clean != heard {
			t.Errorf("%+v, and a ping behind it was heard: %v (%v)", after, heard, err)
		}
		if after.controls != accepted[1] {
			t.Errorf("%+v, and gorilla had %d control frames", after, accepted[1])
		}
		want := accepted[0]
		if after.open {
			want++
		}
		switch {
		case compress && after.messages >= accepted[0]:
			// gorilla accepts RSV1 where RFC 7692 does not, and takes a message as
			// complete when its deflate stream ends: so the count may be larger, and
			// a delivered message may still be open.
		case !after.clean && after.messages == want+1:
			// An error in the first byte: gorilla reports it with the second.
		case after.messages != want:
			t.Errorf("%+v, and gorilla delivered %d messages", after, accepted[0])
		}
	})
}
