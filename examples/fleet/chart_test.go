package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

// begun returns a history of n sessions of a from 1 s on, with b's beside them from 3 s to 5 s.
func begun(n, beside int) *history {
	var all []change
	for i := range n {
		all = append(all, change{time.Second, "a", 1, i + 1})
	}
	for i := range beside {
		all = append(all, change{3 * time.Second, "b", 1, n + i + 1})
	}
	for i := range beside {
		all = append(all, change{5 * time.Second, "b", -1, n + beside - i - 1})
	}
	return newHistory(all, 10*time.Second)
}

func TestHistory_Utilisation(t *testing.T) {
	if _, _, ok := begun(19, 0).utilisation(); ok {
		t.Error("19 sessions are not all")
	}
	// 20 from 3 s to 5 s, then 15 until 10 s.
	from, part, ok := begun(15, 5).utilisation()
	want := (2*20.0 + 5*15.0) / (7 * 20)
	if !ok || from != 3*time.Second || math.Abs(part-want) > 1e-9 {
		t.Errorf("%v from %v on, %t; want %v from 3s on", part, from, ok, want)
	}
}

// A column shows the moment with the most sessions in it, so none is too narrow to be seen.
func TestHistory_Columns(t *testing.T) {
	h := begun(20, 0)
	h = newHistory(append(h.changes, change{4 * time.Second, "c", 1, 21}, change{4*time.Second + 1, "c", -1, 20}), 10*time.Second)
	columns := h.columns(5)
	if got := columns[0]; got != (stack{20}) {
		t.Errorf("the first column is %v", got)
	}
	for i, want := range []int{20, 21, 21, 20, 20} { // at 4 s, the end of the second, and for a moment after it
		if got := columns[i].total(); got != want {
			t.Errorf("column %d has %d sessions, want %d", i, got, want)
		}
	}
	if h.most != 21 || h.mostAt != 4*time.Second {
		t.Errorf("the most are %d at %v", h.most, h.mostAt)
	}
}

var happenings = []*event{
	{at: 3 * time.Second, what: "b <joins>"}, {at: 3 * time.Second, what: "again", after: "so & so"}, {at: 10 * time.Second, what: "the end"},
}

// The chart has a row for each session, up to the largest number, and numbers for the events.
func TestChart(t *testing.T) {
	for _, test := range []struct{ n, beside int }{{20, 0}, {15, 5}, {20, 3}, {20, 200}, {0, 0}} {
		var b strings.Builder
		(&timeline{w: &b}).chart(begun(test.n, test.beside), happenings)
		out := b.String()
		lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		if len(lines) < 24 || len(lines) > 50 {
			t.Errorf("%+v: %d lines", test, len(lines))
		}
		if !strings.Contains(out, "  limit\n") || !strings.HasSuffix(lines[len(lines)-1], "3") || !strings.Contains(out, "12") {
			t.Errorf("%+v: no limit or no numbers:\n%s", test, out)
		}
		if test.n+test.beside <= limit {
			if got := strings.Count(out, "b"); (got > 0) != (test.beside > 0) && got > 2 {
				t.Errorf("%+v: %d letters b:\n%s", test, got, out)
			}
		}
	}
}

// The picture is well-formed, whatever the events say.
func TestSVG(t *testing.T) {
	for _, h := range []*history{begun(20, 3), begun(0, 0)} {
		d := xml.NewDecoder(bytes.NewReader(drawSVG(h, happenings)))
		var text strings.Builder
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if c, ok := token.(xml.CharData); ok {
				text.Write(c)
			}
		}
		for _, want := range []string{"limit 20", "1. 3 s  b <joins>", "2. 3 s  again; so & so"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("the picture does not say %q", want)
			}
		}
	}
}

func TestClock(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0 s", 949 * time.Millisecond: "0.9 s", 3 * time.Second: "3 s", 61500 * time.Millisecond: "61.5 s"} {
		if got := clock(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
