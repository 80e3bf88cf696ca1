package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// A lease leaves the connection clean if its messages add up as Exchange says.
func TestExchange(t *testing.T) {
	const last, each, none = wspool.ReplyLast, wspool.ReplyEach, wspool.Unpaired
	for _, tc := range []struct {
		script string // w: write, r: read; what is written says how many replies come, 1 unless it is a digit
		clean  []wspool.Exchange
	}{
		{"", []wspool.Exchange{last, each, none}},
		{"wr", []wspool.Exchange{last, each, none}},
		{"wrwr", []wspool.Exchange{last, each, none}},
		{"wwrr", []wspool.Exchange{last, each, none}},
		{"00wr", []wspool.Exchange{last, none}}, // a request in three messages
		{"2rr", []wspool.Exchange{last, none}},  // a reply in two
		{"3rr", nil},                            // one is left
		{"w", nil},
		{"wrw", nil},
		{"wwr", nil}, // one is left
		{"0", []wspool.Exchange{none}},
		{"wr0", []wspool.Exchange{none}},
		{"02rr", []wspool.Exchange{last, each, none}},
	} {
		for name, ex := range map[string]wspool.Exchange{"last": last, "each": each, "none": none} {
			t.Run(fmt.Sprintf("%s/%q", name, tc.script), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					peer := listenMem(t, 4096, onEach(func(ws *websocket.Conn, kind int, p []byte) {
						n, _ := strconv.Atoi(string(p))
						for range n {
							ws.WriteMessage(kind, []byte("reply"))
						}
					}))
					peer.cfg.Exchange = ex
					gone := ends(&peer.cfg)
					p := pool(t, peer.cfg)
					c := acquire(t, p)
					for _, b := range tc.script {
						switch b {
						case 'r':
							read(t, c, "reply")
						case 'w':
							write(t, c, "1")
						default:
							write(t, c, string(b))
						}
					}
					time.Sleep(ms) // what is left has come
					c.Release()
					want := 0
					for _, e := range tc.clean {
						if e == ex {
							want = 1
						}
					}
					if s := p.Stats(); s.Idle != want || s.Tainted != int64(1-want) {
						t.Errorf("%v; want %d clean", s, want)
					}
					if want == 0 {
						if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrUnread) {
							t.Errorf("destroyed with %v", e.Cause)
						}
					}
				})
			})
		}
	}
}

// segmented answers "how" with what is to be in one segment with the reply, and
// what is to come only when the client has read that.
type segmented struct {
	name         string
	with, behind []byte
	clean        bool
}

// No later lease sees the bytes behind a reply, in its segment or just later; a
// ping there is answered and does no harm.
func TestBehindReply(t *testing.T) {
	goodbye := frame(websocket.CloseMessage, string(websocket.FormatCloseMessage(1001, "")))
	extra := frame(websocket.TextMessage, "extra")
	half := []byte{websocket.TextMessage, 3, 'e', 'x', 't'} // not its last frame
	for _, tc := range []segmented{
		{"nothing", nil, nil, true},
		{"extra with it", extra, nil, false},
		{"extra later", nil, extra, false},
		{"half with it", half, nil, false},
		{"half later", nil, half, false},
		{"ping with it", frame(websocket.PingMessage, "p"), nil, true},
		{"ping later", nil, frame(websocket.PingMessage, "p"), true},
		{"pong with it", frame(websocket.PongMessage, "p"), nil, true},
		{"half a ping with it", frame(websocket.PingMessage, "p")[:1], frame(websocket.PingMessage, "p")[1:], false},
		{"close with it", goodbye, nil, false},
		{"close later", nil, goodbye, false},
	} {
		for _, scheme := range []string{"ws", "wss"} {
			t.Run(tc.name+"/"+scheme, func(t *testing.T) {
				later, sent := make(chan struct{}), make(chan struct{})
				peer := listen(t, scheme == "wss", func(ws *websocket.Conn) {
					for {
						_, p, err := ws.ReadMessage()
						if err != nil {
							return
						}
						ws.NetConn().Write(append(frame(websocket.TextMessage, string(p)), tc.with...))
						if _, ok := <-later; !ok {
							return
						}
						ws.NetConn().Write(tc.behind)
						sent <- struct{}{}
					}
				})
				peer.cfg.MaxSize = 1
				peer.cfg.Redial = atOnce
				p := pool(t, peer.cfg)
				defer close(later)
				const leases = 30
				for i := range leases {
					question := fmt.Sprint("question ", i)
					for {
						c := acquire(t, p)
						if err := c.WriteMessage(t.Context(), websocket.TextMessage, []byte(question)); err != nil {
							// It arrived only after the lease had begun.
							if tc.clean {
								t.Fatal(err)
							}
							c.Release()
							continue
						}
						read(t, c, question)
						if i%2 == 0 { // the rest comes during the lease
							later <- struct{}{}
							<-sent
						}
						c.Release()
						if i%2 != 0 {
							later <- struct{}{}
							<-sent
						}
						break
					}
				}
				s := p.Stats()
				if tc.clean && s.Made != 1 || !tc.clean && s.Made < leases/2 {
					t.Errorf("clean: %v; %v", tc.clean, s)
				}
			})
		}
	}
}

