// Package peer puts the compared pools, respool included, behind one interface. An
// adapter does not emulate what its pool cannot do: Open fails with
// [errors.ErrUnsupported] instead.
package peer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/respool/respool/resource"
)

// An Item is what the pools lend.
type Item struct {
	ID    int
	Value any
	home  chan *Item // the channel that lends it
}

// Instant makes an item without delay.
func Instant(context.Context) (*Item, error) { return &Item{}, nil }

// Config is how a pool under test is set up.
type Config struct {
	Max     int                                      // maximum number of items
	Make    func(ctx context.Context) (*Item, error) // the same function for every pool of a row
	Destroy func(it *Item)                           // nil: nothing to do

	// Check is a health check of idle items, run the pool's own way about every
	// CheckEvery. Nil: no check.
	Check      func(it *Item) error
	CheckEvery time.Duration

	// MaxAge is how old an item may become; Jitter is added or subtracted, so that
	// items made together do not all end together. Zero: no limit.
	MaxAge, Jitter time.Duration

	// MinIdle is how many items to keep idle. Zero: none.
	MinIdle int

	// MakeTimeout bounds one make, in pools that have such a bound. Zero: the pool's
	// default.
	MakeTimeout time.Duration
}

// lacks fails if c sets one of the given features, which the pool does not have.
func (c Config) lacks(check, age, jitter, minIdle bool) error {
	if check && c.Check != nil || age && c.MaxAge > 0 || jitter && c.Jitter > 0 || minIdle && c.MinIdle > 0 {
		return errors.ErrUnsupported
	}
	return nil
}

// destroy calls Destroy, if there is one.
func (c Config) destroy(it *Item) {
	if c.Destroy != nil {
		c.Destroy(it)
	}
}

// A Kind is one of the pools.
type Kind struct {
	Name string
	Open func(c Config) (Pool, error) // the pool is void if it fails
	// Prefilled: every item is made in Open, and none later.
	Prefilled bool
	// MaxItems bounds the size of the pool in rows where the items of this pool cost
	// more than those of the others; 0: no bound.
	MaxItems int
	// HidesErrors: a waiter is not told that a creation begun for another caller failed.
	HidesErrors bool
	// NoClose: the pool cannot be closed, or closes only what is idle.
	NoClose bool
	// RoundTrip: an acquire is a round trip to the server, which the adapter plays.
	RoundTrip bool
	// Loops acquire and release on the pool itself, because a call through an
	// interface is visible in a figure of nanoseconds. Nil: the pool has none.
	Loops func(ctx context.Context, size int) (Loops, error)
}

// A Pool is an opened pool.
type Pool interface {
	// Acquire waits for an item until ctx ends. The lease is void if it fails.
	Acquire(ctx context.Context) (Lease, error)
	// Warm returns when n items exist.
	Warm(ctx context.Context, n int) error
	// Close returns when the pool has closed, or with an error when ctx ends, even
	// where the pool's own Close keeps waiting.
	Close(ctx context.Context) error
}

// What only some pools can do.
type (
	// A Resetter replaces every item made so far.
	Resetter interface{ Reset() }
	// A Resizer changes the maximum.
	Resizer interface{ Resize(max int) error }
	// A Counter returns how many items exist, and how many of them are idle.
	Counter interface{ Count() (total, idle int) }
	// A Trier acquires without waiting. It may begin to make an item.
	Trier interface {
		TryAcquire(ctx context.Context) (Lease, bool)
	}
	// A User is a [Handle] through which the holder reaches the item at every use.
	User interface{ Use() error }
)

// A Lease is an item of any pool. It allocates nothing for respool, puddle,
// smartconnpool and the channel, whose own leases it holds; the adapters of the
// others allocate a [Handle] for each lease.
type Lease struct {
	ours  resource.Lease[*Item]
	other Handle // nil: ours is the lease
}

// A Handle is the lease of another pool. A case may use it after it has ended: what
// happens then is up to the pool.
type Handle interface {
	Item() *Item
	Release()
	Destroy() // instead of Release: the item must not be lent again
}

// Lend makes a Lease of another pool's handle.
func Lend(h Handle) Lease { return Lease{other: h} }

// Item returns the leased item.
func (l Lease) Item() *Item {
	if l.other != nil {
		return l.other.Item()
	}
	return l.ours.Value()
}

// Release returns the item to the pool.
func (l Lease) Release() {
	if l.other != nil {
		l.other.Release()
		return
	}
	l.ours.Release()
}

var errBroken = errors.New("broken")

// Destroy returns the item to the pool as broken.
func (l Lease) Destroy() {
	if l.other != nil {
		l.other.Destroy()
		return
	}
	l.ours.Discard(errBroken)
}

// Use reaches for the item through the lease. The error says that the lease has
// ended; it is [errors.ErrUnsupported] if the pool lends bare items.
func (l Lease) Use() error {
	if u, ok := l.other.(User); ok {
		return u.Use()
	}
	if l.other != nil {
		return errors.ErrUnsupported
	}
	return recovered(func() { l.ours.Value() })
}

// recovered returns the panic of f as an error.
func recovered(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	f()
	return nil
}

// A Loop acquires and releases n times.
type Loop func(ctx context.Context, n int) error

// Loops are the loops of one pool whose items all exist.
type Loops struct {
	Plain Loop // release at once
	Yield Loop // runtime.Gosched while holding the item
	Close func() error
}

// Hold is what a loop does while it has the item.
func Hold(yield bool) {
	if yield {
		runtime.Gosched()
	}
}

// LoopsOf returns Kind.Loops of a pool that open opens, made of one loop over its
// concrete type.
func LoopsOf[P Pool](open func(Config) (Pool, error), loop func(ctx context.Context, p P, n int, yield bool) error) func(context.Context, int) (Loops, error) {
	return func(ctx context.Context, size int) (Loops, error) {
		opened, err := open(Config{Max: size, Make: Instant})
		if err != nil {
			return Loops{}, err
		}
		if err := opened.Warm(ctx, size); err != nil {
			return Loops{}, errors.Join(err, Close(opened))
		}
		p := opened.(P)
		return Loops{
			Plain: func(ctx context.Context, n int) error { return loop(ctx, p, n, false) },
			Yield: func(ctx context.Context, n int) error { return loop(ctx, p, n, true) },
			Close: func() error { return Close(p) },
		}, nil
	}
}

// CloseTime bounds [Close].
const CloseTime = 20 * time.Second

// Close closes p within CloseTime.
func Close(p interface{ Close(context.Context) error }) error {
	ctx, cancel := context.WithTimeout(context.Background(), CloseTime)
	defer cancel()
	return p.Close(ctx)
}

// ErrStillClosing means that the pool's own Close had not returned when the context ended.
var ErrStillClosing = errors.New("still closing")

// closeWithin returns when f, the pool's own Close, does, or with an error when ctx
// ends; f then keeps running.
func closeWithin(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrStillClosing, ctx.Err())
	}
}

// WarmByLeases is Warm for a pool without one: it holds n leases at once, so that n
// items exist, and releases them.
func WarmByLeases(ctx context.Context, p Pool, n int) error {
	leases, errs := make([]Lease, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { leases[i], errs[i] = p.Acquire(ctx) })
	}
	all.Wait()
	for i, l := range leases {
		if errs[i] == nil {
			l.Release()
		}
	}
	return errors.Join(errs...)
}
