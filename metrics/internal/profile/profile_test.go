package profile

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// What each of two samples says is there once, under gzip, and the counts of
// bytes are right. That pprof reads it is shown where it is used.
func TestProfile_Bytes(t *testing.T) {
	p := New(time.Unix(0, 7), Type{"leases", "count"}, Type{"held", "nanoseconds"})
	a, b := Frame{"main.a", "a.go", 300}, Frame{"main.b", "b.go", 1}
	p.Add([]Frame{a, b}, "pool", "x", 1, 200)
	p.Add([]Frame{b}, "pool", "x", -1, 3)
	var out bytes.Buffer
	n, err := p.WriteTo(&out)
	if err != nil || n != int64(out.Len()) {
		t.Fatalf("%d bytes of %d: %v", n, out.Len(), err)
	}
	z, err := gzip.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"leases", "nanoseconds", "main.a", "main.b", "a.go", "pool"} {
		if n := strings.Count(string(raw), s); n != 1 {
			t.Errorf("%q is there %d times", s, n)
		}
	}
	fields := make(map[uint64]int)
	for len(raw) > 0 {
		tag, rest := varint(t, raw)
		size := uint64(0)
		size, raw = varint(t, rest)
		if tag&7 == 2 {
			raw = raw[size:]
		}
		fields[tag>>3]++
	}
	want := map[uint64]int{1: 2, 2: 2, 4: 2, 5: 2, 6: len(p.table), 9: 1, 14: 1}
	for field, n := range want {
		if fields[field] != n {
			t.Errorf("field %d is there %d times, not %d", field, fields[field], n)
		}
	}
	if len(fields) != len(want) {
		t.Errorf("the fields are %v", fields)
	}
}

func varint(t *testing.T, b []byte) (v uint64, rest []byte) {
	t.Helper()
	for i, c := range b {
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, b[i+1:]
		}
	}
	t.Fatal("the message ends in a number")
	return 0, nil
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestProfile_WriteFails(t *testing.T) {
	if n, err := New(time.Now()).WriteTo(full{}); n != 0 || !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("%d, %v", n, err)
	}
}
