package resource

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/budget"
	"github.com/respool/respool/internal/keymap"
)

// Keyed lends resources by key: one [Pool] for each key, made when the key is
// first used and forgotten when it has long been empty, under one total. Make
// one with [NewKeyed]. All methods may be called by any number of goroutines at
// once.
//
// When the total is used up and a caller needs a resource of its key made, the
// least recently used idle resource of any other key gives way ([ErrPreempted]; which
// was used less recently is known to 100 ms);
// one of a key that has no more than the caller's would then have, only when it
// has been idle for as long as it took to make.
//
// If nothing is idle the keys share fairly: the next place goes to the key that
// has least, and a key that has at least two more than it gives one up when one
// is given back, although its own callers wait. If there are fewer places than
// keys they take turns: one that has nothing is served before callers of other
// keys who came after it did, once the resource was there for as long as it took
// to make, and before all of them, once it was there four times as long. So a
// busy key can not starve a quiet one.
//
// It is wise to let no key have all, by a MaxSize below MaxTotal: what is leased
// or being made is not taken back, and a key whose makes hang keeps their places
// until [Config.MakeTimeout]. [Config.MinIdle] takes
// places only while there are free ones, and [Pool.Warm] those of idle resources
// too, but of no other call of Warm that has no more. A place whose Destroy takes
// longer than about a second is waited for no more: something else gives way.
//
// A key costs memory, and no goroutine.
type Keyed[K comparable, T any] struct {
	cfg     KeyedConfig[K, T] // constant
	checked bool              // constant: not every key can be looked up
	common  shared[T]
	slots   keymap.Map[K, *slot[K, T]]
	closed  atomic.Bool
	tidying sync.Mutex // held while onTidy runs

	mu    sync.Mutex
	gone  Stats         // of pools that are gone
	open  int           // pools that are not
	empty chan struct{} // closed when none is open and closed is set
	tidy  *time.Timer   // nil: no key yet
	armed bool          // it is to fire
}

// slot is a key's place in the map.
type slot[K comparable, T any] struct {
	key  K
	once sync.Once // makes pool or err
	pool atomic.Pointer[Pool[T]]
	err  error
	over atomic.Bool // forgotten: who meets pool closed is to ask again
}

// get returns the pool of s, which is made if it is not there yet.
func (k *Keyed[K, T]) get(s *slot[K, T]) (*Pool[T], error) {
	if p := s.pool.Load(); p != nil {
		return p, nil
	}
	s.once.Do(func() { k.fill(s) })
	if p := s.pool.Load(); p != nil {
		return p, nil
	}
	return nil, s.err
}

// NewKeyed returns a Keyed for cfg, which it copies. The error names every bad
// field. Call [Keyed.Close] when done.
func NewKeyed[K comparable, T any](cfg KeyedConfig[K, T]) (*Keyed[K, T], error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.ForgetAfter == 0 {
		cfg.ForgetAfter = DefaultForgetAfter
	}
	k := &Keyed[K, T]{cfg: cfg, checked: checksKeys(reflect.TypeFor[K]()), empty: make(chan struct{})}
	k.common.base = time.Now()
	k.common.budget = budget.New(cfg.MaxTotal, func() time.Duration { return time.Since(k.common.base) })
	k.common.drained = k.ended
	return k, nil
}

// Acquire lends a resource of that key, as [Pool.Acquire] does, which says what
// it waits for and how it fails. It fails besides with [ErrBadKey] and with what
// [KeyedConfig.Config] returned; these are not counted in Stats, since there is
// no pool.
func (k *Keyed[K, T]) Acquire(ctx context.Context, key K) (Lease[T], error) {
	for {
		p, err := k.Pool(key)
		if err != nil {
			k.countClosed(err)
			return Lease[T]{}, err
		}
		l, err := p.acquireUncounted(ctx, Request{})
		if err == nil || !k.again(p, err) {
			return p.acquired(ctx, l, err)
		}
	}
}

// countClosed counts an acquire that finds the Keyed closed.
func (k *Keyed[K, T]) countClosed(err error) {
	if a, ok := err.(*AcquireError); ok && a.Reason == ReasonClosed {
		k.common.failures[ReasonClosed].Add(1)
	}
}

