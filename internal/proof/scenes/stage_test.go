package scenes_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/relay"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// stage is the environment of a scene: a pool of n connections and its server, with a relay
// between them if the network is part of the scene.
type stage struct {
	t       *testing.T
	n       int
	cfg     wspool.Config
	pool    *wspool.Pool
	server  *server
	relay   *relay.Relay // nil: none
	numbers atomic.Uint64
	gone    chan end

	mu     sync.Mutex
	dialed []*net.TCPConn
}

// end is a connection that was removed from the pool.
type end struct {
	id    uint64
	at    time.Time // when its close began
	cause error
}

// build returns a stage without a pool.
func build(t *testing.T, n int, secure, relayed bool) *stage {
	t.Helper()
	g := &stage{t: t, n: n, gone: make(chan end, 10_000)}
	var addr string
	g.server, g.cfg, addr = listen(t, secure)
	if relayed {
		r, err := relay.New(addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		g.relay = r
		g.cfg.URL = strings.Replace(g.cfg.URL, addr, r.Addr(), 1)
	}
	g.cfg.MaxSize = n
	g.cfg.NetDial = g.dial
	g.cfg.Trace = &resource.Trace{Destroyed: func(e resource.DestroyEvent) {
		g.gone <- end{e.Info.ID, time.Now().Add(-e.Took), e.Cause}
	}}
	return g
}

// dial dials and records the connection.
func (g *stage) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dialed = append(g.dialed, c.(*net.TCPConn))
	return c, nil
}

// raise creates the pool and its connections.
func (g *stage) raise() {
	g.t.Helper()
	p, err := wspool.New(g.cfg)
	if err != nil {
		g.t.Fatal(err)
	}
	g.pool = p
	g.t.Cleanup(func() { // if the scene ended early
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			g.t.Errorf("Close: %v", err)
		}
	})
}

// warm dials all connections and sends a hello on each. When it returns they are idle and
// watched.
func (g *stage) warm() {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := g.pool.Warm(ctx, g.n); err != nil {
		g.t.Fatal(err)
	}
	g.each(func(ctx context.Context, c *wspool.Conn) error { return ask(ctx, c, request(hello, c.Info().ID)) })
	until(g.t, "all are watched", func() bool { return g.pool.Stats().Unwatched == 0 })
}

// each takes as many concurrent leases as there are connections, and calls f with each once
// all were acquired. A failed acquire or call fails the test.
func (g *stage) each(f func(context.Context, *wspool.Conn) error) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var there, all sync.WaitGroup
	there.Add(g.n)
	errs := make(chan error, g.n)
	for range g.n {
		all.Go(func() {
			c, err := g.pool.Acquire(ctx)
			there.Done()
			if err != nil {
				errs <- fmt.Errorf("acquire: %w", err)
				return
			}
			there.Wait()
			if err = f(ctx, c); err != nil {
				errs <- err
			}
			c.Release()
		})
	}
	all.Wait()
	close(errs)
	failed := len(errs)
	for err := range errs {
		g.t.Errorf("%d of %d leases failed: %v", failed, g.n, err)
		break
	}
}

// check leases as many connections as there were, with one request each.
func (g *stage) check() {
	g.t.Helper()
	g.each(g.exchange)
}

// exchange sends a unique request and checks the reply.
func (g *stage) exchange(ctx context.Context, c *wspool.Conn) error {
	return ask(ctx, c, request(plain, g.numbers.Add(1)))
}

// ask writes a request and checks that the reply equals it.
func ask(ctx context.Context, c *wspool.Conn, what string) error {
	if err := c.WriteMessage(ctx, websocket.TextMessage, []byte(what)); err != nil {
		return err
	}
	return answered(ctx, c, what)
}

func answered(ctx context.Context, c *wspool.Conn, what string) error {
	_, p, err := c.ReadMessage(ctx)
	if err == nil && string(p) != what {
		err = fmt.Errorf("WRONG: asked %.80q, got %.80q", what, p)
	}
	return err
}

// victims records the current connections. The returned function waits until all of them
// were removed from the pool with the right cause, and returns the time from the event to
// the removal for each.
func (g *stage) victims() (detected func(is func(error) bool) []time.Duration) {
	all := map[uint64]*session{}
	for _, x := range g.server.snapshot() {
		all[x.id.Load()] = x
	}
	return func(is func(error) bool) (took []time.Duration) {
		g.t.Helper()
		patient := time.After(patience)
		for range g.n {
			select {
			case e := <-g.gone:
				x := all[e.id]
				if x == nil || !is(e.cause) {
					g.t.Fatalf("%d was destroyed with %v", e.id, e.cause)
				}
				took = append(took, e.at.Sub(time.Unix(0, x.struck.Load())))
			case <-patient:
				g.t.Fatalf("%d of %d were detected: %v", len(took), g.n, g.pool.Stats())
			}
		}
		return took
	}
}

// strike calls f for every connection, one after another.
func (g *stage) strike(do func(*session)) (detected func(is func(error) bool) []time.Duration) {
	detected = g.victims()
	for _, x := range g.server.snapshot() {
		x.strike(do)
	}
	return detected
}

// finish closes the pool and checks that nothing is left on any side. It first ends the
// faults of the relay: the server cannot detect that the client has left otherwise.
func (g *stage) finish() {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := g.pool.Close(ctx); err != nil {
		g.t.Errorf("Close: %v", err)
	}
	if s := g.pool.Stats(); s.Made != s.Destroyed || s.Idle+s.Leased+s.Making+s.Destroying != 0 {
		g.t.Errorf("after Close: %v", s)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.dialed {
		if err := c.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
			g.t.Errorf("a connection of %d was not closed", len(g.dialed))
		}
	}
	if g.relay != nil {
		for _, c := range g.relay.Conns() {
			c.Close()
		}
		until(g.t, "the relay has no connection", func() bool { return len(g.relay.Conns()) == 0 })
	}
	until(g.t, "the server has no connection", func() bool { return g.server.open.Load() == 0 })
}
