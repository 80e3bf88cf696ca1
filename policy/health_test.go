package policy_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

var errDead = errors.New("dead")

// patient is a Health whose results a test sets, and that counts its calls.
type patient struct {
	checks int
	ill    error
	due    bool
	f      func(ctx context.Context, n int) error // used instead of ill
}

func (p *patient) Check(ctx context.Context, n int, _ resource.Info) error {
	p.checks++
	if p.f != nil {
		return p.f(ctx, n)
	}
	return p.ill
}

// scheduled is a patient with a schedule.
type scheduled struct{ patient }

func (s *scheduled) Due(resource.Info) bool { return s.due }

// isDue calls Due as the pool does.
func isDue(h resource.Health[int], i resource.Info) bool {
	s, ok := h.(resource.Scheduled)
	return !ok || s.Due(i)
}

func TestCheck(t *testing.T) {
	var got []int
	h := policy.Check(func(_ context.Context, v int) error {
		got = append(got, v)
		return errDead
	})
	if err := h.Check(context.Background(), 7, resource.Info{}); err != errDead || len(got) != 1 || got[0] != 7 {
		t.Errorf("%v, called with %v", err, got)
	}
	if !isDue(h, resource.Info{}) {
		t.Error("not due at once")
	}
}

func TestIfIdle(t *testing.T) {
	const d = time.Minute
	h := &scheduled{}
	f := policy.IfIdle[int](d, h)
	for _, c := range []struct {
		idle, checked time.Duration
		inner, want   bool
	}{
		{d, d, true, true},
		{d - 1, d, true, false},
		{d, d - 1, true, false},
		{time.Hour, time.Hour, false, false},
		{0, 0, true, false},
	} {
		h.due = c.inner
		if got := isDue(f, resource.Info{Idle: c.idle, Checked: c.checked, Age: time.Hour}); got != c.want {
			t.Errorf("idle %v, checked %v, due within %v: due %v, want %v", c.idle, c.checked, c.inner, got, c.want)
		}
	}
	if !isDue(policy.IfIdle[int](d, &patient{}), resource.Info{Idle: d, Checked: d}) {
		t.Error("a Health that is always due is not")
	}
	h.ill = errDead
	if err := f.Check(context.Background(), 1, resource.Info{}); err != errDead || h.checks != 1 {
		t.Errorf("%v after %d checks", err, h.checks)
	}
}

// Every wrapper is due when the wrapped Health is.
func TestHealth_PassesDueOn(t *testing.T) {
	h := &scheduled{}
	for name, w := range map[string]resource.Health[int]{
		"CheckTimeout": policy.CheckTimeout[int](1, h),
		"Consecutive":  policy.Consecutive[int](2, h),
		"Cohort":       policy.Cohort[int](h),
		"all":          policy.Cohort(policy.Consecutive(2, policy.CheckTimeout[int](1, h))),
	} {
		for _, due := range []bool{true, false} {
			if h.due = due; isDue(w, resource.Info{ID: 1}) != due {
				t.Errorf("%s is not as due as the Health within: %v", name, due)
			}
		}
	}
}

// A check that exceeds the timeout fails, unless it passes; the end of the caller's context
// is not a failure of the check.
func TestCheckTimeout(t *testing.T) {
	hang := func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }
	for _, c := range []struct {
		name     string
		patience time.Duration // timeout of the caller
		f        func(ctx context.Context, n int) error
		want     error
		timeout  bool
		after    time.Duration
	}{
		{"hangs", time.Hour, hang, context.DeadlineExceeded, true, time.Second},
		{"hangs, and the caller leaves", time.Millisecond, hang, context.DeadlineExceeded, false, time.Millisecond},
		{"passes late", time.Hour, func(context.Context, int) error { time.Sleep(time.Minute); return nil }, nil, false, time.Minute},
		{"fails in time", time.Hour, func(context.Context, int) error { return errDead }, errDead, false, 0},
		{"passes", time.Hour, func(context.Context, int) error { return nil }, nil, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const short, long = time.Second, time.Hour / 2
				for _, h := range []resource.Health[int]{
					policy.CheckTimeout[int](short, &patient{f: c.f}),
					policy.CheckTimeout(long, policy.CheckTimeout[int](short, &patient{f: c.f})),
					policy.CheckTimeout(short, policy.CheckTimeout[int](long, &patient{f: c.f})),
				} {
					ctx, cancel := context.WithTimeout(context.Background(), c.patience)
					began := time.Now()
					err := h.Check(ctx, 1, resource.Info{})
					cancel()
					if !errors.Is(err, c.want) || errors.Is(err, policy.ErrCheckTimeout) != c.timeout || time.Since(began) != c.after {
						t.Errorf("%v after %v; want %v after %v, a time-out: %v", err, time.Since(began), c.want, c.after, c.timeout)
					}
					if want := "policy: health check timed out: context deadline exceeded"; c.timeout && err.Error() != want {
						t.Errorf("%q, want %q", err, want) // wrapped once
					}
				}
			})
		})
	}
}

