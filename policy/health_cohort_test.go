package policy_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// wantDue checks which of the resources 1 to n are due.
func wantDue(t *testing.T, h *policy.CohortHealth[int], n int, want ...uint64) {
	t.Helper()
	due := map[uint64]bool{}
	for _, id := range want {
		due[id] = true
	}
	for id := uint64(1); id <= uint64(n); id++ {
		if got := h.Due(resource.Info{ID: id}); got != due[id] {
			t.Errorf("%d is due: %v, want %v", id, got, due[id])
		}
	}
}

// Who was made with the dead one, or before, must pass a check.
func TestCohort(t *testing.T) {
	h := &scheduled{}
	c := policy.Cohort[int](h)
	check := func(id uint64, ill error) {
		t.Helper()
		h.ill = ill
		if err := c.Check(context.Background(), 0, resource.Info{ID: id}); err != ill {
			t.Errorf("Check says %v, want %v", err, ill)
		}
	}
	wantDue(t, c, 9)
	check(2, nil) // before the death: proves nothing
	check(4, errDead)
	wantDue(t, c, 9, 1, 2, 3, 4)
	check(2, nil)
	check(9, nil) // never suspected
	wantDue(t, c, 9, 1, 3, 4)
	check(3, nil)
	check(3, nil)
	check(1, errDead) // as was to be expected
	wantDue(t, c, 9, 1, 4)
	check(2, errDead) // but it had passed
	wantDue(t, c, 9, 1, 2, 3, 4)
	for id := range uint64(4) {
		check(id+1, nil)
	}
	wantDue(t, c, 9)
	check(6, errDead)
	wantDue(t, c, 9, 1, 2, 3, 4, 5, 6)
	h.due = true
	wantDue(t, c, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9)
}

// Deaths that others saw count as well, the largest ID most.
func TestCohort_Suspect(t *testing.T) {
	c := policy.Cohort[int](&scheduled{})
	c.Suspect(3)
	wantDue(t, c, 9, 1, 2, 3)
	c.Suspect(1)
	wantDue(t, c, 9, 1, 2, 3)
	c.Suspect(5)
	wantDue(t, c, 9, 1, 2, 3, 4, 5)
}

// What is no death makes nobody suspect.
func TestCohort_NoDeath(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for name, f := range map[string]func() error{
		"tolerated": func() error {
			c := policy.Cohort(policy.Consecutive[int](2, &scheduled{patient{ill: errDead}}))
			err := c.Check(context.Background(), 0, resource.Info{ID: 9})
			wantDue(t, c, 9)
			return err
		},
		"the caller left": func() error {
			c := policy.Cohort[int](&scheduled{patient{ill: errDead}})
			err := c.Check(ended, 0, resource.Info{ID: 9})
			wantDue(t, c, 9)
			return err
		},
	} {
		if f() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A check that was under way when the death was found proves nothing.
func TestCohort_PassedTooEarly(t *testing.T) {
	h := &scheduled{}
	c := policy.Cohort[int](h)
	c.Suspect(2)
	h.f = func(context.Context, int) error { c.Suspect(2); return nil }
	if err := c.Check(context.Background(), 0, resource.Info{ID: 1}); err != nil {
		t.Fatal(err)
	}
	wantDue(t, c, 3, 1, 2)
	h.f = nil
	if err := c.Check(context.Background(), 0, resource.Info{ID: 1}); err != nil {
		t.Fatal(err)
	}
	wantDue(t, c, 3, 2)
}

// A suspicion of all that will ever be made does not remember all of it: from
// time to time those that are still there are checked once more.
func TestCohort_Forgets(t *testing.T) {
	c := policy.Cohort[int](&scheduled{})
	c.Suspect(1 << 63)
	again := 0
	for id := uint64(1); id < 200_000; id++ {
		for _, id := range []uint64{id, 7} { // one that stays
			if i := (resource.Info{ID: id}); c.Due(i) {
				if id == 7 {
					again++
				}
				if err := c.Check(context.Background(), 0, i); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if again < 2 || again > 5 {
		t.Errorf("the one that stays was checked %d times, want about 4", again)
	}
}

// Many at once: in the end the last death counts.
func TestCohort_Concurrent(t *testing.T) {
	c := policy.Cohort(policy.IfIdle(time.Hour, policy.Check(func(context.Context, int) error { return nil })))
	var wg sync.WaitGroup
	for id := range uint64(8) {
		wg.Go(func() {
			for range 200 {
				c.Suspect(id)
				c.Due(resource.Info{ID: id})
				_ = c.Check(context.Background(), 0, resource.Info{ID: id})
			}
		})
	}
	wg.Wait()
	c.Suspect(3)
	wantDue(t, c, 9, 1, 2, 3, 4, 5, 6, 7)
}
