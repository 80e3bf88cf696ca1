package jsonrpc_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/jsonrpc"
	"github.com/respool/respool/wspool/mux/muxtest"
)

func text(format string, args ...any) mux.Message {
	return mux.Message{Type: websocket.TextMessage, Data: fmt.Appendf(nil, format, args...)}
}

// echo answers a call as a server does that keeps ids as they came.
func echo(call mux.Message) (mux.Message, error) {
	type request struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Method  string          `json:"method"`
		Params  json.RawMessage `json:"params"`
	}
	answer := func(r request) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","result":{"id":0,"method":%q},"id":%s}`, r.Method, r.ID)
	}
	check := func(r request) error {
		if r.JSONRPC != "2.0" || len(r.ID) == 0 || r.Method == "" {
			return fmt.Errorf("bad request %+v", r)
		}
		return nil
	}
	if call.Data[0] != '[' {
		var r request
		if err := json.Unmarshal(call.Data, &r); err != nil {
			return mux.Message{}, err
		}
		return text("%s", answer(r)), check(r)
	}
	var batch []request
	if err := json.Unmarshal(call.Data, &batch); err != nil {
		return mux.Message{}, err
	}
	var parts []string
	for _, r := range batch {
		if err := check(r); err != nil {
			return mux.Message{}, err
		}
		parts = append([]string{answer(r)}, parts...) // in any order
	}
	return text("[%s]", strings.Join(parts, " ,\n")), nil
}

