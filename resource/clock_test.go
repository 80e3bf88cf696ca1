package resource_test

import (
	"context"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// While a pool is in use its clock ticks ten times a second and not more often, and
// the times in the Info of a hit are wrong by at most one tick.
func TestClock_TenTicksASecond(t *testing.T) {
	const grain = 100 * time.Millisecond
	var seen []resource.Info
	edit := func(h *harness) {
		h.cfg.SweepInterval = time.Hour
		h.cfg.Eviction = evictFunc(func(i resource.Info) error {
			seen = append(seen, i)
			return nil
		})
	}
	script(t, 1, edit, func(h *harness) {
		h.lend().Release()
		born, ages := time.Now(), map[time.Duration]bool{}
		for range 1000 {
			seen = nil
			l := h.lend()
			if i := seen[0]; (i.Age-time.Since(born)).Abs() > grain || (i.Idle-time.Millisecond).Abs() > grain {
				t.Fatalf("after %v: %+v", time.Since(born), i)
			}
			ages[seen[0].Age] = true
			l.Release()
			time.Sleep(time.Millisecond)
		}
		if len(ages) > 11 {
			t.Errorf("%d ticks in a second", len(ages))
		}
	})
}

// A pool that is used once in a while has the right times too: its clock stops in
// between, and starts again with the next caller.
func TestClock_StopsAndStarts(t *testing.T) {
	var seen []resource.Info
	edit := func(h *harness) {
		h.cfg.SweepInterval = time.Hour
		h.cfg.Eviction = evictFunc(func(i resource.Info) error {
			seen = append(seen, i)
			return nil
		})
	}
	script(t, 1, edit, func(h *harness) {
		h.lend().Release()
		for _, idle := range []time.Duration{90 * time.Millisecond, 150 * time.Millisecond, 350 * time.Millisecond, time.Minute} {
			time.Sleep(idle)
			seen = nil
			h.lend().Release()
			if got := seen[0].Idle; !near(got, idle) {
				t.Errorf("after %v it was idle for %v", idle, got)
			}
		}
	})
}

// Where the process has stood still while the pool was in use, what was idle before
// is checked before its next lease, though the timer of the tick has not run yet.
func TestTick_ProcessStoodStill(t *testing.T) {
	for name, order := range map[string]resource.Order{"newest": resource.NewestFirst, "oldest": resource.OldestFirst} {
		t.Run(name, func(t *testing.T) {
			var checked []*item
			edit := func(h *harness) {
				h.cfg.Order = order
				h.cfg.Health = scheduled[*item]{
					due:   func(i resource.Info) bool { return i.Idle >= 10*time.Second },
					check: func(_ context.Context, it *item, _ resource.Info) error { checked = append(checked, it); return nil },
				}
			}
			script(t, 3, edit, func(h *harness) {
				its := h.stock(3)
				time.Sleep(time.Second)
				hot := h.lend()
				it := hot.Value()
				hot.Release() // the tick runs
				h.p.StandStill(30 * time.Second)
				if len(checked) != 0 {
					t.Errorf("%d checks before", len(checked))
				}
				for range its {
					l := lendOne(t, h.p)
					if cold := l.Value() != it; cold && (len(checked) == 0 || checked[len(checked)-1] != l.Value()) {
						t.Errorf("item %d was lent unchecked, %v idle", l.Value().n, l.Info().Idle)
					} else if cold && l.Info().Idle < 30*time.Second {
						t.Errorf("item %d was idle for %v", l.Value().n, l.Info().Idle)
					}
					defer l.Release()
				}
			})
		})
	}
}
