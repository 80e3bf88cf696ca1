package peer

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/jackc/puddle/v2"
)

// Puddle is the pool below ours, and below pgxpool.
var Puddle = Kind{Name: "puddle", Open: openPuddle, Loops: puddleLoops}

type puddlePool struct{ *puddle.Pool[*Item] }

// A puddleLease is puddle's resource under another name.
type puddleLease puddle.Resource[*Item]

func (l *puddleLease) resource() *puddle.Resource[*Item] { return (*puddle.Resource[*Item])(l) }

func (l *puddleLease) Item() *Item { return l.resource().Value() }
func (l *puddleLease) Use() error  { return told(func() { l.Item() }) }
func (l *puddleLease) Release()    { l.resource().Release() }
func (l *puddleLease) Destroy()    { l.resource().Destroy() }

func openPuddle(c Config) (Pool, error) {
	if c.Check != nil || c.MaxAge > 0 || c.MinIdle > 0 {
		return nil, errors.ErrUnsupported
	}
	destroy := c.Destroy
	if destroy == nil {
		destroy = func(*Item) {}
	}
	p, err := puddle.NewPool(&puddle.Config[*Item]{Constructor: c.Make, Destructor: destroy, MaxSize: int32(c.Max)})
	if err != nil {
		return nil, err
	}
	return puddlePool{p}, nil
}

func (p puddlePool) Acquire(ctx context.Context) (Lease, error) {
	r, err := p.Pool.Acquire(ctx)
	if err != nil {
		return Lease{}, err
	}
	return Lend((*puddleLease)(r)), nil
}

func (p puddlePool) TryAcquire(ctx context.Context) (Lease, bool) {
	r, err := p.Pool.TryAcquire(ctx)
	return Lend((*puddleLease)(r)), err == nil
}

func (p puddlePool) Count() (total, idle int) {
	s := p.Stat()
	return int(s.TotalResources()), int(s.IdleResources())
}

// Warm makes all n at once, as a pool that warms up would.
func (p puddlePool) Warm(ctx context.Context, n int) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = p.CreateResource(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close cannot be bounded by puddle itself, which waits for every holder.
func (p puddlePool) Close(ctx context.Context) error {
	return within(ctx, "puddle: still closing", func() error {
		p.Pool.Close()
		return nil
	})
}

func puddleLoops(ctx context.Context, size int) (Loops, error) {
	p, err := warmed[puddlePool](ctx, openPuddle, size)
	if err != nil {
		return Loops{}, err
	}
	return Loops{
		Plain: func(ctx context.Context, n int) error { return puddlePlain(ctx, p.Pool, n) },
		Yield: func(ctx context.Context, n int) error { return puddleYield(ctx, p.Pool, n) },
		Close: closing(p),
	}, nil
}

func puddlePlain(ctx context.Context, p *puddle.Pool[*Item], n int) error {
	for range n {
		r, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		r.Release()
	}
	return nil
}

func puddleYield(ctx context.Context, p *puddle.Pool[*Item], n int) error {
	for range n {
		r, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		runtime.Gosched()
		r.Release()
	}
	return nil
}
