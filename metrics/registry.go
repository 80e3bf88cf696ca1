package metrics

import (
	"cmp"
	"slices"
	"sync"
)

// watching holds the meters that watch, by name.
var watching = struct {
	sync.Mutex
	byName map[string]*Meter
}{byName: make(map[string]*Meter)}

// All returns the meters of the process that watch a pool, sorted by name. The
// caller owns the slice.
func All() []*Meter {
	watching.Lock()
	defer watching.Unlock()
	all := make([]*Meter, 0, len(watching.byName))
	for _, m := range watching.byName {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *Meter) int { return cmp.Compare(a.name, b.name) })
	return all
}

// register adds m and returns true, unless its name is taken.
func register(m *Meter) bool {
	watching.Lock()
	defer watching.Unlock()
	if watching.byName[m.name] != nil {
		return false
	}
	watching.byName[m.name] = m
	return true
}

func unregister(m *Meter) {
	watching.Lock()
	defer watching.Unlock()
	delete(watching.byName, m.name)
}
