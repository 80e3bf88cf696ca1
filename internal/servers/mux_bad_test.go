package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/graphqlws"
	"github.com/respool/respool/wspool/mux/jsonrpc"
)

// Each bad message of a server is dropped, counted and reported once. The connection stays in use,
// and the calls that the server does answer get their replies.
func TestMuxBadMessages(t *testing.T) {
	const callers, each = 16, 20
	unknown := []string{ // ids that were never sent
		`{"jsonrpc":"2.0","id":999999999999,"result":"bad"}`,
		`{"jsonrpc":"2.0","id":"123456789012","error":{"code":1,"message":"bad"}}`,
	}
	const ofCancel = `{"jsonrpc":"2.0","id":0,"result":"bad"}` // 0 is the id of messages that cancel: their replies are ignored
	bad := []string{
		`{"jsonrpc":"2.0","id":{"a":1},"result":"bad"}`,
		`{"jsonrpc":"2.0","id":[1],"result":"bad"}`,
		`{"jsonrpc":"2.0","id":true,"result":"bad"}`,
		`{"jsonrpc":"2.0","id":"one","result":"bad"}`,
		`{"jsonrpc":"2.0","id":-1,"result":"bad"}`,
		`{"jsonrpc":"2.0","id":1.5,"result":"bad"}`,
		`{"jsonrpc":"2.0","id":1e400,"result":"bad"}`,
		`{"jsonrpc":"2.0","id":184467440737095516160,"result":"bad"}`,
		`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error"}}`,
		`{"jsonrpc":"2.0","result":"bad"}`,
		`{"jsonrpc":"2.0","id":1`,
		`[]`, `"text"`, `17`, ``, "\x00\xff",
	}
	url := rpcServer(t, func(ws *websocket.Conn, c rpcCall) {
		for _, m := range slices.Concat(unknown, bad, []string{ofCancel}) {
			ws.WriteMessage(websocket.TextMessage, []byte(m))
		}
		say(ws, string(c.ID), c.text())
	})
	var dropped [8]atomic.Int64 // by reason
	c := newMux(t, wspool.Config{URL: url, MaxSize: 1}, mux.Config{Codec: jsonrpc.Codec{}, Trace: &mux.Trace{Dropped: func(e mux.DropEvent) {
		dropped[e.Reason].Add(1)
		if e.Reason == mux.DropBad && !errors.Is(e.Err, jsonrpc.ErrMessage) {
			t.Errorf("a bad message of %d bytes has the error %v", e.Bytes, e.Err)
		}
	}}})
	storm(t, callers, each, func(ctx context.Context, id int64) error {
		question, answer := padded(id), ""
		return matches(question, answer, jsonrpc.Call(ctx, c, "say", []string{question}, &answer))
	})
	s := c.Stats()
	if want := int64(callers * each); s.Bad != want*int64(len(bad)) || s.Unknown != want*int64(len(unknown)) || s.Calls != want || s.Ignored != want {
		t.Errorf("%d bad, %d unknown messages, %d ignored and %d calls, want %d, %d and the same as the calls, %d",
			s.Bad, s.Unknown, s.Ignored, s.Calls, want*int64(len(bad)), want*int64(len(unknown)), want)
	}
	if dropped[mux.DropBad].Load() != s.Bad || dropped[mux.DropUnknown].Load() != s.Unknown {
		t.Errorf("%d bad and %d unknown messages were reported: %+v", dropped[mux.DropBad].Load(), dropped[mux.DropUnknown].Load(), s)
	}
	if s.Acquired != 1 || s.Late != 0 {
		t.Errorf("%+v", s)
	}
}

