// Fleet shows that processes which share the quota of one account never exceed it. Run it
// from the root of the repository with
//
//	go run ./examples/fleet
//
// It needs nothing else: the program itself runs
//
//   - a WebSocket server that counts its sessions, the judge: an account may have 20;
//   - the engine that the processes share the quota through, a Redis-compatible server in
//     memory;
//   - four processes, the program started again, each with a pool that could use all 20
//     sessions alone and works all the time.
//
// For a minute it does to them what happens in production: it kills one process, stops one
// for 15 s, adds one, and restarts the engine without its data. It prints a line each second
// and at each event,
//
//	  time server  a          b          c          d
//	12.0 s  20/20   5  5  5    5  5  5    5  5  5    5  5  5
//
// where the three numbers of a process are the sessions that it was granted, that it holds,
// and its fair share; then a chart, and how long the fleet took to use all sessions again
// after each event. It exits with status 1 if the server ever counted one session too many, or
// if the fleet did not recover from an event.
//
// The use of the pool and of the quota is in child.go, and is all that a service needs. The
// rest is the stage: server.go counts, engine.go runs the engine, process.go starts, stops
// and kills, script.go decides when, timeline.go, chart.go and svg.go show it.
//
// # Flags
//
// -redis ADDRESS and -etcd ADDRESS use an engine that runs already, through a relay that can
// cut it off; "restart without data" then deletes what this run has stored in it, and nothing
// else. -for sets the length, -seed which processes are chosen and when, -plot FILE.svg
// writes the chart as a picture.
//
// -lost says what the processes do while the engine does not answer, and -down for how long
// it is away at its restart. The default, closed, keeps the quota strictly: a process closes
// its sessions before its lease ends. The judge can fail:
//
//	go run ./examples/fleet -lost open -down 8s
//
// lets every process open what it likes after its lease has ended, and exits with status 1.
//
// # What a lease must outlast
//
// A stopped process cannot close its sessions, and the engine lends its share again when its
// lease ends. So the lease must be longer than the server takes to end the sessions of a
// silent client, plus the time between two renewals. This server ends a session after a third
// of the lease without a message or pong, as providers do after their idle timeout.
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
