package wspool_test

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// greets is a peer that greets after a while, and then sends everything back.
func greets(after time.Duration) func(*websocket.Conn) {
	return func(ws *websocket.Conn) {
		time.Sleep(after) // how late the server greets
		if ws.WriteMessage(websocket.TextMessage, []byte("welcome")) == nil {
			echo(ws)
		}
	}
}

// A server that speaks first, whenever it does: its greeting is OnConnect's, or
// dropped, and no lease takes it for an answer.
func TestGreeting(t *testing.T) {
	for _, after := range []time.Duration{0, 5 * ms, 60 * ms, 3 * time.Second} {
		for kind, set := range map[string]func(*wspool.Config){"plain": func(*wspool.Config) {}, "opaque": opaque} {
			for _, hook := range []bool{false, true} {
				t.Run(fmt.Sprint(after, kind, hook), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						peer := listenMem(t, 4096, greets(after))
						set(&peer.cfg)
						peer.cfg.Greeting = true
						seen := make(chan string, 10)
						if hook {
							peer.cfg.OnConnect = func(_ context.Context, c *wspool.Conn) error {
								m, ok := c.Greeting()
								if !ok || m.Type != websocket.TextMessage {
									t.Errorf("%v, %v", m, ok)
								}
								seen <- string(m.Data)
								return nil
							}
						}
						p := pool(t, peer.cfg)
						for range 3 {
							c := acquire(t, p)
							if _, ok := c.Greeting(); ok {
								t.Error("a lease has a greeting")
							}
							ask(t, c, "x")
							c.Release()
						}
						if hook && next(t, "greeting", seen) != "welcome" {
							t.Error("another greeting")
						}
						if s := p.Stats(); s.Made != 1 || s.Unsolicited != 0 {
							t.Errorf("%v", s)
						}
					})
				})
			}
		}
	}
}

// A greeting that does not come within DialTimeout fails the dial, and so does
// what comes instead.
func TestGreetingMissing(t *testing.T) {
	for name, tc := range map[string]struct {
		serve func(*websocket.Conn)
		is    func(error) bool
	}{
		"silence": {echo, func(err error) bool { return errors.Is(err, resource.ErrMakeTimeout) }},
		"close":   {func(*websocket.Conn) {}, func(err error) bool { return errors.As(err, new(*wspool.CloseError)) }},
		"two": {func(ws *websocket.Conn) {
			ws.NetConn().Write(append(frame(websocket.TextMessage, "one"), frame(websocket.TextMessage, "two")...))
			drain(ws)
		}, func(err error) bool {
			return errors.Is(err, wspool.ErrUnread) && strings.Contains(err.Error(), "after the greeting")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				peer := listenMem(t, 4096, tc.serve)
				peer.cfg.Greeting, peer.cfg.DialTimeout = true, 2*time.Second
				p := pool(t, peer.cfg)
				began := time.Now()
				_, err := p.Acquire(t.Context())
				var de *wspool.DialError
				if !errors.As(err, &de) || de.Phase != "greeting" || !tc.is(err) || time.Since(began) > 10*time.Second {
					t.Errorf("%v after %v", err, time.Since(began))
				}
			})
		})
	}
}

// greetAtOnce answers the handshake and greets, in one piece.
func greetAtOnce(w http.ResponseWriter, r *http.Request) bool {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return true
	}
	defer c.Close()
	sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
	c.Write(append([]byte(head), frame(websocket.TextMessage, "welcome")...))
	c.Read(make([]byte, 100)) // it has had enough
	return true
}

// Where a server greets and nobody has said so, the error says what to set.
func TestGreetingHint(t *testing.T) {
	hints := func(t *testing.T, err error) {
		t.Helper()
		if !errors.Is(err, wspool.ErrUnsolicited) || !strings.Contains(err.Error(), "Config.Greeting") || !strings.Contains(err.Error(), "OnConnect") {
			t.Errorf("%v", err)
		}
	}
	for _, secure := range []bool{false, true} {
		peer := listen(t, secure, nil)
		peer.refuse = greetAtOnce
		_, err := pool(t, peer.cfg).Acquire(t.Context())
		var de *wspool.DialError
		if !errors.As(err, &de) || de.Phase != "handshake" {
			t.Errorf("%v", err)
		}
		hints(t, err)
		peer.cfg.Greeting = true
		c := acquire(t, pool(t, peer.cfg))
		c.Release()
	}
	bubble(t, func(t *testing.T) { // it comes when the dial is over
		peer := listenMem(t, 4096, greets(50*ms))
		gone := ends(&peer.cfg)
		warm(t, pool(t, peer.cfg), 1)
		hints(t, next(t, "end", gone).Cause)
	})
	bubble(t, func(t *testing.T) { // a connection that has served is another matter
		w := witnesses(t)
		gone := w.ends()
		p := pool(t, w.cfg)
		c := acquire(t, p)
		ask(t, c, "x")
		c.Release()
		time.Sleep(time.Second)
		w.send(0, frame(websocket.TextMessage, "late"))
		synctest.Wait()
		if e := next(t, "end", gone); !errors.Is(e.cause, wspool.ErrUnsolicited) || strings.Contains(e.cause.Error(), "Greeting") {
			t.Errorf("%v", e.cause)
		}
	})
}