func TestConsecutive(t *testing.T) {
	tolerated := errors.Join(errDead, resource.ErrTolerated)
	for _, c := range []struct {
		name      string
		n         int
		failures  int
		ill       error
		want      error
		tolerated bool
	}{
		{"passes", 3, 1, nil, nil, false},
		{"first", 3, 0, errDead, errDead, true},
		{"second", 3, 1, errDead, errDead, true},
		{"third", 3, 2, errDead, errDead, false},
		{"later", 3, 99, errDead, errDead, false},
		{"only one", 1, 0, errDead, errDead, false},
		{"tolerated within", 3, 9, tolerated, tolerated, true},
		{"very patient", math.MaxInt, 9, errDead, errDead, true},
		{"so many", 2, math.MaxInt, errDead, errDead, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := policy.Consecutive[int](c.n, &patient{ill: c.ill}).Check(context.Background(), 1, resource.Info{Failures: c.failures})
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || errors.Is(err, resource.ErrTolerated) != c.tolerated {
				t.Errorf("%v; want %v, tolerated: %v", err, c.want, c.tolerated)
			}
		})
	}
	err := policy.Consecutive[int](3, &patient{ill: errDead}).Check(context.Background(), 1, resource.Info{Failures: 1})
	if want := "resource: failed check tolerated: dead"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

func TestHealth_Misuse(t *testing.T) {
	var none func(context.Context, int) error
	for _, c := range []struct {
		name string
		f    func()
		says []string
	}{
		{"Check", func() { policy.Check(none) }, []string{"policy: Check: ", "function is nil"}},
		{"IfIdle", func() { policy.IfIdle[int](0, nil) }, []string{"policy: IfIdle: ", "idle time must be positive, got 0s", "Health is nil"}},
		{"CheckTimeout", func() { policy.CheckTimeout[int](-1, nil) }, []string{"policy: CheckTimeout: ", "timeout must be positive, got -1ns", "Health is nil"}},
		{"Consecutive", func() { policy.Consecutive[int](0, nil) }, []string{"policy: Consecutive: ", "failures must be at least 1, got 0", "Health is nil"}},
		{"Cohort", func() { policy.Cohort[int](nil) }, []string{"policy: Cohort: ", "Health is nil"}},
	} {
		t.Run(c.name, func(t *testing.T) { wantPanicSaying(t, c.f, c.says...) })
	}
}

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

// Resources made with the dead one, or before, must pass a check.
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
	check(2, nil) // before the death: does not count
	check(4, errDead)
	wantDue(t, c, 9, 1, 2, 3, 4)
	check(2, nil)
	check(9, nil) // not a suspect
	wantDue(t, c, 9, 1, 3, 4)
	check(3, nil)
	check(3, nil)
	check(1, errDead) // a suspect
	wantDue(t, c, 9, 1, 4)
	check(2, errDead) // it had passed
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

// Suspect counts like a death; the largest ID counts.
func TestCohort_Suspect(t *testing.T) {
	c := policy.Cohort[int](&scheduled{})
	c.Suspect(3)
	wantDue(t, c, 9, 1, 2, 3)
	c.Suspect(1)
	wantDue(t, c, 9, 1, 2, 3)
	c.Suspect(5)
	wantDue(t, c, 9, 1, 2, 3, 4, 5)
}

// Other failures do not create suspects.
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

// A check that was running when the death was found does not count.
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

// A set of suspects up to the largest ID has bounded memory: from time to time existing
// resources are checked once more.
func TestCohort_Forgets(t *testing.T) {
	c := policy.Cohort[int](&scheduled{})
	c.Suspect(1 << 63)
	again := 0
	for id := uint64(1); id < 200_000; id++ {
		for _, id := range []uint64{id, 7} { // 7 stays
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

// Concurrent use: in the end the last death counts.
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

// The health checks in a pool.

// ward is a Health for a pool: a test sets which resources are ill, and it records which
// were checked.
type ward struct {
	mu      sync.Mutex
	dead    map[int]bool
	checked []int
}

func (w *ward) check(_ context.Context, n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checked = append(w.checked, n)
	if w.dead[n] {
		return errDead
	}
	return nil
}

// kill makes exactly these ill.
func (w *ward) kill(ns ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = map[int]bool{}
	for _, n := range ns {
		w.dead[n] = true
	}
}

// wantChecked checks which resources were checked since the last call, in any order.
func (w *ward) wantChecked(t *testing.T, ns ...int) {
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.checked)
	if fmt.Sprint(w.checked) != fmt.Sprint(ns) {
		t.Errorf("checked %v, want %v", w.checked, ns)
	}
	w.checked = nil
}

func caring(max int, h resource.Health[int]) resource.Config[int] {
	return resource.Config[int]{MaxSize: max, Health: h, SweepInterval: time.Hour}
}

// Only resources that have been idle and not checked meanwhile are checked.
func TestIfIdle_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &ward{}
		cfg := caring(1, policy.IfIdle(time.Minute, policy.Check(w.check)))
		cfg.SweepInterval = 70 * time.Second
		l := lend(t, cfg)
		l.get().Release()
		l.get().Release()
		time.Sleep(59 * time.Second)
		l.get().Release()
		w.wantChecked(t)
		time.Sleep(61 * time.Second)
		l.get().Release()
		w.wantChecked(t, 1)
		time.Sleep(100 * time.Second) // includes a sweep at 210 s
		w.wantChecked(t, 1)
		l.get().Release() // idle for 100 s, checked 10 s ago
		w.wantChecked(t)
		w.kill(1)
		time.Sleep(61 * time.Second)
		lease := l.get()
		if lease.Value() != 2 {
			t.Errorf("lent %d, which is dead", lease.Value())
		}
		lease.Release()
		l.wantGone(errDead, 1)
	})
}

