// Package suite is the program in the folder above, without its main: it measures pools
// in turns and compares the figures with the project's goals.
package suite

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/respool/respool/internal/bench/conformance"
	"github.com/respool/respool/internal/bench/peer"
)

// Main runs the command with its arguments and returns its exit status. The pools in
// more are those that only some builds have.
func Main(args []string, more ...peer.Kind) int {
	all := append(kinds(), more...)
	if handled, status := child(all); handled {
		return status
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, all, args, os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// child does the work of this process if another one of this program started it.
func child(all []peer.Kind) (handled bool, status int) {
	if os.Getenv(echoEnv) == "" {
		return conformance.Child(all)
	}
	if err := attempt(func() { serveEchoes(os.Stdin, os.Stdout) }); err != nil {
		fmt.Fprintln(os.Stderr, "bench: server process:", err)
		return true, 1
	}
	return true, 0
}

// options are the command line.
type options struct {
	rounds                        int
	only, pools                   *regexp.Regexp // rows, entrants
	list, json, check, busy       bool
	samples, report, with, render string // files, and report a directory
	seed                          uint64
}

// Names in -only of what is no row, and where a whole run writes its report.
const (
	conformanceRow = "conformance"
	profileRow     = "profiles"
	home           = "internal/bench"
)

func parse(args []string, stderr io.Writer) (o options, err error) {
	o.only, o.pools = regexp.MustCompile(""), regexp.MustCompile("")
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.BoolVar(&o.list, "list", false, "print the rows and their entrants, and measure nothing")
	fs.IntVar(&o.rounds, "rounds", 5, "how often each pool does each row")
	fs.TextVar(o.only, "only", o.only, "run only rows whose name matches this `regexp`; the conformance suite is \"conformance\", the profiles are \"profiles\"")
	fs.TextVar(o.pools, "pools", o.pools, "measure only pools whose name matches this `regexp`")
	fs.BoolVar(&o.json, "json", false, "print JSON, every sample included, instead of the table")
	fs.StringVar(&o.samples, "samples", "", "write every sample into this `file`, for benchstat")
	fs.StringVar(&o.report, "report", "", "write REPORT.md and its plots into this `directory`; a whole run writes them into "+home)
	fs.StringVar(&o.with, "with", "", "take what is not measured from this `file`, which -json printed")
	fs.StringVar(&o.render, "render", "", "measure nothing: write the report of this `file`, which -json printed")
	fs.BoolVar(&o.busy, "busy", false, "write the report although other programs keep the machine busy")
	fs.BoolVar(&o.check, "check", false, "fail, naming them, if figures miss their goal")
	fs.Uint64Var(&o.seed, "seed", 1, "of the random deadlines")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("-rounds must be at least 1, got %d", o.rounds)
	}
	return o, nil
}

// reportDir is where o wants the report; "": nowhere. The report of a whole run goes to
// its home, which exists if the command runs at the root of the repository.
func reportDir(o options) (string, error) {
	if o.report != "" || o.render == "" && o.only.String()+o.pools.String() != "" {
		return o.report, nil
	}
	if _, err := os.Stat(filepath.Join(home, "go.mod")); err != nil {
		return "", fmt.Errorf("-report is not set, and this is not the root of the repository: %w", err)
	}
	return home, nil
}

// run is the program: it measures, prints, writes the report, and with -check judges.
func run(ctx context.Context, kinds []peer.Kind, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if o.list {
		for _, r := range rows(kinds, size{}) {
			var names []string
			for _, e := range r.entrants {
				names = append(names, e.name)
			}
			fmt.Fprintf(stdout, "%s: %s\n", r.name, strings.Join(names, ", "))
		}
		return nil
	}
	dir, err := reportDir(o)
	if err != nil {
		return err
	}
	var old record
	if file := cmp.Or(o.render, o.with); file != "" {
		if old, err = readRecord(file); err != nil {
			return err
		}
	}
	if o.render != "" {
		return old.writeReport(dir)
	}
	here := describeMachine()
	fmt.Fprintf(stderr, "%v\n", here)
	if here.busy() && dir != "" && !o.busy {
		return fmt.Errorf("the load averages are %s on %d processors: figures of a busy machine belong in no report; -busy writes it all the same", here.Load, here.GOMAXPROCS)
	}
	if o.with != "" && !here.like(old.Machine) {
		return fmt.Errorf("-with: %s is of another machine: %v", o.with, old.Machine)
	}
	rec, err := measureAll(ctx, kinds, o, old, stderr)
	if err != nil {
		return err
	}
	rec.Machine = here
	if o.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "\t")
		err = e.Encode(rec)
	} else {
		err = rec.writeTable(stdout)
	}
	for _, s := range rec.Unmeasured() {
		fmt.Fprintln(stderr, "not measured:", s)
	}
	if err == nil && dir != "" {
		err = rec.writeReport(dir)
	}
	if err == nil && o.samples != "" {
		err = os.WriteFile(o.samples, rec.benchfmt(), 0o644)
	}
	if err != nil {
		return err
	}
	bad := missed(rec.Lines)
	if rec.Conformance != nil {
		bad = append(bad, rec.Conformance.Failed(peer.Respool.Name)...)
	}
	if o.check && len(bad) > 0 {
		return fmt.Errorf("goals missed:\n  %s", strings.Join(bad, "\n  "))
	}
	return ctx.Err()
}

// measureAll measures what o asks for, and takes the rest from old.
func measureAll(ctx context.Context, kinds []peer.Kind, o options, old record, stderr io.Writer) (record, error) {
	s := size{seed: o.seed}
	all := rows(kinds, s)
	rec := record{Versions: versions(), Rounds: o.rounds, Seed: o.seed, Results: runRows(ctx, all, o, stderr)}
	conform, profiles := o.only.MatchString(conformanceRow), o.only.MatchString(profileRow)
	if len(rec.Results) == 0 && o.with == "" && !conform && !profiles {
		return rec, fmt.Errorf("no row matches -only %q", o.only)
	}
	if conform {
		t, err := conformance.Run(ctx, kinds, stderr)
		if err != nil {
			return rec, err
		}
		rec.Conformance = &t
	}
	if profiles {
		var err error
		if rec.Profiles, err = profileAll(ctx, s, func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }); err != nil {
			return rec, err
		}
	}
	var names []string
	for _, r := range all {
		names = append(names, r.name)
	}
	rec.complete(old, names)
	rec.Lines = judgeAll(all, rec.Results)
	return rec, nil
}
