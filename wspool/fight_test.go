package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// rounds is n, or a third of it in a short run.
func rounds(n int) int {
	if testing.Short() {
		return n / 3
	}
	return n
}

// Every call of a lease that still runs when it ends returns, and the next lease
// gets the answers to its own questions.
func TestReleaseFights(t *testing.T) {
	ops := map[string]func(ctx context.Context, c *wspool.Conn) error{
		"ReadMessage": func(ctx context.Context, c *wspool.Conn) error { _, _, err := c.ReadMessage(ctx); return err },
		"NextReader": func(ctx context.Context, c *wspool.Conn) error {
			_, r, err := c.NextReader(ctx)
			if err == nil {
				_, err = io.ReadAll(r)
			}
			return err
		},
		"WriteMessage": func(ctx context.Context, c *wspool.Conn) error {
			return c.WriteMessage(ctx, websocket.BinaryMessage, make([]byte, 100_000))
		},
		"NextWriter": func(ctx context.Context, c *wspool.Conn) error {
			w, err := c.NextWriter(ctx, websocket.TextMessage)
			if err == nil {
				_, err = io.WriteString(w, strings.Repeat("x", 50_000))
				err = errors.Join(err, w.Close())
			}
			return err
		},
		"Ping": func(ctx context.Context, c *wspool.Conn) error { _, err := c.Ping(ctx); return err },
		"stream": func(ctx context.Context, c *wspool.Conn) error {
			_, err := c.NetConn(ctx, websocket.TextMessage).Read(make([]byte, 10))
			return err
		},
	}
	for _, scheme := range []string{"ws", "wss"} {
		for name, op := range ops {
			t.Run(name+"/"+scheme, func(t *testing.T) {
				peer := listen(t, scheme == "wss", echo)
				peer.cfg.Redial = atOnce
				peer.cfg.WatchAfter = 200 * time.Microsecond
				p := pool(t, peer.cfg)
				for i := range rounds(60) {
					c := acquire(t, p)
					if i%2 == 0 {
						write(t, c, "mine")
					}
					var all sync.WaitGroup
					for range 2 {
						all.Go(func() {
							ctx, cancel := context.WithTimeout(t.Context(), patience)
							defer cancel()
							if err := op(ctx, c); errors.Is(err, context.DeadlineExceeded) {
								t.Errorf("it did not return: %v", err)
							}
						})
					}
					time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond) // at a random instant of the operations
					c.Release()
					other := acquire(t, p)
					ask(t, other, fmt.Sprint("other ", i))
					other.Release()
					all.Wait()
				}
				if s := p.Stats(); s.Leased != 0 {
					t.Errorf("%v", s)
				}
			})
		}
	}
}

// A read that is broken off at any instant harms no other read: the next one of
// the same lease waits for its own message, and gets that.
func TestCancelFights(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			peer := listen(t, scheme == "wss", echo)
			peer.cfg.Exchange = wspool.Unpaired
			peer.cfg.WatchAfter = 100 * time.Microsecond
			p := pool(t, peer.cfg)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			var early, late, broken int
			for i := range rounds(3000) {
				c := acquire(t, p)
				question := fmt.Sprint("question ", i)
				write(t, c, question)
				ctx, cancel := context.WithCancel(t.Context())
				after := time.Duration(r.IntN(150)) * time.Microsecond
				if r.IntN(3) == 0 {
					cancel()
				} else {
					go func() { time.Sleep(after); cancel() }() // at a random instant of the read
				}
				_, got, err := c.ReadMessage(ctx)
				switch {
				case err == nil && string(got) == question:
					late++
				case err != nil && !errors.Is(err, context.Canceled):
					t.Fatalf("ReadMessage: %v", err)
				case err == nil:
					t.Fatalf("asked %q, got %q", question, got)
				default:
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					_, got, err = c.ReadMessage(ctx) // is not broken off
					cancel()
					switch {
					case errors.Is(err, wspool.ErrUnfinished):
						broken++ // in the midst of the message
					case err != nil || string(got) != question:
						t.Fatalf("asked %q, got %q, %v", question, got, err)
					default:
						early++
					}
				}
				cancel()
				c.Release()
			}
			t.Logf("%d too early, %d too late, %d in the midst", early, late, broken)
			if early == 0 || late == 0 {
				t.Error("the test did not test much")
			}
			if s := p.Stats(); s.Tainted != int64(broken) {
				t.Errorf("%d were broken off in the midst of a message; %v", broken, s)
			}
		})
	}
}

// The first write of a lease does not wait for a read of its that is broken off
// just then.
func TestFirstWriteFights(t *testing.T) {
	peer := listen(t, false, echo)
	peer.cfg.Redial = atOnce
	p := pool(t, peer.cfg)
	var longest time.Duration
	for range rounds(1500) {
		c := acquire(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		read := make(chan struct{})
		go func() { defer close(read); c.ReadMessage(ctx) }()
		go cancel()
		began := time.Now()
		write(t, c, "question")
		longest = max(longest, time.Since(began))
		<-read
		c.Release()
	}
	if longest >= 1900*ms { // a write that waits in vain does so for quietWait, 2 s
		t.Errorf("a write took %v", longest)
	}
}

// Leases, ends of connections and the end of the pool at once: everything
// returns, and nothing is left.
func TestEndFights(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			for range rounds(9) {
				peer := listen(t, scheme == "wss", func(ws *websocket.Conn) {
					for n := rand.IntN(20); n > 0; n-- {
						kind, p, err := ws.ReadMessage()
						if err != nil || ws.WriteMessage(kind, p) != nil {
							return
						}
					}
				})
				peer.cfg.Redial = atOnce
				peer.cfg.WatchAfter = 100 * time.Microsecond
				peer.cfg.KeepAlive = ms
				p, err := wspool.New(peer.cfg)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var all sync.WaitGroup
				for i := range 8 {
					all.Go(func() {
						for n := 0; ctx.Err() == nil; n++ {
							id := fmt.Sprint(i, ".", n)
							p.DoIdempotent(ctx, func(ctx context.Context, c *wspool.Conn) error {
								if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(id)); err != nil {
									return err
								}
								_, got, err := c.ReadMessage(ctx)
								if err == nil && string(got) != id {
									t.Errorf("%s got the answer to %s", id, got)
								}
								return err
							})
						}
					})
				}
				time.Sleep(30 * ms) // the load runs; what it is doing then is chance
				p.Reset(nil)
				time.Sleep(10 * ms) // and goes on over the Reset
				closing, stop := context.WithTimeout(context.Background(), patience)
				if rand.IntN(2) == 0 {
					cancel()
				}
				if err := p.Close(closing); err != nil {
					t.Error(err)
				}
				stop()
				cancel()
				all.Wait()
				if s := p.Stats(); s.Made != s.Destroyed || s.Leased != 0 {
					t.Errorf("%v", s)
				}
			}
		})
	}
}
