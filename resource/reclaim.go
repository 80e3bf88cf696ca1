package resource

import "time"

// Reclaim ends, in place of its holder, a lease that was leaked, and destroys the
// resource with [ErrReclaimed]: its slot and its permits are free then, without a
// restart. The two numbers are those that [Pool.Inspect], LeaseEvent and the
// metrics show; the lease's ordinal keeps Reclaim from ending the next lease of
// that resource. It returns false, and does nothing, if that lease does not run.
// Its cost grows with the number of resources.
//
// Nor does it end a lease in its first second, or one that its caller has not yet,
// as long as a Health check runs before it: that returns false too.
//
// It is for an operator who knows that the holder is gone or stuck, and dangerous
// where that is not so: Destroy runs while the holder still uses the value, which
// is a data race unless the value's type permits its Close beside other calls, as
// that of a net.Conn does. What the holder does then fails in its hands: Value
// panics, and the end of the lease does nothing.
func (p *Pool[T]) Reclaim(id, lease uint64) bool {
	var found *entry[T]
	var held time.Duration
	p.inspector.each(func(e *entry[T]) bool {
		if e.id == id {
			found, held = e, e.inspect(&p.clock).Held
		}
		return found == nil
	})
	if found == nil || lease == 0 || held < reclaimAfter || found.vetting.Load() == lease || !found.word.Holds(lease) {
		return false
	}
	Lease[T]{found, lease}.Discard(ErrReclaimed)
	return true
}

// reclaimAfter is how old a lease must be to be reclaimed. It is far longer than a
// caller takes from the moment in which it is lent a resource to its return.
const reclaimAfter = time.Second
