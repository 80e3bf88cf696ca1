package resource

import (
	"fmt"
	"runtime/debug"
)

// guard calls f, which is code that is not ours, and turns a panic into an
// error. If f ends its goroutine with runtime.Goexit that goes on when guard's
// caller is unwound; callers that must put something right then do it in a
// deferred function of their own. No lock may be held.
func (p *Pool[T]) guard(where string, f func()) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		err = broken(where, recover())
		p.contained(err)
	}()
	f()
	returned = true
	return nil
}

// broken is what a function did that did not return, as an error. v is what it
// panicked with; nil: it ended its goroutine.
func broken(where string, v any) error {
	if v == nil {
		return fmt.Errorf("%w: %s", ErrGoexit, where)
	}
	return &PanicError{Where: where, Value: v, Stack: debug.Stack()}
}

// isolate is guard on a goroutine of its own, for functions that run in the
// background: there a Goexit must not end what comes after.
func (p *Pool[T]) isolate(where string, f func()) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Set first, for the Goexit that guard cannot return from.
		err = fmt.Errorf("%w: %s", ErrGoexit, where)
		err = p.guard(where, f)
	}()
	<-done
	return err
}

// contained counts a panic or Goexit and reports it.
func (p *Pool[T]) contained(err error) {
	p.panics.Add(1)
	if report := p.cfg.Trace.Panicked; report != nil {
		defer func() { _ = recover() }() // there is nobody left to tell
		report(err)
	}
}
