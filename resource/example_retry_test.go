package resource_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// maxAttempts bounds a retry loop: a caller of its own that waits is better than
// all of them coming back for ever.
const maxAttempts = 5

// doWithRetry is Do that retries when the error says that a retry may help, after
// its RetryAfter. It returns the last error if the caller's time is over before.
func doWithRetry(ctx context.Context, pool *resource.Pool[*Session], f func(context.Context, *Session) error) error {
	for attempt := 1; ; attempt++ {
		err := pool.Do(ctx, f)
		var refused *resource.AcquireError
		if !errors.As(err, &refused) || refused.RetryAfter == 0 || attempt == maxAttempts {
			return err // it went well, or f failed, or nothing says that it will go better
		}
		wait := refused.RetryAfter + rand.N(refused.RetryAfter/4+1) // not all at the same instant
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// busy is an Admission that refuses the first few.
type busy struct{ left atomic.Int64 }

func (b *busy) Admit(context.Context, resource.Request) (resource.Done, error) {
	if b.left.Add(-1) >= 0 {
		return nil, &resource.Rejection{Policy: "busy", RetryAfter: 10 * time.Millisecond}
	}
	return nil, nil
}

// A refusal that says when to ask again, as in an outage too, is an AcquireError
// with a RetryAfter.
func ExampleAcquireError_retry() {
	overload := &busy{}
	overload.left.Store(2)
	pool, err := resource.New(resource.Config[*Session]{Make: dialer(), MaxSize: 1, Admission: overload})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)

	err = doWithRetry(ctx, pool, func(_ context.Context, s *Session) error {
		fmt.Println(s.Ask("well"))
		return nil
	})
	fmt.Println(err, "after", pool.Stats().Rejected, "refusals")
	// Output:
	// well? yes, says 1
	// <nil> after 2 refusals
}
