package resource

// Lease is one caller's hold on one resource, from an acquire to the first of
// Release, Fail, Discard or Hijack. It is a small value and may be copied; the
// copies are the same lease. It ends once: ending it again, from a copy,
// at the same time, or after the pool was closed does nothing, and never
// touches the next holder. So defer l.Release() is always right. The zero
// Lease is one that has ended.
type Lease[T any] struct {
	e   *entry[T]
	gen uint64
}

// Value returns the resource. It panics once the lease has ended: by then the
// resource may be someone else's.
func (l Lease[T]) Value() T { panic("stub") }

// Info returns what is known about the resource, Idle being how long it had
// been idle when it was leased. Once the lease has ended it is the zero Info.
func (l Lease[T]) Info() Info { panic("stub") }

// Release gives the resource back. A waiting caller gets it at once and runs
// before Release returns, so that one who keeps the CPU does not keep it from
// its next holder.
func (l Lease[T]) Release() { panic("stub") }

// Fail ends the lease after the holder's work failed with err:
// [Config.Broken] decides whether the resource is destroyed with err as cause
// or given back. A nil err is a Release. A panic in Broken destroys it.
func (l Lease[T]) Fail(err error) { panic("stub") }

// Discard ends the lease and destroys the resource. The cause is what Destroy
// and Trace see; nil means [ErrDiscarded].
func (l Lease[T]) Discard(cause error) { panic("stub") }

// Hijack ends the lease and makes the resource the caller's own: the pool
// forgets it, does not destroy it, and its place is free. It returns false,
// and the zero T, if the lease had ended.
func (l Lease[T]) Hijack() (T, bool) { panic("stub") }
