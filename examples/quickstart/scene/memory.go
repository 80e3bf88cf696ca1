package scene

import (
	"runtime"
	"runtime/metrics"
	"time"
)

// memory samples the heap of the whole process, the embedded server included, while one
// half runs. Each half begins after a garbage collection.
type memory struct {
	before heap
	peak   uint64
	quit   chan struct{}
	ended  chan struct{}
}

type heap struct{ inUse, allocated uint64 }

// memoryTick is short compared with a half and long compared with the cost of one sample.
const memoryTick = 2 * time.Millisecond

func watchMemory() *memory {
	runtime.GC()
	runtime.GC() // the second frees what sync.Pool kept in the first
	m := &memory{before: readHeap(), quit: make(chan struct{}), ended: make(chan struct{})}
	m.peak = m.before.inUse
	go m.watch()
	return m
}

func (m *memory) watch() {
	defer close(m.ended)
	t := time.NewTicker(memoryTick)
	defer t.Stop()
	for {
		m.peak = max(m.peak, readHeap().inUse)
		select {
		case <-t.C:
		case <-m.quit:
			return
		}
	}
}

// stop returns by how much the heap in use grew at its peak, and how much was
// allocated in all.
func (m *memory) stop() (peak, allocated uint64) {
	close(m.quit)
	<-m.ended
	now := readHeap()
	return max(m.peak, now.inUse) - m.before.inUse, now.allocated - m.before.allocated
}

func readHeap() heap {
	s := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/gc/heap/allocs:bytes"},
	}
	metrics.Read(s)
	return heap{inUse: s[0].Value.Uint64() + s[1].Value.Uint64(), allocated: s[2].Value.Uint64()}
}
