// Package tasks counts goroutines, so that their owner can wait for their end with a context,
// which a sync.WaitGroup does not do.
package tasks

import (
	"context"
	"sync"
)

// Group counts the goroutines that Go has started. Goroutines may be started while others are
// waited for. The zero Group has none. Its methods may be called at the same time.
type Group struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n is 0; nil: no goroutine waits for that
}

// Go calls f on a goroutine of its own.
func (g *Group) Go(f func()) {
	g.mu.Lock()
	g.n++
	g.mu.Unlock()
	go func() {
		defer g.end() // also after a panic or a Goexit of f
		f()
	}()
}

func (g *Group) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.none != nil {
		close(g.none)
		g.none = nil
	}
}

// Wait waits until none of them runs. If ctx ends before, it returns the cause of that.
func (g *Group) Wait(ctx context.Context) error {
	g.mu.Lock()
	if g.n == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.none == nil {
		g.none = make(chan struct{})
	}
	none := g.none
	g.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
