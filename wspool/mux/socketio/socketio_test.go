package socketio_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/memnet"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/muxtest"
	"github.com/respool/respool/wspool/mux/socketio"
)

func text(format string, args ...any) mux.Message {
	return mux.Message{Type: websocket.TextMessage, Data: fmt.Appendf(nil, format, args...)}
}

var packets = regexp.MustCompile(`^42(/[^,]*,)?(\d*)(\[.*\])$`)

// server acknowledges an event with its arguments.
func server(call mux.Message) (mux.Message, error) {
	p := packets.FindSubmatch(call.Data)
	if p == nil {
		return mux.Message{}, fmt.Errorf("no event: %s", call.Data)
	}
	var args []any
	if err := json.Unmarshal(p[3], &args); err != nil {
		return mux.Message{}, err
	}
	encoded, err := json.Marshal(args[1:])
	return text("43%s%s%s", p[1], p[2], encoded), err
}

func TestCodec_Conforms(t *testing.T) {
	bodies := []any{
		socketio.Event{Name: "hello"},
		&socketio.Event{Name: `sum "of"`, Args: []any{1, "two", map[string]any{"three": nil}}},
	}
	bad := []any{socketio.Event{}, (*socketio.Event)(nil), "hello", socketio.Event{Name: "a", Args: []any{make(chan int)}}}
	t.Run("main namespace", func(t *testing.T) {
		muxtest.Run(t, muxtest.Suite{
			Codec: socketio.Codec{}, Bodies: bodies, BadBodies: bad, Reply: server, Notifies: true,
			Messages: []muxtest.Case{
				{Name: "event", Message: text(`42["price",1]`), Want: mux.Frame{Kind: mux.Event}},
				{Name: "event to acknowledge", Message: text(`4212["price",1]`), Want: mux.Frame{Kind: mux.Ask}},
				{Name: "acknowledgement", Message: text(`437[]`), Want: mux.Frame{Kind: mux.Reply, ID: 7}},
				{Name: "the main namespace by its name", Message: text(`43/,7[]`), Want: mux.Frame{Kind: mux.Reply, ID: 7}},
				{Name: "binary acknowledgement", Message: text(`461-7[{"_placeholder":true,"num":0}]`), Want: mux.Frame{Kind: mux.Reply, ID: 7}},
				{Name: "binary event", Message: text(`451-["a",{"_placeholder":true,"num":0}]`), Want: mux.Frame{Kind: mux.Event}},
				{Name: "another namespace", Message: text(`43/admin,7[]`), Want: mux.Frame{Kind: mux.Ignore}},
				{Name: "ping", Message: text(`2`), Want: mux.Frame{Kind: mux.Ask}},
				{Name: "noop", Message: text(`6`), Want: mux.Frame{Kind: mux.Ignore}},
				{Name: "disconnect", Message: text(`41`), Want: mux.Frame{Kind: mux.Away}},
				{Name: "close", Message: text(`1`), Want: mux.Frame{Kind: mux.Away}},
				{Name: "connect", Message: text(`40{"sid":"x"}`), Want: mux.Frame{Kind: mux.Ignore}},
				{Name: "attachment", Message: mux.Message{Type: websocket.BinaryMessage, Data: []byte{1}}, Bad: true},
				{Name: "acknowledgement without id", Message: text(`43[]`), Bad: true},
				{Name: "huge id", Message: text(`4399999999999999999999[]`), Bad: true},
				{Name: "unknown packet", Message: text(`49`), Bad: true},
				{Name: "empty packet", Message: text(`4`), Bad: true},
				{Name: "unknown type", Message: text(`x`), Bad: true},
			},
		})
	})
	t.Run("namespace", func(t *testing.T) {
		muxtest.Run(t, muxtest.Suite{
			Codec: socketio.Codec{Namespace: "/admin"}, Bodies: bodies, BadBodies: bad, Reply: server, Notifies: true,
			Messages: []muxtest.Case{
				{Name: "acknowledgement", Message: text(`43/admin,7[]`), Want: mux.Frame{Kind: mux.Reply, ID: 7}},
				{Name: "the main namespace", Message: text(`437[]`), Want: mux.Frame{Kind: mux.Ignore}},
			},
		})
	})
}

func TestDecode(t *testing.T) {
	var n int
	var s string
	if err := socketio.Decode(text(`437[1,null,"x",2]`), &n, nil, &s); err != nil || n != 1 || s != "x" {
		t.Errorf("%d, %q, %v", n, s, err)
	}
	for _, m := range []string{`437[1]`, `42["a"]`, `x`, `437["a","b"]`, `437`} {
		if err := socketio.Decode(text("%s", m), &n, &s); !errors.Is(err, socketio.ErrMessage) {
			t.Errorf("%s: %v", m, err)
		}
	}
	if err := socketio.Decode(text(`461-7[{"_placeholder":true,"num":0}]`), nil); !errors.Is(err, socketio.ErrBinary) {
		t.Errorf("binary: %v", err)
	}
}