func TestCodec_Conforms(t *testing.T) {
	bodies := []any{
		jsonrpc.Request{Method: "ping"},
		&jsonrpc.Request{Method: "add", Params: []int{1, 2}},
		jsonrpc.Request{Method: "quote\"\\\n\u2028é", Params: map[string]any{"id": 9, "method": "no"}},
		jsonrpc.Request{Method: "nil", Params: []int(nil)},
		jsonrpc.Request{Method: "raw", Params: json.RawMessage(` [1]`)},
		jsonrpc.Batch{{Method: "a"}, {Method: "b", Params: []any{nil}}, {Method: "c"}},
	}
	bad := []any{
		jsonrpc.Request{}, (*jsonrpc.Request)(nil), jsonrpc.Batch{}, jsonrpc.Batch{{Method: "a"}, {}}, "text",
		jsonrpc.Request{Method: "a", Params: 1}, jsonrpc.Request{Method: "a", Params: make(chan int)}, jsonrpc.Request{Method: "a", Params: json.RawMessage("")},
	}
	messages := []muxtest.Case{
		{Name: "number", Message: text(`{"id":7,"result":1}`), Want: mux.Frame{Kind: mux.Reply, ID: 7}},
		{Name: "string", Message: text(`{"id":"7","result":1}`), Want: mux.Frame{Kind: mux.Reply, ID: 7}},
		{Name: "fraction", Message: text(`{"id":6147483647.0,"result":1}`), Want: mux.Frame{Kind: mux.Reply, ID: 6147483647}},
		{Name: "nested id", Message: text(`{"result":{"id":1,"x":[{"id":2}]},"id":3}`), Want: mux.Frame{Kind: mux.Reply, ID: 3}},
		{Name: "id in a string", Message: text(`{"result":"\"id\":4,","id":3}`), Want: mux.Frame{Kind: mux.Reply, ID: 3}},
		{Name: "two ids", Message: text(`{"id":1,"result":0,"id":2}`), Want: mux.Frame{Kind: mux.Reply, ID: 2}},
		{Name: "escaped key", Message: text(`{"\u0069d":5,"result":0}`), Want: mux.Frame{Kind: mux.Reply, ID: 5}},
		{Name: "id last in 64 KiB", Message: text(`{"result":"%s","id":6}`, strings.Repeat(`x\\`, 22<<10)), Want: mux.Frame{Kind: mux.Reply, ID: 6}},
		{Name: "error", Message: text(`{"id":7,"error":{"code":1,"message":"no"}}`), Want: mux.Frame{Kind: mux.Reply, ID: 7}},
		{Name: "null method", Message: text(`{"method":null,"params":null,"result":1,"error":null,"id":7}`), Want: mux.Frame{Kind: mux.Reply, ID: 7}},
		{Name: "null method and id", Message: text(`{"method":null,"id":null,"error":{"code":-32700}}`), Bad: true},
		{Name: "event", Message: text(`{"method":"m","params":{"subscription":1}}`), Want: mux.Frame{Kind: mux.Event}},
		{Name: "event with a null id", Message: text(`{"method":"m","id":null}`), Want: mux.Frame{Kind: mux.Event}},
		{Name: "request", Message: text(`{"method":"m","id":"abc"}`), Want: mux.Frame{Kind: mux.Ask}},
		{Name: "batch of events", Message: text(`[{"method":"m"},{"method":"n"}]`), Want: mux.Frame{Kind: mux.Event}},
		{Name: "batch of replies", Message: text(`[{"id":"9.1","result":1},{"id":"9.0","result":1}]`), Want: mux.Frame{Kind: mux.Reply, ID: 9}},
		{Name: "batch with a reply behind an event", Message: text(`[{"method":"m"},{"id":"9.1","result":1}]`), Want: mux.Frame{Kind: mux.Reply, ID: 9}},
		{Name: "cancel's reply", Message: text(`{"id":0,"result":true}`), Want: mux.Frame{Kind: mux.Ignore}},
		{Name: "null id", Message: text(`{"id":null,"error":{"code":-32700}}`), Bad: true},
		{Name: "no id", Message: text(`{"result":1}`), Bad: true},
		{Name: "id is no number", Message: text(`{"id":"x","result":1}`), Bad: true},
		{Name: "negative id", Message: text(`{"id":-1,"result":1}`), Bad: true},
		{Name: "broken id", Message: text(`{"id":1.5,"result":1}`), Bad: true},
		{Name: "huge id", Message: text(`{"id":18446744073709551616,"result":1}`), Bad: true},
		{Name: "empty batch", Message: text(`[]`), Bad: true},
		{Name: "batch of numbers", Message: text(`[1]`), Bad: true},
		{Name: "text", Message: text(`hello`), Bad: true},
		{Name: "trailing", Message: text(`{"id":1}{`), Bad: true},
	}
	for _, codec := range []jsonrpc.Codec{{}, {StringIDs: true}, {Bits: 31}, {Bits: 64, Cancel: "$/cancelRequest"}} {
		t.Run(fmt.Sprintf("%+v", codec), func(t *testing.T) {
			muxtest.Run(t, muxtest.Suite{Codec: codec, Bodies: bodies, BadBodies: bad, Reply: echo, Notifies: true, Messages: messages})
		})
	}
	eth := jsonrpc.Codec{Unsubscribe: "eth_unsubscribe", Away: "goaway"}
	t.Run("subscriptions", func(t *testing.T) {
		muxtest.Run(t, muxtest.Suite{Codec: eth, Bodies: bodies, BadBodies: bad, Reply: echo, Notifies: true,
			CancelReply: func(cancel mux.Message) (mux.Message, bool) {
				reply, err := echo(cancel)
				if err != nil {
					t.Error(err)
				}
				return reply, true
			},
			Messages: []muxtest.Case{
				{Name: "part", Message: text(`{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0xcd0c","result":{"id":1}}}`), Want: mux.Frame{Kind: mux.Part, Key: []byte(`"0xcd0c"`)}},
				{Name: "number for a key", Message: text(`{"method":"slotNotification","params":{"result":{"slot":75},"subscription":12}}`), Want: mux.Frame{Kind: mux.Part, Key: []byte(`12`)}},
				{Name: "event", Message: text(`{"method":"m","params":["subscription"]}`), Want: mux.Frame{Kind: mux.Event}},
				{Name: "away", Message: text(`{"method":"goaway"}`), Want: mux.Frame{Kind: mux.Away}},
			}})
	})
}

