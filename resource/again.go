package resource

import (
	"context"
	"errors"
	"time"
)

// unknownRetry is how long [AcquireError.Wait] waits where nothing is known of
// when it is worth asking again.
const unknownRetry = 100 * time.Millisecond

// Wait blocks until it is worth asking the pool again, or ctx ends, and does not
// poll. In an outage ([ErrOutage]) that is when the next make has been tried: it
// has succeeded, failed or been refused; the pool tries it when it is due, whether
// callers come or not. After another failure it is when RetryAfter has passed
// since, and if that is 0, 100 ms after the call. It returns nil then: the next
// acquire may fail again, but a loop of an acquire and a Wait after each failure is
// no faster than the pool's own tries. It returns the context's error if ctx ends
// first, and at once [ErrClosed] if that is why the acquire failed. If the pool is
// closed meanwhile it returns nil, and the next acquire says so.
//
// Any number of goroutines may call it at once, for the same error too.
func (e *AcquireError) Wait(ctx context.Context) error {
	if e.Reason == ReasonClosed || e.Reason == 0 && errors.Is(e.Err, ErrClosed) {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return ctxError(ctx)
	}
	var due <-chan time.Time
	if e.tried == nil {
		wait := unknownRetry
		if e.RetryAfter > 0 {
			wait = e.RetryAfter
			if !e.retryAt.IsZero() {
				wait = time.Until(e.retryAt)
			}
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-e.tried:
	case <-due:
	case <-ctx.Done():
		return ctxError(ctx)
	}
	return nil
}
