package compose_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/respool/respool/internal/proof/testkit"
	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

const (
	enough     = 100_000 // admissions over all nestings
	goroutines = 8
	rounds     = 150 // per goroutine and nesting
)

// books are the leaves of one nesting, with checks for the time when all permits have been
// returned.
type books struct {
	r      *rand.Rand
	checks []func() error
}

// wild is an Admission with random behavior, panics and Goexit included. A panic loses only
// its own permit.
type wild struct {
	n     atomic.Int64
	out   atomic.Int64
	twice atomic.Int64
}

func (w *wild) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	switch n := w.n.Add(1); {
	case n%29 == 7:
		return nil, errProbe
	case n%31 == 9:
		panic(errProbe)
	case n%37 == 11:
		runtime.Goexit()
	case n%41 == 13 && !r.NoWait:
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case n%43 == 17:
		return nil, nil
	}
	w.out.Add(1)
	var ended atomic.Bool
	n := w.n.Load()
	return func(resource.Outcome) {
		if ended.Swap(true) {
			w.twice.Add(1)
		}
		w.out.Add(-1)
		if n%47 == 19 {
			panic(errProbe)
		}
	}, nil
}

func (w *wild) check() error {
	if out, twice := w.out.Load(), w.twice.Load(); out != 0 || twice != 0 {
		return fmt.Errorf("%d permits are held, %d were returned twice", out, twice)
	}
	return nil
}

// leaf returns a random counting admission and adds its check.
func (b *books) leaf() (p resource.Admission, name string) {
	n := 1 + b.r.IntN(5)
	switch kind := b.r.IntN(8); kind {
	case 0:
		return b.gauged(policy.Limit(n), fmt.Sprintf("Limit(%d)", n))
	case 1:
		return b.gauged(policy.Shares(n+3, map[string]int{"a": 1, "b": 2}), fmt.Sprintf("Shares(%d)", n+3))
	case 2:
		return b.gauged(policy.Reserve(1, 1, policy.Limit(n+1)), fmt.Sprintf("Reserve(Limit(%d))", n+1))
	case 3:
		s := semaphore.NewWeighted(int64(n))
		b.checks = append(b.checks, func() error {
			if !s.TryAcquire(int64(n)) {
				return fmt.Errorf("permits of Semaphore(%d) are held", n)
			}
			return nil
		})
		return policy.Semaphore(s), fmt.Sprintf("Semaphore(%d)", n)
	case 4:
		return b.flying(policy.WithinDeadline(n), fmt.Sprintf("WithinDeadline(%d)", n))
	case 5:
		g, err := policy.NewMakeGate(policy.MakeGateConfig{Concurrent: n, InitialBackoff: 50 * time.Microsecond, MaxBackoff: time.Millisecond})
		if err != nil {
			panic(err)
		}
		return b.flying(g, fmt.Sprintf("MakeGate(%d)", n))
	case 6:
		return policy.NewGate(), "Gate"
	}
	w := &wild{}
	b.checks = append(b.checks, w.check)
	return w, "wild"
}

func (b *books) gauged(p policy.Gauged, name string) (resource.Admission, string) {
	return b.flying(p, name)
}

// flying adds a check that nothing is in flight.
func (b *books) flying(p interface {
	resource.Admission
	InFlight() int
}, name string) (resource.Admission, string) {
	b.checks = append(b.checks, func() error {
		if n := p.InFlight(); n != 0 {
			return fmt.Errorf("%d units of %s are in flight", n, name)
		}
		return nil
	})
	return p, name
}

// nesting combines leaves at random.
func (b *books) nesting(depth int) (p resource.Admission, name string) {
	if depth == 0 || b.r.IntN(4) == 0 {
		return b.leaf()
	}
	n := 1 + b.r.IntN(3)
	var ps []resource.Admission
	for i := range n {
		kid, kidName := b.nesting(depth - 1)
		if ps = append(ps, kid); i > 0 {
			name += ", "
		}
		name += kidName
	}
	switch b.r.IntN(4) {
	case 0:
		return policy.Any(ps...), "Any(" + name + ")"
	case 1:
		return policy.ByPriority(func(priority int) resource.Admission {
			return ps[max(0, priority)%len(ps)]
		}), "ByPriority(" + name + ")"
	case 2:
		return policy.Named("mine", policy.All(ps...)), "Named(All(" + name + "))"
	}
	return policy.All(ps...), "All(" + name + ")"
}

// Under refusals, cancellations, panics and Goexits, no permit is lost and none is returned
// twice (I4).
func TestBalance(t *testing.T) {
	r := rand.New(rand.NewPCG(testkit.Seed(t), 0))
	var admitted, refused, canceled, broke atomic.Int64
	nestings := 0
	for ; admitted.Load() < enough && nestings < 10_000; nestings++ {
		b := &books{r: r}
		p, name := b.nesting(3)
		var bad error
		synctest.Test(t, func(t *testing.T) {
			var wg sync.WaitGroup
			for range goroutines {
				c := &asker{r: rand.New(rand.NewPCG(r.Uint64(), 1)), admitted: &admitted, refused: &refused, canceled: &canceled, broke: &broke}
				wg.Go(func() {
					for range rounds {
						c.once(p)
					}
				})
			}
			wg.Wait()
			for _, check := range b.checks {
				if err := check(); err != nil {
					bad = err
				}
			}
		})
		if bad != nil {
			t.Fatalf("nesting %d, %s: after all permits were returned: %v", nestings, name, bad)
		}
	}
	t.Logf("%d nestings: %d admitted, %d refused, %d cancelled, %d panics and exits",
		nestings, admitted.Load(), refused.Load(), canceled.Load(), broke.Load())
	if admitted.Load() < enough || refused.Load() < 1000 || canceled.Load() < 100 || broke.Load() < 1000 {
		t.Error("not every kind of result occurred often enough")
	}
}

// asker calls Admit and Done.
type asker struct {
	r                                  *rand.Rand
	admitted, refused, canceled, broke *atomic.Int64
}

// once makes one request on a new goroutine, which may panic or exit.
func (c *asker) once(p resource.Admission) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.r.IntN(300))*time.Microsecond)
	defer cancel()
	req := resource.Request{
		Priority: c.r.IntN(4) - 1,
		Cost:     c.r.IntN(3),
		Class:    classes[c.r.IntN(len(classes))],
		NoWait:   c.r.IntN(4) == 0,
	}
	hold := time.Duration(c.r.IntN(100)) * time.Microsecond
	o := []resource.Outcome{{}, {Verdict: resource.OK}, {Verdict: resource.Failed, Err: errProbe}}[c.r.IntN(3)]
	var done resource.Done
	var err error
	if !returns(func() { done, err = p.Admit(ctx, req) }) {
		c.broke.Add(1)
		return
	}
	switch {
	case err == nil:
		c.admitted.Add(1)
		time.Sleep(hold)
		if done != nil && !returns(func() { done(o) }) {
			c.broke.Add(1)
		}
	case ctx.Err() != nil:
		c.canceled.Add(1)
	default:
		c.refused.Add(1)
	}
}

// returns reports whether f returned, without a panic or Goexit.
func returns(f func()) (ok bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() { _ = recover() }()
		f()
		ok = true
	}()
	<-ended
	return ok
}
