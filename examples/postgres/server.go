package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// stopWait is how long the server may take to stop before it is killed.
const stopWait = 10 * time.Second

// errMissing: a program of PostgreSQL is not installed.
var errMissing = errors.New("PostgreSQL is not installed (Debian: apt-get install postgresql); or name a database with -dsn")

// server is a PostgreSQL server of this program.
type server struct {
	dir    string // of its data and its socket
	cmd    *exec.Cmd
	exited chan struct{}
}

// find returns the path of a program of PostgreSQL, which Debian does not have in PATH; "": there is
// none.
func find(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // the pattern is valid
	slices.Sort(all)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// startServer creates a database cluster and starts a server for it, which listens on a Unix socket
// only. It returns when the server accepts connections. Call stop.
func startServer(ctx context.Context) (_ *server, err error) {
	initdb, postgres := find("initdb"), find("postgres")
	if initdb == "" || postgres == "" {
		return nil, errMissing
	}
	s := &server{exited: make(chan struct{})}
	if s.dir, err = os.MkdirTemp("", "respool-postgres-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(s.dir)
		}
	}()
	attr, err := unprivileged(s.dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(s.dir, "data")
	create := exec.CommandContext(ctx, initdb, "-D", data, "-U", "app", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	create.SysProcAttr, create.Dir = attr, s.dir
	if out, err := create.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	s.cmd = exec.Command(postgres, "-D", data, "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=off")
	s.cmd.SysProcAttr, s.cmd.Dir = attr, s.dir
	s.cmd.Env = append(os.Environ(), "LC_MESSAGES=C")
	log, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stderr = theirs
	err = s.cmd.Start()
	theirs.Close()
	if err != nil {
		log.Close()
		return nil, err
	}
	ready := make(chan bool, 1)
	var said strings.Builder
	go func() {
		defer close(s.exited)
		defer log.Close()
		lines := bufio.NewScanner(log)
		for waits := true; lines.Scan(); { // until the server has exited
			if waits {
				fmt.Fprintln(&said, lines.Text())
			}
			if waits && strings.Contains(lines.Text(), "ready to accept connections") {
				waits = false
				ready <- true
			}
		}
		_ = s.cmd.Wait() // how it exited is in its log
		close(ready)
	}()
	select {
	case <-ctx.Done():
		s.stop()
		return nil, context.Cause(ctx)
	case ok := <-ready:
		if !ok {
			return nil, fmt.Errorf("postgres exited: %s", said.String())
		}
	}
	return s, nil
}

// dsn is the connection string.
func (s *server) dsn() string {
	return fmt.Sprintf("host=%s port=5432 user=app dbname=postgres connect_timeout=5", s.dir)
}

// stop ends the server, which ends its sessions, and removes its data.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(os.Interrupt) // a fast shutdown; fails if it has exited
	timer := time.NewTimer(stopWait)
	defer timer.Stop()
	select {
	case <-s.exited:
	case <-timer.C:
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	os.RemoveAll(s.dir)
}
