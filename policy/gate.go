package policy

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/resource"
)

// Gate admits everything until it is paused, and then nothing until it is
// resumed: for the minutes in which a server is replaced by another. Make one
// with [NewGate].
//
// While it is paused callers wait until it is resumed or their context ends, and
// those with NoWait are refused with [ErrPaused] and the cause. What was
// admitted before goes on; no permit is counted. When Pause has returned, no
// request that comes is admitted before Resume is called, nor is one that waits.
type Gate struct {
	now atomic.Pointer[pause] // nil: open

	mu sync.Mutex // taken by Pause and Resume only
}

// pause is one time that the gate is shut, as told by one Pause.
type pause struct {
	over    chan struct{} // closed by Resume
	refusal error
	since   time.Time
}

// NewGate returns a gate that is open.
func NewGate() *Gate { return &Gate{} }

// Pause shuts the gate. The cause is told to those who are refused; it may be
// nil. Pausing a paused gate replaces the cause.
func (g *Gate) Pause(cause error) {
	err := ErrPaused
	if cause != nil {
		err = fmt.Errorf("%w: %w", ErrPaused, cause)
	}
	p := &pause{refusal: refuse("gate", 0, err)}
	g.mu.Lock()
	defer g.mu.Unlock()
	if before := g.now.Load(); before != nil {
		p.over, p.since = before.over, before.since
	} else {
		p.over, p.since = make(chan struct{}), time.Now()
	}
	g.now.Store(p)
}

// Resume opens the gate and lets all who wait pass. It does nothing if the gate
// is open.
func (g *Gate) Resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.now.Swap(nil); p != nil {
		close(p.over)
	}
}

// Paused reports whether the gate is shut.
func (g *Gate) Paused() bool { return g.now.Load() != nil }

// Admit implements [resource.Admission].
func (g *Gate) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	for {
		p := g.now.Load()
		if p == nil {
			return nil, nil
		}
		if r.NoWait {
			return nil, p.refusal
		}
		select {
		case <-p.over: // it may be shut again by now
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
