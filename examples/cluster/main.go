// Cluster shows one pool over several servers that fail, stop, come and are restarted. Run it from
// the root of the repository with
//
//	go run ./examples/cluster
//
// It needs nothing else: it starts five WebSocket servers, each the same program again, and
// callers that exchange messages with any of them through one cluster.Cluster. Then
//
//   - one server is killed (kill -9), and a while later its entry is removed from the registry;
//   - one is stopped (SIGSTOP), so that it accepts connections and answers nothing, and
//     continued;
//   - one joins;
//   - all are restarted, one after the other: each closes its connections with code 1001 and
//     ends, and its successor has another address.
//
// On a terminal the load of each server is a bar; in a pipe it is one line each second,
//
//	 time    all  a         b         c         d         e         f
//	4.0 s   1189  289 7     299 7     killed    301 7     300 8     -
//
// where the numbers of a server are its replies in the last second and its connections. The lines
// between say what happens, and when the callers had got over it.
//
// The program exits with status 1 if an exchange failed, apart from those that a stopped
// server kept without an answer, or if a server did not get its share of the work in time.
//
// load.go uses the cluster, and is all that a client needs; registry.go is where it finds the
// servers. The other files run the simulation: server.go is a server, process.go starts and
// ends it, script.go decides when, and display.go shows the load.
//
// # Flags
//
// -callers is how many exchanges are under way, -work how long a server takes for one, -pace the
// time between two events, -patience how long a caller waits for a reply.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// settings are the flags.
type settings struct {
	callers int
	work    time.Duration
	pace    time.Duration

	patience time.Duration
	brief    bool // no server is stopped, which takes long; for a test
}

func main() {
	if name := os.Getenv(asServer); name != "" {
		os.Exit(serve(name, os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(program(os.Args[1:], os.Stdout, os.Stderr))
}

// program is the parent process. It returns the exit status: 0 if everything went well, 1 if it
// did not, 2 if the arguments are invalid.
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
		fmt.Fprintln(stderr, "cluster:", err)
		return 1
	}
	return 0
}

// parse reads the arguments. The error names every invalid one.
func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("cluster", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&s.callers, "callers", 24, "how many exchanges are under way at once")
	f.DurationVar(&s.work, "work", 20*time.Millisecond, "how long a server takes for an exchange")
	f.DurationVar(&s.pace, "pace", 3*time.Second, "time between two events")
	f.DurationVar(&s.patience, "patience", time.Second, "how long a caller waits for a reply")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return s, err
		}
		return s, errors.New("cluster: -h lists the flags") // Parse has printed the error
	}
	var bad []error
	no := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf("cluster: "+format, args...))
		}
	}
	no(f.NArg() == 0, "takes flags only, got %q", f.Args())
	no(s.callers >= 1 && s.callers <= 1000, "-callers must be between 1 and 1000, got %d", s.callers)
	no(s.patience >= 100*time.Millisecond, "-patience must be at least 100ms, got %v", s.patience)
	no(s.work >= time.Millisecond && s.work <= s.patience/4, "-work must be between 1ms and a quarter of -patience (%v), got %v", s.patience/4, s.work)
	no(s.pace >= 0, "-pace must not be negative, got %v", s.pace)
	return s, errors.Join(bad...)
}
