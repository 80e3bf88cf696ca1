package wspool_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// deaf is a peer that reads nothing until told.
func deaf(until <-chan struct{}) func(*websocket.Conn) {
	return func(ws *websocket.Conn) { <-until; drain(ws) }
}

// A write that the peer does not take ends with its context or its timeout, at
// that instant, and the connection with the lease.
func TestWriteBrokenOff(t *testing.T) {
	for _, tc := range []struct {
		name string
		ctx  func(context.Context) (context.Context, context.CancelFunc)
		took time.Duration
		is   func(error) bool
	}{
		{"canceled", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, time.Second, func(err error) bool { return errors.Is(err, context.Canceled) }},
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 2*time.Second)
		}, 2 * time.Second, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{"timeout", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Minute)
		}, 3 * time.Second, func(err error) bool {
			var ne net.Error
			return errors.As(err, &ne) && ne.Timeout() && !errors.Is(err, context.DeadlineExceeded)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				until := make(chan struct{})
				defer close(until)
				peer := listenMem(t, 4096, deaf(until))
				peer.cfg.WriteTimeout = 3 * time.Second
				gone := ends(&peer.cfg)
				p := pool(t, peer.cfg)
				c := acquire(t, p)
				ctx, cancel := tc.ctx(t.Context())
				defer cancel()
				start := time.Now()
				err := c.WriteMessage(ctx, websocket.BinaryMessage, make([]byte, 1<<20))
				took, late := time.Since(start), time.Duration(0)
				if tc.name == "timeout" { // that the network took the first bytes is seen after a part of it
					late = peer.cfg.WriteTimeout / 8
				}
				if !tc.is(err) || took < tc.took || took > tc.took+late {
					t.Errorf("%v after %v; want that after %v", err, took, tc.took)
				}
				start = time.Now()
				if err := c.WriteMessage(t.Context(), websocket.TextMessage, nil); err == nil {
					t.Error("wrote behind half a message")
				}
				c.Release()
				e := next(t, "end", gone)
				if !errors.Is(e.Cause, wspool.ErrUnfinished) {
					t.Errorf("destroyed with %v", e.Cause)
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("it took %v to destroy what cannot be closed politely", took)
				}
			})
		})
	}
}

// pausing is a net.Conn that calls between after its third write and goes on
// when a deadline in the past has been set.
type pausing struct {
	net.Conn
	between func()
	writes  int
	severed chan struct{}
	once    sync.Once
}

func (c *pausing) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.writes++; c.writes == 3 {
		c.between()
		<-c.severed
	}
	return n, err
}

func (c *pausing) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		c.once.Do(func() { close(c.severed) })
	}
	return c.Conn.SetWriteDeadline(t)
}

// gorilla sets a deadline anew for each frame of a message. A cancellation
// between two frames is not lost.
func TestWriteCanceledBetweenFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := listenMem(t, 4096, drainAll)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		dial := peer.cfg.NetDial
		peer.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			return &pausing{Conn: c, between: cancel, severed: make(chan struct{})}, err
		}
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		if err := c.WriteMessage(ctx, websocket.BinaryMessage, make([]byte, 1<<20)); !errors.Is(err, context.Canceled) {
			t.Errorf("WriteMessage: %v", err)
		}
		c.Release()
	})
}

// A lease that ends during a write frees the writer at once.
func TestReleaseWakesWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := make(chan struct{})
		defer close(until)
		peer := listenMem(t, 4096, deaf(until))
		gone := ends(&peer.cfg)
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		errs := make(chan error)
		start := time.Now()
		for range 2 { // one writes, one waits for its turn
			go func() { errs <- c.WriteMessage(t.Context(), websocket.BinaryMessage, make([]byte, 1<<20)) }()
		}
		synctest.Wait()
		c.Release()
		for range 2 {
			if err := next(t, "return", errs); !errors.Is(err, wspool.ErrReleased) {
				t.Errorf("WriteMessage: %v", err)
			}
		}
		if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrUnfinished) {
			t.Errorf("destroyed with %v", e.Cause)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}

// A writer that waits for its turn leaves with its context, and nothing is
// wrong with the connection for that.
func TestWriteTurnCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := make(chan struct{})
		peer := listenMem(t, 4096, deaf(until))
		peer.cfg.Exchange = wspool.Unpaired
		p := pool(t, peer.cfg)
		c := acquire(t, p)
		first := make(chan error)
		go func() { first <- c.WriteMessage(t.Context(), websocket.BinaryMessage, make([]byte, 1<<20)) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.WriteMessage(ctx, websocket.TextMessage, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WriteMessage: %v", err)
		}
		close(until)
		if err := next(t, "return", first); err != nil {
			t.Errorf("the write that had the turn: %v", err)
		}
		c.Release()
		if s := p.Stats(); s.Idle != 1 {
			t.Errorf("%d idle, want 1", s.Idle)
		}
	})
}

// A pong that the network does not take is the end of the connection, and its
// cause says so.
func TestPongFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := make(chan struct{})
		defer close(until)
		peer := listenMem(t, 1<<10, func(ws *websocket.Conn) {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
			for range 20 { // the pongs to these do not fit into the network
				time.Sleep(time.Millisecond) // or the last alone is answered
				if ws.WriteControl(websocket.PingMessage, make([]byte, 125), time.Time{}) != nil {
					return
				}
			}
			<-until
		})
		peer.cfg.WriteTimeout = 4 * time.Second
		gone := ends(&peer.cfg)
		c := acquire(t, pool(t, peer.cfg))
		write(t, c, "go")
		start := time.Now()
		_, _, err := c.ReadMessage(t.Context())
		if took := time.Since(start); err == nil || took < 4*time.Second || took > 5*time.Second {
			t.Errorf("ReadMessage: %v after %v, want the end after the WriteTimeout", err, took)
		}
		c.Release()
		e := next(t, "end", gone)
		var ne net.Error
		if !errors.As(e.Cause, &ne) || !ne.Timeout() || !strings.Contains(e.Cause.Error(), "ping") {
			t.Errorf("destroyed with %v", e.Cause)
		}
	})
}

// A write to a connection that the peer closes just then tells of the close.
func TestWriteToClosed(t *testing.T) {
	peer := listen(t, false, func(ws *websocket.Conn) {
		if _, _, err := ws.ReadMessage(); err == nil {
			ws.NetConn().Write(frame(websocket.CloseMessage, string(websocket.FormatCloseMessage(1008, "no"))))
		}
	})
	peer.cfg.Exchange = wspool.Unpaired
	p := pool(t, peer.cfg)
	c := acquire(t, p)
	for {
		err := c.WriteMessage(t.Context(), websocket.BinaryMessage, make([]byte, 1<<16))
		if err == nil {
			continue
		}
		var ce *wspool.CloseError
		if !errors.As(err, &ce) || ce.Code != 1008 {
			t.Errorf("WriteMessage: %v", err)
		}
		break
	}
	c.Release()
}
