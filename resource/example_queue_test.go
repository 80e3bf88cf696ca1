package resource_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/respool/respool/resource"
)

// shortestFirst is a Queue that serves the caller with the least Request.Cost first, and among
// equals the one that has waited longest. Callers that have waited for a second go before all
// others, so that none waits for ever.
type shortestFirst struct{ waiting []*resource.Waiter }

func (q *shortestFirst) Push(w *resource.Waiter, _ time.Duration) { q.waiting = append(q.waiting, w) }

// Remove is called when a caller has given up. Pop may have given it out already.
func (q *shortestFirst) Remove(w *resource.Waiter) {
	if i := slices.Index(q.waiting, w); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
}

func (q *shortestFirst) Pop(now time.Duration) (*resource.Waiter, error) {
	if len(q.waiting) == 0 {
		return nil, nil
	}
	next := slices.MinFunc(q.waiting, func(a, b *resource.Waiter) int {
		old := func(w *resource.Waiter) bool { return now-w.Since >= time.Second }
		switch {
		case old(a) != old(b) && old(a):
			return -1
		case old(a) != old(b):
			return 1
		case old(a) || a.Request.Cost == b.Request.Cost:
			return int(a.Since - b.Since)
		}
		return a.Request.Cost - b.Request.Cost
	})
	q.Remove(next)
	return next, nil
}

// A pool whose callers wait in an order of the program's own.
func ExampleQueue() {
	pool, err := resource.New(resource.Config[string]{
		Make:    func(context.Context) (string, error) { return "the only one", nil },
		MaxSize: 1,
		Queue:   &shortestFirst{}, // of this pool alone
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer pool.Close(ctx)

	held, err := pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan int)
	for i, cost := range []int{30, 10, 20} {
		go func() {
			l, err := pool.AcquireWith(ctx, resource.Request{Cost: cost})
			if err != nil {
				cost = -1
			}
			served <- cost
			l.Release()
		}()
		for pool.Stats().Waiting <= i { // only to have the same output each time
			time.Sleep(time.Millisecond)
		}
	}
	held.Release()
	fmt.Println(<-served, <-served, <-served)
	// Output: 10 20 30
}
