package graphqlws_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
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
	"github.com/respool/respool/wspool/mux/graphqlws"
	"github.com/respool/respool/wspool/mux/muxtest"
)

func text(format string, args ...any) mux.Message {
	return mux.Message{Type: websocket.TextMessage, Data: fmt.Appendf(nil, format, args...)}
}

// server answers an operation with its first result.
func server(call mux.Message) (mux.Message, error) {
	var m struct {
		ID, Type string
		Payload  struct{ Query string }
	}
	if err := json.Unmarshal(call.Data, &m); err != nil {
		return mux.Message{}, err
	}
	if _, err := strconv.ParseUint(m.ID, 10, 64); err != nil || m.Type != "subscribe" || m.Payload.Query == "" {
		return mux.Message{}, fmt.Errorf("bad message %+v, %v", m, err)
	}
	return text(`{"id":%q,"type":"next","payload":{"data":{"id":"1","type":"complete"}}}`, m.ID), nil
}

func TestCodec_Conforms(t *testing.T) {
	muxtest.Run(t, muxtest.Suite{
		Codec: graphqlws.Codec{},
		Bodies: []any{
			graphqlws.Operation{Query: "{ a }"},
			&graphqlws.Operation{Query: "query Q($x: Int) { a }", OperationName: "Q", Variables: map[string]any{"x": 1}, Extensions: map[string]any{"id": 3}},
		},
		BadBodies: []any{graphqlws.Operation{}, (*graphqlws.Operation)(nil), "query", graphqlws.Operation{Query: "{ a }", Variables: map[string]any{"x": make(chan int)}}},
		Reply:     server,
		Messages: []muxtest.Case{
			{Name: "next", Message: text(`{"payload":{"data":{"id":"2"}},"type":"next","id":"7"}`), Want: mux.Frame{Kind: mux.Part, ID: 7}},
			{Name: "error", Message: text(`{"id":"7","type":"error","payload":[{"message":"no"}]}`), Want: mux.Frame{Kind: mux.End, ID: 7}},
			{Name: "complete", Message: text(`{"id":"7","type":"complete"}`), Want: mux.Frame{Kind: mux.End, ID: 7}},
			{Name: "ping", Message: text(`{"type":"ping"}`), Want: mux.Frame{Kind: mux.Ask}},
			{Name: "pong", Message: text(`{"type":"pong","payload":{}}`), Want: mux.Frame{Kind: mux.Ignore}},
			{Name: "connection_ack", Message: text(`{"type":"connection_ack"}`), Want: mux.Frame{Kind: mux.Ignore}},
			{Name: "escapes", Message: text(`{"\u0069d":"7","t\u0079pe":"n\u0065xt"}`), Want: mux.Frame{Kind: mux.Part, ID: 7}},
			{Name: "no id", Message: text(`{"type":"next"}`), Bad: true},
			{Name: "id of another client", Message: text(`{"id":"2b5e","type":"next"}`), Bad: true},
			{Name: "unknown type", Message: text(`{"id":"7","type":"data"}`), Bad: true},
			{Name: "no object", Message: text(`"next"`), Bad: true},
		},
	})
}

func TestDecode(t *testing.T) {
	var data struct{ A int }
	if err := graphqlws.Decode(text(`{"id":"1","type":"next","payload":{"data":{"a":3}}}`), &data); err != nil || data.A != 3 {
		t.Errorf("%+v, %v", data, err)
	}
	var errs graphqlws.Errors
	err := graphqlws.Decode(text(`{"id":"1","type":"next","payload":{"data":{"a":4},"errors":[{"message":"b failed","path":["b",0]},{"message":"c failed"}]}}`), &data)
	if !errors.As(err, &errs) || data.A != 4 || len(errs) != 2 || err.Error() != "graphqlws: server replied with errors: b failed (and 1 more)" {
		t.Errorf("%+v, %v", data, err)
	}
	err = graphqlws.Decode(text(`{"id":"1","type":"error","payload":[{"message":"syntax"}]}`), &data)
	if !errors.As(err, &errs) || errs[0].Message != "syntax" {
		t.Errorf("%v", err)
	}
	for _, m := range []string{`{"id":"1","type":"complete"}`, `x`, `{"type":"next"}`, `{"type":"error","payload":1}`, `{"type":"next","payload":{"data":[]}}`} {
		if err := graphqlws.Decode(text("%s", m), &data); !errors.Is(err, graphqlws.ErrMessage) {
			t.Errorf("%s: %v", m, err)
		}
	}
}

// Pong answers pings alone: what else arrives may be a result that no lease has read.
func TestPong(t *testing.T) {
	for message, want := range map[string]string{
		`{"type":"ping"}`: `{"type":"pong"}`, `{"type":"ping","payload":{"type":"next"}}`: `{"type":"pong"}`,
		`{"type":"pong"}`: "", `{"id":"7","type":"next","payload":{"type":"ping"}}`: "", `{"id":"7","type":"complete"}`: "", `ping`: "", ``: "",
	} {
		switch answer, err := graphqlws.Pong(t.Context(), text("%s", message)); {
		case err != nil:
			t.Errorf("%s: %v", message, err)
		case answer == nil && want != "", answer != nil && string(answer.Data) != want:
			t.Errorf("%s: got %v, want %s", message, answer, want)
		}
	}
}

