package wspool_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// collect returns when the garbage collector has found what is unreachable, several
// times over: each round ends when it has found something that was dropped then.
func collect(t testing.TB) {
	t.Helper()
	for range 3 {
		found := make(chan struct{})
		drop(found)
		for end := time.After(patience); ; {
			runtime.GC()
			select {
			case <-found:
			case <-end:
				t.Fatal("the collector finds nothing")
			case <-time.After(time.Millisecond):
				continue
			}
			break
		}
	}
}

// drop makes something and drops it; then found is closed.
//
//go:noinline
func drop(found chan struct{}) {
	runtime.AddCleanup(&struct{ p *int }{new(int)}, func(found chan struct{}) { close(found) }, found)
}

// lose leases a connection, has f use it and loses it; f returns what to keep. It
// runs on a goroutine whose stack is gone afterwards.
func lose[T any](t testing.TB, p *wspool.Pool, f func(c *wspool.Conn) T) (kept T) {
	t.Helper()
	return loseFrom(t, func() (*wspool.Conn, error) { return p.Acquire(t.Context()) }, f)
}

// loseFrom is lose, of what acquire leases.
func loseFrom[T any](t testing.TB, acquire func() (*wspool.Conn, error), f func(c *wspool.Conn) T) (kept T) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := acquire(); err != nil {
			t.Error(err)
		} else {
			kept = f(c)
		}
	}()
	<-done
	return kept
}

func nothing(*wspool.Conn) any { return nil }

// leaky is a pool of one that reclaims, and reports how leases and connections
// ended.
func leaky(t testing.TB, serve func(*websocket.Conn)) (*wspool.Pool, <-chan resource.EndEvent, <-chan resource.DestroyEvent) {
	t.Helper()
	peer := listen(t, false, serve)
	peer.cfg.MaxSize, peer.cfg.Reclaim, peer.cfg.SampleLeases = 1, true, 1
	gone := ends(&peer.cfg)
	ended := make(chan resource.EndEvent, 1000)
	peer.cfg.Trace.Leased = func(context.Context, resource.LeaseEvent) {}
	peer.cfg.Trace.Ended = func(e resource.EndEvent) { ended <- e }
	return pool(t, peer.cfg), ended, gone
}

// A Conn that is lost is found and reported, and its slot is free again.
func TestReclaim(t *testing.T) {
	p, ended, gone := leaky(t, echo)
	for i := range 3 {
		lose(t, p, func(c *wspool.Conn) any {
			if i > 0 {
				ask(t, c, "something")
			}
			return nil
		})
		collect(t)
		if e := next(t, "end of the lease", ended); !errors.Is(e.Cause, wspool.ErrDropped) || e.Sampled != 1 {
			t.Errorf("the lease ended with %+v", e)
		}
		if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrDropped) {
			t.Errorf("destroyed with %v", e.Cause)
		}
	}
	c := acquire(t, p) // in a pool of one
	ask(t, c, "one more")
	c.Release()
	if s := p.Stats(); s.Dropped != 3 || s.Leased != 0 {
		t.Errorf("%v", s)
	}
}

// By default it is not, and the pool itself keeps it.
func TestReclaimIsOff(t *testing.T) {
	peer := listen(t, false, echo)
	p := pool(t, peer.cfg)
	lost := lose(t, p, weak.Make[wspool.Conn])
	collect(t)
	if s := p.Stats(); s.Leased != 1 || s.Dropped != 0 {
		t.Errorf("%v", s)
	}
	c := lost.Value()
	ask(t, c, "still there")
	c.Release()
}

// A connection that was released is not reclaimed, whatever becomes of its Conn.
func TestReclaimNotWhatWasReleased(t *testing.T) {
	p, _, _ := leaky(t, echo)
	for _, end := range []func(c *wspool.Conn){
		(*wspool.Conn).Release,
		func(c *wspool.Conn) { c.Fail(nil) },
		func(c *wspool.Conn) { ask(t, c, "x"); c.Release(); c.Release() },
	} {
		lose(t, p, func(c *wspool.Conn) any { end(c); return nil })
		collect(t)
		if s := p.Stats(); s.Idle != 1 || s.Destroyed != 0 || s.Dropped != 0 {
			t.Errorf("%v", s)
		}
	}
	ws := lose(t, p, func(c *wspool.Conn) *websocket.Conn {
		ws, ok := c.Hijack()
		if !ok {
			t.Error("not hijacked")
		}
		return ws
	})
	collect(t)
	if err := ws.WriteMessage(websocket.TextMessage, []byte("mine")); err != nil {
		t.Error(err)
	}
	if _, data, err := ws.ReadMessage(); string(data) != "mine" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	ws.Close()
	if s := p.Stats(); s.Hijacked != 1 || s.Dropped != 0 {
		t.Errorf("%v", s)
	}
}

