package suite

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// A closer is a server, in this process, that closes the connections it is told
// to, and counts who is shaking hands.
type closer struct {
	upgrader websocket.Upgrader
	takes    time.Duration // a handshake
	server   *localServer
	addr     address

	shaking atomic.Int64 // handshakes under way
	peak    atomic.Int64

	mu    sync.Mutex
	conns []*websocket.Conn // open and not told to close, in the order they came
	all   sync.WaitGroup
}

func openCloser(scheme string, takes time.Duration) (*closer, error) {
	cert, err := selfSigned()
	if err != nil {
		return nil, err
	}
	var secure *tls.Config
	if scheme == "wss" {
		secure = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	c := &closer{takes: takes}
	if c.server, err = listenLocal(c, secure); err != nil {
		return nil, err
	}
	c.addr = address{WS: "ws://" + c.server.addr, WSS: "wss://" + c.server.addr, Cert: cert.Certificate[0]}
	return c, nil
}

func (c *closer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raise(&c.peak, time.Duration(c.shaking.Add(1)))
	err := pause(r.Context(), c.takes)
	var ws *websocket.Conn
	if err == nil {
		ws, err = c.upgrader.Upgrade(w, r, nil)
	}
	c.shaking.Add(-1)
	if err != nil {
		return // the client was told
	}
	c.mu.Lock()
	c.conns = append(c.conns, ws)
	c.all.Add(1)
	c.mu.Unlock()
	defer c.all.Done()
	defer ws.Close()
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
	}
}

// goAway closes the n oldest connections with 1001 and returns when it began.
func (c *closer) goAway(n int) (time.Time, error) {
	c.mu.Lock()
	if n > len(c.conns) {
		c.mu.Unlock()
		return time.Time{}, fmt.Errorf("%d connections are open, not %d", len(c.conns), n)
	}
	those := slices.Clone(c.conns[:n])
	c.conns = c.conns[n:]
	c.mu.Unlock()
	start := time.Now()
	bye := websocket.FormatCloseMessage(websocket.CloseGoingAway, "")
	for _, ws := range those {
		if err := ws.WriteControl(websocket.CloseMessage, bye, start.Add(peer.CloseTime)); err != nil {
			return start, err
		}
	}
	return start, nil
}

// close ends the server, once nobody has a connection to it any more.
func (c *closer) close() error {
	err := c.server.close()
	c.all.Wait()
	return err
}

// withCloser has f measure a pool, which edit configures, against a closer.
func withCloser(scheme string, takes time.Duration, edit func(*wspool.Config), f func(*closer, *wspool.Pool) (sample, error)) (sample, error) {
	c, err := openCloser(scheme, takes)
	if err != nil {
		return nil, err
	}
	p, err := openSockets(c.addr, scheme, edit)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	got, err := f(c, p)
	return got, errors.Join(err, closePool(p), c.close())
}

// idleCloseRow finds for how long a connection is still in the pool when the
// server has closed it: until it has been answered, hung up and destroyed.
func idleCloseRow(name, scheme string) row {
	return row{name, []entrant{{"respool", func(_ context.Context, s size) (session, error) {
		return session{measure: func(ctx context.Context) (sample, error) { return idleClose(ctx, scheme, s) }}, nil
	}}}}
}

// idleClose has the server close one connection after the other.
func idleClose(ctx context.Context, scheme string, s size) (sample, error) {
	gone := make(chan time.Time, s.wsCloses)
	edit := func(c *wspool.Config) {
		c.MaxSize = s.wsCloses
		c.Trace = &resource.Trace{Destroyed: func(resource.DestroyEvent) { gone <- time.Now() }}
	}
	return withCloser(scheme, 0, edit, func(c *closer, p *wspool.Pool) (sample, error) {
		if err := p.Warm(ctx, s.wsCloses); err != nil {
			return nil, err
		}
		if err := pause(ctx, s.wsSettle); err != nil {
			return nil, err
		}
		var took []time.Duration
		for range s.wsCloses {
			start, err := c.goAway(1)
			if err != nil {
				return nil, err
			}
			select {
			case at := <-gone:
				took = append(took, at.Sub(start))
			case <-time.After(peer.CloseTime):
				return nil, fmt.Errorf("a connection that the server closed %v ago is still there", peer.CloseTime)
			}
		}
		slices.Sort(took)
		at := func(share float64) float64 { return millis(took[int(share*float64(len(took)-1))]) }
		return sample{"p50 ms": at(0.5), "p99 ms": at(0.99), "longest ms": at(1)}, nil
	})
}
