package wspool_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// The close code tells the server why: 1001 when the pool closes, 1000 when one
// connection ends. The server may hang up first.
func TestCloseCode(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		for _, tc := range []struct {
			name string
			do   func(*wspool.Pool)
			want int
		}{
			{"pool closed", func(p *wspool.Pool) { p.Close(context.Background()) }, 1001},
			{"reset", func(p *wspool.Pool) { p.Reset(nil) }, 1000},
			{"discarded", func(p *wspool.Pool) {
				if c, ok := p.TryAcquire(); ok {
					c.Discard(nil)
				}
			}, 1000},
			{"tainted", func(p *wspool.Pool) {
				if c, ok := p.TryAcquire(); ok {
					c.WriteMessage(context.Background(), websocket.TextMessage, nil)
					c.Release()
				}
			}, 1000},
		} {
			t.Run(tc.name+"/"+scheme, func(t *testing.T) {
				seen := make(chan error, 1)
				peer := listen(t, scheme == "wss", func(ws *websocket.Conn) { seen <- drain(ws) })
				gone := ends(&peer.cfg)
				p := pool(t, peer.cfg)
				if err := p.Warm(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				tc.do(p)
				var ce *websocket.CloseError
				if err := next(t, "close", seen); !errors.As(err, &ce) || ce.Code != tc.want {
					t.Errorf("the server saw %v, want %d", err, tc.want)
				}
				next(t, "end", gone)
			})
		}
	}
}

// A server that never answers the close, or never stops sending, costs the
// CloseTimeout and no more; one that answers but does not hang up costs 50 ms.
func TestCloseBounded(t *testing.T) {
	for _, tc := range []struct {
		name  string
		serve func(ws *websocket.Conn, until <-chan struct{})
		took  time.Duration
	}{
		{"prompt", func(ws *websocket.Conn, _ <-chan struct{}) { drain(ws) }, 0},
		{"silent", func(ws *websocket.Conn, until <-chan struct{}) { <-until }, 3 * time.Second},
		{"talkative", func(ws *websocket.Conn, _ <-chan struct{}) {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
			for ws.WriteMessage(websocket.TextMessage, []byte("news")) == nil {
				time.Sleep(100 * time.Millisecond)
			}
		}, 3 * time.Second},
		{"hangs on", func(ws *websocket.Conn, until <-chan struct{}) { drain(ws); <-until }, 50 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				until := make(chan struct{})
				defer close(until)
				peer := listenMem(t, 4096, func(ws *websocket.Conn) { tc.serve(ws, until) })
				peer.cfg.CloseTimeout = 3 * time.Second
				p := pool(t, peer.cfg)
				c := acquire(t, p)
				if tc.name == "talkative" {
					write(t, c, "begin")
				}
				start := time.Now()
				c.Discard(nil)
				if took := time.Since(start); took != 0 {
					t.Errorf("Discard took %v", took)
				}
				if err := p.Close(t.Context()); err != nil {
					t.Errorf("Close: %v", err)
				}
				if took := time.Since(start); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
			})
		})
	}
}

