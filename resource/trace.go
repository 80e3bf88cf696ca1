package resource

import (
	"context"
	"time"
)

// Trace is a set of functions that the pool calls when something slow happens;
// an acquire that finds an idle resource and its release call none. Nil
// functions are skipped. They are called with no lock held, by many goroutines
// at once, and delay what they observe: they should be quick. A panic in one is
// contained and counted in [Stats.Panics].
type Trace struct {
	// Waited is called when an acquire that had to wait has ended. ctx is the
	// caller's.
	Waited func(ctx context.Context, e WaitEvent)
	// Rejected is called when an Admission or a Queue refused a caller.
	Rejected func(ctx context.Context, err error)
	// Made is called when a make has ended. ctx has the values of the caller
	// for whom it was begun.
	Made func(ctx context.Context, e MakeEvent)
	// Refused is called when a MakeGate or Quota refused a make.
	Refused func(ctx context.Context, err error)
	// Checked is called when a health check has failed.
	Checked func(e CheckEvent)
	// Destroyed is called when a Destroy has ended.
	Destroyed func(e DestroyEvent)
	// Outage is called when makes begin to keep failing (cause is the last
	// failure) and when one succeeds again (cause is nil).
	Outage func(cause error)
	// Panicked is called when a panic or Goexit was contained.
	Panicked func(err error)
}

// WaitEvent is an acquire that had to wait.
type WaitEvent struct {
	Request Request       // what the caller asked for
	Waited  time.Duration // from its place in the line to the end
	ID      uint64        // of the resource it got; 0: none
	Err     error         // why it got none
}

// MakeEvent is a make that has ended.
type MakeEvent struct {
	ID   uint64        // of the new resource; 0: none
	Took time.Duration // of Make and Watch
	Err  error         // why it failed; nil: it succeeded
}

// CheckEvent is a failed health check.
type CheckEvent struct {
	Info Info  // of the resource
	Err  error // what Check said
}

// DestroyEvent is a resource that is gone.
type DestroyEvent struct {
	Info  Info          // of the resource, at its end
	Cause error         // why; nil never
	Took  time.Duration // of Destroy
}

func (p *Pool[T]) traceWait(s *search[T], l Lease[T], err error) {
	f := p.cfg.Trace.Waited
	if f == nil {
		return
	}
	e := WaitEvent{Request: s.r, Waited: p.waitedFor(s), Err: err}
	if l.e != nil {
		e.ID = l.e.id
	}
	_ = p.guard("Trace", func() { f(s.ctx, e) })
}

func (p *Pool[T]) traceCheck(i Info, ill error) {
	if f := p.cfg.Trace.Checked; f != nil {
		_ = p.guard("Trace", func() { f(CheckEvent{Info: i, Err: ill}) })
	}
}
