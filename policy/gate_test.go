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
		g.Resume() // no effect
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

// The refusal wraps the latest cause, or only ErrPaused without one; a request that waits
// since the first Pause is admitted by the same Resume.
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
			t.Errorf("%v: still the first cause", err)
		}
		g.Resume()
		synctest.Wait()
		if !through {
			t.Error("a request that waited since the first Pause still waits")
		}
	})
}

// A request woken by Resume that has not returned from Admit when the gate is paused again
// waits again: after Pause has returned no request is admitted. With one processor no
// other goroutine runs between the two calls, unless this one is preempted.
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
			t.Error("a woken request was admitted by a gate that had been paused again, 20 times of 20")
		}
	})
}

// With many Pauses and Resumes no request is admitted while the gate is paused, and none
// stays blocked.
func TestGateFlapping(t *testing.T) {
	g := policy.NewGate()
	var stop atomic.Bool
	var state, passed, slipped atomic.Int64 // state is odd while the gate is certainly paused
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

// Pause and Resume are safe for concurrent use.
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
