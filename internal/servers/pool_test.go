package servers

import (
	"context"
	"testing"
	"time"

	"github.com/respool/respool/wspool"
)

// newPool returns a pool that is closed at the end of the test at the latest.
func newPool(t testing.TB, cfg wspool.Config) *wspool.Pool {
	t.Helper()
	pool, err := wspool.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closePool(t, pool) })
	return pool
}

// closePool closes the pool and checks that nothing is left. It may be called again.
func closePool(t testing.TB, pool *wspool.Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := pool.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	reconciled(t, pool.Stats())
}

// reconciled checks that a closed pool has nothing left.
func reconciled(t testing.TB, s wspool.Stats) {
	t.Helper()
	if s.Made != s.Destroyed || s.Acquired != s.Released || s.Idle+s.Leased+s.Making+s.Destroying+s.Waiting != 0 {
		t.Errorf("after Close: %v", s)
	}
}

func warm(t testing.TB, pool *wspool.Pool, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := pool.Warm(ctx, n); err != nil {
		t.Fatal(err)
	}
}

// succeed calls f, which must not fail.
func succeed(t testing.TB, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := f(ctx); err != nil {
		t.Fatal(err)
	}
}

// acquire returns a lease, which is discarded at the end of the test at the latest.
func acquire(t testing.TB, pool *wspool.Pool) *wspool.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Discard(nil) })
	return c
}

// useAll sends one message to an echo server on each of n connections.
func useAll(t testing.TB, pool *wspool.Pool, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []*wspool.Conn
	for id := range int64(n) {
		c := acquire(t, pool)
		all = append(all, c)
		if err := askEcho(ctx, c, id); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range all {
		c.Release()
	}
}

// served calls f with a connection of the pool.
func served(t testing.TB, pool *wspool.Pool, f func(context.Context, *wspool.Conn) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := pool.Do(ctx, f); err != nil {
		t.Error(err)
	}
}

// until polls ok.
func until(t testing.TB, otherwise string, ok func() bool) {
	t.Helper()
	for by := time.Now().Add(2 * patience); !ok(); {
		if time.Now().After(by) {
			t.Fatal(otherwise)
		}
		time.Sleep(time.Millisecond) // polling interval
	}
}
