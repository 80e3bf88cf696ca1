package wspool_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// both runs f with a peer on a socket and with one in memory, in a bubble.
func both(t *testing.T, serve func(*websocket.Conn), f func(t *testing.T, cfg wspool.Config)) {
	t.Run("socket", func(t *testing.T) { f(t, listen(t, false, serve).cfg) })
	t.Run("secure", func(t *testing.T) { f(t, listen(t, true, serve).cfg) })
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, listenMem(t, 1<<16, serve).cfg) })
	})
}

// A message and the end of the connection are noticed while the lease does not read.
func TestWatch(t *testing.T) {
	for _, soon := range []bool{true, false} {
		var say chan string
		serve := func(ws *websocket.Conn) {
			for s := range say {
				if s == "close" {
					ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1001, "bye"), time.Now().Add(time.Second))
					ws.ReadMessage()
					return
				}
				ws.WriteMessage(websocket.TextMessage, []byte(s))
			}
		}
		both(t, func(ws *websocket.Conn) { serve(ws) }, func(t *testing.T, cfg wspool.Config) {
			say = make(chan string)
			p := pool(t, cfg)
			c := acquireShared(t, p)
			ready := make(chan struct{}, 10)
			watch := func() { c.Watch(func() { ready <- struct{}{} }, soon) }
			for range 3 {
				watch()
				say <- "hello"
				<-ready
				if _, m, err := c.ReadWhole(t.Context(), []byte("> ")); err != nil || string(m) != "> hello" {
					t.Fatalf("%q, %v", m, err)
				}
			}
			say <- "early"
			if _, m, err := c.ReadMessage(t.Context()); err != nil || string(m) != "early" {
				t.Fatalf("%q, %v", m, err)
			}
			watch()
			say <- "close"
			<-ready
			<-c.Done()
			var closed *wspool.CloseError
			if err := c.Err(); !errors.As(err, &closed) || closed.Code != 1001 {
				t.Error(err)
			}
			watch() // at once
			<-ready
			c.Release()
			close(say)
			if err := c.Err(); err != wspool.ErrReleased {
				t.Error(err)
			}
			if len(ready) != 0 {
				t.Error("called too often")
			}
		})
	}
}

// A context that ends does no harm to ReadWhole, whatever has arrived.
func TestReadWhole(t *testing.T) {
	long := strings.Repeat("long ", 30000)
	var say chan string
	both(t, func(ws *websocket.Conn) {
		for s := range say {
			if s != "half" {
				ws.WriteMessage(websocket.TextMessage, []byte(s))
				continue
			}
			w, _ := ws.NextWriter(websocket.TextMessage)
			w.Write([]byte(long[:50000])) // the buffer of the writer is smaller
			<-say
			w.Write([]byte(long[50000:]))
			w.Close()
		}
	}, func(t *testing.T, cfg wspool.Config) {
		say = make(chan string)
		p := pool(t, cfg)
		c := acquireShared(t, p)
		for _, s := range []string{"short", "", strings.Repeat("x", 4000), strings.Repeat("y", 5000), "end"} {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if _, m, err := c.ReadWhole(ctx, nil); err != wspool.ErrQuiet || m != nil {
				t.Fatalf("%q, %v", m, err)
			}
			cancel()
			say <- s
			_, m, err := c.ReadWhole(t.Context(), nil)
			if err == wspool.ErrPartial {
				_, m, err = c.ReadMessage(t.Context())
			}
			if err != nil || string(m) != s {
				t.Fatalf("%q, %v", m, err)
			}
		}
		say <- "half"
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			_, _, err := c.ReadWhole(ctx, nil)
			cancel()
			if err == wspool.ErrPartial {
				break
			}
			if err != wspool.ErrQuiet {
				t.Fatal(err)
			}
		}
		say <- "rest"
		if _, m, err := c.ReadMessage(t.Context()); err != nil || string(m) != long {
			t.Fatalf("%d bytes, %v", len(m), err)
		}
		c.Release()
		close(say)
		if s := p.Stats(); s.Tainted != 0 {
			t.Errorf("%d tainted", s.Tainted)
		}
	})
}

// counted is a context that counts the functions that wait for its end.
type counted struct {
	context.Context
	done    chan struct{} // never closed
	waiting atomic.Int64
}

func (c *counted) Done() <-chan struct{} { return c.done }

func (c *counted) AfterFunc(func()) (stop func() bool) {
	c.waiting.Add(1)
	return func() bool { c.waiting.Add(-1); return true }
}

