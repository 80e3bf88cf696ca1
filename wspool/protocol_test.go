package wspool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
	"go.uber.org/goleak"
)

// protocolCase is one thing that a server does, after the cases of the Autobahn
// test-suite for clients, which number the sections below.
type protocolCase struct {
	name  string
	send  []byte // in answer to the first message
	chop  int    // bytes at a time; 0: at once
	cfg   func(*rawPeer)
	got   []wspool.Message // what the lease reads
	pongs []string         // what we answer to pings
	end   outcome          // what it reads then
}

// outcome is how a connection fares. Zero: it stays.
type outcome struct {
	is   func(error) bool // what the lease reads
	code int              // what we send to the peer
}

var (
	fault   = outcome{is: isFault, code: websocket.CloseProtocolError}
	tooLong = outcome{is: isTooLong, code: websocket.CloseMessageTooBig}
)

// isFault: the peer has broken the protocol.
func isFault(err error) bool {
	var ce *wspool.CloseError
	if errors.As(err, &ce) {
		return ce.Code == websocket.CloseProtocolError
	}
	return err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, io.ErrUnexpectedEOF)
}

func isTooLong(err error) bool { return errors.Is(err, wspool.ErrReadLimit) }

// closedWith is the outcome of a close frame that is answered with the code echo.
func closedWith(code int, reason string, echo int) outcome {
	return outcome{code: echo, is: func(err error) bool {
		var ce *wspool.CloseError
		return errors.As(err, &ce) && ce.Code == code && ce.Text == reason
	}}
}

func textOf(s string) []wspool.Message {
	return []wspool.Message{{Type: websocket.TextMessage, Data: []byte(s)}}
}

func binaryOf(p []byte) []wspool.Message {
	return []wspool.Message{{Type: websocket.BinaryMessage, Data: p}}
}

// joinFrames puts frames, or strings of bytes, behind one another.
func joinFrames(parts ...any) []byte {
	var out []byte
	for _, p := range parts {
		switch p := p.(type) {
		case []byte:
			out = append(out, p...)
		case string:
			out = append(out, p...)
		}
	}
	return out
}

// Opcodes with FIN.
const (
	textFIN   = 0x81
	binaryFIN = 0x82
	contFIN   = 0x80
	closeFIN  = 0x88
	pingFIN   = 0x89
	pongFIN   = 0x8a
)

func textFrame(s string) []byte { return rawFrame(textFIN, []byte(s)) }

// finish is the message that ends the answer of a peer which keeps to the rules.
var finish = textFrame("finish")

func closeFrame(code int, reason string) []byte {
	return rawFrame(closeFIN, append([]byte{byte(code >> 8), byte(code)}, reason...))
}

// 1: messages of all sizes around those where the header changes.
func TestProtocolFraming(t *testing.T) {
	var cases []protocolCase
	for _, n := range []int{0, 1, 125, 126, 127, 128, 65535, 65536} {
		p := bytes.Repeat([]byte("*"), n)
		for _, chop := range []int{0, 1, 997} {
			if chop == 1 && n > 128 {
				continue
			}
			cases = append(cases,
				protocolCase{name: fmt.Sprintf("text of %d by %d", n, chop), send: rawFrame(textFIN, p), chop: chop, got: textOf(string(p))},
				protocolCase{name: fmt.Sprintf("binary of %d by %d", n, chop), send: rawFrame(binaryFIN, p), chop: chop, got: binaryOf(p)})
		}
	}
	cases = append(cases,
		protocolCase{name: "a length longer than need be", send: []byte("\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x01a"), got: textOf("a")},
		protocolCase{name: "a mask", send: []byte("\x81\x81\x00\x00\x00\x00a"), end: fault})
	runProtocol(t, cases)
}