// A lease that ends with a writer open has sent half a message. No other lease
// sends the rest.
func TestOpenWriter(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			got := make(chan string, 100)
			peer := listen(t, scheme == "wss", onEach(func(ws *websocket.Conn, kind int, p []byte) {
				got <- string(p)
				ws.WriteMessage(kind, p)
			}))
			peer.cfg.MaxSize = 1
			gone := ends(&peer.cfg)
			p := pool(t, peer.cfg)
			for i, size := range []int{1, 100, 40_000} {
				c := acquire(t, p)
				w, err := c.NextWriter(t.Context(), websocket.TextMessage)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write([]byte(strings.Repeat("half", size))); err != nil {
					t.Fatal(err)
				}
				c.Release()
				if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrUnfinished) {
					t.Errorf("destroyed with %v", e.Cause)
				}
				c = acquire(t, p)
				if _, err := w.Write([]byte("more")); !errors.Is(err, wspool.ErrReleased) {
					t.Errorf("Write: %v", err)
				}
				if err := w.Close(); !errors.Is(err, wspool.ErrReleased) {
					t.Errorf("Close: %v", err)
				}
				ask(t, c, fmt.Sprint("whole ", i))
				c.Release()
				if m := next(t, "message", got); m != fmt.Sprint("whole ", i) {
					t.Errorf("the server got %.20q", m)
				}
			}
		})
	}
}

// A lease that ends with a reader open, or with a message read in part, leaves
// nothing to the next.
func TestOpenReader(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			peer := listen(t, scheme == "wss", echo)
			peer.cfg.MaxSize = 1
			gone := ends(&peer.cfg)
			p := pool(t, peer.cfg)
			for _, part := range []int{0, 1, 10_000, 29_999} {
				c := acquire(t, p)
				write(t, c, strings.Repeat("abc", 10_000))
				_, r, err := c.NextReader(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for left := part; left > 0; {
					n, err := r.Read(make([]byte, left))
					if err != nil {
						t.Fatal(err)
					}
					left -= n
				}
				c.Release()
				if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrUnread) {
					t.Errorf("destroyed with %v", e.Cause)
				}
				c = acquire(t, p)
				write(t, c, "x")
				if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, wspool.ErrReleased) {
					t.Errorf("Read: %d, %v", n, err)
				}
				read(t, c, "x")
				c.Release()
			}
		})
	}
}

// A second reader is refused while the first is open, and the connection is as
// good as before when that has been read.
func TestTwoReaders(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer := listenMem(t, 4096, echo)
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		write(t, c, "one")
		write(t, c, "two")
		_, r, err := c.NextReader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.NextReader(t.Context()); !errors.Is(err, wspool.ErrUnfinished) {
			t.Errorf("NextReader: %v", err)
		}
		if _, _, err := c.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrUnfinished) {
			t.Errorf("ReadMessage: %v", err)
		}
		buf := make([]byte, 10)
		if n, err := r.Read(buf); string(buf[:n]) != "one" || err != nil {
			t.Errorf("%q, %v", buf[:n], err)
		}
		for range 2 {
			if n, err := r.Read(buf); n != 0 || err == nil || errors.Is(err, context.Canceled) {
				t.Errorf("%d, %v; want io.EOF", n, err)
			}
		}
		read(t, c, "two")
		c.Release()
		if s := p.Stats(); s.Idle != 1 {
			t.Errorf("%v", s)
		}
	})
}

// unruly answers each question, "id how", with its id, and sometimes with more.
func unruly(ws *websocket.Conn) {
	for {
		_, p, err := ws.ReadMessage()
		if err != nil {
			return
		}
		id, how, _ := strings.Cut(string(p), " ")
		out := frame(websocket.TextMessage, id)
		switch how {
		case "twice":
			out = append(out, out...)
		case "extra":
			out = append(out, frame(websocket.TextMessage, "extra")...)
		case "ping":
			out = append(out, frame(websocket.PingMessage, id)...)
		case "close":
			out = append(out, frame(websocket.CloseMessage, string(websocket.FormatCloseMessage(1001, "")))...)
		}
		if _, err := ws.NetConn().Write(out); err != nil {
			return
		}
	}
}

// No message of one lease reaches another: 64 callers on 8 connections, a server
// that answers twice, or more than was asked, or closes behind an answer, and
// callers that leave before the answer comes. Every answer that a caller reads must
// be to its own question.
func TestI13_NothingCrosses(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			const callers, leases = 64, 40
			peer := listen(t, scheme == "wss", unruly)
			peer.cfg.MaxSize = 8
			peer.cfg.Redial = func(error, int) time.Duration { return 0 }
			p := pool(t, peer.cfg)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			var answers, left atomic.Int64
			var all sync.WaitGroup
			for i := range callers {
				all.Go(func() {
					r := rand.New(rand.NewPCG(seed, uint64(i)))
					for j := range leases {
						answered, err := askUnruly(t.Context(), p, fmt.Sprintf("%d.%d", i, j), r.IntN(10))
						if err != nil {
							t.Error(err)
						}
						if answered {
							answers.Add(1)
						} else {
							left.Add(1)
						}
					}
				})
			}
			all.Wait()
			s := p.Stats()
			t.Logf("%d answers, %d left early, %d connections", answers.Load(), left.Load(), s.Made)
			if answers.Load() < callers*leases/2 || left.Load() == 0 {
				t.Error("the test did not test much")
			}
		})
	}
}

