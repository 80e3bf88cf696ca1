package proof_test

import (
	"context"

	"github.com/respool/respool/resource"
)

// lease is what both pools under test lend: resource.Lease as an interface.
type lease[T any] interface {
	Value() T
	Info() resource.Info
	Release()
	Fail(err error)
	Discard(cause error)
	Hijack() (T, bool)
}

// pool is resource.Pool as an interface, so that the same script can drive the
// real one and the plain one.
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

// newPool makes a pool under test.
type newPool[T any] func(resource.Config[T]) (pool[T], error)

// real is resource.Pool seen as a pool.
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
