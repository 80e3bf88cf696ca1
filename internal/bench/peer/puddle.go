package peer

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/puddle/v2"
)

// Puddle is the pool below respool, and below pgxpool.
var Puddle = Kind{Name: "puddle", Open: openPuddle, Loops: LoopsOf(openPuddle, puddleLoop)}

type puddlePool struct{ *puddle.Pool[*Item] }

func openPuddle(c Config) (Pool, error) {
	if err := c.lacks(true, true, true, true); err != nil {
		return nil, err
	}
	p, err := puddle.NewPool(&puddle.Config[*Item]{Constructor: c.Make, Destructor: c.destroy, MaxSize: int32(c.Max)})
	return puddlePool{p}, err
}

func (p puddlePool) Acquire(ctx context.Context) (Lease, error) {
	r, err := p.Pool.Acquire(ctx)
	return Lend((*puddleLease)(r)), err
}

func (p puddlePool) TryAcquire(ctx context.Context) (Lease, bool) {
	r, err := p.Pool.TryAcquire(ctx)
	return Lend((*puddleLease)(r)), err == nil
}

func (p puddlePool) Count() (total, idle int) {
	s := p.Stat()
	return int(s.TotalResources()), int(s.IdleResources())
}

// Warm makes all n at once, as a program that warms its pool does.
func (p puddlePool) Warm(ctx context.Context, n int) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = p.CreateResource(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close needs its own bound: puddle's waits for every holder.
func (p puddlePool) Close(ctx context.Context) error {
	return closeWithin(ctx, func() error { p.Pool.Close(); return nil })
}

// A puddleLease is puddle's resource under another name.
type puddleLease puddle.Resource[*Item]

func (l *puddleLease) resource() *puddle.Resource[*Item] { return (*puddle.Resource[*Item])(l) }

func (l *puddleLease) Item() *Item { return l.resource().Value() }
func (l *puddleLease) Use() error  { return recovered(func() { l.Item() }) }
func (l *puddleLease) Release()    { l.resource().Release() }
func (l *puddleLease) Destroy()    { l.resource().Destroy() }

func puddleLoop(ctx context.Context, p puddlePool, n int, yield bool) error {
	for range n {
		r, err := p.Pool.Acquire(ctx)
		if err != nil {
			return err
		}
		Hold(yield)
		r.Release()
	}
	return nil
}
