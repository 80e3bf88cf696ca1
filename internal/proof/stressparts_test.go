package proof_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// part is the resource of the stress test. All its fields are atomic, so that observing it
// adds no happens-before edge that the pool does not provide itself.
type part struct {
	n          int64
	owner      atomic.Int64 // 0: none
	fate       atomic.Int32
	late       bool // the context of its make had ended, so the pool may have given it up: it takes no slot
	invalidate atomic.Pointer[func(error)]
}

const (
	alive int32 = iota
	destroyed
	hijacked
)

// factory makes and destroys parts with random behavior.
type factory struct {
	t        judge
	most     int64 // largest number of slots
	scale    int   // factor by which failures are rarer
	patience time.Duration
	healed   atomic.Bool
	slots    atomic.Int64
	makes    atomic.Int64
	mu       sync.Mutex
	parts    []*part
	making   map[*makeCall]bool
	first    sync.Once
	lent     chan struct{} // closed when the first lease begins
}

func newFactory(t judge, most, scale int) *factory {
	return &factory{
		t: t, most: int64(most), scale: scale, patience: 500 * time.Millisecond,
		making: make(map[*makeCall]bool), lent: make(chan struct{}),
	}
}

// makeCall is a call of make that has not returned.
type makeCall struct {
	ctx   context.Context
	ended bool // begin has found that its context has ended: it takes no slot any more
}

var errYard = errors.New("planned failure")

// begin takes a slot for a creation with ctx. When the context of another has ended, by
// MakeTimeout or a Reset, the pool soon gives that one up. The end is looked for here, and not
// counted by a goroutine of its own: that may run later than the creation that the pool begins
// instead.
func (y *factory) begin(ctx context.Context) *makeCall {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.slots.Add(1) > y.most {
		for m := range y.making {
			if !m.ended && m.ctx.Err() != nil {
				m.ended = true
				y.slots.Add(-1)
			}
		}
	}
	if n := y.slots.Load(); n > y.most {
		y.t.Errorf("I1: %d slots taken of at most %d", n, y.most)
	}
	m := &makeCall{ctx: ctx}
	y.making[m] = true
	return m
}

// end ends m, with its part or nil. It keeps the slot for a part that is not late.
func (y *factory) end(m *makeCall, p *part) {
	y.mu.Lock()
	defer y.mu.Unlock()
	delete(y.making, m)
	late := m.ctx.Err() != nil
	if (late || p == nil) && !m.ended {
		y.slots.Add(-1)
	}
	if p != nil {
		p.late = late
		y.parts = append(y.parts, p)
	}
}

// make is Config.Make: mostly it succeeds soon.
func (y *factory) make(ctx context.Context) (made *part, err error) {
	m := y.begin(ctx)
	defer func() { y.end(m, made) }()
	chance := rand.IntN(1000 * y.scale)
	if y.healed.Load() {
		chance = 1000 // of 1000: success
	}
	time.Sleep(time.Duration(rand.IntN(1500)) * time.Microsecond)
	switch {
	case chance < 50:
		return nil, errYard
	case chance < 55:
		panic(errYard)
	case chance < 60:
		runtime.Goexit()
	case chance < 63:
		<-ctx.Done()
		return nil, ctx.Err()
	case chance < 64: // ignores its context: the pool gives it up before it returns
		<-ctx.Done()
		time.Sleep(y.patience)
	}
	return &part{n: y.makes.Add(1)}, nil
}

func (y *factory) watch(p *part, invalidate func(error)) {
	p.invalidate.Store(&invalidate)
	if rand.IntN(200*y.scale) == 0 {
		invalidate(errDead)
	}
}

func (y *factory) destroy(p *part, cause error) {
	if !p.fate.CompareAndSwap(alive, destroyed) {
		y.t.Errorf("I3: part %d destroyed (%v), its fate was %d", p.n, cause, p.fate.Load())
	}
	if o := p.owner.Load(); o != 0 {
		y.t.Errorf("I2: part %d destroyed (%v) while %d has it", p.n, cause, o)
	}
	time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond) // the time of a Destroy
	if !p.late {
		y.slots.Add(-1)
	}
	if rand.IntN(100) == 0 {
		panic(errYard)
	}
}

// some returns a part that was made recently; nil if there is none.
func (y *factory) some() *part {
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.parts) == 0 {
		return nil
	}
	from := max(0, len(y.parts)-20)
	return y.parts[from+rand.IntN(len(y.parts)-from)]
}

// randomHealth fails for a few parts.
type randomHealth struct{ y *factory }

