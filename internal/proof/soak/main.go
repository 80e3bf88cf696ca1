// Soak runs all packages together against hostile servers for a given time, and checks their
// guarantees. Run it from the root of the repository with
//
//	go run ./internal/proof/soak -for 8h -seed 7
//
// The load is a set of sections, each with pools, servers of its own on loopback and callers:
//
//	sessions   a resource.Pool of TCP sessions over TLS, with composed policies
//	plain      a resource.Pool of such sessions without any policy
//	keyed      a Keyed of such sessions, with AcquireAny
//	quota      three pools that share a quota of package fleet, in a ledger in memory that fails
//	exchange   a wspool.Pool over TLS: Exchange, DoIdempotent
//	hand       a wspool.Pool: leases by hand, unsolicited messages, forgotten and leaked leases
//	mux        calls and streams of a mux.Client
//	cluster    a cluster.Cluster, whose endpoints join, leave and die, and a mux.Client on it
//
// Between callers and servers are relays (internal/relay). A script for each, drawn from the seed,
// resets connections, makes them half-open, cuts them within a frame, delays, trickles, pauses, and
// refuses all of them for seconds; the servers close with several codes, refuse handshakes, stop
// reading, answer late, twice, in pieces or never. Meanwhile pools are resized, reset, closed
// and opened again, resources are invalidated and leases reclaimed. A meter watches each pool, and
// the live page shows all of them to a viewer.
//
// # What is checked
//
// Always: a resource has one holder (I2), no more exist than the maximum (I1), each is destroyed
// or hijacked once (I3), each permit is returned once (I4), each reply is the one to the call that
// gets it (I13), a call that was not sent has not run, and Stats keeps its equations.
//
// At each checkpoint (-check) the load stops and the faults end. Then each section must serve a
// caller; all sections must come to rest; what is alive in the pools, in the books of the program
// and at the servers must be equal, and so must calls, leases and failures, permits, and the sums of
// the meters; the pools are reset and must become empty; and the goroutines and descriptors must
// be as many as at the first checkpoint. Over all checkpoints the heap after a collection must not
// grow: see drift.
//
// The program prints a line each 10 s, and at the end a verdict. It ends at the first violation,
// with status 1, and prints what happened before. An interrupt ends it with a verdict too. The seed
// repeats the scripts of faults and the choices of the callers, not their interleaving.
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

// settings are the flags, and what only tests set.
type settings struct {
	length   time.Duration
	seed     uint64
	check    time.Duration // between two checkpoints
	progress time.Duration // between two lines
	callers  int           // of each section
	think    time.Duration // mean pause of a caller between two operations
	only     []string      // sections
	looks    int           // how often a checkpoint looks whether all is at rest
	plant    fault         // a fault of the harness that the checks must find; for tests
}

// fault is a fault planted in the harness, to show that a check finds it.
type fault string

const (
	plantCrossed    fault = "crossed reply"
	plantTwoHolders fault = "two holders"
	plantGoroutine  fault = "goroutine leak"
	plantDescriptor fault = "descriptor leak"
	plantLease      fault = "leaked lease"
	plantTwice      fault = "call runs twice"
	plantPermit     fault = "permit kept"
)

func main() { os.Exit(program(os.Args[1:], os.Stdout, os.Stderr)) }

// program returns the exit status: 0 if there was no violation, 1 if there was, 2 if the arguments
// are invalid.
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
	if !run(ctx, s, stdout) {
		return 1
	}
	return 0
}

// parse reads the arguments. The error names every invalid one.
func parse(args []string, stderr io.Writer) (settings, error) {
	s := settings{progress: 10 * time.Second, looks: defaultLooks}
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.DurationVar(&s.length, "for", time.Minute, "how long the load runs")
	f.Uint64Var(&s.seed, "seed", 0, "seed of the faults and of the callers' choices; 0: a random one")
	f.DurationVar(&s.check, "check", 0, "time between two checkpoints; 0: a minute, or a quarter of -for if that is less")
	f.IntVar(&s.callers, "callers", 12, "callers of each section")
	f.DurationVar(&s.think, "think", 4*time.Millisecond, "mean pause of a caller between two operations")
	only := f.String("only", strings.Join(partNames(), ","), "the sections that run")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return s, err
		}
		return s, errors.New("soak: -h lists the flags") // Parse has printed the error
	}
	var bad []error
	no := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf("soak: "+format, args...))
		}
	}
	no(f.NArg() == 0, "takes flags only, got %q", f.Args())
	no(s.length >= time.Second, "-for must be at least 1s, got %v", s.length)
	no(s.check == 0 || s.check >= 100*time.Millisecond, "-check must be 0 or at least 100ms, got %v", s.check)
	no(s.callers >= 2 && s.callers <= 1000, "-callers must be between 2 and 1000, got %d", s.callers)
	s.only = strings.Split(*only, ",")
	for _, name := range s.only {
		no(slices.Contains(partNames(), name), "-only knows %s, got %q", strings.Join(partNames(), ","), name)
	}
	no(s.think >= 0, "-think must not be negative, got %v", s.think)
	if s.seed == 0 {
		s.seed = rand.Uint64()
	}
	if s.check == 0 {
		s.check = min(time.Minute, s.length/4)
	}
	return s, errors.Join(bad...)
}
