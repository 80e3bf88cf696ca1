package policy_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := policy.NewGate()
		admit(t, g, resource.Request{NoWait: true})
		g.Resume() // nothing to do
		g.Pause(errBoom)
		if !g.Paused() {
			t.Error("not paused")
		}
		refused(t, g, resource.Request{NoWait: true}, "gate", policy.ErrPaused, 0)
		refused(t, g, resource.Request{NoWait: true}, "gate", errBoom, 0)

		var through atomic.Int64
		for range 3 {
			go func() {
				if _, err := g.Admit(t.Context(), resource.Request{}); err == nil {
					through.Add(1)
				}
			}()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		if _, err := g.Admit(ctx, resource.Request{}); err != context.DeadlineExceeded || time.Since(begun) != time.Second {
			t.Errorf("after %v: %v, want the end of the context after 1s", time.Since(begun), err)
		}
		if n := through.Load(); n != 0 {
			t.Errorf("%d passed a paused gate", n)
		}
		g.Resume()
		synctest.Wait()
		if n := through.Load(); n != 3 || g.Paused() {
			t.Errorf("%d of 3 passed after Resume; paused: %v", n, g.Paused())
		}
	})
}

// The last cause is told, without one only that it is paused; who waits since
// before the second Pause is let go by the same Resume.
func TestGatePausedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := policy.NewGate()
		g.Pause(errBoom)
		through := false
		go func() {
			_, err := g.Admit(t.Context(), resource.Request{})
			through = err == nil
		}()
		synctest.Wait()
		g.Pause(nil)
		_, err := g.Admit(t.Context(), resource.Request{NoWait: true})
		isRefusal(t, err, "gate", policy.ErrPaused, 0)
		if errors.Is(err, errBoom) || strings.Contains(err.Error(), "boom") {
			t.Errorf("%v: the first cause is told still", err)
		}
		g.Resume()
		synctest.Wait()
		if !through {
			t.Error("who waited since the first Pause waits still")
		}
	})
}

// Who was let go by a Resume but has not passed when it is paused again waits
// again: when Pause has returned nobody passes. On one processor nobody runs
// between the two, unless this goroutine is interrupted just there.
func TestGatePauseResumeRace(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		held := 0
		for range 20 {
			g := policy.NewGate()
			g.Pause(nil)
			passed := make(chan bool, 1)
			go func() {
				_, err := g.Admit(t.Context(), resource.Request{})
				passed <- err == nil
			}()
			synctest.Wait()
			g.Resume()
			g.Pause(nil)
			synctest.Wait()
			if len(passed) == 0 {
				held++
			}
			g.Resume()
			if !<-passed {
				t.Error("refused after Resume")
			}
		}
		if held == 0 {
			t.Error("who was let go slipped through a gate that was shut again, 20 times of 20")
		}
	})
}

// However often it is paused and resumed, nobody passes while it is paused, and
// nobody stays behind.
func TestGateFlapping(t *testing.T) {
	g := policy.NewGate()
	var stop atomic.Bool
	var state, passed, slipped atomic.Int64 // state is odd while it is paused for sure
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for more := true; more; more = !stop.Load() {
				before := state.Load()
				if _, err := g.Admit(context.Background(), resource.Request{}); err != nil {
					t.Error(err)
				}
				if before%2 == 1 && state.Load() == before {
					slipped.Add(1)
				}
				passed.Add(1)
			}
		})
	}
	for range 2000 {
		g.Pause(nil)
		state.Add(1)
		if _, err := g.Admit(context.Background(), resource.Request{NoWait: true}); err == nil {
			t.Error("admitted while paused")
		}
		state.Add(1)
		g.Resume()
	}
	stop.Store(true)
	wg.Wait()
	if slipped.Load() != 0 || passed.Load() < 4 {
		t.Errorf("%d of %d slipped through a paused gate", slipped.Load(), passed.Load())
	}
}

// Pause and Resume may be called by several at once.
func TestGateManyHands(t *testing.T) {
	g := policy.NewGate()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2000 {
				g.Pause(errBoom)
				g.Resume()
			}
		})
	}
	wg.Wait()
	if g.Paused() {
		t.Error("paused after the last Resume")
	}
	admit(t, g, resource.Request{})
}