func (h randomHealth) Check(_ context.Context, p *part, i resource.Info) error {
	if o := p.owner.Load(); o != 0 {
		h.y.t.Errorf("I2: part %d checked while %d has it", p.n, o)
	}
	if !h.y.healed.Load() && i.Leases > 0 && rand.IntN(200) == 0 {
		return errSick
	}
	return nil
}

// randomEviction evicts parts that were lent often.
type randomEviction struct{}

func (randomEviction) Evict(i resource.Info) error {
	if i.Leases > 200+int64(i.Jitter*100) {
		return errEvicted
	}
	return nil
}

// holder is one goroutine of the stress test.
type holder struct {
	y    *factory
	id   int64
	pool pool[*part]
	rand *rand.Rand
	old  []lease[*part]
	got  int
}

// run performs random operations until stop.
func (h *holder) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			h.once()
		}
	}
}

func (h *holder) once() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+h.rand.IntN(20_000))*time.Microsecond)
	defer cancel()
	var l lease[*part]
	var err error
	switch h.rand.IntN(10) {
	case 0:
		ok := false
		if l, ok = h.pool.TryAcquire(); !ok {
			return
		}
	case 1:
		if l, err = h.pool.AcquireWith(ctx, resource.Request{NoWait: true}); err != nil {
			return
		}
	case 2:
		h.do(ctx)
		return
	default:
		if l, err = h.pool.AcquireWith(ctx, resource.Request{}); err != nil {
			return
		}
	}
	p := h.value(l)
	if p == nil {
		return
	}
	h.take(p)
	h.dawdle()
	h.stale()
	h.end(l, p)
	h.old = append(h.old, l)
}

// value returns the value of l. If another goroutine has ended l it is nil, and the test
// panics.
func (h *holder) value(l lease[*part]) *part {
	defer func() {
		if v := recover(); v != nil {
			h.y.t.Errorf("I2: a lease ended under its holder %d: %v", h.id, v)
		}
	}()
	return l.Value()
}

// take detects a second holder of p.
func (h *holder) take(p *part) {
	h.got++
	h.y.first.Do(func() { close(h.y.lent) })
	if o := p.owner.Swap(h.id); o != 0 {
		h.y.t.Errorf("I2: part %d lent to %d while %d has it", p.n, h.id, o)
	}
	if f := p.fate.Load(); f != alive {
		h.y.t.Errorf("part %d lent to %d: its fate is %d", p.n, h.id, f)
	}
}

func (h *holder) drop(p *part) {
	if !p.owner.CompareAndSwap(h.id, 0) {
		h.y.t.Errorf("I2: part %d of %d belongs to %d", p.n, h.id, p.owner.Load())
	}
}

func (h *holder) dawdle() {
	switch h.rand.IntN(8 * h.y.scale) {
	case 0:
		time.Sleep(time.Duration(h.rand.IntN(300)) * time.Microsecond) // the time of the work
	case 1, 2, 3:
		runtime.Gosched()
	}
}

func (h *holder) do(ctx context.Context) {
	defer func() { _ = recover() }()
	_ = h.pool.Do(ctx, func(_ context.Context, p *part) error {
		h.take(p)
		h.dawdle()
		h.drop(p)
		switch h.rand.IntN(30 * h.y.scale) {
		case 0:
			return errBroken
		case 1:
			panic(errBroken)
		}
		return nil
	})
}

// end ends the lease in a random way.
func (h *holder) end(l lease[*part], p *part) {
	switch n := h.rand.IntN(100 * h.y.scale); {
	case n < 3:
		h.drop(p)
		l.Discard(nil)
	case n < 6:
		h.drop(p)
		l.Fail(errBroken)
	case n < 7:
		h.drop(p)
		p.fate.Store(hijacked)
		if !p.late {
			h.y.slots.Add(-1)
		}
		if v, ok := l.Hijack(); !ok || v != p {
			h.y.t.Errorf("Hijack of part %d: %v, %v", p.n, v, ok)
		}
	case n < 12: // two copies concurrently
		h.drop(p)
		var both sync.WaitGroup
		both.Go(func() { l.Discard(nil) })
		both.Go(l.Release)
		both.Wait()
	default:
		h.drop(p)
		l.Release()
	}
}

// stale ends old leases again.
func (h *holder) stale() {
	for _, l := range h.old {
		switch h.rand.IntN(8) {
		case 0:
			l.Release()
		case 1:
			l.Discard(errBroken)
		case 2:
			if v, ok := l.Hijack(); ok {
				h.y.t.Errorf("Hijack of an ended lease of part %d", v.n)
			}
		}
	}
	if len(h.old) > 4 {
		h.old = h.old[1:]
	}
}
