package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/puddle/v2"
	commons "github.com/jolestar/go-commons-pool/v2"
	"github.com/respool/respool/resource"
)

// An item is what the pools under test lend.
type item struct{ id int }

// A maker makes an item; it is the same function for every pool of a row.
type maker func(ctx context.Context) (*item, error)

// instant is a maker that takes no time.
func instant(context.Context) (*item, error) { return &item{}, nil }

// A pool is a pool under test, for the rows in which an interface call does
// not count. The rows of nanoseconds have loops of their own: see loop.go.
type pool interface {
	acquire(ctx context.Context) (hold, error)
	warm(ctx context.Context, n int) error // n exist
	close() error                          // bounded
}

// A hold is a lease from whichever pool, without an allocation.
type hold struct {
	lease   resource.Lease[*item]
	res     *puddle.Resource[*item]
	it      *item
	back    chan *item
	commons *commons.ObjectPool
}

func (h hold) release() {
	switch {
	case h.res != nil:
		h.res.Release()
	case h.back != nil:
		h.back <- h.it
	case h.commons != nil:
		_ = h.commons.ReturnObject(context.Background(), h.it)
	default:
		h.lease.Release()
	}
}

// A kind is how to make a pool under test.
type kind struct {
	name string
	open func(max int, m maker) (pool, error)
}

var (
	respoolKind = kind{"respool", openRespool}
	puddleKind  = kind{"puddle", openPuddle}
	channelKind = kind{"channel", openChannel}
)

// closeTime bounds every close: one that takes longer is an error of the row.
const closeTime = 20 * time.Second

type respoolPool struct{ *resource.Pool[*item] }

func openRespool(max int, m maker) (pool, error) {
	p, err := resource.New(resource.Config[*item]{Make: m, MaxSize: max})
	if err != nil {
		return nil, err
	}
	return respoolPool{p}, nil
}

func (p respoolPool) acquire(ctx context.Context) (hold, error) {
	l, err := p.Acquire(ctx)
	return hold{lease: l}, err
}

func (p respoolPool) warm(ctx context.Context, n int) error { return p.Warm(ctx, n) }

func (p respoolPool) close() error { return closeRespool(p.Pool) }

func closeRespool(p *resource.Pool[*item]) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	return p.Close(ctx)
}

type puddlePool struct{ *puddle.Pool[*item] }

func openPuddle(max int, m maker) (pool, error) {
	p, err := puddle.NewPool(&puddle.Config[*item]{
		Constructor: puddle.Constructor[*item](m), Destructor: func(*item) {}, MaxSize: int32(max),
	})
	if err != nil {
		return nil, err
	}
	return puddlePool{p}, nil
}

func (p puddlePool) acquire(ctx context.Context) (hold, error) {
	r, err := p.Acquire(ctx)
	return hold{res: r}, err
}

// warm makes all n at once, as a pool that warms up would.
func (p puddlePool) warm(ctx context.Context, n int) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = p.CreateResource(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// close cannot be bounded by puddle itself, which waits for every holder.
func (p puddlePool) close() error {
	done := make(chan struct{})
	go func() { p.Close(); close(done) }()
	select {
	case <-done:
		return nil
	case <-time.After(closeTime):
		return fmt.Errorf("puddle: still closing after %v", closeTime)
	}
}

// channelPool is a buffered channel that was filled once: the least that a
// pool can be, and no pool for resources that take time to make.
type channelPool chan *item

func openChannel(max int, m maker) (pool, error) {
	p := make(channelPool, max)
	for range max {
		it, err := m(context.Background())
		if err != nil {
			return nil, err
		}
		p <- it
	}
	return p, nil
}

func (p channelPool) acquire(ctx context.Context) (hold, error) {
	select {
	case it := <-p:
		return hold{it: it, back: p}, nil
	case <-ctx.Done():
		return hold{}, ctx.Err()
	}
}

func (p channelPool) warm(_ context.Context, n int) error {
	if n > cap(p) {
		return fmt.Errorf("channel: %d of %d", n, cap(p))
	}
	return nil
}

func (p channelPool) close() error { return nil }
