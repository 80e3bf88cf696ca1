package growth_test

import (
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/respool/respool/internal/growth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ms = time.Millisecond

// after returns a Gauge that has seen makes of these lengths.
func after(takes ...time.Duration) *growth.Gauge {
	g := new(growth.Gauge)
	for _, took := range takes {
		g.Made(took)
	}
	return g
}

// want asks g and checks what it says.
func want(t *testing.T, g *growth.Gauge, f growth.Facts, start int, again time.Duration) {
	t.Helper()
	if s, a := g.Want(f); s != start || a != again {
		t.Errorf("%+v: start %d, again after %v; want %d, %v", f, s, a, start, again)
	}
}

func TestUsual(t *testing.T) {
	for _, c := range []struct {
		takes []time.Duration
		want  time.Duration
	}{
		{nil, 0},
		{[]time.Duration{80}, 80},
		{[]time.Duration{80, 160}, 100}, // a quarter of the way
		{[]time.Duration{80, 40}, 70},
		{[]time.Duration{80, 0}, 60},
		{[]time.Duration{0}, 0},
		{[]time.Duration{0, 80}, 80},
		{[]time.Duration{1, 0, 0, 0}, 1}, // known once is known for good
	} {
		if got := after(c.takes...).Usual(); got != c.want {
			t.Errorf("makes of %d: usual %d, want %d", c.takes, got, c.want)
		}
	}
}

// What is asked first, with nothing to watch yet.
func TestFirstQuestion(t *testing.T) {
	for _, c := range []struct {
		name  string
		f     growth.Facts
		start int
		again time.Duration
	}{
		{"nobody waits", growth.Facts{Held: 3, Room: 9}, 0, 0},
		{"nothing held", growth.Facts{Waiting: 7, Room: 9}, 7, 0},
		{"nothing held, one comes", growth.Facts{Waiting: 7, Coming: 1, Room: 9}, 6, 0},
		{"nothing held, little room", growth.Facts{Waiting: 7, Room: 3}, 3, 0},
		{"nothing held, no room", growth.Facts{Waiting: 7}, 0, 0},
		{"too full by far", growth.Facts{Waiting: 7, Room: -4}, 0, 0},
		{"full, and held", growth.Facts{Waiting: 7, Held: 2}, 0, 0},
		{"as many come as wait", growth.Facts{Waiting: 7, Coming: 7, Room: 9}, 0, 0},
		{"more come than wait", growth.Facts{Waiting: 7, Coming: 9, Held: 1, Room: 9}, 0, 0},
		{"one held", growth.Facts{Waiting: 7, Held: 1, Room: 9}, 1, 10 * ms},
		{"one held, one comes", growth.Facts{Waiting: 7, Held: 1, Coming: 1, Room: 9}, 0, 10 * ms},
		{"one held, three come", growth.Facts{Waiting: 7, Held: 1, Coming: 3, Room: 9}, 0, 10 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, now := range []time.Duration{0, time.Hour} {
				c.f.Now = now
				want(t, after(100*ms), c.f, c.start, c.again)
			}
		})
	}
}

// Of 20 who wait, and one make begun, what comes back within the watch decides.
func TestWatch(t *testing.T) {
	for _, c := range []struct {
		name     string
		at       time.Duration
		returned int64
		room     int
		start    int
		again    time.Duration
	}{
		{"too early to say", 9 * ms, 0, 99, 0, 1 * ms},
		{"too early by a nanosecond", 10*ms - 1, 0, 99, 0, 1},
		{"nothing came back", 10 * ms, 0, 99, 19, 10 * ms},
		{"nothing came back, little room", 10 * ms, 0, 5, 5, 10 * ms},
		{"one, so ten within a make", 10 * ms, 1, 99, 9, 10 * ms},
		{"one in twice the time", 20 * ms, 1, 99, 14, 10 * ms},
		{"nearly enough", 19 * ms, 3, 99, 3, 10 * ms}, // 15.8 will be back
		{"enough", 10 * ms, 2, 99, 0, 10 * ms},
		{"more than enough", 10 * ms, 1000, 99, 0, 10 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := after(100 * ms)
			f := growth.Facts{Now: time.Hour, Waiting: 20, Held: 5, Returned: 7, Room: 100}
			want(t, g, f, 1, 10*ms)
			f.Now, f.Returned, f.Coming, f.Room = f.Now+c.at, f.Returned+c.returned, 1, c.room
			want(t, g, f, c.start, c.again)
		})
	}
}

func TestWatchBeginsAnew(t *testing.T) {
	g := after(100 * ms)
	f := growth.Facts{Waiting: 20, Held: 5, Room: 100}
	want(t, g, f, 1, 10*ms)
	f.Now, f.Returned, f.Coming = 12*ms, 3, 1
	want(t, g, f, 0, 10*ms) // 25 will be back; from here on nothing is
	f.Now = 21 * ms
	want(t, g, f, 0, 1*ms)
	f.Now = 22 * ms
	want(t, g, f, 19, 10*ms)
}

