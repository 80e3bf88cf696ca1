package peer

import (
	"context"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pgxpool is pgx's pool. The adapter plays PostgreSQL's side of the wire, and makes
// an item where a connection is dialed.
var Pgxpool = Kind{Name: "pgxpool", MaxItems: 1000, Open: openPgxpool, Loops: LoopsOf(openPgxpool, pgxLoop)}

type pgxPool struct{ *pgxpool.Pool }

func openPgxpool(c Config) (Pool, error) {
	cfg, err := pgxpool.ParseConfig("host=pool.invalid port=1 user=peer database=peer sslmode=disable")
	if err != nil {
		return nil, err
	}
	cfg.ConnConfig.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	cfg.ConnConfig.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return DialItem(ctx, c, playPostgres) }
	cfg.ConnConfig.ConnectTimeout = c.MakeTimeout
	cfg.MaxConns, cfg.MaxConnLifetime, cfg.MaxConnLifetimeJitter = int32(c.Max), c.MaxAge, c.Jitter
	cfg.MinIdleConns = int32(c.MinIdle)
	if c.CheckEvery > 0 {
		cfg.HealthCheckPeriod = c.CheckEvery
	}
	if c.Check != nil {
		checkOnAcquire(cfg, c)
	}
	p, err := pgxpool.NewWithConfig(context.Background(), cfg)
	return pgxPool{p}, err
}

// checkOnAcquire checks where a pgxpool pings, on acquire of a connection that has
// been idle for a while: its background health check looks at times only.
func checkOnAcquire(cfg *pgxpool.Config, c Config) {
	cfg.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool {
		itemConn(p.Conn).due = p.IdleDuration > c.CheckEvery/2
		return false
	}
	cfg.PrepareConn = func(_ context.Context, conn *pgx.Conn) (bool, error) {
		ic := itemConn(conn)
		return !ic.due || c.Check(ic.Item) == nil, nil
	}
}

func itemConn(conn *pgx.Conn) *ItemConn { return conn.PgConn().Conn().(*ItemConn) }

// playPostgres accepts every user, and answers every query as empty.
func playPostgres(c net.Conn, _ *Item) {
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
			return // the client terminates
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

func (p pgxPool) Warm(ctx context.Context, n int) error { return WarmByLeases(ctx, p, n) }

func (p pgxPool) Close(ctx context.Context) error {
	return closeWithin(ctx, func() error { p.Pool.Close(); return nil })
}

func (p pgxPool) Count() (total, idle int) {
	s := p.Stat()
	return int(s.TotalConns()), int(s.IdleConns())
}

// A pgxLease keeps the connection too, as a caller does that keeps the result of Conn.
type pgxLease struct {
	c    *pgxpool.Conn
	conn *pgx.Conn
}

func (l *pgxLease) Item() *Item { return itemConn(l.conn).Item }
func (l *pgxLease) Use() error  { return recovered(func() { l.c.Conn() }) }
func (l *pgxLease) Release()    { l.c.Release() }

// Destroy closes the connection: a pgxpool keeps no closed one.
func (l *pgxLease) Destroy() {
	defer l.c.Release()
	_ = l.conn.Close(context.Background())
}

func pgxLoop(ctx context.Context, p pgxPool, n int, yield bool) error {
	for range n {
		c, err := p.Pool.Acquire(ctx)
		if err != nil {
			return err
		}
		Hold(yield)
		c.Release()
	}
	return nil
}
