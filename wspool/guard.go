package wspool

import (
	"fmt"
	"runtime/debug"

	"github.com/respool/respool/resource"
)

// panicked is what a function of the user's panicked with, as an error; v is nil
// if the function ended its goroutine.
func panicked(where string, v any) error {
	if v == nil {
		return fmt.Errorf("%w: %s", resource.ErrGoexit, where)
	}
	return &resource.PanicError{Where: where, Value: v, Stack: debug.Stack()}
}

// containedIn is contained for a panic with v in where.
func (h *hub) containedIn(where string, v any) error {
	err := panicked(where, v)
	h.contained(err)
	return err
}

// contained counts a panic or Goexit that was contained here, beside those that
// the pool of resources contains, and reports it as that does. No lock is held.
func (h *hub) contained(err error) {
	h.count.panics.Add(1)
	if t := h.cfg.Trace; t != nil && t.Panicked != nil {
		defer func() { _ = recover() }() // a panic in Panicked itself cannot be reported
		t.Panicked(err)
	}
}
