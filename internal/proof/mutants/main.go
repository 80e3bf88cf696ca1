// Command mutants changes the code of a package in one place at a time, and lists the
// changes that no test notices.
//
//	go run ./internal/proof/mutants internal/claim                # every mutant
//	go run ./internal/proof/mutants -n 100 -seed 7 resource       # 100 of them, chosen at random
//	go run ./internal/proof/mutants -only 'CoDel|codel' policy    # those whose key or file matches
//	go run ./internal/proof/mutants -list internal/growth         # only lists them
//
// Run it from the root of the repository. A mutant is one of these changes: a condition is
// negated, always true (its guard is gone) or never true; a comparison includes or excludes
// its bound; an operator is exchanged for its opposite; a number is one more or less; min
// becomes max; a statement, an assignment, a part of one, a field of a literal, a defer or a
// go statement is dropped; a result is a constant; true becomes false. All are compiled with
// "go test -overlay", so the tree is never changed: most of them together, into one program in
// which each can be turned on, the others one by one. Each mutant meets the tests of the
// packages in testedBy, with -short and those first that take little time, until a test fails or a
// time limit ends the tests, which both kill it. A mutant that survives in the program of many is
// tried once more in one of its own, unless -once says that none is compiled: then a listed survivor may
// also be one of which the compiler makes the same program, and a mutant that cannot be compiled with
// the others is not tried. Do not edit the packages while the command runs.
//
// A survivor means a missing test, or code that does nothing. A survivor that makes no
// difference to a caller is accepted by an entry in equivalent.txt: its key, as the command
// prints it, and a reason. The key has no line numbers, so that an entry holds until the
// function or the line changes; a test fails if an entry matches no mutant. Accepted mutants
// are not run, except with -accepted, which reports those that tests do notice. Mutants of
// which the compiler makes the same program need no entry.
//
// The score is the part of the mutants that were noticed, of those that compile, are not
// accepted and make a different program. The exit code is 0 if no mutant survived, 1 if one
// did, 2 after an error. With -json all results go into a file, and -again with that file tries
// those again that survived or exceeded the time, against new tests or on a calmer machine. The
// first run compiles the standard library into a build cache of its own, so that the mutants do not
// fill the usual one; -cache keeps it for later runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the flags.
type options struct {
	seed     uint64
	count    int
	only     *regexp.Regexp
	timeout  time.Duration
	workers  int
	tests    []string
	run      string
	json     string
	cache    string
	list     bool
	accepted bool
	once     bool
	again    map[string]bool // keys; nil: all
	without  map[string]bool // keys
	patterns []string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("mutants", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintln(stderr, "usage: go run ./internal/proof/mutants [flags] package...")
		f.PrintDefaults()
	}
	f.Uint64Var(&o.seed, "seed", 1, "orders the mutants")
	f.IntVar(&o.count, "n", 0, "run the first `count` mutants in that order; 0: all")
	f.DurationVar(&o.timeout, "timeout", 0, "limit for one test program; 0: six times what it takes without a change, at least 30s")
	f.IntVar(&o.workers, "workers", 2, "mutants tried at once, 1 or 2: tests with real time do not stand more")
	f.StringVar(&o.run, "run", "", "run only tests that match this `regexp`")
	f.StringVar(&o.json, "json", "", "write all results to this `file`")
	f.StringVar(&o.cache, "cache", "", "build cache; a temporary one if empty")
	f.BoolVar(&o.list, "list", false, "list the mutants and run nothing")
	f.BoolVar(&o.accepted, "accepted", false, "run only the mutants that are accepted as equivalent")
	f.BoolVar(&o.once, "once", false, "no program of its own for any mutant: neither for one that survives in the program of many nor for one that cannot be in it")
	again := f.String("again", "", "only mutants that survived or timed out in the run that wrote this `file` with -json")
	without := f.String("without", "", "leave out the mutants about which the run decided that wrote this `file` with -json")
	only := f.String("only", "", "only mutants whose file, change or key matches this `regexp`")
	tests := f.String("tests", "", "comma-separated `directories` whose tests are run, instead of the usual ones")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.only, err = regexp.Compile(*only); err != nil {
		return o, fmt.Errorf("-only: %w", err)
	}
	if *again != "" {
		if o.again, err = keysOf(*again, survived, timedOut); err != nil {
			return o, fmt.Errorf("-again: %w", err)
		}
	}
	if *without != "" {
		if o.without, err = keysOf(*without, killed, timedOut, survived, identical, uncompiled); err != nil {
			return o, fmt.Errorf("-without: %w", err)
		}
	}
	if *tests != "" {
		o.tests = strings.Split(*tests, ",")
	}
	for _, p := range f.Args() {
		if !filepath.IsAbs(p) && !strings.HasPrefix(p, ".") {
			p = "./" + p
		}
		o.patterns = append(o.patterns, p)
	}
	switch {
	case len(o.patterns) == 0:
		return o, errors.New("no package named")
	case o.workers < 1 || o.workers > 2:
		return o, fmt.Errorf("-workers must be 1 or 2, got %d", o.workers)
	case o.count < 0:
		return o, fmt.Errorf("-n must not be negative, got %d", o.count)
	}
	return o, nil
}

