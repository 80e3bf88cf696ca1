package wspool

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/internal/readiness"
	"github.com/respool/respool/resource"
)

const belled = 20 * time.Second // what must happen does within that

// holding is a connection that keeps back what is written while it holds.
type holding struct {
	net.Conn
	mu   sync.Mutex
	on   bool
	kept []byte
}

func (h *holding) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.on {
		h.kept = append(h.kept, p...)
		return len(p), nil
	}
	return h.Conn.Write(p)
}

// holders makes what it accepts hold.
type holders struct{ net.Listener }

func (l holders) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &holding{Conn: c}, nil
}

// belledPool is a pool of one connection to a server that runs serve. Both end with
// the test.
func belledPool(t *testing.T, secure bool, cfg Config, serve func(*websocket.Conn)) *Pool {
	t.Helper()
	var all sync.WaitGroup
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all.Add(1) // before the connection is hijacked, while Close waits for this
		defer all.Done()
		u := websocket.Upgrader{EnableCompression: true}
		ws, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		ws.SetReadDeadline(time.Now().Add(belled))
		serve(ws)
	}))
	s.Listener = holders{s.Listener}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		s.TLS = &tls.Config{MaxVersion: tls.VersionTLS12} // its alerts can be told from data
		s.StartTLS()
		cfg.TLS = s.Client().Transport.(*http.Transport).TLSClientConfig
	} else {
		s.Start()
	}
	cfg.URL, cfg.MaxSize = "ws"+strings.TrimPrefix(s.URL, "http"), 1
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), belled)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
		s.Close()
		all.Wait()
	})
	return p
}

func belledConn(t *testing.T, p *Pool) *Conn {
	t.Helper()
	c, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// until waits for what l is to be like.
func (l *link) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(belled); time.Now().Before(end); time.Sleep(time.Millisecond) { // between looks
		l.mu.Lock()
		ok := is()
		l.mu.Unlock()
		if ok {
			return
		}
	}
	t.Fatalf("it never was %s", what)
}

func drainBelled(ws *websocket.Conn) {
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
	}
}

