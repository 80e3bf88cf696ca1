package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"
	"go.uber.org/goleak"

	"github.com/respool/respool/internal/bench/conformance"
	"github.com/respool/respool/internal/bench/peer"
	"github.com/respool/respool/resource"
)

var small = size{seed: 1, small: true}

func TestMain(m *testing.M) {
	if handled, status := child(kinds()); handled {
		os.Exit(status)
	}
	goleak.VerifyTestMain(m)
}

func rounds(t *testing.T, n int, args ...string) options {
	t.Helper()
	return must(parse(append(args, fmt.Sprintf("-rounds=%d", n)), io.Discard))
}

// TestRows does every row once with little work: each must end without an error and
// measure every figure, for every entrant.
func TestRows(t *testing.T) {
	names := map[string]bool{}
	for _, r := range rows(kinds(), small) {
		if names[r.name] || len(r.figures) == 0 {
			t.Errorf("%s: a row of that name exists, or it has no figure", r.name)
		}
		names[r.name] = true
		t.Run(r.name, func(t *testing.T) {
			var progress bytes.Buffer
			got := runRows(t.Context(), []row{r}, rounds(t, 1, "-only=."), &progress)[0]
			if len(got.Errs) > 0 || !strings.Contains(progress.String(), "round 1/1 "+r.entrants[0].name) {
				t.Fatalf("%+v\n%s", got, &progress)
			}
			for _, f := range r.figures {
				for _, e := range r.entrants {
					n := len(got.values(e.name, f.metric))
					if sweep := strings.Contains(f.metric, " at "); n != 1 && (!sweep || e.name == got.Main || e.name == f.than) {
						t.Errorf("%s: %d values of %q, want 1", e.name, n, f.metric)
					}
				}
				if l := judge(f, got); l.Ours == nil || len(r.entrants) > 1 && l.Ratio == nil {
					t.Errorf("%q is not judged: %+v", f.metric, l)
				}
			}
			for name, curve := range got.Curves {
				for i, p := range curve {
					if len(curve) != spikeCallers || p.Count != i+1 || i > 0 && p.AtMs < curve[i-1].AtMs {
						t.Fatalf("%s: point %d of %d: %+v", name, i, len(curve), p)
					}
				}
			}
		})
	}
}

