package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// The times of a session. A service would check after a minute.
const (
	checkAfter   = 50 * time.Millisecond // without use, before the next lease
	checkTimeout = time.Second
	endTimeout   = 2 * time.Second
)

// config returns the configuration of a pool of sessions.
func config(cfg *pgx.ConnConfig, size int) resource.Config[*pgx.Conn] {
	cfg = cfg.Copy()
	// DISCARD ALL drops prepared statements, which pgx would go on to use from its cache.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	return resource.Config[*pgx.Conn]{
		Make: func(ctx context.Context) (*pgx.Conn, error) { return pgx.ConnectConfig(ctx, cfg.Copy()) },
		Destroy: func(c *pgx.Conn, _ error) {
			ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
			defer cancel()
			_ = c.Close(ctx) // the server ends the session in any case
		},
		OnRelease: reset,
		Broken:    broken,
		Health:    policy.IfIdle(checkAfter, policy.CheckTimeout(checkTimeout, policy.Check(ping))),
		Eviction:  policy.AnyOf(policy.MaxAge(time.Hour, 0.1), policy.SoftIdle(10*time.Minute, 0)),
		Describe:  func(c *pgx.Conn) string { return fmt.Sprintf("backend %d", c.PgConn().PID()) },
		MaxSize:   size,
	}
}

// reset is Config.OnRelease: it takes out of a session what its last holder has left in it. It runs
// after the release, off the holder's path, and before the next lease.
func reset(ctx context.Context, c *pgx.Conn) error {
	if c.PgConn().TxStatus() != idle { // the holder has left a transaction open
		if _, err := c.Exec(ctx, "ROLLBACK"); err != nil {
			return err
		}
	}
	_, err := c.Exec(ctx, "DISCARD ALL") // settings, locks, temporary tables, LISTEN, prepared statements
	return err
}

// idle is the TxStatus of a session without a transaction.
const idle = 'I'

// ping is the health check.
func ping(ctx context.Context, c *pgx.Conn) error { return c.Ping(ctx) }

// broken is Config.Broken: an error with which the server has answered leaves the session good, unless
// it says that the session ends. After any other error, such as the end of the caller's context, the
// answer may still come.
func broken(err error) bool {
	var answer *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows), errors.Is(err, pgx.ErrTooManyRows):
		return false
	case errors.As(err, &answer):
		return answer.SeverityUnlocalized != "ERROR"
	}
	return true
}

// short returns the server's words, or those of the context.
func short(err error) string {
	var answer *pgconn.PgError
	switch {
	case errors.As(err, &answer):
		return answer.Message
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded.Error()
	}
	return err.Error()
}