// 2: pings and pongs.
func TestProtocolPings(t *testing.T) {
	long := strings.Repeat("p", 125)
	ping := func(s string) []byte { return rawFrame(pingFIN, []byte(s)) }
	var ten []byte
	var tenth []string
	for i := range 10 {
		s := fmt.Sprint("payload-", i)
		ten, tenth = append(ten, ping(s)...), append(tenth, s)
	}
	cases := []protocolCase{
		{name: "empty", send: ping(""), pongs: []string{""}},
		{name: "with a payload", send: ping("Hello, world!"), pongs: []string{"Hello, world!"}},
		{name: "of bytes", send: ping("\x00\xff\xfe\xfd"), pongs: []string{"\x00\xff\xfe\xfd"}},
		{name: "of 125 bytes", send: ping(long), pongs: []string{long}},
		{name: "of 125 bytes, chopped", send: ping(long), chop: 1, pongs: []string{long}},
		{name: "pong", send: rawFrame(pongFIN, nil)},
		{name: "pong with a payload", send: rawFrame(pongFIN, []byte("unsolicited"))},
		{name: "pong and ping", send: joinFrames(rawFrame(pongFIN, []byte("unsolicited")), ping("x")), pongs: []string{"x"}},
		{name: "ten", send: ten, pongs: tenth},
		{name: "ten, chopped", send: ten, chop: 1, pongs: tenth},
	}
	for i := range cases {
		cases[i].send = joinFrames(cases[i].send, finish)
		cases[i].got = textOf("finish")
	}
	runProtocol(t, append(cases,
		protocolCase{name: "of 126 bytes", send: ping(long + "p"), end: fault},
		protocolCase{name: "pong of 126 bytes", send: rawFrame(pongFIN, []byte(long+"p")), end: fault}))
}

// 3: bits that no extension has given a meaning.
func TestProtocolReservedBits(t *testing.T) {
	var cases []protocolCase
	for bits := byte(1); bits < 8; bits++ {
		for _, first := range []byte{textFIN, binaryFIN, pingFIN, pongFIN, closeFIN, 0x01} {
			cases = append(cases, protocolCase{
				name: fmt.Sprintf("%03b of %#x", bits, first),
				send: joinFrames(textFrame("good"), rawFrame(first|bits<<4, nil), rawFrame(pingFIN, nil)),
				got:  textOf("good"),
				end:  fault,
			})
		}
	}
	cases = append(cases, protocolCase{name: "chopped", send: joinFrames(textFrame("good"), rawFrame(textFIN|0x10, []byte("bad"))), chop: 1,
		got: textOf("good"), end: fault})
	runProtocol(t, cases)
}

// 4: opcodes that mean nothing.
func TestProtocolReservedOpcodes(t *testing.T) {
	var cases []protocolCase
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		for _, payload := range []string{"", "reserved"} {
			cases = append(cases, protocolCase{
				name: fmt.Sprintf("%d with %d bytes", op, len(payload)),
				send: joinFrames(textFrame("good"), rawFrame(0x80|op, []byte(payload)), rawFrame(pingFIN, nil)),
				got:  textOf("good"),
				end:  fault,
			})
		}
	}
	runProtocol(t, cases)
}

// 5: fragments.
func TestProtocolFragments(t *testing.T) {
	frag := func(first byte, s string) []byte { return rawFrame(first, []byte(s)) }
	ping := frag(pingFIN, "p")
	runProtocol(t, []protocolCase{
		{name: "ping in two", send: joinFrames(frag(0x09, "a"), frag(contFIN, "b")), end: fault},
		{name: "pong in two", send: joinFrames(frag(0x0a, "a"), frag(contFIN, "b")), end: fault},
		{name: "close in two", send: joinFrames(frag(0x08, "\x03"), frag(contFIN, "\xe8")), end: fault},
		{name: "two", send: joinFrames(frag(1, "frag1"), frag(contFIN, "frag2")), got: textOf("frag1frag2")},
		{name: "two, chopped", send: joinFrames(frag(1, "frag1"), frag(contFIN, "frag2")), chop: 1, got: textOf("frag1frag2")},
		{name: "empty ones", send: joinFrames(frag(1, ""), frag(0, ""), frag(contFIN, "")), got: textOf("")},
		{name: "empty at both ends", send: joinFrames(frag(2, ""), frag(0, "x"), frag(contFIN, "")), got: binaryOf([]byte("x"))},
		{name: "a ping between", send: joinFrames(frag(1, "a"), ping, frag(contFIN, "b")), got: textOf("ab"), pongs: []string{"p"}},
		{name: "a ping between, chopped", send: joinFrames(frag(1, "a"), ping, frag(contFIN, "b")), chop: 1, got: textOf("ab"), pongs: []string{"p"}},
		{name: "pings between five", send: joinFrames(frag(1, "1"), frag(0, "2"), ping, frag(0, "3"), frag(0, "4"), ping, frag(contFIN, "5")),
			got: textOf("12345"), pongs: []string{"p", "p"}},
		{name: "nothing to continue, FIN", send: joinFrames(frag(contFIN, "a"), finish), end: fault},
		{name: "nothing to continue, no FIN", send: joinFrames(frag(0, "a"), finish), end: fault},
		{name: "nothing to continue, chopped", send: joinFrames(frag(0, "a"), finish), chop: 1, end: fault},
		{name: "nothing left to continue", send: joinFrames(frag(1, "a"), frag(contFIN, "b"), frag(0, "c"), finish), got: textOf("ab"), end: fault},
		{name: "again and again", send: joinFrames(frag(0, "a"), frag(contFIN, "b"), frag(0, "a"), frag(contFIN, "b")), end: fault},
		{name: "a message inside, FIN", send: joinFrames(frag(1, "a"), frag(textFIN, "b"), frag(contFIN, "c")), end: fault},
		{name: "a message inside, no FIN", send: joinFrames(frag(1, "a"), frag(2, "b"), frag(contFIN, "c")), end: fault},
	})
}

