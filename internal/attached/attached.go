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
	ends []ended[K]             // the same by key, the latest last; at most maxEnds
}

// ended has the counters of the multiplexers of one key and name that have been removed.
type ended[K comparable] struct {
	key K
	m   resource.Multiplexer
}

// maxEnds is for how many keys and names the counters of removed multiplexers are kept. A program
// may use any number of keys.
const maxEnds = 256

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
			l.endLocked(key, last.Counters())
		}
	})
}

// All returns all multiplexers by name, those of one name together, those that have been removed
// included. So a counter of a name never falls, unless that of a multiplexer rises while it is being
// removed. At most limit resources are listed for each.
func (l *List[K]) All(limit int) []resource.Multiplexer {
	l.mu.Lock()
	live, all := slices.Clone(l.live), slices.Clone(l.past)
	l.mu.Unlock()
	return mergeAll(all, live, limit)
}

// Of is All for the multiplexers of one key. Those that have been removed are left out when maxEnds
// others, of other keys or names, have been removed since.
func (l *List[K]) Of(key K, limit int) (all []resource.Multiplexer) {
	l.mu.Lock()
	var live []*entry[K]
	for _, e := range l.live {
		if same(e.key, key) {
			live = append(live, e)
		}
	}
	for _, e := range l.ends {
		if same(e.key, key) {
			all = append(all, e.m)
		}
	}
	l.mu.Unlock()
	return mergeAll(all, live, limit)
}

// endLocked keeps the counters of a multiplexer that was removed.
func (l *List[K]) endLocked(key K, m resource.Multiplexer) {
	i := slices.IndexFunc(l.ends, func(e ended[K]) bool { return e.m.Name == m.Name && same(e.key, key) })
	if i < 0 && len(l.ends) >= maxEnds {
		l.ends = slices.Delete(l.ends, 0, 1)
	}
	if i >= 0 {
		m = l.ends[i].m.Merge(m, 0)
		l.ends = slices.Delete(l.ends, i, i+1)
	}
	l.ends = append(l.ends, ended[K]{key, m})
}

// same reports whether a and b are equal. Values of an interface type, such as slices, may have
// no equality: then comparing them panics, and they are not equal.
func same[K comparable](a, b K) (yes bool) {
	defer func() { _ = recover() }()
	return a == b
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