// Close waits for leases, and says so when it may not wait longer.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := listenMem(t, 4096, echo)
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var ce *resource.CloseError
		if err := p.Close(ctx); !errors.As(err, &ce) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if _, err := p.Acquire(t.Context()); !errors.Is(err, resource.ErrClosed) {
			t.Errorf("Acquire: %v", err)
		}
		ask(t, c, "still mine")
		c.Release()
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// The peer's close code reaches the cause, codes that gorilla does not know
// included.
func TestCloseError(t *testing.T) {
	for _, tc := range []struct {
		code int
		text string
		want wspool.CloseError
	}{
		{1000, "", wspool.CloseError{Code: 1000, ByPeer: true}},
		{1001, "restart", wspool.CloseError{Code: 1001, Text: "restart", ByPeer: true}},
		{1005, "", wspool.CloseError{Code: 1005, ByPeer: true}}, // an empty close frame
		{1008, "no", wspool.CloseError{Code: 1008, Text: "no", ByPeer: true}},
		{1012, "", wspool.CloseError{Code: 1012, ByPeer: true}},
		{1014, "bad gateway", wspool.CloseError{Code: 1014, ByPeer: true}},
		{4000, "mine", wspool.CloseError{Code: 4000, Text: "mine", ByPeer: true}},
	} {
		strike := make(chan struct{})
		peer := listen(t, false, func(ws *websocket.Conn) {
			<-strike
			ws.NetConn().Write(frame(websocket.CloseMessage, string(websocket.FormatCloseMessage(tc.code, tc.text))))
			drain(ws)
		})
		gone := ends(&peer.cfg)
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		close(strike)
		var ce *wspool.CloseError
		if _, _, err := c.ReadMessage(t.Context()); !errors.As(err, &ce) || *ce != tc.want {
			t.Errorf("%d: ReadMessage: %v", tc.code, err)
		}
		c.Release()
		if e := next(t, "end", gone); !errors.As(e.Cause, &ce) || *ce != tc.want {
			t.Errorf("%d: destroyed with %v", tc.code, e.Cause)
		}
	}
}

// A server that is given up as silent gets a close frame, and is not waited for.
func TestCloseSilent(t *testing.T) {
	for _, deaf := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			seen, over := make(chan error, 10), make(chan struct{})
			peer := listenMem(t, 1<<12, func(ws *websocket.Conn) {
				ws.SetPingHandler(func(string) error { return nil })
				if !deaf {
					seen <- drain(ws)
				}
				<-over // it does not hang up
			})
			t.Cleanup(func() { close(over) })
			peer.cfg.KeepAlive, peer.cfg.PongWait = time.Second, time.Second
			gone := ends(&peer.cfg)
			p := pool(t, peer.cfg)
			if err := p.Warm(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			e := next(t, "end", gone)
			if !errors.Is(e.Cause, wspool.ErrSilent) || e.Took > 50*time.Millisecond {
				t.Errorf("it took %v, %v", e.Took, e.Cause)
			}
			var ce *websocket.CloseError
			if deaf {
				return
			}
			if err := next(t, "close", seen); !errors.As(err, &ce) || ce.Code != 1000 {
				t.Errorf("the server saw %v, want 1000", err)
			}
		})
	}
}

// deafPeer agrees to the handshake and then reads nothing, so that it answers no
// close frame, until the returned function is called.
func deafPeer(t *testing.T) (*peer, func()) {
	until := make(chan struct{})
	p := listenMem(t, 64<<10, deaf(until))
	p.cfg.KeepAlive = -1
	p.cfg.Redial = atOnce
	return p, func() { close(until) }
}

// After Reset the slots of connections whose peers do not answer are held for
// CloseTimeout; after ResetNow they are free at once, those of an earlier Reset
// too. Leases go on, and delay no caller when they end.
func TestResetNow(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(p *wspool.Pool)
		want time.Duration
	}{
		"Reset":    {func(p *wspool.Pool) { p.Reset(nil) }, wspool.DefaultCloseTimeout},
		"ResetNow": {func(p *wspool.Pool) { p.ResetNow(nil) }, 0},
		"both": {func(p *wspool.Pool) {
			p.Reset(nil)
			time.Sleep(time.Second)
			p.ResetNow(nil)
		}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				peer, over := deafPeer(t)
				defer over()
				gone := ends(&peer.cfg)
				p := pool(t, peer.cfg)
				warm(t, p, 4)
				leased := acquire(t, p)
				began := time.Now()
				tc.do(p)
				for range 3 {
					c := acquire(t, p)
					if c.Reused() {
						t.Error("it was not replaced")
					}
					at(t, "lent", time.Since(began), tc.want)
					defer c.Discard(nil)
				}
				write(t, leased, "still there")
				for range 3 {
					if e := next(t, "end", gone); !errors.Is(e.Cause, resource.ErrReset) {
						t.Errorf("destroyed with %v", e.Cause)
					}
				}
				ended := time.Now()
				leased.Discard(nil)
				next(t, "end", gone)
				if took := time.Since(ended); name != "Reset" && took != 0 {
					t.Errorf("the leased one took %v", took)
				}
				p.CloseNow()
			})
		})
	}
}

