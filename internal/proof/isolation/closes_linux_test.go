package isolation_test

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/proof/testkit"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// sessions is an echo server that counts its open sessions.
type sessions struct {
	upgrader websocket.Upgrader
	now      atomic.Int64
	rude     atomic.Int64 // ended without a close frame
}

func (s *sessions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the client closed the connection
	}
	s.now.Add(1)
	defer s.now.Add(-1)
	defer ws.Close()
	for {
		kind, p, err := ws.ReadMessage()
		if err != nil {
			if !websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway) {
				s.rude.Add(1)
			}
			return
		}
		if ws.WriteMessage(kind, p) != nil {
			return
		}
	}
}

// TestGracefulCloses closes many connections, idle and leased. Each is closed with a close
// frame, so that the server has no session left, and the server closes the socket first,
// so that the TIME_WAIT state is on its side: the client would run out of ports. If the
// server is slow to close, as up to one in a hundred may be on a busy machine, the client
// does not wait for ever.
func TestGracefulCloses(t *testing.T) {
	for scheme, n := range map[string]int{"ws": 10_000, "wss": 2_000} { // a dial with TLS takes five times as long
		t.Run(scheme, func(t *testing.T) {
			if testing.Short() {
				n /= 20
			}
			s := &sessions{}
			h := httptest.NewUnstartedServer(s)
			h.Config.ErrorLog = log.New(io.Discard, "", 0)
			cfg := wspool.Config{MaxSize: 100, MaxDials: 32}
			if scheme == "wss" {
				h.TLS, cfg.TLS = testkit.Certificate(t)
				h.StartTLS()
			} else {
				h.Start()
			}
			defer h.Close()
			cfg.URL = "ws" + strings.TrimPrefix(h.URL, "http")
			cfg.Redial = func(error, int) time.Duration { return 0 }
			port := h.Listener.Addr().(*net.TCPAddr).Port
			begin := time.Now()
			closeMany(t, cfg, n)
			t.Logf("%d connections in %v", n, time.Since(begin).Round(time.Millisecond))

			// This side has closed everything; the server may not be done yet.
			for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
				got, left := socketsOf(t, port), s.now.Load()
				if left == 0 && got.alive == 0 {
					t.Logf("in TIME_WAIT: %d at the client, %d at the server; %d ended without a close frame",
						got.client, got.server, s.rude.Load())
					if got.client > n/100 {
						t.Errorf("%d of %d sockets are in TIME_WAIT at the client", got.client, n)
					}
					break
				}
				if time.Now().After(end) {
					t.Fatalf("the server has %d sessions left; %d sockets are open", left, got.alive)
				}
			}
			if rude := s.rude.Load(); rude > 0 {
				t.Errorf("%d of %d connections ended without a close frame", rude, n)
			}
		})
	}
}

// closeMany makes a pool dial and close at least n connections.
func closeMany(t *testing.T, cfg wspool.Config, n int) {
	t.Helper()
	var gone atomic.Int64
	wake := make(chan struct{}, 1)
	cfg.Trace = &resource.Trace{Destroyed: func(resource.DestroyEvent) {
		gone.Add(1)
		select {
		case wake <- struct{}{}:
		default:
		}
	}}
	p, err := wspool.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	for done := 0; done < n; done += cfg.MaxSize {
		if err := p.Warm(ctx, cfg.MaxSize); err != nil {
			t.Fatal(err)
		}
		for range cfg.MaxSize / 2 { // the other half is closed unused
			err := p.Do(ctx, func(ctx context.Context, c *wspool.Conn) error {
				if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("hello")); err != nil {
					return err
				}
				_, _, err := c.ReadMessage(ctx)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		c, err := p.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		p.Reset(nil)
		c.Release() // closes the connection, because of the Reset
		for gone.Load() < int64(done+cfg.MaxSize) {
			select {
			case <-wake:
			case <-ctx.Done():
				t.Fatalf("%d of %d are closed: %v", gone.Load(), n, ctx.Err())
			}
		}
	}
	if err := p.Warm(ctx, cfg.MaxSize); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
}
