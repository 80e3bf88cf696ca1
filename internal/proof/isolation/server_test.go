package isolation_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/proof/testkit"
	"github.com/respool/respool/wspool"
)

// patience bounds events that must happen. No successful test waits for it to pass.
const patience = 20 * time.Second

// A request asks the server for a reply, in a mode that the worker chooses. Each request
// is unique.
type request struct {
	conn   uint64 // ID of the connection in the pool
	number uint64 // of this request, in all the run
	mode   string
	size   int // of the reply
}

// String returns the message of the request. It ends with a full stop, so that a truncated
// one is detected.
func (r request) String() string {
	return fmt.Sprintf("%d %d %q %d.", r.conn, r.number, r.mode, r.size)
}

func parseRequest(p []byte) (r request, err error) {
	text, whole := strings.CutSuffix(strings.TrimRight(string(p), "-"), ".")
	if !whole {
		return r, fmt.Errorf("the server received %.80q, which is truncated", p)
	}
	_, err = fmt.Sscanf(text, "%d %d %q %d", &r.conn, &r.number, &r.mode, &r.size)
	if err == nil && r.String() != text+"." {
		err = fmt.Errorf("it parses as %q", r)
	}
	if err != nil {
		err = fmt.Errorf("the server received %.80q, which was never sent: %w", p, err)
	}
	return r, err
}

// answer returns the reply to r: its number repeated as often as size allows, at least
// once, so that parts of another reply are detected.
func (r request) answer() []byte {
	word := binary.BigEndian.AppendUint64(nil, r.number)
	return bytes.Repeat(word, max(1, r.size/len(word)))
}

// answers returns the number of the request that p answers.
func answers(p []byte) (uint64, error) {
	if len(p) < 8 {
		return 0, fmt.Errorf("message of %d bytes, %q", len(p), p)
	}
	r := request{number: binary.BigEndian.Uint64(p), size: len(p)}
	if !bytes.Equal(p, r.answer()) {
		return r.number, fmt.Errorf("message with parts of several replies, the first to %d", r.number)
	}
	return r.number, nil
}

// A server misbehaves as the request asks, in two kinds of modes.
//
// Messages that belong to no request are sent where the pool guarantees that no lease
// receives them:
//
//   - in one segment with a reply or with the handshake response, so that they arrive
//     together. Such messages are small: of a large one the end may still be in flight
//     when the beginning has been read;
//   - while no lease is in an exchange: when the connection is idle, or leased before
//     the first write, or leased after the last read. The gate of the connection ensures
//     this.
//
// Replies that the worker does not wait for, because it cancels or ends the lease, are sent
// at any time: such a connection must not be lent again.
//
// Not sent is what a pool cannot guard against without a number in each message: an extra
// message that arrives after the next lease has written looks like its reply. So does, with
// ReplyLast, the reply to one of two requests when the lease has read one; with it the
// workers read both.
type server struct {
	upgrader websocket.Upgrader
	complain func(format string, args ...any)
	delays   *delays
	gates    sync.Map // *gate by number of the connection
	all      sync.WaitGroup
	greeted  atomic.Int64
}

// A gate is locked by a worker from before its first write until after its last read, and
// by the server while it sends an extra message.
type gate struct {
	sync.Mutex
	holder atomic.Pointer[worker] // of the current lease
	last   atomic.Pointer[answered]
}

// answered is a small reply that was sent.
type answered struct {
	to    net.Conn
	frame []byte
}

// resend sends it again.
func (a *answered) resend() { _, _ = a.to.Write(a.frame) } // fails if the connection was closed

// gate returns the gate of a connection.
func (s *server) gate(conn uint64) *gate {
	g, _ := s.gates.LoadOrStore(conn, new(gate))
	return g.(*gate)
}

// delays draws random delays up to 3 ms; one in three is 0.
type delays struct {
	mu   sync.Mutex
	rand *rand.Rand
}

func (d *delays) draw() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rand.IntN(3) == 0 {
		return 0
	}
	return time.Duration(d.rand.IntN(3_000_000))
}

// chance returns true with probability 1/n.
func (d *delays) chance(n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rand.IntN(n) == 0
}

