package resource

import "sync/atomic"

// registry has every resource from the end of its creation to the beginning of its
// end, in no order. Its user holds the pool's lock.
//
// A walk over it goes from the end to the front, a few resources under each hold of
// the lock: a resource that is removed meanwhile is replaced by the last one, which
// the walk has visited.
type registry[T any] struct {
	all      []*entry[T]
	expiring int            // of all, those whose expiring is set
	listings uint64         // how many times all was listed
	ids      *atomic.Uint64 // constant: the last ID; shared by the pools of a Keyed
}

func (r *registry[T]) add(e *entry[T]) {
	e.index = len(r.all)
	r.all = append(r.all, e)
}

// remove takes e out: it is gone.
func (r *registry[T]) remove(e *entry[T]) {
	e.loc = gone
	if e.expiring {
		r.expiring--
	}
	last := len(r.all) - 1
	r.all[e.index] = r.all[last]
	r.all[e.index].index = e.index
	r.all[last] = nil
	r.all = r.all[:last]
}

// setExpiring notes that e is expected to end soon.
func (r *registry[T]) setExpiring(e *entry[T]) {
	e.expiring = true
	r.expiring++
}

// before returns up to n resources before index from, and the index of the first.
func (r *registry[T]) before(from, n int) ([]*entry[T], int) {
	upTo := min(from, len(r.all))
	from = max(0, upTo-n)
	return r.all[from:upTo], from
}