func TestAnswer(t *testing.T) {
	codec := socketio.Codec{Namespace: "/admin"}
	answer := codec.Answer(func(_ context.Context, e socketio.Received) ([]any, error) {
		var n int
		err := e.Decode(&n)
		return []any{e.Name, n + 1}, err
	})
	for request, want := range map[string]string{
		"2": "3", "2probe": "3probe", `42/admin,12["add",41]`: `43/admin,12["add",42]`,
	} {
		got, err := answer(t.Context(), text("%s", request))
		if err != nil || string(got.Data) != want {
			t.Errorf("%s: got %v, %v; want %s", request, got, err, want)
		}
	}
	if _, err := answer(t.Context(), text(`42/admin,12["add"]`)); !errors.Is(err, socketio.ErrMessage) {
		t.Errorf("no argument: %v", err)
	}
	if got, err := answer(t.Context(), text(`451-/admin,12["add",{"_placeholder":true,"num":0}]`)); got != nil || err != nil {
		t.Errorf("attachments: %v, %v", got, err)
	}
	if _, err := answer(t.Context(), text(`42/admin,12[]`)); !errors.Is(err, socketio.ErrMessage) {
		t.Errorf("no name: %v", err)
	}
	silent, err := codec.Answer(nil)(t.Context(), text(`4212["add"]`))
	if silent != nil || err != nil {
		t.Errorf("no handler: %v, %v", silent, err)
	}
	empty, err := socketio.Codec{}.Answer(func(context.Context, socketio.Received) ([]any, error) { return nil, nil })(t.Context(), text(`425["x"]`))
	if err != nil || !bytes.Equal(empty.Data, []byte(`435[]`)) {
		t.Errorf("no result: %v, %v", empty, err)
	}
}

// As OnUnsolicited the function of Answer gets every message: it acknowledges nothing that is no
// request, and gives up a connection from which the server has disconnected the namespace.
func TestAnswer_Unsolicited(t *testing.T) {
	codec := socketio.Codec{Namespace: "/admin"}
	handled := codec.Answer(func(context.Context, socketio.Received) ([]any, error) { return nil, errors.New("called") })
	for name, answer := range map[string]func(context.Context, mux.Message) (*mux.Message, error){"handler": handled, "none": codec.Answer(nil)} {
		for message, want := range map[string]error{
			`42/admin,["price",1]`: nil, `43/admin,7[]`: nil, `40/admin,{"sid":"x"}`: nil, `4212["other namespace"]`: nil, `6`: nil, `x`: nil, ``: nil,
			`1`: mux.ErrAway, `41/admin,`: mux.ErrAway, `41`: nil,
		} {
			if got, err := answer(t.Context(), text("%s", message)); got != nil || !errors.Is(err, want) {
				t.Errorf("%s, %q: got %v, %v; want %v", name, message, got, err, want)
			}
		}
	}
}

// An event that the server emits on connection does not fail the dial, and pings and events while
// the connection is back in the pool leave it there.
func TestAnswer_Idle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		codec := socketio.Codec{}
		var pongs, events atomic.Int64
		serve := func(w http.ResponseWriter, r *http.Request) {
			var up websocket.Upgrader
			ws, err := up.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer ws.Close()
			over := make(chan struct{})
			defer close(over)
			var mu sync.Mutex // of writes
			send := func(m string) error {
				mu.Lock()
				defer mu.Unlock()
				return ws.WriteMessage(websocket.TextMessage, []byte(m))
			}
			send(`0{"sid":"x","upgrades":[],"pingInterval":300,"pingTimeout":20000}`)
			for {
				_, m, err := ws.ReadMessage()
				if err != nil {
					return
				}
				switch m := string(m); {
				case m == "40":
					send(`40{"sid":"y"}`)
					send(`42["welcome","hello"]`)
					go func() {
						for {
							select {
							case <-over:
								return
							case <-time.After(300 * time.Millisecond):
								send("2")
								send(`42["news"]`)
							}
						}
					}()
				case m == "3":
					pongs.Add(1)
				case strings.HasPrefix(m, "42"):
					send("43" + packets.FindStringSubmatch(m)[2] + "[6]")
				}
			}
		}
		l := memnet.Listen(1 << 12)
		server := &http.Server{Handler: http.HandlerFunc(serve)}
		done := make(chan struct{})
		go func() { defer close(done); server.Serve(l) }()
		defer func() { server.Close(); <-done }()
		pong := codec.Answer(nil)
		pool, err := wspool.New(wspool.Config{
			URL: "ws://mem/", NetDial: l.Dial, MaxSize: 4, OnConnect: codec.Connect(nil),
			OnUnsolicited: func(ctx context.Context, m mux.Message) (*mux.Message, error) {
				if _, err := socketio.ParseEvent(m); err == nil {
					events.Add(1)
				}
				return pong(ctx, m)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close(context.Background())
		client, err := mux.New(pool, mux.Config{Codec: codec, OnRequest: pong, IdleAfter: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close(context.Background())
		for range 4 {
			if _, err := client.Call(t.Context(), mux.Request{Body: socketio.Event{Name: "sum", Args: []any{1}}}); err != nil {
				t.Error(err)
			}
			time.Sleep(700 * time.Millisecond)
		}
		if s := pool.Stats(); s.Made != 1 || s.Idle != 1 || pongs.Load() < 8 || events.Load() < 4 {
			t.Errorf("%d pongs, %d events, %v", pongs.Load(), events.Load(), s)
		}
	})
}
