package claim_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
)

// word is a claim.Word, or a mutant of one.
type word interface {
	Take(clock *atomic.Int64) (gen uint64, idle int64, ok bool)
	Return(gen uint64, tick int64) bool
	End(gen uint64) bool
	Claim() bool
	Lend(tick int64) uint64
	Park(tick int64)
	Unpark()
	Invalidate()
	Invalidated() bool
}

// thing is what is fought over.
type thing struct {
	word
	owner atomic.Int64 // 0: nobody
	plain int          // for the race detector: only the word orders its uses
	mu    sync.Mutex   // the pool's: guards whatever the pool's hands do
}

// fight is a few things and who uses them.
type fight struct {
	make    func() word
	mutant  bool
	things  [3]atomic.Pointer[thing]
	doubles atomic.Int64           // two owners at once: what the swap saw
	faults  atomic.Int64           // everything else that was wrong
	first   atomic.Pointer[string] // what was wrong first
	counts  [8]atomic.Int64        // what was done
}

const (
	took = iota
	returned
	ended
	claimed
	lent
	stood
	invalidatedOne
	stale
)

func (f *fight) fault(n *atomic.Int64, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	f.first.CompareAndSwap(nil, &text)
	n.Add(1)
}

// replace puts a fresh thing, open, in place i.
func (f *fight) replace(i int) {
	t := &thing{word: f.make()}
	t.Park(0)
	f.things[i].Store(t)
}

// fighter is one goroutine. It remembers a lease of its own that has ended.
type fighter struct {
	*fight
	id   int64
	rand *rand.Rand
	old  *thing
	gen  uint64
	at   int // where old is
}

// own is what has t does: nobody else may have it meanwhile.
func (f *fighter) own(t *thing) {
	if other := t.owner.Swap(f.id); other != 0 {
		f.fault(&f.doubles, "%d has what %d has", f.id, other)
	}
	if !f.mutant {
		t.plain++
	}
	if f.rand.IntN(4) == 0 {
		runtime.Gosched()
	}
	if other := t.owner.Swap(0); other != f.id {
		f.fault(&f.doubles, "%d had what %d has", f.id, other)
	}
}

// lease has t on lease gen and ends it; parked says whether it has a local slot.
func (f *fighter) lease(i int, t *thing, gen uint64, parked bool) {
	f.own(t)
	f.old, f.gen, f.at = t, gen, i
	if f.rand.IntN(4) > 0 && t.Return(gen, 1) {
		f.counts[returned].Add(1)
		if !parked {
			f.fault(&f.faults, "returned without a local slot")
		}
		return
	}
	if !t.End(gen) {
		f.fault(&f.faults, "lease %d does not end", gen)
		return
	}
	f.counts[ended].Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	f.pool(i, t, parked)
}

// pool does what the pool does with what is in its hands, with t.mu locked.
func (f *fighter) pool(i int, t *thing, parked bool) {
	f.own(t)
	switch {
	case t.Invalidated():
		f.replace(i)
	case f.rand.IntN(3) == 0:
		if parked && f.rand.IntN(2) == 0 {
			t.Unpark()
			parked = false
			f.counts[stood].Add(1)
		}
		f.counts[lent].Add(1)
		gen := t.Lend(2)
		t.mu.Unlock()
		defer t.mu.Lock()
		f.lease(i, t, gen, parked)
	default:
		t.Park(3)
	}
}

// step does one thing. A panic is a fault; what it left behind is replaced.
func (f *fighter) step() {
	i := f.rand.IntN(len(f.things))
	defer func() {
		if r := recover(); r != nil {
			f.fault(&f.faults, "panic: %v", r)
			f.replace(i)
		}
	}()
	t := f.things[i].Load()
	switch f.rand.IntN(8) {
	case 0, 1:
		f.seize(i, t, f.rand.IntN(16) == 0)
	case 2:
		if f.old != nil {
			f.again()
		}
	default:
		if gen, _, ok := t.Take(at(5)); ok {
			f.counts[took].Add(1)
			f.lease(i, t, gen, true)
		}
	}
}

// again ends a lease that has ended. Should that succeed it goes on as a pool would.
func (f *fighter) again() {
	f.counts[stale].Add(1)
	if f.old.Return(f.gen, 4) {
		f.fault(&f.faults, "lease %d returned twice", f.gen)
	} else if f.old.End(f.gen) {
		f.fault(&f.faults, "lease %d ended twice", f.gen)
		f.old.mu.Lock()
		defer f.old.mu.Unlock()
		f.pool(f.at, f.old, true)
	}
}

// seize takes t from its local slot into the pool's hands, invalidated or not.
func (f *fighter) seize(i int, t *thing, invalidate bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if invalidate {
		t.Invalidate()
		f.counts[invalidatedOne].Add(1)
	}
	if t.Claim() {
		f.counts[claimed].Add(1)
		f.pool(i, t, true)
	}
}

// run lets some goroutines fight until enough says so. It is asked now and then.
func (f *fight) run(seed uint64, enough func(rounds int) bool) {
	for i := range f.things {
		f.replace(i)
	}
	var wg sync.WaitGroup
	for id := range int64(8) {
		wg.Go(func() {
			me := &fighter{fight: f, id: id + 1, rand: rand.New(rand.NewPCG(seed, uint64(id)))}
			for n := 0; n%64 > 0 || !enough(n); n++ {
				me.step()
			}
		})
	}
	wg.Wait()
}
