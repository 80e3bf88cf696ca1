package explore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// preemptions is how many preemptions RESPOOL_EXPLORE asks for; "": as many as each scene says.
var preemptions = os.Getenv("RESPOOL_EXPLORE")

// program is the path of the scenes' program, which is built once.
var program = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return Build(ctx, "../..", buildDir)
})

// buildDir is where the module is generated.
var buildDir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if buildDir, err = os.MkdirTemp("", "explore"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(buildDir) }()
		status := m.Run()
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = max(status, 1)
		}
		return status
	}())
}

// job and answer are those of the scenes' program.
type job struct {
	Scene    string
	Options  options
	Schedule string
}

type options struct{ Bound, MaxSchedules, Bug int }

type answer struct {
	Scene     string
	Schedules []int
	States    int
	Complete  bool
	Failure   string
	Bound     int
	Schedule  string
	Took      time.Duration
	Table     string
}

// needsUnix skips a test where wsconn cannot look into a socket: there a watcher finds what has arrived
// some microseconds later, and the edits that stand for a socket have no place.
func needsUnix(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the scenes of wspool stand on a Unix socket")
	}
}

// ask has the scenes' program do a job.
func ask(t *testing.T, j job) (a answer) {
	t.Helper()
	needsUnix(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	in, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	deadline, ok := t.Deadline()
	if !ok {
		deadline = time.Now().Add(24 * time.Hour)
	}
	ctx, cancel := context.WithDeadline(t.Context(), deadline.Add(-10*time.Second)) // before the test is ended
	defer cancel()
	var out, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &stderr
	if preemptions != "" {
		cmd.Stderr = io.MultiWriter(&stderr, os.Stderr) // its progress
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("scene %s, bug %d: %v\n%s", j.Scene, j.Options.Bug, err, stderr.Bytes())
	}
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		t.Fatalf("scene %s, bug %d: %v: %s", j.Scene, j.Options.Bug, err, out.Bytes())
	}
	return a
}

// scenes lists the scenes, with the bounds of their searches.
func scenes(t *testing.T) (jobs []job) {
	t.Helper()
	needsUnix(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, "-list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(line, "\t")
		bound, err := strconv.Atoi(cmp.Or(preemptions, f[1]))
		if err != nil {
			t.Fatal(err)
		}
		if testing.Short() {
			bound = min(bound, 1)
		}
		jobs = append(jobs, job{Scene: f[0], Options: options{Bound: bound}})
	}
	return jobs
}

// Every schedule of every scene, up to a number of preemptions, keeps the invariants.
func TestScenes(t *testing.T) {
	for _, j := range scenes(t) {
		t.Run(j.Scene, func(t *testing.T) {
			t.Parallel()
			a := ask(t, j)
			t.Logf("schedules with up to 0, 1, … preemptions: %v; %d states; %v", a.Schedules, a.States, a.Took.Round(time.Millisecond))
			if a.Failure != "" {
				t.Errorf("with %d preemptions: %s\nRESPOOL_EXPLORE_SCHEDULE='%s: %s'\n%s", a.Bound, a.Failure, a.Scene, a.Schedule, a.Table)
			} else if !a.Complete {
				t.Error("the search ended early")
			}
		})
	}
}

// Every planted bug is found, with few preemptions.
func TestPlantedBugs(t *testing.T) {
	if len(Bugs) < 20 {
		t.Errorf("there are %d bugs, want at least 20", len(Bugs))
	}
	for i, b := range Bugs {
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			a := ask(t, job{Scene: b.Scene, Options: options{Bound: 3, Bug: i + 1}})
			if a.Failure == "" {
				t.Fatalf("not found in scene %s after %v schedules", a.Scene, a.Schedules)
			}
			text, _, _ := strings.Cut(a.Failure, "\n")
			t.Logf("%s, %d preemptions, schedules %v: %s", a.Scene, a.Bound, a.Schedules, text)
			if a.Bound > 0 && (a.Table == "" || a.Schedule == "") {
				t.Error("no table of its schedule")
			}
		})
	}
}

