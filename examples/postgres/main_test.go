package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/respool/respool/internal/outside"
	"github.com/respool/respool/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const want = `a caller: hello; sessions opened so far: 1
the next caller: hello again; sessions opened so far: 1
a caller leaves things behind: a setting, a lock, a table, a transaction; sessions opened so far: 1
the next caller finds the setting, locks, tables: "$user", public, 0, 0; sessions opened so far: 1
in the same session: true
a statement fails: division by zero; sessions opened so far: 1
the next caller: hello; sessions opened so far: 1
a caller gives up: context deadline exceeded; sessions opened so far: 1
it returned within five seconds: true
the next caller: hello; sessions opened so far: 2
the next caller after the server has ended the session: hello; sessions opened so far: 3
50 callers at once: 50 served by at most 3 sessions
closed: every session that was opened has ended: true
`

// installed makes sure that PostgreSQL is installed.
func installed(t *testing.T) {
	t.Helper()
	for _, name := range []string{"initdb", "postgres"} {
		outside.Path(t, name, func() string { return find(name) }, "postgresql")
	}
}

// The program shows what becomes of sessions, with a server of its own.
func TestProgram(t *testing.T) {
	installed(t)
	var got bytes.Buffer
	if err := program(t.Context(), &got, ""); err != nil {
		t.Fatalf("%v\n%s", err, got.String())
	}
	if got.String() != want {
		t.Errorf("the program said\n%s\nwant\n%s", got.String(), want)
	}
}

// A session whose reset fails is not lent again; a server that stops ends its sessions, and leaves
// nothing behind.
func TestServerStops(t *testing.T) {
	installed(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := startServer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := pgx.ParseConfig(s.dsn())
	if err != nil {
		t.Fatal(err)
	}
	pool, err := resource.New(config(cfg, 1))
	if err != nil {
		t.Fatal(err)
	}
	l, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	l.Release()
	if _, err := pool.Acquire(ctx); err == nil || strings.Contains(err.Error(), "deadline") {
		t.Errorf("a session of a server that has stopped: %v", err)
	}
	if n := pool.Stats(); n.ReleaseFailed != 1 {
		t.Errorf("the session was not found broken: %+v", n)
	}
	if err := pool.Close(ctx); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data of the server: %v", err)
	}
}

// A start that is canceled, whenever that is, leaves neither a server nor a directory.
func TestStartServer_Canceled(t *testing.T) {
	installed(t)
	tmp, err := os.MkdirTemp("", "respool-") // that of t is closed to the user postgres
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	for after := range 8 { // the last ones after the start, on a fast machine
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Duration(after*after)*20*time.Millisecond, errLeft)
		s, err := startServer(ctx)
		cancel()
		if err == nil {
			s.stop()
		} else if !errors.Is(err, errLeft) {
			t.Errorf("%d: %v", after, err)
		}
		if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
			t.Errorf("%d: %v is left, %v", after, left, err)
		}
	}
}

var errLeft = errors.New("the caller has left")

func TestBroken(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{pgx.ErrNoRows, false},
		{&pgconn.PgError{SeverityUnlocalized: "ERROR"}, false},
		{&pgconn.PgError{SeverityUnlocalized: "FATAL"}, true},
		{context.DeadlineExceeded, true},
	} {
		if got := broken(c.err); got != c.want {
			t.Errorf("%v: %t", c.err, got)
		}
	}
}
