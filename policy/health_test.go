package policy_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

var errDead = errors.New("dead")

// patient is a Health that a test answers for, and that counts.
type patient struct {
	checks int
	ill    error
	due    bool
	f      func(ctx context.Context, n int) error // instead of ill
}

func (p *patient) Check(ctx context.Context, n int, _ resource.Info) error {
	p.checks++
	if p.f != nil {
		return p.f(ctx, n)
	}
	return p.ill
}

// scheduled is one that says when.
type scheduled struct{ patient }

func (s *scheduled) Due(resource.Info) bool { return s.due }

// isDue asks h as the pool does.
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

// Every wrapper is due when what it wraps is.
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

// A check that takes too long counts as failed, unless it passed all the same;
// the end of the caller's own time is not the check's fault.
func TestCheckTimeout(t *testing.T) {
	hang := func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }
	for _, c := range []struct {
		name     string
		patience time.Duration // the caller's
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
						t.Errorf("%q, want %q", err, want) // said once
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
