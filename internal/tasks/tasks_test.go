package tasks_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/internal/tasks"
)

var errLate = errors.New("late")

func TestGroup_Wait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g tasks.Group
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.Wait(ended); err != nil {
			t.Errorf("of a group without goroutines: %v", err)
		}
		began := time.Now()
		g.Go(func() { time.Sleep(time.Second) })
		g.Go(func() {
			defer time.Sleep(2 * time.Second)
			runtime.Goexit()
		})
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errLate)
		defer cancel()
		if err := g.Wait(ctx); err != errLate || time.Since(began) != time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		waits := make(chan error)
		for range 2 {
			go func() { waits <- g.Wait(t.Context()) }()
		}
		for range 2 {
			if err := <-waits; err != nil || time.Since(began) != 2*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		}
		g.Go(func() {}) // it can be used again
		if err := g.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
