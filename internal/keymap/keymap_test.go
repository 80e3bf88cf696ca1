package keymap_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/respool/respool/internal/keymap"
)

func TestZeroMapIsEmpty(t *testing.T) {
	var m keymap.Map[string, int]
	if v, ok := m.Load("a"); ok || v != 0 {
		t.Errorf("Load of an empty map: %d, %t", v, ok)
	}
	if m.Delete("a", 0) {
		t.Error("Delete found something in an empty map")
	}
	if m.Len() != 0 || len(m.Entries()) != 0 {
		t.Errorf("an empty map has %d keys and %d entries", m.Len(), len(m.Entries()))
	}
}

func TestFirstStays(t *testing.T) {
	var m keymap.Map[string, int]
	if v, loaded := m.LoadOrStore("a", 1); loaded || v != 1 {
		t.Errorf("the first LoadOrStore: %d, %t", v, loaded)
	}
	if v, loaded := m.LoadOrStore("a", 2); !loaded || v != 1 {
		t.Errorf("the second LoadOrStore: %d, %t; want the first's 1", v, loaded)
	}
	if m.Delete("a", 2) {
		t.Error("Delete removed another value than it was told")
	}
	if !m.Delete("a", 1) {
		t.Error("Delete did not find what is there")
	}
	if v, loaded := m.LoadOrStore("a", 3); loaded || v != 3 {
		t.Errorf("LoadOrStore after Delete: %d, %t", v, loaded)
	}
	for range 10 { // until the copy was made
		if v, ok := m.Load("a"); !ok || v != 3 {
			t.Errorf("Load after Delete and LoadOrStore: %d, %t; want 3", v, ok)
		}
	}
}

// A lookup does not allocate, amortized, whatever the type of the key.
func TestLoadAllocatesNothing(t *testing.T) {
	var m keymap.Map[string, int]
	var keys []string
	for i := range 100 {
		keys = append(keys, strings.Repeat("k", 20)+fmt.Sprint(i))
		m.LoadOrStore(keys[i], i)
	}
	n := 0
	if allocs := testing.AllocsPerRun(1000, func() {
		v, ok := m.Load(keys[n%len(keys)])
		if !ok || v != n%len(keys) {
			t.Errorf("Load: %d, %t", v, ok)
		}
		n++
	}); allocs != 0 {
		t.Errorf("%v allocations per Load, want 0", allocs)
	}
}

// Deleted keys and their values are released.
func TestNothingIsRetained(t *testing.T) {
	type value struct{ _ [1024]byte }
	var m keymap.Map[string, *value]
	kept := &value{}
	m.LoadOrStore("kept", kept)
	var gone []weak.Pointer[value]
	for i := range 100 {
		key, v := fmt.Sprint(i), &value{}
		m.LoadOrStore(key, v)
		for range 4 { // to be included in the copy
			m.Load(key)
		}
		gone = append(gone, weak.Make(v))
		m.Delete(key, v)
	}
	runtime.GC()
	alive := 0
	for _, w := range gone {
		if w.Value() != nil {
			alive++
		}
	}
	if alive > 2 { // the number of keys, plus the one deleted last
		t.Errorf("%d of 100 deleted values are still in memory, beside one key", alive)
	}
	if v, ok := m.Load("kept"); !ok || v != kept || m.Len() != 1 {
		t.Errorf("what was kept: %t, of %d", ok, m.Len())
	}
}

// A Load that begins after a Delete has returned never returns the deleted value, during
// concurrent changes.
func TestDeletedIsNotFoundAgain(t *testing.T) {
	var m keymap.Map[string, int64]
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 { // other goroutines cause copies
		wg.Go(func() {
			for n := int64(0); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprint("other", i, n%7)
				v, _ := m.LoadOrStore(key, n)
				m.Load(key)
				m.Delete(key, v)
			}
		})
	}
	for i := range 4 {
		wg.Go(func() { // each key has one writer, which knows the expected value
			key := fmt.Sprint("mine", i)
			for n, end := int64(1), time.Now().Add(300*time.Millisecond); time.Now().Before(end); n++ {
				if v, loaded := m.LoadOrStore(key, n); loaded || v != n {
					t.Errorf("%s: stored %d, got %d, %t", key, n, v, loaded)
					return
				}
				if v, ok := m.Load(key); !ok || v != n {
					t.Errorf("%s: have %d, got %d, %t", key, n, v, ok)
					return
				}
				if !m.Delete(key, n) {
					t.Errorf("%s: %d was not there to delete", key, n)
					return
				}
				if v, ok := m.Load(key); ok {
					t.Errorf("%s: deleted %d, got %d", key, n, v)
					return
				}
			}
		})
	}
	time.AfterFunc(300*time.Millisecond, func() { close(stop) })
	wg.Wait()
	if n := m.Len(); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// Of concurrent LoadOrStore calls one stores, and all return its value.
func TestLoadOrStoreHasOneWinner(t *testing.T) {
	for range 200 {
		var m keymap.Map[string, int]
		got := make([]int, 8)
		stored := make([]bool, 8)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				v, loaded := m.LoadOrStore("k", i)
				got[i], stored[i] = v, !loaded
			})
		}
		wg.Wait()
		winners := 0
		for i := range got {
			if stored[i] {
				winners++
			}
			if got[i] != got[0] {
				t.Fatalf("callers got %v", got)
			}
		}
		if winners != 1 {
			t.Fatalf("%d callers stored", winners)
		}
	}
}

// With 10,000 other keys.
func BenchmarkLoad(b *testing.B) {
	var m keymap.Map[string, int]
	var keys []string
	for i := range 10_000 {
		keys = append(keys, fmt.Sprint("host", i, ".example.com:443"))
		m.LoadOrStore(keys[i], i)
	}
	for _, key := range keys {
		m.Load(key)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			m.Load(keys[i%64])
		}
	})
}