// A make that takes less than 50 ms is watched as if it took that long, and so is
// one of which nothing is known; then all that are missing are made.
func TestShortestWatch(t *testing.T) {
	for _, usual := range []time.Duration{0, 1, 50*ms - 1} {
		g := after(usual)
		f := growth.Facts{Waiting: 20, Held: 5, Room: 100}
		want(t, g, f, 1, 5*ms)
		f.Now, f.Coming = 5*ms-1, 1
		if start, again := g.Want(f); start != 0 || again != 1 {
			t.Errorf("usual %v: start %d, again after %v", usual, start, again)
		}
		f.Now = 5 * ms
		want(t, g, f, 19, 5*ms)
	}
	want(t, after(55*ms), growth.Facts{Waiting: 1, Held: 1, Room: 1}, 1, 5500*time.Microsecond)
}

// A make is counted on for its usual time and four times its mean deviation.
func TestPatience(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes []time.Duration
		want  time.Duration
	}{
		{"nothing known", nil, time.Second},
		{"very fast", []time.Duration{1}, 250 * ms},
		{"one", []time.Duration{200 * ms}, 600 * ms}, // the deviation is half of it at first
		{"steady", slices.Repeat([]time.Duration{200 * ms}, 50), 400 * ms},
		{"unsteady", []time.Duration{200 * ms, 600 * ms}, 300*ms + 4*175*ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := after(c.takes...).Patience(); got.Round(ms) != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// However fast things come back, the one becomes two, four, … for each make's
// time that callers wait.
func TestHedgeDoubles(t *testing.T) {
	for _, c := range []struct {
		name  string
		usual time.Duration
		waits time.Duration
		hedge int
	}{
		{"at once", 100 * ms, 0, 1},
		{"not yet", 100 * ms, 100*ms - 1, 1},
		{"once", 100 * ms, 100 * ms, 2},
		{"not yet twice", 100 * ms, 200*ms - 1, 2},
		{"twice", 100 * ms, 200 * ms, 4},
		{"ten times", 100 * ms, 1000 * ms, 1024},
		{"twenty times", 100 * ms, 2000 * ms, 1 << 20},
		{"no further", 100 * ms, 1000 * time.Hour, 1 << 20},
		{"very fast makes", 1, 50 * ms, 2},
		{"very fast makes, not yet twice", 1, 100*ms - 1, 2},
		{"no further, very fast makes", 1, 3 * time.Second, 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := growth.Facts{Now: 5 * ms, Waiting: 1 << 22, Held: 1, Room: 1 << 22}
			for _, coming := range []int{0, 1, 3, 2000} {
				g := after(c.usual)
				begun, _ := g.Want(f)
				g.Began(begun)
				// So much came back that the watch calls for nothing.
				then := f
				then.Now, then.Coming, then.Returned = f.Now+c.waits, coming, 1<<62
				start, _ := g.Want(then)
				before := 0 // begun in the same period
				if c.hedge == 1 {
					before = 1
				}
				if want := max(0, c.hedge-max(coming, before)); start != want {
					t.Errorf("%d under way: start %d, want %d", coming, start, want)
				}
			}
		})
	}
}

// A backlog ends with Clear, and so does what was known about it.
func TestClear(t *testing.T) {
	for name, clear := range map[string]func(g *growth.Gauge, now time.Duration){
		"Clear":       func(g *growth.Gauge, _ time.Duration) { g.Clear() },
		"nobody asks": func(g *growth.Gauge, now time.Duration) { g.Want(growth.Facts{Now: now}) },
	} {
		t.Run(name, func(t *testing.T) {
			g := after(100 * ms)
			f := growth.Facts{Waiting: 20, Held: 5, Room: 100}
			want(t, g, f, 1, 10*ms)
			clear(g, 250*ms)
			f.Now = 300 * ms
			want(t, g, f, 1, 10*ms) // not four, and not all
			f.Now, f.Coming = 309*ms, 1
			want(t, g, f, 0, 1*ms)
			if g.Usual() != 100*ms {
				t.Errorf("usual %v", g.Usual())
			}
		})
	}
	g := after(100 * ms) // the same wait without Clear
	f := growth.Facts{Waiting: 20, Held: 5, Room: 100}
	want(t, g, f, 1, 10*ms)
	f.Now = 300 * ms
	want(t, g, f, 20, 10*ms)
}

// What was begun in one backlog does not count in the next, however long the first one lasted.
func TestBacklogsAreApart(t *testing.T) {
	for _, lasted := range []time.Duration{0, 250 * ms} {
		for _, held := range []bool{true, false} {
			g := after(100 * ms)
			f := growth.Facts{Waiting: 20, Held: 5, Room: 100, Returned: 1}
			want(t, g, f, 1, 10*ms)
			g.Began(1)
			f.Now, f.Returned, f.Coming = lasted, 1<<40, 4 // so much comes back that only the hedge counts
			g.Want(f)
			g.Clear()
			if held {
				want(t, g, growth.Facts{Now: time.Second, Waiting: 20, Held: 5, Room: 100}, 1, 10*ms)
				continue
			}
			// One is begun since nothing is held. It is the one of the first period, also when it has
			// ended and something is held.
			f = growth.Facts{Now: time.Second, Waiting: 1, Room: 100}
			want(t, g, f, 1, 0)
			g.Began(1)
			f.Now, f.Waiting, f.Held = f.Now+5*ms, 2, 1
			want(t, g, f, 0, 5*ms)
		}
	}
}
