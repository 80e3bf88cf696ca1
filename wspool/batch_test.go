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

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

var shared = resource.Request{Shared: true}

// textBatch returns text messages.
func textBatch(all ...string) (batch []wspool.Message) {
	for _, s := range all {
		batch = append(batch, wspool.Message{Type: websocket.TextMessage, Data: []byte(s)})
	}
	return batch
}

// A batch arrives as the messages that it has, in order, whatever their type and length, and
// between other messages.
func TestWriteBatch(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for name, start := range map[string]bool{"write": false, "start": true} {
			t.Run(fmt.Sprint(name, " secure ", secure), func(t *testing.T) {
				got := make(chan wspool.Message, 100)
				s := listen(t, secure, func(ws *websocket.Conn) {
					for {
						kind, p, err := ws.ReadMessage()
						if err != nil {
							return
						}
						got <- wspool.Message{Type: kind, Data: p}
					}
				})
				s.cfg.WriteFrameSize = 1000
				p := pool(t, s.cfg)
				c := acquireShared(t, p)
				defer c.Release()
				batches := [][]wspool.Message{
					textBatch("one"),
					textBatch("a", "", "ccc", "dddd"),
					{{Type: websocket.BinaryMessage, Data: bytes.Repeat([]byte{7}, 125)}, {Type: websocket.TextMessage, Data: bytes.Repeat([]byte("x"), 126)},
						{Type: websocket.BinaryMessage, Data: bytes.Repeat([]byte{9}, 3001)}, {Type: websocket.TextMessage, Data: bytes.Repeat([]byte("y"), 70000)}},
					textBatch("z"),
				}
				for _, b := range batches {
					if start {
						done := make(chan error, 1)
						later, whole, err := c.StartBatch(b, func(whole int, err error) {
							if whole != len(b) {
								err = fmt.Errorf("whole %d: %w", whole, err)
							}
							done <- err
						})
						if later {
							err, whole = <-done, len(b)
						}
						if err != nil || whole != len(b) {
							t.Fatal(whole, err)
						}
					} else if whole, err := c.WriteBatch(t.Context(), b); err != nil || whole != len(b) {
						t.Fatal(whole, err)
					}
					if err := c.WriteMessage(t.Context(), websocket.TextMessage, []byte("between")); err != nil {
						t.Fatal(err)
					}
					for _, want := range append(b, textBatch("between")...) {
						if m := <-got; m.Type != want.Type || !bytes.Equal(m.Data, want.Data) {
							t.Fatalf("got %d bytes of type %d, want %d of %d", len(m.Data), m.Type, len(want.Data), want.Type)
						}
					}
				}
			})
		}
	}
}

func acquireShared(t testing.TB, p *wspool.Pool) *wspool.Conn {
	t.Helper()
	c, err := p.AcquireWith(context.Background(), shared)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A batch that is refused was not sent, and harms nothing.
func TestWriteBatchRefused(t *testing.T) {
	s := listen(t, false, echo)
	p := pool(t, s.cfg)
	c := acquireShared(t, p)
	defer c.Release()
	if whole, err := c.WriteBatch(t.Context(), []wspool.Message{textBatch("a")[0], {Type: 9}}); err == nil || whole != 0 {
		t.Error(whole, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if whole, err := c.WriteBatch(ended, textBatch("a", "b")); !errors.Is(err, context.Canceled) || whole != 0 {
		t.Error(whole, err)
	}
	if _, err := c.WriteBatch(t.Context(), textBatch("c")); err != nil {
		t.Fatal(err)
	}
	if _, m, err := c.ReadMessage(t.Context()); err != nil || string(m) != "c" {
		t.Errorf("%q, %v", m, err)
	}
}

// cutConn fails to write after so many bytes of messages.
type cutConn struct {
	net.Conn
	mu   sync.Mutex
	left int // -1: no limit yet
}

func (c *cutConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left < 0 || c.left >= len(p) {
		if c.left > 0 {
			c.left -= len(p)
		}
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:c.left])
	c.left = 0
	c.Conn.Close()
	return n, errors.New("cut")
}

// A batch that is cut at any byte reports exactly the messages that the peer can have read.
func TestWriteBatchCutAtEveryByte(t *testing.T) {
	batch := textBatch("one", "", "three", "four 4444")
	size := 0
	for _, m := range batch {
		size += 6 + len(m.Data)
	}
	for cut := range size + 1 {
		for _, start := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				read := make(chan int, 1)
				s := listenMem(t, 1<<20, func(ws *websocket.Conn) {
					n := 0
					for ; ; n++ {
						if _, _, err := ws.ReadMessage(); err != nil {
							break
						}
					}
					read <- n
				})
				var c0 *cutConn
				dial := s.cfg.NetDial
				s.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)
					if err == nil {
						c0 = &cutConn{Conn: conn, left: -1}
						conn = c0
					}
					return conn, err
				}
				s.cfg.KeepAlive = -1
				p := pool(t, s.cfg)
				c := acquireShared(t, p)
				c0.mu.Lock()
				c0.left = cut
				c0.mu.Unlock()
				var whole int
				var err error
				if start {
					done := make(chan struct{})
					var laterWhole int
					var laterErr error
					var later bool
					later, whole, err = c.StartBatch(batch, func(w int, e error) { laterWhole, laterErr = w, e; close(done) })
					if later {
						<-done
						whole, err = laterWhole, laterErr
					}
				} else {
					whole, err = c.WriteBatch(context.Background(), batch)
				}
				if (err == nil) != (cut == size) {
					t.Errorf("cut at %d of %d: %v", cut, size, err)
				}
				c.Discard(nil)
				if n := <-read; n != whole {
					t.Errorf("cut at %d, start %v: the peer has read %d, and %d left whole", cut, start, n, whole)
				}
			})
		}
	}
}

