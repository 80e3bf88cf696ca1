package resource_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/respool/respool/resource"
)

// ledger is an Admission that keeps account of its permits.
type ledger struct {
	before func(ctx context.Context, r resource.Request) error // may refuse, panic, block
	after  func(o resource.Outcome)                            // runs in Done, after it was counted

	mu       sync.Mutex
	permits  []int // how often each permit's Done ran
	outcomes []resource.Outcome
	wrong    int // calls of the Done of a refusal
}

func (g *ledger) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	if g.before != nil {
		if err := g.before(ctx, r); err != nil {
			return func(resource.Outcome) {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.wrong++
			}, err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(g.permits)
	g.permits = append(g.permits, 0)
	return func(o resource.Outcome) {
		g.mu.Lock()
		g.permits[n]++
		g.outcomes = append(g.outcomes, o)
		g.mu.Unlock()
		if g.after != nil {
			g.after(o)
		}
	}, nil
}

// open is how many permits were not given back.
func (g *ledger) open() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, done := range g.permits {
		if done == 0 {
			n++
		}
	}
	return n
}

// given is how many permits were ever given.
func (g *ledger) given() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.permits)
}

// last is the outcome told last.
func (g *ledger) last() resource.Outcome {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.outcomes) == 0 {
		return resource.Outcome{}
	}
	return g.outcomes[len(g.outcomes)-1]
}

// check says which permits were not given back exactly once.
func (g *ledger) check() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var bad []error
	if g.wrong > 0 {
		bad = append(bad, fmt.Errorf("I4: Done of a refusal ran %d times", g.wrong))
	}
	for i, n := range g.permits {
		if n != 1 {
			bad = append(bad, fmt.Errorf("I4: Done of permit %d of %d ran %d times", i+1, len(g.permits), n))
		}
	}
	return errors.Join(bad...)
}
