// Package context stands for context in a program under the scheduler. Its cancellation is one
// step: the contexts that are derived from a canceled one end with it at once.
package context

import (
	"context"

	"github.com/respool/respool/internal/explore/sched"
	"github.com/respool/respool/internal/explore/sim/time"
)

// The types of package context.
type (
	Context         = context.Context
	CancelFunc      = context.CancelFunc
	CancelCauseFunc = context.CancelCauseFunc
)

// The errors of package context.
var (
	Canceled         = context.Canceled
	DeadlineExceeded = context.DeadlineExceeded
)

// Background is that of package context.
func Background() Context { return context.Background() }

// WithValue is that of package context.
func WithValue(parent Context, key, value any) Context {
	return context.WithValue(parent, key, value)
}

// node is a context that can end.
type node struct {
	Context     // its parent
	o           sched.Obj
	done        chan struct{}
	err, cause  error
	children    []*node
	above       *node  // in whose children it is
	after       func() // called, on a goroutine of its own, when it ends
	deadline    time.Time
	hasDeadline bool
	timer       *time.Timer
}

// nodeKey is the key by which a context returns the nearest node above it.
type nodeKey struct{}

func (n *node) Value(key any) any {
	if key == (nodeKey{}) {
		return n
	}
	return n.Context.Value(key)
}

func (n *node) Done() <-chan struct{} { return n.done }

func (n *node) Err() error {
	sched.Before(&n.o, sched.Load)
	err := n.err
	sched.Read(&n.o)
	return err
}

func (n *node) Deadline() (time.Time, bool) {
	if n.hasDeadline {
		return n.deadline, true
	}
	return n.Context.Deadline()
}

// String does not read what may change.
func (n *node) String() string { return "context" }

// cancel ends n.
func (n *node) cancel(err, cause error) {
	sched.Before(&n.o, sched.Cancel)
	n.end(err, cause)
	if n.timer != nil {
		n.timer.Stop()
	}
}

// end ends n and what is derived from it, as part of one step.
func (n *node) end(err, cause error) {
	sched.Write(&n.o)
	if n.err != nil {
		return
	}
	if cause == nil {
		cause = err
	}
	n.err, n.cause = err, cause
	sched.CloseInStep(n.done)
	children := n.children
	n.children = nil
	for _, c := range children {
		c.above = nil
		c.end(err, cause)
	}
	if n.above != nil {
		n.above.remove(n)
		n.above = nil
	}
	if n.after != nil {
		sched.Go(n.after)
	}
}

func (n *node) remove(child *node) {
	sched.Write(&n.o)
	for i, c := range n.children {
		if c == child {
			n.children = append(n.children[:i:i], n.children[i+1:]...)
			return
		}
	}
}

// under makes n end with parent.
func (n *node) under(parent Context) {
	n.Context, n.done = parent, make(chan struct{})
	if parent.Done() == nil {
		return
	}
	above, ok := parent.Value(nodeKey{}).(*node)
	if !ok || above.done != parent.Done() {
		sched.Go(func() {
			if sched.Choose(false, sched.R(parent.Done()), sched.R(n.Done())) == 0 {
				n.cancel(parent.Err(), Cause(parent))
			}
		})
		return
	}
	sched.Before(&above.o, sched.Store)
	sched.Write(&above.o)
	if above.err != nil {
		n.end(above.err, above.cause)
		return
	}
	n.above = above
	above.children = append(above.children, n)
}

// WithCancel is that of package context.
func WithCancel(parent Context) (Context, CancelFunc) {
	n := new(node)
	n.under(parent)
	return n, func() { n.cancel(Canceled, nil) }
}

// WithCancelCause is that of package context.
func WithCancelCause(parent Context) (Context, CancelCauseFunc) {
	n := new(node)
	n.under(parent)
	return n, func(cause error) { n.cancel(Canceled, cause) }
}

// WithDeadline is that of package context.
func WithDeadline(parent Context, d time.Time) (Context, CancelFunc) {
	return WithDeadlineCause(parent, d, nil)
}

// WithDeadlineCause is that of package context.
func WithDeadlineCause(parent Context, d time.Time, cause error) (Context, CancelFunc) {
	if now, ok := parent.Deadline(); ok && now.Before(d) {
		return WithCancel(parent)
	}
	n := &node{deadline: d, hasDeadline: true}
	n.under(parent)
	in := time.Until(d)
	if in <= 0 {
		n.cancel(DeadlineExceeded, cause)
		return n, func() {}
	}
	if n.err == nil {
		n.timer = time.AfterFunc(in, func() { n.cancel(DeadlineExceeded, cause) })
	}
	return n, func() { n.cancel(Canceled, nil) }
}

// WithTimeout is that of package context.
func WithTimeout(parent Context, d time.Duration) (Context, CancelFunc) {
	return WithDeadline(parent, time.Now().Add(d))
}

// WithTimeoutCause is that of package context.
func WithTimeoutCause(parent Context, d time.Duration, cause error) (Context, CancelFunc) {
	return WithDeadlineCause(parent, time.Now().Add(d), cause)
}

// Cause is that of package context.
func Cause(c Context) error {
	if n, ok := c.Value(nodeKey{}).(*node); ok {
		sched.Before(&n.o, sched.Load)
		cause := n.cause
		sched.Read(&n.o)
		return cause
	}
	return c.Err()
}

// without is WithoutCancel.
type without struct{ Context }

func (without) Deadline() (t time.Time, ok bool) { return t, false }
func (without) Done() <-chan struct{}            { return nil }
func (without) Err() error                       { return nil }
func (w without) Value(key any) any {
	if key == (nodeKey{}) {
		return nil
	}
	return w.Context.Value(key)
}

// WithoutCancel is that of package context.
func WithoutCancel(parent Context) Context { return without{parent} }

// AfterFunc is that of package context.
func AfterFunc(ctx Context, f func()) (stop func() bool) {
	n := &node{after: f}
	n.under(ctx)
	return func() bool {
		sched.Before(&n.o, sched.Cancel)
		sched.Write(&n.o)
		if n.err != nil {
			return false
		}
		n.after = nil
		n.end(Canceled, nil)
		return true
	}
}
