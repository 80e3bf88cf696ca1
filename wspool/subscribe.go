package wspool

import (
	"context"
	"fmt"
	"time"

	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/resource"
)

// Gap describes the time before a call of the function in [Pool.Subscribe], in which nothing
// was received.
type Gap struct {
	// Call is the number of this call, starting at 1.
	Call int
	// Since is when the last call ended that had read a message or lasted for 5 s
	// (provenAfter): messages may have been missed since. Zero: there was no such call.
	Since time.Time
	// Cause is the error of the previous call; nil at the first.
	Cause error
	// Failures is how many acquires have failed since the previous call.
	Failures int
	// LastFailure is the error of the last of them; nil: none has failed.
	LastFailure error
}

// Permanent wraps an error that ends [Pool.Subscribe], because another call of the function
// would be of no use. It returns nil if err is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Subscribe keeps a connection leased for f, which sets it up (subscribes, joins, says where
// it left off) and then reads until the connection ends. When f returns an error, the
// connection is destroyed, and f is called again with another one; its Gap describes the time
// between. f may run for as long as it likes; meanwhile the connection counts towards
// MaxSize, and as a lease that could end: in an outage callers of the same pool do not fail
// at once but wait until their contexts end ([resource.FailFast]). Use a pool of its own for
// subscriptions if other callers must fail at once.
//
// Subscribe blocks until f returns nil, and then returns nil; until f returns an error of
// [Permanent], and then returns the error that it wraps; or until ctx ends, which f must heed
// too, or the pool is closed, and then the error matches the context's error or
// [resource.ErrClosed], and has the last failure in its chain. If f panics or calls
// runtime.Goexit, the connection is destroyed and the panic continues.
//
// It never spins. After an acquire that fails it calls [resource.AcquireError.Wait], so that
// a subscription adds no dials of its own to an outage. After a call of f that ends within
// 5 s (provenAfter) it pauses, from 100 ms doubling up to 5 s, less up to a third.
//
// The connection is destroyed at the end because what the server still sends on it belongs
// to no lease; if f has unsubscribed it may end the lease itself with [Conn.Release]. f must
// not keep the Conn. Exchange is usually [Unpaired].
func (p *Pool) Subscribe(ctx context.Context, f func(context.Context, *Conn, Gap) error) error {
	return subscribe(ctx, p.pool, f)
}

// Subscribe is [Pool.Subscribe] for key.
func (m *Manager[K]) Subscribe(ctx context.Context, key K, f func(context.Context, *Conn, Gap) error) error {
	return subscribe(ctx, of[K]{m.keyed, key}, f)
}

// subscribe is Subscribe.
func subscribe(ctx context.Context, from lender, f func(context.Context, *Conn, Gap) error) error {
	gap := Gap{}
	short := 0 // calls in a row that ended within provenAfter, and connections that died before a call
	for {
		c, err := borrow(ctx, from, resource.Request{})
		var refused *resource.AcquireError
		switch {
		case err == nil:
			gap.Call++
			began := time.Now()
			err = subscribed(ctx, c, gap, f)
			var permanent *permanentError
			if err == nil {
				return nil
			} else if foreign.As(err, &permanent) {
				return permanent.err
			}
			lasted := time.Since(began) >= provenAfter
			if lasted || c.received() {
				gap.Since = time.Now()
			}
			gap.Cause, gap.Failures, gap.LastFailure = err, 0, nil
			if short++; lasted {
				short = 0
			}
		case foreign.As(err, &refused):
			if ctx.Err() != nil || foreign.Is(err, resource.ErrClosed) {
				return gap.after(err)
			}
			gap.Failures, gap.LastFailure = gap.Failures+1, err
			if refused.Wait(ctx) != nil {
				return endOfSubscription(ctx, err)
			}
			continue
		default: // it died while it was lent, or the Manager's Config failed
			gap.Failures, gap.LastFailure = gap.Failures+1, err
			short++
		}
		if !pauseCalls(ctx, short) {
			return endOfSubscription(ctx, err)
		}
	}
}

// subscribed calls f and ends the lease.
func subscribed(ctx context.Context, c *Conn, gap Gap, f func(context.Context, *Conn, Gap) error) error {
	defer c.Discard(errNotReturned) // does nothing after the other Discard
	err := f(ctx, c, gap)
	c.Discard(err)
	return err
}

// pauseCalls pauses after so many short calls in a row. It returns false if ctx has ended.
func pauseCalls(ctx context.Context, short int) bool {
	if short == 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(spread(grown(firstLost, steep, short, maxAsked)))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// endOfSubscription returns the error of a subscription that ends with ctx, after err.
func endOfSubscription(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); !foreign.Is(err, cause) {
		return fmt.Errorf("wspool: subscription ended: %w; last failure: %w", cause, err)
	}
	return err
}

// after returns err, which ends the subscription, with the last failure in its chain.
func (g *Gap) after(err error) error {
	last := g.LastFailure
	if last == nil {
		last = g.Cause
	}
	if last == nil {
		return err
	}
	return fmt.Errorf("wspool: subscription ended: %w; last failure: %w", err, last)
}
