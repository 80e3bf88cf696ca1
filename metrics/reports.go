package metrics

import "sync"

// reports holds the overdue leases whose report is running or still to be made. If
// such a lease ends, its end is kept here until the report has been made: a list
// of overdue leases, kept by OnOverdue and OnReturned, would otherwise get the end
// first, and keep the lease for ever.
type reports struct {
	mu      sync.Mutex
	pending map[leaseKey]*Held // nil: the lease has not ended
}

type leaseKey struct{ id, number uint64 }

// begin notes that the lease is going to be reported. The caller holds the lock of
// its shard, so no other goroutine has found it overdue before.
func (r *reports) begin(id, number uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending == nil {
		r.pending = make(map[leaseKey]*Held)
	}
	r.pending[leaseKey{id, number}] = nil
}

// defers keeps h, a lease that has ended, for the goroutine that reports it. It
// returns false if no report is pending.
func (r *reports) defers(h Held) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := leaseKey{h.ID, h.Lease}
	if _, ok := r.pending[key]; !ok {
		return false
	}
	r.pending[key] = &h
	return true
}

// end notes that the lease has been reported, and returns what defers was given.
func (r *reports) end(id, number uint64) (ended *Held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := leaseKey{id, number}
	ended = r.pending[key]
	delete(r.pending, key)
	return ended
}
