package wspool_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// A check has an idle connection to itself as a lease has, and only when it says
// that it is due.
func TestCheck(t *testing.T) {
	for _, after := range []time.Duration{-1, 2 * ms} {
		bubble(t, func(t *testing.T) {
			w := witnesses(t)
			w.cfg.WatchAfter = after
			checks := 0
			var kept *wspool.Conn
			w.cfg.Health = seldom{func(ctx context.Context, c *wspool.Conn) error {
				checks++
				kept = c
				return exchange(ctx, c)
			}, time.Minute}
			w.cfg.SweepInterval = time.Hour
			p := pool(t, w.cfg)
			for _, idle := range []time.Duration{0, ms, time.Second, time.Minute, 0, 2 * time.Minute} {
				time.Sleep(idle)
				c := acquire(t, p)
				ask(t, c, "x")
				if kept != nil {
					if _, _, err := kept.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrReleased) {
						t.Errorf("ReadMessage: %v", err)
					}
				}
				c.Release()
			}
			if s := p.Stats(); checks != 2 || s.Made != 1 || s.Tainted != 0 {
				t.Errorf("%d checks, want 2; %v", checks, s)
			}
		})
	}
}

// A connection that fails a check, or is left dirty by it, is not lent. One with a
// tolerated error is lent, but never a dirty one.
func TestCheckFails(t *testing.T) {
	broken := errors.New("broken")
	mess := func(ctx context.Context, c *wspool.Conn) error {
		_, err := c.NextWriter(ctx, websocket.TextMessage)
		return err
	}
	for _, tc := range []struct {
		name  string
		f     checkFunc
		cause error // nil: kept
	}{
		{"error", func(context.Context, *wspool.Conn) error { return broken }, broken},
		{"tolerated", func(context.Context, *wspool.Conn) error { return resource.ErrTolerated }, nil},
		{"mess", mess, wspool.ErrUnfinished},
		{"answer left", func(ctx context.Context, c *wspool.Conn) error {
			return errors.Join(c.WriteMessage(ctx, websocket.TextMessage, nil), sleep(2*time.Second))
		}, wspool.ErrUnread},
		{"tolerated mess", func(ctx context.Context, c *wspool.Conn) error {
			return errors.Join(mess(ctx, c), resource.ErrTolerated)
		}, wspool.ErrUnfinished},
		{"tolerated mess, released", func(ctx context.Context, c *wspool.Conn) error {
			defer c.Release()
			return errors.Join(mess(ctx, c), resource.ErrTolerated)
		}, wspool.ErrUnfinished},
		{"discarded", func(_ context.Context, c *wspool.Conn) error { c.Discard(broken); return nil }, broken},
		{"released", func(ctx context.Context, c *wspool.Conn) error { defer c.Release(); return exchange(ctx, c) }, nil},
		{"tolerated end", func(ctx context.Context, c *wspool.Conn) error {
			_, _, err := c.ReadMessage(ctx) // the server hangs up
			return errors.Join(err, resource.ErrTolerated)
		}, &wspool.CloseError{Code: 1006}},
		{"panic", func(context.Context, *wspool.Conn) error { panic(broken) }, broken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.cfg.SweepInterval = time.Hour
				checking := false
				w.cfg.Health = checkFunc(func(ctx context.Context, c *wspool.Conn) error {
					if !checking {
						return nil
					}
					checking = false
					return tc.f(ctx, c)
				})
				gone := w.ends()
				p := pool(t, w.cfg)
				c := acquire(t, p)
				id := c.Info().ID
				ask(t, c, "x")
				c.Release()
				time.Sleep(time.Second)
				checking = true
				if tc.name == "tolerated end" {
					time.AfterFunc(time.Second, func() { w.conn(0).Close() })
				}
				c = acquire(t, p)
				if kept := c.Info().ID == id; kept != (tc.cause == nil) {
					t.Errorf("kept: %v", kept)
				}
				ask(t, c, "y")
				c.Release()
				if tc.cause == nil {
					none(t, gone)
					return
				}
				e := next(t, "end", gone)
				var ce *wspool.CloseError
				if !errors.Is(e.cause, tc.cause) && !(errors.As(tc.cause, &ce) && errors.As(e.cause, &ce)) {
					t.Errorf("ended with %v", e.cause)
				}
			})
		})
	}
}

