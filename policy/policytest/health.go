package policytest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// Health tests a [resource.Health]. new returns the one to test, a new one for each
// call; good returns a healthy value, a new one for each call, and is called by several
// goroutines. A good value whose check takes some time makes this a better test of
// cancellation.
//
//   - A good value passes repeatedly, whatever the Info contains, and from many
//     goroutines at once, each with its own value.
//   - Check returns soon after the end of its context, whether that ends before or
//     during the check.
//   - If it implements [resource.Scheduled], Due does not block or panic, with extreme
//     values of every number and from many goroutines at once.
//   - In a pool no good value is destroyed, and every caller is served.
//   - It leaves no goroutine behind.
func Health[T any](t testing.TB, new func() resource.Health[T], good func() T) {
	t.Helper()
	with := func(f func(c *healthTest[T])) func(*kit) {
		return func(k *kit) {
			h := new()
			if h == nil {
				k.fatalf("new returned nil")
			}
			k.closeAtEnd(h)
			f(&healthTest[T]{k, h, good})
		}
	}
	run(t, "Health",
		subtest{"good values", with((*healthTest[T]).passesGood)},
		subtest{"end of the context", with((*healthTest[T]).respectsContext)},
		subtest{"Due", with((*healthTest[T]).handlesDue)},
		subtest{"many goroutines", with((*healthTest[T]).handlesConcurrency)},
		subtest{"in a pool", with((*healthTest[T]).keepsGoodInPool)},
	)
}

// healthTest is one subtest of one Health.
type healthTest[T any] struct {
	*kit
	h    resource.Health[T]
	good func() T
}

// check calls Check and checks its result.
func (c *healthTest[T]) check(ctx context.Context, limit time.Duration, what string, v T, i resource.Info) (err error) {
	c.Helper()
	c.must(limit, what, func() { err = c.h.Check(ctx, v, i) })
	if err != nil {
		c.wantGoodError(what, err)
		c.stopIfBad()
	}
	return err
}

func (c *healthTest[T]) passesGood() {
	v := c.good()
	for n, i := range append(extremeInfos(), randomInfos(c.rand, 20)...) {
		if n%4 == 0 {
			v = c.good()
		}
		what := fmt.Sprintf("Check of a good value with %+v", i)
		if err := c.check(context.Background(), patiently, what, v, i); err != nil {
			c.fatalf("%s failed: %v", what, err)
		}
	}
}

func (c *healthTest[T]) respectsContext() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for range 8 {
		c.check(ended, promptly, "Check with a context that has ended", c.good(), resource.Info{ID: 1})
	}
	past, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Hour))
	defer cancel()
	c.check(past, promptly, "Check with a deadline that has passed", c.good(), resource.Info{ID: 1})
	for n := range 16 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(n)*tick/4)
		c.check(ctx, promptly+4*tick, "Check whose context ends during the check", c.good(), resource.Info{ID: 1})
		cancel()
	}
}

func (c *healthTest[T]) handlesDue() {
	s, ok := c.h.(resource.Scheduled)
	if !ok {
		return
	}
	all := append(extremeInfos(), randomInfos(c.rand, 200)...)
	for _, i := range all {
		c.must(promptly, fmt.Sprintf("Due(%+v)", i), func() { s.Due(i) })
	}
	c.concurrently(8, promptly, "Due from many goroutines", func(_ int, r *rand.Rand) {
		for _, j := range r.Perm(len(all)) {
			s.Due(all[j])
		}
	})
}

func (c *healthTest[T]) handlesConcurrency() {
	s, scheduled := c.h.(resource.Scheduled)
	c.concurrently(8, patiently, "Check from many goroutines", func(_ int, r *rand.Rand) {
		v := c.good()
		for _, i := range randomInfos(r, 24) {
			if scheduled {
				s.Due(i)
			}
			if err := c.h.Check(context.Background(), v, i); err != nil {
				c.errorf("Check of a good value with %+v failed during concurrent checks: %v", i, err)
			}
		}
	})
}

func (c *healthTest[T]) keepsGoodInPool() {
	cfg := resource.Config[T]{
		Make:   func(context.Context) (T, error) { return c.good(), nil },
		Health: c.h,
		Destroy: func(_ T, cause error) {
			if !isUnrelated(cause) {
				c.errorf("a pool destroyed a good value: %v", cause)
			}
		},
	}
	usePool(c.kit, cfg, workload{requests: []resource.Request{{}, {Priority: 1}}, patient: true, mustServed: true})
}

// isUnrelated reports whether a resource was destroyed for a reason unrelated to its
// health.
func isUnrelated(cause error) bool {
	return errors.Is(cause, errHeld) || errors.Is(cause, resource.ErrDiscarded) || errors.Is(cause, resource.ErrClosed)
}
