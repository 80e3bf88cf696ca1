package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// A connection is stale if it had been used before and died before any byte of an
// answer arrived; nothing else is.
func TestStale(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before int // leases
		serve  func(ws *websocket.Conn, n int)
		stale  bool
	}{
		{"dies at the question", 1, func(ws *websocket.Conn, n int) { ws.Close() }, true},
		{"closes at the question", 1, func(ws *websocket.Conn, n int) {
			ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, ""), deadline())
		}, true},
		{"never used before", 0, func(ws *websocket.Conn, n int) { ws.Close() }, false},
		{"dies in the midst of the answer", 1, func(ws *websocket.Conn, n int) {
			ws.NetConn().Write(frame(websocket.TextMessage, "answer")[:4])
			ws.Close()
		}, false},
		{"dies in the first byte of the answer", 1, func(ws *websocket.Conn, n int) {
			ws.NetConn().Write(frame(websocket.TextMessage, "answer")[:1])
			ws.Close()
		}, false},
		{"answers too much", 1, func(ws *websocket.Conn, n int) {
			ws.WriteMessage(websocket.TextMessage, make([]byte, 200))
		}, false},
		{"answers what is no frame", 1, func(ws *websocket.Conn, n int) { ws.NetConn().Write([]byte{0x83, 0}) }, false},
		{"only pings first", 1, func(ws *websocket.Conn, n int) {
			ws.WriteControl(websocket.PingMessage, nil, deadline())
			ws.Close()
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var calls int
				peer := listenMem(t, 4096, func(ws *websocket.Conn) {
					for n := 0; ; n++ {
						kind, p, err := ws.ReadMessage()
						if err != nil {
							return
						}
						if n < tc.before || calls > 1 {
							ws.WriteMessage(kind, p)
							continue
						}
						tc.serve(ws, n)
					}
				})
				peer.cfg.ReadLimit = 100
				peer.cfg.Redial = atOnce
				p := pool(t, peer.cfg)
				for range tc.before {
					if err := p.Do(t.Context(), question); err != nil {
						t.Fatal(err)
					}
				}
				calls = 1
				if err := p.Do(t.Context(), question); err == nil || errors.Is(err, wspool.ErrStale) != tc.stale {
					t.Errorf("Do: %v", err)
				}
				want := int64(0)
				if tc.stale {
					want = 1
				}
				if s := p.Stats(); s.Stale != want {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// DoIdempotent tries once more, with an unused connection, though others are idle;
// and not a third time.
func TestDoIdempotent(t *testing.T) {
	for _, cured := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			w := witnesses(t)
			w.cfg.Redial = atOnce
			p := pool(t, w.cfg)
			conns := []*wspool.Conn{acquire(t, p), acquire(t, p), acquire(t, p)}
			for _, c := range conns {
				ask(t, c, "x")
				c.Release()
			}
			time.Sleep(time.Second)
			calls := 0
			err := p.DoIdempotent(t.Context(), func(ctx context.Context, c *wspool.Conn) error {
				calls++
				if reused := c.Reused(); reused != (calls == 1) {
					t.Errorf("call %d, reused: %v", calls, reused)
				}
				if calls == 1 || !cured {
					w.mu.Lock()
					for _, ws := range w.conns {
						ws.NetConn().Close()
					}
					w.mu.Unlock()
				}
				return question(ctx, c)
			})
			if calls != 2 || (err == nil) != cured || errors.Is(err, wspool.ErrStale) {
				t.Errorf("%d calls, %v", calls, err)
			}
		})
	}
}

// Work that has written nothing when its connection ends has not been done: it is
// done once more, whatever ended the connection, and not where f failed for a
// reason of its own or has written.
func TestDoIdempotentUnsent(t *testing.T) {
	own := errors.New("own")
	for name, tc := range map[string]struct {
		f     func(ctx context.Context, c *wspool.Conn) error // what the first call does
		calls int
		is    func(error) bool
	}{
		"unsolicited": {func(ctx context.Context, c *wspool.Conn) error {
			time.Sleep(50 * ms)
			return question(ctx, c)
		}, 2, func(err error) bool { return err == nil }},
		"wrapped": {func(ctx context.Context, c *wspool.Conn) error {
			time.Sleep(50 * ms)
			return fmt.Errorf("asking: %w", question(ctx, c))
		}, 2, func(err error) bool { return err == nil }},
		"own error": {func(ctx context.Context, c *wspool.Conn) error {
			time.Sleep(50 * ms)
			return own
		}, 1, func(err error) bool { return errors.Is(err, own) }},
		"written": {func(ctx context.Context, c *wspool.Conn) error {
			if err := question(ctx, c); err != nil {
				return err
			}
			time.Sleep(50 * ms)
			return wspool.ErrUnsolicited
		}, 1, func(err error) bool { return errors.Is(err, wspool.ErrUnsolicited) }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				// A message 30 ms behind each answer.
				peer := listenMem(t, 4096, onEach(func(ws *websocket.Conn, kind int, p []byte) {
					ws.WriteMessage(kind, p)
					time.Sleep(30 * ms)
					ws.WriteMessage(kind, []byte("more"))
				}))
				peer.cfg.MaxSize = 1
				peer.cfg.Redial = atOnce
				p := pool(t, peer.cfg)
				for range 10 {
					if err := p.Do(t.Context(), question); err != nil {
						t.Fatal(err)
					}
					calls := 0
					err := p.DoIdempotent(t.Context(), func(ctx context.Context, c *wspool.Conn) error {
						if calls++; calls > 1 {
							return question(ctx, c)
						}
						return tc.f(ctx, c)
					})
					if calls != tc.calls || !tc.is(err) {
						t.Fatalf("%d calls, %v", calls, err)
					}
					time.Sleep(time.Second)
				}
			})
		})
	}
}

