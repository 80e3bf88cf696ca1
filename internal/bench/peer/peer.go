// Package peer puts the pools that are compared, ours among them, behind one
// interface, in a few lines each. What a peer cannot do its adapter does not
// make up: Open then fails with [errors.ErrUnsupported].
package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/respool/respool/resource"
)

// An Item is what the pools lend.
type Item struct {
	ID   int
	home chan *Item // of the channel that lends it
}

// Config is how a pool under test is set up.
type Config struct {
	Max     int                                      // how many items at most
	Make    func(ctx context.Context) (*Item, error) // the same function for every pool of a row
	Destroy func(it *Item)                           // nil: nothing to do

	// A check of what is idle, the pool's own way. Zero: none.
	Check      func(it *Item) error
	CheckEvery time.Duration

	// How old an item gets, and what is added to that, or taken from it, so
	// that not all that were made at once end at once. Zero: no such end.
	MaxAge, Jitter time.Duration

	// How many to keep idle, where the pool has such a floor. Open fails where it
	// has none. Zero: none.
	MinIdle int

	// How long one make may take, where the pool has such a bound. Zero: the
	// pool's own.
	MakeTimeout time.Duration
}

// A Kind is one of the pools.
type Kind struct {
	Name string
	Open func(c Config) (Pool, error)
	// Filled says that everything is made at once, in Open, and nothing later.
	Filled bool
	// Most is how many items it can be asked for where an item costs more than
	// an idle pool of ours; 0: any number.
	Most int
	// Untold says that those who wait are not told when what others had it make
	// has failed.
	Untold bool
	// Lasting says that there is no closing it, or not more than what is idle.
	Lasting bool
	// Trip says that an acquire is a round trip to the server, which we play.
	Trip bool
	// Loops acquire and release on the pool itself: where nanoseconds count, a
	// call through an interface would be seen. Nil: it has none.
	Loops func(ctx context.Context, size int) (Loops, error)
}

// A Pool is one that has been opened.
type Pool interface {
	// Acquire waits until there is an item, or ctx ends.
	Acquire(ctx context.Context) (Lease, error)
	// Warm returns when n items exist.
	Warm(ctx context.Context, n int) error
	// Close returns when the pool has closed, or with an error when ctx ends: also
	// where the pool itself would then wait on.
	Close(ctx context.Context) error
}

// A Resetter can have all replaced that were made so far.
type Resetter interface{ Reset() }

// A Resizer can change how many items it may have.
type Resizer interface{ Resize(max int) error }

// A Trier has an acquire that does not wait. It may begin a make for it.
type Trier interface {
	TryAcquire(ctx context.Context) (Lease, bool)
}

// A Counter says how many items it has, and how many of them are idle.
type Counter interface{ Count() (total, idle int) }

// A Lease is an item from whichever pool. What it costs besides is nothing for ours,
// puddle, smartconnpool and the channel, whose own leases it holds; the adapters of
// the others allocate a [Handle] for each.
type Lease struct {
	ours  resource.Lease[*Item]
	other Handle // nil: it is ours
}

// A Handle is what another pool lends. It may be used when it has ended: what then
// happens is the pool's.
type Handle interface {
	Item() *Item
	Release()
	Destroy() // instead of Release: the item is not to be lent again
}

// A User is a Handle that the holder reaches the item through, each time.
type User interface{ Use() error }

// Lend makes a Lease of what another pool lends.
func Lend(h Handle) Lease { return Lease{other: h} }

// Item is what is lent.
func (l Lease) Item() *Item {
	if l.other != nil {
		return l.other.Item()
	}
	return l.ours.Value()
}

// Release gives the item back.
func (l Lease) Release() {
	if l.other != nil {
		l.other.Release()
		return
	}
	l.ours.Release()
}

// Destroy gives the item back as one that is not to be lent again.
func (l Lease) Destroy() {
	if l.other != nil {
		l.other.Destroy()
		return
	}
	l.ours.Discard(errBroken)
}

var errBroken = errors.New("broken")

// Use reaches for the item through the lease: an error says that the lease has
// ended, [errors.ErrUnsupported] that the pool lends bare items.
func (l Lease) Use() (err error) {
	if u, ok := l.other.(User); ok {
		return u.Use()
	}
	if l.other != nil {
		return errors.ErrUnsupported
	}
	return told(func() { l.ours.Value() })
}

// told returns the panic of f as an error.
func told(f func()) (err error) {
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

// Loops are those of one pool, warm and ready.
type Loops struct {
	Plain Loop // release at once
	Yield Loop // runtime.Gosched while holding
	Close func() error
}

// CloseTime bounds the Close of Loops.
const CloseTime = 20 * time.Second

// Instant makes an item in no time.
func Instant(context.Context) (*Item, error) { return &Item{}, nil }

// ErrLeftBehind means that the pool's own Close had not returned when the context ended.
var ErrLeftBehind = errors.New("left behind")

// within returns when f does, or with an error when ctx ends. Then f is left
// behind: it waits for something that is of no interest any more.
func within(ctx context.Context, what string, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s: %w: %w", what, ErrLeftBehind, ctx.Err())
	}
}

// closing is Close of Loops.
func closing(p Pool) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), CloseTime)
		defer cancel()
		return p.Close(ctx)
	}
}

// warmed opens a pool of size items, all made, for loops.
func warmed[P Pool](ctx context.Context, open func(Config) (Pool, error), size int) (P, error) {
	p, err := open(Config{Max: size, Make: Instant})
	if err != nil {
		var none P
		return none, err
	}
	if err := p.Warm(ctx, size); err != nil {
		var none P
		return none, errors.Join(err, closing(p)())
	}
	return p.(P), nil
}

// WarmBySet is Warm for a pool that has none: n leases at once, so that n items
// exist, and their end.
func WarmBySet(ctx context.Context, p Pool, n int) error {
	got := make(chan Lease, n)
	failed := make(chan error, n)
	for range n {
		go func() {
			l, err := p.Acquire(ctx)
			if err != nil {
				failed <- err
				return
			}
			got <- l
		}()
	}
	var held []Lease
	var errs []error
	for len(held)+len(errs) < n {
		select {
		case l := <-got:
			held = append(held, l)
		case err := <-failed:
			errs = append(errs, err)
		}
	}
	for _, l := range held {
		l.Release()
	}
	return errors.Join(errs...)
}
