package metrics_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/resource"
)

// How many leases are overdue is told though none is listed: one whose
// beginning was sampled, and one that only the pool knows of.
func TestSnapshot_Overdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := metrics.New("overdue count", metrics.Config{Overdue: time.Second, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		src := &source{}
		src.set(func(i *resource.Inspection) { i.Max = 4 })
		if err := m.Watch(src); err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		want := func(n int) {
			t.Helper()
			synctest.Wait()
			if s := m.Snapshot(0); s.Overdue != n || len(s.Held) != 0 {
				t.Fatalf("%d overdue, %d listed; want %d and none", s.Overdue, len(s.Held), n)
			}
		}
		tr := m.Trace(nil)
		tr.Leased(context.Background(), resource.LeaseEvent{ID: 1, Lease: 1})
		want(0)
		time.Sleep(3 * time.Second)
		want(1)
		src.set(func(i *resource.Inspection) {
			i.Leased = 1
			i.Resources = []resource.ResourceInfo{{Info: resource.Info{ID: 2, Leases: 5}, State: resource.Leased, Held: 2 * time.Second}}
		})
		time.Sleep(3 * time.Second)
		want(2)
		tr.Ended(resource.EndEvent{ID: 1, Lease: 1, Held: 6 * time.Second, Sampled: 1})
		want(1)
		// The next lease of the same resource says that the last has ended.
		tr.Leased(context.Background(), resource.LeaseEvent{ID: 2, Lease: 6})
		want(0)
		src.set(func(i *resource.Inspection) { i.Resources[0].Leases, i.Resources[0].Held = 6, 2*time.Second })
		time.Sleep(3 * time.Second)
		want(1)
		m.Close()
		want(0)
	})
}
