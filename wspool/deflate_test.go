package wspool_test

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// noTakeover is the only answer to an offer that gorilla can keep to.
const noTakeover = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// deflating has the pool offer compression, and the peer accept.
func deflating(p *rawPeer) { p.cfg.Compression, p.extensions = true, noTakeover }

// deflatingSmall is deflating with a ReadLimit of 1 MiB.
func deflatingSmall(p *rawPeer) { deflating(p); p.cfg.ReadLimit = 1 << 20 }

// deflate is r as the payload of a compressed message (RFC 7692, section 7.2.1).
func deflate(r io.Reader, level int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		panic(err)
	}
	buf := make([]byte, 100_000) // a block each
	for {
		n, err := io.ReadFull(r, buf)
		w.Write(buf[:n])
		w.Flush()
		if err != nil {
			return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
		}
	}
}

func deflated(s string) []byte { return deflate(strings.NewReader(s), flate.DefaultCompression) }

// lastBlock is s in a deflate stream that says where it ends (section 7.2.3.4).
func lastBlock(s string) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.DefaultCompression) // fails with a bad level only
	io.WriteString(w, s)
	w.Close()
	return append(b.Bytes(), 0)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// bomb inflates to size bytes of zero.
func bomb(size int64) []byte { return deflate(io.LimitReader(zeros{}, size), flate.BestSpeed) }

const deflateText, deflateBinary = 0x40 | textFIN, 0x40 | binaryFIN

// 12 and 13: compressed messages.
func TestProtocolDeflate(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var cases []protocolCase
	for _, n := range []int{0, 1, 16, 64, 256, 1024, 8192, 65536, 131072, 1 << 20} {
		even := strings.Repeat("respool ", n/8+1)[:n]
		noise := make([]byte, n)
		for i := range noise {
			noise[i] = byte(rng.Uint32())
		}
		cases = append(cases,
			protocolCase{name: fmt.Sprint("text of ", n), send: rawFrame(deflateText, deflated(even)), got: textOf(even)},
			protocolCase{name: fmt.Sprint("noise of ", n), send: rawFrame(deflateBinary, deflated(string(noise))), chop: 1000, got: binaryOf(noise)},
			protocolCase{name: fmt.Sprint("fragments of ", n), send: fragments(deflateBinary, deflated(string(noise)), n/10+1), got: binaryOf(noise)})
	}
	words := strings.Repeat("all the same ", 1000)
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		cases = append(cases, protocolCase{name: fmt.Sprint("level ", level),
			send: rawFrame(deflateText, deflate(strings.NewReader(words), level)), got: textOf(words)})
	}
	p := deflated(words)
	cases = append(cases,
		protocolCase{name: "byte by byte", send: rawFrame(deflateText, p), chop: 1, got: textOf(words)},
		protocolCase{name: "a ping between", send: joinFrames(rawFrame(0x41, p[:5]), rawFrame(pingFIN, []byte("p")), rawFrame(contFIN, p[5:])),
			got: textOf(words), pongs: []string{"p"}},
		protocolCase{name: "one not compressed between", send: joinFrames(rawFrame(deflateText, p), textFrame("plain"), rawFrame(deflateText, p)),
			got: append(append(textOf(words), textOf("plain")...), textOf(words)...)},
		protocolCase{name: "a last block", send: rawFrame(deflateText, lastBlock(words)), got: textOf(words)},
		protocolCase{name: "a last block, and more frames", send: joinFrames(rawFrame(0x41, lastBlock(words)), rawFrame(0, []byte("more")), rawFrame(contFIN, nil)),
			got: textOf(words)},
		protocolCase{name: "RSV2", send: rawFrame(0x20|textFIN, p), end: fault},
		protocolCase{name: "RSV1 and RSV3", send: rawFrame(0x10|deflateText, p), end: fault},
		protocolCase{name: "closed between", send: joinFrames(rawFrame(0x41, p[:5]), closeFrame(1001, "")), end: closedWith(1001, "", 1001)},
		protocolCase{name: "16 MiB", send: rawFrame(deflateBinary, bomb(16<<20)), got: binaryOf(make([]byte, 16<<20))},
		protocolCase{name: "16 MiB and a byte", send: rawFrame(deflateBinary, bomb(16<<20+1)), end: tooLong})
	for i := range cases {
		cases[i].cfg = deflating
	}
	runProtocol(t, append(cases,
		protocolCase{name: "as long as may be", cfg: deflatingSmall, send: rawFrame(deflateBinary, bomb(1<<20)), got: binaryOf(make([]byte, 1<<20))},
		protocolCase{name: "a byte too long", cfg: deflatingSmall, send: rawFrame(deflateBinary, bomb(1<<20+1)), end: tooLong},
		protocolCase{name: "bomb", cfg: deflatingSmall, send: rawFrame(deflateBinary, bomb(64<<20)), end: tooLong},
		protocolCase{name: "bomb in fragments", cfg: deflatingSmall, send: fragments(deflateBinary, bomb(64<<20), 100), end: tooLong},
		protocolCase{name: "declined", cfg: func(p *rawPeer) { p.cfg.Compression = true }, send: textFrame("plain"), got: textOf("plain")},
		protocolCase{name: "declined, and sent", cfg: func(p *rawPeer) { p.cfg.Compression = true }, send: rawFrame(deflateText, p), end: fault}))
}

