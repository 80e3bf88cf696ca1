package devtools_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/devtools"
	"github.com/respool/respool/wspool/mux/muxtest"
)

func text(format string, args ...any) mux.Message {
	return mux.Message{Type: websocket.TextMessage, Data: fmt.Appendf(nil, format, args...)}
}

// browser answers a command; as Chromium does, it reads ids as int32.
func browser(call mux.Message) (mux.Message, error) {
	var c struct {
		ID        int32
		Method    string
		Params    map[string]any
		SessionID *string
	}
	if err := json.Unmarshal(call.Data, &c); err != nil {
		return mux.Message{}, err
	}
	if c.ID <= 0 || c.Method == "" {
		return mux.Message{}, fmt.Errorf("bad command %+v", c)
	}
	if c.SessionID != nil {
		return text(`{"id":%d,"result":{"id":1},"sessionId":%q}`, c.ID, *c.SessionID), nil
	}
	return text(`{"id":%d,"result":{"id":1}}`, c.ID), nil
}

func TestCodec_Conforms(t *testing.T) {
	muxtest.Run(t, muxtest.Suite{
		Codec: devtools.Codec{},
		Bodies: []any{
			devtools.Command{Method: "Browser.getVersion"},
			&devtools.Command{Method: "Page.navigate", Params: map[string]string{"url": "about:blank"}, SessionID: `A"B`},
			devtools.Command{Method: "Page.enable", Params: map[string]any(nil)},
			devtools.Command{Method: "Runtime.evaluate", Params: json.RawMessage(`{"expression":"1"}`)},
		},
		BadBodies: []any{
			devtools.Command{}, (*devtools.Command)(nil), 1, devtools.Command{Method: "a", Params: []int{1}},
			devtools.Command{Method: "a", Params: make(chan int)}, devtools.Command{Method: "a", Params: json.RawMessage{}},
		},
		Reply: browser,
		Messages: []muxtest.Case{
			{Name: "event", Message: text(`{"method":"Page.loadEventFired","params":{"id":3},"sessionId":"A"}`), Want: mux.Frame{Kind: mux.Event}},
			{Name: "error", Message: text(`{"id":3,"error":{"code":-32000,"message":"no"}}`), Want: mux.Frame{Kind: mux.Reply, ID: 3}},
			{Name: "number with a fraction", Message: text(`{"id":6147.0,"result":{}}`), Want: mux.Frame{Kind: mux.Reply, ID: 6147}},
			{Name: "error without an id", Message: text(`{"error":{"code":-32700,"message":"no"}}`), Bad: true},
			{Name: "no object", Message: text(`[]`), Bad: true},
		},
	})
}

func TestDecode(t *testing.T) {
	var result struct{ Value int }
	if err := devtools.Decode(text(`{"id":1,"result":{"value":4}}`), &result); err != nil || result.Value != 4 {
		t.Errorf("%+v, %v", result, err)
	}
	var failure *devtools.Error
	err := devtools.Decode(text(`{"id":1,"error":{"code":-32000,"message":"Cannot find","data":"x"}}`), nil)
	if !errors.As(err, &failure) || failure.Code != -32000 || err.Error() != "devtools: browser replied with an error: Cannot find: x (code -32000)" {
		t.Errorf("%v", err)
	}
	for _, m := range []string{`{"id":1}`, `x`, `{"id":1,"error":3}`, `{"id":1,"result":[]}`} {
		if err := devtools.Decode(text("%s", m), &result); !errors.Is(err, devtools.ErrMessage) {
			t.Errorf("%s: %v", m, err)
		}
	}
}

func TestParseEvent(t *testing.T) {
	e, err := devtools.ParseEvent(text(`{"method":"M.e","params":{"a":1},"sessionId":"S"}`))
	if err != nil || e.Method != "M.e" || string(e.Params) != `{"a":1}` || e.SessionID != "S" {
		t.Errorf("%+v, %v", e, err)
	}
	for _, m := range []string{`{"id":1}`, `x`, `{"method":3}`, `{"method":"m","sessionId":3}`} {
		if _, err := devtools.ParseEvent(text("%s", m)); !errors.Is(err, devtools.ErrMessage) {
			t.Errorf("%s: %v", m, err)
		}
	}
}

// caller answers as the browser does, and notes the request.
type caller struct{ last mux.Request }

func (c *caller) Call(_ context.Context, r mux.Request) (mux.Message, error) {
	c.last = r
	messageType, out, err := devtools.Codec{}.Append(nil, 5, r.Body)
	if err != nil {
		return mux.Message{}, err
	}
	return browser(mux.Message{Type: messageType, Data: out})
}

func TestCall(t *testing.T) {
	c := new(caller)
	var got struct{ ID int }
	err := devtools.Call(t.Context(), c, devtools.Command{Method: "Page.enable", SessionID: "S"}, &got)
	if err != nil || got.ID != 1 || c.last.Session != "S" {
		t.Errorf("%+v, %v, %+v", got, err, c.last)
	}
	if err := devtools.Call(t.Context(), c, devtools.Command{}, nil); !errors.Is(err, devtools.ErrBody) {
		t.Errorf("no method: %v", err)
	}
}

// Classify finds what encoding/json finds, wherever the id is and however it is written.
func FuzzClassify(f *testing.F) {
	for _, seed := range []string{
		`{"id":1,"result":{}}`, `{"result":{"id":2,"method":"m"},"id":1}`, `{"id":1,"id":4}`, `{"\u0069d":3}`, `{"id":1.0}`, `{"id":2147483647.0}`,
		`{"method":"Page.loadEventFired","params":{"id":9},"sessionId":"S"}`, `{"id":null,"method":"m"}`, `{"error":{"code":-32700}}`, `{"id":"7"}`,
		`{"id":5,"method":"m"}`, `{"result":{"data":"` + strings.Repeat("x", 64<<10) + `"},"id":12345}`,
		`{"result":"` + strings.Repeat(`\"`, 32<<10) + `","id":8}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := devtools.Codec{}.Classify(websocket.TextMessage, data)
		var want map[string]json.RawMessage
		if json.Unmarshal(data, &want) != nil || want == nil {
			return
		}
		id := want["id"]
		var n uint64
		var fl float64
		switch {
		case id != nil && json.Unmarshal(id, &n) == nil && n > 0:
			if err != nil || got.Kind != mux.Reply || got.ID != n {
				t.Fatalf("id %d: got %v, %v", n, got, err)
			}
		case id == nil || string(id) == "null":
			if isEvent := want["method"] != nil; isEvent != (err == nil) || isEvent && got.Kind != mux.Event {
				t.Fatalf("no id: got %v, %v", got, err)
			}
		case json.Unmarshal(id, &fl) == nil && fl == math.Trunc(fl) && fl > 0 && fl < 1<<53:
			if err == nil && (got.Kind != mux.Reply || got.ID != uint64(fl)) {
				t.Fatalf("id %s: got %v", id, got)
			}
		}
	})
}
