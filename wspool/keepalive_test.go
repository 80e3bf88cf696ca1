package wspool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// A ping is sent whenever nothing has come in for KeepAlive, less a part of a
// tenth that is the connection's own.
func TestKeepAlive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := alive(t)
		w.delay = 100 * ms
		p := pool(t, w.cfg)
		warm(t, p, 1)
		time.Sleep(time.Minute)
		pings := w.saw("ping")
		if len(pings) < 5 || len(pings) > 6 {
			t.Fatalf("pings at %v", pings)
		}
		if pings[0] <= 9*time.Second || pings[0] > 10*time.Second {
			t.Errorf("the first ping came at %v", pings[0])
		}
		for i, at := range pings[1:] {
			if apart := at - pings[i]; apart != pings[0]+w.delay {
				t.Errorf("pings %v apart, want %v", apart, pings[0]+w.delay)
			}
		}
		if s := p.Stats(); s.Silent != 0 || s.Idle != 1 {
			t.Errorf("%v", s)
		}
	})
}

// Pings come as often as KeepAlive says if PongWait is longer, too, and also if
// they take longer than KeepAlive to be answered.
func TestKeepAliveShort(t *testing.T) {
	for _, delay := range []time.Duration{0, 100 * ms, 3 * time.Second} {
		bubble(t, func(t *testing.T) {
			w := alive(t)
			w.delay = delay
			w.cfg.KeepAlive, w.cfg.PongWait = time.Second, 30*time.Second
			p := pool(t, w.cfg)
			warm(t, p, 1)
			time.Sleep(5 * time.Minute)
			pings := w.saw("ping")
			for i, at := range pings[1:] {
				if apart := at - pings[i]; apart > 2*time.Second+delay {
					t.Fatalf("answered after %v: pings %v apart", delay, apart)
				}
			}
			w.deny.Store(true)
			time.Sleep(35 * time.Second)
			if s := p.Stats(); s.Silent != 1 {
				t.Errorf("answered after %v, then not: %v", delay, s)
			}
		})
	}
}

// A PongWait without end is none that has passed, nor is a KeepAlive.
func TestKeepAliveForever(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := alive(t)
		w.deny.Store(true)
		w.cfg.PongWait = math.MaxInt64
		p := pool(t, w.cfg)
		warm(t, p, 1)
		time.Sleep(time.Hour)
		if s, n := p.Stats(), len(w.saw("ping")); s.Silent != 0 || s.Made != 1 || n != 1 {
			t.Errorf("%d pings; %v", n, s)
		}
	})
	bubble(t, func(t *testing.T) {
		w := alive(t)
		w.cfg.KeepAlive = math.MaxInt64
		p := pool(t, w.cfg)
		warm(t, p, 1)
		time.Sleep(time.Hour)
		if n := len(w.saw("ping")); n != 0 {
			t.Errorf("%d pings", n)
		}
	})
}

// Nothing is sent to a connection from which something comes, be it pings, and
// so while messages are exchanged.
func TestNoKeepAlive(t *testing.T) {
	t.Run("pings", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := alive(t)
			w.deny.Store(true)
			warm(t, pool(t, w.cfg), 1)
			for range 20 {
				time.Sleep(5 * time.Second)
				w.ping(0, "")
			}
			if pings := w.saw("ping"); pings != nil {
				t.Errorf("pings at %v", pings)
			}
		})
	})
	t.Run("messages", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := alive(t)
			w.deny.Store(true)
			p := pool(t, w.cfg)
			for range 20 {
				use(t, p)
				time.Sleep(5 * time.Second)
			}
			if pings := w.saw("ping"); pings != nil {
				t.Errorf("pings at %v", pings)
			}
		})
	})
	t.Run("off", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := alive(t)
			w.cfg.KeepAlive = -1
			warm(t, pool(t, w.cfg), 1)
			time.Sleep(time.Hour)
			if pings := w.saw("ping"); pings != nil {
				t.Errorf("pings at %v", pings)
			}
		})
	})
}

