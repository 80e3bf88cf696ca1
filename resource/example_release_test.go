package resource_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/respool/respool/resource"
)

// Tx stands for a database session that may be left inside a transaction.
type Tx struct {
	id   int
	open bool // a transaction
	gone bool // the server has hung up
}

// Exec stands for a round trip.
func (s *Tx) Exec(ctx context.Context, statement string) error {
	switch {
	case s.gone:
		return errors.New("the server hung up")
	case statement == "BEGIN":
		s.open = true
	case statement == "ROLLBACK":
		s.open = false
	}
	fmt.Println(s.id, statement)
	return nil
}

// OnRelease brings a session back to where the next holder expects it, after
// Release has returned. If that fails the session is destroyed, and the next
// holder gets another.
func ExampleConfig_onRelease() {
	n := 0
	pool, err := resource.New(resource.Config[*Tx]{
		Make: func(context.Context) (*Tx, error) {
			n++
			return &Tx{id: n}, nil
		},
		OnRelease: func(ctx context.Context, s *Tx) error {
			if !s.open {
				return nil // no round trip for a session that is in order
			}
			return s.Exec(ctx, "ROLLBACK")
		},
		Destroy: func(s *Tx, cause error) { fmt.Println(s.id, "destroyed:", cause) },
		MaxSize: 1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()

	for _, hangsUp := range []bool{false, true, false} {
		lease, err := pool.Acquire(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := lease.Value().Exec(ctx, "BEGIN"); err != nil {
			fmt.Println(err)
		}
		lease.Value().gone = hangsUp
		lease.Release() // the holder has forgotten to commit
	}
	lease, err := pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(lease.Value().id, "in a transaction:", lease.Value().open)
	lease.Release()
	fmt.Println(pool.Stats().ReleaseFailed, "failed in OnRelease")
	pool.Close(ctx)

	// Output:
	// 1 BEGIN
	// 1 ROLLBACK
	// 1 BEGIN
	// 1 destroyed: the server hung up
	// 2 BEGIN
	// 2 ROLLBACK
	// 2 in a transaction: false
	// 1 failed in OnRelease
	// 2 destroyed: resource: pool is closed
}

// Prepared is a connection and what belongs to it alone: here, the statements that
// it has prepared. A lease gives its holder both, and no other goroutine has them
// meanwhile, so that no lock is needed.
type Prepared struct {
	*Session
	statements map[string]int
}

// Statement prepares what this connection does not know yet.
func (p *Prepared) Statement(text string) int {
	if _, ok := p.statements[text]; !ok {
		p.statements[text] = len(p.statements) + 1
		fmt.Printf("connection %d prepares %q\n", p.id, text)
	}
	return p.statements[text]
}

// State that belongs to each resource is kept in T: a struct of both.
func ExamplePool_stateBesideResource() {
	dial := dialer()
	pool, err := resource.New(resource.Config[*Prepared]{
		Make: func(ctx context.Context) (*Prepared, error) {
			s, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			return &Prepared{Session: s, statements: map[string]int{}}, nil
		},
		Destroy: func(p *Prepared, cause error) { p.Close() },
		MaxSize: 8,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()

	for _, text := range []string{"select 1", "select 2", "select 1"} {
		err := pool.Do(ctx, func(ctx context.Context, p *Prepared) error {
			fmt.Println("statement", p.Statement(text))
			return nil
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	pool.Close(ctx)

	// Output:
	// connection 1 prepares "select 1"
	// statement 1
	// connection 1 prepares "select 2"
	// statement 2
	// statement 1
	// closed 1
}
