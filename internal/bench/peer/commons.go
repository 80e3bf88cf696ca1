package peer

import (
	"context"

	commons "github.com/jolestar/go-commons-pool/v2"
)

// Commons is go-commons-pool, after Apache's for Java. It does not serve waiters in
// order: a released object goes to the first caller to ask for it.
var Commons = Kind{Name: "commons", HidesErrors: true, Open: openCommons, Loops: LoopsOf(openCommons, commonsLoop)}

type commonsPool struct{ *commons.ObjectPool }

func openCommons(c Config) (Pool, error) {
	if err := c.lacks(false, true, true, false); err != nil {
		return nil, err // it limits idle time, not age
	}
	destroy := func(_ context.Context, o *commons.PooledObject) error {
		c.destroy(o.Object.(*Item))
		return nil
	}
	var valid func(context.Context, *commons.PooledObject) bool
	if c.Check != nil {
		valid = func(_ context.Context, o *commons.PooledObject) bool { return c.Check(o.Object.(*Item)) == nil }
	}
	cfg := commons.NewDefaultPoolConfig()
	cfg.MaxTotal, cfg.MaxIdle, cfg.MinIdle = c.Max, c.Max, c.MinIdle
	cfg.TimeBetweenEvictionRuns, cfg.NumTestsPerEvictionRun = c.CheckEvery, c.Max
	cfg.MinEvictableIdleTime = -1 // no object is evicted for being idle
	cfg.TestWhileIdle = valid != nil
	f := commons.NewPooledObjectFactory(func(ctx context.Context) (any, error) { return c.Make(ctx) }, destroy, valid, nil, nil)
	return commonsPool{commons.NewObjectPool(context.Background(), f, cfg)}, nil
}

func (p commonsPool) Acquire(ctx context.Context) (Lease, error) {
	o, err := p.BorrowObject(ctx)
	it, _ := o.(*Item)
	return Lend(&commonsLease{p.ObjectPool, it}), err
}

func (p commonsPool) Warm(ctx context.Context, n int) error {
	for range n {
		if err := p.AddObject(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p commonsPool) Close(ctx context.Context) error {
	return closeWithin(ctx, func() error { p.ObjectPool.Close(context.Background()); return nil })
}

func (p commonsPool) Count() (total, idle int) {
	idle = p.GetNumIdle()
	return p.GetNumActive() + idle, idle
}

type commonsLease struct {
	p  *commons.ObjectPool
	it *Item
}

func (l *commonsLease) Item() *Item { return l.it }
func (l *commonsLease) Release()    { _ = l.p.ReturnObject(context.Background(), l.it) }
func (l *commonsLease) Destroy()    { _ = l.p.InvalidateObject(context.Background(), l.it) }

func commonsLoop(ctx context.Context, p commonsPool, n int, yield bool) error {
	for range n {
		it, err := p.BorrowObject(ctx)
		if err != nil {
			return err
		}
		Hold(yield)
		if err := p.ReturnObject(ctx, it); err != nil {
			return err
		}
	}
	return nil
}