// A peer that does not answer is given up PongWait after the ping, whatever the
// connection does just then.
func TestSilent(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(t *testing.T, p *wspool.Pool) error // returns what a lease failed with; nil: it has not
	}{
		{"idle", func(t *testing.T, p *wspool.Pool) error { warm(t, p, 1); time.Sleep(time.Minute); return nil }},
		{"hot", func(t *testing.T, p *wspool.Pool) error {
			for range 40 { // its leases do nothing
				acquire(t, p).Release()
				time.Sleep(time.Second)
				if p.Stats().Silent > 0 {
					break
				}
			}
			return nil
		}},
		{"reading", func(t *testing.T, p *wspool.Pool) error {
			c := acquire(t, p)
			defer c.Release()
			write(t, c, "question")
			_, _, err := c.ReadMessage(t.Context())
			return err
		}},
		{"reading JSON in several goroutines", func(t *testing.T, p *wspool.Pool) error {
			c := acquire(t, p)
			defer c.Release()
			write(t, c, "question")
			errs := make(chan error)
			for range 3 {
				go func() { errs <- c.ReadJSON(t.Context(), new(int)) }()
			}
			return errors.Join(<-errs, <-errs, <-errs)
		}},
		{"thinking", func(t *testing.T, p *wspool.Pool) error {
			c := acquire(t, p)
			defer c.Release()
			time.Sleep(time.Minute)
			return c.WriteMessage(t.Context(), websocket.TextMessage, nil)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := alive(t)
				w.mute = true
				w.deny.Store(true)
				gone := w.ends()
				p := pool(t, w.cfg)
				err := tc.do(t, p)
				e := next(t, "end", gone)
				pings := w.saw("ping")
				if len(pings) != 1 || !errors.Is(e.cause, wspool.ErrSilent) {
					t.Fatalf("pings at %v, ended with %v", pings, e.cause)
				}
				if err != nil && !errors.Is(err, wspool.ErrSilent) || errors.Is(err, wspool.ErrStale) {
					t.Errorf("the lease failed with %v", err)
				}
				switch tc.name {
				case "thinking": // the lease held it for longer
				default:
					at(t, "its end was seen", e.at, pings[0]+2*time.Second)
				}
				if s := p.Stats(); s.Silent != 1 || s.Destroyed != 1 {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// A peer that does not even take bytes is given up as well, and with it the
// write that waits for it.
func TestSilentWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		until := make(chan struct{})
		defer close(until)
		peer := listenMem(t, 64<<10, deaf(until))
		peer.cfg.KeepAlive, peer.cfg.PongWait = 10*time.Second, 2*time.Second
		peer.cfg.WriteTimeout = time.Hour
		began := time.Now()
		c := acquire(t, pool(t, peer.cfg))
		err := c.WriteMessage(t.Context(), websocket.BinaryMessage, make([]byte, 1<<20))
		if took := time.Since(began); !errors.Is(err, wspool.ErrSilent) || took <= 11*time.Second || took > 12*time.Second {
			t.Errorf("%v at %v, want ErrSilent at 11s to 12s", err, took)
		}
		c.Release()
	})
}

// Many connections do not beat together.
func TestSpread(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 300
	}
	bubble(t, func(t *testing.T) {
		w := alive(t)
		w.cfg.MaxSize, w.cfg.MaxDials = n, n
		warm(t, pool(t, w.cfg), n)
		time.Sleep(10 * time.Second)
		pings := w.saw("ping")
		slices.Sort(pings)
		if len(pings) != n {
			t.Fatalf("%d pings of %d connections", len(pings), n)
		}
		tenths := map[time.Duration]int{}
		for _, at := range pings {
			if at < 9*time.Second || at > 10*time.Second {
				t.Errorf("a ping at %v", at)
			}
			tenths[at/(100*ms)]++
		}
		for tenth, k := range tenths {
			if k > n/4 {
				t.Errorf("%d of %d pings in %v", k, n, tenth*100*ms)
			}
		}
	})
}

// Where a ping's answer is asked for, it takes what it takes.
func TestPing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.delay = 30 * ms
		p := pool(t, w.cfg)
		c := acquire(t, p)
		if rtt := c.RTT(); rtt != 0 {
			t.Errorf("RTT %v before any ping", rtt)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*ms)
		defer cancel()
		if _, err := c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ping: %v", err)
		}
		time.Sleep(time.Second)
		if took, err := c.Ping(t.Context()); err != nil || took != 30*ms {
			t.Errorf("Ping: %v, %v", took, err)
		}
		if rtt := c.RTT(); rtt != 30*ms {
			t.Errorf("RTT %v", rtt)
		}
		w.delay = 110 * ms
		results := make(chan time.Duration)
		for range 3 { // at once, beside a read
			go func() {
				took, err := c.Ping(t.Context())
				if err != nil {
					t.Error(err)
				}
				results <- took
			}()
		}
		synctest.Wait()
		ask(t, c, "x") // the watcher of the pings hands it over
		for range 3 {
			if took := <-results; took != 110*ms {
				t.Errorf("Ping: %v", took)
			}
		}
		if rtt, want := c.RTT(), 30*ms+(110-30)*ms/8; rtt != want {
			t.Errorf("RTT %v, want %v", rtt, want)
		}
		c.Release()
		if _, err := c.Ping(t.Context()); !errors.Is(err, wspool.ErrReleased) {
			t.Errorf("Ping: %v", err)
		}
		if s := p.Stats(); s.Made != 1 || s.Tainted != 0 {
			t.Errorf("%v", s)
		}
	})
}

