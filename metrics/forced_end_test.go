package metrics_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// The report of an overdue lease that has ended says why its resource is destroyed: a
// forced end is not a return.
func TestOverdue_ForcedEnd(t *testing.T) {
	for _, sample := range []int{1, 1 << 20} {
		synctest.Test(t, func(t *testing.T) {
			var log safeBuffer
			returned := make(chan metrics.Held, 1)
			m := newMeter(t, metrics.Config{
				Overdue: time.Second, OnReturned: func(h metrics.Held) { returned <- h },
				Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			p, err := resource.New(resource.Config[int]{
				MaxSize: 10, Trace: m.Trace(nil), SampleLeases: sample,
				Make: func(context.Context) (int, error) { return 1, nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Watch(p); err != nil {
				t.Fatal(err)
			}
			for _, end := range []struct {
				f    func(l resource.Lease[int])
				want error
			}{
				{resource.Lease[int].Release, nil},
				{func(l resource.Lease[int]) { l.Discard(context.Canceled) }, context.Canceled},
				{func(l resource.Lease[int]) { p.Reclaim(l.Info().ID, uint64(l.Info().Leases)) }, resource.ErrReclaimed},
			} {
				l, err := p.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if l.Info().Leases == 1 { // the first lease of a resource is always sampled
					l.Release()
					if l, err = p.Acquire(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(3 * time.Second)
				before := len(log.String())
				end.f(l)
				h := <-returned
				if !errors.Is(h.Ended, end.want) || (h.Ended == nil) != (end.want == nil) {
					t.Errorf("it ended with %v, not %v", h.Ended, end.want)
				}
				event := m.Snapshot(0).Events
				text := log.String()[before:]
				for _, e := range event {
					if e.Kind == "returned" {
						text += e.Text
						break
					}
				}
				if want := end.want; want == nil && strings.Contains(text, "cause") ||
					want != nil && strings.Count(text, want.Error()) != 2 {
					t.Errorf("%v: %s", want, text)
				}
			}
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