// TestI13_ReadBuffers: a buffer that connections share for reading is given back once, and only
// when it is empty. A buffer that holds part of a message, while a look finds nothing more,
// must not go to two other connections.
func TestI13_ReadBuffers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // what a sync.Pool gets is what it gives next
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			begin, finish := make(chan bool), make(chan bool)
			split := listen(t, scheme == "wss", func(ws *websocket.Conn) {
				go drain(ws)
				unsolicited := frame(websocket.TextMessage, "unsolicited")
				for <-begin {
					ws.NetConn().Write(unsolicited[:3])
					<-finish
					ws.NetConn().Write(unsolicited[3:])
				}
			})
			defer close(begin)
			split.cfg.MaxSize, split.cfg.WatchAfter = 1, time.Hour // an acquire looks
			arrived := make(chan bool, 1)
			split.cfg.OnUnsolicited = func(context.Context, wspool.Message) (*wspool.Message, error) {
				arrived <- true
				return nil, nil
			}
			looked := pool(t, split.cfg)
			whole := pool(t, listen(t, scheme == "wss", echo).cfg)
			warm(t, looked, 1)
			long := func(s string) string { return strings.Repeat(s, 3000) } // more than gorilla's buffer holds
			for range 10 {                                                   // the race detector has a sync.Pool drop what it is given now and then
				begin <- true
				eventually(t, "part of a message is found", func() bool {
					c, ok := looked.TryAcquire()
					if ok {
						c.Release()
					}
					return !ok
				})
				finish <- true
				next(t, "message", arrived)

				one, other := acquire(t, whole), acquire(t, whole)
				write(t, one, long("a"))
				_, r, err := one.NextReader(t.Context())
				if err == nil {
					_, err = io.ReadFull(r, make([]byte, 10)) // the rest waits in the buffer
				}
				if err != nil {
					t.Fatal(err)
				}
				ask(t, other, long("b"))
				if rest, err := io.ReadAll(r); err != nil || string(rest) != long("a")[10:] {
					t.Errorf("%v, %d bytes, of them %d of another connection", err, len(rest), strings.Count(string(rest), "b"))
				}
				one.Release()
				other.Release()
			}
		})
	}
}

// askUnruly leases, asks in one of ten ways, and reports whether it read an
// answer; the error says what must not have happened.
func askUnruly(ctx context.Context, p *wspool.Pool, id string, way int) (bool, error) {
	c, err := p.Acquire(ctx)
	if err != nil {
		return false, fmt.Errorf("%s: Acquire: %w", id, err)
	}
	defer c.Release()
	how := [10]string{"twice", "extra", "ping", "close"}[way]
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(id+" "+how)); err != nil {
		// An extra answer to the caller before came only just now, or a close:
		// refused as it should be.
		var ce *wspool.CloseError
		if errors.Is(err, wspool.ErrUnsolicited) || errors.As(err, &ce) {
			return false, nil
		}
		return false, fmt.Errorf("%s: WriteMessage: %w", id, err)
	}
	switch way {
	case 4: // leaves without reading
		return false, nil
	case 5: // gives up the wait at some moment
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go cancel()
		_, got, err := c.ReadMessage(ctx)
		if err == nil && string(got) != id {
			return true, fmt.Errorf("%s: got the answer to %s", id, got)
		}
		return false, nil
	}
	_, got, err := c.ReadMessage(ctx)
	if err != nil {
		return false, fmt.Errorf("%s: ReadMessage: %w", id, err)
	}
	if string(got) != id {
		return true, fmt.Errorf("%s: got the answer to %s", id, got)
	}
	return true, nil
}

// A message that arrives before a lease writes cannot be a reply to it, even if the
// connection has not been read since.
func TestMessageJustBeforeFirstWrite(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			strike, struck := make(chan struct{}), make(chan error)
			peer := listen(t, scheme == "wss", func(ws *websocket.Conn) {
				if _, ok := <-strike; ok {
					_, err := ws.NetConn().Write(frame(websocket.TextMessage, "late"))
					struck <- err
				}
				drain(ws)
			})
			t.Cleanup(func() { close(strike) })
			peer.cfg.MaxSize, peer.cfg.Redial = 1, atOnce
			p := pool(t, peer.cfg)
			for range 200 {
				c := acquire(t, p)
				strike <- struct{}{}
				if err := <-struck; err != nil {
					t.Fatal(err)
				}
				err := c.WriteMessage(t.Context(), websocket.TextMessage, []byte("question"))
				if !errors.Is(err, wspool.ErrUnsolicited) {
					t.Errorf("WriteMessage: %v, want ErrUnsolicited", err)
				}
				c.Release()
			}
		})
	}
}
