package resource_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
)

// What the lock is held for while many are listed.

// The room for a long line is made before the lock is taken: to have it grow
// there would be to copy the line there, again and again.
func TestInspect_TheLineIsNotCopiedUnderTheLock(t *testing.T) {
	edit := func(h *harness) { h.auto = func(m *makeCall) { m.finish() } }
	script(t, 1, edit, func(h *harness) {
		l := h.lend()
		allocs := func(line int) float64 {
			for range line {
				h.acquire()
			}
			h.settle()
			return testing.AllocsPerRun(10, func() { h.p.Inspect(1 << 30) })
		}
		few, many := allocs(1), allocs(1000)
		if many > few+2 {
			t.Errorf("%v allocations to list one caller, %v to list 1000", few, many)
		}
		l.Release()
	})
}

// Who lists much lets others run now and then, who may wait for the lock: it
// would be theirs only when all is listed.
func TestInspect_MakesWay(t *testing.T) {
	const n = 10_000
	p := newPlain(t, n, nil)
	if err := p.Warm(context.Background(), n); err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var turns atomic.Int64
	var over atomic.Bool
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for !over.Load() {
			turns.Add(1)
			runtime.Gosched()
		}
	}()
	for turns.Load() == 0 {
		runtime.Gosched()
	}
	before := turns.Load()
	in := p.Inspect(n)
	if got := turns.Load() - before; got < 10 || len(in.Resources) != n {
		t.Errorf("another goroutine ran %d times while %d were listed, want 10 times", got, len(in.Resources))
	}
	over.Store(true)
	<-gone
}
