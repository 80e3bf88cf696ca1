package wspool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// The messages behind a lease are dropped before the next lease, on one
// connection, and Release does not wait for that.
func TestQuiet(t *testing.T) {
	for name, ex := range map[string]wspool.Exchange{"last": wspool.ReplyLast, "each": wspool.ReplyEach, "none": wspool.Unpaired} {
		for kind, set := range map[string]func(*wspool.Config){"plain": func(*wspool.Config) {}, "opaque": opaque} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					peer := listenMem(t, 4096, trailer)
					set(&peer.cfg)
					peer.cfg.Exchange, peer.cfg.Quiet, peer.cfg.MaxSize = ex, 60*ms, 1
					p := pool(t, peer.cfg)
					released := time.Time{}
					for i := range 40 {
						c := acquire(t, p)
						if want := 60*ms + time.Duration((i+1)%2)*30*ms; i > 0 && time.Since(released) != want {
							t.Errorf("lent after %v, want %v", time.Since(released), want)
						}
						ask(t, c, fmt.Sprint(i))
						released = time.Now()
						c.Release()
						if time.Since(released) != 0 {
							t.Errorf("Release took %v", time.Since(released))
						}
						synctest.Wait()
						if s := p.Stats(); s.Quarantined != 1 || s.Unwatched != 0 {
							t.Errorf("%v", s)
						}
						if _, ok := p.TryAcquire(); ok {
							t.Error("lent in quarantine")
						}
					}
					time.Sleep(time.Second)
					if s := p.Stats(); s.Made != 1 || s.Late != 20 || s.Tainted != 0 || s.Unsolicited != 0 || s.Quarantined != 0 {
						t.Errorf("%v", s)
					}
				})
			})
		}
	}
}

// streamer sends chunks of an answer until it reads "cancel", or the answer is
// over; some chunks are under way by then.
func streamer(every time.Duration) func(*websocket.Conn) {
	return func(ws *websocket.Conn) {
		var mu sync.Mutex
		var stop chan struct{}
		var all sync.WaitGroup
		defer all.Wait()
		for {
			_, p, err := ws.ReadMessage()
			if stop != nil {
				close(stop)
				stop = nil
			}
			if err != nil {
				return
			}
			if string(p) == "cancel" {
				continue
			}
			over := make(chan struct{})
			stop = over
			all.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-over:
						mu.Lock() // what was produced before the cancel was read
						for range 2 {
							ws.WriteMessage(websocket.TextMessage, append([]byte("late chunk of "), p...))
						}
						mu.Unlock()
						return
					case <-time.After(every):
					}
					mu.Lock()
					ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "chunk %d of %s", i, p))
					mu.Unlock()
				}
			})
		}
	}
}

// In-band cancel: no chunk of an answer that was cancelled reaches the next lease,
// with Quiet or with Drain. Without, they do: no pool can know them.
func TestCancelledAnswer(t *testing.T) {
	for _, how := range []string{"quiet", "drain", "neither"} {
		for kind, set := range map[string]func(*wspool.Config){"plain": func(*wspool.Config) {}, "opaque": opaque} {
			t.Run(how+"/"+kind, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					peer := listenMem(t, 4096, streamer(ms))
					set(&peer.cfg)
					peer.cfg.Exchange, peer.cfg.MaxSize, peer.cfg.Redial = wspool.Unpaired, 1, atOnce
					if how == "quiet" {
						peer.cfg.Quiet = 100 * ms
					}
					p := pool(t, peer.cfg)
					foreign := 0
					for i := range 10 {
						c := acquire(t, p)
						mine := fmt.Sprintf(" of %d.", i)
						write(t, c, strings.TrimPrefix(mine, " of "))
						for n := 0; n < 3; {
							_, m, err := c.ReadMessage(t.Context())
							if err != nil {
								t.Fatal(err)
							}
							if strings.HasSuffix(string(m), mine) {
								n++
							} else {
								foreign++
							}
						}
						write(t, c, "cancel")
						if how == "drain" {
							if err := c.Drain(t.Context(), 100*ms, nil); err != nil {
								t.Fatal(err)
							}
						}
						c.Release()
					}
					acquire(t, p).Release() // after the last quarantine
					s := p.Stats()
					if how != "neither" && (foreign != 0 || s.Made != 1 || s.Late < 20) {
						t.Errorf("%d foreign messages, %v", foreign, s)
					}
					if how == "neither" && foreign == 0 && s.Made == 1 {
						t.Errorf("no fault to be mended: %v", s)
					}
				})
			})
		}
	}
}

