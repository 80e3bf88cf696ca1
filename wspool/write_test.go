package wspool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/internal/relay"
	"github.com/respool/respool/wspool"
)

// A write that the peer does not take ends with its context or its timeout, at
// that instant, and the connection with the lease.
func TestWriteBrokenOff(t *testing.T) {
	for _, tc := range []struct {
		name string
		ctx  func(context.Context) (context.Context, context.CancelFunc)
		took time.Duration
		is   func(error) bool
	}{
		{"canceled", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, time.Second, func(err error) bool { return errors.Is(err, context.Canceled) }},
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 2*time.Second)
		}, 2 * time.Second, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{"timeout", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Minute)
		}, 3 * time.Second, func(err error) bool {
			var ne net.Error
			return errors.As(err, &ne) && ne.Timeout() && !errors.Is(err, context.DeadlineExceeded)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				until := make(chan struct{})
				defer close(until)
				peer := listenMem(t, 4096, deaf(until))
				peer.cfg.WriteTimeout = 3 * time.Second
				gone := ends(&peer.cfg)
				p := pool(t, peer.cfg)
				c := acquire(t, p)
				ctx, cancel := tc.ctx(t.Context())
				defer cancel()
				start := time.Now()
				err := c.WriteMessage(ctx, websocket.BinaryMessage, make([]byte, 1<<20))
				took, late := time.Since(start), time.Duration(0)
				if tc.name == "timeout" { // that the network took the first bytes is seen after a part of it
					late = peer.cfg.WriteTimeout / 8
				}
				if !tc.is(err) || took < tc.took || took > tc.took+late {
					t.Errorf("%v after %v; want that after %v", err, took, tc.took)
				}
				start = time.Now()
				if err := c.WriteMessage(t.Context(), websocket.TextMessage, nil); err == nil {
					t.Error("wrote behind half a message")
				}
				c.Release()
				e := next(t, "end", gone)
				if !errors.Is(e.Cause, wspool.ErrUnfinished) {
					t.Errorf("destroyed with %v", e.Cause)
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("it took %v to destroy what cannot be closed politely", took)
				}
			})
		})
	}
}

// pausing is a net.Conn that calls between after its third write and continues when
// a deadline in the past has been set.
type pausing struct {
	net.Conn
	between func()
	writes  int
	severed chan struct{}
	once    sync.Once
}

func (c *pausing) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.writes++; c.writes == 3 {
		c.between()
		<-c.severed
	}
	return n, err
}

func (c *pausing) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		c.once.Do(func() { close(c.severed) })
	}
	return c.Conn.SetWriteDeadline(t)
}

// gorilla sets a deadline anew for each frame of a message. A cancellation
// between two frames is not lost.
func TestWriteCanceledBetweenFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := listenMem(t, 4096, drainAll)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		dial := peer.cfg.NetDial
		peer.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			return &pausing{Conn: c, between: cancel, severed: make(chan struct{})}, err
		}
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		if err := c.WriteMessage(ctx, websocket.BinaryMessage, make([]byte, 1<<20)); !errors.Is(err, context.Canceled) {
			t.Errorf("WriteMessage: %v", err)
		}
		c.Release()
	})
}

// A lease that ends during a write frees the writer at once.
func TestReleaseWakesWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := make(chan struct{})
		defer close(until)
		peer := listenMem(t, 4096, deaf(until))
		gone := ends(&peer.cfg)
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		errs := make(chan error)
		start := time.Now()
		for range 2 { // one writes, one waits for its turn
			go func() { errs <- c.WriteMessage(t.Context(), websocket.BinaryMessage, make([]byte, 1<<20)) }()
		}
		synctest.Wait()
		c.Release()
		for range 2 {
			if err := next(t, "return", errs); !errors.Is(err, wspool.ErrReleased) {
				t.Errorf("WriteMessage: %v", err)
			}
		}
		if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrUnfinished) {
			t.Errorf("destroyed with %v", e.Cause)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}

// A writer that waits for its turn leaves with its context, and nothing is
// wrong with the connection for that.
func TestWriteTurnCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := make(chan struct{})
		peer := listenMem(t, 4096, deaf(until))
		peer.cfg.Exchange = wspool.Unpaired
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		first := make(chan error)
		go func() { first <- c.WriteMessage(t.Context(), websocket.BinaryMessage, make([]byte, 1<<20)) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.WriteMessage(ctx, websocket.TextMessage, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WriteMessage: %v", err)
		}
		close(until)
		if err := next(t, "return", first); err != nil {
			t.Errorf("the write that had the turn: %v", err)
		}
		c.Release()
		if s := p.Stats(); s.Idle != 1 {
			t.Errorf("%d idle, want 1", s.Idle)
		}
	})
}

