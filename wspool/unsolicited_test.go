package wspool_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// What OnUnsolicited says is done: with what comes while nobody has the
// connection, and before its lease has written anything.
func TestOnUnsolicited(t *testing.T) {
	broken := errors.New("broken")
	type answer = func(ctx context.Context, m wspool.Message) (*wspool.Message, error)
	reply := func(kind int) answer {
		return func(_ context.Context, m wspool.Message) (*wspool.Message, error) {
			if m.Type != websocket.TextMessage || string(m.Data) != "2" {
				return nil, errors.New("another message")
			}
			return &wspool.Message{Type: kind, Data: []byte("3")}, nil
		}
	}
	for _, tc := range []struct {
		name    string
		handle  answer
		is      func(error) bool // nil: it lives
		answers int
	}{
		{"none", nil, func(err error) bool { return errors.Is(err, wspool.ErrUnsolicited) }, 0},
		{"drop", wspool.DropUnsolicited, nil, 0},
		{"answer", reply(websocket.TextMessage), nil, 1},
		{"wrong type", reply(websocket.PingMessage),
			func(err error) bool { return strings.Contains(err.Error(), "OnUnsolicited: answer: 9 is not") }, 0},
		{"error", func(context.Context, wspool.Message) (*wspool.Message, error) { return nil, broken },
			func(err error) bool { return errors.Is(err, broken) }, 0},
		{"panic", func(context.Context, wspool.Message) (*wspool.Message, error) { panic("on purpose") },
			func(err error) bool { return strings.Contains(err.Error(), "on purpose") }, 0},
		{"goexit", func(context.Context, wspool.Message) (*wspool.Message, error) { runtime.Goexit(); return nil, nil },
			func(err error) bool { return strings.Contains(err.Error(), "did not return") }, 0},
		{"until ctx ends", func(ctx context.Context, _ wspool.Message) (*wspool.Message, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }, 0},
	} {
		for _, when := range []string{"idle", "hot", "leased", "thinking"} {
			t.Run(tc.name+"/"+when, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := witnesses(t)
					w.mute = true
					w.cfg.OnUnsolicited = tc.handle
					w.cfg.WriteTimeout = time.Second
					gone := w.ends()
					p := pool(t, w.cfg)
					c := acquire(t, p)
					id := c.Info().ID
					if when == "idle" || when == "hot" {
						c.Release()
					}
					if when == "idle" || when == "thinking" {
						time.Sleep(1500 * ms)
					}
					w.send(0, frame(websocket.TextMessage, "2"))
					if when == "thinking" {
						synctest.Wait() // no socket: what has come in is known once it is read
					}
					if when == "idle" || when == "hot" {
						time.Sleep(1500 * ms)
						c = acquire(t, p)
					}
					err := c.WriteMessage(t.Context(), websocket.TextMessage, []byte("q"))
					if tc.is == nil {
						if err != nil {
							t.Fatal(err)
						}
						w.send(0, frame(websocket.TextMessage, "a"))
						read(t, c, "a")
						c.Release()
						none(t, gone)
					} else {
						if when == "leased" || when == "thinking" {
							if err == nil || !tc.is(err) || errors.Is(err, wspool.ErrStale) {
								t.Errorf("the lease's write: %v", err)
							}
						}
						c.Discard(nil)
						if e := next(t, "end", gone); e.id != id || e.cause == nil {
							t.Errorf("%d ended with %v", e.id, e.cause)
						}
					}
					if n := len(w.saw("message 3")); n != tc.answers {
						t.Errorf("%d answers, want %d", n, tc.answers)
					}
					if s := p.Stats(); s.Unsolicited != 1 {
						t.Errorf("%v", s)
					}
				})
			})
		}
	}
}

