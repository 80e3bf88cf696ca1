package keymap_test

import (
	"testing"

	"github.com/respool/respool/internal/keymap"
)

// FuzzMap applies the same operations to a Map and a plain map and compares them.
func FuzzMap(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 64, 65, 128, 192, 1, 2})
	f.Add([]byte{1, 129, 65, 1, 65, 65, 129, 65, 193})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var m keymap.Map[byte, int]
		model := map[byte]int{}
		for n, step := range steps {
			key := step & 7
			want, there := model[key]
			switch step >> 6 {
			case 0:
				v, loaded := m.LoadOrStore(key, n)
				if !there {
					model[key], want = n, n
				}
				if v != want || loaded != there {
					t.Fatalf("step %d: LoadOrStore(%d): %d, %t; want %d, %t", n, key, v, loaded, want, there)
				}
			case 1:
				if v, ok := m.Load(key); ok != there || v != want {
					t.Fatalf("step %d: Load(%d): %d, %t; want %d, %t", n, key, v, ok, want, there)
				}
			case 2:
				if m.Delete(key, want) != there {
					t.Fatalf("step %d: Delete(%d) where the key is there: %t", n, key, there)
				}
				delete(model, key)
			default:
				if m.Delete(key, -1) {
					t.Fatalf("step %d: Delete(%d) of another value", n, key)
				}
			}
			if m.Len() != len(model) {
				t.Fatalf("step %d: %d keys, want %d", n, m.Len(), len(model))
			}
		}
		for _, e := range m.Entries() {
			if v, ok := model[e.Key]; !ok || v != e.Value {
				t.Fatalf("entry %d: %d, want %d, %t", e.Key, e.Value, v, ok)
			}
			delete(model, e.Key)
		}
		if len(model) != 0 {
			t.Fatalf("%d keys are missing among the entries", len(model))
		}
	})
}