// AcquireWith is Acquire with particulars for the policies.
func (k *Keyed[K, T]) AcquireWith(ctx context.Context, key K, r Request) (Lease[T], error) {
	for {
		p, err := k.Pool(key)
		if err != nil {
			k.countClosed(err)
			return Lease[T]{}, err
		}
		l, err := p.acquireUncounted(ctx, r)
		if err == nil || !k.again(p, err) {
			return p.acquired(ctx, l, err)
		}
	}
}

// TryAcquire lends an idle resource of that key if there is one and nobody
// waits for it, as [Pool.TryAcquire] does. A key that is not in use stays so.
func (k *Keyed[K, T]) TryAcquire(key K) (Lease[T], bool) {
	p, ok := k.Find(key)
	if !ok {
		if k.checkKey(key) == nil {
			k.common.failures[ReasonNoneIdle].Add(1)
		}
		return Lease[T]{}, false
	}
	return p.TryAcquire()
}

// Do lends a resource of that key to f, as [Pool.Do] does.
func (k *Keyed[K, T]) Do(ctx context.Context, key K, f func(context.Context, T) error) error {
	return k.DoWith(ctx, key, Request{}, f)
}

// DoWith is Do with particulars for the policies, as [Pool.DoWith].
func (k *Keyed[K, T]) DoWith(ctx context.Context, key K, r Request, f func(context.Context, T) error) error {
	l, err := k.AcquireWith(ctx, key, r)
	if err != nil {
		return err
	}
	return l.do(ctx, f)
}

// Pool returns the pool for key, and makes it if there is none. It may be used
// like any other, to [Pool.Warm] or [Pool.Resize] it, and to [Pool.Reset] what
// that key has. To close it is to drain the key. A pool that is forgotten is
// closed: so do not keep it, but ask again. It fails with [ErrBadKey], or with
// what [KeyedConfig.Config] returned.
func (k *Keyed[K, T]) Pool(key K) (*Pool[T], error) {
	if err := k.checkKey(key); err != nil {
		return nil, err
	}
	s, ok := k.slots.Load(key)
	if !ok {
		s, _ = k.slots.LoadOrStore(key, &slot[K, T]{key: key})
	}
	return k.get(s)
}

// Find returns the pool for key if there is one. See [Keyed.Pool].
func (k *Keyed[K, T]) Find(key K) (*Pool[T], bool) {
	if k.checkKey(key) != nil {
		return nil, false
	}
	s, ok := k.slots.Load(key)
	if !ok {
		return nil, false
	}
	p := s.pool.Load()
	return p, p != nil
}

// All yields every key in use, with its pool, in no order. See [Keyed.Pool].
func (k *Keyed[K, T]) All() iter.Seq2[K, *Pool[T]] {
	return func(yield func(K, *Pool[T]) bool) {
		for _, e := range k.slots.Entries() {
			if p := e.Value.pool.Load(); p != nil && !yield(e.Key, p) {
				return
			}
		}
	}
}

// Len returns how many keys are in use.
func (k *Keyed[K, T]) Len() int { return k.slots.Len() }

// Resize changes the total. Growing lets callers who wait have new resources at
// once. Shrinking destroys surplus idle resources at once, the least recently
// used first, and interrupts no holder: leased ones go, while there are too
// many, as they are given back. It fails if max is less than 1, or with
// [ErrClosed].
func (k *Keyed[K, T]) Resize(max int) error {
	if err := checkSize(max); err != nil {
		return fmt.Errorf("resource: new total %w", err)
	}
	if k.closed.Load() {
		return ErrClosed
	}
	k.common.budget.Resize(max)
	k.common.budget.Settle()
	return nil
}

// Reset replaces everything made before it, of all keys, as [Pool.Reset] does.
func (k *Keyed[K, T]) Reset(cause error) {
	for _, p := range k.All() {
		p.Reset(cause)
	}
}

// Drain ends that key: its waiters and whoever asks for it get [ErrClosed], idle
// resources are destroyed, leased ones when their lease ends. When it returns nil
// nothing of the key is left, and the key may be used anew. If ctx ends before
// it returns a [*CloseError]; the draining goes on. A key that is not in use is
// drained.
func (k *Keyed[K, T]) Drain(ctx context.Context, key K) error {
	if k.checkKey(key) != nil {
		return nil // it was never in use
	}
	s, ok := k.slots.Load(key)
	if !ok {
		return nil
	}
	p := s.pool.Load()
	if p == nil {
		return nil // Config has not returned: whoever uses it does so anew
	}
	if err := p.Close(ctx); err != nil {
		return err
	}
	k.drop(s)
	return nil
}