// TLS reports the end together with the last bytes, where the first part of its
// close alert is behind them. That is no error of the read.
func TestBell_TornAlert(t *testing.T) {
	strike, pongs, rest := make(chan struct{}), make(chan string, 1), make(chan struct{})
	gone := make(chan error, 10)
	cfg := Config{Trace: &resource.Trace{Destroyed: func(e resource.DestroyEvent) { gone <- e.Cause }}}
	p := belledPool(t, true, cfg, func(ws *websocket.Conn) {
		ws.SetPongHandler(func(s string) error {
			pongs <- s
			return nil
		})
		go func() {
			<-strike
			s := ws.NetConn().(*tls.Conn)
			h := s.NetConn().(*holding)
			h.mu.Lock()
			h.on = true
			h.mu.Unlock()
			s.Write([]byte{0x89, 1, 'p'})
			s.CloseWrite()
			h.Conn.SetWriteDeadline(time.Time{}) // CloseWrite has let it pass
			h.Conn.Write(h.kept[:len(h.kept)-3])
			<-rest
			h.Conn.Write(h.kept[len(h.kept)-3:])
		}()
		drainBelled(ws)
	})
	c := belledConn(t, p)
	l := c.link
	c.Release()
	l.until(t, "armed", func() bool { return l.watch.armed })
	close(strike)
	select {
	case s := <-pongs:
		if s != "p" {
			t.Errorf("pong %q", s)
		}
	case err := <-gone:
		close(rest)
		t.Fatalf("it ended early, with %v", err)
	}
	l.until(t, "waiting for the rest, or broken", func() bool {
		return l.raw.Parked() || l.end.cause != nil
	})
	close(rest)
	var ce *CloseError
	select {
	case err := <-gone:
		if !errors.As(err, &ce) || ce.Code != websocket.CloseAbnormalClosure {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(belled):
		t.Error("it has not ended")
	}
}

// A watcher that drops a message because the connection is being closed does not
// leave between gorilla's skipping of it and the next frame: gorilla would skip as
// much again, of the peer's close.
func TestBell_Dropped(t *testing.T) {
	strike := make(chan struct{})
	p := belledPool(t, false, Config{CloseTimeout: belled}, func(ws *websocket.Conn) {
		answer := ws.CloseHandler()
		over := make(chan struct{})
		defer close(over)
		ws.SetCloseHandler(func(code int, text string) error {
			answer(code, text)
			io.Copy(io.Discard, ws.NetConn()) // the client is to hang up
			return nil
		})
		go func() {
			select {
			case <-strike:
				ws.WriteMessage(websocket.TextMessage, make([]byte, 100))
			case <-over:
			}
		}()
		drainBelled(ws)
	})
	c := belledConn(t, p)
	l := c.link
	l.mu.Lock()
	l.disarmLocked()
	l.end.closing = true // as if a watcher had come just before destroy
	l.mu.Unlock()
	close(strike)
	l.until(t, "sent a message", l.raw.Readable)
	l.mu.Lock()
	l.hub.monitor.watched(&l.node)
	l.beginWatchLocked()
	l.mu.Unlock()
	l.until(t, "at the end of what came", func() bool {
		return l.watch.reader == noReader || l.raw.Parked()
	})
	began := time.Now()
	l.destroy(resource.ErrDiscarded)
	if took := time.Since(began); took >= belled/2 {
		t.Errorf("the closing took %v: the peer's close was not seen", took)
	}
	c.Discard(nil)
}

// The end of a compressed message can be known before its last byte has come. A
// watcher that leaves when gorilla has skipped that has it skip another. The first
// message comes during a lease that has written nothing, or after its end.
func TestBell_BehindCompressed(t *testing.T) {
	for name, during := range map[string]bool{"during a lease": true, "after it": false} {
		t.Run(name, func(t *testing.T) { testBellBehindCompressed(t, during) })
	}
}

func testBellBehindCompressed(t *testing.T, during bool) {
	strike, heard, rounds, pongs := make(chan struct{}), make(chan struct{}), 50, make(chan string)
	over := make(chan struct{})
	cfg := Config{Compression: true, WatchAfter: -1, UnsolicitedLimit: 1000,
		OnUnsolicited: func(_ context.Context, m Message) (*Message, error) {
			if string(m.Data) != "Hello" {
				t.Errorf("%q", m.Data)
			}
			heard <- struct{}{}
			return nil, nil
		}}
	p := belledPool(t, false, cfg, func(ws *websocket.Conn) {
		defer close(over)
		ws.SetPongHandler(func(s string) error { pongs <- s; return nil })
		go func() { drainBelled(ws); close(pongs) }()
		raw := ws.NetConn()
		<-strike
		for range rounds {
			// RFC 7692, section 7.2.3.4: a block that says that it is the last.
			raw.Write([]byte{0xc1, 8, 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00})
			select {
			case <-heard:
			case <-time.After(belled):
				return
			}
			raw.Write([]byte{0x00})
			time.Sleep(2 * time.Millisecond) // or the watcher has no time to leave
			raw.Write([]byte{0x89, 1, 'p'})
			if s, ok := <-pongs; !ok || s != "p" {
				t.Errorf("pong %q, %v", s, ok)
				return
			}
		}
	})
	c := belledConn(t, p)
	if during {
		l := c.link
		l.mu.Lock()
		l.disarmLocked()
		// No tick of the monitor may have the lease watched, however long this goroutine waits for a
		// processor: the release is to find the message.
		l.watch.since = l.hub.monitor.tick.Load() + 1e6
		l.mu.Unlock()
		close(strike)
		l.until(t, "sent a message", l.raw.Readable)
		if n := p.Stats().Unsolicited; n != 0 {
			t.Errorf("%d messages were read during the lease", n)
		}
		c.Release()
	} else {
		c.Release()
		close(strike)
	}
	<-over
	if s := p.Stats(); s.Unsolicited != int64(rounds) {
		t.Errorf("%d messages; %v", s.Unsolicited, s)
	}
}

// A pong that has come counts before the peer is called silent, also if it came
// when the connection had just been leased, and nobody reads yet.
func TestBell_PongUnread(t *testing.T) {
	pinged, answer := make(chan string, 10), make(chan struct{})
	p := belledPool(t, false, Config{KeepAlive: time.Hour, WatchAfter: time.Hour}, func(ws *websocket.Conn) {
		ws.SetPingHandler(func(s string) error {
			pinged <- s
			<-answer
			return ws.WriteControl(websocket.PongMessage, []byte(s), time.Now().Add(belled))
		})
		drainBelled(ws)
	})
	c := belledConn(t, p)
	l := c.link
	c.Release()
	t0 := l.hub.clock.Now()
	l.frames.LastRead.Store(t0 - int64(2*time.Hour))
	l.checkAlive(t0, 0)
	l.frames.LastRead.Store(t0 - 1)
	<-pinged
	c = belledConn(t, p)
	defer c.Release()
	l.hub.monitor.mu.Lock()
	if l.hub.monitor.ticker != nil {
		l.hub.monitor.ticker.Stop() // it would find out by itself
	}
	l.hub.monitor.mu.Unlock()
	close(answer)
	l.until(t, "answered", l.raw.Readable)
	l.checkAlive(t0+int64(l.hub.cfg.PongWait)+1, 0)
	if err := l.cause(); err != nil {
		t.Error(err)
	}
}

// A connection whose bell cannot be armed keeps its watcher goroutine, as on
// systems without bells, instead of starting one at each event.
func TestBell_Broken(t *testing.T) {
	p := belledPool(t, false, Config{WatchAfter: -1}, drainBelled)
	c := belledConn(t, p)
	l := c.link
	a, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := a.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	l.mu.Lock()
	l.disarmLocked()
	l.watch.bell.Close()
	l.watch.bell = readiness.New(raw, l.onBell)
	l.mu.Unlock()
	c.Release()
	l.until(t, "watched by one who stays", func() bool {
		return l.watch.reader == watcherReader && l.raw.Parked()
	})
}
