package metrics

import (
	"maps"
	"sync"
)

// other is the label of an error without a label, and of every new label of a source
// that has added maxLabels.
const (
	other      = "other"
	maxLabels  = 32  // from one source
	maxForeign = 256 // from all sources
)

// tally counts by label. The number of labels is bounded for each source and for
// all sources, so a source whose labels a server chooses, such as close codes,
// takes no label from another source.
type tally struct {
	mu    sync.Mutex
	n     map[string]int64
	added map[any]int // labels in n, by their source
	all   int         // the sum of added
}

// add counts one more of label and returns the label that it was counted under.
// source identifies where the label comes from and is comparable; nil is the
// meter's own fixed set, whose labels are always counted.
func (t *tally) add(label string, source any) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = make(map[string]int64)
		t.added = make(map[any]int)
	}
	if _, known := t.n[label]; !known && source != nil && label != other {
		if t.added[source] == maxLabels || t.all == maxForeign {
			label = other
		} else {
			t.added[source]++
			t.all++
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