// Consecutive failures end a resource; a check that passes resets the count.
func TestConsecutive_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &ward{}
		l := lend(t, caring(1, policy.Consecutive(3, policy.Check(w.check))))
		l.get().Release()
		try := func(dead bool, want int) {
			t.Helper()
			w.kill()
			if dead {
				w.kill(1)
			}
			lease := l.get()
			if lease.Value() != want {
				t.Errorf("lent %d, want %d", lease.Value(), want)
			}
			lease.Release()
		}
		try(true, 1)
		try(true, 1)
		try(false, 1)
		try(true, 1)
		try(true, 1)
		l.wantGone(nil)
		try(true, 2)
		l.wantGone(errDead, 1)
	})
}

// A check that hangs costs a caller the timeout of the check, not its whole deadline.
func TestCheckTimeout_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		l := lend(t, caring(2, policy.CheckTimeout(time.Second, policy.Check(func(ctx context.Context, n int) error {
			if n > 1 || !hangs.Load() {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}))))
		l.get().Release()
		hangs.Store(true)
		began := time.Now()
		lease := l.get()
		if lease.Value() != 2 || time.Since(began) != time.Second {
			t.Errorf("lent %d after %v, want 2 after 1s", lease.Value(), time.Since(began))
		}
		lease.Release()
		l.wantGone(policy.ErrCheckTimeout, 1)
	})
}

// After a death no older resource is lent unchecked, without waiting for its idle time.
func TestCohort_Pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &ward{}
		l := lend(t, caring(6, policy.Cohort(policy.IfIdle(time.Minute, policy.Check(w.check)))))
		l.warm(6)
		var leases [7]resource.Lease[int]
		for range 6 {
			lease := l.get()
			leases[lease.Value()] = lease
		}
		leases[4].Release()
		leases[5].Release()
		time.Sleep(time.Minute)
		w.wantChecked(t)
		leases[2].Release() // just released
		leases[3].Release()
		leases[6].Release()
		l.get().Release() // 6
		w.wantChecked(t)
		leases[6] = l.get()
		leases[3], leases[2] = l.get(), l.get()
		w.wantChecked(t)
		w.kill(2, 5) // the server was restarted
		lease := l.get()
		if lease.Value() != 4 {
			t.Errorf("lent %d, want 4", lease.Value())
		}
		w.wantChecked(t, 4, 5)
		l.wantGone(errDead, 5)
		for _, n := range []int{1, 2, 3, 6} { // just used, but suspects; 6 is not
			leases[n].Release()
			again := l.get()
			if n == 2 {
				w.wantChecked(t, 2)
				l.wantGone(errDead, 2, 5)
			} else if again.Value() != n {
				t.Errorf("lent %d, want %d", again.Value(), n)
			} else if n == 6 {
				w.wantChecked(t)
			} else {
				w.wantChecked(t, n)
			}
			defer again.Release()
		}
		lease.Release()
		l.get().Release()
		w.wantChecked(t) // 4 has passed; the death of 2 changes nothing
	})
}

// A Trace passes deaths reported by invalidate to the Cohort.
func TestCohort_Invalidated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &ward{}
		c := policy.Cohort(policy.IfIdle(time.Minute, policy.Check(w.check)))
		cfg := caring(3, c)
		invalidates := map[int]func(error){}
		var mu sync.Mutex
		cfg.Watch = func(n int, invalidate func(error)) {
			mu.Lock()
			defer mu.Unlock()
			invalidates[n] = invalidate
		}
		cfg.Trace = &resource.Trace{Destroyed: func(e resource.DestroyEvent) { c.Suspect(e.Info.ID) }}
		l := lend(t, cfg)
		l.warm(3)
		mu.Lock()
		invalidates[2](errDead)
		mu.Unlock()
		l.wantGone(errDead, 2)
		a, b := l.get(), l.get()
		w.wantChecked(t, 1) // 3 was made later
		a.Release()
		b.Release()
	})
}