// StartBatch returns at once though the peer reads nothing; pings are answered in their turn,
// other writes wait, and everything arrives in order once the peer reads.
func TestStartBatchBehindAPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := make(chan struct{})
		got := make(chan string, 10)
		s := listenMem(t, 4096, func(ws *websocket.Conn) {
			ws.SetPongHandler(func(s string) error { got <- "pong " + s; return nil })
			ws.WriteControl(websocket.PingMessage, []byte("p"), time.Now().Add(time.Second))
			<-read
			for {
				_, p, err := ws.ReadMessage()
				if err != nil {
					return
				}
				got <- fmt.Sprint(len(p))
			}
		})
		s.cfg.KeepAlive = -1
		p := pool(t, s.cfg)
		c := acquireShared(t, p)
		done := make(chan error, 1)
		began := time.Now()
		later, _, err := c.StartBatch([]wspool.Message{
			{Type: websocket.BinaryMessage, Data: make([]byte, 3000)}, {Type: websocket.BinaryMessage, Data: make([]byte, 50000)},
		}, func(whole int, err error) { done <- err })
		if !later || err != nil || time.Since(began) != 0 {
			t.Fatal(later, err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := c.WriteMessage(ctx, websocket.TextMessage, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		time.Sleep(time.Second)
		close(read)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := c.WriteMessage(t.Context(), websocket.TextMessage, []byte("1234")); err != nil {
			t.Error(err)
		}
		all := map[string]bool{}
		for range 4 {
			all[<-got] = true
		}
		if !all["3000"] || !all["50000"] || !all["4"] || !all["pong p"] {
			t.Error(all)
		}
		c.Release()
	})
}

// A deferred batch to a peer that takes nothing fails after WriteTimeout, and does not keep the
// pool from closing.
func TestStartBatchFails(t *testing.T) {
	for name, after := range map[string]func(c *wspool.Conn){
		"timeout": func(*wspool.Conn) {}, "discard": func(c *wspool.Conn) { c.Discard(nil) }, "release": func(c *wspool.Conn) { c.Release() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				over := make(chan struct{})
				s := listenMem(t, 100, func(ws *websocket.Conn) { <-over })
				s.cfg.KeepAlive, s.cfg.WriteTimeout = -1, 10*time.Second
				p := pool(t, s.cfg)
				c := acquireShared(t, p)
				done := make(chan error, 1)
				began := time.Now()
				batch := append(textBatch("whole"), wspool.Message{Type: websocket.TextMessage, Data: make([]byte, 1000)}, textBatch("never")[0])
				later, whole, err := c.StartBatch(batch, func(w int, err error) {
					if w > 1 || name == "timeout" && w != 1 {
						t.Errorf("%d left whole, want 1", w)
					}
					done <- err
				})
				if !later {
					t.Fatal(whole, err)
				}
				after(c)
				if err := <-done; err == nil || time.Since(began) > 15*time.Second {
					t.Error(err, time.Since(began))
				}
				c.Discard(nil)
				close(over)
			})
		})
	}
}

// Of what is to be sent nothing is used any more, and nothing is changed, when WriteBatch or
// StartBatch has returned, though the network has not taken it yet; nor do other connections,
// which share buffers, change what waits.
func TestStartBatch_Ownership(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const conns = 4
		read, got := make(chan struct{}), make(chan string, 100)
		s := listenMem(t, 1<<10, func(ws *websocket.Conn) {
			<-read
			for {
				_, p, err := ws.ReadMessage()
				if err != nil {
					return
				}
				got <- string(p)
			}
		})
		s.cfg.KeepAlive, s.cfg.MaxSize = -1, conns
		p := pool(t, s.cfg)
		want := map[string]int{}
		done := make(chan error, conns)
		for i := range conns {
			c := acquireShared(t, p)
			defer c.Release()
			var batch []wspool.Message
			for k := range 1 + i%2*3 {
				text := strings.Repeat(fmt.Sprintf("%d.%d ", i, k), 2000)
				want[text]++
				batch = append(batch, wspool.Message{Type: websocket.TextMessage, Data: []byte(text)})
			}
			before := fmt.Sprint(batch)
			later, _, err := c.StartBatch(batch, func(_ int, err error) { done <- err })
			if !later || err != nil {
				t.Fatalf("later %v, %v", later, err)
			}
			if fmt.Sprint(batch) != before {
				t.Error("the batch is changed")
			}
			for _, m := range batch {
				clear(m.Data)
			}
		}
		close(read)
		for range conns {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		n := 0
		for _, k := range want {
			n += k
		}
		for range n {
			text := <-got
			if want[text]--; want[text] < 0 {
				t.Errorf("the server got %.20q of %d bytes", text, len(text))
			}
		}
	})
}
