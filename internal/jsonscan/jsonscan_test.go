package jsonscan

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
)

var documents = []string{
	`{}`, ` { } `, `[]`, `[1,2]`, `{"id":1}`, `{"a":{"id":2},"id":1}`, `{"id":1,"id":2}`,
	`{"\u0069d":7}`, `{"i\u0064":"7"}`, `{"a":"\\","id":3}`, `{"a":"\\\"","id":3}`, `{"a":["]","}"],"id":4}`,
	`{"id":1.0}`, `{"id":6147483647.0}`, `{"id":1e+15}`, `{"id":1.5e1}`, `{"id":10e-1}`, `{"id":1.5}`, `{"id":-1}`,
	`{"id":null}`, `{"id":""}`, `{"id":"x"}`, `{"id":18446744073709551615}`, `{"id":18446744073709551616}`,
	`{"id":1}x`, `{"id":1,}`, `{"id"}`, `{"id":}`, `{,"id":1}`, `{"id":1 "a":2}`, `{"a":"`, `{"a":[`, `{"é\/":true,"\/":false}`,
	"{\"a\xff\":1,\"id\":2}", `{"a":"` + strings.Repeat(`\\`, 50) + `","id":5}`,
}

func FuzzScanner(f *testing.F) {
	for _, d := range documents {
		f.Add([]byte(d))
	}
	names := []string{"id", "method", "a", "/", "params", ""}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		object, array := Object(data), Array(data)
		got := make(map[string]json.RawMessage)
		for {
			key, value, ok := object.Member()
			if !ok {
				break
			}
			for _, name := range names {
				if Is(key, name) {
					got[name] = value
				}
			}
			Uint(value)
			Text(value)
		}
		var elements []json.RawMessage
		for {
			value, ok := array.Element()
			if !ok {
				break
			}
			elements = append(elements, value)
		}
		found := make([][]byte, len(names))
		if ok := Members(data, names, found); ok != (object.Err() == nil) {
			t.Fatalf("Members: %v, and %v", ok, object.Err())
		}
		for i, name := range names {
			if !bytes.Equal(found[i], got[name]) {
				t.Fatalf("Members: %q is %s, want %s", name, found[i], got[name])
			}
		}
		if !bytes.Equal(before, data) {
			t.Fatal("the document was changed")
		}
		if !json.Valid(data) {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err == nil && want != nil {
			if object.Err() != nil {
				t.Fatalf("valid object: %v", object.Err())
			}
			for _, name := range names {
				g, w := got[name], want[name]
				if !bytes.Equal(g, w) {
					t.Fatalf("member %q: got %s, want %s", name, g, w)
				}
				if n, ok := Uint(g); ok || g != nil {
					checkUint(t, g, n, ok)
				}
			}
		} else if object.Err() == nil {
			t.Fatal("no object, and no error")
		}
		var list []json.RawMessage
		if err := json.Unmarshal(data, &list); err == nil && list != nil {
			if array.Err() != nil || len(elements) != len(list) {
				t.Fatalf("got %d elements and %v, want %d", len(elements), array.Err(), len(list))
			}
			for i := range list {
				if !bytes.Equal(elements[i], list[i]) {
					t.Fatalf("element %d: got %s, want %s", i, elements[i], list[i])
				}
			}
		} else if array.Err() == nil {
			t.Fatal("no array, and no error")
		}
	})
}

// checkUint compares n with what package big makes of value.
func checkUint(t *testing.T, value []byte, n uint64, ok bool) {
	t.Helper()
	text := string(value)
	if inside, isText := Text(value); isText {
		w, err := strconv.ParseUint(string(inside), 10, 64)
		if ok != (err == nil) || n != w && ok {
			t.Fatalf("%s: got %d, %v; want %d, %v", value, n, ok, w, err)
		}
		return
	}
	if len(text) == 0 || text[0] != '-' && (text[0] < '0' || text[0] > '9') {
		if ok {
			t.Fatalf("%s is no number, got %d", value, n)
		}
		return
	}
	if _, e, found := strings.Cut(strings.ToLower(text), "e"); found {
		if len(strings.TrimLeft(e, "+-0")) > 2 {
			return // beyond maxExponent, or more than package big should be asked for
		}
		if abs, err := strconv.Atoi(strings.TrimLeft(e, "+-")); err != nil || abs > maxExponent {
			return
		}
	}
	want, valid := new(big.Rat).SetString(text)
	if !valid {
		t.Fatalf("%s: package big does not read it", value)
	}
	whole := want.IsInt() && want.Num().IsUint64() && text[0] != '-'
	if ok && (!whole || want.Num().Uint64() != n) {
		t.Fatalf("%s: got %d, want %v", value, n, want)
	}
	// A number whose digits before the dot alone are too many is refused, as in 1e20e-5.
	if !ok && whole && want.Num().Uint64() < math.MaxUint64/10 && !strings.Contains(strings.ToLower(text), "e-") {
		t.Fatalf("%s: refused, want %v", value, want)
	}
}