// FuzzClassify compares Classify with encoding/json.
func FuzzClassify(f *testing.F) {
	for _, seed := range []string{
		`{"id":1}`, `{"id":1.0,"result":{"id":2}}`, `{"\u0069d":"3"}`, `{"id":1,"id":4}`, `[{"id":"5.1"}]`, `{"method":"m","id":6}`, `{"id":"6.x"}`, `{"id":"007"}`, `{"method":null,"id":13}`,
		`{"result":"` + strings.Repeat("x", 64<<10) + `","id":12345}`, `{"result":"` + strings.Repeat(`\"`, 32<<10) + `","id":8}`,
		`{"result":[{"id":9},[{"id":10}]],"id":11,"id":12.0}`,
	} {
		f.Add([]byte(seed))
	}
	codec := jsonrpc.Codec{}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := codec.Classify(websocket.TextMessage, data)
		var want map[string]json.RawMessage
		if json.Unmarshal(data, &want) != nil || want == nil {
			return
		}
		id := want["id"]
		hasID := id != nil && string(id) != "null"
		hasMethod := want["method"] != nil && string(want["method"]) != "null"
		switch {
		case hasMethod && hasID:
			if err != nil || got.Kind != mux.Ask {
				t.Fatalf("request: got %v, %v", got, err)
			}
		case hasMethod:
			if err != nil || got.Kind != mux.Event {
				t.Fatalf("notification: got %v, %v", got, err)
			}
		case !hasID:
			if err == nil {
				t.Fatalf("no id: got %v", got)
			}
		default:
			var n uint64
			if json.Unmarshal(id, &n) == nil {
				if n == 0 && got.Kind != mux.Ignore || n != 0 && (got.Kind != mux.Reply || got.ID != n) || err != nil {
					t.Fatalf("id %d: got %v, %v", n, got, err)
				}
				return
			}
			var fl float64
			if json.Unmarshal(id, &fl) == nil && fl == math.Trunc(fl) && fl > 0 && fl < 1<<53 && err == nil && got.ID != uint64(fl) {
				t.Fatalf("id %s: got %v", id, got)
			}
		}
	})
}

func TestDecode(t *testing.T) {
	var n int
	if err := jsonrpc.Decode(text(`{"id":1,"result":42}`), &n); err != nil || n != 42 {
		t.Errorf("got %d, %v", n, err)
	}
	if err := jsonrpc.Decode(text(`{"id":1,"result":null}`), nil); err != nil {
		t.Errorf("a null result: %v", err)
	}
	var failure *jsonrpc.Error
	err := jsonrpc.Decode(text(`{"id":1,"error":{"code":-32601,"message":"no such method","data":[1]}}`), &n)
	if !errors.As(err, &failure) || failure.Code != jsonrpc.CodeMethodNotFound || failure.Message != "no such method" || string(failure.Data) != "[1]" {
		t.Errorf("got %v", err)
	}
	for message, want := range map[string]int{
		`{"id":1,"error":{"code":1.0,"message":""}}`: 1, `{"id":1,"error":"busy"}`: 0, `{"id":1,"error":{"code":"x"}}`: 0, `{"id":1,"error":7}`: 0,
	} {
		if err := jsonrpc.Decode(text("%s", message), nil); !errors.As(err, &failure) || failure.Code != want {
			t.Errorf("%s: got %v", message, err)
		}
	}
	for _, message := range []string{`{"id":1}`, `{"id":1,"result":"x"}`, `x`, `{"id":1,"error":null}`} {
		if err := jsonrpc.Decode(text("%s", message), &n); !errors.Is(err, jsonrpc.ErrMessage) {
			t.Errorf("%s: got %v", message, err)
		}
	}
}

func TestDecodeBatch(t *testing.T) {
	codec := jsonrpc.Codec{}
	_, call, err := codec.Append(nil, 77, jsonrpc.Batch{{Method: "a"}, {Method: "b"}, {Method: "c"}, {Method: "d"}})
	if err != nil || !bytes.Contains(call, []byte(`"id":"77.3"`)) {
		t.Fatalf("%s, %v", call, err)
	}
	var a, d int
	errs := jsonrpc.DecodeBatch(text(`[{"id":"77.3","result":4},{"id":"77.1","error":{"code":5,"message":"no"}},{"id":"77.0","result":1},{"id":"77.9","result":1},1]`), &a, nil, nil, &d)
	var failure *jsonrpc.Error
	if a != 1 || d != 4 || errs[0] != nil || !errors.As(errs[1], &failure) || failure.Code != 5 || !errors.Is(errs[2], jsonrpc.ErrMessage) || errs[3] != nil {
		t.Errorf("%d, %d, %v", a, d, errs)
	}
}