// frame returns a frame of a server.
func frame(final bool, opcode int, payload []byte) []byte {
	b := []byte{byte(opcode), 0}
	if final {
		b[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b[1] = byte(n)
	case n < 1<<16:
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return append(b, payload...)
}

func message(payload []byte) []byte { return frame(true, websocket.BinaryMessage, payload) }

func ping() []byte { return frame(true, websocket.PingMessage, []byte("still there?")) }

// fragments returns a message in fragments, with pings in between.
func fragments(payload []byte) (all [][]byte) {
	opcode := websocket.BinaryMessage
	for len(payload) > 0 {
		n := min(len(payload), 1+len(payload)/3)
		all = append(all, frame(n == len(payload), opcode, payload[:n]), ping())
		payload, opcode = payload[n:], 0
	}
	return all
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.all.Add(1)
	defer s.all.Done()
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the client closed the connection
	}
	defer ws.Close()
	for {
		_, p, err := ws.ReadMessage()
		if err != nil {
			return
		}
		q, err := parseRequest(p)
		if err != nil {
			s.complain("%v", err)
			return
		}
		if err := s.reply(ws.NetConn(), q); err != nil {
			return
		}
	}
}

// reply sends the reply to q in its mode. A small Write reaches the client in one segment.
func (s *server) reply(to net.Conn, q request) error {
	answer := message(q.answer())
	if len(answer) < 1000 {
		s.gate(q.conn).last.Store(&answered{to, answer})
	}
	var pieces [][]byte
	switch q.mode {
	case "plain":
		pieces = [][]byte{answer}
	case "pings":
		pieces = [][]byte{append(append(ping(), answer...), ping()...)}
	case "fragments":
		pieces = fragments(q.answer())
	case "twice":
		pieces = [][]byte{append(answer, answer...)}
	case "torn": // followed by half of another message
		pieces = [][]byte{append(answer, answer[:1+len(answer)/2]...), answer[1+len(answer)/2:]}
	case "close":
		bye := frame(true, websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""))
		pieces = [][]byte{append(answer, bye...)}
	case "slow":
		pieces = [][]byte{answer}
	case "slow fragments":
		pieces = fragments(q.answer())
	case "late":
		pieces = [][]byte{answer}
		s.all.Go(func() {
			time.Sleep(s.delays.draw()) // random delay
			s.sendExtra(q.conn)
		})
	case "never": // and the next message is read late
		time.Sleep(s.delays.draw()) // random delay
	default:
		s.complain("unknown mode %q", q.mode)
	}
	for _, p := range pieces {
		if strings.HasPrefix(q.mode, "slow") {
			time.Sleep(s.delays.draw()) // random delay
		}
		if _, err := to.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// sendExtra repeats the last reply of a connection as soon as no lease is in an exchange
// on it.
func (s *server) sendExtra(conn uint64) {
	g := s.gate(conn)
	g.Lock()
	defer g.Unlock()
	if a := g.last.Load(); a != nil {
		a.resend()
	}
}

// greetingConn appends a message to some handshake responses, in the same segment.
type greetingConn struct {
	net.Conn
	s *server
}

func (g greetingConn) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(p, []byte("HTTP/1.1 101")) || !g.s.delays.chance(100) {
		return g.Conn.Write(p)
	}
	g.s.greeted.Add(1)
	if _, err := g.Conn.Write(append(bytes.Clone(p), message([]byte("welcome"))...)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// listener accepts greetingConns, with TLS below them if configured.
type listener struct {
	net.Listener
	s      *server
	secure *tls.Config // nil: none
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	_ = c.(*net.TCPConn).SetReadBuffer(1 << 16) // so that a long write blocks
	if l.secure != nil {
		c = tls.Server(c, l.secure)
	}
	return greetingConn{c, l.s}, nil
}

// listen starts a server on loopback and returns the Config to dial it.
func listen(t *testing.T, secure bool, s *server) wspool.Config {
	t.Helper()
	var cfg wspool.Config
	base, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := listener{Listener: base, s: s}
	cfg.URL = "ws://" + base.Addr().String()
	if secure {
		l.secure, cfg.TLS = testkit.Certificate(t)
		cfg.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		cfg.URL = "wss://" + base.Addr().String()
	}
	h := &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan struct{})
	go func() { defer close(served); _ = h.Serve(l) }()
	t.Cleanup(func() {
		_ = h.Close()
		<-served
		s.all.Wait()
	})
	return cfg
}