// A heartbeat of messages, such as engine.io's, is kept up on many connections
// without any lease, and does not disturb those that there are.
func TestHeartbeat(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.OnUnsolicited = func(_ context.Context, m wspool.Message) (*wspool.Message, error) {
			if string(m.Data) != "2" {
				return nil, errors.New("another message")
			}
			return &wspool.Message{Type: m.Type, Data: []byte("3")}, nil
		}
		gone := w.ends()
		w.mute = true
		p := pool(t, w.cfg)
		warm(t, p, 3)
		time.Sleep(time.Second)
		for i := range 100 {
			w.send(i%3, frame(websocket.TextMessage, "2"))
			if n := len(w.saw("message 3")); n != i+1 {
				t.Fatalf("%d answers to %d", n, i+1)
			}
			time.Sleep(2 * time.Second)
		}
		none(t, gone)
	})
}

// More in a minute than UnsolicitedLimit is a flood; the minutes are counted
// from the first message.
func TestFlood(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.OnUnsolicited = wspool.DropUnsolicited
		w.cfg.UnsolicitedLimit = 5
		gone := w.ends()
		warm(t, pool(t, w.cfg), 1)
		time.Sleep(time.Second)
		for range 3 { // minutes
			for range 5 {
				w.send(0, frame(websocket.BinaryMessage, "news"))
				time.Sleep(12 * time.Second)
			}
		}
		for range 6 {
			none(t, gone)
			w.send(0, frame(websocket.BinaryMessage, "news"))
			time.Sleep(time.Second)
		}
		e := next(t, "end", gone)
		if !errors.Is(e.cause, wspool.ErrFlooded) || e.at != w.now()-time.Second {
			t.Errorf("ended at %v with %v", e.at, e.cause)
		}
	})
}

// With Unpaired what comes during a lease is the lease's, before its first
// write too; what comes outside of one is OnUnsolicited's.
func TestUnpaired(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		strays := 0
		w.cfg.Exchange = wspool.Unpaired
		w.cfg.OnUnsolicited = func(context.Context, wspool.Message) (*wspool.Message, error) {
			strays++
			return nil, nil
		}
		p := pool(t, w.cfg)
		c := acquire(t, p)
		w.send(0, frame(websocket.TextMessage, "event"))
		read(t, c, "event")
		c.Release()
		for _, idle := range []time.Duration{0, ms, time.Second} {
			time.Sleep(idle)
			w.send(0, frame(websocket.TextMessage, "stray"))
			synctest.Wait()
			c = acquire(t, p)
			w.send(0, frame(websocket.TextMessage, "mine"))
			read(t, c, "mine")
			c.Release()
		}
		if s := p.Stats(); strays != 3 || s.Made != 1 || s.Tainted != 0 {
			t.Errorf("%d strays; %v", strays, s)
		}
	})
}

// A stray message over ReadLimit ends the connection like any other.
func TestStrayOverLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.OnUnsolicited = wspool.DropUnsolicited
		w.cfg.ReadLimit = 10
		gone := w.ends()
		warm(t, pool(t, w.cfg), 1)
		time.Sleep(time.Second)
		w.send(0, frame(websocket.TextMessage, strings.Repeat("x", 11)))
		if e := next(t, "end", gone); !errors.Is(e.cause, wspool.ErrReadLimit) || errors.Is(e.cause, io.EOF) {
			t.Errorf("ended with %v", e.cause)
		}
	})
}

// The end of a connection does not wait for a handler that waits for its context.
func TestHandlerEndsWithConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := witnesses(t)
		w.cfg.WriteTimeout = time.Hour
		began := make(chan bool, 1)
		w.cfg.OnUnsolicited = func(ctx context.Context, _ wspool.Message) (*wspool.Message, error) {
			began <- true
			<-ctx.Done()
			return nil, ctx.Err()
		}
		gone := w.ends()
		p := pool(t, w.cfg)
		warm(t, p, 1)
		time.Sleep(time.Second)
		w.send(0, frame(websocket.TextMessage, "event"))
		next(t, "call", began)
		reset := w.now()
		p.Reset(nil)
		next(t, "end", gone)
		if took := w.now() - reset; took > wspool.DefaultCloseTimeout {
			t.Errorf("the end took %v", took)
		}
	})
}