// command is the program: it returns the exit code.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stderr, "mutants:", err)
		}
		return 2
	}
	entries, err := parseEquivalents(accepted)
	if err != nil {
		fmt.Fprintln(stderr, "mutants: equivalent.txt:", err)
		return 2
	}
	survivors, err := mutate(ctx, o, entries, stdout, stderr)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "mutants:", err)
		return 2
	case survivors > 0:
		return 1
	}
	return 0
}

// job is a mutant to try.
type job struct {
	target *target
	mutant *mutant
}

// choose returns the mutants that o selects, in their order.
func choose(o options, ts []*target, entries equivalents) []job {
	var jobs []job
	for _, t := range ts {
		for _, m := range t.mutants {
			_, is := entries[m.key()]
			if o.accepted && !is || o.again != nil && !o.again[m.key()] {
				continue
			}
			if o.only.MatchString(m.src.name()) || o.only.MatchString(m.kind) || o.only.MatchString(m.key()) {
				jobs = append(jobs, job{t, m})
			}
		}
	}
	r := rand.New(rand.NewPCG(o.seed, 0))
	r.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
	if o.count > 0 && len(jobs) > o.count {
		jobs = jobs[:o.count]
	}
	return jobs
}

// togetherFrom is from how many mutants of a package on they are compiled together.
const togetherFrom = 8

// mutate runs the mutants, reports, and returns how many survived.
func mutate(ctx context.Context, o options, entries equivalents, stdout, stderr io.Writer) (survivors int, err error) {
	ts, err := targets(ctx, o.patterns, o.tests)
	if err != nil {
		return 0, err
	}
	jobs := choose(o, ts, entries)
	if o.list {
		for _, j := range jobs {
			fmt.Fprintf(stdout, "%s\n", j.mutant.diff())
		}
		fmt.Fprintf(stdout, "%d mutants\n", len(jobs))
		return 0, nil
	}
	if len(jobs) == 0 {
		return 0, errors.New("no mutant matches")
	}

	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if o.cache == "" {
		o.cache = filepath.Join(dir, "cache")
	} else if o.cache, err = filepath.Abs(o.cache); err != nil {
		return 0, err
	}
	b := newBench(dir, o, stderr)
	chosen := make(map[*target][]*mutant)
	for _, j := range jobs {
		if _, is := entries[j.mutant.key()]; !is || o.accepted {
			chosen[j.target] = append(chosen[j.target], j.mutant)
		}
	}
	for _, t := range ts {
		if len(chosen[t]) >= togetherFrom {
			if err := b.assemble(ctx, t, chosen[t]); err != nil {
				return 0, err
			}
		}
	}

	// Only now, so that the build cache has the program of the earlier run.
	jobs = slices.DeleteFunc(jobs, func(j job) bool { return o.without[j.mutant.key()] })
	results, err := runAll(ctx, b, o, entries, jobs, stdout, stderr)
	if len(results) > 0 {
		fmt.Fprintf(stdout, "seed %d: %d of %d mutants\n", o.seed, len(results), len(jobs))
		err = errors.Join(err, summarize(stdout, results), save(o.json, results, entries))
	}
	for _, r := range results {
		if r.verdict == survived {
			survivors++
		}
	}
	return survivors, err
}

// save writes the results to the named file; none if it is empty.
func save(name string, results []result, entries equivalents) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(writeJSON(f, results, entries), f.Close())
}

// runAll tries the jobs with o.workers goroutines, and prints survivors and progress. The
// results are in the order in which they were reached. After an error, and when ctx ends,
// it returns those that it has.
func runAll(ctx context.Context, b *bench, o options, entries equivalents, jobs []job, stdout, stderr io.Writer) ([]result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan job)
	go func() {
		defer close(next)
		for _, j := range jobs {
			select {
			case next <- j:
			case <-ctx.Done():
				return
			}
		}
	}()
	var (
		mu      sync.Mutex
		results []result
		counts  = make(tally)
		begun   = time.Now()
		shown   = begun
	)
	note := func(r result) {
		mu.Lock()
		defer mu.Unlock()
		results = append(results, r)
		counts[r.verdict]++
		if _, is := entries[r.mutant.key()]; is && (r.verdict == killed || r.verdict == timedOut) {
			fmt.Fprintf(stdout, "accepted in equivalent.txt, and noticed by %s:\n%s\n", r.by, r.mutant.key())
		} else if r.verdict == survived {
			fmt.Fprintf(stdout, "survived:\n%s\nkey:\n%s\n\n", r.mutant.diff(), r.mutant.key())
		}
		if now := time.Now(); now.Sub(shown) >= 10*time.Second || len(results) == len(jobs) {
			shown = now
			left := now.Sub(begun) / time.Duration(len(results)) * time.Duration(len(jobs)-len(results))
			fmt.Fprintf(stderr, "%d of %d: %d killed, %d timed out, %d survived; about %v left\n", len(results), len(jobs),
				counts[killed], counts[timedOut], counts[survived], left.Round(time.Second))
		}
	}
	var wg sync.WaitGroup
	for range o.workers {
		wg.Go(func() {
			for j := range next {
				r := result{mutant: j.mutant, verdict: equivalent}
				if reason, is := entries[j.mutant.key()]; is && !o.accepted {
					r.by = reason
				} else {
					var err error
					if r, err = b.try(ctx, j.target, j.mutant); err != nil {
						cancel(err)
						return
					}
					if is && r.verdict == survived {
						r.verdict, r.by = equivalent, reason
					}
				}
				note(r)
			}
		})
	}
	wg.Wait()
	return results, context.Cause(ctx)
}
