package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sample is a module whose tests notice some changes only.
var sample = map[string]string{
	"go.mod": "module sample.example\n\ngo 1.25.0\n",
	"low/low.go": `package low

// Least returns a, or 10 if that is less.
//
//go:noinline
func Least(a int) int {
	if a > 10 {
		a = 10
	}
	return a
}

// Wait returns.
func Wait() {
	c := make(chan int, 1)
	c <- 1
	<-c
}

// Same does nothing.
func Same(a int) {
	a = 0
}
`,
	"low/low_test.go": `package low

import "testing"

func TestLeast(t *testing.T) {
	if Least(5) != 5 {
		t.Error("five")
	}
}

func TestWait(t *testing.T) {
	Wait()
	Same(1)
}
`,
	"high/high_test.go": `package high

import (
	"testing"

	"sample.example/low"
)

func TestCap(t *testing.T) {
	if low.Least(12) != 10 {
		t.Error("twelve")
	}
}
`,
}

// inSample changes to a directory with the sample, and returns the flags that all commands
// there need.
func inSample(t *testing.T) []string {
	t.Helper()
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range sample {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	t.Setenv("GOWORK", "off")
	t.Setenv("GOFLAGS", "")
	return []string{"-cache", strings.TrimSpace(string(cache)), "-timeout", "10s"}
}

// verdicts runs the command on package low and returns the verdict of each mutant, and by
// which test, by function and change; and the file that -json wrote. The exit code must be want.
func verdicts(t *testing.T, want int, args ...string) (all map[string]string, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "results.json")
	var stdout, stderr bytes.Buffer
	if got := command(t.Context(), append(args, "-json", file, "low"), &stdout, &stderr); got != want {
		t.Fatalf("exit code %d, want %d\n%s%s", got, want, &stdout, &stderr)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var records []record
	if err := json.Unmarshal(data, &records); err != nil {
		t.Fatal(err)
	}
	all = make(map[string]string)
	for _, r := range records {
		all[r.Func+": "+r.Change] = strings.TrimSpace(string(r.Verdict) + " " + r.By)
		if r.Verdict == survived && !strings.Contains(stdout.String(), r.Diff) {
			t.Errorf("the output has no diff of the survivor\n%s", r.Diff)
		}
	}
	return all, file
}

// The command tells apart mutants that the tests of the package notice, that those of another
// package notice, that hang, that survive, and that are the same program.
func TestVerdicts(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a program for each mutant")
	}
	flags := inSample(t)
	got, file := verdicts(t, 1, append(flags, "-tests", "low,high", "-only", "Least|send|Same")...)
	for change, want := range map[string]string{
		"Least: condition negated":     "killed low: TestLeast",
		"Least: condition always true": "killed low: TestLeast",
		"Least: condition never true":  "killed high: TestCap",
		"Least: > becomes >=":          "survived",
		"Least: result is always 0":    "killed low: TestLeast",
		"Wait: send dropped":           "timed out low: TestWait",
		"Same: number plus 1":          "same program",
	} {
		if got[change] != want {
			t.Errorf("%s: %q, want %q", change, got[change], want)
		}
	}
	again, second := verdicts(t, 1, append(flags, "-tests", "high", "-only", "becomes|negated", "-again", file)...)
	if len(again) != 1 || again["Least: > becomes >="] != "survived" {
		t.Errorf("again: %q, want the one that survived", again)
	}
	rest, _ := verdicts(t, 0, append(flags, "-tests", "low", "-only", "becomes|negated", "-without", second)...)
	if len(rest) != 1 || rest["Least: condition negated"] != "killed low: TestLeast" {
		t.Errorf("without the one that survived: %q, want the other one", rest)
	}
	once, _ := verdicts(t, 0, append(flags, "-tests", "low", "-only", "negated", "-once")...)
	if len(once) != 1 || once["Least: condition negated"] != "not tried" {
		t.Errorf("once: %q, want none that is tried alone", once)
	}
	for name, text := range sample {
		if data, err := os.ReadFile(name); err != nil || string(data) != text {
			t.Errorf("%s is not as it was: %v", name, err)
		}
	}
}

