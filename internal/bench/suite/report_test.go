package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/pprof/profile"

	"github.com/respool/respool/internal/bench/museum"
	"github.com/respool/respool/internal/bench/peer"
)

// TestParts: every row is in one part, and every part has a row, so that the report
// leaves nothing out.
func TestParts(t *testing.T) {
	all := parts()
	used := map[int]bool{}
	for _, r := range rows(kinds()) {
		i := partOfRow(all, r.name)
		if i < 0 {
			t.Errorf("row %s is in no part", r.name)
		}
		used[i] = true
	}
	for i, p := range all {
		if !used[i] {
			t.Errorf("part %q has no row", p.title)
		}
	}
	if partOfRow(all, "no such row") >= 0 {
		t.Error("a row that is not there is in a part")
	}
}

// small is a record of a few rows that were really run.
func small(t *testing.T, only string, args ...string) record {
	t.Helper()
	o, err := parse(append([]string{"-rounds=2", "-only=" + only}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	s := smallSize()
	rec := record{Results: runRows(t.Context(), rows(kinds()), s, o, io.Discard)}
	rec.report = report{Machine: describeMachine(), Rounds: 2, Seed: 1, Lines: judgeAll(goals(s), rec.Results)}
	return rec
}

// aTable has a defect that puddle has and we have not, one that we have, and one
// that puddle cannot have.
func aTable() *museum.Table {
	ok, bad, none := museum.Finding{Verdict: museum.Passes}, museum.Finding{Verdict: museum.Fails, Seen: "two holders"}, museum.Finding{Verdict: museum.Cannot}
	return &museum.Table{Pools: []string{"respool", "puddle"}, Rows: []museum.Row{
		{Name: "one", What: "one holder", Cells: map[string]museum.Finding{"respool": ok, "puddle": bad}},
		{Name: "two", What: "two of them", Cells: map[string]museum.Finding{"respool": bad, "puddle": none}},
	}}
}

// TestFailed: with -check what we fail is named, and what others fail is not.
func TestFailed(t *testing.T) {
	if got := failed(aTable(), "respool"); len(got) != 1 || !strings.Contains(got[0], "two of them") {
		t.Errorf("%q", got)
	}
	if got := failed(nil, "respool"); got != nil {
		t.Errorf("of no museum: %q", got)
	}
}

// TestReportFiles writes a report as a run does, and looks whether all that it names
// is there.
func TestReportFiles(t *testing.T) {
	rec := small(t, "^(alone|spike-short|scale-hold|policy-limit)$")
	rec.Museum = aTable()
	rec.Profiles = []profiled{{
		Work: "some work", Samples: 100,
		Parts:  []portion{{"crypto", 0.6}, {"net", 0.4}, {"dust", 0.001}},
		Spots:  []portion{{"f|g", 0.6}},
		Allocs: []site{{"gorilla.f, from wspool.g", 1, 48}},
	}, {Work: "frugal work", Samples: 1}}
	dir := t.TempDir()
	if err := rec.writeReport(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "REPORT.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		rec.Machine.CPU, "goals are reached", "## Acquire and release", "## Scaling", "## Policies", "| … makes |",
		"database/sql", "net/http", "of puddle", "## The museum of defects", "| puddle | 0 | 1 | 1 |", "**fails**: two holders",
		"## Where the time goes", "### some work", "| crypto | 60 % | | `f\\|g` | 60 % |", "`gorilla.f, from wspool.g` | 1.00 | 48",
		"It allocates nothing",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, not := range []string{"## One WebSocket", "dust", "NaN"} {
		if strings.Contains(string(text), not) {
			t.Errorf("%q in the report", not)
		}
	}
	pictures := regexp.MustCompile(`!\[[^\]]+\]\(([^)]+)\)`).FindAllStringSubmatch(string(text), -1)
	if len(pictures) != 3 { // loops, the spike, the holds
		t.Errorf("%d pictures, not 3: %v", len(pictures), pictures)
	}
	for _, p := range pictures {
		if svg, err := os.ReadFile(filepath.Join(dir, p[1])); err != nil || !bytes.Contains(svg, []byte("respool")) {
			t.Errorf("%s: %v, %d bytes", p[1], err, len(svg))
		}
	}
}

// TestReportTables: each row of a table has as many cells as its head.
func TestReportTables(t *testing.T) {
	rec := small(t, "^(alone|zero-work|ws-memory)$")
	var b bytes.Buffer
	if err := (book{record: rec}).writeMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	tables, width := 0, 0
	for l := range strings.Lines(b.String()) {
		if !strings.HasPrefix(l, "|") {
			width = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(l, `\|`, ""), "|")
		if width == 0 {
			width = n
			tables++
		}
		if n != width {
			t.Errorf("%d bars, not %d: %s", n, width, l)
		}
	}
	if tables < 3 {
		t.Errorf("%d tables in\n%s", tables, &b)
	}
}

// TestMisses: what is not reached is named with its reason, or with its error.
func TestMisses(t *testing.T) {
	r := fake()
	gs := []goal{
		{row: "r", work: "good work", metric: "x", rule: ratioAtMost, bound: 0.25, than: "puddle"},
		{row: "r", work: "bad work", metric: "x", rule: atMost, bound: 5, than: "puddle", why: "it is hard"},
	}
	var b bytes.Buffer
	book{record: record{report: report{Lines: judgeAll(gs, []result{r})}}}.misses(&b)
	if s := b.String(); !strings.Contains(s, "bad work") || !strings.Contains(s, "it is hard") || strings.Contains(s, "good work") {
		t.Errorf("misses:\n%s", s)
	}
	r.Errs = map[string]string{"respool": "it broke"}
	b.Reset()
	book{record: record{report: report{Lines: judgeAll(gs, []result{r})}}}.misses(&b)
	if s := b.String(); strings.Count(s, "error: it broke") != 2 {
		t.Errorf("misses:\n%s", s)
	}
}

// TestBest: the best of a line is whoever it is, and nobody where all are alike.
func TestBest(t *testing.T) {
	cols := []string{"puddle", "channel"}
	for _, c := range []struct {
		l    line
		want int
	}{{line{Metric: "x"}, 0}, {line{Metric: "x", More: true}, 2}, {line{Metric: "x", Level: true}, -1}, {line{Metric: "y"}, -1}} {
		values, best := medians(fake(), c.l, cols)
		if best != c.want || c.l.Metric == "x" && (values["puddle"] != 100 || values["channel"] != 200) {
			t.Errorf("%+v: %v, best %d, not %d", c.l, values, best, c.want)
		}
	}
}

// TestRecord: a run is completed with an earlier one, and what was measured again
// is the new.
func TestRecord(t *testing.T) {
	old := record{Results: []result{{Row: "a", Main: "old "}, {Row: "b"}, {Row: "gone"}}, Museum: &museum.Table{Pools: []string{"old"}}, Profiles: []profiled{{Work: "old"}}}
	name := filepath.Join(t.TempDir(), "run.json")
	if err := writeFile(name, old.writeJSON); err != nil {
		t.Fatal(err)
	}
	read, err := readRecord(name)
	if err != nil {
		t.Fatal(err)
	}
	now := record{Results: []result{{Row: "c"}, {Row: "a", Main: "new "}}, Museum: &museum.Table{Pools: []string{"new"}}}
	now.with(read, []string{"a", "b", "c", "d"})
	var got []string
	for _, r := range now.Results {
		got = append(got, r.Main+r.Row)
	}
	if s := strings.Join(got, " "); s != "new a b c" || now.Museum.Pools[0] != "new" || now.Profiles[0].Work != "old" {
		t.Errorf("%s; %+v", s, now)
	}
	if _, err := readRecord(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there was read")
	}
	if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readRecord(name); err == nil || !strings.Contains(err.Error(), "run.json") {
		t.Errorf("half a record: %v", err)
	}
}

// TestReportDir: only a whole run writes where it was not told to, and only there
// where the report has its place.
func TestReportDir(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{{[]string{"-only=x"}, ""}, {[]string{"-pools=x"}, ""}, {[]string{"-report=d"}, "d"}, {[]string{"-only=x", "-report=d"}, "d"}} {
		o, err := parse(c.args, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := reportDir(o); got != c.want || err != nil {
			t.Errorf("%v: %q, %v", c.args, got, err)
		}
	}
	if _, err := reportDir(options{only: regexp.MustCompile(""), entrants: regexp.MustCompile("")}); err == nil {
		t.Error("there is no internal/bench below this package, and it was taken")
	}
}

// TestBenchfmt: each sample is a line of a Go benchmark, with pairs of a number and
// a unit, which is one word.
func TestBenchfmt(t *testing.T) {
	r := fake()
	r.Row = "a row/two"
	r.Samples["database/sql"] = []sample{{"told ms": 2.5, "ns/op at 10": 3, "ns/op at 2": 4}, {}}
	var b bytes.Buffer
	if err := writeBenchfmt(&b, machine{CPU: "abacus", GOMAXPROCS: 2, System: "linux/amd64"}, []result{r}); err != nil {
		t.Fatal(err)
	}
	samples := 0
	for l := range strings.Lines(b.String()) {
		if !strings.HasPrefix(l, "Benchmark") {
			continue
		}
		samples++
		f := strings.Fields(l)
		if len(f) < 4 || len(f)%2 != 0 || f[1] != "1" {
			t.Errorf("not a benchmark: %s", l)
		}
	}
	if samples != 12 || !strings.Contains(b.String(), "BenchmarkRow/row=a-row-two/pool=database-sql/at=10-2 1 3 ns/op\n") ||
		!strings.Contains(b.String(), "BenchmarkRow/row=a-row-two/pool=database-sql-2 1 2.5 told-ms\n") {
		t.Errorf("%d samples:\n%s", samples, &b)
	}
	if !strings.Contains(b.String(), "cpu: abacus\n") || !strings.Contains(b.String(), "goos: linux\n") {
		t.Errorf("no machine:\n%s", &b)
	}
}

// stack makes a sample of functions, the innermost first.
func stack(n int64, names ...string) *profile.Sample {
	s := &profile.Sample{Value: []int64{n}}
	for _, name := range names {
		s.Location = append(s.Location, &profile.Location{Line: []profile.Line{{Function: &profile.Function{Name: name}}}})
	}
	return s
}

func TestProfileRead(t *testing.T) {
	const pool = "github.com/respool/respool/resource.(*Pool[go.shape.int]).Acquire"
	var p profiled
	p.read(&profile.Profile{Sample: []*profile.Sample{
		stack(4, "internal/runtime/syscall/linux.Syscall6", "syscall.RawSyscall6", "syscall.Syscall", "syscall.write", "net.(*conn).Write"),
		stack(3, "runtime.mallocgcTiny", "runtime.mallocgc", pool),
		stack(2, "sync/atomic.(*Uint64).CompareAndSwap", pool),
		stack(1, "runtime.memmove", "crypto/tls.(*Conn).Write"),
		stack(1, "runtime.unknown"),
		stack(9, "runtime.futex", "runtime/pprof.profileWriter"),
		stack(9),
	}})
	if p.Samples != 11 {
		t.Errorf("%d samples, not 11", p.Samples)
	}
	want := []string{"system calls: write", "memory: allocation and collection", "respool: resource", "crypto", "the rest of the runtime"}
	for i, w := range want {
		if i >= len(p.Parts) || p.Parts[i].Where != w {
			t.Fatalf("parts %+v, not %v", p.Parts, want)
		}
	}
	if p.Spots[0] != (portion{"system call write", 4. / 11}) {
		t.Errorf("spots %+v", p.Spots)
	}
}

// TestAllocSites finds what a loop allocates, and nothing else.
func TestAllocSites(t *testing.T) {
	got, err := allocSites(t.Context(), func(_ context.Context, n int) error {
		for range n {
			kept = &peer.Item{}
		}
		return nil
	}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].PerOp < 0.9 || got[0].PerOp > 1.1 || !strings.Contains(got[0].Where, "TestAllocSites") {
		t.Errorf("%+v", got)
	}
	none, err := allocSites(t.Context(), func(context.Context, int) error { return nil }, 1000)
	if err != nil || len(none) != 0 {
		t.Errorf("of nothing: %+v, %v", none, err)
	}
}

var kept *peer.Item // so that it is really allocated

// TestProfiles takes them with little work: it cannot say what is right, but that
// all subjects work.
func TestProfiles(t *testing.T) {
	all, err := profileAll(t.Context(), smallSize(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(subjects()) {
		t.Errorf("%d profiles", len(all))
	}
	if _, err := json.Marshal(all); err != nil {
		t.Error(err)
	}
}

func TestSweeps(t *testing.T) {
	if s := through(1000); len(s) != 4 || s[3] != 1000 {
		t.Errorf("through: %v", s)
	}
	for n, want := range map[int]int{1: 1, 2: 2, 6: 4, 8: 4} {
		if got := upTo(n); len(got) != want || got[len(got)-1] != n {
			t.Errorf("up to %d: %v", n, got)
		}
	}
	for n, want := range map[int]string{7: "7", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

// TestTimeline counts from the start, in the order of time.
func TestTimeline(t *testing.T) {
	rec := small(t, "^spike-short$")
	for _, name := range rec.Results[0].Entrants {
		line := rec.Results[0].Curves[name]
		if len(line) != spikeCallers {
			t.Fatalf("%s: %d points", name, len(line))
		}
		for i, p := range line {
			if p.Count != i+1 || i > 0 && p.AtMs < line[i-1].AtMs {
				t.Errorf("%s: point %d: %+v", name, i, p)
			}
		}
	}
}
