package scenes_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
)

// scene is an event that happens to idle, watched connections.
type scene struct {
	name    string
	relayed bool
	change  func(*wspool.Config)           // nil: none
	play    func(g *stage) []time.Duration // returns the times until detection; nil: the connections are healthy
}

// quiet is how long healthy connections stay idle.
const quiet = 500 * time.Millisecond

// briskly shortens the detection of silence, and leaves a busy machine the time to reply.
func briskly(cfg *wspool.Config) {
	cfg.KeepAlive, cfg.PongWait = 200*time.Millisecond, 2*time.Second
}

var idleScenes = []scene{
	{name: "quiet", change: briskly, play: func(g *stage) []time.Duration {
		time.Sleep(quiet) // the scene is that nothing happens; no event ends it
		return nil
	}},
	{name: "a few pings", play: func(g *stage) []time.Duration {
		for i := range 7 {
			for _, x := range g.server.snapshot() {
				_ = x.ws.WriteControl(websocket.PingMessage, []byte{byte(i)}, time.Now().Add(patience))
			}
			time.Sleep(quiet / 7) // the interval of the server
		}
		return nil
	}},
	{name: "pongs demanded", play: func(g *stage) []time.Duration {
		stop := g.server.demand()
		time.Sleep(2 * quiet) // the time during which the server demands pongs
		if ended := stop(); ended > 0 {
			g.t.Errorf("%d did not answer a ping in time", ended)
		}
		return nil
	}},
	{name: "close 1001, TCP open", play: func(g *stage) []time.Duration {
		return g.strike(func(x *session) {
			x.stays.Store(true)
			x.write(goingAway())
		})(closed(1001))
	}},
	{name: "close 1001 and FIN", play: func(g *stage) []time.Duration {
		return g.strike(func(x *session) {
			x.write(goingAway())
			_ = x.tcp().CloseWrite()
		})(closed(1001))
	}},
	{name: "close 1001 and FIN, one by one", play: func(g *stage) []time.Duration {
		ended := int64(0)
		return g.strike(func(x *session) {
			x.write(goingAway())
			_ = x.tcp().CloseWrite()
			ended++
			until(g.t, "it is found out", func() bool { return g.pool.Stats().Invalidated == ended })
		})(closed(1001))
	}},
	{name: "FIN", play: func(g *stage) []time.Duration {
		return g.strike(func(x *session) { _ = x.tcp().CloseWrite() })(closed(1006))
	}},
	{name: "RST", play: func(g *stage) []time.Duration {
		return g.strike(func(x *session) {
			_ = x.tcp().SetLinger(0)
			_ = x.tcp().Close()
		})(wasReset)
	}},
	{name: "black hole", relayed: true, change: briskly, play: func(g *stage) []time.Duration {
		for _, c := range g.relay.Conns() {
			c.BlackHole()
		}
		return g.strike(func(*session) {})(is(wspool.ErrSilent))
	}},
	{name: "late reply", play: func(g *stage) []time.Duration {
		detected := g.victims()
		wait, abandon := context.WithCancel(context.Background())
		var asking sync.WaitGroup
		asking.Add(g.n)
		go func() { // after all requests
			var all []*session
			for range g.n {
				all = append(all, <-g.server.holding)
			}
			for _, x := range all {
				x.strike(func(*session) {})
			}
			abandon()
			asking.Wait()
			for _, x := range all {
				x.answerHeld()
			}
		}()
		g.each(func(ctx context.Context, c *wspool.Conn) error {
			defer asking.Done()
			if err := ask(wait, c, request(held, g.numbers.Add(1))); !errors.Is(err, context.Canceled) {
				return errors.Join(errors.New("a read that was cancelled"), err)
			}
			return nil
		})
		g.check() // callers that arrive before the detection are served too
		return detected(is(wspool.ErrUnread))
	}},
	{name: "a second reply", play: func(g *stage) []time.Duration {
		return g.strike(func(x *session) { x.write(frame(websocket.TextMessage, request(plain, 1))) })(is(wspool.ErrUnsolicited))
	}},
	{name: "close behind a reply", play: func(g *stage) []time.Duration {
		detected := g.victims()
		g.each(func(ctx context.Context, c *wspool.Conn) error {
			return ask(ctx, c, request(bye, g.numbers.Add(1)))
		})
		return detected(closed(1001))
	}},
}

// Events on idle connections are detected without a lease, no lease fails because of them,
// and healthy connections are not closed.
func TestIdle(t *testing.T) {
	for _, s := range idleScenes {
		for _, scheme := range []string{"ws", "wss"} {
			t.Run(s.name+"/"+scheme, func(t *testing.T) {
				g := build(t, size(), scheme == "wss", s.relayed)
				if s.change != nil {
					s.change(&g.cfg)
				}
				g.raise()
				g.warm()
				took := s.play(g)
				g.check()
				want := int64(g.n)
				if took != nil {
					want *= 2
					t.Logf("found out: %s", spread(took))
				}
				if s := g.pool.Stats(); s.Made != want || s.Destroyed != want-int64(g.n) || s.Failed != 0 || s.Stale != 0 {
					t.Errorf("%v, want %d made", s, want)
				}
				g.finish()
			})
		}
	}
}