// A pong that the network does not take is the end of the connection, and its
// cause says so.
func TestPongFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := make(chan struct{})
		defer close(until)
		peer := listenMem(t, 1<<10, func(ws *websocket.Conn) {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
			for range 20 { // the pongs to these do not fit into the network
				time.Sleep(time.Millisecond) // or the last alone is answered
				if ws.WriteControl(websocket.PingMessage, make([]byte, 125), time.Time{}) != nil {
					return
				}
			}
			<-until
		})
		peer.cfg.WriteTimeout = 4 * time.Second
		gone := ends(&peer.cfg)
		c := acquire(t, pool(t, peer.cfg))
		write(t, c, "go")
		start := time.Now()
		_, _, err := c.ReadMessage(t.Context())
		if took := time.Since(start); err == nil || took < 4*time.Second || took > 5*time.Second {
			t.Errorf("ReadMessage: %v after %v, want the end after the WriteTimeout", err, took)
		}
		c.Release()
		e := next(t, "end", gone)
		var ne net.Error
		if !errors.As(e.Cause, &ne) || !ne.Timeout() || !strings.Contains(e.Cause.Error(), "ping") {
			t.Errorf("destroyed with %v", e.Cause)
		}
	})
}

// A write to a connection that the peer closes just then reports the close.
func TestWriteToClosed(t *testing.T) {
	peer := listen(t, false, func(ws *websocket.Conn) {
		if _, _, err := ws.ReadMessage(); err == nil {
			ws.NetConn().Write(frame(websocket.CloseMessage, string(websocket.FormatCloseMessage(1008, "no"))))
		}
	})
	peer.cfg.Exchange = wspool.Unpaired
	p := pool(t, peer.cfg)
	c := acquire(t, p)
	for {
		err := c.WriteMessage(t.Context(), websocket.BinaryMessage, make([]byte, 1<<16))
		if err == nil {
			continue
		}
		var ce *wspool.CloseError
		if !errors.As(err, &ce) || ce.Code != 1008 {
			t.Errorf("WriteMessage: %v", err)
		}
		break
	}
	c.Release()
}

// framesOf counts the frames that a connection sends.
type framesOf struct {
	net.Conn
	mu   sync.Mutex
	data []byte
}

func (f *framesOf) Write(p []byte) (int, error) {
	f.mu.Lock()
	f.data = append(f.data, p...)
	f.mu.Unlock()
	return f.Conn.Write(p)
}

// sizes returns how long the payloads of the data frames were that were sent
// behind the handshake, and forgets them.
func (f *framesOf) sizes() (sizes []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.data
	if _, rest, ok := bytes.Cut(b, []byte("\r\n\r\n")); ok && bytes.HasPrefix(b, []byte("GET ")) {
		b = rest
	}
	for len(b) > 0 {
		n, head := int(b[1]&0x7f), 6
		switch n {
		case 126:
			n, head = int(b[2])<<8|int(b[3]), 8
		case 127:
			n, head = int(b[6])<<24|int(b[7])<<16|int(b[8])<<8|int(b[9]), 14
		}
		if b[0]&0x0f <= websocket.BinaryMessage {
			sizes = append(sizes, n)
		}
		b = b[head+n:]
	}
	f.data = nil
	return sizes
}

// One frame holds a message of up to WriteFrameSize; a longer one is sent in
// frames of that size, however it is written.
func TestWriteFrameSize(t *testing.T) {
	for _, size := range []int{0, wspool.MinWriteFrameSize, 1000, 16 << 10, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			peer := listen(t, false, echo)
			var sent *framesOf
			peer.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				sent = &framesOf{Conn: c}
				return sent, err
			}
			peer.cfg.WriteFrameSize = size
			most := size
			if size == 0 {
				most = wspool.DefaultWriteFrameSize
			}
			p := pool(t, peer.cfg)
			c := acquire(t, p)
			defer c.Release()
			sent.sizes()
			for _, n := range []int{0, 1, 100, most - 1, most, most + 1, 3*most + 7, 20_000, 1 << 20} {
				if n/most > 10_000 {
					continue
				}
				want := make([]int, 0, n/most+1)
				for left := n; ; left -= most {
					want = append(want, min(left, most))
					if left <= most {
						break
					}
				}
				msg := bytes.Repeat([]byte("x"), n)
				for _, how := range []string{"message", "writer"} {
					var err error
					if how == "message" {
						err = c.WriteMessage(t.Context(), websocket.BinaryMessage, msg)
					} else {
						var w interface {
							Write([]byte) (int, error)
							Close() error
						}
						if w, err = c.NextWriter(t.Context(), websocket.BinaryMessage); err == nil {
							for b := msg; len(b) > 0; b = b[min(len(b), 700):] {
								w.Write(b[:min(len(b), 700)])
							}
							err = w.Close()
						}
					}
					if err != nil {
						t.Fatal(err)
					}
					if got := sent.sizes(); fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("%s of %d: frames of %v, want %v", how, n, got, want)
					}
					if _, got, err := c.ReadMessage(t.Context()); err != nil || !bytes.Equal(got, msg) {
						t.Fatalf("%d bytes back, %v", len(got), err)
					}
				}
			}
		})
	}
}

