// Package keymap is a map for keys that are looked up all the time and seldom
// come or go: a lookup takes no lock and allocates nothing. (sync.Map does too,
// but keeps keys in an interface, which allocates for each lookup of a string.)
package keymap

import (
	"sync"
	"sync/atomic"
)

// Map holds values by key. The zero Map is empty. All methods may be called by
// any number of goroutines at once.
type Map[K comparable, V comparable] struct {
	// read is a copy of all that is never written. It may lack what came since
	// it was taken, and have what went, whose box says so.
	read atomic.Pointer[map[K]*box[V]]

	mu     sync.Mutex
	all    map[K]*box[V]
	missed int // lookups that read could not answer and all could
	dead   int // boxes in read that are gone
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
	// One copy for as many lookups as it has keys: a constant for each.
	if m.missed++; m.missed >= len(m.all) {
		m.copy()
	}
	return b.value, true
}

// LoadOrStore returns the value for key, which is v if there was none.
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

// Delete removes key if its value is v. It reports whether it was.
func (m *Map[K, V]) Delete(key K, v V) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.all[key]
	if b == nil || b.value != v {
		return false
	}
	b.gone.Store(true)
	delete(m.all, key)
	if m.dead++; m.dead > len(m.all) { // do not hold on to them
		m.copy()
	}
	return true
}

// copy renews read. The Map is locked.
func (m *Map[K, V]) copy() {
	read := make(map[K]*box[V], len(m.all))
	for k, b := range m.all {
		read[k] = b
	}
	m.read.Store(&read)
	m.missed, m.dead = 0, 0
}

// Len returns how many keys there are.
func (m *Map[K, V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all)
}

// Entry is one key with its value.
type Entry[K comparable, V comparable] struct {
	Key   K
	Value V
}

// Entries returns what was in the map at one instant, in no order.
func (m *Map[K, V]) Entries() []Entry[K, V] {
	m.mu.Lock()
	defer m.mu.Unlock()
	es := make([]Entry[K, V], 0, len(m.all))
	for k, b := range m.all {
		es = append(es, Entry[K, V]{k, b.value})
	}
	return es
}
