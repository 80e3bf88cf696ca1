package policy

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// Gate admits every request while it is open and none while it is paused, for
// example during a fail-over to another server. Create one with [NewGate].
//
// While it is paused, requests wait until [Gate.Resume] or the end of their context;
// those with NoWait are refused with [ErrPaused] and the cause. The end of the pool does
// not end their wait: resume the gate when you close it. Requests admitted
// earlier are not affected; there is no permit to return. After Pause has returned, no
// request, waiting ones included, is admitted before Resume is called.
type Gate struct {
	current atomic.Pointer[pause] // nil: open

	mu sync.Mutex // serializes Pause and Resume; Admit does not take it
}

// pause is one period in which the gate is paused, with the cause of the latest
// Pause.
type pause struct {
	resumed chan struct{} // closed by Resume
	refusal error
	since   time.Time
}

// NewGate returns an open gate.
func NewGate() *Gate { return &Gate{} }

// Pause pauses the gate. Refusals wrap cause, which may be nil. Pausing a paused gate
// replaces the cause. Pause waits neither for leases nor for creations that were admitted
// before.
func (g *Gate) Pause(cause error) {
	err := ErrPaused
	if cause != nil {
		err = fmt.Errorf("%w: %w", ErrPaused, cause)
	}
	p := &pause{refusal: reject("gate", 0, err)}
	g.mu.Lock()
	defer g.mu.Unlock()
	if before := g.current.Load(); before != nil {
		p.resumed, p.since = before.resumed, before.since
	} else {
		p.resumed, p.since = make(chan struct{}), time.Now()
	}
	g.current.Store(p)
}

// Resume opens the gate and admits all waiting requests. It does nothing if the
// gate is open.
func (g *Gate) Resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.current.Swap(nil); p != nil {
		close(p.resumed)
	}
}

// Paused reports whether the gate is paused.
func (g *Gate) Paused() bool { return g.current.Load() != nil }

// Admit implements [resource.Admission].
func (g *Gate) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	for {
		p := g.current.Load()
		if p == nil {
			return nil, nil
		}
		if r.NoWait {
			return nil, p.refusal
		}
		select {
		case <-p.resumed: // loop: the gate may have been paused again
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