// Bad settings are named.
func TestFrameConfig(t *testing.T) {
	for _, size := range []int{-1, 1, wspool.MinWriteFrameSize - 1, wspool.MaxWriteFrameSize + 1} {
		_, err := wspool.New(wspool.Config{URL: "ws://host", MaxSize: 1, WriteFrameSize: size})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("WriteFrameSize must be 0 or between 128 and 67108864, got %d", size)) {
			t.Errorf("%d: %v", size, err)
		}
	}
	for _, size := range []int{wspool.MinWriteFrameSize, wspool.MaxWriteFrameSize} {
		p := pool(t, wspool.Config{URL: "ws://host", MaxSize: 1, WriteFrameSize: size})
		_ = p
	}
}

// A long message on a slow network takes longer than WriteTimeout, as long as the
// network takes some of it.
func TestWriteSlowly(t *testing.T) {
	for _, tc := range []struct {
		size, step int           // of the message, and how much the peer reads at a time
		every      time.Duration // how often it does
		ok         bool
	}{
		{1 << 20, 4 << 10, 100 * ms, true},          // 26 s
		{64 << 10, 1 << 10, 900 * ms, true},         // 58 s: more than once in a timeout
		{64 << 10, 1, 700 * ms, false},              // until the ctx ends
		{64 << 10, 4 << 10, 3 * time.Second, false}, // longer than a timeout apart
	} {
		for kind, set := range map[string]func(*wspool.Config){"plain": func(*wspool.Config) {}, "opaque": opaque} {
			t.Run(fmt.Sprint(tc, kind), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					peer := listenMem(t, 4<<10, func(ws *websocket.Conn) {
						buf := make([]byte, tc.step)
						for {
							if _, err := ws.NetConn().Read(buf); err != nil {
								return
							}
							time.Sleep(tc.every)
						}
					})
					set(&peer.cfg)
					peer.cfg.WriteTimeout, peer.cfg.KeepAlive, peer.cfg.Exchange = time.Second, -1, wspool.Unpaired
					p := pool(t, peer.cfg)
					c := acquire(t, p)
					ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
					defer cancel()
					began := time.Now()
					err := c.WriteMessage(ctx, websocket.BinaryMessage, make([]byte, tc.size))
					took := time.Since(began)
					if (err == nil) != tc.ok || tc.ok && took < 20*time.Second {
						t.Errorf("%v after %v", err, took)
					}
					switch {
					case tc.ok:
					case tc.step == 1:
						if took != 90*time.Second || !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("%v after %v", err, took)
						}
					default:
						var ne net.Error
						if took > 5*time.Second || !errors.As(err, &ne) || !ne.Timeout() {
							t.Errorf("%v after %v", err, took)
						}
					}
					c.Release()
				})
			})
		}
	}
}

// The same through a relay that passes little at a time, on real sockets, whose
// kernels hold much; and where it passes nothing the write ends.
func TestWriteThroughSlowRelay(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint(secure), func(t *testing.T) {
			const size = 40 << 20
			whole := make(chan int, 1)
			peer := listen(t, secure, func(ws *websocket.Conn) {
				ws.SetReadLimit(2 * size)
				if _, p, err := ws.ReadMessage(); err == nil {
					whole <- len(p)
				}
				drain(ws)
			})
			scheme, addr, _ := strings.Cut(peer.cfg.URL, "://")
			r, err := relay.New(addr)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			peer.cfg.URL = scheme + "://" + r.Addr()
			peer.cfg.WriteTimeout = 2 * time.Second
			peer.cfg.Exchange = wspool.Unpaired
			p := pool(t, peer.cfg)
			c := acquire(t, p)
			r.Conns()[0].Up().Delay(2 * ms) // for each 32 KiB
			began := time.Now()
			if err := c.WriteMessage(t.Context(), websocket.BinaryMessage, make([]byte, size)); err != nil {
				t.Fatalf("%v after %v", err, time.Since(began))
			}
			if took := time.Since(began); took < peer.cfg.WriteTimeout {
				t.Errorf("it took %v: too fast to show anything", took)
			}
			r.Conns()[0].Up().Delay(0)
			if n := next(t, "message", whole); n != size {
				t.Errorf("%d bytes", n)
			}
			c.Release()
		})
	}
}

