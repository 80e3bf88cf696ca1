package wspool_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// A reader has the bytes of a message as they come, over its fragments and what
// is between them, and nothing of the next.
func TestNextReader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.mute = true
		p := pool(t, w.cfg)
		c := acquire(t, p)
		write(t, c, "question")
		parts := [][]byte{
			{websocket.BinaryMessage, 3, 'o', 'n', 'e'}, // more follow
			frame(websocket.PingMessage, "between"),
			{0, 0},
			{0, 3, 't', 'w', 'o'},
			append([]byte{0x80, 1, '!'}, frame(websocket.TextMessage, "next")...),
		}
		go func() {
			for _, part := range parts {
				time.Sleep(time.Second)
				w.send(0, part)
			}
		}()
		kind, r, err := c.NextReader(t.Context())
		if err != nil || kind != websocket.BinaryMessage {
			t.Fatalf("%d, %v", kind, err)
		}
		at(t, "begun", w.now(), time.Second)
		buf := make([]byte, 100)
		for _, want := range []struct {
			s  string
			at time.Duration
		}{{"one", time.Second}, {"two", 4 * time.Second}, {"!", 5 * time.Second}} {
			n, err := r.Read(buf)
			if string(buf[:n]) != want.s || err != nil {
				t.Errorf("%q, %v; want %q", buf[:n], err, want.s)
			}
			at(t, want.s, w.now(), want.at)
		}
		if pongs := w.saw("pong between"); len(pongs) != 1 || pongs[0] > 4*time.Second {
			t.Errorf("pongs at %v", pongs)
		}
		for range 3 {
			if n, err := r.Read(buf); n != 0 || err != io.EOF {
				t.Errorf("%d, %v", n, err)
			}
		}
		read(t, c, "next")
		if n, err := r.Read(buf); n != 0 || err != io.EOF {
			t.Errorf("the old reader: %d, %v", n, err)
		}
		c.Release()
		if s := p.Stats(); s.Idle != 1 {
			t.Errorf("%v", s)
		}
	})
}

// A context that ends before a message began ends the wait, one that ends in the
// middle of it ends the read, both at that instant.
func TestNextReaderCanceled(t *testing.T) {
	for _, tc := range []struct {
		name  string
		sent  int // bytes of the message
		whole bool
	}{{"before", 0, true}, {"in the first byte", 1, false}, {"in the midst", 4, false}} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.mute = true
				w.cfg.Exchange = wspool.Unpaired
				p := pool(t, w.cfg)
				c := acquire(t, p)
				w.send(0, frame(websocket.TextMessage, "message")[:tc.sent])
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, r, err := c.NextReader(ctx)
				if err == nil {
					_, err = io.ReadAll(r)
				}
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v", err)
				}
				at(t, "ended", w.now(), time.Second)
				w.send(0, frame(websocket.TextMessage, "message")[tc.sent:])
				ctx, cancel = context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, m, err := c.ReadMessage(ctx)
				if whole := err == nil && string(m) == "message"; whole != tc.whole {
					t.Errorf("read on: %q, %v", m, err)
				}
				c.Release()
				want := 0
				if tc.whole {
					want = 1
				}
				if s := p.Stats(); s.Idle != want {
					t.Errorf("%v", s)
				}
			})
		})
	}
}

// A writer sends one message in pieces, each with a WriteTimeout of its own, and
// others wait for its end.
func TestNextWriter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.WriteTimeout = time.Second
		p := pool(t, w.cfg)
		c := acquire(t, p)
		wr, err := c.NextWriter(t.Context(), websocket.TextMessage)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.NextWriter(ctx, websocket.TextMessage); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a second writer: %v", err)
		}
		done := make(chan error)
		go func() { done <- c.WriteMessage(t.Context(), websocket.TextMessage, []byte("behind")) }()
		var want strings.Builder
		for _, s := range []string{"a", "", strings.Repeat("b", 40_000), "c"} {
			if n, err := io.WriteString(wr, s); n != len(s) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			want.WriteString(s)
			time.Sleep(time.Minute)
		}
		for range 2 {
			if err := wr.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := wr.Write([]byte("late")); err == nil {
			t.Error("wrote behind Close")
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		read(t, c, want.String())
		read(t, c, "behind")
		if _, err := c.NextWriter(t.Context(), websocket.PingMessage); err == nil {
			t.Error("a writer of a ping")
		}
		c.Release()
		if s := p.Stats(); s.Idle != 1 {
			t.Errorf("%v", s)
		}
	})
}

// A piece that the peer does not take ends with WriteTimeout or the context, and
// with it all writing.
func TestNextWriterBrokenOff(t *testing.T) {
	for _, by := range []string{"timeout", "cancel", "cancel between"} {
		t.Run(by, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				until := make(chan struct{})
				defer close(until)
				peer := listenMem(t, 64<<10, deaf(until))
				peer.cfg.WriteTimeout = 3 * time.Second
				gone := ends(&peer.cfg)
				c := acquire(t, pool(t, peer.cfg))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				w, err := c.NextWriter(ctx, websocket.BinaryMessage)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write(make([]byte, 40_000)); err != nil {
					t.Error(err)
				}
				began, want := time.Now(), 3*time.Second
				switch by {
				case "cancel":
					want = time.Second
					time.AfterFunc(want, cancel)
				case "cancel between":
					want = 0
					cancel()
				}
				_, err = w.Write(make([]byte, 1<<20))
				var ne net.Error
				if by == "timeout" && !(errors.As(err, &ne) && ne.Timeout()) || by != "timeout" && !errors.Is(err, context.Canceled) {
					t.Errorf("Write: %v", err)
				}
				at(t, "ended", time.Since(began), want)
				if err := w.Close(); err == nil {
					t.Error("Close sent the rest")
				}
				if err := c.WriteMessage(t.Context(), websocket.TextMessage, nil); err == nil {
					t.Error("wrote behind half a message")
				}
				c.Release()
				if e := next(t, "end", gone); !errors.Is(e.Cause, wspool.ErrUnfinished) {
					t.Errorf("destroyed with %v", e.Cause)
				}
			})
		})
	}
}

