package jsonrpc_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/respool/respool/wspool/mux"
	"github.com/respool/respool/wspool/mux/jsonrpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClassify(t *testing.T) {
	long := `{"jsonrpc":"2.0","result":"` + strings.Repeat("x", 64<<10) + `","id":77}`
	nested := `{"result":{"id":1,"a":[{"id":2}],"method":"m"},"id":3}`
	for _, c := range []struct {
		in   string
		kind mux.Kind
		id   uint64
		bad  bool
	}{
		{in: `{"jsonrpc":"2.0","id":7,"result":1}`, kind: mux.Reply, id: 7},
		{in: `{"jsonrpc":"2.0","id":"7","result":1}`, kind: mux.Reply, id: 7},
		{in: `{"id":7.0,"result":1}`, kind: mux.Reply, id: 7},
		{in: `{"id":6147483647.0,"result":1}`, kind: mux.Reply, id: 6147483647},
		{in: `{"id":7e0,"result":1}`, kind: mux.Reply, id: 7},
		{in: `{"id":7.00E+00,"result":1}`, kind: mux.Reply, id: 7},
		{in: " \n{ \"id\" : 7 , \"error\" : { \"id\" : 8 } } ", kind: mux.Reply, id: 7},
		{in: `{"id":18446744073709551615}`, kind: mux.Reply, id: math.MaxUint64},
		{in: `{"id":18446744073709551616}`, bad: true},
		{in: `{"\u0069d":9,"result":"\"id\":8"}`, kind: mux.Reply, id: 9},
		{in: `{"id":1,"result":2,"id":5}`, kind: mux.Reply, id: 5},
		{in: nested, kind: mux.Reply, id: 3},
		{in: long, kind: mux.Reply, id: 77},
		{in: `{"id":1.5,"result":1}`, bad: true},
		{in: `{"id":"abc","result":1}`, bad: true},
		{in: `{"id":-1,"result":1}`, bad: true},
		{in: `{"id":null,"error":{}}`, bad: true},
		{in: `{"id":true,"error":{}}`, bad: true},
		{in: `{"id":{"a":1},"error":{}}`, bad: true},
		{in: `{"result":1}`, bad: true},
		{in: `{}`, bad: true},
		{in: ``, bad: true},
		{in: `7`, bad: true},
		{in: `{"id":7`, bad: true},
		{in: `{"id"}`, bad: true},
		{in: `{"id":}`, bad: true},
		{in: `{"method":"event","params":{"id":3}}`, kind: mux.Event},
		{in: `{"method":"event","id":null}`, kind: mux.Event},
		{in: `{"method":"ask","id":"their own"}`, kind: mux.Ask},
		{in: `{"id":3,"method":"ask"}`, kind: mux.Ask},
		{in: `{"method":"goaway"}`, kind: mux.Away},
		{in: `{"method":"go\u0061way"}`, kind: mux.Away},
		{in: `[{"id":"12:1","result":1},{"id":"12:0","result":2}]`, kind: mux.Reply, id: 12},
		{in: `[{"id":null,"error":{}},{"id":"12:0","result":2}]`, kind: mux.Reply, id: 12},
		{in: `[{"method":"a"},{"method":"b"}]`, kind: mux.Event},
		{in: `[]`, bad: true},
		{in: `{"id":"12:","result":1}`, bad: true},
	} {
		f, err := jsonrpc.Codec{Away: "goaway"}.Classify(1, []byte(c.in))
		if len(c.in) > 80 {
			c.in = c.in[:20] + "…"
		}
		if (err != nil) != c.bad || !c.bad && (f.Kind != c.kind || f.ID != c.id) {
			t.Errorf("%s: %+v, %v", c.in, f, err)
		}
	}
	var codec mux.Codec = jsonrpc.Codec{}
	for _, in := range []string{`{"jsonrpc":"2.0","id":7,"result":1}`, long, nested, `{"id":1.5}`, `[{"id":"3:0"}]`} {
		data := []byte(in)
		if n := testing.AllocsPerRun(100, func() { codec.Classify(1, data) }); n > 0 {
			t.Errorf("%.30s: %v allocations", in, n)
		}
	}
}

// What Append has written is classified as the reply to itself, once the server has sent the id
// back.
func TestAppend(t *testing.T) {
	for _, codec := range []jsonrpc.Codec{{}, {StringIDs: true}} {
		for _, id := range []uint64{1, 1 << 31, 1<<53 - 1} {
			for _, body := range []any{
				jsonrpc.Request{Method: "plain"}, &jsonrpc.Request{Method: "a \"quoted\"\n\u00e9", Params: map[string]int{"id": 4}},
				jsonrpc.Batch{{Method: "a"}, {Method: "b", Params: json.RawMessage(`[1]`)}},
			} {
				kind, out, err := codec.Append([]byte("before"), id, body)
				if err != nil || kind != 1 || string(out[:6]) != "before" || !json.Valid(out[6:]) {
					t.Fatalf("%s, %v", out, err)
				}
				back := strings.ReplaceAll(string(out[6:]), `"method"`, `"result"`)
				if f, err := codec.Classify(1, []byte(back)); err != nil || f.Kind != mux.Reply || f.ID != id {
					t.Errorf("%s: %+v, %v", back, f, err)
				}
			}
		}
	}
	for _, body := range []any{nil, 7, jsonrpc.Batch{}, jsonrpc.Request{Params: func() {}}} {
		if _, out, err := (jsonrpc.Codec{}).Append([]byte("x"), 1, body); err == nil || string(out) != "x" {
			t.Errorf("%v: %s, %v", body, out, err)
		}
	}
	_, out, err := jsonrpc.Codec{}.Append(nil, 0, jsonrpc.Request{Method: "note"})
	if err != nil || string(out) != `{"jsonrpc":"2.0","method":"note"}` {
		t.Errorf("%s, %v", out, err)
	}
	_, out, err = jsonrpc.Codec{Cancel: "$/cancelRequest"}.AppendCancel(nil, 5, nil)
	if err != nil || string(out) != `{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":5}}` {
		t.Errorf("%s, %v", out, err)
	}
}