// TestTurns: the entrants take turns, each round begins with another one, and one that
// fails is closed but not measured again.
func TestTurns(t *testing.T) {
	for _, tt := range []struct{ fail, want, err string }{
		{"", "ours theirs theirs ours", ""},
		{"theirs", "ours theirs theirs ours", "round 2: broke"},
	} {
		var turns []string
		closed := 0
		one := func(name string, v float64) entrant {
			return entrant{name, func(x *setup) measurement {
				x.cleanup(func() error { closed++; return nil })
				return func(context.Context) sample {
					if turns = append(turns, name); name == tt.fail && len(turns) > 2 {
						check(errors.New("broke"))
					}
					return sample{"ns/op": v}
				}
			}}
		}
		fake := row{name: "fake", entrants: []entrant{one("ours", 10), one("theirs", 40)}}
		got := runRows(t.Context(), []row{fake}, rounds(t, 2), io.Discard)[0]
		if s := strings.Join(turns, " "); s != tt.want || closed != 2 || got.Main != "ours" || len(got.Samples["ours"]) != 2 || got.Errs["theirs"] != tt.err {
			t.Errorf("fail %q: turns %s, closed %d, %+v", tt.fail, s, closed, got)
		}
		l := judge(figure{metric: "ns/op", rule: ratioAtMost, bound: 0.5, than: "theirs"}, got)
		if l.Reached != (tt.fail == "") {
			t.Errorf("fail %q: reached %v", tt.fail, l.Reached)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{{"-rounds=0"}, {"-only=("}, {"-pools=("}, {"extra"}, {"-nonsense"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
	if _, err := parse([]string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
	if err := run(t.Context(), kinds(), []string{"-only=^no such row$"}, io.Discard, io.Discard); err == nil {
		t.Error("no row is no error")
	}
	for _, c := range []struct {
		args []string
		want string
	}{{[]string{"-only=x"}, ""}, {[]string{"-pools=x"}, ""}, {[]string{"-report=d"}, "d"}, {[]string{"-only=x", "-report=d"}, "d"}} {
		if got, err := reportDir(rounds(t, 1, c.args...)); got != c.want || err != nil {
			t.Errorf("%v: %q, %v", c.args, got, err)
		}
	}
	if _, err := reportDir(rounds(t, 1)); err == nil {
		t.Error("there is no internal/bench below this package, and it was accepted")
	}
	if !(machine{GOMAXPROCS: 2, Load: "1.6 1 1"}).busy() || (machine{GOMAXPROCS: 2, Load: "1.4 9 9"}).busy() || (machine{GOMAXPROCS: 2}).busy() {
		t.Error("busy is wrong")
	}
}

// TestProgram runs the program on one quick row: it prints JSON, completes and renders
// what it printed, and writes a file for benchstat.
func TestProgram(t *testing.T) {
	dir := t.TempDir()
	record, samples := filepath.Join(dir, "run.json"), filepath.Join(dir, "samples.txt")
	for _, args := range [][]string{
		{"-list"}, {"-only=^spike-short$", "-rounds=1", "-json", "-samples", samples},
		{"-only=^spike-short$", "-rounds=1", "-with", record, "-report", filepath.Join(dir, "new"), "-busy"},
		{"-render", record, "-report", filepath.Join(dir, "again")},
	} {
		var out bytes.Buffer
		if args[0] != "-list" && strings.HasSuffix(args[len(args)-2], "report") || args[len(args)-1] == "-busy" {
			check(os.MkdirAll(filepath.Join(dir, "new"), 0o755))
		}
		if err := run(t.Context(), kinds(), args, &out, io.Discard); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		if args[0] == "-list" && !strings.Contains(out.String(), "wss-dial: respool, dialing, gorilla\n") || args[len(args)-1] == "-busy" && !strings.Contains(out.String(), "total ms") {
			t.Errorf("%v printed\n%s", args, &out)
		}
		if slices.Contains(args, "-json") {
			check(os.WriteFile(record, out.Bytes(), 0o600))
		}
	}
	for file, want := range map[string]string{"samples.txt": "BenchmarkRow/row=spike-short/pool=database-sql-", "new/REPORT.md": "total ms", "again/REPORT.md": "(plots/spike-short.svg)", "again/plots/spike-short.svg": "puddle"} {
		if text, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, no %q", file, err, want)
		}
	}
}

// TestReport: the report shows every part that was measured, and its tables are
// tables.
func TestReport(t *testing.T) {
	rec := record{Machine: describeMachine(), Rounds: 2, Seed: 1}
	all := rows(kinds(), small)
	for _, name := range []string{"alone", "scale-hold", "policy-limit", "ws-memory"} {
		rec.Results = append(rec.Results, runRows(t.Context(), all, rounds(t, 2, "-only=^"+name+"$"), io.Discard)...)
	}
	rec.Lines = append(judgeAll(all, rec.Results), line{Row: "bad", Work: "  bad work", Metric: "x", Ours: &spread{2, 1, 3}, Goal: "<= 1", Err: "it broke"})
	ok, bad := conformance.Finding{Verdict: conformance.Passes}, conformance.Finding{Verdict: conformance.Fails, Seen: "two holders"}
	rec.Conformance = &conformance.Table{Pools: []string{"respool", "puddle"}, Rows: []conformance.Row{
		{Name: "one", What: "one holder", Cells: map[string]conformance.Finding{"respool": ok, "puddle": bad}},
	}}
	rec.Profiles = []profiled{{
		Work: "some work", Samples: 100, Parts: []place{{"crypto", []float64{0.6}}, {"dust", []float64{0.001}}}, Spots: []place{{"f|g", []float64{0.6}}},
		Allocs: []place{{"gorilla.f, from wspool.g", []float64{1, 48}}},
	}, {Work: "frugal work", Samples: 1}}
	dir := t.TempDir()
	check(rec.writeReport(dir))
	text := string(must(os.ReadFile(filepath.Join(dir, "REPORT.md"))))
	for _, want := range []string{
		rec.Machine.CPU, "goals are reached", "| `bad` bad work | 2 (1-3) x, error: it broke | <= 1 |", "## Acquire and release", "## Scaling", "## Policies",
		"## Other rows", "net/http", "of puddle", "## Conformance: known pool defects", "| puddle | 0 | 1 | 0 |\n\n| what must hold | respool | puddle |\n|---|---|---|\n| `one` one holder (found in the code) | pass | **fails**: two holders |\n",
		"### some work", "| crypto | 60 % |", "`f\\|g` | 60 %", "`gorilla.f, from wspool.g` | 1.00 | 48", "It allocates nothing", "| … bad work |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, not := range []string{"users' claim\n\n", "dust", "NaN", "<no value>", "0x"} {
		if strings.Contains(text, not) {
			t.Errorf("%q in the report", not)
		}
	}
	pictures := regexp.MustCompile(`!\[[^\]]+\]\(([^)]+)\)`).FindAllStringSubmatch(text, -1)
	for _, p := range pictures {
		if svg, err := os.ReadFile(filepath.Join(dir, p[1])); err != nil || !bytes.Contains(svg, []byte("respool")) {
			t.Errorf("%s: %v, %d bytes", p[1], err, len(svg))
		}
	}
	if len(pictures) != 3 { // loops, memory, holds
		t.Errorf("%d pictures, want 3", len(pictures))
	}
	width := 0
	for l := range strings.Lines(text) {
		n := strings.Count(strings.ReplaceAll(l, `\|`, ""), "|")
		if strings.HasPrefix(l, "|") && width > 0 && n != width {
			t.Errorf("%d bars, want %d: %s", n, width, l)
		}
		width = n
	}
}

// fake is a result of three pools over three rounds.
func fake() result {
	return result{Row: "r", Main: "respool", Samples: map[string][]sample{
		"respool": {{"x": 10, "allocs/op": 0}, {"x": 20, "allocs/op": 0}, {"x": 90, "allocs/op": 0.001}},
		"puddle":  {{"x": 100}, {"x": 100}, {"x": 100}},
		"channel": {{"x": 50}, {"x": 200}, {"x": 200}},
	}}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		f    figure
		want bool
	}{
		{figure{rule: ratioAtMost, bound: 0.2, than: "puddle"}, true},
		{figure{rule: ratioAtMost, bound: 0.19, than: "puddle"}, false},
		{figure{rule: ratioAtLeast, bound: 0.2, than: "puddle"}, true},
		{figure{rule: ratioAtLeast, bound: 0.21, than: "puddle"}, false},
		{figure{rule: atMost, bound: 20}, true},
		{figure{rule: atMost, bound: 19}, false},
		{figure{rule: atLeast, bound: 20}, true},
		{figure{rule: atLeast, bound: 21}, false},
		{figure{rule: neverOver, bound: 90}, true},
		{figure{rule: neverOver, bound: 89}, false},
		{figure{rule: always, bound: 20}, false},
		{figure{}, true},
		{figure{rule: ratioAtMost, bound: 9, than: "none"}, false},
		{figure{rule: "?"}, false},
		{figure{rule: atMost, bound: 20, allocs: true}, true}, // a stray allocation
	} {
		c.f.metric = "x"
		if l := judge(c.f, fake()); l.Reached != c.want {
			t.Errorf("%q: reached %v: %+v", c.f.goal(), l.Reached, l)
		}
	}
	allocates := fake()
	for _, s := range allocates.Samples["respool"] {
		s["allocs/op"] = 1
	}
	if judge(figure{metric: "x", rule: atMost, bound: 20, allocs: true}, allocates).Reached || judge(figure{metric: "y"}, fake()).Reached {
		t.Error("one allocation, or a missing figure, reaches the goal")
	}
	same := result{Main: "a", Samples: map[string][]sample{"a": {{"n": 45}, {"n": 45}}}}
	if !judge(figure{metric: "n", rule: always, bound: 45}, same).Reached {
		t.Error("always 45 is not 45")
	}
	best := judge(figure{metric: "x", rule: ratioAtLeast, bound: 1, more: true}, fake())
	if *best.Theirs != (spread{200, 50, 200}) || best.Than != "channel" || *best.Ratio != (spread{0.2, 0.1, 0.45}) {
		t.Errorf("the best of the others: %+v %+v of %s", *best.Theirs, *best.Ratio, best.Than)
	}
	if m := missed([]line{{Reached: true}, {Row: "r", Metric: "x", Ours: &spread{2, 1, 3}, Goal: "<= 1"}}); len(m) != 1 || !strings.Contains(m[0], "r, x: 2 (1-3), goal <= 1") {
		t.Errorf("missed: %q", m)
	}
}

// TestBest: the best of a line is any pool, and none where neither more nor less is
// better.
func TestBest(t *testing.T) {
	names := []string{"respool", "puddle", "channel"}
	for _, c := range []struct {
		l    line
		want int
	}{{line{Metric: "x"}, 0}, {line{Metric: "x", More: true}, 2}, {line{Metric: "x", Level: true}, -1}, {line{Metric: "y"}, -1}} {
		values, best := medians(fake(), c.l, names)
		if best != c.want || c.l.Metric == "x" && (values["puddle"] != 100 || values["channel"] != 200) {
			t.Errorf("%+v: %v, best %d, want %d", c.l, values, best, c.want)
		}
	}
}

// TestComplete: a run is completed with an earlier one; what was measured again wins.
func TestComplete(t *testing.T) {
	old := record{Results: []result{{Row: "a", Main: "old "}, {Row: "b"}, {Row: "gone"}}, Profiles: []profiled{{Work: "old"}}}
	now := record{Results: []result{{Row: "c"}, {Row: "a", Main: "new "}}, Conformance: &conformance.Table{}}
	now.complete(old, []string{"a", "b", "c", "d"})
	var got []string
	for _, r := range now.Results {
		got = append(got, r.Main+r.Row)
	}
	if s := strings.Join(got, " "); s != "new a b c" || now.Conformance == nil || now.Profiles[0].Work != "old" {
		t.Errorf("%s; %+v", s, now)
	}
	name := filepath.Join(t.TempDir(), "run.json")
	check(os.WriteFile(name, []byte("{"), 0o600))
	if _, err := readRecord(name); err == nil || !strings.Contains(err.Error(), "run.json") {
		t.Errorf("half a record: %v", err)
	}
}

// TestBenchfmt: each sample is a line of a Go benchmark, each step of a sweep another.
func TestBenchfmt(t *testing.T) {
	r := fake()
	r.Samples["database/sql"] = []sample{{"told ms": 2.5, "ns/op at 10": 3, "ns/op at 2": 4}}
	text := string(record{Machine: machine{CPU: "abacus", GOMAXPROCS: 2, System: "linux/amd64"}, Results: []result{r}}.benchfmt())
	for _, want := range []string{"cpu: abacus\n", "goos: linux\n", "row=r/pool=database-sql/at=10-2 1 3 ns/op\n", "row=r/pool=database-sql-2 1 2.5 told-ms\n"} {
		if !strings.Contains(text, want) || strings.Count(text, "\nBenchmark") != 12 {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestProfiles(t *testing.T) {
	all, err := profileAll(t.Context(), small, t.Logf)
	if err != nil || len(all) != len(subjects()) || all[0].Samples == 0 || len(all[3].Allocs) == 0 {
		t.Errorf("%v, %+v", err, all)
	}
	if _, err := json.Marshal(all); err != nil {
		t.Error(err)
	}
	stack := func(n int64, names ...string) *profile.Sample {
		s := &profile.Sample{Value: []int64{n}}
		for _, name := range names {
			s.Location = append(s.Location, &profile.Location{Line: []profile.Line{{Function: &profile.Function{Name: name}}}})
		}
		return s
	}
	const pool = "github.com/respool/respool/resource.(*Pool[go.shape.int]).Acquire"
	var p profiled
	p.read(&profile.Profile{Sample: []*profile.Sample{
		stack(5, "internal/runtime/syscall/linux.Syscall6", "syscall.RawSyscall6", "syscall.Syscall", "syscall.write", "net.(*conn).Write"),
		stack(3, "runtime.mallocgcTiny", "runtime.mallocgc", pool), stack(1, "sync/atomic.(*Uint64).CompareAndSwap", pool),
		stack(2, "runtime.memmove", "crypto/tls.(*Conn).Write"), stack(1, "runtime.schedule"),
		stack(9, "runtime.futex", "runtime/pprof.profileWriter"), stack(9),
	}})
	want := []string{"system calls", "respool/respool/resource", "crypto/tls", "the runtime: scheduler, timers, network poller, collector"}
	for i, w := range want {
		if p.Samples != 12 || i >= len(p.Parts) || p.Parts[i].Where != w {
			t.Fatalf("%d samples, parts %+v, want %v", p.Samples, p.Parts, want)
		}
	}
	if s := p.Spots[0]; s.Where != "system call write" || s.Values[0] != 5./12 {
		t.Errorf("spots %+v", p.Spots)
	}
}

func TestCrew(t *testing.T) {
	parts := make(chan int, 3)
	outer := t.Context()
	for _, own := range []bool{false, true} {
		l := crew{goroutines: 3, own: own}.loop(peer.Loops{Plain: func(ctx context.Context, n int) error {
			if (ctx == outer) == own {
				t.Errorf("own %v: the context is not", own)
			}
			parts <- n
			return nil
		}})
		check(l(outer, 11))
		if a, b, c := <-parts, <-parts, <-parts; a+b+c != 11 || max(a, b, c) != 4 {
			t.Errorf("parts %d %d %d", a, b, c)
		}
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.25: "0.250", 1.5: "1.50", 26.44: "26.4", 153.2: "153", 1e6: "1000000"} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	for n, want := range map[int]string{7: "7", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
	if a, b := powers(10, 1000), powers(2, 6); !slices.Equal(a, []int{1, 10, 100, 1000}) || !slices.Equal(b, []int{1, 2, 4, 6}) {
		t.Errorf("%v, %v", a, b)
	}
	if cpuModel("processor\t: 0\nmodel name\t: Abacus 9\n") != "Abacus 9" || cpuModel("") != "unknown CPU" {
		t.Error("cpuModel is wrong")
	}
	if s := spreadOf([]float64{9, 1, 2}); *s != (spread{2, 1, 9}) || spreadOf(nil) != nil {
		t.Errorf("%+v", s)
	}
}

// The names of the benchmarks are key=value pairs, so that benchstat can compare pools:
// benchstat -col /pool.

func BenchmarkAcquire(b *testing.B) {
	for _, c := range crews {
		for _, k := range kinds() {
			if k.Loops == nil {
				continue
			}
			b.Run(fmt.Sprintf("work=%s/pool=%s", c.name, k.Name), func(b *testing.B) {
				l := must(k.Loops(b.Context(), c.resources))
				benchLoop(b, c.loop(l))
				check(l.Close())
			})
		}
	}
}

func BenchmarkIdle(b *testing.B) {
	for _, n := range []int{fewIdle, 100_000} {
		b.Run(fmt.Sprintf("idle=%d/work=acquire", n), func(b *testing.B) {
			check(scoped(b.Context(), func(x *setup) {
				p := x.openIdle(n, resource.Config[*peer.Item]{SweepInterval: time.Hour})
				benchLoop(b, func(ctx context.Context, n int) error { return peer.RespoolLoop(ctx, p, n, false) })
			}))
		})
	}
}

// benchLoop times l with a context that can be cancelled.
func benchLoop(b *testing.B, l peer.Loop) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	b.ResetTimer()
	check(l(ctx, b.N))
	b.StopTimer()
}