// A pong that answers nothing of ours is a sign of life, and no measurement.
func TestForeignPong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := alive(t)
		w.deny.Store(true)
		p := pool(t, w.cfg)
		warm(t, p, 1)
		for _, s := range []string{"", "x", "wspool ", "wspool zz", "wspool 1", "wspool ffffffffffffffffffff"} {
			time.Sleep(8 * time.Second)
			w.send(0, frame(websocket.PongMessage, s))
		}
		c := acquire(t, p)
		if rtt := c.RTT(); rtt != 0 {
			t.Errorf("RTT %v", rtt)
		}
		ask(t, c, "x")
		c.Release()
		if pings := w.saw("ping"); pings != nil {
			t.Errorf("pings at %v", pings)
		}
	})
}

// While a message waits for the lease the pong behind it cannot be seen, and the
// peer is not required to answer; nor at the moment that the message is read.
func TestSilencePauses(t *testing.T) {
	for name, read := range map[string]func(t *testing.T, c *wspool.Conn, wait func()){
		"message": func(t *testing.T, c *wspool.Conn, wait func()) {
			wait()
			read(t, c, "long")
		},
		"reader": func(t *testing.T, c *wspool.Conn, wait func()) {
			_, r, err := c.NextReader(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			wait()
			if p, err := io.ReadAll(r); err != nil || string(p) != "long" {
				t.Errorf("%q, %v", p, err)
			}
		},
	} {
		for _, thought := range []time.Duration{9500 * ms, 30 * time.Second} {
			t.Run(name+"/"+thought.String(), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := alive(t)
					w.cfg.PongWait = 500 * ms
					gone := w.ends()
					p := pool(t, w.cfg)
					c := acquire(t, p)
					defer c.Release()
					// A read 1 ms before each of many instants at which the
					// peer might be given up.
					write(t, c, "long")
					read(t, c, func() {
						time.Sleep(thought)
						for pings := w.saw("ping"); ; time.Sleep(ms) {
							if len(pings) > 0 && (w.now()-pings[0])%(500*ms) > 498*ms {
								return
							}
							pings = w.saw("ping")
						}
					})
					time.Sleep(900 * ms) // no watcher would come for it alone
					none(t, gone)
					time.Sleep(5 * time.Second)
					none(t, gone)
					ask(t, c, "x")
					c.Release()
					if s := p.Stats(); s.Idle != 1 {
						t.Errorf("%v", s)
					}
				})
			})
		}
	}
}

// A peer that goes silent in the middle of a message is given up if the lease waits
// for the rest of it, also if a watcher has found the message before the lease reads.
func TestSilentInMessage(t *testing.T) {
	for name, watched := range map[string]bool{"lease": false, "watcher": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := alive(t)
				w.mute = true
				w.deny.Store(true)
				gone := w.ends()
				c := acquire(t, pool(t, w.cfg))
				write(t, c, "question")
				if watched {
					time.Sleep(time.Second) // the connection is watched from then on
				}
				began := w.now()
				w.send(0, frame(websocket.TextMessage, "answer")[:5])
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				_, _, err := c.ReadMessage(ctx)
				if took := w.now() - began; !errors.Is(err, wspool.ErrSilent) || took > 14*time.Second {
					t.Errorf("%v after %v, want ErrSilent within 10s and twice 2s", err, took)
				}
				c.Release()
				if e := next(t, "end", gone); !errors.Is(e.cause, wspool.ErrSilent) {
					t.Errorf("ended with %v", e.cause)
				}
			})
		})
	}
}

// A peer that sends a message slowly is not.
func TestSlowMessage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := alive(t)
		w.mute = true
		p := pool(t, w.cfg)
		c := acquire(t, p)
		write(t, c, "question")
		go func() {
			for _, b := range frame(websocket.TextMessage, "slow as it is") {
				time.Sleep(8 * time.Second)
				w.send(0, []byte{b})
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, m, err := c.ReadMessage(ctx); err != nil || string(m) != "slow as it is" {
			t.Errorf("%q, %v", m, err)
		}
		c.Release()
		if s := p.Stats(); s.Idle != 1 {
			t.Errorf("%v", s)
		}
	})
}

