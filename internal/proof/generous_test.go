package proof_test

import (
	"context"
	"sync/atomic"

	"github.com/respool/respool/resource"
)

// generous is the real pool with a fault: it sometimes lends a leased resource again. It
// shows that a harness detects double lending.
type generous struct {
	pool[int]
	n    atomic.Int64
	last atomic.Pointer[echo]
}

// echo is a lease whose end has no effect.
type echo struct {
	lease[int]
	v int
}

func (e *echo) Value() int { return e.v }
func (e *echo) Release()   {}

func newGenerous(cfg resource.Config[int]) (pool[int], error) {
	p, err := newReal(cfg)
	return &generous{pool: p}, err
}

func (g *generous) AcquireWith(ctx context.Context, r resource.Request) (lease[int], error) {
	if e := g.last.Load(); e != nil && g.n.Add(1)%50 == 0 {
		return e, nil
	}
	l, err := g.pool.AcquireWith(ctx, r)
	if err == nil {
		g.last.Store(&echo{l, l.Value()})
	}
	return l, err
}

// careless is the real pool with a fault: it ignores Request.Fresh.
type careless struct{ pool[*thing] }

func newCareless(cfg resource.Config[*thing]) (pool[*thing], error) {
	p, err := newReal(cfg)
	return &careless{p}, err
}

func (c *careless) AcquireWith(ctx context.Context, r resource.Request) (lease[*thing], error) {
	r.Fresh = false
	return c.pool.AcquireWith(ctx, r)
}
