package servers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/socketio"
)

var socketIOShared = shared{
	start: script("socket.js"), reach: reachSharedSocket(socketio.Codec{}),
	codec: mux.Config{Codec: socketio.Codec{}, OnRequest: socketio.Codec{}.Answer(nil)}, conns: 2,
	caller: func(c *mux.Client) func(context.Context, int64) (bool, error) {
		return func(ctx context.Context, id int64) (bool, error) { return false, saySocket(ctx, c, id) }
	},
}

// reachSharedSocket configures a pool of socket.io clients in the namespace of the codec.
func reachSharedSocket(codec socketio.Codec) func(cfg *wspool.Config) {
	return func(cfg *wspool.Config) {
		cfg.URL += "socket.io/?EIO=4&transport=websocket"
		cfg.OnConnect = codec.Connect(func(context.Context) (any, error) {
			return map[string]string{"token": "let me in"}, nil
		})
	}
}

// emit emits an event and decodes its acknowledgement.
func emit(ctx context.Context, c *mux.Client, name string, args []any, results ...any) error {
	reply, err := c.Call(ctx, mux.Request{Body: socketio.Event{Name: name, Args: args}})
	if err != nil {
		return err
	}
	return socketio.Decode(reply, results...)
}

// saySocket emits an event that is acknowledged with its argument.
func saySocket(ctx context.Context, c *mux.Client, id int64) error {
	question, answer := padded(id), ""
	err := emit(ctx, c, "say", []any{question}, &answer)
	return matches(question, answer, err)
}

// numberSocket returns the number with which an event is acknowledged.
func numberSocket(ctx context.Context, c *mux.Client, name string) (n int, err error) {
	err = emit(ctx, c, name, nil, &n)
	return n, err
}

func TestMuxSocket(t *testing.T) {
	server := script("socket.js")(t, "127.0.0.1:0")
	for _, namespace := range []string{"", "/admin"} {
		t.Run("namespace "+namespace, func(t *testing.T) { useSocket(t, server, socketio.Codec{Namespace: namespace}) })
	}
	t.Run("unknown namespace", func(t *testing.T) {
		codec := socketio.Codec{Namespace: "/nowhere"}
		cfg := wspool.Config{URL: "ws://" + server.address() + "/", MaxSize: 1}
		reachSharedSocket(codec)(&cfg)
		refusedSocket(t, newMux(t, cfg, mux.Config{Codec: codec}))
	})
	t.Run("bad token", func(t *testing.T) {
		codec := socketio.Codec{Namespace: "/admin"}
		cfg := wspool.Config{URL: "ws://" + server.address() + "/", MaxSize: 1}
		reachSharedSocket(codec)(&cfg)
		cfg.OnConnect = codec.Connect(nil)
		refusedSocket(t, newMux(t, cfg, mux.Config{Codec: codec}))
	})
}

// refusedSocket checks that the server refuses the client.
func refusedSocket(t *testing.T, c *mux.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	fated(t, emit(ctx, c, "say", []any{"x"}), mux.ErrNotSent, socketio.ErrRefused)
}