// A message that does not inflate ends the connection, and no part of it is
// delivered.
func TestDeflateCorrupt(t *testing.T) {
	for name, payload := range map[string]string{"junk": "\xff\xff\xff\xff", "cut short": string(deflated(strings.Repeat("abc", 100)))[:5]} {
		t.Run(name, func(t *testing.T) {
			peer := &rawPeer{script: rawFrame(deflateText, []byte(payload))}
			deflating(peer)
			listenRaw(t, peer)
			gone := ends(&peer.cfg)
			p := pool(t, peer.cfg)
			c := acquire(t, p)
			defer func() { c.Discard(nil) }()
			write(t, c, "begin")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if _, data, err := c.ReadMessage(ctx); err == nil || ctx.Err() != nil {
				t.Errorf("read %q, %v", data, err)
			}
			c.Release()
			next(t, "end", gone)
			use(t, p)
		})
	}
}

// A message can be inflated whole before its last frame has arrived. The rest is
// pending, so the connection is not lent again.
func TestDeflateUnfinished(t *testing.T) {
	peer := &rawPeer{script: rawFrame(0x41, lastBlock("answer"))}
	deflating(peer)
	listenRaw(t, peer)
	gone := ends(&peer.cfg)
	c := acquire(t, pool(t, peer.cfg))
	defer func() { c.Discard(nil) }()
	write(t, c, "question")
	read(t, c, "answer")
	c.Release()
	if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrUnread) {
		t.Errorf("destroyed with %v", e.Cause)
	}
}

// A bomb costs what ReadLimit allows, read or not.
func TestDeflateBombMemory(t *testing.T) {
	payload := rawFrame(deflateBinary, bomb(64<<20))
	for name, readIt := range map[string]bool{"read": true, "not read": false} {
		t.Run(name, func(t *testing.T) {
			peer := &rawPeer{script: payload}
			deflatingSmall(peer)
			listenRaw(t, peer)
			gone := ends(&peer.cfg)
			p := pool(t, peer.cfg)
			c := acquire(t, p)
			defer func() { c.Discard(nil) }()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			write(t, c, "begin")
			if readIt {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if _, _, err := c.ReadMessage(ctx); !isTooLong(err) {
					t.Errorf("read: %v", err)
				}
			}
			c.Release()
			next(t, "end", gone)
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > 32<<20 {
				t.Errorf("%d MiB were allocated for a limit of 1", got>>20)
			}
		})
	}
}

