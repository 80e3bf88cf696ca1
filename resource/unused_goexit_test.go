package resource_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// A Trace that ends its goroutine in AcquireAllIdle, and again at the end of each lease
// that no caller got, leaves none of these leases behind.
func TestAcquireAllIdle_GoexitTwice(t *testing.T) {
	p, err := resource.New(resource.Config[int]{
		Make:    func(context.Context) (int, error) { return 1, nil },
		MaxSize: 4,
		Trace: &resource.Trace{
			Leased: func(context.Context, resource.LeaseEvent) { runtime.Goexit() },
			Ended:  func(resource.EndEvent) { runtime.Goexit() },
		},
		SampleLeases: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Warm(ctx, 4); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.AcquireAllIdle()
	}()
	<-ended
	if n := p.Stats().Leased; n != 0 {
		t.Errorf("%d are still leased", n)
	}
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
}
