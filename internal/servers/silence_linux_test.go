package servers

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/respool/respool/wspool"
)

// Peers that become silent: a stopped process, a proxy with an idle timeout, a network that
// drops packets.

const (
	shortKeepAlive = 300 * time.Millisecond
	shortPongWait  = 2 * time.Second
)

// TestFrozen stops (SIGSTOP) the processes of a server, or of the proxy before it, under
// load. Callers get an error within KeepAlive, PongWait and DialTimeout, and are served again
// after it continues; its late replies reach no caller.
func TestFrozen(t *testing.T) {
	t.Parallel()
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		s := own("coder")(t, "127.0.0.1:0").(*process)
		freeze(t, s.address(), func(sig syscall.Signal) error { return s.cmd.Process.Signal(sig) })
		s.empty(t)
	})
	for name, p := range proxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, at := behind(t)
			d := p.start(t, "127.0.0.1:0", proxyOptions{behind: at, idle: proxyIdle})
			freeze(t, d.address(), func(sig syscall.Signal) error { return syscall.Kill(-d.cmd.Process.Pid, sig) })
			awaitEmpty(t, d.address())
		})
	}
}

func freeze(t *testing.T, addr string, send func(syscall.Signal) error) {
	l := &load{ask: askEcho, callers: crowd, rounds: crowdRounds, anyFailure: true}
	l.phase.Store(failing) // on a busy machine a reply may take as long
	l.begin(t, wspool.Config{
		URL: "ws://" + addr + "/", MaxSize: crowdPool,
		KeepAlive: shortKeepAlive, PongWait: shortPongWait, DialTimeout: shortPongWait,
	})
	l.await("callers are not served", &l.warm)
	told := l.lost.Load() + l.noConn.Load()
	if err := send(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	l.until("silence is not found", func() bool { return l.pool.Stats().Silent > 0 })
	l.until("not every caller is told", func() bool { return l.lost.Load()+l.noConn.Load() >= told+crowd })
	l.awaitRefused()
	t.Logf("found and told in %v", time.Since(began).Round(time.Millisecond))
	if err := send(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	l.finish("")
}

// TestProxyIdle uses a proxy with a short idle timeout. With a shorter KeepAlive no
// connection is closed, idle or waiting for a slow reply; without KeepAlive idle
// connections are closed, and none of those is lent.
func TestProxyIdle(t *testing.T) {
	t.Parallel()
	for name, p := range proxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slow := startSlow(t)
			outlast(t, p, slow, wspool.Config{KeepAlive: shortKeepAlive})
		})
	}
}

// outlast runs TestProxyIdle with cfg.
func outlast(t *testing.T, p proxy, slow *slowServer, cfg wspool.Config) {
	const conns = 4
	d := p.start(t, "127.0.0.1:0", proxyOptions{behind: []string{slow.address()}, idle: 3 * time.Second})
	cfg.URL, cfg.MaxSize = "ws://"+d.address()+"/", conns
	kept := newPool(t, cfg)
	cfg.KeepAlive = -1
	cut := newPool(t, cfg)

	answered := make(chan error, 1)
	useAll(t, kept, conns)
	waiting := acquire(t, kept)
	go func() { answered <- askHeld(t.Context(), waiting) }()
	slow.awaitHeld(t)
	warm(t, cut, conns) // they are closed unused, which is no failed dial

	until(t, "idle connections are not cut", func() bool { return cut.Stats().Destroyed >= conns })
	// By now all of them have been idle for longer, except for pings.
	slow.answer()
	if err := <-answered; err != nil {
		t.Errorf("a slow answer: %v", err)
	}
	waiting.Release()
	for _, pool := range []*wspool.Pool{kept, cut} {
		useAll(t, pool, conns)
	}
	if s := kept.Stats(); s.Made != conns || s.Destroyed != 0 {
		t.Errorf("kept: %v", s)
	}
	closePool(t, kept)
	closePool(t, cut)
}

// TestPartition drops every packet between the client and the server. Connections, idle and
// waiting for a reply, are found dead within KeepAlive and PongWait; when packets pass again
// callers are served.
//
// The network is a pair of interfaces with the server in a separate namespace if that is
// permitted, and otherwise a relay that becomes a black hole.
func TestPartition(t *testing.T) {
	t.Parallel()
	const conns = 8
	n := newNetwork(t)
	pool := newPool(t, wspool.Config{
		URL: "ws://" + n.address() + "/", MaxSize: conns, KeepAlive: shortKeepAlive, PongWait: shortPongWait,
		DialTimeout: shortPongWait,
	})
	warm(t, pool, conns)
	var waiting []*wspool.Conn
	for range conns / 2 {
		waiting = append(waiting, acquire(t, pool))
	}
	n.cut(t)
	began := time.Now()
	for i, c := range waiting {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := askEcho(ctx, c, int64(i))
		cancel()
		if !errors.Is(err, wspool.ErrSilent) {
			t.Errorf("asked across the cut: %v, want %v", err, wspool.ErrSilent)
		}
		c.Fail(err)
	}
	until(t, "dead connections stay", func() bool { return pool.Stats().Silent >= conns })
	took := time.Since(began)
	t.Logf("all %d found in %v", conns, took.Round(time.Millisecond))
	if most := shortKeepAlive + shortPongWait + patience; took > most {
		t.Errorf("found after %v, want at most %v", took, most)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if c, err := pool.Acquire(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("a caller during the cut: %v, %v; want to be told in time", c, err)
	}
	n.heal(t)
	for id := range int64(conns) {
		until(t, "no caller is served again", func() bool {
			return pool.Do(t.Context(), func(ctx context.Context, c *wspool.Conn) error { return askEcho(ctx, c, id) }) == nil
		})
	}
	closePool(t, pool)
}