// A caller that gives up while a check runs for it leaves a pending reply, and the
// connection is lent to no other.
func TestCheckAbandoned(t *testing.T) {
	for _, tc := range []struct {
		name  string
		check checkFunc
	}{
		{"caller leaves", exchange},
		{"check leaves", func(ctx context.Context, c *wspool.Conn) error {
			ctx, cancel := context.WithTimeout(ctx, 100*ms)
			defer cancel()
			return errors.Join(exchange(ctx, c), resource.ErrTolerated)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				peer := listenMem(t, 64<<10, onEach(func(ws *websocket.Conn, kind int, p []byte) {
					time.Sleep(time.Second)
					ws.WriteMessage(kind, p)
				}))
				checking := false
				peer.cfg.Health = checkFunc(func(ctx context.Context, c *wspool.Conn) error {
					if !checking {
						return nil
					}
					checking = false
					return tc.check(ctx, c)
				})
				peer.cfg.SweepInterval = time.Hour
				p := pool(t, peer.cfg)
				use(t, p)
				checking = true
				ctx, cancel := context.WithTimeout(t.Context(), 500*ms)
				defer cancel()
				c, err := p.Acquire(ctx)
				if err != nil {
					c = acquire(t, p)
				}
				if checking || c.Reused() {
					t.Errorf("checked: %v, lent again: %v", !checking, c.Reused())
				}
				ask(t, c, "y")
				c.Release()
			})
		})
	}
}

// tally counts how leases ended.
type tally struct{ ok, failed atomic.Int64 }

// work leases again and again until the time is over, each with 500 ms to get a
// connection and an answer.
func (n *tally) work(t *testing.T, p *wspool.Pool, until time.Time) {
	for time.Now().Before(until) {
		ctx, cancel := context.WithTimeout(t.Context(), 500*ms)
		if err := p.Do(ctx, question); err != nil {
			n.failed.Add(1)
		} else {
			n.ok.Add(1)
		}
		cancel()
		time.Sleep(20 * ms) // the pace of a caller
	}
}

// Half of the peers vanish and one connection is reset, so that all are suspected.
// Callers with short deadlines are served by live connections, and no vanished one
// is lent.
func TestVetting_Suspects(t *testing.T) {
	for name, set := range map[string]func(*wspool.Config){"": func(*wspool.Config) {}, "opaque": opaque} {
		for _, room := range []int{0, 1} {
			t.Run(fmt.Sprint(name, room), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := witnesses(t)
					w.cfg.MaxSize = 8
					w.cfg.Redial = atOnce
					set(&w.cfg)
					gone := w.ends()
					p := pool(t, w.cfg)
					idle(t, p, 8)
					time.Sleep(time.Second)
					for i := range 4 {
						w.vanish(7 - i) // the newest
					}
					err := p.Do(t.Context(), func(ctx context.Context, c *wspool.Conn) error {
						w.vanish(-1) // no peer has to answer before the suspicion
						defer w.appear()
						write(t, c, "die")
						_, _, err := c.ReadMessage(ctx)
						return err
					})
					if !errors.Is(err, wspool.ErrStale) {
						t.Fatalf("Do: %v", err)
					}
					next(t, "end", gone)
					if err := p.Resize(7 + room); err != nil {
						t.Fatal(err)
					}
					began := w.now()
					var n tally
					var workers sync.WaitGroup
					for range 4 {
						workers.Go(func() { n.work(t, p, time.Now().Add(9*time.Second)) })
					}
					workers.Wait()
					if ok := n.ok.Load(); n.failed.Load() > 0 || ok < 4*9*40 {
						t.Errorf("%d ok, %d failed", ok, n.failed.Load())
					}
					time.Sleep(2 * time.Second)
					for range 3 { // the leased one had vanished too
						if e := next(t, "end", gone); !errors.Is(e.cause, wspool.ErrSilent) || e.at-began > 10*time.Second {
							t.Errorf("connection %d ended at %v with %v", e.id, e.at-began, e.cause)
						}
					}
				})
			})
		}
	}
}