func TestStreamKey(t *testing.T) {
	codec := jsonrpc.Codec{Unsubscribe: "eth_unsubscribe"}
	key, err := codec.StreamKey(text(`{"id":1,"result":"0x9ce5"}`))
	if string(key) != `"0x9ce5"` || err != nil {
		t.Errorf("%s, %v", key, err)
	}
	var failure *jsonrpc.Error
	if _, err := codec.StreamKey(text(`{"id":1,"error":{"code":3,"message":"no"}}`)); !errors.As(err, &failure) || failure.Code != 3 {
		t.Errorf("%v", err)
	}
	for _, reply := range []string{`{"id":1,"result":null}`, `{"id":1}`, `x`} {
		if _, err := codec.StreamKey(text("%s", reply)); !errors.Is(err, jsonrpc.ErrMessage) {
			t.Errorf("%s: %v", reply, err)
		}
	}
	_, cancel, err := codec.AppendCancel(nil, 9, []byte(`"0x9ce5"`))
	if string(cancel) != `{"jsonrpc":"2.0","id":0,"method":"eth_unsubscribe","params":["0x9ce5"]}` || err != nil {
		t.Errorf("%s, %v", cancel, err)
	}
	if err := (jsonrpc.Codec{}).CanStream(); err != jsonrpc.ErrNoSubscriptions {
		t.Errorf("without Unsubscribe: %v", err)
	}
	if err := codec.CanStream(); err != nil {
		t.Error(err)
	}
	_, cancel, err = (jsonrpc.Codec{Cancel: "$/cancelRequest", StringIDs: true}).AppendCancel(nil, 9, nil)
	if string(cancel) != `{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"9"}}` || err != nil {
		t.Errorf("%s, %v", cancel, err)
	}
}

func TestAnswer(t *testing.T) {
	request := text(`{"jsonrpc":"2.0","id":"abc","method":"ask","params":[1]}`)
	for _, c := range []struct {
		result  any
		failure error
		want    string
	}{
		{[]int{1}, nil, `{"jsonrpc":"2.0","id":"abc","result":[1]}`},
		{nil, nil, `{"jsonrpc":"2.0","id":"abc","result":null}`},
		{nil, &jsonrpc.Error{Code: -5, Message: "no"}, `{"jsonrpc":"2.0","id":"abc","error":{"code":-5,"message":"no"}}`},
		{nil, errors.New("dial tcp: password hunter2"), `{"jsonrpc":"2.0","id":"abc","error":{"code":-32603,"message":"internal error"}}`},
	} {
		got, err := jsonrpc.Answer(request, c.result, c.failure)
		if err != nil || string(got.Data) != c.want {
			t.Errorf("got %s, %v; want %s", got.Data, err, c.want)
		}
	}
	if _, err := jsonrpc.Answer(text(`{"method":"m"}`), 1, nil); !errors.Is(err, jsonrpc.ErrMessage) {
		t.Errorf("a notification: %v", err)
	}
	if _, err := jsonrpc.Answer(request, make(chan int), nil); !errors.Is(err, jsonrpc.ErrBody) {
		t.Errorf("a channel: %v", err)
	}
	n, err := jsonrpc.ParseNotification(request)
	if n.Method != "ask" || string(n.Params) != "[1]" || err != nil {
		t.Errorf("%+v, %v", n, err)
	}
	var price float64
	if err := jsonrpc.DecodePart(text(`{"method":"p","params":{"subscription":1,"result":1.5}}`), &price); err != nil || price != 1.5 {
		t.Errorf("%v, %v", price, err)
	}
}
