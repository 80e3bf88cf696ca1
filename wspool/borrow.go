package wspool

import (
	"context"
	"errors"
	"time"

	"github.com/respool/respool/resource"
)

// lender is a pool of links.
type lender interface {
	AcquireWith(ctx context.Context, r resource.Request) (resource.Lease[*link], error)
	TryAcquire() (resource.Lease[*link], bool)
}

// freshTries is how many connections that no caller has used before may die in
// the instant in which a caller is lent them: the first, and others that were
// dialled after its death.
const freshTries = 3

// borrow is AcquireWith.
func borrow(ctx context.Context, from lender, r resource.Request) (*Conn, error) {
	died := int64(0) // when the first that no caller had used did
	p := patience{proof: r.NoWait}
	var until time.Time
	if r.MaxWait > 0 {
		until = time.Now().Add(r.MaxWait)
	}
	for tries := 1; ; {
		if r.MaxWait > 0 {
			r.MaxWait = max(1, time.Until(until)) // it bounds all tries together
		}
		lease, err := from.AcquireWith(ctx, r)
		if err != nil {
			return nil, err
		}
		l := lease.Value()
		c, err := lend(ctx, lease, &p)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			continue // the pool says it best
		}
		if l.why() == nil {
			continue // it is vetted in the background
		}
		// It died in the instant it was lent. So may others that existed then,
		// when the server has gone, but each only once. That one does which was
		// dialled afterwards is news for the caller.
		switch {
		case l.lent > 0:
		case died == 0:
			died = l.hub.clock.Now()
		case l.dialed > died:
			if tries++; tries == freshTries {
				return nil, err
			}
		}
	}
}

// tryBorrow is TryAcquire.
func tryBorrow(from lender) (*Conn, bool) {
	p := patience{proof: true}
	for {
		lease, ok := from.TryAcquire()
		if !ok {
			return nil, false
		}
		l := lease.Value()
		c, err := lend(context.Background(), lease, &p)
		if err == nil {
			return c, true
		}
		if p.spent(l.hub.clock) {
			return nil, false
		}
	}
}

// errNotReturned is why Do destroys a connection whose function panicked.
var errNotReturned = errors.New("wspool: the function that had the connection did not return")

// do is Do.
func do(ctx context.Context, from lender, r resource.Request, f func(context.Context, *Conn) error) error {
	_, err := doOnce(ctx, from, r, f)
	return err
}

// doOnce is do, and reports whether f failed because the connection ended before
// it had written anything.
func doOnce(ctx context.Context, from lender, r resource.Request, f func(context.Context, *Conn) error) (unsent bool, err error) {
	c, err := borrow(ctx, from, r)
	if err != nil {
		return false, err
	}
	defer c.Discard(errNotReturned) // does nothing after Fail
	err = f(ctx, c)
	unsent = c.unsent(err)
	c.Fail(err)
	return unsent, err
}

// unsent reports whether err is why the connection of c ended, and c has written
// nothing, so that the peer cannot have done anything for it.
func (c *tenant) unsent(err error) bool {
	if err == nil {
		return false
	}
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.out == 0 && l.tenant == c && l.cause != nil && errors.Is(err, l.cause)
}

// doIdempotent is DoIdempotent.
func doIdempotent(ctx context.Context, from lender, f func(context.Context, *Conn) error) error {
	unsent, err := doOnce(ctx, from, resource.Request{}, f)
	if !unsent && !errors.Is(err, ErrStale) {
		return err
	}
	return do(ctx, from, resource.Request{Fresh: true}, f)
}