func TestDecode(t *testing.T) {
	var n int
	if err := jsonrpc.Decode(mux.Message{Data: []byte(`{"id":1,"result":5}`)}, &n); err != nil || n != 5 {
		t.Error(n, err)
	}
	var failed *jsonrpc.Error
	if err := jsonrpc.Decode(mux.Message{Data: []byte(`{"id":1,"error":{"code":-5,"message":"no"}}`)}, &n); !errors.As(err, &failed) || failed.Code != -5 {
		t.Error(err)
	}
	for _, bad := range []string{`{"id":1}`, `{"id":1,"result":"text"}`, `{`} {
		if err := jsonrpc.Decode(mux.Message{Data: []byte(bad)}, &n); err == nil {
			t.Errorf("%s was decoded", bad)
		}
	}
	var a, b int
	errs, err := jsonrpc.DecodeBatch(mux.Message{Data: []byte(` [{"id":"9:2","error":{"code":1,"message":"x"}},{"id":"9:0","result":4}]`)}, &a, &b, nil)
	if err != nil || a != 4 || errs[0] != nil || errs[1] != jsonrpc.ErrMissing || !errors.As(errs[2], &failed) {
		t.Error(a, errs, err)
	}
	if _, err := jsonrpc.DecodeBatch(mux.Message{Data: []byte(`{"id":null,"error":{"code":-32600,"message":"no batches"}}`)}, &a); !errors.As(err, &failed) || failed.Code != -32600 {
		t.Error(err)
	}
}

// The scanner finds the id and the method that encoding/json finds, in whatever is JSON.
func FuzzClassify(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":7,"result":{"id":8}}`, `{"id":"7"}`, `{"id":1.0}`, `{"id":1,"id":2}`, `{"\u0069d":3}`,
		`{"method":"\u006d","id":null}`, `{"a":"\\\"","id":1}`, `{"id":1e0}`, `{"id":10.50}`, `{"id":[1]}`,
		`{"result":"` + strings.Repeat("y", 1000) + `","id":3}`, `{"method":null,"id":4}`, `{"id":0}`, `{"id":01}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := jsonrpc.Codec{}.Classify(1, data)
		var m map[string]json.RawMessage
		if json.Unmarshal(data, &m) != nil || m == nil {
			return // it must not crash
		}
		var method *string
		isMethod := json.Unmarshal(m["method"], &method) == nil && method != nil
		id, hasID := m["id"]
		null := string(id) == "null"
		want := mux.Frame{}
		switch n, ours := wholeNumber(id); {
		case isMethod && hasID && !null:
			want.Kind = mux.Ask
		case isMethod:
			want.Kind = mux.Event
		case hasID && ours:
			want = mux.Frame{Kind: mux.Reply, ID: n}
		default:
			if err == nil {
				t.Errorf("%s: %+v, want an error", data, got)
			}
			return
		}
		if err != nil || got.Kind != want.Kind || got.ID != want.ID {
			t.Errorf("%s: %+v, %v, want %+v", data, got, err, want)
		}
	})
}

// wholeNumber is what an id says, as far as it is written as this codec's ids may come back.
func wholeNumber(raw json.RawMessage) (n uint64, ok bool) {
	s := string(raw)
	quoted := strings.HasPrefix(s, `"`)
	if quoted {
		s = s[1 : len(s)-1] // an escape is no digit
		if first, position, is := strings.Cut(s, ":"); is {
			if position == "" || strings.Trim(position, "0123456789") != "" {
				return 0, false
			}
			s = first
		}
		if s == "" || strings.Trim(s, "0123456789") != "" || len(s) > 1 && s[0] == '0' {
			return 0, false
		}
	} else if i := strings.IndexAny(s, "eE"); i >= 0 {
		if strings.Trim(strings.TrimLeft(s[i+1:], "+-"), "0") != "" {
			return 0, false
		}
		s = s[:i]
	}
	if i := strings.IndexByte(s, '.'); i >= 0 && !quoted {
		if strings.Trim(s[i+1:], "0") != "" {
			return 0, false
		}
		s = s[:i]
	}
	err := json.Unmarshal([]byte(s), &n)
	return n, err == nil && s != "" && s[0] != '-'
}
