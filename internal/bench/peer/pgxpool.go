package peer

import (
	"context"
	"net"
	"runtime"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pgxpool is pgx's pool, with PostgreSQL's part of the wire played by us. An
// item is made where a connection is dialled.
var Pgxpool = Kind{Name: "pgxpool", Most: 1000, Open: openPgxpool, Loops: pgxpoolLoops}

type pgxPool struct{ *pgxpool.Pool }

func openPgxpool(c Config) (Pool, error) {
	cfg, err := pgxpool.ParseConfig("host=pool.invalid port=1 user=peer database=peer sslmode=disable")
	if err != nil {
		return nil, err
	}
	cfg.ConnConfig.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	cfg.ConnConfig.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		it, err := c.Make(ctx)
		if err != nil {
			return nil, err
		}
		client, server := net.Pipe()
		go playPostgres(server)
		return &itemConn{Conn: client, it: it, destroy: c.Destroy}, nil
	}
	cfg.ConnConfig.ConnectTimeout = c.MakeTimeout
	cfg.MaxConns, cfg.MaxConnLifetime, cfg.MaxConnLifetimeJitter = int32(c.Max), c.MaxAge, c.Jitter
	cfg.MinIdleConns = int32(c.MinIdle)
	if c.CheckEvery > 0 {
		cfg.HealthCheckPeriod = c.CheckEvery
	}
	if c.Check != nil {
		checkOnLoan(cfg, c)
	}
	p, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return nil, err
	}
	return pgxPool{p}, nil
}

// checkOnLoan checks where a pgxpool pings, when one is lent that has been idle for
// a while: what looks at those that are idle looks at times only.
func checkOnLoan(cfg *pgxpool.Config, c Config) {
	cfg.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool {
		p.Conn.PgConn().Conn().(*itemConn).due = p.IdleDuration > c.CheckEvery/2
		return false
	}
	cfg.PrepareConn = func(_ context.Context, conn *pgx.Conn) (bool, error) {
		return !conn.PgConn().Conn().(*itemConn).due || c.Check(itemOf(conn)) == nil, nil
	}
}

func itemOf(conn *pgx.Conn) *Item { return conn.PgConn().Conn().(*itemConn).it }

// playPostgres lets anybody in, and finds every query empty.
func playPostgres(c net.Conn) {
	defer c.Close()
	b := pgproto3.NewBackend(c, c)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ParameterStatus{Name: "server_version", Value: "18.0"})
	b.Send(&pgproto3.BackendKeyData{SecretKey: make([]byte, 4)})
	for {
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if b.Flush() != nil {
			return
		}
		m, err := b.Receive()
		if _, ok := m.(*pgproto3.Query); !ok || err != nil {
			return // it leaves
		}
		b.Send(&pgproto3.EmptyQueryResponse{})
	}
}

func (p pgxPool) Acquire(ctx context.Context) (Lease, error) {
	c, err := p.Pool.Acquire(ctx)
	if err != nil {
		return Lease{}, err
	}
	return Lend(&pgxLease{c, c.Conn()}), nil
}

func (p pgxPool) Warm(ctx context.Context, n int) error { return WarmBySet(ctx, p, n) }

func (p pgxPool) Close(ctx context.Context) error {
	return within(ctx, "pgxpool: still closing", func() error {
		p.Pool.Close()
		return nil
	})
}

func (p pgxPool) Count() (total, idle int) {
	s := p.Stat()
	return int(s.TotalConns()), int(s.IdleConns())
}

// A pgxLease has the connection as well, as those have who keep what Conn returns.
type pgxLease struct {
	c    *pgxpool.Conn
	conn *pgx.Conn
}

func (l *pgxLease) Item() *Item { return itemOf(l.conn) }
func (l *pgxLease) Use() error  { return told(func() { l.c.Conn() }) }
func (l *pgxLease) Release()    { l.c.Release() }

// Destroy closes the connection: a pgxpool keeps none that is closed.
func (l *pgxLease) Destroy() {
	defer l.c.Release()
	_ = l.conn.Close(context.Background())
}

func pgxpoolLoops(ctx context.Context, size int) (Loops, error) {
	p, err := warmed[pgxPool](ctx, openPgxpool, size)
	if err != nil {
		return Loops{}, err
	}
	return Loops{
		Plain: func(ctx context.Context, n int) error { return pgxLoop(ctx, p.Pool, n, false) },
		Yield: func(ctx context.Context, n int) error { return pgxLoop(ctx, p.Pool, n, true) },
		Close: closing(p),
	}, nil
}

func pgxLoop(ctx context.Context, p *pgxpool.Pool, n int, yield bool) error {
	for range n {
		c, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		if yield {
			runtime.Gosched()
		}
		c.Release()
	}
	return nil
}
