package suite

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	if s := spreadOf(nil); s != nil {
		t.Errorf("of nothing: %+v", s)
	}
	for _, c := range []struct {
		in   []float64
		want spread
	}{
		{[]float64{4}, spread{4, 4, 4}},
		{[]float64{9, 1, 2}, spread{2, 1, 9}},
		{[]float64{4, 1, 3, 2}, spread{2.5, 1, 4}},
	} {
		if got := *spreadOf(c.in); got != c.want {
			t.Errorf("%v: %+v, not %+v", c.in, got, c.want)
		}
	}
}

// fake is a result of two or three pools over three rounds.
func fake() result {
	return result{Row: "r", Main: "respool", Samples: map[string][]sample{
		"respool": {{"x": 10, "allocs/op": 0}, {"x": 20, "allocs/op": 0}, {"x": 90, "allocs/op": 0.001}},
		"puddle":  {{"x": 100}, {"x": 100}, {"x": 100}},
		"channel": {{"x": 50}, {"x": 200}, {"x": 200}},
	}}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name string
		g    goal
		want bool
	}{
		{"ratio reached", goal{rule: ratioAtMost, bound: 0.2, than: "puddle"}, true},
		{"ratio missed", goal{rule: ratioAtMost, bound: 0.19, than: "puddle"}, false},
		{"ratio from below reached", goal{rule: ratioAtLeast, bound: 0.2, than: "puddle"}, true},
		{"ratio from below missed", goal{rule: ratioAtLeast, bound: 0.21, than: "puddle"}, false},
		{"median reached", goal{rule: atMost, bound: 20}, true},
		{"median missed", goal{rule: atMost, bound: 19}, false},
		{"at least reached", goal{rule: atLeast, bound: 20}, true},
		{"at least missed", goal{rule: atLeast, bound: 21}, false},
		{"largest reached", goal{rule: neverOver, bound: 90}, true},
		{"largest missed", goal{rule: neverOver, bound: 89}, false},
		{"always missed", goal{rule: always, bound: 20}, false},
		{"no goal", goal{rule: told}, true},
		{"against nobody", goal{rule: ratioAtMost, bound: 9, than: "nobody"}, false},
		{"no such rule", goal{rule: 99}, false},
	} {
		c.g.row, c.g.metric = "r", "x"
		if got := judge(c.g, fake()); got.Reached != c.want {
			t.Errorf("%s: reached %v: %+v", c.name, got.Reached, got)
		}
	}
	if l := judge(goal{row: "r", metric: "y", rule: told}, fake()); l.Reached {
		t.Error("a figure that is missing was reached")
	}
	same := result{Main: "a", Samples: map[string][]sample{"a": {{"n": 45}, {"n": 45}}}}
	if !judge(goal{metric: "n", rule: always, bound: 45}, same).Reached {
		t.Error("always 45 is not 45")
	}
}

func TestJudgeAllocs(t *testing.T) {
	g := goal{row: "r", metric: "x", rule: atMost, bound: 20, allocs: true}
	if !judge(g, fake()).Reached {
		t.Error("a stray allocation misses the goal")
	}
	r := fake()
	for _, s := range r.Samples["respool"] {
		s["allocs/op"] = 1
	}
	if judge(g, r).Reached {
		t.Error("one allocation reaches the goal")
	}
	for _, s := range r.Samples["respool"] {
		delete(s, "allocs/op")
	}
	if judge(g, r).Reached {
		t.Error("allocations not counted reach the goal")
	}
}

// TestBestPeer: the best is sought in each round, not over all.
func TestBestPeer(t *testing.T) {
	less := judge(goal{row: "r", metric: "x", rule: ratioAtMost, bound: 1}, fake())
	if *less.Theirs != (spread{100, 50, 100}) || less.Than != "puddle" || *less.Ratio != (spread{0.2, 0.2, 0.9}) {
		t.Errorf("less is better: %+v %+v of %s", *less.Theirs, *less.Ratio, less.Than)
	}
	more := judge(goal{row: "r", metric: "x", rule: ratioAtLeast, bound: 1, more: true}, fake())
	if *more.Theirs != (spread{200, 100, 200}) || more.Than != "channel" {
		t.Errorf("more is better: %+v of %s", *more.Theirs, more.Than)
	}
}

func TestReport(t *testing.T) {
	gs := []goal{
		{row: "r", work: "good work", metric: "x", rule: ratioAtMost, bound: 0.25, than: "puddle"},
		{row: "r", work: "bad work", metric: "x", rule: neverOver, bound: 50, than: "puddle"},
		{row: "not run", metric: "x", rule: neverOver, bound: 50},
	}
	rep := report{Machine: machine{CPU: "abacus", GOMAXPROCS: 2, Go: "go1"}, Rounds: 3, Lines: judgeAll(gs, []result{fake()})}
	missed := rep.missed()
	if len(missed) != 1 || !strings.Contains(missed[0], "r, x: 20, goal never > 50") {
		t.Errorf("missed: %q", missed)
	}
	var b bytes.Buffer
	if err := rep.writeTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"abacus", "good work", "20 (10-90)", "0.200 (0.100-0.900)", "yes", "NO"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}

func TestSpans(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	s := spans{
		{begin: at(0), end: at(10)}, {begin: at(0), end: at(10)}, {begin: at(0), end: at(10)},
		{begin: at(10), end: at(20), ok: true},
		{begin: at(15)},
	}
	if n := s.before(at(10)); n != 3 {
		t.Errorf("%d began before 10 ms", n)
	}
	for _, c := range []struct{ from, until, want int }{{0, 100, 3}, {9, 100, 3}, {10, 15, 1}, {10, 100, 2}, {20, 100, 1}} {
		if got := s.peak(at(c.from), at(c.until)); got != c.want {
			t.Errorf("peak from %d to %d: %d, not %d", c.from, c.until, got, c.want)
		}
	}
	if first, ok := s.success(); !ok || !first.Equal(at(20)) {
		t.Errorf("first success %v %v", first, ok)
	}
}

func TestShared(t *testing.T) {
	parts := make(chan int, 3)
	outer := t.Context()
	for _, own := range []bool{false, true} {
		err := shared(3, own, func(ctx context.Context, n int) error {
			if (ctx == outer) == own {
				t.Errorf("own %v: not so", own)
			}
			parts <- n
			return nil
		})(outer, 11)
		if err != nil {
			t.Fatal(err)
		}
		if a, b, c := <-parts, <-parts, <-parts; a+b+c != 11 || max(a, b, c) != 4 {
			t.Errorf("parts %d %d %d", a, b, c)
		}
	}
}

func TestNextN(t *testing.T) {
	for _, c := range []struct {
		n       int
		took, d time.Duration
		want    int
	}{
		{100, time.Millisecond, 10 * time.Millisecond, 1200},
		{100, 1, time.Second, 10000},
		{100, 0, time.Second, 10000},
		{100, 99, 10, 101},
	} {
		if got := nextN(c.n, c.took, c.d); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestCPUModel(t *testing.T) {
	if got := cpuModel("processor\t: 0\nmodel name\t: Abacus 9\n"); got != "Abacus 9" {
		t.Errorf("%q", got)
	}
	if got := cpuModel(""); got != "unknown CPU" {
		t.Errorf("%q", got)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.25: "0.250", 1.5: "1.50", 26.44: "26.4", 153.2: "153", 1e6: "1000000"} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, not %s", v, got, want)
		}
	}
}
