package policy_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// For WithinDeadline MaxWait is a deadline like that of a context: a caller that would wait
// longer is refused at once. The earlier of the two counts.
func TestWithinDeadlineMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := resource.New(resource.Config[int]{
			Make:      func(context.Context) (int, error) { return 0, nil },
			MaxSize:   1,
			Admission: policy.WithinDeadline(1),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(context.Background())
		ask := func(ctx context.Context, wait time.Duration) (time.Duration, error) {
			began := time.Now()
			l, err := p.AcquireWith(ctx, resource.Request{MaxWait: wait})
			l.Release()
			return time.Since(began), err
		}
		// Leases of a second, one after the other, with a caller that waits.
		for range 10 {
			l, err := p.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			waits := make(chan struct{})
			go func() {
				defer close(waits)
				if l, err := p.Acquire(t.Context()); err == nil {
					time.Sleep(time.Second)
					l.Release()
				}
			}()
			time.Sleep(time.Second)
			l.Release()
			<-waits
		}
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		far, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for name, ctx := range map[string]context.Context{"MaxWait alone": t.Context(), "a later deadline": far} {
			took, err := ask(ctx, 100*time.Millisecond)
			if took != 0 || !errors.Is(err, policy.ErrTooLate) || errors.Is(err, resource.ErrMaxWait) {
				t.Errorf("%s: after %v: %v, want ErrTooLate at once", name, took, err)
			}
		}
		near, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if took, err := ask(near, time.Hour); took != 0 || !errors.Is(err, policy.ErrTooLate) {
			t.Errorf("an earlier deadline: after %v: %v, want ErrTooLate at once", took, err)
		}
		if took, err := ask(t.Context(), time.Minute); took != time.Minute || !errors.Is(err, resource.ErrMaxWait) {
			t.Errorf("enough time: after %v: %v, want to wait for a minute", took, err)
		}
	})
}