// A ping behind much that is being sent arrives late; as long as the network
// takes more of it the peer is alive.
func TestSlowUpload(t *testing.T) {
	for name, write := range map[string]func(t *testing.T, c *wspool.Conn, data []byte) error{
		"message": func(t *testing.T, c *wspool.Conn, data []byte) error {
			return c.WriteMessage(t.Context(), websocket.BinaryMessage, data)
		},
		"prepared": func(t *testing.T, c *wspool.Conn, data []byte) error {
			m, err := websocket.NewPreparedMessage(websocket.BinaryMessage, data)
			if err != nil {
				t.Fatal(err)
			}
			return c.WritePrepared(t.Context(), m)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				data := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
				peer := listenMem(t, 32<<10, func(ws *websocket.Conn) {
					kind, r, err := ws.NextReader()
					if err != nil {
						return
					}
					got := 0
					for buf := make([]byte, 4<<10); err == nil; time.Sleep(300 * ms) {
						var n int
						n, err = r.Read(buf)
						got += n
					}
					if got != len(data) {
						return
					}
					ws.WriteMessage(kind, []byte("thanks"))
					drain(ws)
				})
				peer.cfg.KeepAlive, peer.cfg.PongWait = 10*time.Second, 6*time.Second
				peer.cfg.WriteTimeout = time.Hour
				p := pool(t, peer.cfg)
				c := acquire(t, p)
				if err := write(t, c, data); err != nil {
					t.Fatal(err)
				}
				if _, m, err := c.ReadMessage(t.Context()); err != nil || string(m) != "thanks" {
					t.Errorf("%q, %v", m, err)
				}
				c.Release()
				if s := p.Stats(); s.Idle != 1 {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// Where many pings come before the answer can be sent, the last is answered, as
// RFC 6455 allows.
func TestManyPings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		p := pool(t, w.cfg)
		warm(t, p, 1)
		time.Sleep(time.Second)
		var many []byte
		for range 2000 {
			many = append(many, frame(websocket.PingMessage, "one")...)
		}
		w.send(0, append(many, frame(websocket.PingMessage, "last")...))
		synctest.Wait()
		if pongs := w.saw("pong last"); len(pongs) != 1 || pongs[0] != time.Second {
			t.Errorf("the last was answered at %v", pongs)
		}
		use(t, p)
	})
}

// A connection on which more control frames come in a second than ControlLimit is
// destroyed, idle or leased; one on which as many come in each second is not.
func TestControlLimit(t *testing.T) {
	for name, opcode := range map[string]byte{"pings": websocket.PingMessage, "pongs": websocket.PongMessage} {
		for _, leased := range []bool{false, true} {
			t.Run(fmt.Sprint(name, leased), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := witnesses(t)
					w.cfg.ControlLimit = 10
					w.cfg.KeepAlive = -1
					gone := w.ends()
					p := pool(t, w.cfg)
					c := acquire(t, p)
					ask(t, c, "x")
					if !leased {
						c.Release()
					}
					time.Sleep(time.Second)
					ten := []byte(strings.Repeat(string(frame(opcode, "")), 10))
					for range 5 {
						w.send(0, ten)
						time.Sleep(time.Second)
					}
					none(t, gone)
					w.send(0, ten)
					time.Sleep(999 * ms)
					none(t, gone)
					w.send(0, ten[:2])
					if leased {
						synctest.Wait()
						if err := c.WriteMessage(t.Context(), websocket.TextMessage, nil); !errors.Is(err, wspool.ErrFlooded) {
							t.Errorf("WriteMessage: %v", err)
						}
						c.Release()
					}
					if e := next(t, "end", gone); !errors.Is(e.cause, wspool.ErrFlooded) {
						t.Errorf("destroyed with %v", e.cause)
					}
				})
			})
		}
	}
}

// On a socket a peer that sends nothing but pings is found out, however little of
// the processor it is read with: one read has more than the limit.
func TestControlLimit_Flood(t *testing.T) {
	peer := listen(t, false, func(ws *websocket.Conn) {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
		drained := make(chan struct{})
		go func() { defer close(drained); drain(ws) }()
		many := []byte(strings.Repeat(string(frame(websocket.PingMessage, "x")), 1000))
		for err := error(nil); err == nil; {
			_, err = ws.NetConn().Write(many)
		}
		<-drained
	})
	peer.cfg.MaxSize, peer.cfg.ControlLimit = 1, 500
	gone := ends(&peer.cfg)
	c := acquire(t, pool(t, peer.cfg))
	write(t, c, "x")
	if _, _, err := c.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrFlooded) {
		t.Errorf("ReadMessage: %v", err)
	}
	c.Release()
	if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrFlooded) {
		t.Errorf("destroyed with %v", e.Cause)
	}
}

func TestControlLimit_Checked(t *testing.T) {
	_, err := wspool.New(wspool.Config{URL: "ws://localhost/", MaxSize: 1, ControlLimit: -1})
	if err == nil || !strings.Contains(err.Error(), "ControlLimit must be at least 0, got -1") {
		t.Errorf("New: %v", err)
	}
}
