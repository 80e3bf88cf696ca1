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

	"github.com/respool/respool/internal/bench/peer"
)

// Main runs the command with its arguments and returns its exit status. More are
// pools that only some builds have.
func Main(args []string, more ...peer.Kind) int {
	if os.Getenv(peerEnv) != "" {
		if err := servePeer(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench: server process:", err)
			return 1
		}
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, append(kinds(), more...), args, os.Stdout, os.Stderr)
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

// run is the program: it measures, prints, and with -check judges.
func run(ctx context.Context, kinds []peer.Kind, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	s := fullSize()
	s.seed = o.seed
	results := runRows(ctx, rows(kinds), s, o, stderr)
	if len(results) == 0 {
		return fmt.Errorf("no row matches -only %q", o.only)
	}
	rep := report{Machine: describeMachine(), Rounds: o.rounds, Seed: o.seed, Lines: judgeAll(goals(s), results)}
	if o.json {
		err = rep.writeJSON(stdout, results)
	} else {
		err = rep.writeTable(stdout)
	}
	if err != nil {
		return err
	}
	if missed := rep.missed(); o.check && len(missed) > 0 {
		return fmt.Errorf("goals missed:\n  %s", strings.Join(missed, "\n  "))
	}
	return ctx.Err()
}
