package growth_test

import (
	"testing"
	"time"

	"github.com/respool/respool/internal/growth"
)

// FuzzWant runs a script on a Gauge. A step is seven bytes: how time passes,
// what happens, and the facts then.
func FuzzWant(f *testing.F) {
	const made, clear, ask = 0, 1, 2
	f.Add([]byte{16, made, 100, 0, 0, 0, 0, 0, ask, 50, 0, 5, 0, 45, 14, ask, 50, 1, 5, 7, 44, 14, ask, 9, 1, 5, 99, 44})
	f.Add([]byte{0, ask, 20, 0, 3, 0, 50, 11, ask, 20, 1, 3, 0, 49, 0, ask, 0, 0, 0, 0, 0, 40, ask, 9, 0, 1, 0, 200})
	f.Add([]byte{0, made, 1, 0, 0, 0, 0, 0, ask, 255, 0, 1, 0, 255, 31, ask, 255, 0, 1, 0, 255, 0, clear, 0, 0, 0, 0, 0})
	f.Add([]byte{0, ask, 9, 0, 0, 0, 3, 0, ask, 9, 3, 0, 0, 0, 20, ask, 9, 9, 9, 9, 200, 0, made, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		var g growth.Gauge
		var now time.Duration
		var returned int64
		low, high := time.Duration(1<<62), time.Duration(0) // makes so far
		for ; len(script) >= 7; script = script[7:] {
			now += step(script[0])
			switch b := script[1:7]; b[0] % 4 {
			case made:
				took := step(b[1])
				g.Made(took)
				low, high = min(low, took), max(high, took)
				if u := g.Usual(); u < low || u > high || u == 0 && low > 0 {
					t.Fatalf("usual %v of makes from %v to %v", u, low, high)
				}
			case clear:
				g.Clear()
			default:
				returned += int64(b[4])
				check(t, &g, growth.Facts{
					Now: now, Waiting: int(b[1]), Coming: int(b[2]), Held: int(b[3]),
					Returned: returned, Room: int(b[5]) - 8,
				})
			}
		}
	})
}

// step returns a time: a few bits at any scale, up to some minutes.
func step(b byte) time.Duration {
	return time.Duration(b&7) << (b >> 3) * 16
}

// check asks g and holds the answer to what is always true.
func check(t *testing.T, g *growth.Gauge, f growth.Facts) {
	start, again := g.Want(f)
	short := f.Waiting - f.Coming
	window := max(g.Usual()/10, 5*ms)
	idle := f.Waiting == 0 || short <= 0 || f.Room <= 0
	for _, c := range []struct {
		what string
		bad  bool
	}{
		{"start is negative", start < 0},
		{"more than there is room for", start > max(0, f.Room)},
		{"more than are missing", start > max(0, short)},
		{"again is negative", again < 0},
		{"again is longer than a watch", again > window},
		{"nothing is missing or nothing may be made", idle && (start != 0 || again != 0)},
		{"nothing could come back, and not all are made", !idle && f.Held == 0 && start != min(short, f.Room)},
		{"watched, but not to the end", !idle && f.Held > 0 && again == 0},
	} {
		if c.bad {
			t.Fatalf("%s: %+v, usual %v: start %d, again after %v", c.what, f, g.Usual(), start, again)
		}
	}
	// With no time gone and nothing changed but the makes begun, no more are due.
	g.Began(start)
	f.Coming, f.Room = f.Coming+start, f.Room-start
	if more, _ := g.Want(f); more != 0 && !idle {
		t.Fatalf("%d and at once %d more: %+v, usual %v", start, more, f, g.Usual())
	}
}
