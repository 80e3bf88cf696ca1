package scene

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Where nothing can be drawn again, there is one line each second and one at the end.
func TestProgressLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newProgress(&out)
		var done atomic.Int64
		stop := p.watch("pool", 40, &done)
		time.Sleep(1500 * time.Millisecond)
		done.Store(10)
		p.note("a note")
		time.Sleep(time.Second)
		done.Store(40)
		stop()
		want := "pool: 0 of 40 utterances (0 %) after 1.0 s\n" +
			"a note\n" +
			"pool: 10 of 40 utterances (25 %) after 2.0 s\n" +
			"pool: 40 of 40 utterances (100 %) after 2.5 s\n"
		if out.String() != want {
			t.Errorf("got\n%s\nwant\n%s", &out, want)
		}
	})
}

// On a terminal one line is drawn again and again, and a note goes above it.
func TestProgressBar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := &progress{w: &out, bar: true}
		var done atomic.Int64
		stop := p.watch("dial", 4, &done)
		time.Sleep(150 * time.Millisecond)
		done.Store(1)
		p.note("a note")
		done.Store(4)
		stop()
		p.note("after")
		screen := draw(t, out.String())
		want := "a note\ndial  [########################] 100 %  4/4  0.1 s\nafter"
		if screen != want {
			t.Errorf("the screen shows\n%s\nwant\n%s\nfrom %q", screen, want, &out)
		}
		if n := strings.Count(out.String(), "\r"); n != 2 {
			t.Errorf("drawn over %d times, want 2 in %q", n, &out)
		}
	})
}

// draw returns what a terminal shows, trailing blanks left out.
func draw(t *testing.T, s string) string {
	var lines []string
	for l := range strings.SplitSeq(strings.TrimSuffix(s, "\n"), "\n") {
		var row []byte
		for part := range strings.SplitSeq(l, "\r") {
			row = append([]byte(part), row[min(len(part), len(row)):]...)
			if len(row) >= 80 {
				t.Errorf("%d columns: %q", len(row), row)
			}
		}
		lines = append(lines, strings.TrimRight(string(row), " "))
	}
	return strings.Join(lines, "\n")
}

func TestIsTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, out := range []io.Writer{w, io.Discard, &bytes.Buffer{}} {
		if isTerminal(out) {
			t.Errorf("%T is taken for a terminal", out)
		}
	}
}
