package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// The ring has the last 200, the newest first; what comes within a second after
// one of its like is counted with that.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(t, metrics.Config{})
		trace := m.Trace(nil)
		ctx := context.Background()
		start := time.Now()
		for i := range 300 {
			trace.Made(ctx, resource.MakeEvent{ID: uint64(i + 1), Took: time.Second})
			trace.Made(ctx, resource.MakeEvent{ID: 1000})
			trace.Made(ctx, resource.MakeEvent{Err: errors.New("no\nroute " + strings.Repeat("x", 500))})
			time.Sleep(2 * time.Second)
		}
		events := m.Snapshot(0).Events
		if len(events) != 200 {
			t.Fatalf("there are %d", len(events))
		}
		for i := 0; i < 200; i += 2 {
			failed, made := events[i], events[i+1]
			at := start.Add(time.Duration(299-i/2) * 2 * time.Second)
			if failed.Kind != "failed" || made.Kind != "made" || made.More != 1 || failed.More != 0 ||
				!made.Time.Equal(at) || !failed.Time.Equal(at) ||
				made.Text != fmt.Sprintf("resource %d, in 1s", 300-i/2) ||
				!strings.Contains(failed.Text, "no route x") || len(failed.Text) > 200 {
				t.Fatalf("events %d and %d are %+v, %+v", i, i+1, failed, made)
			}
		}
	})
}

// A second after it a new one begins, and refusals by one policy do not hide
// those by another.
func TestEvents_Bursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(t, metrics.Config{})
		trace := m.Trace(nil)
		for range 100 {
			trace.Rejected(context.Background(), &resource.Rejection{Policy: "rate"})
			time.Sleep(15 * time.Millisecond)
		}
		trace.Rejected(context.Background(), &resource.Rejection{Policy: "share"})
		trace.Refused(context.Background(), &resource.Rejection{Policy: "rate"})
		trace.Panicked(errors.New("boom"))
		trace.Checked(resource.CheckEvent{Err: errors.New("silent")})
		trace.Checked(resource.CheckEvent{})
		trace.Failed(context.Background(), &resource.AcquireError{Waited: time.Minute, Err: context.Canceled, Reason: resource.ReasonCanceled})
		trace.Failed(context.Background(), &resource.AcquireError{Waited: 157 * time.Microsecond, Err: resource.ErrOutage, Reason: resource.ReasonOutage})
		trace.Failed(context.Background(), &resource.AcquireError{Err: resource.ErrNoneIdle, Reason: resource.ReasonNoneIdle})
		trace.Outage(errors.New("down"))
		trace.Outage(nil)
		var said []string
		for _, e := range m.Snapshot(0).Events {
			said = append(said, fmt.Sprintf("%s: %s +%d", e.Kind, e.Text, e.More))
		}
		want := []string{
			"recovered: makes succeed again +0",
			"outage: makes keep failing: down +0",
			"not served: a caller got nothing in 157µs: resource: creation is failing +0",
			"gave up: a caller got nothing in 1m0s: context canceled +0",
			"check: resource 0 failed in 0s: silent +0",
			"panic: boom +0",
			"refused: a make by rate: rejected by rate +0",
			"refused: a caller by share: rejected by share +0",
			"refused: a caller by rate: rejected by rate +32",
			"refused: a caller by rate: rejected by rate +66",
		}
		if got := strings.Join(said, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("they are\n%s\nnot\n%s", got, strings.Join(want, "\n"))
		}
	})
}

func TestEvents_Concurrent(t *testing.T) {
	m := newMeter(t, metrics.Config{})
	trace := m.Trace(nil)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				trace.Destroyed(resource.DestroyEvent{Info: resource.Info{ID: uint64(i)}, Cause: named(fmt.Sprint(g, i%9))})
				if i%100 == 0 {
					m.Snapshot(0)
				}
			}
		})
	}
	wg.Wait()
	s := m.Snapshot(0)
	var sum int64
	for _, n := range s.Destroyed {
		sum += n
	}
	if sum != 4000 || s.Close.Count != 4000 || len(s.Events) == 0 || len(s.Events) > 200 {
		t.Errorf("%d destroyed, %d timed, %d events", sum, s.Close.Count, len(s.Events))
	}
}
