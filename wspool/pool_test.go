package wspool_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// Do ends the lease as the function ended.
func TestDo(t *testing.T) {
	mild := errors.New("mild")
	for _, tc := range []struct {
		name string
		f    func(ctx context.Context, c *wspool.Conn) error
		want error
		kept bool
	}{
		{"nil", func(context.Context, *wspool.Conn) error { return nil }, nil, true},
		{"mild error", func(context.Context, *wspool.Conn) error { return mild }, mild, true},
		{"error", func(context.Context, *wspool.Conn) error { return io.ErrNoProgress }, io.ErrNoProgress, false},
		{"mild error, unclean", func(ctx context.Context, c *wspool.Conn) error {
			return errors.Join(mild, c.WriteMessage(ctx, websocket.TextMessage, nil))
		}, mild, false},
		{"panic", func(context.Context, *wspool.Conn) error { panic("on purpose") }, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			peer := listen(t, false, echo)
			peer.cfg.Broken = func(err error) bool { return !errors.Is(err, mild) }
			gone := ends(&peer.cfg)
			p := pool(t, peer.cfg)
			var kept *wspool.Conn
			func() {
				defer func() {
					if v := recover(); (v != nil) != (tc.name == "panic") {
						t.Errorf("recovered %v", v)
					}
				}()
				err := p.Do(t.Context(), func(ctx context.Context, c *wspool.Conn) error {
					kept = c
					return tc.f(ctx, c)
				})
				if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
					t.Errorf("Do: %v, want %v", err, tc.want)
				}
			}()
			if _, _, err := kept.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrReleased) {
				t.Errorf("after Do: %v", err)
			}
			if !tc.kept {
				next(t, "end", gone)
			}
			if s := p.Stats(); s.Leased != 0 || (s.Idle == 1) != tc.kept {
				t.Errorf("%+v, want kept: %v", s, tc.kept)
			}
		})
	}
}

// TryAcquire takes what is idle and alive. If it finds nothing a dial begins in the background, one at a time.
func TestTryAcquire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := listenMem(t, 4096, echo)
		p := pool(t, peer.cfg)
		if _, ok := p.TryAcquire(); ok {
			t.Error("lent one out of none")
		}
		if err := p.Warm(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		c, ok := p.TryAcquire()
		if !ok {
			t.Fatal("lent none out of one")
		}
		if _, ok := p.TryAcquire(); ok {
			t.Error("lent the same one twice")
		}
		ask(t, c, "x")
		c.Release()
		synctest.Wait()
		if s := p.Stats(); s.Made != 2 { // one for each miss, the first of which Warm waited for
			t.Errorf("made %d, want 2", s.Made)
		}
	})
}

// A server that closes every connection at once costs a caller a bounded
// number of dials, and it learns why.
func TestAcquireOfDyingConnections(t *testing.T) {
	peer := listen(t, false, func(ws *websocket.Conn) {
		ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1013, "full"), deadline())
		drain(ws)
	})
	peer.cfg.Redial = func(error, int) time.Duration { return 0 }
	p := pool(t, peer.cfg)
	for range 20 {
		c, err := p.Acquire(t.Context())
		if err == nil {
			// The connection was lent before its end arrived; it dies in the lease.
			_, _, err = c.ReadMessage(t.Context())
			c.Release()
		}
		var ce *wspool.CloseError
		if !errors.As(err, &ce) || ce.Code != 1013 {
			t.Fatalf("%v, want close code 1013", err)
		}
	}
}

// The server ends all connections at once, among them more unused ones than a
// caller may see die: the caller gets one that is dialled afterwards, whether it
// comes before the pool has noticed the deaths or after.
func TestAcquire_ManyUnusedDieAtOnce(t *testing.T) {
	for i := range 20 {
		peer := listen(t, false, echo)
		peer.cfg.MaxSize, peer.cfg.MinIdle = 8, 8
		p := pool(t, peer.cfg)
		eventually(t, "8 are idle", func() bool { return p.Stats().Idle >= 8 && peer.open() >= 8 })
		peer.cut() // the pool dials again at once
		if i%2 == 1 {
			eventually(t, "8 deaths are seen", func() bool { return p.Stats().Invalidated >= 8 })
		}
		c, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ask(t, c, "hello")
		c.Release()
	}
}