// A connection that a lease leaves dirty is destroyed.
func TestTaint(t *testing.T) {
	ended := func() context.Context {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return ctx
	}
	for _, tc := range []struct {
		name     string
		unpaired bool
		do       func(t *testing.T, c *wspool.Conn)
		want     error // nil: clean
	}{
		{"nothing done", false, func(t *testing.T, c *wspool.Conn) {}, nil},
		{"asked and read", false, func(t *testing.T, c *wspool.Conn) { ask(t, c, "x") }, nil},
		{"abandoned read", false, func(t *testing.T, c *wspool.Conn) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			write(t, c, "slow")
			if _, _, err := c.ReadMessage(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("ReadMessage: %v", err)
			}
			read(t, c, "slow") // the connection is whole, and yet
		}, wspool.ErrUnread},
		{"read with ended context", false, func(t *testing.T, c *wspool.Conn) {
			ask(t, c, "x")
			if _, _, err := c.ReadMessage(ended()); !errors.Is(err, context.Canceled) {
				t.Errorf("ReadMessage: %v", err)
			}
		}, wspool.ErrUnread},
		{"message unread", false, func(t *testing.T, c *wspool.Conn) {
			write(t, c, "x")
			synctest.Wait()
		}, wspool.ErrUnread},
		{"message unread, unpaired", true, func(t *testing.T, c *wspool.Conn) {
			write(t, c, "x")
			synctest.Wait()
		}, wspool.ErrUnread},
		{"message half come", true, func(t *testing.T, c *wspool.Conn) {
			write(t, c, "half")
			synctest.Wait()
		}, wspool.ErrUnread},
		{"answer not awaited", false, func(t *testing.T, c *wspool.Conn) { write(t, c, "slow") }, wspool.ErrUnread},
		{"no answer, unpaired", true, func(t *testing.T, c *wspool.Conn) { write(t, c, "quiet") }, nil},
		{"write with ended context", false, func(t *testing.T, c *wspool.Conn) {
			if err := c.WriteMessage(ended(), websocket.TextMessage, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("WriteMessage: %v", err)
			}
		}, nil},
		{"write of a control frame", false, func(t *testing.T, c *wspool.Conn) {
			if err := c.WriteMessage(t.Context(), websocket.CloseMessage, nil); err == nil {
				t.Error("WriteMessage sent a close frame")
			}
		}, nil},
		{"message before the first write", false, func(t *testing.T, c *wspool.Conn) {
			if _, _, err := c.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrUnsolicited) {
				t.Errorf("ReadMessage: %v", err)
			}
		}, wspool.ErrUnsolicited},
		{"message before the first write, unpaired", true, func(t *testing.T, c *wspool.Conn) {
			read(t, c, "event")
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer := listenMem(t, 4096, func(ws *websocket.Conn) {
					if strings.HasPrefix(tc.name, "message before") {
						time.Sleep(time.Second)
						ws.WriteMessage(websocket.TextMessage, []byte("event"))
					}
					for {
						kind, p, err := ws.ReadMessage()
						if err != nil {
							return
						}
						if string(p) == "slow" {
							time.Sleep(time.Second)
						}
						switch string(p) {
						case "quiet":
						case "half":
							ws.NetConn().Write(frame(websocket.TextMessage, "half")[:4])
						default:
							ws.WriteMessage(kind, p)
						}
					}
				})
				if tc.unpaired {
					peer.cfg.Exchange = wspool.Unpaired
				}
				gone := ends(&peer.cfg)
				p := pool(t, peer.cfg)
				c := acquire(t, p)
				id := c.Info().ID
				tc.do(t, c)
				c.Release()
				if tc.want != nil {
					if e := next(t, "end", gone); !errors.Is(e.Cause, tc.want) {
						t.Errorf("destroyed with %v, want %v", e.Cause, tc.want)
					}
				}
				c = acquire(t, p)
				if kept := c.Info().ID == id; kept != (tc.want == nil) {
					t.Errorf("kept: %v", kept)
				}
				if tc.want == nil {
					ask(t, c, "next")
				}
				c.Release()
			})
		})
	}
}
