package peer

import (
	"context"
	"database/sql"
	"database/sql/driver"
)

// SQL is the pool of database/sql, around a driver that does nothing.
var SQL = Kind{Name: "database/sql", Open: openSQL, Loops: LoopsOf(openSQL, sqlLoop)}

type sqlPool struct{ *sql.DB }

func openSQL(c Config) (Pool, error) {
	if err := c.lacks(true, false, true, true); err != nil {
		return nil, err
	}
	db := sql.OpenDB(sqlDriver(c))
	db.SetMaxOpenConns(c.Max)
	db.SetMaxIdleConns(c.Max)
	db.SetConnMaxLifetime(c.MaxAge)
	return sqlPool{db}, nil
}

func (p sqlPool) Acquire(ctx context.Context) (Lease, error) {
	c, err := p.Conn(ctx)
	if err != nil {
		return Lease{}, err
	}
	l := &sqlLease{c: c}
	err = c.Raw(func(dc any) error { l.it = dc.(*sqlConn).it; return nil })
	return Lend(l), err
}

func (p sqlPool) Warm(ctx context.Context, n int) error { return WarmByLeases(ctx, p, n) }
func (p sqlPool) Close(ctx context.Context) error       { return closeWithin(ctx, p.DB.Close) }

func (p sqlPool) Resize(max int) error {
	p.SetMaxOpenConns(max)
	return nil
}

func (p sqlPool) Count() (total, idle int) {
	s := p.Stats()
	return s.OpenConnections, s.Idle
}

type sqlLease struct {
	c  *sql.Conn
	it *Item
}

func (l *sqlLease) Item() *Item { return l.it }
func (l *sqlLease) Use() error  { return l.c.Raw(func(any) error { return nil }) }
func (l *sqlLease) Release()    { _ = l.c.Close() } // ErrConnDone if it has ended

// Destroy reports what a driver reports of a broken connection.
func (l *sqlLease) Destroy() {
	defer l.c.Close()
	_ = l.c.Raw(func(any) error { return driver.ErrBadConn })
}

// A sqlDriver connects by making an item.
type sqlDriver Config

func (d sqlDriver) Connect(ctx context.Context) (driver.Conn, error) {
	it, err := d.Make(ctx)
	if err != nil {
		return nil, err
	}
	return &sqlConn{it: it, c: Config(d)}, nil
}

func (d sqlDriver) Driver() driver.Driver { return nil }

type sqlConn struct {
	driver.Conn // nil: nothing prepares a statement or begins a transaction
	it          *Item
	c           Config
}

func (c *sqlConn) Close() error { c.c.destroy(c.it); return nil }

func sqlLoop(ctx context.Context, db sqlPool, n int, yield bool) error {
	for range n {
		c, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		Hold(yield)
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}
