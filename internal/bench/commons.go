package main

import (
	"context"

	commons "github.com/jolestar/go-commons-pool/v2"
)

// commons is of interest where waiting callers are not served in turn: it lets
// whoever comes first have what was given back.
var commonsKind = kind{"commons", openCommons}

type commonsPool struct{ *commons.ObjectPool }

func openCommons(max int, m maker) (pool, error) {
	f := commons.NewPooledObjectFactorySimple(func(ctx context.Context) (any, error) { return m(ctx) })
	c := commons.NewDefaultPoolConfig()
	c.MaxTotal, c.MaxIdle = max, max
	return commonsPool{commons.NewObjectPool(context.Background(), f, c)}, nil
}

func (p commonsPool) acquire(ctx context.Context) (hold, error) {
	it, err := p.BorrowObject(ctx)
	if err != nil {
		return hold{}, err
	}
	return hold{it: it.(*item), commons: p.ObjectPool}, nil
}

func (p commonsPool) warm(ctx context.Context, n int) error {
	for range n {
		if err := p.AddObject(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p commonsPool) close() error {
	p.Close(context.Background())
	return nil
}
