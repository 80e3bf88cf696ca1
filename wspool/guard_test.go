package wspool_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// panicsOf makes cfg report panics.
func panicsOf(cfg *wspool.Config) <-chan error {
	ch := make(chan error, 100)
	cfg.Trace = &resource.Trace{Panicked: func(err error) { ch <- err }}
	return ch
}

// A panic or Goexit in Redial is counted and reported, and DefaultRedial decides.
func TestRedialPanics(t *testing.T) {
	for name, breaks := range map[string]func(){"panic": func() { panic("on purpose") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer := listenMem(t, 4096, drainAll)
				peer.refuse = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusUnauthorized); return true }
				peer.cfg.Redial = func(error, int) time.Duration { breaks(); return 0 }
				panics := panicsOf(&peer.cfg)
				p := pool(t, peer.cfg)
				if _, err := p.Acquire(t.Context()); err == nil {
					t.Error("it is not refused")
				}
				brokeIn(t, name, "Redial", next(t, "panic", panics))
				synctest.Wait()
				if s, in := p.Stats(), p.Inspect(0); s.Panics != int64(1+len(panics)) || in.Panics != s.Panics {
					t.Errorf("%d panics are counted, %d inspected, %d reported", s.Panics, in.Panics, 1+len(panics))
				}
			})
		})
	}
}

// brokeIn checks that err says that a function did not return.
func brokeIn(t *testing.T, how, where string, err error) {
	t.Helper()
	var pe *resource.PanicError
	if how == "goexit" && errors.Is(err, resource.ErrGoexit) && strings.Contains(err.Error(), where) {
		return
	}
	if how != "panic" || !errors.As(err, &pe) || pe.Where != where || pe.Value != "on purpose" || len(pe.Stack) == 0 {
		t.Errorf("%s in %s is reported as %#v", how, where, err)
	}
}

// So is a panic in OnUnsolicited, which costs the connection.
func TestOnUnsolicitedPanics(t *testing.T) {
	for name, breaks := range map[string]func(){"panic": func() { panic("on purpose") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				speak := make(chan struct{})
				peer := listenMem(t, 4096, func(ws *websocket.Conn) {
					<-speak
					ws.WriteMessage(websocket.TextMessage, []byte("x"))
					drain(ws)
				})
				peer.cfg.MaxSize = 1
				peer.cfg.OnUnsolicited = func(context.Context, wspool.Message) (*wspool.Message, error) { breaks(); return nil, nil }
				panics := panicsOf(&peer.cfg)
				p := pool(t, peer.cfg)
				acquire(t, p).Release()
				close(speak)
				brokeIn(t, name, "OnUnsolicited", next(t, "panic", panics))
				synctest.Wait()
				if s := p.Stats(); s.Panics != 1 || s.Idle != 0 {
					t.Errorf("%d panics, %d idle", s.Panics, s.Idle)
				}
			})
		})
	}
}

// mine is a connection whose method of a name panics once armed.
type mine struct {
	net.Conn
	method string
	armed  chan struct{}
}

func (m *mine) step(method string) {
	if m.method != method {
		return
	}
	select {
	case <-m.armed:
		panic("on purpose")
	default:
	}
}

func (m *mine) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.step("Read")
	return n, err
}
func (m *mine) Write(p []byte) (int, error) { m.step("Write"); return m.Conn.Write(p) }
func (m *mine) Close() error                { m.Conn.Close(); m.step("Close"); return nil }
func (m *mine) SetReadDeadline(t time.Time) error {
	m.step("SetReadDeadline")
	return m.Conn.SetReadDeadline(t)
}

// tryMine can also be read without waiting.
type tryMine struct{ *mine }

func (m tryMine) TryRead(p []byte) (int, error) {
	m.step("TryRead")
	return m.Conn.(interface{ TryRead([]byte) (int, error) }).TryRead(p)
}

// A panic in a method of NetDial's connection ends that connection, whichever
// caller it was: the watcher, a lease, or a close. The next connection works.
// Trace.Panicked may call methods of the pool.
func TestNetConnPanics(t *testing.T) {
	for _, method := range []string{"Read", "TryRead", "Write", "Close", "SetReadDeadline"} {
		for _, leased := range []bool{false, true} {
			if leased && method == "TryRead" { // a lease that reads waits
				continue
			}
			t.Run(method+map[bool]string{true: "/leased", false: "/idle"}[leased], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					peer := listenMem(t, 4096, echo)
					dial, armed, first := peer.cfg.NetDial, make(chan struct{}), true
					peer.cfg.MaxSize = 1
					peer.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
						c, err := dial(ctx, network, addr)
						if !first || err != nil {
							return c, err
						}
						first = false
						m := &mine{c, method, armed}
						if method == "TryRead" {
							return tryMine{m}, nil
						}
						return m, nil
					}
					panics := panicsOf(&peer.cfg)
					var p *wspool.Pool
					report := peer.cfg.Trace.Panicked
					peer.cfg.Trace.Panicked = func(err error) {
						p.Inspect(1)
						report(err)
					}
					p = pool(t, peer.cfg)
					c := acquire(t, p)
					ask(t, c, "before")
					if leased {
						close(armed)
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						err := c.WriteMessage(ctx, websocket.TextMessage, []byte("x"))
						if err == nil {
							_, _, err = c.ReadMessage(ctx)
						}
						if err == nil { // it ends when the read was cancelled
							_, _, err = c.ReadMessage(ctx)
						}
						cancel()
						var pe *resource.PanicError
						if method != "Close" && method != "SetReadDeadline" && !errors.As(err, &pe) {
							t.Errorf("the lease fails with %v", err)
						}
						c.Discard(nil)
					} else {
						c.Release()
						if method != "TryRead" { // which is called while it is hot
							time.Sleep(time.Second) // until it is watched
						}
						close(armed)
						if method != "TryRead" {
							p.Reset(nil)
						}
					}
					use(t, p)
					synctest.Wait()
					s := p.Stats()
					if s.Panics != int64(len(panics)) {
						t.Errorf("%d panics are counted, %d reported", s.Panics, len(panics))
					}
					if s.Panics == 0 && (leased && method != "SetReadDeadline" || method == "Close" || method == "TryRead") {
						t.Error("no panic is counted")
					}
				})
			})
		}
	}
}