// 7: the closing handshake.
func TestProtocolClose(t *testing.T) {
	reason := strings.Repeat("r", 123)
	cases := []protocolCase{
		{name: "behind a message", send: joinFrames(textFrame("x"), closeFrame(1000, "")), got: textOf("x"), end: closedWith(1000, "", 1000)},
		{name: "twice", send: joinFrames(closeFrame(1000, ""), closeFrame(1001, "")), end: closedWith(1000, "", 1000)},
		{name: "then a ping", send: joinFrames(closeFrame(1000, ""), rawFrame(pingFIN, nil)), end: closedWith(1000, "", 1000)},
		{name: "then a message", send: joinFrames(closeFrame(1000, ""), textFrame("late")), end: closedWith(1000, "", 1000)},
		{name: "then junk", send: joinFrames(closeFrame(1000, ""), "\xff\xff\xff\xff"), end: closedWith(1000, "", 1000)},
		{name: "inside a message", send: joinFrames(rawFrame(1, []byte("half")), closeFrame(1000, "")), end: closedWith(1000, "", 1000)},
		{name: "inside a message, then its rest", send: joinFrames(rawFrame(1, []byte("half")), closeFrame(1000, ""), rawFrame(contFIN, []byte("rest"))),
			end: closedWith(1000, "", 1000)},
		{name: "behind a big message", send: joinFrames(rawFrame(binaryFIN, make([]byte, 256<<10)), closeFrame(1000, "")),
			got: binaryOf(make([]byte, 256<<10)), end: closedWith(1000, "", 1000)},
		{name: "no payload", send: rawFrame(closeFIN, nil), end: closedWith(1005, "", 1005)},
		// gorilla takes it for no payload.
		{name: "one byte", send: rawFrame(closeFIN, []byte("\x03")), end: closedWith(1005, "", 1005)},
		{name: "a reason", send: closeFrame(1000, "Hello World!"), end: closedWith(1000, "Hello World!", 1000)},
		{name: "a reason, chopped", send: closeFrame(1000, "Hello World!"), chop: 1, end: closedWith(1000, "Hello World!", 1000)},
		{name: "123 bytes of reason", send: closeFrame(1000, reason), end: closedWith(1000, reason, 1000)},
		{name: "124 bytes of reason", send: closeFrame(1000, reason+"r"), end: fault},
		{name: "a reason not in UTF-8", send: closeFrame(1000, "\xce\xba\xed\xa0\x80"), end: fault},
	}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999} {
		cases = append(cases, protocolCase{name: fmt.Sprint("code ", code), send: closeFrame(code, "why"), end: closedWith(code, "why", code)})
	}
	// RFC 6455 does not name them. gorilla treats that as a fault; the code is
	// reported all the same.
	for _, code := range []int{1004, 1014, 1016, 1100, 2000, 2999} {
		cases = append(cases, protocolCase{name: fmt.Sprint("code ", code), send: closeFrame(code, "why"), end: closedWith(code, "", 1002)})
	}
	// No peer may send these, and for some of them the caller's error differs.
	for _, code := range []int{0, 1, 999, 1005, 1006, 1015, 5000, 65535} {
		cases = append(cases, protocolCase{name: fmt.Sprint("code ", code), send: closeFrame(code, "why"), end: fault})
	}
	runProtocol(t, cases)
}

