package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// A wsServer is a WebSocket server. It answers a message "work TENANT CALL SIZE MODE" with "done
// TENANT CALL NAME xxxx…", SIZE times x, as MODE says; a message of JSON-RPC with its result: see
// rpc.go. It sends "push N" unasked if it pushes.
type wsServer struct {
	journal *journal
	name    string
	pushes  bool // it sends messages of its own
	calls   bool // its clients make calls of JSON-RPC
	plant   fault
	listen  net.Listener
	http    *http.Server
	all     sync.WaitGroup
	count   atomic.Int64 // connections
	served  atomic.Int64 // handshakes that succeeded
	pushed  atomic.Int64
	named   atomic.Uint64 // subscriptions so far
	runs    *runs         // what JSON-RPC calls have run; nil: it is not recorded
	ctx     context.Context
	cancel  context.CancelFunc

	mu       sync.Mutex // guards what follows
	sessions map[*wsSession]bool
	status   int // of a refusal; 0: none
	refuses  time.Time
	slow     time.Time // handshakes take long until then
}

// wsSession is one connection.
type wsSession struct {
	*wsServer
	ws    *websocket.Conn
	stall atomic.Int64 // for how many ns the next message is not read

	mu     sync.Mutex               // of writes
	before string                   // the last reply, for a planted fault
	subs   map[string]chan struct{} // closed when the subscription ends
	all    sync.WaitGroup
	done   chan struct{} // closed when the connection has ended
}

// counted counts the connections of a wsServer.
type counted struct {
	net.Conn
	s    *wsServer
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.s.count.Add(-1) })
	return c.Conn.Close()
}

type countedListener struct {
	net.Listener
	s *wsServer
}

func (l countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	_ = c.(*net.TCPConn).SetReadBuffer(1 << 16) // so that a long write blocks
	l.s.count.Add(1)
	return &counted{Conn: c, s: l.s}, nil
}

func newWSServer(name string, j *journal, secure *tls.Config, plant fault) (*wsServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &wsServer{journal: j, name: name, plant: plant, listen: l, sessions: map[*wsSession]bool{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	l = countedListener{l, s}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	s.http = &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0)} // handshakes fail on purpose
	s.all.Go(func() { _ = s.http.Serve(l) })
	return s, nil
}

func (s *wsServer) addr() string    { return s.listen.Addr().String() }
func (s *wsServer) open() int       { return int(s.count.Load()) }
func (s *wsServer) accepted() int64 { return s.served.Load() }