// A connection with an incomplete frame keeps no caller from another connection, or
// from a dial, however its peer goes on; it has 2 s for the rest, counted from the
// arrival of the part, and not for each caller.
func TestVetting_TornFrame(t *testing.T) {
	for name, set := range map[string]func(*wspool.Config){"": func(*wspool.Config) {}, "opaque": opaque} {
		for _, size := range []int{1, 4} {
			for _, trickle := range []bool{false, true} {
				t.Run(fmt.Sprint(name, size, trickle), func(t *testing.T) {
					bubble(t, func(t *testing.T) {
						w := witnesses(t)
						w.cfg.MaxSize = size
						set(&w.cfg)
						gone := w.ends()
						p := pool(t, w.cfg)
						idle(t, p, size)
						if size == 1 {
							if err := p.Resize(2); err != nil {
								t.Fatal(err)
							}
						}
						time.Sleep(time.Second)
						torn := w.now()
						w.send(size-1, []byte{0x89, 0x32, 'x'})
						synctest.Wait() // on a net.Conn of another type it is known when it was read
						over := make(chan struct{})
						var trickles sync.WaitGroup
						ws := w.conn(size - 1)
						if trickle {
							trickles.Go(func() {
								for {
									select {
									case <-over:
										return
									case <-time.After(100 * ms):
										ws.NetConn().Write([]byte{'x'})
									}
								}
							})
						}
						var n tally
						tried, got := 0, 0
						for until := time.Now().Add(5 * time.Second); time.Now().Before(until); {
							n.work(t, p, time.Now().Add(20*ms))
							tried++
							if c, ok := p.TryAcquire(); ok {
								got++
								c.Release()
							}
							time.Sleep(50 * ms)
						}
						if ok := n.ok.Load(); n.failed.Load() > 0 || ok < 50 || got < tried {
							t.Errorf("%d ok, %d failed; TryAcquire: %d of %d", ok, n.failed.Load(), got, tried)
						}
						e := next(t, "end", gone)
						at(t, "the connection ended", e.at, torn+2*time.Second)
						close(over)
						trickles.Wait()
						none(t, gone)
					})
				})
			}
		}
	}
}

// A caller that has come for a torn connection when its time was over already finds
// it destroyed within 10 ms; one whose rest comes in time is lent as it was.
func TestVetting_TornLong(t *testing.T) {
	for _, rest := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			w := witnesses(t)
			w.cfg.KeepAlive = time.Hour // a pong in the midst of the frame would break the protocol
			gone := w.ends()
			p := pool(t, w.cfg)
			idle(t, p, 1)
			time.Sleep(time.Second)
			w.send(0, []byte{0x89, 2, 'x'})
			time.Sleep(time.Minute)
			if rest {
				w.send(0, []byte{'y'})
				none(t, gone)
				use(t, p)
				if pongs := w.saw("pong xy"); len(pongs) != 1 {
					t.Errorf("pongs at %v", pongs)
				}
				if s := p.Stats(); s.Made != 1 {
					t.Errorf("%v", s)
				}
				return
			}
			came := w.now()
			use(t, p)
			if e := next(t, "end", gone); e.at-came > 20*ms {
				t.Errorf("it ended after %v", e.at-came)
			}
		})
	}
}

// A caller with NoWait gives a suspect 10 ms to answer.
func TestVetting_NoWait(t *testing.T) {
	for _, tc := range []struct {
		delay time.Duration
		lent  bool
	}{{0, true}, {9 * ms, true}, {11 * ms, false}} {
		for name, try := range map[string]func(p *wspool.Pool) (*wspool.Conn, bool){
			"TryAcquire": (*wspool.Pool).TryAcquire,
			"NoWait": func(p *wspool.Pool) (*wspool.Conn, bool) {
				c, err := p.AcquireWith(context.Background(), resource.Request{NoWait: true})
				if err != nil && !errors.Is(err, resource.ErrNoneIdle) {
					t.Error(err)
				}
				return c, err == nil
			},
		} {
			t.Run(fmt.Sprint(name, tc.delay), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := witnesses(t)
					w.delay = tc.delay
					w.cfg.MaxSize = 2
					p := pool(t, w.cfg)
					idle(t, p, 2)
					time.Sleep(time.Second)
					c := acquire(t, p)
					write(t, c, "die")
					if _, _, err := c.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrStale) {
						t.Fatal(err)
					}
					c.Release()
					synctest.Wait()
					began := w.now()
					c, ok := try(p)
					if ok != tc.lent {
						t.Errorf("lent: %v", ok)
					}
					at(t, "it returned", w.now()-began, min(tc.delay, 10*ms))
					if ok {
						c.Release()
					}
				})
			})
		}
	}
}

// The same on sockets, with TLS and without: the newest of four idle connections
// has half a ping, and every caller is served by the others.
func TestVetting_TornFrameOnSockets(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("tls ", secure), func(t *testing.T) {
			var mu sync.Mutex
			var conns []*websocket.Conn
			peer := listen(t, secure, func(ws *websocket.Conn) {
				mu.Lock()
				conns = append(conns, ws)
				mu.Unlock()
				echo(ws)
			})
			p := pool(t, peer.cfg)
			idle(t, p, 4)
			mu.Lock()
			for _, ws := range conns[1:] { // more than one is torn, since the order of the idle list is not known
				ws.NetConn().Write([]byte{0x89, 0x32, 'x'})
			}
			mu.Unlock()
			for i := range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), 1900*ms) // less than a torn one has
				if err := p.Do(ctx, question); err != nil {
					t.Errorf("call %d: %v", i, err)
				}
				cancel()
			}
			p.CloseNow() // behind half a ping no close frame can be read
		})
	}
}