// 9 and 10: big messages, whole and in fragments, in chunks and at once.
func TestProtocolBig(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // the default ReadLimit
	over := "\x82\x7f\x00\x00\x00\x00\x01\x00\x00\x01"
	runProtocol(t, []protocolCase{
		{name: "16 MiB", send: rawFrame(binaryFIN, big), got: binaryOf(big)},
		{name: "16 MiB in fragments", send: fragments(2, big, 64<<10), got: binaryOf(big)},
		{name: "16 MiB in uneven chunks", send: rawFrame(textFIN, big), chop: 9973, got: textOf(string(big))},
		{name: "1 MiB in chops", send: rawFrame(binaryFIN, big[:1<<20]), chop: 128, got: binaryOf(big[:1<<20])},
		{name: "1 MiB in small fragments", send: fragments(1, big[:1<<20], 64), got: textOf(string(big[:1<<20]))},
		{name: "64 KiB, chopped fragments", send: fragments(1, big[:64<<10], 1000), chop: 50, got: textOf(string(big[:64<<10]))},
		{name: "10 messages", send: bytes.Repeat(rawFrame(binaryFIN, big[:1<<20]), 10), got: slices.Repeat(binaryOf(big[:1<<20]), 10)},
		{name: "one byte too long", send: joinFrames(over, "begins"), end: tooLong},
		{name: "too long in all", send: joinFrames(rawFrame(2, big[:1<<20]), "\x80\x7f\x00\x00\x00\x00\x00\xf0\x00\x01"), end: tooLong},
		{name: "2^62 bytes", send: []byte("\x82\x7f\x40\x00\x00\x00\x00\x00\x00\x00"), end: tooLong},
		// gorilla gives up without a word.
		{name: "2^63 bytes", send: []byte("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"), end: tooLong},
	})
}

func runProtocol(t *testing.T, cases []protocolCase) {
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			here := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, here) })
			peer := &rawPeer{script: tc.send, chop: tc.chop}
			if tc.cfg != nil {
				tc.cfg(peer)
			}
			listenRaw(t, peer)
			peer.cfg.Redial = func(error, int) time.Duration { return 0 } // another is dialled at once
			gone := ends(&peer.cfg)
			p := pool(t, peer.cfg)
			c := acquire(t, p)
			defer func() { c.Discard(nil) }() // does nothing after Release
			write(t, c, "begin")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for i, want := range tc.got {
				kind, data, err := c.ReadMessage(ctx)
				if err != nil || kind != want.Type || !bytes.Equal(data, want.Data) {
					t.Fatalf("message %d: type %d, %d bytes, %v; want type %d, %d bytes", i, kind, len(data), err, want.Type, len(want.Data))
				}
			}
			made, code := 1, websocket.CloseGoingAway
			if tc.end.is != nil {
				made, code = 2, tc.end.code
				if _, data, err := c.ReadMessage(ctx); !tc.end.is(err) {
					t.Errorf("read %q, %v", data, err)
				}
				c.Release()
				next(t, "end", gone)
			} else {
				ask(t, c, "again")
				c.Release()
			}
			// The pool is as good as new.
			use(t, p)
			if s := p.Stats(); s.Idle != 1 || s.Leased != 0 || int(s.Made) != made {
				t.Errorf("%+v, want %d made", s, made)
			}
			if err := p.Close(ctx); err != nil {
				t.Errorf("Close: %v", err)
			}
			r := next(t, "report", peer.reports)
			if r.err != nil || r.code != code || !slices.Equal(r.pongs, tc.pongs) {
				t.Errorf("the peer got close code %d, want %d; pongs %q, want %q; %v", r.code, code, r.pongs, tc.pongs, r.err)
			}
		})
	}
}

// samples are some that are UTF-8, and some that are not.
var samples = []string{
	"", "plain", "é", "κόσμε", "日本語", "𝄞 and 🙂", "\x00",
	"\x80", "\xff", "caf\xe9", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xf0\x9f\x99", "\xe2\x28\xa1", "ok\xc3", "\xc3\xa9\xa9",
}

