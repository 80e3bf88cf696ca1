package peer

import (
	"testing"
	"time"
)

func TestSpans(t *testing.T) {
	at := func(n int) time.Time { return time.Unix(1000, 0).Add(time.Duration(n) * time.Millisecond) }
	s := Spans{
		{Begin: at(0), End: at(10)}, {Begin: at(0), End: at(10)}, {Begin: at(0), End: at(10)},
		{Begin: at(10), End: at(20), OK: true}, {Begin: at(15)},
	}
	if n := s.Before(at(10)); n != 3 {
		t.Errorf("%d began before 10 ms", n)
	}
	for _, c := range []struct{ from, until, want int }{{0, 100, 3}, {9, 100, 3}, {10, 15, 1}, {10, 100, 2}, {20, 100, 1}} {
		if got := s.Peak(at(c.from), at(c.until)); got != c.want {
			t.Errorf("peak from %d to %d: %d, want %d", c.from, c.until, got, c.want)
		}
	}
	if first := s.FirstSuccess(); !first.Equal(at(20)) || !(Spans{}).FirstSuccess().IsZero() {
		t.Errorf("first success %v", first)
	}
}
