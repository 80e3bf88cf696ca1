package resource_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// chaos misbehaves at random in everything that a pool calls.
type chaos struct {
	mu   sync.Mutex
	rnd  *rand.Rand
	calm atomic.Bool
	n    atomic.Int64 // how often it did
}

// in panics, ends its goroutine or does nothing.
func (c *chaos) in() {
	switch c.roll(60) {
	case 0:
		panic("chaos")
	case 1:
		runtime.Goexit()
	}
}

// err is in, or an error at times.
func (c *chaos) err() error {
	c.in()
	if c.roll(20) == 0 {
		return errors.New("chaos")
	}
	return nil
}

// roll is a number below n; n-1 when there is calm.
func (c *chaos) roll(n int) int {
	if c.calm.Load() {
		return n - 1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rnd.IntN(n)
	if r < 2 {
		c.n.Add(1)
	}
	return r
}

// everywhere puts c into every function of cfg.
func (c *chaos) everywhere(cfg *resource.Config[*token]) (permits []*ledger) {
	for range 3 {
		permits = append(permits, &ledger{
			before: func(context.Context, resource.Request) error { return c.err() },
			after:  func(resource.Outcome) { c.in() },
		})
	}
	cfg.Admission, cfg.MakeGate, cfg.Quota = permits[0], permits[1], permits[2]
	cfg.Eviction = evictFunc(func(resource.Info) error { return c.err() })
	cfg.Health = tokenCheck(func() error { return c.err() })
	cfg.Queue = &listQueue{hook: func(string) { c.in() }}
	cfg.Broken = func(error) bool { c.in(); return c.roll(2) == 0 }
	cfg.Trace = traceAll(func(string) { c.in() })
	cfg.SweepInterval = 50 * time.Millisecond
	cfg.MinIdle = 1
	cfg.MakeTimeout = time.Second
	watch, destroy := cfg.Watch, cfg.Destroy
	cfg.Watch = func(tok *token, invalidate func(error)) { watch(tok, invalidate); c.in() }
	cfg.Destroy = func(tok *token, cause error) { destroy(tok, cause); c.in() }
	return permits
}

type tokenCheck func() error

func (f tokenCheck) Check(context.Context, *token, resource.Info) error { return f() }

// Everything misbehaves at random, in every combination, under load. When it
// stops the pool is whole: its places are all there, everyone is served, and
// the accounts are even.
func TestI9_Chaos(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range 10 {
		synctest.Test(t, func(t *testing.T) { chaosRound(t, rand.New(rand.NewPCG(seed, uint64(round)))) })
	}
}

func chaosRound(t *testing.T, rnd *rand.Rand) {
	const max = 3
	c := &chaos{rnd: rnd}
	var permits []*ledger
	p := newPlain(t, max, func(cfg *resource.Config[*token]) { permits = c.everywhere(cfg) })
	var wg sync.WaitGroup
	for g := range 10 {
		wg.Go(func() {
			for i := range 60 {
				mayEnd(func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+i%7)*time.Millisecond)
					defer cancel()
					l, err := p.AcquireWith(ctx, resource.Request{Priority: g})
					if err != nil {
						return
					}
					defer l.Release() // if the end below does not come back
					p.hold(l.Value())
					time.Sleep(time.Duration(i%3) * time.Millisecond)
					p.finish(l, (i*7+g)%12)
				})
			}
		})
	}
	wg.Wait()
	c.calm.Store(true)
	time.Sleep(2 * time.Minute) // whatever outage there was is over
	synctest.Wait()
	if c.n.Load() == 0 {
		t.Error("nothing misbehaved")
	}
	var ls []resource.Lease[*token]
	for range max {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		l, err := p.Acquire(ctx)
		cancel()
		if err != nil {
			t.Fatalf("after the chaos: %v", err)
		}
		ls = append(ls, l)
	}
	if s := p.Stats(); s.Leased != max || s.Waiting != 0 || s.Making != 0 || s.Destroying != 0 {
		t.Errorf("after the chaos: %+v", s.Load)
	}
	for _, l := range ls {
		l.Release()
	}
	synctest.Wait()
	for i, name := range []string{"Admission", "MakeGate"} {
		if err := permits[i].check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := permits[2].open(); n != max {
		t.Errorf("%d Quota permits open for %d resources", n, max)
	}
	p.end()
	for _, g := range permits {
		if err := g.check(); err != nil {
			t.Error(err)
		}
	}
}
