// Fleet shows that processes that share the quota of one account never exceed it. Run it from the
// root of the repository with
//
//	go run ./examples/fleet
//
// It needs nothing else: the program itself runs
//
//   - the judge, a WebSocket server that counts its sessions: the account may have 20;
//   - the engine through which the processes share the quota, a Redis-compatible server in
//     memory;
//   - four processes, each the same program again, with a pool that could use all 20 sessions
//     alone and is always busy.
//
// For a minute it simulates failures of production: it kills one process, stops one for 15 s,
// adds one, and restarts the engine without its data. It prints a line each second and at each
// event,
//
//	  time server  a          b          c          d
//	12.0 s  20/20   5  5  5    5  5  5    5  5  5    5  5  5
//
// where the three numbers of a process are the sessions that it was granted, the sessions that
// it holds, and its fair share. At the end it prints a chart, and how long the processes took to
// use all sessions again after each event. It exits with status 1 if the server ever counted
// more than 20 sessions, or if the processes did not recover from an event.
//
// child.go uses the pool and the quota, and is all that a service needs. The other files run the
// simulation: server.go counts, engine.go runs the engine, process.go starts, stops and kills
// processes, script.go decides when, and timeline.go, chart.go and svg.go show the result.
//
// # Flags
//
// -redis ADDRESS and -etcd ADDRESS use a running engine, through a relay that can cut it off;
// "restart without data" then deletes only the keys of this run. -for sets the length, -lease the
// lease of the quota, -seed which processes are chosen and when; -plot FILE.svg writes the chart
// as a picture.
//
// -lost says what the processes do while the engine does not answer, and -down for how long the
// engine is away at its restart. The default, closed, keeps the quota strictly: a process closes
// its sessions before its lease ends. To see the judge detect a violation:
//
//	go run ./examples/fleet -lost open -down 8s
//
// lets every process open any number of sessions after its lease has ended, and exits with
// status 1.
//
// # What a lease must outlast
//
// A stopped process cannot close its sessions, and the engine grants its units to others when its
// lease ends. So the lease must be longer than the server takes to end the sessions of a silent
// client plus the time between two renewals, a third of the lease. This server ends a session
// after a third of the lease without a message or pong, as providers do after their idle timeout.
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
	"slices"
	"strings"
	"syscall"
	"time"
)

// limit is how many sessions the account may have.
const limit = 20

// settings are the flags.
type settings struct {
	length time.Duration
	lease  time.Duration
	down   time.Duration
	lost   string
	seed   uint64
	redis  string
	etcd   string
	plot   string
}

// The values of -lost.
const (
	lostClosed = "closed"
	lostShare  = "share"
	lostOpen   = "open"
)

var lostModes = []string{lostClosed, lostShare, lostOpen}

func main() {
	if os.Getenv(asChild) != "" {
		os.Exit(child(os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(program(os.Args[1:], os.Stdout, os.Stderr))
}

// program is the parent process. It returns the exit status: 0 if the quota was kept, 1 if it
// was not or the run failed, 2 if the arguments are invalid.
func program(args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, s, stdout); err != nil {
		fmt.Fprintln(stderr, "fleet:", err)
		return 1
	}
	return 0
}

// parse reads the arguments. The error names every invalid one.
func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("fleet", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.DurationVar(&s.length, "for", time.Minute, "how long to run, at least 5 leases; longer if the fleet recovers slowly")
	f.DurationVar(&s.lease, "lease", 3*time.Second, "lease of the quota")
	f.DurationVar(&s.down, "down", time.Second, "how long the engine is away at its restart")
	f.StringVar(&s.lost, "lost", lostClosed, "what a process does while the engine does not answer: "+strings.Join(lostModes, ", "))
	f.Uint64Var(&s.seed, "seed", 0, "of the choice of processes and times (default: drawn)")
	f.StringVar(&s.redis, "redis", "", "`address` of a Redis or Valkey to use, host:port or a redis:// URL")
	f.StringVar(&s.etcd, "etcd", "", "`address` of an etcd to use, host:port")
	f.StringVar(&s.plot, "plot", "", "write the chart to this `file`, an SVG")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return s, err
		}
		return s, errors.New("fleet: -h lists the flags") // Parse has printed the error
	}
	var bad []error
	no := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf("fleet: "+format, args...))
		}
	}
	no(f.NArg() == 0, "takes flags only, got %q", f.Args())
	no(s.lease >= time.Second, "-lease must be at least 1s, got %v", s.lease)
	no(s.length >= 5*s.lease, "-for must be at least 5 leases (%v), got %v", 5*s.lease, s.length)
	no(s.down > 0 && s.down <= s.length/4, "-down must be positive and at most a quarter of -for (%v), got %v", s.length/4, s.down)
	no(slices.Contains(lostModes, s.lost), "-lost must be one of %s, got %q", strings.Join(lostModes, ", "), s.lost)
	no(s.redis == "" || s.etcd == "", "-redis and -etcd exclude each other")
	no(s.plot == "" || strings.HasSuffix(s.plot, ".svg"), "-plot must end in .svg, got %q", s.plot)
	if s.seed == 0 {
		s.seed = rand.Uint64N(1_000_000) + 1
	}
	if bad != nil {
		return s, errors.Join(bad...)
	}
	return s, nil
}