// A reply of 64 MiB arrives whole where the pool allows it, and ends the connection with a clear
// error where it does not. Other calls get their replies, or an error with their fate.
func TestMuxLongMessage(t *testing.T) {
	if testing.Short() {
		t.Skip("sends 64 MiB twice")
	}
	const length = 64 << 20
	long := strings.Repeat("x", length)
	url := rpcServer(t, func(ws *websocket.Conn, c rpcCall) {
		if c.Method == "long" {
			ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":"%s"}`, c.ID, long))
			return
		}
		say(ws, string(c.ID), c.text())
	})
	for _, limit := range []int64{0, length + 1<<10} {
		c := newMux(t, wspool.Config{URL: url, MaxSize: 4, ReadLimit: limit}, mux.Config{Codec: jsonrpc.Codec{}})
		var all sync.WaitGroup
		done := make(chan struct{})
		var told, served atomic.Int64
		for range 4 {
			all.Go(func() {
				for id := int64(1); ; id++ {
					select {
					case <-done:
						return
					default:
					}
					question, answer := padded(id), ""
					err := jsonrpc.Call(t.Context(), c, "say", []string{question}, &answer)
					var fate *mux.CallError
					switch {
					case errors.As(err, &fate) && errors.Is(err, wspool.ErrReadLimit):
						told.Add(1)
					case matches(question, answer, err) != nil:
						t.Error(err)
						return
					default:
						served.Add(1)
					}
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		var answer string
		err := jsonrpc.Call(ctx, c, "long", nil, &answer)
		cancel()
		before := served.Load()
		until(t, "other calls are not served", func() bool { return served.Load() > before })
		close(done)
		all.Wait()
		if limit > 0 {
			if err != nil || answer != long || told.Load() > 0 {
				t.Errorf("limit %d: %d bytes, %v, %d others failed", limit, len(answer), err, told.Load())
			}
		} else if fated(t, err, mux.ErrMayHaveRun, wspool.ErrReadLimit); answer != "" {
			t.Errorf("limit %d: %d bytes", limit, len(answer))
		}
	}
}

// A cancellation may cross the server's end of the subscription on the network (strawberry#1731,
// strawberry#1733, subscriptions-transport-ws#711). Parts after the end are dropped, the client
// cancels at most once, and the connection stays in use.
func TestMuxCancelRaces(t *testing.T) {
	var mu sync.Mutex
	canceled := map[string]int{} // by id, of one connection
	var bad atomic.Int64
	p := &peer{handle: func(ws *websocket.Conn) {
		for {
			var m struct {
				ID, Type string
				Payload  struct{ Query string }
			}
			if ws.ReadJSON(&m) != nil {
				return
			}
			send := func(format string, args ...any) {
				ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...)) // the client may have gone
			}
			switch m.Type {
			case "connection_init":
				send(`{"type":"connection_ack"}`)
			case "subscribe":
				text, _ := json.Marshal(m.Payload.Query)
				next := fmt.Sprintf(`{"id":%q,"type":"next","payload":{"data":%s}}`, m.ID, text)
				end := fmt.Sprintf(`{"id":%q,"type":"complete"}`, m.ID)
				for _, s := range []string{next, next, end, next, end, next} {
					send("%s", s)
				}
			case "complete":
				mu.Lock()
				canceled[m.ID]++
				mu.Unlock()
			default:
				bad.Add(1)
			}
		}
	}}
	url := p.listen(t)
	c := newMux(t, wspool.Config{URL: url, MaxSize: 1, OnConnect: graphqlws.Connect(nil)}, mux.Config{Codec: graphqlws.Codec{}})
	storm(t, 8, 100, func(ctx context.Context, id int64) error {
		name := fmt.Sprint(id)
		if id%5 == 0 { // a call on the same connection
			var got string
			err := graphqlws.Call(ctx, c, graphqlws.Operation{Query: name}, &got)
			return matches(name, got, err)
		}
		s, err := c.Stream(ctx, mux.Request{Body: graphqlws.Operation{Query: name}}, mux.StreamConfig{})
		if err != nil {
			return err
		}
		defer s.Close()
		parts := 0
		for range id % 5 {
			item, err := s.Next(ctx)
			switch {
			case err == io.EOF && parts == 2:
				return nil
			case err != nil:
				return fmt.Errorf("after %d parts: %w", parts, err)
			case item.End:
				continue
			}
			var got string
			if err := matches(name, got, graphqlws.Decode(item.Message, &got)); err != nil {
				return err
			}
			if parts++; parts > 2 {
				return errors.New("a part after the end")
			}
		}
		return s.Close()
	})
	until(t, "something is left", func() bool {
		s := c.Stats()
		return s.InFlight+s.Orphans+s.Streams == 0
	})
	s := c.Stats()
	if s.Bad+s.Unknown != 0 || s.Acquired != 1 || bad.Load() != 0 || p.dialed() != 1 {
		t.Errorf("%d bad messages of the client, %d connections, %+v", bad.Load(), p.dialed(), s)
	}
	mu.Lock()
	defer mu.Unlock()
	for id, n := range canceled {
		if n > 1 {
			t.Errorf("operation %s was canceled %d times", id, n)
		}
	}
	t.Logf("%d operations canceled, %d late messages", len(canceled), s.Late)
}
