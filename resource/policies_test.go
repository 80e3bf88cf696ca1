package resource_test

import (
	"context"
	"time"

	"github.com/respool/respool/resource"
)

// Functions as policies.

type admitFunc func(ctx context.Context, r resource.Request) (resource.Done, error)

func (f admitFunc) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	return f(ctx, r)
}

// refusing is an Admission that refuses everyone with err.
func refusing(err error) admitFunc {
	return func(context.Context, resource.Request) (resource.Done, error) { return nil, err }
}

type evictFunc func(i resource.Info) error

func (f evictFunc) Evict(i resource.Info) error { return f(i) }

type checkFunc func(ctx context.Context, it *item, i resource.Info) error

func (f checkFunc) Check(ctx context.Context, it *item, i resource.Info) error { return f(ctx, it, i) }

// listQueue is a Queue over a slice. less orders it; nil: as they came.
type listQueue struct {
	waiters []*resource.Waiter
	less    func(a, b *resource.Waiter) bool
	refuse  error          // Pop refuses the first with it, once
	hook    func(m string) // told which method is called; may panic
	empty   bool           // Pop returns nil

	pushed, removed, popped int
}

func (q *listQueue) call(m string) {
	if q.hook != nil {
		q.hook(m)
	}
}

func (q *listQueue) Push(w *resource.Waiter, now time.Duration) {
	q.call("Push")
	q.pushed++
	q.waiters = append(q.waiters, w)
}

func (q *listQueue) Remove(w *resource.Waiter) {
	q.call("Remove")
	q.removed++
	for i, x := range q.waiters {
		if x == w {
			q.waiters = append(q.waiters[:i], q.waiters[i+1:]...)
			return
		}
	}
}

func (q *listQueue) Pop(now time.Duration) (*resource.Waiter, error) {
	q.call("Pop")
	if len(q.waiters) == 0 || q.empty {
		return nil, nil
	}
	best := 0
	for i := range q.waiters {
		if q.less != nil && q.less(q.waiters[i], q.waiters[best]) {
			best = i
		}
	}
	w := q.waiters[best]
	q.waiters = append(q.waiters[:best], q.waiters[best+1:]...)
	q.popped++
	refuse := q.refuse
	q.refuse = nil
	return w, refuse
}