// The offer of the handshake, and that messages are sent compressed if it is
// accepted.
func TestDeflateSends(t *testing.T) {
	for extensions, compressed := range map[string]int{noTakeover: 1, "": 0} {
		peer := listenRaw(t, &rawPeer{extensions: extensions, cfg: wspool.Config{Compression: true}})
		peer.script = textFrame("answer")
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		defer func() { c.Discard(nil) }()
		write(t, c, strings.Repeat("question ", 10_000))
		read(t, c, "answer")
		c.Discard(nil)
		r := next(t, "report", peer.reports)
		if !strings.HasPrefix(r.offer, "permessage-deflate") || !strings.Contains(r.offer, "server_no_context_takeover") ||
			!strings.Contains(r.offer, "client_no_context_takeover") {
			t.Errorf("offered %q", r.offer)
		}
		if r.compressed != compressed || r.err != nil {
			t.Errorf("with %q, %d messages came compressed: %v", extensions, r.compressed, r.err)
		}
	}
}

// A server that would keep its window from message to message, which this client
// cannot follow, or that answers with what it must not (RFC 7692, section 7.1), is
// not dialled, and the error says what it is.
func TestDeflateAnswers(t *testing.T) {
	const ok = "permessage-deflate; server_no_context_takeover"
	for _, tc := range []struct{ extensions, says string }{
		{"permessage-deflate", "context takeover"},
		{"permessage-deflate; client_no_context_takeover", "server_no_context_takeover is missing"},
		{"permessage-deflate; server_no_context_takeover=1", "with a value"},
		{ok + "; client_max_window_bits=12", "client_max_window_bits, which was not offered"},
		{ok + "; client_max_window_bits", "client_max_window_bits, which was not offered"},
		{ok + "; server_max_window_bits", "must be between 8 and 15"},
		{ok + "; server_max_window_bits=16", "must be between 8 and 15"},
		{ok + "; server_max_window_bits=08", "must be between 8 and 15"},
		{ok + "; server_no_context_takeover", "twice"},
		{ok + "; mystery=1", `"mystery", which is unknown`},
		{ok + ", " + ok, "chose permessage-deflate twice"},
		{ok + "\r\nSec-WebSocket-Extensions: " + ok, "chose permessage-deflate twice"},
		{"x-unknown", `not offered: "x-unknown"`},
		{ok + ", x-webkit-deflate-frame", `not offered: "x-webkit-deflate-frame"`},
		{ok + "; =", "does not parse"},
		{ok + `; server_max_window_bits="1,5"`, "does not parse"},
	} {
		peer := listenRaw(t, &rawPeer{extensions: tc.extensions, cfg: wspool.Config{Compression: true}})
		e := dialFails(t, peer.cfg, "handshake")
		if errors.Is(e, websocket.ErrBadHandshake) || !strings.Contains(e.Error(), tc.says) || e.Status != 101 {
			t.Errorf("%q: %v", tc.extensions, e)
		}
	}
}

// An answer that a server may give is accepted: a server may bind the client or
// not, and a smaller window of its own can be read.
func TestDeflateMayAnswer(t *testing.T) {
	for _, extensions := range []string{
		"permessage-deflate; server_no_context_takeover",
		"Permessage-Deflate;server_no_context_takeover; client_no_context_takeover",
		`permessage-deflate; server_no_context_takeover; server_max_window_bits="10"`,
		", permessage-deflate; client_no_context_takeover; server_max_window_bits=15; server_no_context_takeover ,",
	} {
		peer := listenRaw(t, &rawPeer{extensions: extensions, cfg: wspool.Config{Compression: true}})
		c := acquire(t, pool(t, peer.cfg))
		peer.first.Do(func() {}) // it has no script
		for range 3 {
			ask(t, c, strings.Repeat("all the same ", 100))
		}
		c.Release()
	}
}

// A limit that no message reaches hides none.
func TestDeflateNoLimit(t *testing.T) {
	peer := listen(t, false, echo)
	peer.upgrader.EnableCompression = true
	peer.cfg.Compression, peer.cfg.ReadLimit = true, math.MaxInt64
	c := acquire(t, pool(t, peer.cfg))
	ask(t, c, "hello")
	c.Release()
}

// inflated is a peer that compresses what it sends back.
func inflated(t *testing.T, secure bool) *peer {
	peer := listen(t, secure, echo)
	peer.upgrader.EnableCompression = true
	peer.cfg.Compression = true
	return peer
}