// MaxWait bounds the acquire, all its tries together, and not the work.
func TestDoWith_MaxWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.MaxSize = 1
		p := pool(t, w.cfg)
		bounded := resource.Request{MaxWait: time.Second}
		err := p.DoWith(t.Context(), bounded, func(ctx context.Context, c *wspool.Conn) error {
			time.Sleep(5 * time.Second)
			began := time.Now()
			err := p.DoWith(t.Context(), bounded, nil)
			if took := time.Since(began); !errors.Is(err, resource.ErrMaxWait) || took != time.Second {
				t.Errorf("while the only one is out: %v after %v", err, took)
			}
			ask(t, c, "hello")
			return ctx.Err()
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// On a busy processor the reader runs late. That is no evidence against a
// connection: none is destroyed.
func TestBusyProcessor(t *testing.T) {
	peer := listen(t, false, echo)
	p := pool(t, peer.cfg)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var stop atomic.Bool
	var spinning sync.WaitGroup
	for range 6 {
		spinning.Go(func() {
			for !stop.Load() {
			}
		})
	}
	for range 4 {
		err := p.Do(t.Context(), func(ctx context.Context, c *wspool.Conn) error {
			return question(ctx, c)
		})
		if err != nil {
			t.Error(err)
		}
	}
	if s := p.Stats(); s.Made != s.Destroyed+int64(s.Idle) || s.Destroyed != 0 {
		t.Errorf("some were destroyed: %v", s)
	}
	stop.Store(true)
	spinning.Wait()
}

// session is what OnConnect leaves to the leases of a connection.
type session struct{ id uint64 }

// A value that OnConnect sets is there in every lease and check of its connection,
// and in no other.
func TestConnValue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer := listenMem(t, 4096, echo)
		peer.cfg.SweepInterval = time.Second
		peer.cfg.OnConnect = func(ctx context.Context, c *wspool.Conn) error {
			if c.Value() != nil {
				t.Errorf("a new connection has %v", c.Value())
			}
			if id := resource.MakingID(ctx); id == 0 || id != c.Info().ID {
				t.Errorf("made as %d, not %d", id, c.Info().ID)
			}
			c.SetValue(session{c.Info().ID})
			return nil
		}
		checked := make(chan bool, 1000)
		peer.cfg.Health = checkFunc(func(_ context.Context, c *wspool.Conn) error {
			s, ok := wspool.ValueOf[session](c)
			checked <- ok && s.id == c.Info().ID
			return nil
		})
		p := pool(t, peer.cfg)
		for range 3 {
			conns := []*wspool.Conn{acquire(t, p), acquire(t, p), acquire(t, p)}
			for _, c := range conns {
				if s, ok := wspool.ValueOf[session](c); !ok || s.id != c.Info().ID {
					t.Errorf("%+v, %v in connection %d", s, ok, c.Info().ID)
				}
				if _, ok := wspool.ValueOf[string](c); ok {
					t.Error("it is a string")
				}
				c.Release()
				c.SetValue("stolen")
				if c.Value() != nil {
					t.Error("a lease that has ended has a value")
				}
			}
			time.Sleep(2 * time.Second)
		}
		if !next(t, "check", checked) {
			t.Error("a check has another value")
		}
	})
}

// The ID of a failed dial is not used again, and DoIdempotent repeats what
// certainly did not run.
func TestIDOfFailedDial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		peer := listenMem(t, 4096, echo)
		ids := map[uint64]bool{}
		peer.cfg.OnConnect = func(_ context.Context, c *wspool.Conn) error {
			if ids[c.Info().ID] {
				t.Errorf("%d once more", c.Info().ID)
			}
			ids[c.Info().ID] = true
			if len(ids) == 1 {
				return errors.New("not yet")
			}
			return nil
		}
		p := pool(t, peer.cfg)
		p.Warm(t.Context(), 1)
		c := acquire(t, p)
		if !ids[c.Info().ID] || c.Info().ID == 0 {
			t.Errorf("%d of %v", c.Info().ID, ids)
		}
		c.Release()
	})
}
