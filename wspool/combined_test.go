package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// Settings that are right alone, together.

// A reply in parts, of which the lease reads the first and leaves the second in the
// socket: though OnUnsolicited drops messages, the third does not pass for the
// answer to the next lease.
func TestTrailing_PartOfAReply(t *testing.T) {
	for name, exchange := range map[string]wspool.Exchange{"last": wspool.ReplyLast, "each": wspool.ReplyEach} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := listenMem(t, 4096, func(ws *websocket.Conn) {
					for {
						_, b, err := ws.ReadMessage()
						if err != nil {
							return
						}
						for part, pause := range []time.Duration{0, ms, 10 * ms} {
							time.Sleep(pause)
							ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "%s part %d", b, part))
						}
					}
				})
				p.cfg.MaxSize, p.cfg.Redial, p.cfg.Exchange, p.cfg.OnUnsolicited = 1, atOnce, exchange, wspool.DropUnsolicited
				pool := pool(t, p.cfg)
				for i := range 20 {
					c := acquire(t, pool)
					write(t, c, fmt.Sprint("question ", i))
					_, got, err := c.ReadMessage(t.Context())
					if want := fmt.Sprintf("question %d part 0", i); err != nil || string(got) != want {
						t.Fatalf("got %q, %v, want %q", got, err, want)
					}
					time.Sleep(3 * ms) // the second part is there, unread
					c.Release()
					time.Sleep(ms)
				}
			})
		})
	}
}

// What is in quarantine when the pool is reset does not keep its place.
func TestQuiet_ResetNow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.Quiet, w.cfg.MaxSize = time.Minute, 1
		p := pool(t, w.cfg)
		c := acquire(t, p)
		ask(t, c, "x")
		c.Release()
		time.Sleep(time.Second)
		w.send(0, []byte{0x81, 5, 'h'}) // the peer dies in the midst of a frame
		w.vanish(0)
		began := time.Now()
		p.ResetNow(nil)
		c = acquire(t, p)
		if took := time.Since(began); took > 100*ms {
			t.Errorf("the next lease began after %v", took)
		}
		ask(t, c, "y")
		c.Release()
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
		c := acquire(t, p)
		ask(t, c, "x")
		c.Release()
		p.ResetNow(nil)
	}
	if n := resumed.Load(); n != 0 {
		t.Errorf("%d sessions were resumed", n)
	}
}

// Where a redirect leads, Lookup is asked too.
func TestRedirect_Lookup(t *testing.T) {
	peer := listen(t, false, echo)
	peer.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/next" {
			return false
		}
		http.Redirect(w, r, "/next", http.StatusTemporaryRedirect)
		return true
	}
	u, err := url.Parse(peer.cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	peer.cfg.URL, peer.cfg.Redirects, peer.cfg.MaxSize = "ws://service.invalid:"+u.Port()+"/", 2, 1
	peer.cfg.Lookup = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	peer.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if _, err := netip.ParseAddrPort(addr); err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	c := acquire(t, pool(t, peer.cfg))
	ask(t, c, "x")
	c.Release()
}

// A connection whose heartbeat was not answered yet is not hijacked: the answer
// would be read as another message.
func TestHijack_HeartbeatUnanswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer := listenMem(t, 4096, func(ws *websocket.Conn) {
			for {
				kind, b, err := ws.ReadMessage()
				if err != nil {
					return
				}
				time.Sleep(50 * ms)
				ws.WriteMessage(kind, b)
			}
		})
		peer.cfg.Heartbeat = wspool.Heartbeat{
			Every: time.Second, Message: wspool.Message{Type: websocket.TextMessage, Data: []byte("beat")},
			Expect: func(m wspool.Message) bool { return string(m.Data) == "beat" },
		}
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		for p.Stats().Heartbeats == 0 {
			time.Sleep(ms)
		}
		if _, ok := c.Hijack(); ok {
			t.Fatal("hijacked before the answer")
		}
		time.Sleep(100 * ms)
		ws, ok := c.Hijack()
		if !ok {
			t.Fatal("not hijacked after the answer")
		}
		defer ws.Close()
		ws.WriteMessage(websocket.TextMessage, []byte("mine"))
		if _, b, err := ws.ReadMessage(); string(b) != "mine" {
			t.Errorf("read %q, %v", b, err)
		}
	})
}

// The answer to a heartbeat is held to CheckUTF8 as every text of the peer's.
func TestHeartbeat_NotUTF8(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer := listenMem(t, 4096, func(ws *websocket.Conn) {
			for {
				if _, _, err := ws.ReadMessage(); err != nil {
					return
				}
				ws.WriteMessage(websocket.TextMessage, []byte{0xe4, 0xb8})
			}
		})
		ended := make(chan error, 1)
		peer.cfg.MaxSize, peer.cfg.Redial, peer.cfg.CheckUTF8 = 1, atOnce, true
		peer.cfg.Trace = &resource.Trace{Destroyed: func(e resource.DestroyEvent) { ended <- e.Cause }}
		peer.cfg.Heartbeat = wspool.Heartbeat{
			Every: time.Second, Message: wspool.Message{Type: websocket.BinaryMessage, Data: []byte("beat")},
			Expect: func(wspool.Message) bool { t.Error("Expect was given it"); return true },
		}
		c := acquire(t, pool(t, peer.cfg))
		time.Sleep(2 * time.Second)
		c.Release()
		if cause := next(t, "end", ended); !errors.Is(cause, wspool.ErrNotUTF8) {
			t.Errorf("ended with %v", cause)
		}
	})
}

// A subscription that the end of the pool ends says what went wrong before.
func TestSubscribe_ClosedAfterFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.MaxSize, w.cfg.Exchange = 1, wspool.Unpaired
		p := pool(t, w.cfg)
		failed := errors.New("subscription failed")
		ended := make(chan error, 1)
		go func() {
			ended <- p.Subscribe(t.Context(), func(context.Context, *wspool.Conn, wspool.Gap) error { return failed })
		}()
		time.Sleep(time.Second)
		p.CloseNow()
		if err := next(t, "end", ended); !errors.Is(err, resource.ErrClosed) || !errors.Is(err, failed) {
			t.Errorf("ended with %v", err)
		}
	})
}
