package resource_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// Wait returns at once when the pool is closed, whatever RetryAfter a policy gave.
func TestWait_Close(t *testing.T) {
	refuse := admitFunc(func(context.Context, resource.Request) (resource.Done, error) {
		return nil, &resource.Rejection{Policy: "test", RetryAfter: time.Hour}
	})
	for name, change := range map[string]func(*resource.Config[int]){
		"make_gate": func(cfg *resource.Config[int]) { cfg.MakeGate = refuse },
		"quota":     func(cfg *resource.Config[int]) { cfg.Quota = refuse },
		"admission": func(cfg *resource.Config[int]) { cfg.Admission = refuse },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFailing(t, change)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := f.Acquire(ctx)
				var refused *resource.AcquireError
				if !errors.As(err, &refused) || refused.Reason.String() != name || refused.RetryAfter != time.Hour {
					t.Fatalf("%+v", err)
				}
				began := time.Now()
				waits := make(chan error, 2)
				for range 2 {
					go func() { waits <- refused.Wait(t.Context()) }()
				}
				time.Sleep(time.Second) // the Waits are under way
				if err := f.Close(t.Context()); err != nil {
					t.Error(err)
				}
				for range 2 {
					if err := <-waits; err != nil {
						t.Errorf("Wait: %v", err)
					}
				}
				if took := time.Since(began); took != time.Second {
					t.Errorf("Wait returned after %v, and the pool was closed after 1s", took)
				}
				if err := refused.Wait(t.Context()); err != nil || time.Since(began) != time.Second {
					t.Errorf("Wait after Close: %v, after %v", err, time.Since(began))
				}
				if _, err := f.Acquire(t.Context()); !errors.Is(err, resource.ErrClosed) {
					t.Errorf("Acquire: %v", err)
				}
			})
		})
	}
}
