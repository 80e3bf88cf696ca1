package wspool_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// The server accepts the first connection and never answers its handshake: the
// first caller's time ends, and those that come after it are served by other
// dials, over real sockets.
func TestDial_FirstHandshakeHangs(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	peer := listen(t, false, echo)
	cfg := peer.cfg
	cfg.MaxSize = 8
	var dials atomic.Int64
	cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			addr = silent.Addr().String()
		}
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
	p := pool(t, cfg)
	const callers, wait = 14, 500 * time.Millisecond
	failed := 0
	for i := range callers {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		c, err := p.Acquire(ctx)
		if err == nil {
			ask(t, c, "hello")
			c.Release()
		} else if failed++; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("caller %d: %v", i, err)
		}
		cancel()
	}
	// A second, as no dial has succeeded yet, is the time of two callers.
	if failed > 2 || dials.Load() != 2 {
		t.Errorf("%d of %d callers failed, %d dials", failed, callers, dials.Load())
	}
	if s := p.Stats(); s.Outage {
		t.Errorf("an outage: %v", s)
	}
}