// pinging serves connections that ping right behind connection_ack and then every 300 ms, and
// answers every operation with n. pongs counts the answers to its pings.
func pinging(pongs *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{Subprotocols: []string{graphqlws.Subprotocol}}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		over := make(chan struct{})
		defer close(over)
		var mu sync.Mutex // of writes
		send := func(format string, args ...any) error {
			mu.Lock()
			defer mu.Unlock()
			return ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...))
		}
		for {
			var m struct{ ID, Type string }
			if ws.ReadJSON(&m) != nil {
				return
			}
			switch m.Type {
			case "connection_init":
				send(`{"type":"connection_ack"}`)
				go func() {
					for send(`{"type":"ping"}`) == nil {
						select {
						case <-over:
							return
						case <-time.After(300 * time.Millisecond):
						}
					}
				}()
			case "pong":
				pongs.Add(1)
			case "subscribe":
				send(`{"id":%q,"type":"next","payload":{"data":{"n":1}}}`, m.ID)
				send(`{"id":%q,"type":"complete"}`, m.ID)
			}
		}
	}
}

// Pings behind connection_ack, during calls, and while the connection is back in the pool are
// answered, and all calls use one connection.
func TestPong_Idle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pongs atomic.Int64
		l := memnet.Listen(1 << 12)
		server := &http.Server{Handler: pinging(&pongs)}
		done := make(chan struct{})
		go func() { defer close(done); server.Serve(l) }()
		defer func() { server.Close(); <-done }()
		pool, err := wspool.New(wspool.Config{
			URL: "ws://mem/", NetDial: l.Dial, MaxSize: 4, Subprotocols: []string{graphqlws.Subprotocol},
			OnConnect: graphqlws.Connect(nil), OnUnsolicited: graphqlws.Pong,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close(context.Background())
		client, err := mux.New(pool, mux.Config{Codec: graphqlws.Codec{}, OnRequest: graphqlws.Pong, IdleAfter: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close(context.Background())
		for range 4 {
			if err := graphqlws.Call(t.Context(), client, graphqlws.Operation{Query: "{ n }"}, nil); err != nil {
				t.Error(err)
			}
			time.Sleep(700 * time.Millisecond)
		}
		if s := pool.Stats(); s.Made != 1 || s.Idle != 1 || s.Unsolicited < 4 || pongs.Load() < 8 {
			t.Errorf("%d pongs, %v", pongs.Load(), s)
		}
	})
}

// Classify finds what encoding/json finds, wherever the id and the type are and however they are
// written.
func FuzzClassify(f *testing.F) {
	for _, seed := range []string{
		`{"id":"1","type":"next","payload":{"id":"2","type":"error"}}`, `{"payload":{"id":"2"},"type":"complete","id":"1"}`, `{"id":"1","id":"4","type":"error"}`,
		`{"\u0069d":"3","type":"n\u0065xt"}`, `{"id":1.0,"type":"next"}`, `{"type":"ping"}`, `{"type":"pong","id":"1"}`, `{"type":"connection_ack"}`,
		`{"id":"1"}`, `{"type":"next"}`, `{"id":"x","type":"next"}`, `{"id":"1","type":"next","type":7}`,
		`{"type":"next","payload":{"data":"` + strings.Repeat("x", 64<<10) + `"},"id":"12345"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := graphqlws.Codec{}.Classify(websocket.TextMessage, data)
		var want map[string]json.RawMessage
		if json.Unmarshal(data, &want) != nil || want == nil {
			return
		}
		var kind, id string
		if json.Unmarshal(want["type"], &kind) != nil {
			kind = ""
		}
		expected, known := map[string]mux.Kind{
			"next": mux.Part, "error": mux.End, "complete": mux.End, "ping": mux.Ask, "pong": mux.Ignore, "connection_ack": mux.Ignore,
		}[kind]
		switch {
		case !known:
			if err == nil {
				t.Fatalf("type %q: got %v", kind, got)
			}
		case expected != mux.Part && expected != mux.End:
			if err != nil || got.Kind != expected {
				t.Fatalf("type %q: got %v, %v", kind, got, err)
			}
		case json.Unmarshal(want["id"], &id) == nil && !bytes.ContainsRune(want["id"], '\\'):
			n, bad := strconv.ParseUint(id, 10, 64)
			if ok := bad == nil && n > 0; ok != (err == nil) || ok && (got.Kind != expected || got.ID != n) {
				t.Fatalf("type %q, id %q: got %v, %v", kind, id, got, err)
			}
		}
	})
}
