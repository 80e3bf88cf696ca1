package wspool

import (
	"context"
	"errors"
	"time"

	"github.com/respool/respool/resource"
)

// lender is a pool of connections.
type lender interface {
	AcquireWith(ctx context.Context, r resource.Request) (resource.Lease[*link], error)
	TryAcquire() (resource.Lease[*link], bool)
}

// freshTries is how many connections that no caller has used may die while a caller is
// lent them, before the caller gets the error: the first, and others that were dialled
// after its death.
const freshTries = 3

// borrow is AcquireWith.
func borrow(ctx context.Context, from lender, r resource.Request) (*Conn, error) {
	died := int64(0) // when the first unused connection died
	p := patience{proof: r.NoWait}
	var until time.Time
	if r.MaxWait > 0 {
		until = time.Now().Add(r.MaxWait)
	}
	for tries := 1; ; {
		if r.MaxWait > 0 {
			r.MaxWait = max(1, time.Until(until)) // it bounds all tries together
		}
		pooled, err := from.AcquireWith(ctx, r)
		if err != nil {
			return nil, err
		}
		l := pooled.Value()
		c, err := lend(ctx, pooled, &p)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			continue // the next AcquireWith returns the proper error
		}
		if l.cause() == nil {
			continue // it is vetted in the background
		}
		// It died while it was lent. When the server has gone others that existed then
		// may do so too, but each only once. If one does that was dialled afterwards,
		// the caller has to know.
		switch {
		case l.leases > 0:
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
		pooled, ok := from.TryAcquire()
		if !ok {
			return nil, false
		}
		l := pooled.Value()
		c, err := lend(context.Background(), pooled, &p)
		if err == nil {
			return c, true
		}
		if p.spent(l.hub.clock) {
			return nil, false
		}
	}
}

// lend makes a lease of the pool a Conn. If it fails it has ended the lease. A connection
// that is not certain to be fit within what p has left is vetted in the background, and
// returns to the pool if it passes.
func lend(ctx context.Context, pooled resource.Lease[*link], p *patience) (*Conn, error) {
	l := pooled.Value()
	c := newConn(l)
	c.pooled = pooled
	if !l.attach(c.lease) {
		err := l.vet(ctx, p)
		if err == nil {
			err = l.attachVetted(c.lease)
		}
		switch cause := l.cause(); {
		case err == nil:
		case cause != nil: // also if it has died since vet returned
			pooled.Discard(cause)
			return nil, cause
		default:
			pooled.ReleaseAfter(func(ctx context.Context, l *link) error { return l.vetFully(ctx) })
			return nil, err
		}
	}
	l.leases++
	c.reclaimable()
	return c, nil
}

// errNotReturned is why Do destroys a connection whose function panicked.
var errNotReturned = errors.New("wspool: the function that had the connection did not return")

// do is Do.
func do(ctx context.Context, from lender, r resource.Request, f func(context.Context, *Conn) error) error {
	_, err := doOnce(ctx, from, r, f)
	return err
}

// doOnce is do. It also reports whether f failed because the connection ended before f
// had written anything.
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

// doIdempotent is DoIdempotent.
func doIdempotent(ctx context.Context, from lender, f func(context.Context, *Conn) error) error {
	unsent, err := doOnce(ctx, from, resource.Request{}, f)
	if !unsent && !errors.Is(err, ErrStale) {
		return err
	}
	return do(ctx, from, resource.Request{Fresh: true}, f)
}
