package explore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

// full is set for a search of each scene up to three preemptions.
var full = os.Getenv("RESPOOL_EXPLORE") == "full"

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

// do has scenes' programs do jobs, as many at once as there are processors, and calls done with each answer.
func do(t *testing.T, jobs []job, done func(j job, a answer)) {
	t.Helper()
	needsUnix(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	deadline, ok := t.Deadline()
	if !ok {
		deadline = time.Now().Add(24 * time.Hour)
	}
	ctx, cancel := context.WithDeadline(t.Context(), deadline.Add(-10*time.Second)) // before the test is ended
	defer cancel()
	next := make(chan job, len(jobs))
	for _, j := range jobs {
		next <- j
	}
	close(next)
	var one sync.Mutex // held while done is called
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(jobs)) {
		wg.Go(func() {
			cpu, err := work(ctx, path, next, func(j job, a answer) {
				one.Lock()
				defer one.Unlock()
				done(j, a)
			})
			if err != nil {
				t.Error(err)
			}
			t.Logf("%v of CPU time", cpu)
		})
	}
	wg.Wait()
}

// work has one program do jobs until there is none left.
func work(ctx context.Context, path string, jobs <-chan job, done func(j job, a answer)) (cpu time.Duration, err error) {
	cmd := exec.CommandContext(ctx, path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if full {
		cmd.Stderr = io.MultiWriter(&stderr, os.Stderr) // its progress
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	to, from := json.NewEncoder(in), json.NewDecoder(out)
	for j := range jobs {
		var a answer
		err := to.Encode(j)
		if err == nil {
			err = from.Decode(&a)
		}
		if err != nil {
			_ = in.Close()
			return 0, fmt.Errorf("scene %s, bug %d: %w\n%s", j.Scene, j.Options.Bug, errors.Join(err, cmd.Wait()), stderr.Bytes())
		}
		done(j, a)
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("the scenes' program: %w\n%s", err, stderr.Bytes())
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// scenes lists the scenes, with their bounds in go test.
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
		bound, err := strconv.Atoi(f[1])
		if err != nil {
			t.Fatal(err)
		}
		if full {
			bound = 3
		} else if testing.Short() {
			bound = min(bound, 1)
		}
		jobs = append(jobs, job{Scene: f[0], Options: options{Bound: bound}})
	}
	return jobs
}

// Every schedule of every scene, up to a number of preemptions, keeps the invariants.
func TestScenes(t *testing.T) {
	do(t, scenes(t), func(j job, a answer) {
		t.Logf("%-22s schedules with up to 0, 1, … preemptions: %v; %d states; %v", a.Scene, a.Schedules, a.States, a.Took.Round(time.Millisecond))
		if a.Failure != "" {
			t.Errorf("scene %s, with %d preemptions: %s\nRESPOOL_EXPLORE_SCHEDULE='%[1]s: %[4]s'\n%[5]s", a.Scene, a.Bound, a.Failure, a.Schedule, a.Table)
		} else if !a.Complete {
			t.Errorf("scene %s: the search ended early", a.Scene)
		}
	})
}

// Every planted bug is found, with few preemptions.
func TestPlantedBugs(t *testing.T) {
	var jobs []job
	for i, b := range Bugs {
		jobs = append(jobs, job{Scene: b.Scene, Options: options{Bound: 3, Bug: i + 1}})
	}
	found := 0
	do(t, jobs, func(j job, a answer) {
		b := Bugs[j.Options.Bug-1]
		if a.Failure == "" {
			t.Errorf("bug %q is not found in scene %s after %v schedules", b.Name, a.Scene, a.Schedules)
			return
		}
		found++
		text, _, _ := strings.Cut(a.Failure, "\n")
		t.Logf("%-75s %-22s %d preemptions, %d schedules: %s", b.Name, a.Scene, a.Bound, sum(a.Schedules), text)
		if a.Bound > 0 && (a.Table == "" || a.Schedule == "") {
			t.Errorf("bug %q: no table of its schedule", b.Name)
		}
	})
	if found < 20 {
		t.Errorf("%d bugs are found, want at least 20", found)
	}
}

// A schedule that fails can be repeated. RESPOOL_EXPLORE_SCHEDULE, as TestScenes prints it, names another
// one.
func TestReplay(t *testing.T) {
	if text := os.Getenv("RESPOOL_EXPLORE_SCHEDULE"); text != "" {
		scene, schedule, _ := strings.Cut(text, ": ")
		do(t, []job{{Scene: scene, Schedule: schedule}}, func(_ job, a answer) {
			t.Logf("failure: %q\n%s", a.Failure, a.Table)
		})
		return
	}
	n := slices.IndexFunc(Bugs, func(b Bug) bool { return b.Name == "a release does not look at slowPath again" })
	bug := job{Scene: Bugs[n].Scene, Options: options{Bound: 3, Bug: n + 1}}
	var first answer
	do(t, []job{bug}, func(_ job, a answer) { first = a })
	bug.Schedule = first.Schedule
	right := job{Scene: bug.Scene, Schedule: first.Schedule}
	do(t, []job{bug, right}, func(j job, a answer) {
		if same := a.Failure == first.Failure; same != (j.Options.Bug != 0) {
			t.Errorf("bug %d, schedule %s: failure %q, and in the search %q", j.Options.Bug, j.Schedule, a.Failure, first.Failure)
		}
		if j.Options.Bug != 0 && a.Table != first.Table {
			t.Errorf("the table differs:\n%s\nand before:\n%s", a.Table, first.Table)
		}
	})
	for _, want := range []string{"resource/lease.go:", "Lease[...].Release", "claim/claim.go:", "CompareAndSwap", "release", "caller"} {
		if !strings.Contains(first.Table, want) {
			t.Errorf("the table has no %q:\n%s", want, first.Table)
		}
	}
	t.Log("\n" + first.Table)
}

func sum(some []int) (n int) {
	for _, x := range some {
		n += x
	}
	return n
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