// With CheckUTF8 a text of the peer's that is not valid UTF-8 ends the connection
// with code 1007, whichever way it is read; without it is passed on.
func TestCheckUTF8Read(t *testing.T) {
	for _, check := range []bool{true, false} {
		for _, how := range []string{"message", "reader", "bytes"} {
			t.Run(fmt.Sprint(check, how), func(t *testing.T) {
				for _, text := range samples {
					bubble(t, func(t *testing.T) {
						codes := make(chan int, 1)
						peer := listenMem(t, 4096, func(ws *websocket.Conn) {
							ws.SetCloseHandler(func(code int, _ string) error { codes <- code; return nil })
							ws.ReadMessage()
							ws.NetConn().Write(fragments(0x81, []byte(text), 2))
							drain(ws)
						})
						peer.cfg.CheckUTF8 = check
						gone := ends(&peer.cfg)
						p := pool(t, peer.cfg)
						c := acquire(t, p)
						bad := check && !utf8.ValidString(text)
						write(t, c, "question")
						var err error
						var got []byte
						switch how {
						case "message":
							_, got, err = c.ReadMessage(t.Context())
						default:
							var r io.Reader
							if _, r, err = c.NextReader(t.Context()); err == nil {
								if how == "bytes" {
									r = iotest.OneByteReader(r)
								}
								got, err = io.ReadAll(r)
							}
						}
						if errors.Is(err, wspool.ErrNotUTF8) != bad || !bad && (err != nil || string(got) != text) {
							t.Errorf("%q: %q, %v", text, got, err)
						}
						c.Release()
						synctest.Wait()
						if !bad {
							if s := p.Stats(); s.Idle != 1 {
								t.Errorf("%q: %v", text, s)
							}
							return
						}
						if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrNotUTF8) {
							t.Errorf("%q: ended with %v", text, e.Cause)
						}
						if code := next(t, "code", codes); code != websocket.CloseInvalidFramePayloadData {
							t.Errorf("%q: closed with %d", text, code)
						}
						if s := p.Stats(); s.Closed[1007] != 1 {
							t.Errorf("%v", s)
						}
					})
				}
			})
		}
	}
}

// A message that belongs to no lease is checked as well.
func TestCheckUTF8Unsolicited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.CheckUTF8 = true
		w.cfg.OnUnsolicited = wspool.DropUnsolicited
		gone := w.ends()
		warm(t, pool(t, w.cfg), 1)
		time.Sleep(time.Second)
		w.send(0, frame(websocket.BinaryMessage, "caf\xe9"))
		none(t, gone)
		w.send(0, frame(websocket.TextMessage, "caf\xe9"))
		if e := next(t, "end", gone); !errors.Is(e.cause, wspool.ErrNotUTF8) {
			t.Errorf("ended with %v", e.cause)
		}
	})
}

// With CheckUTF8 a text that is none is not sent; that a writer has begun is broken
// off. Binary messages are not looked at.
func TestCheckUTF8Write(t *testing.T) {
	for _, check := range []bool{true, false} {
		for _, text := range samples {
			bubble(t, func(t *testing.T) {
				var got []string
				peer := listenMem(t, 4096, onEach(func(ws *websocket.Conn, kind int, p []byte) {
					got = append(got, string(p))
					ws.WriteMessage(kind, []byte("reply"))
				}))
				peer.cfg.CheckUTF8 = check
				p := pool(t, peer.cfg)
				c := acquire(t, p)
				bad := check && !utf8.ValidString(text)
				answer := func(err error) {
					t.Helper()
					if errors.Is(err, wspool.ErrNotUTF8) != bad || err != nil && !bad {
						t.Errorf("%q: %v", text, err)
					}
					if err == nil {
						if _, _, err := c.ReadMessage(t.Context()); err != nil {
							t.Error(err)
						}
					}
				}
				answer(c.WriteMessage(t.Context(), websocket.TextMessage, []byte(text)))
				if err := c.WriteMessage(t.Context(), websocket.BinaryMessage, []byte(text)); err != nil {
					t.Error(err)
				}
				if _, _, err := c.ReadMessage(t.Context()); err != nil {
					t.Error(err)
				}
				w, err := c.NextWriter(t.Context(), websocket.TextMessage)
				if err != nil {
					t.Fatal(err)
				}
				for _, b := range []byte(text) {
					if _, err = w.Write([]byte{b}); err != nil {
						break
					}
				}
				if cerr := w.Close(); err == nil {
					err = cerr
				}
				answer(err)
				c.Release()
				synctest.Wait()
				want := []string{text, text, text}
				if bad {
					want = want[:1]
				}
				if s := p.Stats(); (s.Idle == 1) == bad || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
					t.Errorf("%q: the peer got %q; %v", text, got, s)
				}
			})
		}
	}
}
