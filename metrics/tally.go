package metrics

import (
	"maps"
	"sync"
)

// other is what is counted once there are maxLabels labels that are not ours.
const (
	other     = "other"
	maxLabels = 32
)

// tally counts by label, a bounded number of them.
type tally struct {
	mu      sync.Mutex
	n       map[string]int64
	foreign int // labels in n that are not ours
}

// add counts one more of label, and returns what it was counted under. Labels of
// ours are few, and counted always: those of a server, which may choose its close
// codes, must not push them out.
func (t *tally) add(label string, own bool) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = make(map[string]int64)
	}
	own = own || label == other
	if _, known := t.n[label]; !known && !own {
		if t.foreign == maxLabels {
			label = other
		} else {
			t.foreign++
		}
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
