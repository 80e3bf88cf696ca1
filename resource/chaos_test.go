package resource_test

import (
	"context"
	"errors"
	"fmt"
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

// roll is a random number below n; n-1 once the faults have stopped.
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
	cfg.Health = checkOf[*token](func(context.Context, *token, resource.Info) error { return c.err() })
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

// Everything misbehaves at random, in every combination, under load. When it stops
// the pool is whole: every slot is available, every caller is served, and the
// counts balance.
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

// faultyPolicies is every policy at once. Each of its functions now and then panics, ends
// its goroutine or calls the pool.
type faultyPolicies struct {
	gate *countingGate
	pool atomic.Pointer[resource.Pool[*token]]
}

var errFaulty = errors.New("faulty")

func (f *faultyPolicies) fault() {
	switch rand.IntN(300) {
	case 0:
		panic(errFaulty)
	case 1:
		runtime.Goexit()
	case 2, 3:
		if p := f.pool.Load(); p != nil {
			_ = p.Stats()
		}
	case 4:
		if p := f.pool.Load(); p != nil {
			_ = p.Resize(1 + rand.IntN(8))
		}
	case 5:
		if p := f.pool.Load(); p != nil && rand.IntN(40) == 0 {
			p.Reset(errFaulty)
		}
	case 6:
		runtime.Gosched()
	}
}

func (f *faultyPolicies) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	f.fault()
	if rand.IntN(50) == 0 {
		return nil, errFaulty
	}
	done, err := f.gate.Admit(ctx, r)
	if done == nil {
		return nil, err
	}
	return func(o resource.Outcome) {
		done(o)
		f.fault()
	}, err
}

func (f *faultyPolicies) Evict(i resource.Info) error {
	f.fault()
	if i.Age < 0 || i.Idle < 0 || i.Idle > i.Age+time.Second || i.Leases < 0 || i.ID == 0 || i.Checked > i.Age+time.Second || i.Checked < 0 {
		f.gate.t.Errorf("Evict got %+v", i)
	}
	if i.Age > 10*time.Millisecond || rand.IntN(500) == 0 {
		return errOld
	}
	return nil
}

func (f *faultyPolicies) Due(i resource.Info) bool { f.fault(); return rand.IntN(10) == 0 }

func (f *faultyPolicies) Check(ctx context.Context, v *token, i resource.Info) error {
	if v.holders.Add(1) != 1 {
		f.gate.t.Error("I2: checked while another has it")
	}
	defer v.holders.Add(-1)
	f.fault()
	switch rand.IntN(10) {
	case 0:
		return errFaulty
	case 1:
		return resource.ErrTolerated
	}
	return nil
}

// I1 to I9 together, while everything that may go wrong does.
func TestI9_FaultyPolicies(t *testing.T) {
	for _, order := range []resource.Order{resource.NewestFirst, resource.OldestFirst} {
		f := &faultyPolicies{gate: newCountingGate(t)}
		p := newPlain(t, 8, func(cfg *resource.Config[*token]) {
			cfg.Admission, cfg.Eviction, cfg.Health = f, f, f
			cfg.MinIdle = 2
			cfg.SweepInterval = resource.MinSweepInterval
			cfg.Order = order
			cfg.Broken = func(error) bool { f.fault(); return rand.IntN(2) == 0 }
		})
		f.pool.Store(p.Pool)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		const enough = 2000 // a hijack is the rarest, with one lease in about 120
		began := time.Now()
		var served atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for ctx.Err() == nil && (served.Load() < enough || time.Since(began) < 400*time.Millisecond) {
					once := make(chan struct{})
					go func() { // a policy may end it
						defer close(once)
						defer func() { _ = recover() }()
						actx, stop := context.WithTimeout(ctx, time.Duration(rand.IntN(3000))*time.Microsecond+time.Microsecond)
						defer stop()
						r := resource.Request{}
						if rand.IntN(20) == 0 {
							r.MinRemaining = time.Millisecond
						}
						l, err := p.AcquireWith(actx, r)
						if err != nil {
							return
						}
						served.Add(1)
						p.hold(l.Value())
						if rand.IntN(100) == 0 {
							time.Sleep(time.Millisecond) // the time of the work
						}
						p.drop(l.Value())
						end := []func(){l.Release, l.Release, func() { l.Fail(errSick) }, func() { l.Discard(nil) }, l.Release,
							func() { p.hijack(l) }}
						copies := 1 + rand.IntN(2)
						var ends sync.WaitGroup
						for range copies {
							k := max(0, rand.IntN(20*len(end))-19*len(end))
							ends.Go(func() {
								defer func() { _ = recover() }()
								end[k]()
							})
						}
						ends.Wait()
						l.Release()
					}()
					<-once
				}
			})
		}
		wg.Wait()
		f.gate.check()
		if served.Load() < enough {
			t.Errorf("only %d leases", served.Load())
		}
		if err := unbalanced(p.Stats()); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.Evicted == 0 || s.Unhealthy == 0 || s.Hijacked == 0 || s.Panics == 0 {
			t.Errorf("not everything happened: %v", s)
		}
	}
}

