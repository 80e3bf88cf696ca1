package peer

import (
	"context"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// Respool is this project's pool.
var Respool = Kind{Name: "respool", Open: openRespool, Loops: LoopsOf(openRespool, respoolLoop)}

type respool struct{ *resource.Pool[*Item] }

func openRespool(c Config) (Pool, error) {
	cfg := resource.Config[*Item]{Make: c.Make, MaxSize: c.Max, SweepInterval: c.CheckEvery, MakeTimeout: c.MakeTimeout, MinIdle: c.MinIdle}
	if c.Destroy != nil {
		cfg.Destroy = func(it *Item, _ error) { c.Destroy(it) }
	}
	if c.Check != nil {
		check := policy.Check(func(_ context.Context, it *Item) error { return c.Check(it) })
		cfg.Health = policy.IfIdle(c.CheckEvery/2, check) // an item that was just used is healthy
	}
	if c.MaxAge > 0 {
		cfg.Eviction = policy.MaxAge(c.MaxAge+c.Jitter, float64(c.Jitter)/float64(c.MaxAge+c.Jitter))
	}
	p, err := resource.New(cfg)
	return respool{p}, err
}

func (p respool) Acquire(ctx context.Context) (Lease, error) {
	l, err := p.Pool.Acquire(ctx)
	return Lease{ours: l}, err
}

func (p respool) Reset() { p.Pool.Reset(errBroken) }

// TryAcquire has no use for ctx: a make that it begins outlives the call.
func (p respool) TryAcquire(context.Context) (Lease, bool) {
	l, ok := p.Pool.TryAcquire()
	return Lease{ours: l}, ok
}

func (p respool) Count() (total, idle int) {
	s := p.Stats()
	return s.Idle + s.Leased + s.Making + s.Destroying, s.Idle
}

func respoolLoop(ctx context.Context, p respool, n int, yield bool) error {
	return RespoolLoop(ctx, p.Pool, n, yield)
}

// RespoolLoop is the loop of a pool that was set up elsewhere.
func RespoolLoop(ctx context.Context, p *resource.Pool[*Item], n int, yield bool) error {
	for range n {
		l, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		Hold(yield)
		l.Release()
	}
	return nil
}