func useSocket(t *testing.T, server running, codec socketio.Codec) {
	cfg := wspool.Config{URL: "ws://" + server.address() + "/", MaxSize: 4}
	reachSharedSocket(codec)(&cfg)
	pinged, told := make(chan struct{}, 1), make(chan int, 1000)
	answer := codec.Answer(func(_ context.Context, e socketio.Received) ([]any, error) {
		n := 0
		if err := e.Decode(&n); err != nil || e.Name != "double" {
			return nil, fmt.Errorf("event %q: %w", e.Name, err)
		}
		return []any{2 * n}, nil
	})
	c := newMux(t, cfg, mux.Config{
		Codec: codec,
		OnRequest: func(ctx context.Context, m mux.Message) (*mux.Message, error) {
			if string(m.Data) == enginePing {
				select {
				case pinged <- struct{}{}:
				default:
				}
			}
			return answer(ctx, m)
		},
		OnEvent: func(_ context.Context, m mux.Message) error {
			e, err := socketio.ParseEvent(m)
			if err != nil {
				return err
			}
			n := 0
			if err := e.Decode(&n); err != nil || e.Name != "told" {
				return fmt.Errorf("event %q: %w", e.Name, err)
			}
			told <- n
			return nil
		},
	})

	t.Run("acknowledgements", func(t *testing.T) {
		storm(t, muxCallers, 20, func(ctx context.Context, id int64) error { return saySocket(ctx, c, id) })
	})
	t.Run("200 in flight", func(t *testing.T) {
		const n = 200
		before := c.Stats().Batches
		storm(t, n, 1, func(ctx context.Context, id int64) error {
			question, answer := padded(id), ""
			err := emit(ctx, c, "together", []any{n, question}, &answer)
			return matches(question, answer, err)
		})
		t.Logf("%d events in %d writes", n, c.Stats().Batches-before)
	})
	t.Run("events with acknowledgements", func(t *testing.T) {
		storm(t, muxCallers, 3, func(ctx context.Context, id int64) error {
			var n, twice int64
			if err := emit(ctx, c, "ask me", []any{id}, &n, &twice); err != nil {
				return err
			}
			if n != id || twice != 2*id {
				return fmt.Errorf("%w: asked %d, got %d and %d", errCrossed, id, n, twice)
			}
			return nil
		})
	})
	t.Run("events", func(t *testing.T) {
		const n = 200
		succeed(t, func(ctx context.Context) error { return emit(ctx, c, "tell me", []any{n}) })
		var got, want []int
		for i := range n {
			select {
			case m := <-told:
				got, want = append(got, m), append(want, i+1)
			case <-time.After(patience):
				t.Fatalf("only %d of %d events arrive", i, n)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want 1 to %d in order", got, n)
		}
	})
	t.Run("cancel", func(t *testing.T) {
		late := c.Stats().Late
		giveUp(t, func(ctx context.Context) error { return emit(ctx, c, "hold", []any{"late"}) },
			func(ctx context.Context) (int, error) { return numberSocket(ctx, c, "held") })
		if s := c.Stats(); s.Orphans != 1 || s.InFlight != 0 {
			t.Errorf("%d orphans, %d in flight, want 1 and 0", s.Orphans, s.InFlight)
		}
		succeed(t, func(ctx context.Context) error {
			if n, err := numberSocket(ctx, c, "open"); err != nil || n != 1 {
				t.Errorf("opened for %d calls (%v), want 1", n, err)
			}
			return saySocket(ctx, c, 8)
		})
		until(t, "the late acknowledgement is not dropped", func() bool {
			succeed(t, func(ctx context.Context) error { return saySocket(ctx, c, 9) })
			s := c.Stats()
			return s.Late == late+1 && s.Orphans == 0
		})
	})
	t.Run("ping", func(t *testing.T) {
		before := 0
		succeed(t, func(ctx context.Context) (err error) { before, err = numberSocket(ctx, c, "pongs"); return err })
		succeed(t, func(ctx context.Context) error {
			for range 4 { // without a call; the first may be old
				select {
				case <-pinged:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			after, err := numberSocket(ctx, c, "pongs")
			if err == nil && after < before+2 {
				t.Errorf("the server has %d pongs, and had %d before it pinged", after, before)
			}
			return err
		})
	})
	if s := c.Stats(); s.Bad+s.Unknown != 0 || s.Acquired != 1 {
		t.Errorf("%+v", s)
	}
	t.Run("attachments", func(t *testing.T) { // are not supported, and harm nothing
		succeed(t, func(ctx context.Context) error {
			if err := emit(ctx, c, "bytes", nil, nil); !errors.Is(err, socketio.ErrBinary) {
				t.Errorf("got %v, want %v", err, socketio.ErrBinary)
			}
			return saySocket(ctx, c, 10)
		})
		if s := c.Stats(); s.Bad != 1 || s.Acquired != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestMuxSocketRestart(t *testing.T) { eachShared(t, socketIOShared) }