// Whatever a read returns, nothing waits any more for the end of its context when it has.
func TestReadWhole_LeavesItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := witnesses(t)
		w.mute = true
		p := pool(t, w.cfg)
		c := acquireShared(t, p)
		ctx := &counted{Context: context.Background(), done: make(chan struct{})}
		look := func(what string) {
			t.Helper()
			if n := ctx.waiting.Load(); n != 0 {
				t.Errorf("%s: %d functions wait", what, n)
			}
		}
		time.AfterFunc(time.Second, func() { w.send(0, frame(websocket.TextMessage, "one")) })
		if _, m, err := c.ReadWhole(ctx, nil); err != nil || string(m) != "one" {
			t.Errorf("%q, %v", m, err)
		}
		look("a message")
		long := rawFrame(0x80|websocket.TextMessage, make([]byte, 20_000))
		time.AfterFunc(time.Second, func() { w.send(0, long[:10_000]) })
		if _, _, err := c.ReadWhole(ctx, nil); err != wspool.ErrPartial {
			t.Error(err)
		}
		look("half a message")
		time.AfterFunc(time.Second, func() { w.send(0, long[10_000:]) })
		if _, m, err := c.ReadMessage(ctx); err != nil || len(m) != 20_000 {
			t.Errorf("%d bytes, %v", len(m), err)
		}
		look("its rest")
		time.AfterFunc(time.Second, func() { w.conn(0).Close() })
		if _, _, err := c.ReadMessage(ctx); err == nil {
			t.Error("no error after the end")
		}
		look("the end")
		c.Release()
	})
}

// ReadWhole returns at the instant at which its context ends, with every WatchAfter.
func TestReadWholeReturnsWithItsContext(t *testing.T) {
	for _, watchAfter := range []time.Duration{-1, time.Millisecond, 0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := listenMem(t, 1<<16, func(ws *websocket.Conn) { ws.ReadMessage() })
			s.cfg.WatchAfter = watchAfter
			p := pool(t, s.cfg)
			c := acquireShared(t, p)
			for wait := time.Microsecond; wait < 300*time.Millisecond; wait = wait*3/2 + 1 {
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				began := time.Now()
				_, _, err := c.ReadWhole(ctx, nil)
				if took := time.Since(began); err != wspool.ErrQuiet || took != wait {
					t.Errorf("WatchAfter %v, context ends after %v: %v after %v", watchAfter, wait, err, took)
				}
				cancel()
			}
			c.Release()
		})
	}
}

// A shared lease may read before it has written, and end without an answer, whatever Exchange
// is.
func TestSharedLeaseIsUnpaired(t *testing.T) {
	for _, x := range []wspool.Exchange{wspool.ReplyLast, wspool.ReplyEach, wspool.Unpaired} {
		synctest.Test(t, func(t *testing.T) {
			s := listenMem(t, 1<<16, func(ws *websocket.Conn) {
				for range 3 {
					time.Sleep(time.Second)
					ws.WriteMessage(websocket.TextMessage, []byte("event"))
				}
				for {
					if _, _, err := ws.ReadMessage(); err != nil {
						return
					}
				}
			})
			s.cfg.Exchange = x
			p := pool(t, s.cfg)
			c := acquireShared(t, p)
			for range 3 {
				if _, m, err := c.ReadMessage(t.Context()); err != nil || string(m) != "event" {
					t.Fatalf("%q, %v", m, err)
				}
			}
			if err := c.WriteMessage(t.Context(), websocket.TextMessage, []byte("notice")); err != nil {
				t.Fatal(err)
			}
			c.Release()
			synctest.Wait()
			if s := p.Stats(); s.Idle != 1 {
				t.Error(s)
			}
		})
	}
}

// OnRecall is called when the pool wants the connection back, before or after it is set.
func TestOnRecall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listenMem(t, 1<<16, echo)
		p, err := wspool.New(s.cfg)
		if err != nil {
			t.Fatal(err)
		}
		c := acquireShared(t, p)
		causes := make(chan error, 2)
		c.OnRecall(func(cause error) { causes <- cause })
		moved := errors.New("moved")
		p.Reset(moved)
		if err := <-causes; err != moved {
			t.Error(err)
		}
		c.OnRecall(func(cause error) { causes <- cause }) // at once
		if err := <-causes; err != moved {
			t.Error(err)
		}
		c.Release()
		c = acquireShared(t, p)
		c.OnRecall(func(cause error) {
			causes <- cause
			c.Release()
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := <-causes; err != resource.ErrClosed {
			t.Error(err)
		}
	})
}
