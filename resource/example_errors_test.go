package resource_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// statusOf returns the HTTP status with which a service answers if Do has failed with err,
// and after how long the client may ask again, if that is known.
func statusOf(err error) (code int, retryAfter time.Duration) {
	var acquire *resource.AcquireError
	switch {
	case err == nil:
		return http.StatusOK, 0
	case !errors.As(err, &acquire):
		return http.StatusInternalServerError, 0 // the work has failed, not the acquire
	case errors.Is(err, resource.ErrOutage), errors.Is(err, resource.ErrMakeRefused):
		return http.StatusBadGateway, acquire.RetryAfter // acquire.LastMake has the cause
	case errors.Is(err, resource.ErrRejected):
		return http.StatusTooManyRequests, acquire.RetryAfter // a policy refused the caller
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable, 0 // no resource in time: acquire.Load says what they do
	case errors.Is(err, context.Canceled), errors.Is(err, resource.ErrClosed):
		return http.StatusServiceUnavailable, 0 // the client has left, or the program ends
	}
	return http.StatusBadGateway, 0 // what Make returned
}

// What Do can fail with.
func ExampleAcquireError() {
	var down atomic.Bool
	down.Store(true)
	makes := dialer()
	pool, err := resource.New(resource.Config[*Session]{
		Make: func(ctx context.Context) (*Session, error) {
			if down.Load() {
				return nil, errors.New("connection refused")
			}
			return makes(ctx)
		},
		MaxSize:   1,
		Admission: quota{slots: map[string]chan struct{}{"batch": make(chan struct{})}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	do := func(r resource.Request) error {
		err := pool.DoWith(ctx, r, func(_ context.Context, s *Session) error {
			if r.Class == "broken" {
				return errors.New("the answer makes no sense")
			}
			return nil
		})
		code, _ := statusOf(err)
		fmt.Println(code, err)
		return err
	}

	do(resource.Request{})
	do(resource.Request{})
	do(resource.Request{})
	err = do(resource.Request{})
	down.Store(false)
	var outage *resource.AcquireError
	if errors.As(err, &outage) {
		outage.Wait(ctx) // until it is worth asking again
	}
	do(resource.Request{})
	do(resource.Request{Class: "broken"})
	do(resource.Request{Class: "batch"})
	lease, err := pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	do(resource.Request{MaxWait: 10 * time.Millisecond})
	lease.Release()
	pool.Close(ctx)
	do(resource.Request{})
	// Output:
	// 502 resource: acquire: connection refused
	// 502 resource: acquire: connection refused
	// 502 resource: acquire: connection refused
	// 502 resource: acquire: resource: creation is failing: connection refused
	// 200 <nil>
	// 500 the answer makes no sense
	// 429 resource: acquire: rejected by quota
	// 503 resource: acquire: resource: no resource within MaxWait
	// 503 resource: acquire: resource: pool is closed
}

// A lease that does not end keeps Close waiting until its context ends. The error says what
// has not ended; the closing continues, and another Close waits for the rest.
func ExamplePool_Close() {
	pool, err := resource.New(resource.Config[*Session]{
		Make:    dialer(),
		Destroy: func(s *Session, cause error) { s.Close() },
		MaxSize: 8,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	lease, err := pool.Acquire(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond) // less than the process has left
	defer cancel()
	err = pool.Close(ctx)
	var late *resource.CloseError
	if errors.As(err, &late) {
		fmt.Println("resources that were not released:", late.Leased)
	}

	lease.Release()
	fmt.Println(pool.Close(context.Background()))
	// Output:
	// resources that were not released: [1]
	// closed 1
	// <nil>
}
