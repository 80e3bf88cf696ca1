package comingfrom_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// connector makes a service a database with connections that can do nothing but ping.
type connector struct{ *service }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	s, err := c.open(ctx)
	return sqlConn{s}, err
}

func (c connector) Driver() driver.Driver { return nil }

type sqlConn struct{ *Session }

func (c sqlConn) Ping(context.Context) error {
	if c.dead {
		return driver.ErrBadConn
	}
	return nil
}

func (c sqlConn) Close() error                        { c.Session.Close(); return nil }
func (c sqlConn) Begin() (driver.Tx, error)           { return nil, errors.ErrUnsupported }
func (c sqlConn) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }

func Example_withSQL() {
	var s service
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db := sql.OpenDB(connector{&s})
	db.SetMaxOpenConns(10)
	db.SetMaxIdleConns(2)
	db.SetConnMaxIdleTime(10 * time.Minute)
	db.SetConnMaxLifetime(30 * time.Minute)
	conn, err := db.Conn(ctx) // one connection, for several statements
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(conn.PingContext(ctx))
	if err := conn.Close(); err != nil { // gives it back
		log.Print(err)
	}
	fmt.Println(db.Close())
	fmt.Println(s.opened.Load(), "opened,", s.closed.Load(), "closed")
	// Output:
	// <nil>
	// <nil>
	// 1 opened, 1 closed
}

func Example_afterSQL() {
	var s service
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pool, err := resource.New(resource.Config[*Session]{
		Make:    s.open,
		Destroy: func(s *Session, cause error) { s.Close() },
		MaxSize: 10, // SetMaxOpenConns
		Eviction: policy.AnyOf(
			policy.SoftIdle(time.Second, 2),    // SetMaxIdleConns
			policy.MaxIdle(10*time.Minute),     // SetConnMaxIdleTime
			policy.MaxAge(30*time.Minute, 0.1), // SetConnMaxLifetime, not for all at once
		),
	})
	if err != nil {
		log.Fatal(err)
	}
	lease, err := pool.Acquire(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(lease.Value().Ask(ctx, "well"))
	lease.Release()
	fmt.Println(pool.Close(ctx))
	fmt.Println(s.opened.Load(), "opened,", s.closed.Load(), "closed")
	// Output:
	// well? yes, says 1 <nil>
	// <nil>
	// 1 opened, 1 closed
}

// askAgain does what database/sql does with driver.ErrBadConn: if the session was dead, the
// question is asked once more, on a session that no caller has used.
func askAgain(ctx context.Context, pool *resource.Pool[*Session], question string) (answer string, err error) {
	ask := func(ctx context.Context, s *Session) error {
		answer, err = s.Ask(ctx, question)
		return err
	}
	err = pool.Do(ctx, ask)
	if errors.Is(err, errDead) { // it has run nothing
		err = pool.DoWith(ctx, resource.Request{Fresh: true}, ask)
	}
	return answer, err
}

func Example_badConn() {
	var s service
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pool, err := resource.New(resource.Config[*Session]{Make: s.open, MaxSize: 10})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close(ctx)
	first, err := pool.Acquire(ctx)
	if err != nil {
		log.Fatal(err)
	}
	first.Value().dead = true // the service was restarted
	first.Release()

	fmt.Println(askAgain(ctx, pool, "well"))
	// Output:
	// well? yes, says 2 <nil>
}