// A Conn is in use while one of its methods runs, though there is no other
// reference to it.
func TestReclaimNotWhatRuns(t *testing.T) {
	speak := make(chan struct{})
	p, _, gone := leaky(t, func(ws *websocket.Conn) {
		if _, _, err := ws.ReadMessage(); err != nil {
			return
		}
		<-speak
		ws.WriteMessage(websocket.TextMessage, []byte("at last"))
		echo(ws)
	})
	for name, read := range map[string]func(c *wspool.Conn) (string, error){
		"ReadMessage": func(c *wspool.Conn) (string, error) {
			_, data, err := c.ReadMessage(t.Context())
			return string(data), err
		},
		"ReadJSON": func(c *wspool.Conn) (string, error) {
			var v any
			if err := c.ReadJSON(t.Context(), &v); err == nil {
				return "JSON", nil
			}
			return "at last", nil
		},
		"NextReader": func(c *wspool.Conn) (string, error) {
			_, r, err := c.NextReader(t.Context())
			if err != nil {
				return "", err
			}
			data, err := io.ReadAll(r)
			return string(data), err
		},
		"NetConn": func(c *wspool.Conn) (string, error) {
			buf := make([]byte, 100)
			n, err := c.NetConn(t.Context(), websocket.TextMessage).Read(buf)
			return string(buf[:n]), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			type result struct {
				text string
				err  error
			}
			got := make(chan result, 1)
			begun := make(chan struct{})
			go func() {
				c, err := p.Acquire(t.Context())
				if err == nil {
					err = c.WriteMessage(t.Context(), websocket.TextMessage, []byte("speak"))
				}
				if err != nil {
					t.Error(err)
				}
				close(begun)
				text, err := read(c) // the last that is done with it
				got <- result{text, err}
			}()
			<-begun
			collect(t)
			speak <- struct{}{}
			if r := next(t, "message", got); r.text != "at last" || r.err != nil {
				t.Errorf("%q, %v", r.text, r.err)
			}
			collect(t)
			if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrDropped) {
				t.Errorf("destroyed with %v", e.Cause)
			}
		})
	}
}

// A reader, a writer or a stream of a Conn keeps the Conn in use.
func TestReclaimNotWhatIsPartOfIt(t *testing.T) {
	p, _, gone := leaky(t, echo)
	check := func(t *testing.T, use func() error) {
		collect(t)
		if err := use(); err != nil {
			t.Error(err)
		}
		use = nil
	}
	lost := func(t *testing.T) {
		t.Helper()
		collect(t)
		if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrDropped) {
			t.Errorf("destroyed with %v", e.Cause)
		}
	}
	t.Run("reader", func(t *testing.T) {
		check(t, lose(t, p, func(c *wspool.Conn) func() error {
			write(t, c, "a word")
			_, r, err := c.NextReader(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return func() error { _, err := io.ReadAll(r); return err }
		}))
		lost(t)
	})
	t.Run("writer", func(t *testing.T) {
		check(t, lose(t, p, func(c *wspool.Conn) func() error {
			w, err := c.NextWriter(t.Context(), websocket.TextMessage)
			if err != nil {
				t.Fatal(err)
			}
			return func() error { return errors.Join(second(w.Write([]byte("word"))), w.Close()) }
		}))
		lost(t)
	})
	t.Run("stream", func(t *testing.T) {
		check(t, lose(t, p, func(c *wspool.Conn) func() error {
			var s net.Conn = c.NetConn(t.Context(), websocket.TextMessage)
			return func() error {
				return errors.Join(second(s.Write([]byte("word"))), second(io.ReadFull(s, make([]byte, 4))))
			}
		}))
		lost(t)
	})
}

func second(_ int, err error) error { return err }

// I6: Close waits until the end of a leaked lease has been reported to Trace.
func TestI6_ReclaimClose(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	peer := listen(t, false, echo)
	peer.cfg.Reclaim = true
	peer.cfg.Trace = &resource.Trace{Ended: func(resource.EndEvent) { began <- struct{}{}; <-goOn }}
	one := pool(t, peer.cfg)
	many, err := wspool.NewManager(wspool.ManagerConfig[int]{
		MaxTotal: 1,
		Config:   func(int) (wspool.Config, error) { return peer.cfg, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]struct {
		acquire func() (*wspool.Conn, error)
		close   func(context.Context) error
	}{
		"Pool":    {func() (*wspool.Conn, error) { return one.Acquire(t.Context()) }, one.Close},
		"Manager": {func() (*wspool.Conn, error) { return many.Acquire(t.Context(), 1) }, many.Close},
	} {
		loseFrom(t, p.acquire, nothing)
		collect(t)
		next(t, "end of the lease", began)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var left *resource.CloseError
		if err := p.close(ctx); !errors.As(err, &left) || left.Busy != 1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: Close while Trace runs: %v", name, err)
		}
		goOn <- struct{}{}
		if err := p.close(t.Context()); err != nil {
			t.Errorf("%s: Close: %v", name, err)
		}
	}
}

// BenchmarkReclaim is what a lease costs with Reclaim and without.
func BenchmarkReclaim(b *testing.B) {
	for name, on := range map[string]bool{"off": false, "on": true} {
		b.Run(name, func(b *testing.B) {
			peer := listen(b, false, echo)
			peer.cfg.Reclaim = on
			p := pool(b, peer.cfg)
			b.ReportAllocs()
			for b.Loop() {
				acquire(b, p).Release()
			}
		})
	}
}
