// Package suite is the program in the folder above, without its main: it measures
// pools in turns and holds the figures against the goals of the project.
package suite

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"

	"github.com/respool/respool/internal/bench/museum"
	"github.com/respool/respool/internal/bench/peer"
)

// Main runs the command with its arguments and returns its exit status. More are
// pools that only some builds have.
func Main(args []string, more ...peer.Kind) int {
	all := append(kinds(), more...)
	if handled, status := museum.Child(all); handled {
		return status
	}
	if os.Getenv(peerEnv) != "" {
		if err := servePeer(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench: server process:", err)
			return 1
		}
		return 0
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

// options is what the command line says.
type options struct {
	rounds   int
	only     *regexp.Regexp // which rows
	entrants *regexp.Regexp // which pools
	json     bool
	check    bool
	samples  string // a file for benchstat
	report   string // a directory
	with     string // a file that -json printed
	seed     uint64
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var only, entrants string
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&o.rounds, "rounds", 5, "how often each pool does each row")
	fs.StringVar(&only, "only", "", "run only rows whose name matches this `regexp`")
	fs.StringVar(&entrants, "pools", "", "measure only pools whose name matches this `regexp`")
	fs.BoolVar(&o.json, "json", false, "print JSON, every sample included, instead of the table")
	fs.StringVar(&o.samples, "samples", "", "write every sample into this `file`, for benchstat")
	fs.StringVar(&o.report, "report", "", "write REPORT.md and its plots into this `directory`; a whole run writes them into "+home)
	fs.StringVar(&o.with, "with", "", "take what is not measured from this `file`, which -json printed")
	fs.BoolVar(&o.check, "check", false, "fail, naming them, if figures miss their goal")
	fs.Uint64Var(&o.seed, "seed", 1, "of the random deadlines")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("-rounds is %d, not at least 1", o.rounds)
	}
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return o, fmt.Errorf("-only: %w", err)
	}
	if o.entrants, err = regexp.Compile(entrants); err != nil {
		return o, fmt.Errorf("-pools: %w", err)
	}
	return o, nil
}

// whole says whether all is measured.
func (o options) whole() bool { return o.only.String() == "" && o.entrants.String() == "" }

// run is the program: it measures, prints, writes the report, and with -check judges.
func run(ctx context.Context, kinds []peer.Kind, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir, err := reportDir(o)
	if err != nil {
		return err
	}
	var old record
	if o.with != "" {
		if old, err = readRecord(o.with); err != nil {
			return err
		}
	}
	rec, err := measureAll(ctx, kinds, o, old, stderr)
	if err != nil {
		return err
	}
	if o.json {
		err = rec.writeJSON(stdout)
	} else {
		err = rec.writeTable(stdout)
	}
	for _, s := range rec.unmeasured() {
		fmt.Fprintln(stderr, "not measured:", s)
	}
	if err == nil && dir != "" {
		err = rec.writeReport(dir)
	}
	if err == nil && o.samples != "" {
		err = writeFile(o.samples, func(w io.Writer) error { return writeBenchfmt(w, rec.Machine, rec.Results) })
	}
	if err != nil {
		return err
	}
	if missed := append(rec.missed(), failed(rec.Museum, peer.Respool.Name)...); o.check && len(missed) > 0 {
		return fmt.Errorf("goals missed:\n  %s", strings.Join(missed, "\n  "))
	}
	return ctx.Err()
}

// measureAll measures what o asks for, and has the rest from old.
func measureAll(ctx context.Context, kinds []peer.Kind, o options, old record, stderr io.Writer) (rec record, err error) {
	s := fullSize()
	s.seed = o.seed
	here := describeMachine()
	if o.with != "" && !here.like(old.Machine) {
		return rec, fmt.Errorf("-with: %s is of another machine: %v", o.with, old.Machine)
	}
	all := rows(kinds)
	rec.Results = runRows(ctx, all, s, o, stderr)
	visit, profiles := o.only.MatchString(museumRow), o.only.MatchString(profileRow)
	if len(rec.Results) == 0 && o.with == "" && !visit && !profiles {
		return rec, fmt.Errorf("no row matches -only %q", o.only)
	}
	progress := func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }
	if visit {
		if rec.Museum, err = tour(ctx, kinds, stderr); err != nil {
			return rec, err
		}
	}
	if profiles {
		if rec.Profiles, err = profileAll(ctx, s, progress); err != nil {
			return rec, err
		}
	}
	names := make([]string, len(all))
	for i, r := range all {
		names[i] = r.name
	}
	rec.with(old, names)
	rec.report = report{Machine: here, Versions: versions(), Rounds: o.rounds, Seed: o.seed, Lines: judgeAll(goals(s), rec.Results)}
	return rec, nil
}

// In -only these stand for what is no row.
const (
	museumRow  = "museum"
	profileRow = "profiles"
)

func writeFile(name string, f func(w io.Writer) error) error {
	w, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(f(w), w.Close())
}
