package suite

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// crowd runs n callers that all begin at once and returns when they began.
// The first error of one ends the context of the others.
func crowd(ctx context.Context, n int, caller func(ctx context.Context, i int) error) (time.Time, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var ready, done sync.WaitGroup
	gun := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-gun
			if err := caller(ctx, i); err != nil {
				cancel(err)
			}
		})
	}
	ready.Wait()
	start := time.Now()
	close(gun)
	done.Wait()
	return start, context.Cause(ctx)
}

// with opens a pool, has f measure it and closes it.
func with(k peer.Kind, max int, m maker, f func(p peer.Pool) (sample, error)) (sample, error) {
	p, err := k.Open(peer.Config{Max: max, Make: m})
	if err != nil {
		return nil, err
	}
	got, err := f(p)
	return got, errors.Join(err, closePool(p))
}

// spin keeps the CPU busy for d.
func spin(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

// closePool closes p within peer.CloseTime.
func closePool(p interface{ Close(context.Context) error }) error {
	ctx, cancel := context.WithTimeout(context.Background(), peer.CloseTime)
	defer cancel()
	return p.Close(ctx)
}

// A maker makes an item; it is the same function for every pool of a row.
type maker func(ctx context.Context) (*peer.Item, error)

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
