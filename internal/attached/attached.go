// Package attached lists the multiplexers that are attached to a pool.
package attached

import (
	"cmp"
	"slices"
	"sync"

	"github.com/respool/respool/resource"
)

// maxNames bounds the names that All returns, since they become labels of metrics. Further ones
// are counted under otherName.
const (
	maxNames  = 32
	otherName = "other"
)

// List has the multiplexers of a pool or, with a key for each pool, of many. It is safe for
// concurrent use. The zero List is empty.
type List[K comparable] struct {
	mu   sync.Mutex
	live []*entry[K]
	past []resource.Multiplexer // counters of those that have been removed, by name
}

type entry[K comparable] struct {
	key K
	r   resource.MultiplexReporter
}

// Add adds r, and returns a function that removes it and keeps its counters.
func (l *List[K]) Add(key K, r resource.MultiplexReporter) (remove func()) {
	e := &entry[K]{key, r}
	l.mu.Lock()
	l.live = append(l.live, e)
	l.mu.Unlock()
	return sync.OnceFunc(func() {
		last, ok := e.ask(0)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.live = slices.DeleteFunc(l.live, func(o *entry[K]) bool { return o == e })
		if ok {
			l.past = merge(l.past, last.Counters(), 0)
		}
	})
}

// All returns all multiplexers by name, those of one name together, those that have been removed
// included. So a counter of a name never falls. At most limit resources are listed for each.
func (l *List[K]) All(limit int) []resource.Multiplexer {
	l.mu.Lock()
	live, all := slices.Clone(l.live), slices.Clone(l.past)
	l.mu.Unlock()
	return mergeAll(all, live, limit)
}

// Of is All for the multiplexers of one key that have not been removed. key is that of a pool, so
// it can be hashed, and comparing another key with it does not panic.
func (l *List[K]) Of(key K, limit int) []resource.Multiplexer {
	l.mu.Lock()
	var live []*entry[K]
	for _, e := range l.live {
		if e.key == key {
			live = append(live, e)
		}
	}
	l.mu.Unlock()
	return mergeAll(nil, live, limit)
}

// ask returns the state of a multiplexer; false: it panicked.
func (e *entry[K]) ask(limit int) (m resource.Multiplexer, ok bool) {
	defer func() { _ = recover() }()
	return e.r.Multiplexer(limit), true
}

// mergeAll adds the state of live to all. No lock is held.
func mergeAll[K comparable](all []resource.Multiplexer, live []*entry[K], limit int) []resource.Multiplexer {
	for _, e := range live {
		if m, ok := e.ask(limit); ok {
			all = merge(all, m, limit)
		}
	}
	slices.SortFunc(all, func(a, b resource.Multiplexer) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// merge adds m to the one of its name.
func merge(all []resource.Multiplexer, m resource.Multiplexer, limit int) []resource.Multiplexer {
	i := slices.IndexFunc(all, func(o resource.Multiplexer) bool { return o.Name == m.Name })
	if i < 0 && len(all) >= maxNames {
		m.Name = otherName
		i = slices.IndexFunc(all, func(o resource.Multiplexer) bool { return o.Name == otherName })
	}
	if i < 0 {
		return append(all, m)
	}
	all[i] = all[i].Merge(m, limit)
	return all
}
