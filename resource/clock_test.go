package resource_test

import (
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// While a pool is in use its clock ticks ten times a second and not more often,
// and what policies are told on a hit is wrong by at most one tick.
func TestClock_TenTicksASecond(t *testing.T) {
	const grain = 100 * time.Millisecond
	var told []resource.Info
	edit := func(h *harness) {
		h.cfg.SweepInterval = time.Hour
		h.cfg.Eviction = evictFunc(func(i resource.Info) error {
			told = append(told, i)
			return nil
		})
	}
	script(t, 1, edit, func(h *harness) {
		h.lend().Release()
		born, ages := time.Now(), map[time.Duration]bool{}
		for range 1000 {
			told = nil
			l := h.lend()
			if i := told[0]; (i.Age-time.Since(born)).Abs() > grain || (i.Idle-time.Millisecond).Abs() > grain {
				t.Fatalf("after %v: %+v", time.Since(born), i)
			}
			ages[told[0].Age] = true
			l.Release()
			time.Sleep(time.Millisecond)
		}
		if len(ages) > 11 {
			t.Errorf("%d ticks in a second", len(ages))
		}
	})
}

// A pool that is used once in a while is told the right times too: its clock
// stops between, and starts again with the next caller.
func TestClock_StopsAndStarts(t *testing.T) {
	var told []resource.Info
	edit := func(h *harness) {
		h.cfg.SweepInterval = time.Hour
		h.cfg.Eviction = evictFunc(func(i resource.Info) error {
			told = append(told, i)
			return nil
		})
	}
	script(t, 1, edit, func(h *harness) {
		h.lend().Release()
		for _, idle := range []time.Duration{90 * time.Millisecond, 150 * time.Millisecond, 350 * time.Millisecond, time.Minute} {
			time.Sleep(idle)
			told = nil
			h.lend().Release()
			if got := told[0].Idle; !near(got, idle) {
				t.Errorf("after %v it was idle for %v", idle, got)
			}
		}
	})
}
