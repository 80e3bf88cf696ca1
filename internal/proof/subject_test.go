package proof_test

import (
	"context"

	"github.com/respool/respool/resource"
)

// lease is resource.Lease as an interface, implemented by both pools under test.
type lease[T any] interface {
	Value() T
	Info() resource.Info
	Release()
	Fail(err error)
	Discard(cause error)
	Hijack() (T, bool)
}

// pool is resource.Pool as an interface, so that a script can run on the real pool and on
// the plain one.
type pool[T any] interface {
	AcquireWith(ctx context.Context, r resource.Request) (lease[T], error)
	TryAcquire() (lease[T], bool)
	Do(ctx context.Context, f func(context.Context, T) error) error
	Warm(ctx context.Context, n int) error
	Resize(max int) error
	Reset(cause error)
	Stats() resource.Stats
	Close(ctx context.Context) error
}

// newPool creates a pool under test.
type newPool[T any] func(resource.Config[T]) (pool[T], error)

// real adapts resource.Pool to pool.
type real[T any] struct{ *resource.Pool[T] }

func newReal[T any](cfg resource.Config[T]) (pool[T], error) {
	p, err := resource.New(cfg)
	if err != nil {
		return nil, err
	}
	return real[T]{p}, nil
}

func (r real[T]) AcquireWith(ctx context.Context, q resource.Request) (lease[T], error) {
	l, err := r.Pool.AcquireWith(ctx, q)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (r real[T]) TryAcquire() (lease[T], bool) {
	l, ok := r.Pool.TryAcquire()
	if !ok {
		return nil, false
	}
	return l, true
}
