package peer

import (
	"context"
	"errors"
	"runtime"

	commons "github.com/jolestar/go-commons-pool/v2"
)

// Commons is go-commons-pool, after Apache's for Java. It does not serve those
// who wait in turn: whoever comes first has what was given back.
var Commons = Kind{Name: "commons", Untold: true, Open: openCommons, Loops: commonsLoops}

type commonsPool struct{ *commons.ObjectPool }

func openCommons(c Config) (Pool, error) {
	if c.MaxAge > 0 {
		return nil, errors.ErrUnsupported // it counts idle time only
	}
	destroy := func(_ context.Context, o *commons.PooledObject) error {
		if c.Destroy != nil {
			c.Destroy(o.Object.(*Item))
		}
		return nil
	}
	valid := func(_ context.Context, o *commons.PooledObject) bool { return c.Check(o.Object.(*Item)) == nil }
	cfg := commons.NewDefaultPoolConfig()
	cfg.MaxTotal, cfg.MaxIdle, cfg.MinIdle = c.Max, c.Max, c.MinIdle
	cfg.TimeBetweenEvictionRuns, cfg.NumTestsPerEvictionRun = c.CheckEvery, c.Max
	cfg.MinEvictableIdleTime = -1 // nothing ends because it is idle
	if cfg.TestWhileIdle = c.Check != nil; !cfg.TestWhileIdle {
		valid = nil
	}
	f := commons.NewPooledObjectFactory(func(ctx context.Context) (any, error) { return c.Make(ctx) }, destroy, valid, nil, nil)
	return commonsPool{commons.NewObjectPool(context.Background(), f, cfg)}, nil
}

func (p commonsPool) Acquire(ctx context.Context) (Lease, error) {
	it, err := p.BorrowObject(ctx)
	if err != nil {
		return Lease{}, err
	}
	return Lend(&commonsLease{p.ObjectPool, it.(*Item)}), nil
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
	return within(ctx, "commons: still closing", func() error {
		p.ObjectPool.Close(context.Background())
		return nil
	})
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

func commonsLoops(ctx context.Context, size int) (Loops, error) {
	p, err := warmed[commonsPool](ctx, openCommons, size)
	if err != nil {
		return Loops{}, err
	}
	return Loops{
		Plain: func(ctx context.Context, n int) error { return commonsLoop(ctx, p.ObjectPool, n, false) },
		Yield: func(ctx context.Context, n int) error { return commonsLoop(ctx, p.ObjectPool, n, true) },
		Close: closing(p),
	}, nil
}

func commonsLoop(ctx context.Context, p *commons.ObjectPool, n int, yield bool) error {
	for range n {
		it, err := p.BorrowObject(ctx)
		if err != nil {
			return err
		}
		if yield {
			runtime.Gosched()
		}
		if err := p.ReturnObject(ctx, it); err != nil {
			return err
		}
	}
	return nil
}
