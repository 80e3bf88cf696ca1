package scenes_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// schemes runs a scene over ws and wss.
func schemes(t *testing.T, relayed bool, play func(t *testing.T, g *stage)) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) { play(t, build(t, size(), scheme == "wss", relayed)) })
	}
}

// A server that demands pongs within 350 ms gets them while leases do nothing for 2 s,
// before and after their first exchange.
func TestLeasedThinking(t *testing.T) {
	schemes(t, false, func(t *testing.T, g *stage) {
		g.raise()
		g.warm()
		stop := g.server.demand()
		var turns atomic.Int64
		g.each(func(ctx context.Context, c *wspool.Conn) error {
			if turns.Add(1)%2 == 0 {
				if err := g.exchange(ctx, c); err != nil {
					return err
				}
			}
			time.Sleep(2 * time.Second) // the scene is that the lease does nothing
			return g.exchange(ctx, c)
		})
		g.check()
		if ended := stop(); ended > 0 {
			t.Errorf("%d did not answer a ping in time", ended)
		}
		if s := g.pool.Stats(); s.Made != int64(g.n) || s.Destroyed+s.Failed != 0 {
			t.Errorf("%v", s)
		}
		g.finish()
	})
}

// A network that goes silent during a lease is detected, whether the lease waits for a reply
// or does nothing.
func TestLeasedHalfOpen(t *testing.T) {
	schemes(t, true, func(t *testing.T, g *stage) {
		briskly(&g.cfg)
		g.raise()
		g.warm()
		var struck atomic.Int64
		go func() { // when half of the leases wait
			for range g.n / 2 {
				<-g.server.holding
			}
			struck.Store(time.Now().UnixNano())
			for _, c := range g.relay.Conns() {
				c.BlackHole()
			}
		}()
		var mu sync.Mutex
		var took []time.Duration
		var turns atomic.Int64
		g.each(func(ctx context.Context, c *wspool.Conn) error {
			var err error
			if turns.Add(1)%2 == 0 {
				err = ask(ctx, c, request(held, g.numbers.Add(1)))
				mu.Lock()
				took = append(took, time.Since(time.Unix(0, struck.Load())))
				mu.Unlock()
			} else {
				for g.pool.Stats().Silent < int64(g.n) && ctx.Err() == nil {
					time.Sleep(time.Millisecond) // polling interval
				}
				err = g.exchange(ctx, c)
			}
			if !errors.Is(err, wspool.ErrSilent) || !errors.Is(err, wspool.ErrStale) {
				return fmt.Errorf("silent network: %w", errors.Join(err, errors.New("not ErrSilent and ErrStale")))
			}
			return nil
		})
		t.Logf("found out: %s", spread(took))
		g.check()
		if s := g.pool.Stats(); s.Silent != int64(g.n) || s.Stale != int64(g.n) || s.Made != 2*int64(g.n) {
			t.Errorf("%v", s)
		}
		g.finish()
	})
}

// If a server sends a close frame in one segment with its handshake response, the dial fails
// with the close code and no such connection is lent.
//
// A pool without a working connection makes at most 50 attempts at once, so there is one pool
// per 50 connections.
func TestGoodbyeWithHandshake(t *testing.T) {
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			for left := size(); left > 0; left -= 50 {
				testGoodbye(build(t, min(left, 50), scheme == "wss", false))
			}
		})
	}
}

func testGoodbye(g *stage) {
	t := g.t
	var dials atomic.Int64
	var kinder atomic.Bool
	together := make(chan struct{})
	g.server.shaking = func() { // hold all handshakes until all have arrived
		if dials.Add(1) == int64(g.n) {
			close(together)
		}
		select {
		case <-together:
		case <-time.After(patience):
		}
	}
	g.server.farewell = func() bool { return !kinder.Load() }
	g.cfg.MaxDials = g.n
	g.cfg.Outage = resource.KeepWaiting
	g.cfg.DialTimeout = patience
	g.raise()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	warm := make(chan error, 1)
	go func() { warm <- g.pool.Warm(ctx, g.n) }()
	until(t, "all have failed", func() bool { return g.pool.Stats().Failed >= int64(g.n) })
	cancel()
	err := <-warm
	var we *resource.WarmError
	var de *wspool.DialError
	if !errors.As(err, &we) || we.Have != 0 || !closed(websocket.CloseGoingAway)(we.LastMake) ||
		!errors.As(we.LastMake, &de) || de.Phase != "handshake" {
		t.Fatalf("Warm: %v", err)
	}
	kinder.Store(true)
	g.check()
	if s := g.pool.Stats(); s.Made != int64(g.n) || s.Failed < int64(g.n) || s.Destroyed+s.Stale != 0 {
		t.Errorf("%v", s)
	}
	g.finish()
}
