package resource

import (
	"context"
)

type entry[T any] struct{ pool *Pool[T] }

// Waiter is a caller that waits, as a [Queue] sees it.
type Waiter struct {
	Request Request
}

// Pool lends resources of type T. Make one with [New]. All methods may be
// called by any number of goroutines at once.
type Pool[T any] struct{}

// New returns a pool for cfg, which it copies, and begins to make
// [Config.MinIdle] resources in the background. The error names every bad
// field. Call [Pool.Close] when done.
func New[T any](cfg Config[T]) (*Pool[T], error) { panic("stub") }

// Acquire lends a resource: an idle one, or else the first that is given back
// or made for those who wait. It blocks until then, until ctx ends or the pool
// is closed, and fails with an [*AcquireError]. A ctx that has ended gets
// nothing, even if a resource is idle. The caller ends the lease.
func (p *Pool[T]) Acquire(ctx context.Context) (Lease[T], error) { panic("stub") }

// AcquireWith is Acquire with particulars for the policies.
func (p *Pool[T]) AcquireWith(ctx context.Context, r Request) (Lease[T], error) { panic("stub") }

// TryAcquire lends an idle resource if there is one and nobody waits. It never
// waits and never makes. The Admission is asked with [Request.NoWait], Eviction
// and Health as ever.
func (p *Pool[T]) TryAcquire() (Lease[T], bool) { panic("stub") }

// Do lends a resource to f and ends the lease when f returns: with
// [Lease.Release] if it returns nil, [Lease.Fail] if an error, which Do
// returns; if f panics or calls runtime.Goexit the resource is destroyed and
// the panic goes on.
func (p *Pool[T]) Do(ctx context.Context, f func(context.Context, T) error) error { panic("stub") }

// Warm makes resources until n exist, or as many as MaxSize allows, and waits
// for them. It fails with the first make's failure, with ctx, or [ErrClosed];
// makes already begun go on.
func (p *Pool[T]) Warm(ctx context.Context, n int) error { panic("stub") }

// Resize changes the maximum. Growing lets waiters have new resources at once.
// Shrinking destroys surplus idle resources at once, the ones idle longest
// first, and interrupts no holder: leased ones go, while too many exist, as
// they are given back. It fails if max is less than 1.
func (p *Pool[T]) Resize(max int) error { panic("stub") }

// Reset replaces everything made before it, or being made: idle resources are
// destroyed now, leased ones when their lease ends. The cause is what Destroy
// and Trace see; nil means [ErrReset].
func (p *Pool[T]) Reset(cause error) { panic("stub") }

// Stats returns a snapshot. Its cost does not depend on how many resources
// there are.
func (p *Pool[T]) Stats() Stats { panic("stub") }

// Close ends the pool: waiters get [ErrClosed] at once, makes are cancelled,
// idle resources destroyed, leased ones when their lease ends. It returns nil
// when nothing of the pool runs any more, or a [*CloseError] when ctx ends
// before; the closing goes on, and Close may be called again to wait for it.
func (p *Pool[T]) Close(ctx context.Context) error { panic("stub") }