// What is appended is what encoding/json reads.
func FuzzAppend(f *testing.F) {
	for _, text := range []string{"", "plain", `quote " and \`, "é\u2028", "\xff\x00", "a\tb<c>"} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, method, value string) {
		doc := AppendText([]byte(`{"method":`), method)
		doc, err := AppendMember(doc, "params", []string{value}, "[")
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Method string
			Params []string
		}
		if err := json.Unmarshal(append(doc, '}'), &got); err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		if !same(got.Method, method) || len(got.Params) != 1 || !same(got.Params[0], value) {
			t.Fatalf("%q and %q became %s", method, value, doc)
		}
	})
}

// same reports whether got is want with what is not UTF-8 replaced.
func same(got, want string) bool { return got == string([]rune(want)) }

func TestAppendMember(t *testing.T) {
	for _, c := range []struct {
		v           any
		first, want string
		err         bool
	}{
		{nil, "{", "", false},
		{map[string]int(nil), "{", "", false},
		{map[string]int{"a": 1}, "{[", `,"p":{"a":1}`, false},
		{[]int{1}, "{[", `,"p":[1]`, false},
		{[]int{1}, "{", "", true},
		{7, "{[", "", true},
		{json.RawMessage(` {"x":}`), "{", `,"p": {"x":}`, false},
		{json.RawMessage(``), "{", "", true},
		{make(chan int), "{", "", true},
	} {
		got, err := AppendMember([]byte("before"), "p", c.v, c.first)
		if string(got) != "before"+c.want || (err != nil) != c.err {
			t.Errorf("%v: %s, %v", c.v, got, err)
		}
	}
}

func TestScanner(t *testing.T) {
	scan := func(document string) (id []byte, err error) {
		s := Object([]byte(document))
		for {
			key, value, ok := s.Member()
			if !ok {
				return id, s.Err()
			}
			if Is(key, "id") {
				id = value
			}
		}
	}
	for _, c := range []struct{ document, id string }{
		{`{"id":1}`, "1"},
		{` {"a" : {"id":2} , "id" : "1" } `, `"1"`},
		{`{"id":1,"id":2}`, "2"},
		{`{"\u0069\u0064":7}`, "7"},
		{`{"a":"\\","id":3}`, "3"},
		{`{"a":"\\\"id\":9","id":3}`, "3"},
		{`{"a":["]","}",{"x":[]}],"id":4}`, "4"},
	} {
		if id, err := scan(c.document); string(id) != c.id || err != nil {
			t.Errorf("%s: got %s, %v; want %s", c.document, id, err, c.id)
		}
	}
	for _, document := range []string{"", "1", "[]", "{", `{"id"`, `{"id":`, `{"id":1`, `{"id":1}}`, `{"id":1}x`, `{"id" 1}`, `{"a":1 "id":1}`, `{id:1}`, `{"a":"`, `{"a":[}`} {
		if _, err := scan(document); err == nil {
			t.Errorf("%s: no error", document)
		}
	}
}

func TestUint(t *testing.T) {
	for value, want := range map[string]uint64{
		"0": 0, "7": 7, `"7"`: 7, "6147483647.0": 6147483647, "1e+15": 1e15, "1.5e1": 15, "1.25E2": 125, "10e-1": 1,
		"18446744073709551615": math.MaxUint64, `"007"`: 7,
	} {
		if n, ok := Uint([]byte(value)); n != want || !ok {
			t.Errorf("%s: got %d, %v", value, n, ok)
		}
	}
	for _, value := range []string{"", "null", "-1", "1.5", "18446744073709551616", "1e31", "1.", "e1", `""`, `"x"`, `"1.0"`, "[1]", "true", "1e", "15e-1"} {
		if n, ok := Uint([]byte(value)); ok {
			t.Errorf("%s: got %d", value, n)
		}
	}
}

func TestScanner_AllocatesNothing(t *testing.T) {
	document := []byte(`{"jsonrpc":"2.0","result":{"a":[1,2,3]},"id":12}`)
	if n := testing.AllocsPerRun(100, func() {
		s := Object(document)
		for {
			key, value, ok := s.Member()
			if !ok {
				break
			}
			if Is(key, "id") {
				Uint(value)
			}
		}
		var found [2][]byte
		Members(document, []string{"id", "result"}, found[:])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkScanner(b *testing.B) {
	for _, size := range []int{130, 64 << 10} {
		document := []byte(`{"jsonrpc":"2.0","result":"` + strings.Repeat("x", size-50) + `","id":12345}`)
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			b.SetBytes(int64(len(document)))
			for b.Loop() {
				s := Object(document)
				for {
					key, value, ok := s.Member()
					if !ok {
						break
					}
					if Is(key, "id") {
						Uint(value)
					}
				}
			}
		})
	}
}
