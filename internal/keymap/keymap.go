// Package keymap is a concurrent map for frequent lookups and rare changes: a lookup takes
// no lock and does not allocate. (A lookup in sync.Map takes no lock either, but converts
// the key to an interface, which allocates for a string.)
package keymap

import (
	"sync"
	"sync/atomic"
)

// Map holds values by key. The zero Map is empty. All methods are safe for concurrent use.
type Map[K comparable, V comparable] struct {
	// read is an immutable copy of all. It may lack keys added after it was
	// made, and contain deleted ones, whose box is marked gone.
	read atomic.Pointer[map[K]*box[V]]

	mu     sync.Mutex
	all    map[K]*box[V]
	missed int // lookups of keys that are in all and not in read
	dead   int // boxes in read that are marked gone
}

type box[V any] struct {
	value V
	gone  atomic.Bool
}

// Load returns the value for key.
func (m *Map[K, V]) Load(key K) (v V, ok bool) {
	if read := m.read.Load(); read != nil {
		if b := (*read)[key]; b != nil && !b.gone.Load() {
			return b.value, true
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.all[key]
	if b == nil {
		return v, false
	}
	// One copy per len(all) misses: amortized constant cost per lookup.
	if m.missed++; m.missed >= len(m.all) {
		m.copyLocked()
	}
	return b.value, true
}

// LoadOrStore returns the value for key, after storing v if there was none.
func (m *Map[K, V]) LoadOrStore(key K, v V) (actual V, loaded bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := m.all[key]; b != nil {
		return b.value, true
	}
	if m.all == nil {
		m.all = make(map[K]*box[V])
	}
	m.all[key] = &box[V]{value: v}
	return v, false
}

// Delete removes key if its value is v, and reports whether it did.
func (m *Map[K, V]) Delete(key K, v V) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.all[key]
	if b == nil || b.value != v {
		return false
	}
	b.gone.Store(true)
	delete(m.all, key)
	if m.dead++; m.dead > len(m.all) { // release the references to deleted values
		m.copyLocked()
	}
	return true
}

// copyLocked replaces read by a copy of all.
func (m *Map[K, V]) copyLocked() {
	read := make(map[K]*box[V], len(m.all))
	for k, b := range m.all {
		read[k] = b
	}
	m.read.Store(&read)
	m.missed, m.dead = 0, 0
}

// Len returns the number of keys.
func (m *Map[K, V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all)
}

// Entry is a key with its value.
type Entry[K comparable, V comparable] struct {
	Key   K
	Value V
}

// Entries returns the entries of the map at one instant, in no order.
func (m *Map[K, V]) Entries() []Entry[K, V] {
	m.mu.Lock()
	defer m.mu.Unlock()
	es := make([]Entry[K, V], 0, len(m.all))
	for k, b := range m.all {
		es = append(es, Entry[K, V]{k, b.value})
	}
	return es
}
