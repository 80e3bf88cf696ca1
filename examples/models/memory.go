package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/respool/respool/resource"
)

// patience is how long a load waits for memory before contexts of other callers are ended for it.
const patience = 50 * time.Millisecond

var (
	errFull   = errors.New("the memory is in use")
	errNeeded = errors.New("its memory is needed for another model")
)

// memory divides the memory of a device among contexts. Loads that find no room wait in line, so that
// a large one is not passed by small ones for ever.
type memory struct {
	mu     sync.Mutex
	free   int
	line   []*waiting
	ending int // units of contexts that were evicted for the first load in line, since it last grew impatient
}

// waiting is a load that waits.
type waiting struct {
	n         int
	impatient bool          // it has waited for patience
	ready     chan struct{} // closed when it has its memory
}

func newMemory(n int) *memory { return &memory{free: n} }

// part is the policy of the pool of one model: its Quota, and an Eviction.
type part struct {
	*memory
	n int // units of one context
}

func (m *memory) part(n int) *part { return &part{m, n} }

// Admit implements [resource.Admission]: it waits for the memory of one context, which the context
// has until it is destroyed.
func (p *part) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	p.mu.Lock()
	if len(p.line) == 0 && p.free >= p.n {
		p.free -= p.n
		p.mu.Unlock()
		return p.done, nil
	}
	if r.NoWait {
		p.mu.Unlock()
		return nil, &resource.Rejection{Policy: "memory", Err: errFull}
	}
	w := &waiting{n: p.n, ready: make(chan struct{})}
	p.line = append(p.line, w)
	p.mu.Unlock()
	tick := time.NewTicker(patience)
	defer tick.Stop()
	for {
		select {
		case <-w.ready:
			return p.done, nil
		case <-tick.C:
			p.grewImpatient(w)
			continue
		case <-ctx.Done():
		}
		return nil, p.leave(ctx, w)
	}
}

// grewImpatient notes that w has waited for patience once more.
func (m *memory) grewImpatient(w *waiting) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w.impatient = true
	if len(m.line) > 0 && m.line[0] == w {
		m.ending = 0 // a context that was evicted may have been lent all the same
	}
}

// leave removes w from the line, since its ctx has ended, and returns the cause.
func (p *part) leave(ctx context.Context, w *waiting) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-w.ready: // it got its memory at the same time
		p.free += p.n
	default:
		p.line = slices.DeleteFunc(p.line, func(o *waiting) bool { return o == w })
	}
	p.grantLocked()
	return context.Cause(ctx)
}

// done gives the memory of one context back.
func (p *part) done(resource.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free += p.n
	p.ending = max(0, p.ending-p.n)
	p.grantLocked()
}

// grantLocked serves the line in order.
func (m *memory) grantLocked() {
	for len(m.line) > 0 && m.free >= m.line[0].n {
		m.free -= m.line[0].n
		close(m.line[0].ready)
		m.line = m.line[1:]
		m.ending = 0
	}
}

// Evict implements [resource.Eviction]: a context that is idle or was just released ends if the first
// load in line needs its memory. One that is about to be lent is kept, and so is one that was just loaded.
// That memory is needed says nothing about a later age, so that the pool creates no replacement for
// what is evicted here.
func (p *part) Evict(i resource.Info) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case i.Total == 0: // the pool asks about a later age
		return nil
	case len(p.line) == 0 || !p.line[0].impatient || p.free+p.ending >= p.line[0].n:
		return nil
	case i.Idle > 0 && i.Idlers == 0: // it is about to be lent
		return nil
	case i.Idle == 0 && i.Leases == 0: // it was just loaded, and its caller would fail without it
		return nil
	}
	p.ending += p.n
	return errNeeded
}

// State implements [resource.Stateful].
func (p *part) State() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%d GiB free, %d loads wait", p.free, len(p.line))
}
