// Simulate plays scenes of package sim in virtual time, prints what they show, and writes
// diagrams:
//
//	go run ./internal/proof/simulate -list
//	go run ./internal/proof/simulate -scene 'overload|outage' -seed 7 -out /tmp/scenes
//	go run ./internal/proof/simulate -clients 100000 -scene retry-storm
//
// With the same flags it prints the same figures. It ends with status 1 if a scene does not keep
// its promise. With -record it records a burst instead, in real time: see package sim.
//
// The scenes run as tests of package testing, because only a test can have virtual time;
// testing.Main runs them without the go command.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/internal/proof/sim"
)

// options are the flags.
type options struct {
	sim.Config
	scene    string
	out      string
	list     bool
	markdown bool
	record   string
	load     string
	lasts    time.Duration
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("simulate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.scene, "scene", "", "play the scenes whose names match this `regexp`; empty: all")
	flags.Uint64Var(&o.Seed, "seed", 1, "the seed from which everything random follows")
	flags.IntVar(&o.Clients, "clients", 0, fmt.Sprintf("how many clients a scene has, from %d to %d; 0: as many as in the documents", sim.MinClients, sim.MaxClients))
	flags.StringVar(&o.out, "out", "", "write diagrams, as SVG, into this `directory`")
	flags.BoolVar(&o.list, "list", false, "list the scenes and play none")
	flags.BoolVar(&o.markdown, "markdown", false, "print the table of the documents only")
	flags.StringVar(&o.load, "load", "", "the arrivals that size-recorded plays: a `file`, as -record writes it; empty: a record of ours")
	flags.StringVar(&o.record, "record", "", "record a burst into this `file`, in real time, and play no scene")
	flags.DurationVar(&o.lasts, "for", 3*time.Minute, "how long to record")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var bad []error
	if flags.NArg() > 0 {
		bad = append(bad, fmt.Errorf("unexpected argument %q", flags.Arg(0)))
	}
	if err := o.Check(); err != nil {
		bad = append(bad, err)
	}
	if o.lasts < time.Second || o.lasts > time.Hour {
		bad = append(bad, fmt.Errorf("for must be between 1s and 1h, got %v", o.lasts))
	}
	o.Curves = o.out != ""
	if o.load != "" {
		var err error
		if o.Recorded, err = loaded(o.load); err != nil {
			bad = append(bad, err)
		}
	}
	return o, errors.Join(bad...)
}

// loaded reads arrivals.
func loaded(file string) ([]sim.Arrival, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return sim.ReadArrivals(f)
}

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		exit(2, err)
	case o.record != "":
		if err := recordTo(o.record, o.lasts); err != nil {
			exit(1, err)
		}
		return
	}
	scenes, err := sim.Matching(o.scene)
	if err != nil {
		exit(2, err)
	}
	if o.list {
		list(os.Stdout, scenes)
		return
	}
	p := &player{options: o, scenes: scenes, stdout: os.Stdout, stderr: os.Stderr}
	os.Stdout = os.Stderr // for what package testing prints
	os.Args = os.Args[:1] // which it parses
	testing.Main(func(string, string) (bool, error) { return true, nil }, p.tests(), nil, nil)
}

func exit(status int, err error) {
	fmt.Fprintln(os.Stderr, "simulate:", err)
	os.Exit(status)
}

func list(w io.Writer, scenes []sim.Scene) {
	for _, sc := range scenes {
		fmt.Fprintf(w, "%-16s %s\n", sc.Name, sc.Promise)
	}
}

// player plays scenes one after the other.
type player struct {
	options
	scenes         []sim.Scene
	stdout, stderr io.Writer
	results        []*sim.Result
}

// tests returns one test for each scene, and one for the end.
func (p *player) tests() (all []testing.InternalTest) {
	for i, sc := range p.scenes {
		all = append(all, testing.InternalTest{Name: sc.Name, F: func(t *testing.T) { p.play(t, i, sc) }})
	}
	return append(all, testing.InternalTest{Name: "summary", F: p.finish})
}

// play plays one scene, and prints what it shows.
func (p *player) play(t *testing.T, i int, sc sim.Scene) {
	began := time.Now()
	cfg := p.Config
	cfg.Progress = func(variant string) {
		p.progress(fmt.Sprintf("%d/%d %s: %s", i+1, len(p.scenes), sc.Name, variant))
	}
	r := sim.Play(t, sc, cfg)
	p.progress("")
	p.results = append(p.results, r)
	if !p.markdown {
		fmt.Fprintln(p.stdout, r.Text())
	}
	fmt.Fprintf(p.stderr, "%s: %.1f s of real time\n", sc.Name, time.Since(began).Seconds())
	for _, goal := range r.Failed() {
		t.Errorf("%s: not met: %s", sc.Name, goal)
	}
	if p.out == "" {
		return
	}
	for _, c := range r.Curves {
		if err := diagram(c, p.out, sc.Name+"-"+c.Name); err != nil {
			t.Error(err)
		}
	}
}

// finish prints the table of all scenes.
func (p *player) finish(*testing.T) {
	fmt.Fprint(p.stdout, sim.SummaryHead)
	for _, r := range p.results {
		fmt.Fprint(p.stdout, r.Summary())
	}
}

const width = 79

// progress replaces the line that shows what is played; empty: there is none.
func (p *player) progress(line string) {
	if len(line) > width {
		line = line[:width]
	}
	fmt.Fprintf(p.stderr, "\r%s\r%s", strings.Repeat(" ", width), line)
}