// A lease that exchanged nothing has no quarantine after it, and one that has not
// kept to Exchange is not saved by one.
func TestQuietFor(t *testing.T) {
	for _, tc := range []struct {
		script string // w: write, r: read what the peer sends then, s: the peer sends a message
		ex     wspool.Exchange
		idle   int // afterwards
		held   bool
	}{
		{"", wspool.ReplyLast, 1, false},
		{"wr", wspool.ReplyLast, 1, true},
		{"wrs", wspool.ReplyLast, 1, true},
		{"wrs", wspool.ReplyEach, 1, true},
		{"w", wspool.ReplyLast, 0, false},
		{"ws", wspool.ReplyLast, 0, false},
		{"w", wspool.Unpaired, 1, true},
		{"ws", wspool.Unpaired, 1, true},
		{"r", wspool.Unpaired, 1, true},
	} {
		t.Run(fmt.Sprint(tc.script, tc.ex), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.mute = true
				w.cfg.Quiet, w.cfg.Exchange, w.cfg.MaxSize = time.Second, tc.ex, 1
				p := pool(t, w.cfg)
				c := acquire(t, p)
				for _, b := range tc.script {
					switch b {
					case 'w':
						write(t, c, "x")
					case 'r':
						w.send(0, frame(websocket.TextMessage, "y"))
						read(t, c, "y")
					case 's':
						w.send(0, frame(websocket.TextMessage, "z"))
						synctest.Wait()
					}
				}
				c.Release()
				synctest.Wait()
				s := p.Stats()
				if s.Idle != tc.idle || (s.Quarantined == 1) != tc.held {
					t.Errorf("%v", s)
				}
				if tc.idle == 0 {
					return
				}
				if c, ok := p.TryAcquire(); ok == tc.held {
					t.Errorf("lent: %v", ok)
				} else if ok {
					c.Release()
				}
				time.Sleep(time.Second + ms)
				if s := p.Stats(); s.Idle != tc.idle || s.Quarantined != 0 || s.Late != int64(strings.Count(tc.script, "s")) {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// In the quarantine an application's ping is answered, what OnUnsolicited does not
// know is dropped, and neither counts as unsolicited.
func TestQuietAnswersPings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.Quiet = time.Second
		w.cfg.OnUnsolicited = pingOnly
		p := pool(t, w.cfg)
		c := acquire(t, p)
		ask(t, c, "x")
		w.mute = true
		c.Release()
		for _, s := range []string{"rest of the answer", "2", "more"} {
			time.Sleep(900 * ms)
			w.send(0, frame(websocket.TextMessage, s))
		}
		synctest.Wait()
		if s := p.Stats(); s.Late != 3 || s.Unsolicited != 0 || s.Quarantined != 1 || len(w.saw("message 3")) != 1 {
			t.Errorf("%v, answers at %v", s, w.saw("message 3"))
		}
		time.Sleep(time.Second + ms)
		w.send(0, frame(websocket.TextMessage, "2"))
		synctest.Wait()
		if s := p.Stats(); s.Late != 3 || s.Unsolicited != 1 || s.Quarantined != 0 || s.Idle != 1 {
			t.Errorf("%v", s)
		}
	})
}

// pingOnly is an OnUnsolicited that knows engine.io's ping and nothing else.
func pingOnly(_ context.Context, m wspool.Message) (*wspool.Message, error) {
	if string(m.Data) != "2" {
		return nil, errors.New("another message")
	}
	return &wspool.Message{Type: m.Type, Data: []byte("3")}, nil
}

// A connection that does not become quiet is destroyed; one that ends is destroyed
// at once; and Close does not wait.
func TestQuietEnds(t *testing.T) {
	for _, how := range []string{"noise", "half a message", "end", "close", "reset"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.cfg.Quiet = time.Second
				gone := w.ends()
				p := pool(t, w.cfg)
				use(t, p)
				released := w.now()
				var want time.Duration
				is := func(err error) bool { return errors.Is(err, wspool.ErrUnread) }
				switch how {
				case "noise":
					for range 30 {
						time.Sleep(400 * ms)
						w.conn(0).NetConn().Write(frame(websocket.TextMessage, "noise"))
					}
					want = time.Second + wspool.QuietPatience
				case "half a message":
					w.send(0, frame(websocket.TextMessage, "noise")[:3])
					want = time.Second + wspool.QuietPatience
				case "end":
					time.Sleep(500 * ms)
					w.conn(0).NetConn().Close()
					want = 500 * ms
					is = func(err error) bool { return errors.As(err, new(*wspool.CloseError)) }
				case "close":
					time.Sleep(500 * ms)
					if err := p.Close(t.Context()); err != nil {
						t.Error(err)
					}
					want = 500 * ms
					is = func(err error) bool { return errors.Is(err, resource.ErrClosed) }
				case "reset":
					time.Sleep(500 * ms)
					p.Reset(nil)
					want = 500 * ms
					is = func(err error) bool { return errors.Is(err, resource.ErrReset) }
				}
				e := next(t, "end", gone)
				if took := e.at - released; took < want || took > want+500*ms || !is(e.cause) {
					t.Errorf("ended after %v with %v, want %v", took, e.cause, want)
				}
			})
		})
	}
}

// A caller that waits gets another connection where there is room and the
// quarantine takes long.
func TestQuietWithRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.Quiet = time.Minute
		p := pool(t, w.cfg)
		use(t, p)
		began := time.Now()
		c := acquire(t, p)
		if took := time.Since(began); took > 2*time.Second || c.Reused() {
			t.Errorf("lent after %v, reused %v", took, c.Reused())
		}
		ask(t, c, "y")
		c.Release()
	})
}

// Bad settings are named.
func TestQuietConfig(t *testing.T) {
	if _, err := wspool.New(wspool.Config{URL: "ws://host", MaxSize: 1, Quiet: -1}); err == nil || !strings.Contains(err.Error(), "Quiet must be at least 0, got -1ns") {
		t.Error(err)
	}
}

// Many leases that end in the middle of what the peer sends, on real sockets: no
// message reaches another lease.
func TestQuietStress(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint(secure), func(t *testing.T) {
			peer := listen(t, secure, onEach(func(ws *websocket.Conn, kind int, p []byte) {
				ws.NetConn().Write(bytes.Repeat(frame(byte(kind), string(p)), 1+len(p)%5))
			}))
			peer.cfg.Quiet, peer.cfg.MaxSize, peer.cfg.Redial = 20*ms, 8, atOnce
			p := pool(t, peer.cfg)
			var all sync.WaitGroup
			for g := range 8 {
				all.Go(func() {
					for i := range 20 {
						c := acquire(t, p)
						ask(t, c, fmt.Sprintf("%d of %d%s", i, g, strings.Repeat(".", i)))
						c.Release()
					}
				})
			}
			all.Wait()
			if s := p.Stats(); s.Tainted != 0 || s.Unsolicited != 0 {
				t.Errorf("%v", s)
			}
		})
	}
}