// randomHealth is a Health and an OnRelease of which each call does something else:
// passes, fails, is tolerated, takes long, or hangs past its context for a while.
type randomHealth struct {
	mu  sync.Mutex
	rnd *rand.Rand
	in  map[*item]bool // a function has it, or a holder
	bad []string
}

func (f *randomHealth) roll(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rnd.IntN(n)
}

// enter notes that one user has the item to itself; leave ends that.
func (f *randomHealth) enter(it *item, by string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.in[it] {
		f.bad = append(f.bad, by+" met another user of the same resource")
	}
	f.in[it] = true
}

func (f *randomHealth) leave(it *item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.in, it)
}

func (f *randomHealth) Due(i resource.Info) bool { return i.Leases > 0 && f.roll(3) > 0 }

func (f *randomHealth) Check(ctx context.Context, it *item, _ resource.Info) error {
	return f.act(ctx, it, "Check")
}

func (f *randomHealth) act(ctx context.Context, it *item, by string) error {
	f.enter(it, by)
	defer f.leave(it)
	wait := func(d time.Duration, done <-chan struct{}) error {
		select {
		case <-time.After(d):
			return nil
		case <-done:
			return ctx.Err()
		}
	}
	switch n := f.roll(40); {
	case n < 20:
		return nil
	case n < 24:
		return errSick
	case n < 26:
		return fmt.Errorf("%w: %w", resource.ErrTolerated, errSick)
	case n < 30:
		return wait(time.Duration(f.roll(300))*time.Millisecond, ctx.Done())
	case n < 33:
		if err := wait(time.Duration(f.roll(5000))*time.Millisecond, ctx.Done()); err != nil {
			return err
		}
		return errSick
	case n < 35:
		return wait(time.Hour, ctx.Done())
	case n < 36:
		_ = wait(time.Duration(f.roll(60))*time.Second, nil) // deaf
		return nil
	case n < 37:
		panic(errFault)
	default:
		return wait(time.Millisecond, ctx.Done())
	}
}

// Whatever checks and OnRelease do, nothing is lost, nothing is lent twice, and
// every waiter is served or fails.
func TestHealth_Chaos(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { healthChaos(t, seed) })
		})
	}
}

func healthChaos(t *testing.T, seed uint64) {
	f := &randomHealth{rnd: rand.New(rand.NewPCG(seed, 1)), in: map[*item]bool{}}
	max := 1 + f.roll(20)
	h := start(t, max, func(h *harness) {
		h.cfg.Health, h.cfg.SweepInterval = f, 3*time.Second
		h.cfg.MakeTimeout = 4 * time.Second
		h.auto = func(m *makeCall) {
			if f.roll(20) == 0 {
				m.fail(errSick)
				return
			}
			m.finishAfter(time.Duration(f.roll(100)) * time.Millisecond)
		}
		if f.roll(2) == 0 {
			h.cfg.OnRelease = func(ctx context.Context, it *item) error { return f.act(ctx, it, "OnRelease") }
			h.cfg.ReleaseTimeout = time.Second
		}
		if f.roll(3) == 0 {
			h.cfg.Queue = &listQueue{}
		}
		if f.roll(3) == 0 {
			h.cfg.Eviction = olderThan(time.Minute)
		}
		h.cfg.Order = resource.Order(f.roll(2))
		h.cfg.Outage = resource.OutageMode(f.roll(2))
		h.cfg.MinIdle = f.roll(max + 1)
	})
	var wg sync.WaitGroup
	for range 3 + f.roll(2*max) {
		wg.Go(func() {
			for range 60 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+f.roll(5000))*time.Millisecond)
				began := time.Now()
				r := resource.Request{NoWait: f.roll(5) == 0}
				if h.cfg.Eviction != nil && f.roll(5) == 0 {
					r.MinRemaining = 20 * time.Second
				}
				r.Fresh = f.roll(20) == 0
				l, err := h.p.AcquireWith(ctx, r)
				deadline, _ := ctx.Deadline()
				late := time.Since(deadline)
				cancel()
				took := time.Since(began)
				if r.NoWait && took > 10*time.Millisecond || late > 61*time.Second {
					t.Errorf("acquire %+v took %v", r, took)
				}
				if err == nil {
					f.enter(l.Value(), "a holder")
					time.Sleep(time.Duration(f.roll(50)) * time.Millisecond)
					f.leave(l.Value())
					switch f.roll(10) {
					case 0:
						l.Discard(errSick)
					case 1:
						l.Value().invalidate(errSick)
						l.Release()
					default:
						l.Release()
					}
				} else if !errors.As(err, new(*resource.AcquireError)) {
					t.Errorf("acquire: %v", err)
				}
				time.Sleep(time.Duration(f.roll(500)) * time.Millisecond)
				if f.roll(200) == 0 {
					h.p.Reset(nil)
				}
			}
		})
	}
	wg.Wait()
	time.Sleep(3 * time.Minute)
	h.settle()
	s := h.p.Stats()
	if s.Leased != 0 || s.Waiting != 0 || s.Hanging > 16 {
		t.Errorf("at rest: %v", s)
	}
	f.mu.Lock()
	for _, b := range f.bad {
		t.Error(b)
	}
	f.mu.Unlock()
}
