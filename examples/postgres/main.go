// Postgres is a pool of PostgreSQL sessions that are reset when they are given back, so that no
// caller finds what another has left in one. Run it from the root of the repository with
//
//	go run ./examples/postgres
//
// It starts a PostgreSQL server of its own, in a temporary directory and on a Unix socket, for which
// initdb and postgres must be installed (Debian: apt-get install postgresql); root runs them as
// the user postgres or nobody. With -dsn it uses a database that exists.
//
// The use of the pool is in sessions.go: how a session is opened, reset, checked and closed, and
// after which errors it is still good. server.go starts the server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/respool/respool/resource"
)

func main() {
	dsn := flag.String("dsn", "", "connection string of a database; empty: a server of its own")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "postgres: takes flags only, got %q\n", flag.Args())
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := program(ctx, os.Stdout, *dsn); err != nil {
		fmt.Fprintln(os.Stderr, "postgres:", err)
		os.Exit(1)
	}
}

// program starts a server if dsn is empty, and plays the scenes.
func program(ctx context.Context, w io.Writer, dsn string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if dsn == "" {
		s, err := startServer(ctx)
		if err != nil {
			return err
		}
		defer s.stop()
		dsn = s.dsn()
	}
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return err
	}
	return run(ctx, w, cfg)
}

// closeTimeout bounds Close, which waits for every lease.
const closeTimeout = 10 * time.Second

// run creates a pool, plays the scenes, and closes the pool.
func run(ctx context.Context, w io.Writer, cfg *pgx.ConnConfig) error {
	admin, err := pgx.ConnectConfig(ctx, cfg.Copy()) // looks at the sessions from outside
	if err != nil {
		return err
	}
	defer admin.Close(context.WithoutCancel(ctx))
	pool, err := resource.New(config(cfg, 3))
	if err != nil {
		return err
	}
	err = scenes(ctx, w, pool, admin)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err = errors.Join(err, pool.Close(closing))
	s := pool.Stats()
	fmt.Fprintf(w, "closed: every session that was opened has ended: %t\n", err == nil && s.Made == s.Destroyed)
	return err
}

// scenes shows what becomes of sessions.
func scenes(ctx context.Context, w io.Writer, pool *resource.Pool[*pgx.Conn], admin *pgx.Conn) error {
	var last uint32 // the process of the session that was used last
	say := func(scene, result string, err error) {
		if err != nil {
			result = short(err)
		}
		fmt.Fprintf(w, "%s: %s; sessions opened so far: %d\n", scene, result, pool.Stats().Made)
	}
	query := func(sql string) (result string, err error) {
		err = pool.Do(ctx, func(ctx context.Context, c *pgx.Conn) error {
			last = c.PgConn().PID()
			return c.QueryRow(ctx, sql).Scan(&result)
		})
		return result, err
	}

	// 1. A session is opened once and used many times.
	result, err := query("SELECT 'hello'")
	say("a caller", result, err)
	result, err = query("SELECT 'hello again'")
	say("the next caller", result, err)

	// 2. A caller leaves a setting, a lock, a temporary table and an open transaction behind. The
	// next one gets the same session without them.
	err = pool.Do(ctx, func(ctx context.Context, c *pgx.Conn) error {
		for _, sql := range []string{
			"SET search_path = forgotten", "SELECT pg_advisory_lock(1)", "CREATE TEMP TABLE forgotten (n int)", "BEGIN",
		} {
			if _, err := c.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	say("a caller leaves things behind", "a setting, a lock, a table, a transaction", err)
	before := last
	result, err = query(`SELECT format('%s, %s, %s', current_setting('search_path'),
		(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
		(SELECT count(*) FROM pg_class WHERE relname = 'forgotten'))`)
	say("the next caller finds the setting, locks, tables", result, err)
	fmt.Fprintf(w, "in the same session: %t\n", last == before)

	// 3. A statement that fails is no reason to close the session. An open transaction that has
	// failed is rolled back.
	_, err = query("SELECT 1/0::text::int")
	say("a statement fails", "", err)
	result, err = query("SELECT 'hello'")
	say("the next caller", result, err)

	// 4. A caller that gives up costs the session, since its answer is still to come.
	began := time.Now()
	err = pool.Do(ctx, func(ctx context.Context, c *pgx.Conn) error {
		ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		_, err := c.Exec(ctx, "SELECT pg_sleep(60)")
		return err
	})
	say("a caller gives up", "", err)
	fmt.Fprintf(w, "it returned within five seconds: %t\n", time.Since(began) < 5*time.Second)
	result, err = query("SELECT 'hello'")
	say("the next caller", result, err)

	// 5. The server ends a session that is idle. A check before the next lease finds it, so no
	// caller sees an error.
	if _, err := admin.Exec(ctx, "SELECT pg_terminate_backend($1, 5000)", int32(last)); err != nil {
		return err
	}
	time.Sleep(2 * checkAfter) // a session that was used just now is not checked
	result, err = query("SELECT 'hello'")
	say("the next caller after the server has ended the session", result, err)

	// 6. Many callers share few sessions.
	var callers sync.WaitGroup
	var served atomic.Int64
	for range 50 {
		callers.Go(func() {
			if err := pool.Do(ctx, func(ctx context.Context, c *pgx.Conn) error { return c.Ping(ctx) }); err == nil {
				served.Add(1)
			}
		})
	}
	callers.Wait()
	fmt.Fprintf(w, "50 callers at once: %d served by at most %d sessions\n", served.Load(), pool.Stats().Max)
	return nil
}