// A schedule that fails can be repeated. RESPOOL_EXPLORE_SCHEDULE, as TestScenes prints it, names another
// one.
func TestReplay(t *testing.T) {
	if text := os.Getenv("RESPOOL_EXPLORE_SCHEDULE"); text != "" {
		scene, schedule, _ := strings.Cut(text, ": ")
		a := ask(t, job{Scene: scene, Schedule: schedule})
		t.Logf("failure: %q\n%s", a.Failure, a.Table)
		return
	}
	n := slices.IndexFunc(Bugs, func(b Bug) bool { return b.Name == "a release does not look at slowPath again" })
	bug := job{Scene: Bugs[n].Scene, Options: options{Bound: 3, Bug: n + 1}}
	first := ask(t, bug)
	bug.Schedule = first.Schedule
	if again := ask(t, bug); again.Failure != first.Failure || again.Table != first.Table {
		t.Errorf("the replay of %s has failure %q, and the search %q; its table:\n%s\nand that of the search:\n%s",
			bug.Schedule, again.Failure, first.Failure, again.Table, first.Table)
	}
	if right := ask(t, job{Scene: bug.Scene, Schedule: first.Schedule}); right.Failure == first.Failure {
		t.Errorf("without the bug the replay of %s has failure %q too", bug.Schedule, right.Failure)
	}
	for _, want := range []string{"resource/lease.go:", "Lease[...].Release", "claim/claim.go:", "CompareAndSwap", "release", "caller"} {
		if !strings.Contains(first.Table, want) {
			t.Errorf("the table has no %q:\n%s", want, first.Table)
		}
	}
	t.Log("\n" + first.Table)
}

// A planted bug must fit the source: its text is there once, inside of one function.
func TestEdits(t *testing.T) {
	source := []byte("package p\n\nfunc f() int {\n\treturn 1\n}\n\nfunc g() {\n\tprintln(1)\n}\n")
	for _, tc := range []struct {
		old, new, want string
	}{
		{"return 1", "return 2", "if xplr.Bug == 1 {\n//line p.go:3\n\n\treturn 2\n\n}"},
		{"println(1)", "println(2)", "if xplr.Bug == 1 {\n//line p.go:7\n\n\tprintln(2)\n\nreturn\n}"},
		{"return 3", "return 2", "does not contain"},
		{"1", "2", "more than once"},
		{"package p", "package q", "no function contains it"},
		{"return 1", "return 1 +", "expected operand"},
	} {
		got, err := newEdits(nil, []Bug{{"b", "s", Edit{"d/p.go", tc.old, tc.new}}}).apply("d/p.go", source)
		text := string(got)
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(text, tc.want) {
			t.Errorf("%q → %q: %s", tc.old, tc.new, text)
		}
	}
	if err := newEdits(patches, Bugs).done(); err == nil {
		t.Error("edits that are not applied are not noticed")
	}
}

// The rewritten form of each construct that the scheduler must see.
func TestRewrite(t *testing.T) {
	for _, tc := range []struct{ name, code, want string }{
		{"go with arguments", "go f(1, x)", "xplrF, xplrA0, xplrA1 := f, 1, x\n\t\txplr.Go(func() {\n\t\t\txplrF(xplrA0, xplrA1)\n\t\t})"},
		{"go", "go func() { f() }()", "xplr.Go(func() {"},
		{"receive", "x = <-c", "x = xplr.Recv(c)"},
		{"receive with ok", "v, ok := <-c", "v, ok := xplr.Recv2(c)"},
		{"send", "c <- x", "xplrC := c\n\t\txplr.AwaitSend(xplrC)\n\t\txplrC <- x"},
		{"close", "close(c)", "xplr.CloseChan(c)"},
		{"select", "select {\ncase v := <-c:\n\tf(v)\ncase d <- x:\n}", "xplrC0, xplrC1 := c, d\n\t\tswitch xplr.Choose(false, xplr.R(xplrC0), xplr.S(xplrC1)) {\n\t\tcase 0:\n\t\t\tv := <-xplrC0"},
		{"select with default", "select {\ncase <-c:\ndefault:\n}", "switch xplr.Choose(true, xplr.R(xplrC0)) {"},
		{"labeled select", "l:\nselect {\ncase <-c:\n\tbreak l\n}", "l:\n\t\tswitch"},
		{"else if", "if a {\n} else if f() {\n}", "} else {"},
	} {
		source := "package p\n\nimport \"sync/atomic\"\n\nfunc g() {\n" + tc.code + "\n}\n"
		out, err := rewrite("p.go", []byte(source), 1, place)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		got := regexp.MustCompile(`(?m)^//line.*$|xplr\.At = \d+;?`).ReplaceAllString(string(out), "")
		if !strings.Contains(flat(got), flat(tc.want)) {
			t.Errorf("%s:\n%s\nhas no\n%s", tc.name, got, tc.want)
		}
		if !strings.Contains(got, "internal/explore/sim/atomic") {
			t.Errorf("%s: the import is not replaced:\n%s", tc.name, got)
		}
	}
}

// flat removes white space.
func flat(s string) string { return strings.Join(strings.Fields(s), "") }
