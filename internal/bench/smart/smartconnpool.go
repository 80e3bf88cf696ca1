package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"vitess.io/vitess/go/pools/smartconnpool"

	"github.com/respool/respool/internal/bench/peer"
)

// smart is smartconnpool. It draws its own jitter, anew at each release.
var smart = peer.Kind{Name: "smartconnpool", HidesErrors: true, Open: openSmart, Loops: peer.LoopsOf(openSmart, smartLoop)}

type smartPool struct {
	*smartconnpool.ConnPool[*smartConn]
}

func openSmart(c peer.Config) (peer.Pool, error) {
	if c.Check != nil || c.MinIdle > 0 {
		return nil, errors.ErrUnsupported
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
	return peer.Lend((*smartLease)(c)), err
}

func (p smartPool) Warm(ctx context.Context, n int) error { return peer.WarmByLeases(ctx, p, n) }
func (p smartPool) Close(ctx context.Context) error       { return p.CloseWithContext(ctx) }

// Resize sets the capacity at once and waits a while for surplus connections to come
// back. It does not fail if they have not by then.
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

// Destroy closes the connection: Recycle then dials another.
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

func smartLoop(ctx context.Context, p smartPool, n int, yield bool) error {
	for range n {
		c, err := p.Get(ctx, nil)
		if err != nil {
			return err
		}
		peer.Hold(yield)
		c.Recycle()
	}
	return nil
}
