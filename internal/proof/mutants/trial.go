package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A verdict is what became of a mutant.
type verdict string

const (
	killed     verdict = "killed"       // a test failed
	timedOut   verdict = "timed out"    // the tests did not end; counts as killed
	survived   verdict = "survived"     // all tests passed
	identical  verdict = "same program" // the compiler makes the same program of it
	equivalent verdict = "equivalent"   // accepted in equivalent.txt
	uncompiled verdict = "not compiled" // the compiler rejects it
	untried    verdict = "not tried"    // it needs a program of its own, and -once forbids that
)

// A result is the verdict about one mutant, and how it came about.
type result struct {
	mutant  *mutant
	verdict verdict
	by      string // the test that failed, or what the compiler says
	took    time.Duration
}

// A suite is the tests of one package.
type suite struct {
	*pkg
	tests bool     // it has some
	args  []string // for the test program

	once  sync.Once // sets the fields below
	err   error     // why its tests cannot decide about a mutant
	sum   [sha256.Size]byte
	parts []*part
}

// A part is some of the tests of a suite. Those that take long are a part of their own: most mutants
// are noticed by the others.
type part struct {
	args  []string     // which tests: for the test program
	limit atomic.Int64 // in nanoseconds
	work  atomic.Int64 // processor time without a change, in nanoseconds; 0: not known yet
}

func newPart(limit time.Duration, args ...string) *part {
	p := &part{args: args}
	p.limit.Store(int64(limit))
	return p
}

// A bench runs suites. It writes only below its directory.
type bench struct {
	dir   string        // temporary
	cache string        // Go's build cache
	run   string        // passed to the test programs
	limit time.Duration // for a test program; 0: it follows from the time without a change
	once  bool          // no mutant is tried in a program of its own
	log   io.Writer
	shell []string
	count atomic.Int64
}

// addressSpace bounds the address space of a test program, in KiB, since a mutant may
// allocate without end.
const addressSpace = 6 << 20

// newBench returns a bench in dir, which exists.
func newBench(dir string, o options, log io.Writer) *bench {
	b := &bench{dir: dir, cache: o.cache, run: o.run, limit: o.timeout, once: o.once, log: log}
	sh, err := exec.LookPath("sh")
	if err != nil {
		return b
	}
	script := "ulimit -v " + strconv.Itoa(addressSpace) + " 2>/dev/null; "
	if nice, err := exec.LookPath("nice"); err == nil {
		script += "exec " + nice + ` -n 19 "$@"`
	} else {
		script += `exec "$@"`
	}
	b.shell = []string{sh, "-c", script, "sh"}
	return b
}

// command returns a command that runs with a low priority, in a directory of its own for
// temporary files, which the returned function removes.
func (b *bench) command(ctx context.Context, limit bool, name string, args ...string) (*exec.Cmd, func(), error) {
	tmp := filepath.Join(b.dir, strconv.FormatInt(b.count.Add(1), 10))
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return nil, nil, err
	}
	argv := append([]string{name}, args...)
	if limit && b.shell != nil {
		argv = append(append([]string(nil), b.shell...), argv...)
	} else if nice, err := exec.LookPath("nice"); err == nil {
		argv = append([]string{nice, "-n", "19"}, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "GOCACHE="+b.cache)
	cmd.WaitDelay = 5 * time.Second // children of a test program may keep its output open
	return cmd, func() { os.RemoveAll(tmp) }, nil
}

