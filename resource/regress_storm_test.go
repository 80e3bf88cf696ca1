package resource_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// fickle is every policy at once. Each of its functions now and then panics, ends
// its goroutine or calls the pool.
type fickle struct {
	gate *countingGate
	pool atomic.Pointer[resource.Pool[*token]]
}

var errFickle = errors.New("fickle")

func (f *fickle) mood() {
	switch rand.IntN(300) {
	case 0:
		panic(errFickle)
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
			p.Reset(errFickle)
		}
	case 6:
		runtime.Gosched()
	}
}

func (f *fickle) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	f.mood()
	if rand.IntN(50) == 0 {
		return nil, errFickle
	}
	done, err := f.gate.Admit(ctx, r)
	if done == nil {
		return nil, err
	}
	return func(o resource.Outcome) {
		done(o)
		f.mood()
	}, err
}

func (f *fickle) Evict(i resource.Info) error {
	f.mood()
	if i.Age < 0 || i.Idle < 0 || i.Idle > i.Age+time.Second || i.Leases < 0 || i.ID == 0 || i.Checked > i.Age+time.Second || i.Checked < 0 {
		f.gate.t.Errorf("Evict was told %+v", i)
	}
	if i.Age > 10*time.Millisecond || rand.IntN(500) == 0 {
		return errOld
	}
	return nil
}

func (f *fickle) Due(i resource.Info) bool { f.mood(); return rand.IntN(10) == 0 }

func (f *fickle) Check(ctx context.Context, v *token, i resource.Info) error {
	if v.holders.Add(1) != 1 {
		f.gate.t.Error("I2: checked while another has it")
	}
	defer v.holders.Add(-1)
	f.mood()
	switch rand.IntN(10) {
	case 0:
		return errFickle
	case 1:
		return resource.ErrTolerated
	}
	return nil
}

// I1 to I9 together, while everything that may go wrong does.
func TestI9_PoliciesInAStorm(t *testing.T) {
	for _, order := range []resource.Order{resource.NewestFirst, resource.OldestFirst} {
		f := &fickle{gate: newCountingGate(t)}
		p := newPlain(t, 8, func(cfg *resource.Config[*token]) {
			cfg.Admission, cfg.Eviction, cfg.Health = f, f, f
			cfg.MinIdle = 2
			cfg.SweepInterval = resource.MinSweepInterval
			cfg.Order = order
			cfg.Broken = func(error) bool { f.mood(); return rand.IntN(2) == 0 }
		})
		f.pool.Store(p.Pool)
		ctx, cancel := context.WithTimeout(context.Background(), 400*time.Millisecond)
		defer cancel()
		var served atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for ctx.Err() == nil {
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
							time.Sleep(time.Millisecond)
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
		if served.Load() < 100 {
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
