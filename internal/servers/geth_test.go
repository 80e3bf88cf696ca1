package servers

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
)

// geth is go-ethereum's JSON-RPC server. It has no way to list its clients or their close codes:
// a client is here as long as it is served.
type geth struct {
	clientList[net.Conn]
	l   net.Listener
	s   http.Server
	rpc *rpc.Server
}

func startGeth(addr string) (library, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	g := &geth{l: l, rpc: rpc.NewServer()}
	if err := g.rpc.RegisterName("eth", &gethMethods{holding: make(chan struct{})}); err != nil {
		return nil, err
	}
	serve := g.rpc.WebsocketHandler([]string{"*"})
	type key struct{}
	g.s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, key{}, c)
	}
	g.s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(key{}).(net.Conn)
		g.arrive(c)
		serve.ServeHTTP(w, r) // until the connection ends
		g.leave(c, 0)
	})
	go g.s.Serve(l)
	return g, nil
}

func (g *geth) addr() string { return g.l.Addr().String() }

func (g *geth) stop() {
	g.s.Close()
	g.each(func(c net.Conn) { c.Close() })
	untilEmpty(g)
}

// drain is what the library has: it takes no more requests, waits for those that it has, and
// closes the connections without a close frame.
func (g *geth) drain() {
	g.s.Close()
	g.rpc.Stop()
}

// gethMethods are the methods of the server: eth_say, eth_fail and so on.
type gethMethods struct {
	mu      sync.Mutex
	held    int
	holding chan struct{} // closed by Open
	ticking int
}

func (m *gethMethods) Say(text string) string { return text }

func (m *gethMethods) Fail() error { return errors.New("asked to") }

// Hold returns text when Open is called.
func (m *gethMethods) Hold(text string) string {
	m.mu.Lock()
	m.held++
	holding := m.holding
	m.mu.Unlock()
	<-holding
	return text
}

func (m *gethMethods) Held() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held
}

func (m *gethMethods) Open() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.held
	m.held = 0
	close(m.holding)
	m.holding = make(chan struct{})
	return n
}

// tick is one notification of the subscription Ticks.
type tick struct {
	Name string `json:"name"`
	N    int    `json:"n"` // from 1
}

// Ticks counts for its subscriber.
func (m *gethMethods) Ticks(ctx context.Context, name string) (*rpc.Subscription, error) {
	notifier, ok := rpc.NotifierFromContext(ctx)
	if !ok {
		return nil, rpc.ErrNotificationsUnsupported
	}
	if name == "" {
		return nil, errors.New("no name")
	}
	sub := notifier.CreateSubscription()
	m.tick(+1)
	go func() {
		defer m.tick(-1)
		every := time.NewTicker(2 * time.Millisecond)
		defer every.Stop()
		for n := 1; ; n++ {
			select {
			case <-every.C:
				if notifier.Notify(sub.ID, tick{name, n}) != nil {
					return
				}
			case <-sub.Err():
				return
			}
		}
	}()
	return sub, nil
}

func (m *gethMethods) tick(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ticking += n
}

// Ticking is the number of subscriptions.
func (m *gethMethods) Ticking() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ticking
}
