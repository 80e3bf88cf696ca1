package scene

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// server is the embedded inference server: TCP, upgrades and messages are real, its two
// delays are simulated.
type server struct {
	handshake time.Duration // slept before an upgrade
	inference time.Duration // slept before a reply
	at        Server
	answered  atomic.Int64
	conns     *countListener
	http      http.Server
	upgrader  websocket.Upgrader

	mu       sync.Mutex
	closed   bool
	done     chan struct{}  // closed by stop
	handlers sync.WaitGroup // of hijacked connections, which http.Server does not track
}

// startServer listens on a free port of the loopback interface. With a
// certificate it speaks TLS. The caller calls stop.
func startServer(s setting, cert *certificate) (*server, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		var err6 error
		if ln, err6 = net.Listen("tcp", "[::1]:0"); err6 != nil {
			return nil, fmt.Errorf("embedded server: %w", errors.Join(err, err6))
		}
	}
	srv := &server{
		handshake: s.handshake,
		inference: s.inference,
		conns:     &countListener{Listener: ln, open: map[*countConn]struct{}{}},
		done:      make(chan struct{}),
	}
	srv.http.Handler = srv
	srv.http.ErrorLog = log.New(io.Discard, "", 0)
	srv.http.ReadHeaderTimeout = 10 * time.Second
	srv.at = Server{URL: "ws://" + ln.Addr().String(), Size: s.size}
	var l net.Listener = srv.conns
	if cert != nil {
		l = tls.NewListener(l, cert.server)
		srv.at.URL = "wss://" + ln.Addr().String()
		srv.at.TLS = cert.client.Clone()
	}
	srv.handlers.Go(func() { srv.http.Serve(l) })
	return srv, nil
}

// stop ends the server, its connections and its goroutines.
func (s *server) stop() {
	s.mu.Lock()
	s.closed = true
	close(s.done)
	s.mu.Unlock()
	s.http.Close()
	s.conns.closeAll()
	s.handlers.Wait()
}

// begin counts a handler in, unless the server is ending.
func (s *server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.handlers.Add(1)
	return true
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		return
	}
	defer s.handlers.Done()
	if !s.sleep(s.handshake) {
		return
	}
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has replied
	}
	defer ws.Close()
	ws.SetReadLimit(maxChunk)
	for s.answer(ws) == nil {
	}
}

// answer receives one utterance and replies to it.
func (s *server) answer(ws *websocket.Conn) error {
	var begin start
	if err := ws.ReadJSON(&begin); err != nil {
		return err
	}
	var h heard
	for range begin.Chunks {
		kind, chunk, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		if kind != websocket.BinaryMessage {
			return errors.New("not a chunk")
		}
		h.add(chunk)
	}
	if !s.sleep(s.inference) {
		return net.ErrClosed
	}
	data, err := json.Marshal(reply{Utterance: &begin.Utterance, Chunks: &h.chunks, Bytes: &h.bytes, CRC32: &h.crc32})
	if err != nil {
		return err
	}
	s.answered.Add(1)
	return ws.WriteMessage(websocket.TextMessage, data)
}

// sleep reports whether d passed before the server ended.
func (s *server) sleep(d time.Duration) bool {
	if d == 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.done:
		return false
	}
}