func (s *wsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	now := time.Now()
	status, slow := 0, now.Before(s.slow)
	if now.Before(s.refuses) {
		status = s.status
	}
	s.mu.Unlock()
	if status != 0 {
		w.Header().Set("Connection", "close")
		w.WriteHeader(status)
		return
	}
	if slow {
		pause(s.ctx, 30*time.Millisecond) // a server whose handshake takes long
	}
	ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	x := &wsSession{wsServer: s, ws: ws, subs: map[string]chan struct{}{}, done: make(chan struct{})}
	s.mu.Lock()
	if s.ctx.Err() != nil {
		s.mu.Unlock()
		ws.Close()
		return
	}
	s.sessions[x] = true
	s.all.Add(1)
	s.mu.Unlock()
	s.served.Add(1)
	defer func() {
		s.mu.Lock()
		delete(s.sessions, x)
		s.mu.Unlock()
		ws.Close()
		close(x.done)
		x.all.Wait()
		s.all.Done()
	}()
	for {
		_, p, err := ws.ReadMessage()
		if err != nil {
			return
		}
		if d := x.stall.Swap(0); d > 0 {
			pause(s.ctx, time.Duration(d)) // a server that does not read
		}
		if string(p) == beat {
			continue
		}
		if len(p) > 0 && p[0] == '{' {
			x.rpc(p)
		} else if err := x.work(string(p)); err != nil {
			return
		}
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// write sends raw bytes. A small write reaches the relay in one piece.
func (x *wsSession) write(p []byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, err := x.ws.NetConn().Write(p)
	return err
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

func text(p string) []byte { return frame(true, websocket.TextMessage, []byte(p)) }

func closing(code int) []byte {
	return frame(true, websocket.CloseMessage, websocket.FormatCloseMessage(code, "soak"))
}

// errCut ends a connection.
var errCut = fmt.Errorf("soak: the server cuts the connection")

// work answers a message as its mode says.
func (x *wsSession) work(message string) error {
	f := strings.Fields(message)
	if len(f) != 5 || f[0] != "work" || !strings.HasSuffix(message, ".") {
		x.journal.violation(x.name, "the server received %.80q, which was never sent", message)
		return errCut
	}
	size, err := strconv.Atoi(f[3])
	if err != nil {
		x.journal.violation(x.name, "the server received %.80q, which was never sent", message)
		return errCut
	}
	answer := "done " + f[1] + " " + f[2] + " " + x.name + " " + strings.Repeat("x", size) + "."
	if x.plant == plantCrossed {
		if x.before != "" {
			answer, x.before = x.before, answer
		} else {
			x.before = answer
		}
	}
	reply := text(answer)
	ping := frame(true, websocket.PingMessage, []byte("soak"))
	switch mode := strings.TrimSuffix(f[4], "."); mode {
	case "plain":
		return x.write(reply)
	case "slow":
		pause(x.ctx, time.Duration(rand.IntN(20))*time.Millisecond) // a server that takes its time
		return x.write(reply)
	case "pings":
		return x.write(append(append(bytes.Clone(ping), reply...), ping...))
	case "fragments":
		for rest, opcode := []byte(answer), websocket.TextMessage; ; opcode = 0 {
			n := min(len(rest), 1+len(rest)/3)
			if err := x.write(append(frame(n == len(rest), opcode, rest[:n]), ping...)); err != nil || n == len(rest) {
				return err
			}
			rest = rest[n:]
		}
	case "twice": // the copy arrives with the reply
		return x.write(append(reply, reply...))
	case "torn": // half of the copy arrives with the reply
		if err := x.write(append(reply, reply[:len(reply)/2]...)); err != nil {
			return err
		}
		return x.write(reply[len(reply)/2:])
	case "never":
		return nil
	case "half":
		_ = x.write(reply[:len(reply)/2])
		return errCut
	case "rst":
		x.reset()
		return errCut
	default:
		code, err := strconv.Atoi(mode)
		if err != nil {
			x.journal.violation(x.name, "the server received %.80q, which was never sent", message)
			return errCut
		}
		return x.write(append(reply, closing(code)...))
	}
}

// reset closes the connection with RST.
func (x *wsSession) reset() {
	c := x.ws.NetConn()
	if s, ok := c.(*tls.Conn); ok {
		c = s.NetConn()
	}
	_ = c.(*counted).Conn.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// codes are the close codes of a server that goes, or does not want its clients.
var codes = []int{
	websocket.CloseGoingAway, websocket.ClosePolicyViolation, websocket.CloseServiceRestart, websocket.CloseTryAgainLater,
	websocket.CloseInternalServerErr, websocket.CloseNormalClosure,
}

func (s *wsServer) misbehave(r *rand.Rand) string {
	kind, which, d := r.IntN(8), r.Uint64(), time.Duration(r.Int64N(int64(time.Second)))
	s.mu.Lock()
	var all []*wsSession
	for x := range s.sessions {
		all = append(all, x)
	}
	code := codes[which%uint64(len(codes))]
	defer s.mu.Unlock()
	switch kind {
	case 0:
		s.status = []int{http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusUnauthorized, http.StatusBadGateway}[which%4]
		s.refuses = time.Now().Add(d)
		return fmt.Sprintf("refuses handshakes with status %d for %v", s.status, d.Round(time.Millisecond))
	case 1:
		s.slow = time.Now().Add(d)
		return fmt.Sprintf("has slow handshakes for %v", d.Round(time.Millisecond))
	case 2:
		for _, x := range all {
			x.all.Go(func() { _ = x.write(closing(code)) })
		}
		return fmt.Sprintf("closes all connections with code %d", code)
	}
	if len(all) == 0 {
		return "has no connection"
	}
	x := all[which%uint64(len(all))]
	switch kind {
	case 3:
		x.all.Go(func() { _ = x.write(closing(code)) })
		return fmt.Sprintf("closes a connection with code %d", code)
	case 4:
		x.reset()
		return "resets a connection"
	case 5:
		x.stall.Store(int64(d))
		return fmt.Sprintf("does not read a connection for %v", d.Round(time.Millisecond))
	}
	if !s.pushes {
		return "does nothing"
	}
	message := fmt.Sprintf("push %d", s.pushed.Add(1))
	if s.calls {
		message = unasked[which%uint64(len(unasked))]
	}
	x.all.Go(func() { _ = x.write(text(message)) })
	return "sends " + message
}

func (s *wsServer) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses, s.slow = time.Time{}, time.Time{}
}

func (s *wsServer) close() {
	s.cancel()
	_ = s.http.Close()
	s.mu.Lock()
	for x := range s.sessions {
		x.ws.Close()
	}
	s.mu.Unlock()
	s.all.Wait()
}
