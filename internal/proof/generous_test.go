package proof_test

import (
	"context"
	"sync/atomic"

	"github.com/respool/respool/resource"
)

// generous is a real pool, spoiled: now and then it lends again what it lent
// before. It shows that a harness would see that of the real one.
type generous struct {
	pool[int]
	n    atomic.Int64
	last atomic.Pointer[echo]
}

// echo is a lease that ends nothing.
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

// careless is a real pool, spoiled: it does not hear who asks for a resource that
// nobody has used.
type careless struct{ pool[*thing] }

func newCareless(cfg resource.Config[*thing]) (pool[*thing], error) {
	p, err := newReal(cfg)
	return &careless{p}, err
}

func (c *careless) AcquireWith(ctx context.Context, r resource.Request) (lease[*thing], error) {
	r.Fresh = false
	return c.pool.AcquireWith(ctx, r)
}
