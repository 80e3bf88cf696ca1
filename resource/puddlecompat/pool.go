package puddlecompat

import (
	"context"
	"errors"
	"time"

	"github.com/respool/respool/resource"
)

var (
	// ErrClosedPool is returned by a pool that is closed, or is being closed while
	// an acquire waits.
	ErrClosedPool = errors.New("closed pool")
	// ErrNotAvailable is returned where no resource is idle, or there is no room
	// for another.
	ErrNotAvailable = errors.New("resource not available")
)

// Constructor creates a resource. For an acquire ctx has the values of the acquire's
// context, ends at Close and has no deadline. For CreateResource it is the context
// given there.
type Constructor[T any] func(ctx context.Context) (res T, err error)

// Destructor frees a resource.
type Destructor[T any] func(res T)

// Config is what [NewPool] needs.
type Config[T any] struct {
	Constructor Constructor[T] // required
	Destructor  Destructor[T]  // nil: nothing to free
	MaxSize     int32          // at least 1
}

// Pool is a puddle.Pool over a [resource.Pool]. All methods may be called by any
// number of goroutines at once.
type Pool[T any] struct {
	pool    *resource.Pool[*Resource[T]]
	base    context.Context // ends at Close
	cancel  context.CancelFunc
	max     int32
	counted counts
}

// NewPool returns a pool for config. It fails if MaxSize is less than 1 or there
// is no Constructor. Nothing is made before it is asked for.
func NewPool[T any](config *Config[T]) (*Pool[T], error) {
	if config.MaxSize < 1 {
		return nil, errors.New("MaxSize must be >= 1")
	}
	p := &Pool[T]{max: config.MaxSize}
	construct, destruct := config.Constructor, config.Destructor
	if construct == nil {
		return nil, errors.New("Constructor is nil")
	}
	cfg := resource.Config[*Resource[T]]{
		Make: func(ctx context.Context) (*Resource[T], error) {
			res := newResource[T]()
			made, own := ctx.Value(given{}).(context.Context)
			if !own {
				made = madeFor{Context: p.base, values: ctx}
			}
			value, err := construct(made)
			if err != nil {
				return nil, err
			}
			res.value = value
			return res, nil
		},
		MaxSize:     int(config.MaxSize),
		MakeTimeout: -1,
	}
	if destruct != nil {
		cfg.Destroy = func(res *Resource[T], _ error) { destruct(res.value) }
	}
	p.base, p.cancel = context.WithCancel(context.Background())
	pool, err := resource.New(cfg)
	if err != nil {
		p.cancel()
		return nil, err
	}
	p.pool = pool
	return p, nil
}

// given is the key of the context that CreateResource has for the constructor.
type given struct{}

// madeFor is the context of the pool with the values of another.
type madeFor struct {
	context.Context
	values context.Context
}

func (c madeFor) Value(key any) any { return c.values.Value(key) }

// Close destroys the idle resources, and all others as they are given back. It
// waits until all are destroyed, and so for ever if one is never given back.
// Acquires that wait, and all later ones, fail with [ErrClosedPool].
func (p *Pool[T]) Close() {
	p.cancel()
	_ = p.pool.Close(context.Background())
}

// Acquire returns an idle resource, or waits until one is given back or made. It
// fails with the error of ctx when that ends, [ErrClosedPool], or the error of the
// constructor.
func (p *Pool[T]) Acquire(ctx context.Context) (*Resource[T], error) {
	began := nanotime()
	lease, err := p.pool.Acquire(ctx)
	if err != nil {
		return nil, p.failed(ctx, err)
	}
	p.counted.acquired(time.Duration(nanotime()-began), lease.Waited() > 0)
	return hold(lease), nil
}

// failed is how puddle says err.
func (p *Pool[T]) failed(ctx context.Context, err error) error {
	var why *resource.AcquireError
	switch {
	case errors.Is(err, resource.ErrClosed):
		return ErrClosedPool
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		p.counted.canceled.Add(1)
		return ctx.Err()
	case errors.Is(err, resource.ErrFull):
		return ErrNotAvailable
	case !errors.As(err, &why):
		return err
	case errors.Is(err, resource.ErrOutage) && why.LastMake != nil:
		return why.LastMake
	}
	return why.Err
}

// TryAcquire returns an idle resource if there is one. Else it fails with
// [ErrNotAvailable], and if there is room has one made in the background; or with
// [ErrClosedPool]. ctx is not used.
func (p *Pool[T]) TryAcquire(ctx context.Context) (*Resource[T], error) {
	lease, ok := p.pool.TryAcquire()
	switch {
	case ok:
		p.counted.acquire.Add(1)
		return hold(lease), nil
	case p.base.Err() != nil:
		return nil, ErrClosedPool
	}
	return nil, ErrNotAvailable
}

// AcquireAllIdle acquires all idle resources, for checks and keepalives. It does
// not count in [Pool.Stat].
func (p *Pool[T]) AcquireAllIdle() []*Resource[T] {
	leases := p.pool.AcquireAllIdle()
	if leases == nil {
		return nil
	}
	all := make([]*Resource[T], len(leases))
	for i, lease := range leases {
		all[i] = hold(lease)
	}
	return all
}

// CreateResource calls the constructor, with ctx, and leaves the new resource idle,
// or gives it to an acquire that waits. It fails with [ErrNotAvailable] if there is no
// room, with [ErrClosedPool], or with the error of the constructor.
func (p *Pool[T]) CreateResource(ctx context.Context) error {
	err := p.pool.MakeOne(context.WithoutCancel(context.WithValue(ctx, given{}, ctx)))
	switch {
	case p.base.Err() != nil:
		return ErrClosedPool
	case err == nil:
		return nil
	case errors.Is(err, resource.ErrFull):
		return ErrNotAvailable
	}
	return err
}

// Reset destroys all resources, those that are in use when they are given back,
// and leaves the pool open.
func (p *Pool[T]) Reset() { p.pool.Reset(nil) }

// Stat returns a snapshot.
func (p *Pool[T]) Stat() *Stat { return p.counted.stat(p.max, p.pool.Stats().Load) }
