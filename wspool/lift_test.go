package wspool_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// ResetNow ends a pause of Redial and the delay of an outage: the callers that wait
// for them are served at once.
func TestResetNow_LiftsPauses(t *testing.T) {
	for name, redial := range map[string]func(error, int) time.Duration{
		"DefaultRedial": nil,
		"ten minutes":   func(error, int) time.Duration { return 10 * time.Minute },
		"no pause":      atOnce, // but an outage
	} {
		for _, managed := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T) { liftsPauses(t, redial, managed) })
			})
		}
	}
}

func liftsPauses(t *testing.T, redial func(error, int) time.Duration, managed bool) {
	var down atomic.Bool
	down.Store(true)
	peer := listenMem(t, 64<<10, echo)
	peer.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return down.Load()
	}
	peer.cfg.Redial = redial
	var acquire func(ctx context.Context) (*wspool.Conn, error)
	var resetNow, reset func(error)
	if managed {
		m, err := wspool.NewManager(wspool.ManagerConfig[string]{
			Config: func(string) (wspool.Config, error) { return peer.cfg, nil }, MaxTotal: 4,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close(t.Context())
		acquire = func(ctx context.Context) (*wspool.Conn, error) { return m.Acquire(ctx, "us") }
		reset, resetNow = m.Reset, m.ResetNow
	} else {
		p := pool(t, peer.cfg)
		acquire, reset, resetNow = p.Acquire, p.Reset, p.ResetNow
	}
	// A caller that comes back for 100 s brings the pauses to their length.
	end, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	refused := func(ctx context.Context) *resource.AcquireError {
		t.Helper()
		c, err := acquire(ctx)
		var failed *resource.AcquireError
		if !errors.As(err, &failed) {
			t.Fatalf("%v, %v", c, err)
		}
		return failed
	}
	for end.Err() == nil {
		_ = refused(end).Wait(end)
	}
	// A refusal reports a pause, and a caller waits for its end.
	var last *resource.AcquireError
	for {
		short, cancel := context.WithTimeout(t.Context(), ms)
		last = refused(short)
		cancel()
		if last.RetryAfter > 100*ms {
			break
		}
		_ = last.Wait(t.Context())
	}
	served := make(chan time.Duration, 1)
	began := time.Now()
	go func() {
		if err := last.Wait(t.Context()); err != nil {
			t.Errorf("Wait: %v", err)
		}
		c, err := acquire(t.Context())
		if err != nil {
			t.Errorf("after Wait: %v", err)
		} else {
			c.Release()
		}
		served <- time.Since(began)
	}()
	synctest.Wait()
	down.Store(false)
	reset(nil)
	synctest.Wait()
	if len(served) > 0 {
		t.Error("Reset has ended the pause")
	}
	resetNow(nil)
	at(t, "the caller that waited was served", <-served, 0)
	c, err := acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Release()
	at(t, "another caller was served", time.Since(began), 0)
}