// One stale connection makes those suspect that have been silent as long: each must
// answer before it is lent, which takes one round trip, and one that does not is
// not lent.
func TestSuspects(t *testing.T) {
	for _, live := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			w := witnesses(t)
			w.delay = 20 * ms
			w.cfg.Redial = atOnce
			w.cfg.PongWait = 2 * time.Second
			w.cfg.KeepAlive = time.Hour
			gone := w.ends()
			p := pool(t, w.cfg)
			var conns []*wspool.Conn
			for range 4 {
				conns = append(conns, acquire(t, p))
			}
			for _, c := range conns {
				ask(t, c, "x")
				c.Release()
			}
			time.Sleep(time.Minute)
			w.deny.Store(!live)
			err := p.Do(t.Context(), func(ctx context.Context, c *wspool.Conn) error {
				write(t, c, "die")
				_, _, err := c.ReadMessage(ctx)
				return err
			})
			if !errors.Is(err, wspool.ErrStale) {
				t.Fatalf("Do: %v", err)
			}
			next(t, "end", gone)
			if err := p.Resize(3); err != nil { // there is no room for a dial
				t.Fatal(err)
			}
			began := w.now()
			if c, ok := p.TryAcquire(); ok {
				t.Error("a suspect was lent before its answer")
				c.Release()
			}
			at(t, "TryAcquire returned", w.now()-began, 10*ms)
			for i := range conns[1:] {
				conns[i] = acquire(t, p)
				synctest.Wait() // the others' answers come in the same instant
				if conns[i].Reused() != live {
					t.Errorf("lent one that was used before: %v", !live)
				}
				want := w.delay
				if !live {
					want = 2 * time.Second
				}
				at(t, "lent", w.now()-began, want)
				synctest.Wait() // the others' pongs come in the same instant
			}
			w.deny.Store(false)
			for _, c := range conns[:3] {
				ask(t, c, "y")
				c.Release()
			}
			want := int64(0)
			if !live {
				want = 3
			}
			if s := p.Stats(); s.Silent != want || s.Idle != 3 || s.Stale != 1 {
				t.Errorf("%v", s)
			}
		})
	}
}

// A lease that continues to use a dead connection has found one stale, not many.
func TestStaleOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		p := pool(t, w.cfg)
		use(t, p)
		c := acquire(t, p)
		write(t, c, "die")
		for range 10 {
			if _, _, err := c.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrStale) {
				t.Errorf("ReadMessage: %v", err)
			}
			if err := c.WriteMessage(t.Context(), websocket.TextMessage, nil); !errors.Is(err, wspool.ErrStale) {
				t.Errorf("WriteMessage: %v", err)
			}
		}
		c.Release()
		if s := p.Stats(); s.Stale != 1 {
			t.Errorf("%v", s)
		}
	})
}

// Where no pings are to be sent no connection is suspected: the server may not
// answer any.
func TestNoSuspects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.deny.Store(true)
		w.cfg.KeepAlive = -1
		w.cfg.Redial = atOnce
		p := pool(t, w.cfg)
		conns := []*wspool.Conn{acquire(t, p), acquire(t, p)}
		for _, c := range conns {
			ask(t, c, "x")
			c.Release()
		}
		time.Sleep(time.Minute)
		c := acquire(t, p)
		write(t, c, "die")
		if _, _, err := c.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrStale) {
			t.Errorf("ReadMessage: %v", err)
		}
		c.Release()
		began := w.now()
		other := acquire(t, p)
		if !other.Reused() {
			t.Error("the other was not kept")
		}
		at(t, "lent", w.now()-began, 0)
		ask(t, other, "y")
		other.Release()
		if s := p.Stats(); s.Silent != 0 || s.Made != 2 {
			t.Errorf("%v", s)
		}
	})
}