// Compressed messages are exchanged like others, lease after lease.
func TestInflatedLeases(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			p := pool(t, inflated(t, scheme == "wss").cfg)
			for range 20 {
				c := acquire(t, p)
				ask(t, c, "short")
				ask(t, c, strings.Repeat("long", 20_000))
				ask(t, c, "")
				write(t, c, "in pieces")
				_, r, err := c.NextReader(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if m, err := io.ReadAll(r); err != nil || string(m) != "in pieces" {
					t.Errorf("%q, %v", m, err)
				}
				c.Release()
			}
			if s := p.Stats(); s.Made != 1 {
				t.Errorf("%v", s)
			}
		})
	}
}

// ReadLimit holds for the inflated size of a message, however it is read, and the
// peer gets the close code.
func TestInflatedLimit(t *testing.T) {
	const limit = 1 << 20
	for name, take := range map[string]func(t *testing.T, c *wspool.Conn) error{
		"message": func(t *testing.T, c *wspool.Conn) error {
			_, _, err := c.ReadMessage(t.Context())
			return err
		},
		"reader": func(t *testing.T, c *wspool.Conn) error {
			_, r, err := c.NextReader(t.Context())
			if err != nil {
				return err
			}
			n, err := io.Copy(io.Discard, r)
			if n > limit {
				t.Errorf("read %d bytes", n)
			}
			return err
		},
		"stream": func(t *testing.T, c *wspool.Conn) error {
			_, err := io.Copy(io.Discard, c.NetConn(t.Context(), websocket.TextMessage))
			return err
		},
		"never read": func(t *testing.T, c *wspool.Conn) error { c.Release(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			closed := make(chan error, 1)
			size := make(chan int)
			peer := listen(t, false, func(ws *websocket.Conn) {
				go func() {
					for n := range size {
						ws.WriteMessage(websocket.TextMessage, make([]byte, n))
					}
				}()
				closed <- drain(ws)
			})
			t.Cleanup(func() { close(size) })
			peer.upgrader.EnableCompression = true
			peer.cfg.Compression = true
			peer.cfg.ReadLimit = limit
			peer.cfg.Exchange = wspool.Unpaired
			peer.cfg.OnUnsolicited = wspool.DropUnsolicited
			gone := ends(&peer.cfg)
			c := acquire(t, pool(t, peer.cfg))
			size <- limit // as much as it may have
			if _, m, err := c.ReadMessage(t.Context()); err != nil || len(m) != limit {
				t.Errorf("%d bytes, %v", len(m), err)
			}
			size <- limit + 1
			if err := take(t, c); name != "never read" && !errors.Is(err, wspool.ErrReadLimit) {
				t.Errorf("%v", err)
			}
			c.Release()
			if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrReadLimit) {
				t.Errorf("ended with %v", e.Cause)
			}
			var ce *websocket.CloseError
			if err := next(t, "close", closed); !errors.As(err, &ce) || ce.Code != websocket.CloseMessageTooBig {
				t.Errorf("the server saw %v, want 1009", err)
			}
		})
	}
}

// What lies in TLS behind the rest of a message that was read already rings no bell. It is
// found all the same.
func TestInflatedRestAndPing(t *testing.T) {
	for range 5 {
		ponged := make(chan string, 1)
		peer := listen(t, true, func(ws *websocket.Conn) {
			ws.SetPongHandler(func(s string) error { ponged <- s; return nil })
			ws.ReadMessage()
			c := ws.NetConn()
			c.Write(rawFrame(0x41, lastBlock("x")))
			ws.ReadMessage()
			c.Write(rawFrame(contFIN, nil)) // a record each
			c.Write(rawFrame(pingFIN, []byte("p")))
			ws.ReadMessage()
		})
		peer.upgrader.EnableCompression = true
		peer.cfg.Compression, peer.cfg.Exchange, peer.cfg.KeepAlive = true, wspool.Unpaired, -1
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		ask(t, c, "x")
		write(t, c, "y")
		if s := next(t, "pong", ponged); s != "p" {
			t.Errorf("pong %q", s)
		}
		c.Discard(nil)
	}
}
