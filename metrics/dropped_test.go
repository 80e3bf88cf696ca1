package metrics_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// A lease that was dropped is reported with who took it, if that was sampled.
func TestDropped(t *testing.T) {
	for _, sampled := range []bool{true, false} {
		var told []metrics.Held
		var log bytes.Buffer
		m := newMeter(t, metrics.Config{
			OnDropped: func(h metrics.Held) { told = append(told, h); panic("its own trouble") },
			Logger:    slog.New(slog.NewTextHandler(&log, nil)),
		})
		trace := m.Trace(nil)
		if sampled {
			begin(trace, 3, 9)
		}
		dropped := fmt.Errorf("found: %w", resource.ErrDropped)
		trace.Ended(resource.EndEvent{ID: 3, Lease: 9, Held: time.Minute, Cause: dropped})
		trace.Ended(resource.EndEvent{ID: 4, Lease: 1, Held: time.Minute, Cause: resource.ErrReset})
		trace.Destroyed(resource.DestroyEvent{Info: resource.Info{ID: 3}, Cause: dropped})
		if len(told) != 1 || told[0].ID != 3 || told[0].Lease != 9 || told[0].For < time.Minute {
			t.Fatalf("told %+v", told)
		}
		by := len(told[0].Stack) > 0 && strings.HasSuffix(told[0].Stack[0].Func, "metrics_test.begin")
		if by != sampled || strings.Contains(log.String(), "metrics_test.begin") != sampled {
			t.Errorf("sampled %v: told %+v\n%s", sampled, told, &log)
		}
		if n := strings.Count(log.String(), "lease was dropped"); n != 1 {
			t.Errorf("%d lines of log\n%s", n, &log)
		}
		s := m.Snapshot(10)
		events := 0
		for _, e := range s.Events {
			if e.Kind == "dropped" && strings.Contains(e.Text, "metrics_test.begin") == sampled {
				events++
			}
		}
		if events != 1 || s.Destroyed["dropped"] != 1 || len(s.Held) != 0 {
			t.Errorf("sampled %v: %+v", sampled, s)
		}
	}
}

// One that was overdue has ended after all as well: else who counts those that
// are would count it for good.
func TestDropped_Overdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(t, time.Second)
		begin(w.trace, 3, 9)
		time.Sleep(2 * time.Second)
		w.want(t, 1, 0)
		w.trace.Ended(resource.EndEvent{ID: 3, Lease: 9, Held: time.Minute, Sampled: 1, Cause: resource.ErrDropped})
		w.want(t, 1, 1)
		if got := fmt.Sprint(w.kinds()); got != "[overdue dropped returned]" {
			t.Errorf("the events are %s", got)
		}
	})
}
