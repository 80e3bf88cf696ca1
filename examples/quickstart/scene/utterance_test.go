package scene

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"testing"
	"time"
)

func TestSpeaker(t *testing.T) {
	s := newSpeaker("a-c000", 1, 3, 13)
	u, h := s.next(4)
	if u.ID != "a-c000-u004" || string(u.Messages[0].Data) != `{"utterance":"a-c000-u004","chunks":3}` {
		t.Errorf("begins with %q, ID %q", u.Messages[0].Data, u.ID)
	}
	var all []byte
	for _, m := range u.Messages[1:] {
		all = append(all, m.Data...)
	}
	if want := (heard{chunks: 3, bytes: 39, crc32: crc32.ChecksumIEEE(all)}); h != want {
		t.Errorf("heard %+v, want %+v", h, want)
	}
	again, _ := newSpeaker("a-c000", 1, 3, 13).next(4)
	if !bytes.Equal(again.Messages[1].Data, all[:13]) {
		t.Error("the same seed and name say something else")
	}
	if _, next := s.next(5); next.crc32 == h.crc32 {
		t.Error("two utterances have the same audio")
	}
	if _, other := newSpeaker("a-c001", 1, 3, 13).next(4); other.crc32 == h.crc32 {
		t.Error("two clients say the same")
	}
}

func TestCheck(t *testing.T) {
	h := heard{chunks: 2, bytes: 6, crc32: 9}
	for _, tt := range []struct {
		reply           string
		strict, checked bool
		wrong           bool
	}{
		{`{"utterance":"me","chunks":2,"bytes":6,"crc32":9}`, true, true, false},
		{`{"utterance":"me","chunks":2,"bytes":6,"crc32":9,"text":"hi"}`, true, true, false},
		{`{"utterance":"you","chunks":2,"bytes":6,"crc32":9}`, true, true, true},
		{`{"utterance":"me","chunks":3,"bytes":6,"crc32":9}`, true, true, true},
		{`{"utterance":"me","chunks":2,"bytes":7,"crc32":9}`, true, true, true},
		{`{"utterance":"me","chunks":2,"bytes":6,"crc32":8}`, true, true, true},
		{`{"utterance":"me","chunks":2,"bytes":6}`, true, true, true},
		{`{"utterance":"me","chunks":2,"bytes":6}`, false, true, false},
		{`{"utterance":"me"}`, false, true, false},
		{`{"utterance":"you"}`, false, true, true},
		{`{"utterance":"me","crc32":8}`, false, true, true},
		{`{"text":"hi"}`, false, false, false},
		{`hi`, false, false, false},
		{``, false, false, false},
		{`hi`, true, false, true},
		{`{}`, true, false, true},
	} {
		checked, err := check([]byte(tt.reply), "me", h, tt.strict)
		if checked != tt.checked || errors.Is(err, errWrong) != tt.wrong || (err != nil) != tt.wrong {
			t.Errorf("check(%q, strict %v) = %v, %v", tt.reply, tt.strict, checked, err)
		}
	}
}

func TestPercentile(t *testing.T) {
	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(i+1)*time.Millisecond)
	}
	for p, want := range map[int]float64{50: 100, 95: 190, 99: 198, 100: 200} {
		if got := percentile(all, p); got != want {
			t.Errorf("p%d is %v, want %v", p, got, want)
		}
	}
	if got := percentile(all[:1], 50); got != 1 {
		t.Errorf("p50 of one is %v", got)
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("p50 of none is %v", got)
	}
}

func TestFigures(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %q", n, got)
		}
	}
	got := fmt.Sprint(factor(0.008), " ", factor(0.25), " ", factor(2.93), " ", factor(31.4), " ", size(1536), " ", size(3<<20))
	if want := "0.008x 0.25x 2.93x 31x 1.5 KiB 3.0 MiB"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWrap(t *testing.T) {
	if got, want := wrap(" one two  three four-and-more five", 9), "one two\nthree\nfour-and-more\nfive"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
