package resource_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// I8: a caller whose context ends while the Admission looks at it gets nothing,
// though it was admitted and one is idle; and its permit goes back.
func TestI8_EndsWhileAdmitted(t *testing.T) {
	ledger := &ledger{}
	slow := false
	edit := func(h *harness) {
		h.cfg.Admission = admitFunc(func(ctx context.Context, r resource.Request) (resource.Done, error) {
			if slow {
				<-ctx.Done()
			}
			return ledger.Admit(ctx, r)
		})
	}
	script(t, 1, edit, func(h *harness) {
		h.lend().Release()
		slow = true
		c := h.acquireFor(time.Second)
		time.Sleep(2 * time.Second)
		c.wantErr(context.DeadlineExceeded)
		h.wantLoad(resource.Load{Idle: 1})
		if err := ledger.check(); err != nil || ledger.given() != 2 || ledger.last().Verdict != resource.Ignored {
			t.Errorf("%d permits, the last told %+v: %v", ledger.given(), ledger.last(), err)
		}
		if s := h.p.Stats(); s.Canceled != 1 {
			t.Errorf("%d canceled, want 1", s.Canceled)
		}
	})
}

// I8: nor does one whose context ends during a check that the resource passes.
// What the check found is not forgotten.
func TestI8_EndsDuringPassedCheck(t *testing.T) {
	var checks atomic.Int64
	var told resource.Info
	edit := func(h *harness) {
		h.cfg.Health = checkFunc(func(ctx context.Context, it *item, i resource.Info) error {
			if told = i; checks.Add(1) == 2 {
				<-ctx.Done()
			}
			return nil
		})
		h.cfg.SweepInterval = time.Hour
	}
	script(t, 1, edit, func(h *harness) {
		l := h.lend()
		it := l.Value()
		l.Release()
		time.Sleep(time.Minute)
		c := h.acquireFor(time.Second)
		time.Sleep(10 * time.Second)
		c.wantErr(context.DeadlineExceeded)
		h.wantLoad(resource.Load{Idle: 1})
		h.acquire().wantItem(it).Release()
		if told.Checked != 9*time.Second {
			t.Errorf("the next check was told that the last was %v ago, want 9 s", told.Checked)
		}
	})
}

// In the sweep a Health is told how many are idle, also without an Eviction, and
// those it has just ended are not among them.
func TestSweepTellsHealthOfIdlers(t *testing.T) {
	var told []int
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.Health = checkFunc(func(_ context.Context, it *item, i resource.Info) error {
			if i.Age < 5*time.Second {
				return nil // at the acquire
			}
			told = append(told, i.Idlers)
			if len(told) == 2 {
				return errSick
			}
			return nil
		})
	}
	script(t, 4, edit, func(h *harness) {
		if err := h.p.Warm(context.Background(), 4); err != nil {
			t.Fatal(err)
		}
		l := h.lend()
		time.Sleep(resource.DefaultSweepInterval + time.Second)
		h.settle()
		if len(told) != 3 || told[0] != 3 || told[1] != 3 || told[2] != 2 {
			t.Errorf("idle at the checks: %v, want 3 3 2", told)
		}
		l.Release()
	})
}