// CloseNow ends everything that a Close could not wait for: a leaked lease, a
// waiting read, a connection that is being closed, an idle one, and a dial.
func TestCloseNow(t *testing.T) {
	for _, before := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			peer, over := deafPeer(t)
			defer over()
			peer.cfg.MaxSize = 5
			var dials atomic.Int32
			peer.cfg.Prepare = func(ctx context.Context, _ *wspool.Handshake) error {
				if dials.Add(1) == 5 {
					<-ctx.Done()
				}
				return nil
			}
			p := pool(t, peer.cfg)
			warm(t, p, 4)
			leaked, reading, discarded := acquire(t, p), acquire(t, p), acquire(t, p)
			write(t, reading, "question")
			failed := make(chan error, 1)
			go func() {
				_, _, err := reading.ReadMessage(context.Background())
				failed <- err
			}()
			warming := make(chan error, 1)
			go func() { warming <- p.Warm(context.Background(), 5) }()
			synctest.Wait()
			discarded.Discard(nil)
			if before {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Close: %v", err)
				}
				cancel()
			}
			began := time.Now()
			p.CloseNow()
			if err := p.Close(context.Background()); err != nil {
				t.Errorf("Close: %v", err)
			}
			at(t, "Close returned", time.Since(began), 0)
			if err := <-failed; !errors.Is(err, wspool.ErrReleased) {
				t.Errorf("ReadMessage: %v", err)
			}
			if err := <-warming; err == nil {
				t.Error("Warm has succeeded")
			}
			if err := leaked.WriteMessage(t.Context(), websocket.TextMessage, nil); !errors.Is(err, wspool.ErrReleased) {
				t.Errorf("WriteMessage: %v", err)
			}
			leaked.Release() // does nothing
			p.CloseNow()
			if _, err := p.Acquire(t.Context()); !errors.Is(err, resource.ErrClosed) {
				t.Errorf("Acquire: %v", err)
			}
		})
	}
}

// A manager's are those of all its pools.
func TestManager_Now(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer, over := deafPeer(t)
		defer over()
		m, err := wspool.NewManager(wspool.ManagerConfig[int]{
			Config:   func(int) (wspool.Config, error) { return peer.cfg, nil },
			MaxTotal: 8,
		})
		if err != nil {
			t.Fatal(err)
		}
		for key := range 2 {
			if err := m.Warm(t.Context(), key, 4); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		m.ResetNow(nil)
		var conns []*wspool.Conn
		for key := range 2 {
			c, err := m.Acquire(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		m.CloseNow()
		if err := m.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
		at(t, "Close returned", time.Since(began), 0)
		for _, c := range conns {
			if _, _, err := c.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrReleased) {
				t.Errorf("ReadMessage: %v", err)
			}
		}
	})
}

// ResetNow, as Reset, has later dials resume no TLS session.
func TestResetNow_TLS(t *testing.T) {
	var resumed atomic.Int64
	peer := listen(t, true, echo)
	peer.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.TLS.DidResume {
			resumed.Add(1)
		}
		return false
	}
	peer.cfg.MaxSize = 1
	p := pool(t, peer.cfg)
	for range 3 {
		use(t, p)
		p.ResetNow(nil)
	}
	if n := resumed.Load(); n != 0 {
		t.Errorf("%d sessions were resumed", n)
	}
}

// A connection in quarantine when the pool is reset does not keep its slot.
func TestQuiet_ResetNow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.Quiet, w.cfg.MaxSize = time.Minute, 1
		p := pool(t, w.cfg)
		use(t, p)
		time.Sleep(time.Second)
		w.send(0, []byte{0x81, 5, 'h'}) // the peer dies in the midst of a frame
		w.vanish(0)
		began := time.Now()
		p.ResetNow(nil)
		c := acquire(t, p)
		if took := time.Since(began); took > 100*ms {
			t.Errorf("the next lease began after %v", took)
		}
		ask(t, c, "y")
		c.Release()
	})
}
