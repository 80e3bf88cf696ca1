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

// Health checks a [resource.Health]. new makes the one to check, a new one at
// each call; good makes a value that is well, a new one at each call and from
// any goroutine. A good value whose check takes a while makes this a better
// test of cancellation.
//
//   - A good value passes, again and again, whatever its Info says, and from
//     many goroutines at once, each with a value of its own.
//   - Check returns soon after its context has ended, before the check or in
//     the midst of it.
//   - If it is [resource.Scheduled], Due does not block and does not panic, at
//     the edges of every number and from many goroutines at once.
//   - In a pool no good value is destroyed, and every caller is served.
//   - It leaves no goroutine behind.
func Health[T any](t testing.TB, new func() resource.Health[T], good func() T) {
	t.Helper()
	with := func(f func(c *checkup[T])) func(*kit) {
		return func(k *kit) {
			h := new()
			if h == nil {
				k.fatalf("new returned nil")
			}
			k.closes(h)
			f(&checkup[T]{k, h, good})
		}
	}
	run(t, "Health",
		check{"of good values", with((*checkup[T]).passesGood)},
		check{"when the context ends", with((*checkup[T]).endsInTime)},
		check{"by its Due", with((*checkup[T]).isDue)},
		check{"from many goroutines", with((*checkup[T]).standsCrowd)},
		check{"in a pool", with((*checkup[T]).keepsInPool)},
	)
}

// checkup is one Health that is checked.
type checkup[T any] struct {
	*kit
	h    resource.Health[T]
	good func() T
}

// check checks v and returns what is said of it.
func (c *checkup[T]) check(ctx context.Context, limit time.Duration, what string, v T, i resource.Info) (ill error) {
	c.Helper()
	c.must(limit, what, func() { ill = c.h.Check(ctx, v, i) })
	if ill != nil {
		c.wantGoodError(what, ill)
		c.stopIfBad()
	}
	return ill
}

func (c *checkup[T]) passesGood() {
	v := c.good()
	for n, i := range append(edgeInfos(), infos(c.rand, 20)...) {
		if n%4 == 0 {
			v = c.good()
		}
		what := fmt.Sprintf("Check of a good value with %+v", i)
		if ill := c.check(context.Background(), patience, what, v, i); ill != nil {
			c.fatalf("%s failed: %v", what, ill)
		}
	}
}

func (c *checkup[T]) endsInTime() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for range 8 {
		c.check(ended, prompt, "Check with a context that has ended", c.good(), resource.Info{ID: 1})
	}
	past, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Hour))
	defer cancel()
	c.check(past, prompt, "Check with a deadline that has passed", c.good(), resource.Info{ID: 1})
	for n := range 16 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(n)*moment/4)
		c.check(ctx, prompt+4*moment, "Check whose context ends in the midst of it", c.good(), resource.Info{ID: 1})
		cancel()
	}
}

func (c *checkup[T]) isDue() {
	s, ok := c.h.(resource.Scheduled)
	if !ok {
		return
	}
	all := append(edgeInfos(), infos(c.rand, 200)...)
	for _, i := range all {
		c.must(prompt, fmt.Sprintf("Due(%+v)", i), func() { s.Due(i) })
	}
	c.crowd(8, prompt, "Due from many goroutines", func(_ int, r *rand.Rand) {
		for _, j := range r.Perm(len(all)) {
			s.Due(all[j])
		}
	})
}

func (c *checkup[T]) standsCrowd() {
	s, scheduled := c.h.(resource.Scheduled)
	c.crowd(8, patience, "Check from many goroutines", func(_ int, r *rand.Rand) {
		v := c.good()
		for _, i := range infos(r, 24) {
			if scheduled {
				s.Due(i)
			}
			if ill := c.h.Check(context.Background(), v, i); ill != nil {
				c.errorf("Check of a good value with %+v failed while others were checked: %v", i, ill)
			}
		}
	})
}

func (c *checkup[T]) keepsInPool() {
	cfg := resource.Config[T]{
		Make:   func(context.Context) (T, error) { return c.good(), nil },
		Health: c.h,
		Destroy: func(_ T, cause error) {
			if !ours(cause) {
				c.errorf("a pool destroyed a good value: %v", cause)
			}
		},
	}
	inPool(c.kit, cfg, visit{requests: []resource.Request{{}, {Priority: 1}}, patient: true, served: true})
}

// ours reports whether a resource ended for a reason that has nothing to do with
// its health.
func ours(cause error) bool {
	return errors.Is(cause, errHeld) || errors.Is(cause, resource.ErrDiscarded) || errors.Is(cause, resource.ErrClosed)
}
