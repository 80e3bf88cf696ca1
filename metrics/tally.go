package metrics

import (
	"maps"
	"sync"
)

// other is what is counted once there are maxLabels labels.
const (
	other     = "other"
	maxLabels = 32
)

// tally counts by label, a bounded number of them.
type tally struct {
	mu sync.Mutex
	n  map[string]int64
}

// add counts one more of label, and returns what it was counted under.
func (t *tally) add(label string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = make(map[string]int64)
	}
	if _, known := t.n[label]; !known && len(t.n) >= maxLabels {
		label = other
	}
	t.n[label]++
	return label
}

// read returns a copy; never nil.
func (t *tally) read() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		return make(map[string]int64)
	}
	return maps.Clone(t.n)
}
