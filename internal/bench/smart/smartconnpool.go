package main

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"vitess.io/vitess/go/pools/smartconnpool"

	"github.com/respool/respool/internal/bench/peer"
)

// smart is smartconnpool. It draws its jitter itself, anew at each release.
var smart = peer.Kind{Name: "smartconnpool", Untold: true, Open: openSmart, Loops: smartLoops}

type smartPool struct {
	*smartconnpool.ConnPool[*smartConn]
}

func openSmart(c peer.Config) (peer.Pool, error) { return newSmart(c) }

func newSmart(c peer.Config) (smartPool, error) {
	if c.Check != nil || c.MinIdle > 0 {
		return smartPool{}, errors.ErrUnsupported
	}
	p := smartconnpool.NewPool(&smartconnpool.Config[*smartConn]{Capacity: int64(c.Max), MaxLifetime: c.MaxAge})
	p.Open(func(ctx context.Context) (*smartConn, error) {
		it, err := c.Make(ctx)
		if err != nil {
			return nil, err
		}
		return &smartConn{it: it, destroy: c.Destroy}, nil
	}, nil)
	return smartPool{p}, nil
}

func (p smartPool) Acquire(ctx context.Context) (peer.Lease, error) {
	c, err := p.Get(ctx, nil)
	if err != nil {
		return peer.Lease{}, err
	}
	return peer.Lend((*smartLease)(c)), nil
}

func (p smartPool) Warm(ctx context.Context, n int) error { return peer.WarmBySet(ctx, p, n) }

func (p smartPool) Close(ctx context.Context) error { return p.CloseWithContext(ctx) }

// Resize says at once how many there may be, and for a while looks on as what is too
// many comes back. That it has not then is no failure of the Resize.
func (p smartPool) Resize(max int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := p.SetCapacity(ctx, int64(max)); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

func (p smartPool) Count() (total, idle int) {
	active := p.Active()
	return int(active), int(active - p.InUse())
}

// A smartLease is smartconnpool's connection under another name.
type smartLease smartconnpool.Pooled[*smartConn]

func (l *smartLease) pooled() *smartconnpool.Pooled[*smartConn] {
	return (*smartconnpool.Pooled[*smartConn])(l)
}

func (l *smartLease) Item() *peer.Item { return l.pooled().Conn.it }
func (l *smartLease) Release()         { l.pooled().Recycle() }

// Destroy closes the connection: its Recycle then dials another.
func (l *smartLease) Destroy() {
	defer l.pooled().Recycle()
	l.pooled().Close()
}

// A smartConn is an item as a connection without settings.
type smartConn struct {
	it      *peer.Item
	destroy func(*peer.Item)
	closed  atomic.Bool
}

func (c *smartConn) ApplySetting(context.Context, *smartconnpool.Setting) error { return nil }
func (c *smartConn) ResetSetting(context.Context) error                         { return nil }
func (c *smartConn) Setting() *smartconnpool.Setting                            { return nil }
func (c *smartConn) IsClosed() bool                                             { return c.closed.Load() }

func (c *smartConn) Close() {
	if c.closed.CompareAndSwap(false, true) && c.destroy != nil {
		c.destroy(c.it)
	}
}

func smartLoops(ctx context.Context, size int) (peer.Loops, error) {
	p, err := newSmart(peer.Config{Max: size, Make: peer.Instant})
	if err == nil {
		err = p.Warm(ctx, size)
	}
	if err != nil {
		return peer.Loops{}, err
	}
	return peer.Loops{
		Plain: func(ctx context.Context, n int) error { return smartLoop(ctx, p, n, false) },
		Yield: func(ctx context.Context, n int) error { return smartLoop(ctx, p, n, true) },
		Close: func() error {
			ctx, cancel := context.WithTimeout(context.Background(), peer.CloseTime)
			defer cancel()
			return p.Close(ctx)
		},
	}, nil
}

func smartLoop(ctx context.Context, p smartPool, n int, yield bool) error {
	for range n {
		c, err := p.Get(ctx, nil)
		if err != nil {
			return err
		}
		if yield {
			runtime.Gosched()
		}
		c.Recycle()
	}
	return nil
}