func TestSameOrderBySeed(t *testing.T) {
	ms := ours(t, "internal/claim")
	order := func(o options) (all []string) {
		for _, j := range choose(o, []*target{{mutants: ms}}, nil) {
			all = append(all, j.mutant.key())
		}
		return all
	}
	with := func(seed uint64, count int) options {
		o, err := parse([]string{"internal/claim"}, os.Stderr)
		if err != nil {
			t.Fatal(err)
		}
		o.seed, o.count = seed, count
		return o
	}
	first, again, other, few := order(with(1, 0)), order(with(1, 0)), order(with(2, 0)), order(with(1, 5))
	if len(first) != len(ms) || strings.Join(first, "\n") != strings.Join(again, "\n") {
		t.Error("the same seed gives another order")
	}
	if strings.Join(first, "\n") == strings.Join(other, "\n") {
		t.Error("another seed gives the same order")
	}
	if strings.Join(first[:5], "\n") != strings.Join(few, "\n") {
		t.Error("-n 5 is not the first five")
	}
}

func TestArguments(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"", "no package named"},
		{"-workers 3 p", "-workers must be 1 or 2, got 3"},
		{"-n -1 p", "-n must not be negative, got -1"},
		{"-only ( p", "-only: "},
	} {
		var stderr bytes.Buffer
		if code := command(t.Context(), strings.Fields(tc.args), &stderr, &stderr); code != 2 || !strings.Contains(stderr.String(), tc.want) {
			t.Errorf("%q: exit code %d and %q, want 2 and %q", tc.args, code, &stderr, tc.want)
		}
	}
}

func TestSummary(t *testing.T) {
	a, b := &source{pkg: "p", path: "/x/a.go"}, &source{pkg: "p", path: "/x/b.go"}
	var results []result
	for s, vs := range map[*source][]verdict{
		a: {killed, killed, timedOut, survived, equivalent, identical, uncompiled, untried},
		b: {equivalent},
	} {
		for _, v := range vs {
			results = append(results, result{mutant: &mutant{src: s}, verdict: v})
		}
	}
	var out bytes.Buffer
	if err := summarize(&out, results); err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]string)
	for line := range strings.Lines(out.String()) {
		cells := strings.Fields(line)
		rows[cells[len(cells)-1]] = strings.Join(cells[:len(cells)-1], " ")
	}
	for name, want := range map[string]string{
		"p/a.go": "8 2 1 1 1 1 1 1 75.0 %", "p/b.go": "1 0 0 0 1 0 0 0 –", "all": "9 2 1 1 2 1 1 1 75.0 %",
	} {
		if rows[name] != want {
			t.Errorf("%s: %q, want %q", name, rows[name], want)
		}
	}
}

// What a test program prints names the test that failed.
func TestFailure(t *testing.T) {
	for _, tc := range []struct{ out, want string }{
		{"--- FAIL: TestA (0.00s)\n    --- FAIL: TestA/b (0.00s)\nFAIL\n", "TestA/b"},
		{"panic: test timed out after 3s\n\trunning tests:\n\t\tTestB (3s)\n\ngoroutine 1\n", "TestB"},
		{"fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1\n", "fatal error: all goroutines are asleep - deadlock!"},
		{"PASS\ngoleak: Errors on successful test run\n", "goleak"},
		{"", "exit without a message"},
	} {
		if got := failure([]byte(tc.out)); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.out, got, tc.want)
		}
	}
}

// slowTests finds the tests that take long, and no subtests.
func TestSlowTests(t *testing.T) {
	names, sum := slowTests([]byte("=== RUN   TestA\n--- PASS: TestA (0.19s)\n--- PASS: TestB (0.20s)\n" +
		"--- PASS: TestC (1.50s)\n    --- PASS: TestC/d (1.50s)\n--- SKIP: TestE (9.00s)\n--- PASS: ExampleF (0.00s)\nPASS\n"))
	if got := strings.Join(names, " "); got != "TestB TestC" || sum != 1700*time.Millisecond {
		t.Errorf("%s in %v, want TestB TestC in 1.7s", got, sum)
	}
}
