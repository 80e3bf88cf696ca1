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
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/relay"
	"github.com/respool/respool/wspool"
)

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
