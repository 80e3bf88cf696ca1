package metrics

import "sync"

// telling has the overdue leases whose report is under way or yet to come. One
// that ends meanwhile is not told at once, or who keeps a list of them would hear
// that it has ended before that it is overdue, and never take it off: it is kept
// for who reports it.
type telling struct {
	mu sync.Mutex
	of map[tellingKey]*Held // nil: the lease runs
}

type tellingKey struct{ id, number uint64 }

// begin notes that the lease is going to be reported. Its shelf is locked: nobody
// can have found it overdue before.
func (t *telling) begin(id, number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = make(map[tellingKey]*Held)
	}
	t.of[tellingKey{id, number}] = nil
}

// keep keeps h, which has ended, for who reports it; false: nobody is going to.
func (t *telling) keep(h Held) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := tellingKey{h.ID, h.Lease}
	if _, ok := t.of[key]; !ok {
		return false
	}
	t.of[key] = &h
	return true
}

// end says that the lease has been reported, and returns what keep was given.
func (t *telling) end(id, number uint64) (h *Held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := tellingKey{id, number}
	h = t.of[key]
	delete(t.of, key)
	return h
}