func TestJSON(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		p := pool(t, w.cfg)
		c := acquire(t, p)
		type doc struct{ A []int }
		var got doc
		if err := c.WriteJSON(t.Context(), doc{[]int{1, 2}}); err != nil {
			t.Error(err)
		}
		if err := c.ReadJSON(t.Context(), &got); err != nil || !slices.Equal(got.A, []int{1, 2}) {
			t.Errorf("%v, %v", got, err)
		}
		if n := len(w.saw(`message {"A":[1,2]}`)); n != 1 {
			t.Error("it is not what encoding/json writes")
		}
		if err := c.WriteJSON(t.Context(), func() {}); err == nil {
			t.Error("wrote a function")
		}
		for _, bad := range []string{"", "{", `{"A":"text"}`, "{} {}"} {
			write(t, c, bad)
			if err := c.ReadJSON(t.Context(), &got); err == nil {
				t.Errorf("read %q", bad)
			}
		}
		c.Release()
		if s := p.Stats(); s.Idle != 1 {
			t.Errorf("%v", s)
		}
	})
}

// One message prepared once goes out on many connections.
func TestPrepared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		p := pool(t, w.cfg)
		m, err := websocket.NewPreparedMessage(websocket.TextMessage, []byte("to all"))
		if err != nil {
			t.Fatal(err)
		}
		var conns []*wspool.Conn
		for range 3 {
			c := acquire(t, p)
			if err := c.WritePrepared(t.Context(), m); err != nil {
				t.Error(err)
			}
			conns = append(conns, c)
		}
		for _, c := range conns {
			read(t, c, "to all")
			c.Release()
			if err := c.WritePrepared(t.Context(), m); !errors.Is(err, wspool.ErrReleased) {
				t.Errorf("WritePrepared: %v", err)
			}
		}
		synctest.Wait()
		if n := len(w.saw("message to all")); n != 3 || p.Stats().Idle != 3 {
			t.Errorf("%d messages; %v", n, p.Stats())
		}
	})
}

// hooked is a context that counts what waits for its end.
type hooked struct {
	context.Context
	hooks atomic.Int64
}

func (h *hooked) AfterFunc(f func()) func() bool {
	h.hooks.Add(1)
	stop := context.AfterFunc(h.Context, f)
	return func() bool { h.hooks.Add(-1); return stop() }
}

// Value hides what the context really is, so that AfterFunc is asked.
func (h *hooked) Value(any) any { return nil }

// A lease that ends with a reader open leaves no hook in the reader's context,
// which may live as long as the program.
func TestOpenReader_Unhooked(t *testing.T) {
	for name, end := range map[string]func(*wspool.Conn){
		"release": (*wspool.Conn).Release,
		"discard": func(c *wspool.Conn) { c.Discard(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			peer := listen(t, false, echo)
			peer.cfg.WatchAfter = time.Minute // then a read is hooked at once
			p := pool(t, peer.cfg)
			c := acquire(t, p)
			defer c.Release()
			write(t, c, "x")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			h := &hooked{Context: ctx}
			if kind, _, err := c.NextReader(h); err != nil || kind != websocket.TextMessage {
				t.Fatal(kind, err)
			}
			if h.hooks.Load() != 1 {
				t.Fatalf("%d hooks", h.hooks.Load())
			}
			end(c)
			if n := h.hooks.Load(); n != 0 {
				t.Errorf("%d hooks are left", n)
			}
		})
	}
}

// A read that is refused because a message is open does nothing to the reader
// of that: its context ends its waiting, and so does the end of the lease.
func TestOpenReader_ReadBeside(t *testing.T) {
	for name, finish := range map[string]func(cancel func(), c *wspool.Conn){
		"ctx":     func(cancel func(), c *wspool.Conn) { cancel() },
		"release": func(cancel func(), c *wspool.Conn) { c.Release() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := witnesses(t)
				w.mute = true
				w.cfg.WatchAfter = time.Minute // then a read is hooked to its context at once
				p := pool(t, w.cfg)
				c := acquire(t, p)
				defer c.Release()
				write(t, c, "x")
				w.send(0, []byte{0x81, 5, 'h'}) // the rest does not come
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				_, r, err := c.NextReader(ctx)
				if err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 5)
				if n, err := r.Read(b); n != 1 || err != nil {
					t.Fatal(n, err)
				}
				if _, _, err := c.ReadMessage(t.Context()); !errors.Is(err, wspool.ErrUnfinished) {
					t.Fatal(err)
				}
				done := make(chan error, 1)
				go func() { _, err := r.Read(b); done <- err }()
				synctest.Wait()
				began := w.now()
				finish(cancel, c)
				if err := next(t, "end of the read", done); !errors.Is(err, context.Canceled) && !errors.Is(err, wspool.ErrReleased) {
					t.Error(err)
				}
				at(t, "end of the read", w.now(), began)
			})
		})
	}
}