// overlay writes the files of replace, by the absolute path of what each takes the place of, and
// returns the flag for the go command and a function that removes them.
func (b *bench) overlay(replace map[string][]byte) (flag string, done func(), err error) {
	if len(replace) == 0 {
		return "", func() {}, nil
	}
	dir := filepath.Join(b.dir, "o"+strconv.FormatInt(b.count.Add(1), 10))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", nil, err
	}
	paths := make(map[string]string)
	for path, text := range replace {
		paths[path] = filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(paths[path], text, 0o600); err != nil {
			return "", nil, err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": paths})
	if err != nil {
		return "", nil, err
	}
	list := filepath.Join(dir, "overlay.json")
	return "-overlay=" + list, func() { os.RemoveAll(dir) }, os.WriteFile(list, text, 0o600)
}

// build compiles a package with replaced files, and returns all that the compiler says.
func (b *bench) build(ctx context.Context, p *pkg, replace map[string][]byte) (said string, err error) {
	flag, remove, err := b.overlay(replace)
	if err != nil {
		return "", err
	}
	defer remove()
	cmd, done, err := b.command(ctx, false, "go", "build", "-gcflags=-e", flag, p.ImportPath)
	if err != nil {
		return "", err
	}
	defer done()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// compile compiles the tests of s with replaced files, and returns the path of the program.
// Without a change in the code the program is the same, byte for byte. If the compiler rejects
// it err is an *exec.ExitError, and said what the compiler says.
func (b *bench) compile(ctx context.Context, s *suite, replace map[string][]byte) (program, said string, err error) {
	flag, remove, err := b.overlay(replace)
	if err != nil {
		return "", "", err
	}
	defer remove()
	program = filepath.Join(b.dir, "p"+strconv.FormatInt(b.count.Add(1), 10)+".test")
	args := []string{"test", "-c", "-vet=off", "-ldflags=-s -w -buildid=", "-o", program}
	if flag != "" {
		args = append(args, flag)
	}
	cmd, done, err := b.command(ctx, false, "go", append(args, s.ImportPath)...)
	if err != nil {
		return "", "", err
	}
	defer done()
	out, err := cmd.CombinedOutput()
	return program, string(out), err
}

// test runs a test program of s and returns what it printed, and its processor time. Its own time limit applies
// first, so that its output says which tests were running.
// number, if not 0, is the mutant that is on in a program that has several.
func (b *bench) test(ctx context.Context, s *suite, program string, p *part, number int) (output []byte, work time.Duration, err error) {
	limit := time.Duration(p.limit.Load())
	ctx, cancel := context.WithTimeout(ctx, limit+10*time.Second)
	defer cancel()
	args := slices.Concat([]string{"-test.short", "-test.failfast", "-test.timeout", limit.String()}, s.args, p.args)
	if b.run != "" {
		args = append(args, "-test.run", b.run)
	}
	cmd, done, err := b.command(ctx, true, program, args...)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	cmd.Dir = s.Dir
	cmd.Env = append(cmd.Env, switchVariable+"="+strconv.Itoa(number))
	output, err = cmd.CombinedOutput()
	if cmd.ProcessState != nil {
		work = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return output, work, err
}

// The limits of a test program: a mutant that hangs is to be noticed, and one that is slow
// on a busy machine is not to be taken for it.
const (
	limitFactor = 6
	leastLimit  = 30 * time.Second
	mostLimit   = 10 * time.Minute
)

// prepare compiles and runs the tests of s without a change: they must pass. The limits for a
// program follow from the time that takes, unless b has one.
func (b *bench) prepare(ctx context.Context, s *suite) error {
	s.once.Do(func() {
		program, said, err := b.compile(ctx, s, nil)
		if err != nil {
			s.err = fmt.Errorf("%s does not compile: %w\n%s", s.name, err, said)
			return
		}
		defer os.Remove(program)
		if s.sum, s.err = digest(program); s.err != nil {
			return
		}
		s.parts, s.err = b.measure(ctx, s, program)
	})
	return s.err
}

// measure runs the tests of s, which must pass, and returns its parts, those first that take little time.
func (b *bench) measure(ctx context.Context, s *suite, program string) ([]*part, error) {
	begun := time.Now()
	out, _, err := b.test(ctx, s, program, newPart(mostLimit, "-test.v"), 0)
	if err != nil {
		return nil, fmt.Errorf("the tests of %s fail without a change: %w\n%s", s.name, err, out)
	}
	took := time.Since(begun)
	slow, slowTook := slowTests(out)
	limit := func(took time.Duration) time.Duration {
		if b.limit > 0 {
			return b.limit
		}
		return min(max(leastLimit, limitFactor*took), mostLimit)
	}
	all := limit(took)
	fmt.Fprintf(b.log, "%s: passes in %v without a change, %v of it %d slow tests; limit %v\n",
		s.name, took.Round(time.Millisecond), slowTook.Round(time.Millisecond), len(slow), all.Round(time.Second))
	if len(slow) == 0 || b.run != "" {
		return []*part{newPart(all)}, nil
	}
	names := "^(" + strings.Join(slow, "|") + ")$"
	return []*part{
		newPart(limit(max(0, took-slowTook)), "-test.skip", names),
		newPart(all, "-test.run", names),
	}, nil
}

// slowTest is from which time on a test is slow.
const slowTest = 200 * time.Millisecond

var passed = regexp.MustCompile(`(?m)^--- PASS: (\S+) \((\S+)\)$`)

// slowTests returns the slow ones of the tests of which the output of -test.v is out, and the sum of
// their times.
func slowTests(out []byte) (names []string, sum time.Duration) {
	for _, m := range passed.FindAllSubmatch(out, -1) {
		if took, err := time.ParseDuration(string(m[2])); err == nil && took >= slowTest {
			names = append(names, regexp.QuoteMeta(string(m[1])))
			sum += took
		}
	}
	return names, sum
}

// assemble compiles the mutants of t together that can be, with each of its suites. If their
// tests fail although no mutant is on, or the compiler rejects them, the mutants of t are
// compiled one by one.
func (b *bench) assemble(ctx context.Context, t *target, ms []*mutant) error {
	sc, err := newSchema(t.pkg, ms, func(replace map[string][]byte) (string, error) { return b.build(ctx, t.pkg, replace) })
	for _, s := range t.suites {
		if err != nil || sc == nil {
			break
		}
		var p assembled
		var said string
		if p.program, said, err = b.compile(ctx, s, sc.replace); err != nil {
			err = fmt.Errorf("%s: %w\n%s", s.name, err, said)
			break
		}
		p.parts, err = b.measure(ctx, s, p.program)
		t.together = append(t.together, p)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		t.together = nil
		fmt.Fprintf(b.log, "%s: the mutants are compiled one by one: %v\n", t.name, err)
		return nil
	}
	if sc != nil {
		t.schema = sc
		fmt.Fprintf(b.log, "%s: %d of %d mutants are compiled together\n", t.name, len(sc.numbers), len(ms))
	}
	return nil
}

// assembled is the program of a suite in which mutants can be turned on.
type assembled struct {
	program string
	parts   []*part
}

// try decides about a mutant.
func (b *bench) try(ctx context.Context, t *target, m *mutant) (r result, err error) {
	begun := time.Now()
	defer func() { r.took = time.Since(begun) }()
	if b.once && (t.schema == nil || t.schema.numbers[m] == 0) {
		return result{mutant: m, verdict: untried}, nil
	}
	if t.schema != nil && t.schema.numbers[m] > 0 {
		// The parts that take little time come first, in all suites.
		for n := range 2 {
			for i, s := range t.suites {
				together := t.together[i]
				if n >= len(together.parts) {
					continue
				}
				v, by, err := b.verdict(ctx, s, together.program, together.parts[n:n+1], t.schema.numbers[m])
				if err != nil || v != survived {
					return result{mutant: m, verdict: v, by: by}, err
				}
			}
		}
		if b.once {
			return result{mutant: m, verdict: survived}, nil
		}
		// The program of the mutant alone may be that without a change.
	}
	r = result{mutant: m, verdict: identical}
	for i, s := range t.suites {
		v, by, err := b.tryAlone(ctx, s, m)
		if err != nil {
			return r, err
		}
		if v == uncompiled && i > 0 {
			return r, fmt.Errorf("%s does not compile with a change that compiles: %s", s.name, by)
		}
		if v != identical { // the program of another suite need not have the changed function
			r.verdict, r.by = v, by
		}
		if v == killed || v == timedOut || v == uncompiled {
			break
		}
	}
	return r, nil
}

// tryAlone decides about a mutant by one suite, with a program of its own.
func (b *bench) tryAlone(ctx context.Context, s *suite, m *mutant) (verdict, string, error) {
	if err := b.prepare(ctx, s); err != nil {
		return "", "", err
	}
	program, said, err := b.compile(ctx, s, map[string][]byte{m.src.path: m.file()})
	defer os.Remove(program)
	if ctx.Err() != nil {
		return "", "", ctx.Err()
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return uncompiled, firstError(said), nil
	case err != nil:
		return "", "", err
	}
	sum, err := digest(program)
	if err != nil {
		return "", "", err
	}
	if sum == s.sum {
		return identical, "", nil
	}
	return b.verdict(ctx, s, program, s.parts, 0)
}

// verdict runs these parts of a program of s and says what its tests say about the mutant.
func (b *bench) verdict(ctx context.Context, s *suite, program string, parts []*part, number int) (verdict, string, error) {
	for _, p := range parts {
		out, work, err := b.test(ctx, s, program, p, number)
		// The machine may be slower now than when the limit was set.
		if number > 0 && b.limit == 0 && timeout(out, err) && !p.hangs(work) && b.remeasure(ctx, s, program, p) && !p.hangs(work) {
			out, _, err = b.test(ctx, s, program, p, number)
		}
		var exit *exec.ExitError
		switch {
		case ctx.Err() != nil:
			return "", "", ctx.Err()
		case err == nil:
			continue
		case timeout(out, err):
			return timedOut, s.name + ": " + failure(out), nil
		case errors.As(err, &exit):
			return killed, s.name + ": " + failure(out), nil
		}
		return "", "", err
	}
	return survived, "", nil
}

// remeasure raises the limit of p if the program takes so long without a change now that it was too
// low. It reports whether it was.
func (b *bench) remeasure(ctx context.Context, s *suite, program string, p *part) (raised bool) {
	begun := time.Now()
	_, work, err := b.test(ctx, s, program, newPart(mostLimit, p.args...), 0)
	if err != nil {
		return false
	}
	p.work.Store(int64(work))
	limit := min(limitFactor*time.Since(begun), mostLimit)
	if int64(limit) <= p.limit.Load() {
		return false
	}
	p.limit.Store(int64(limit))
	return true
}

// hangs reports whether tests that took so much processor time, and did not end, are known to take much
// more than without a change.
func (p *part) hangs(work time.Duration) bool {
	without := time.Duration(p.work.Load())
	return without > 0 && work > limitFactor/2*without
}

// timeout reports whether a test program that ended so has exceeded its time.
func timeout(out []byte, err error) bool {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode() < 0 || bytes.Contains(out, []byte("panic: test timed out after"))
	}
	return errors.Is(err, exec.ErrWaitDelay)
}

func digest(path string) (sum [sha256.Size]byte, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return sum, err
	}
	return sha256.Sum256(data), nil
}

var (
	failed      = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	running     = regexp.MustCompile(`(?m)^\t\t?(Test\S+|Fuzz\S+|Example\S+) \(`)
	crash       = regexp.MustCompile(`(?m)^(?:panic|fatal error): .*`)
	compileLine = regexp.MustCompile(`(?m)^\S+\.go:\d+:\d+: .*`)
)

// failure names the test that failed, else how the program ended.
func failure(out []byte) string {
	if m := failed.FindAllSubmatch(out, -1); m != nil {
		return string(m[len(m)-1][1]) // a subtest comes after its parent
	}
	if m := running.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	if m := crash.Find(out); m != nil {
		return string(m)
	}
	if bytes.Contains(out, []byte("goleak: ")) {
		return "goleak"
	}
	return "exit without a message"
}

func firstError(said string) string {
	if m := compileLine.FindString(said); m != "" {
		return m
	}
	return said
}
