package policytest_test

import (
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

// exitIf ends the goroutine.
func exitIf(yes bool) {
	if yes {
		runtime.Goexit()
	}
}

var errLate = errors.New("too late")

// queue is a correct Queue that serves the newest first. Its functions replace methods
// with faulty ones.
type queue struct {
	all    []*resource.Waiter
	push   func(q *queue, w *resource.Waiter)
	remove func(q *queue, w *resource.Waiter)
	pop    func(q *queue, now time.Duration) (*resource.Waiter, error)
}

func (q *queue) Push(w *resource.Waiter, _ time.Duration) {
	if q.push != nil {
		q.push(q, w)
		return
	}
	q.all = append(q.all, w)
}

func (q *queue) Remove(w *resource.Waiter) {
	if q.remove != nil {
		q.remove(q, w)
		return
	}
	if i := slices.Index(q.all, w); i >= 0 {
		q.all = slices.Delete(q.all, i, i+1)
	}
}

func (q *queue) Pop(now time.Duration) (*resource.Waiter, error) {
	if q.pop != nil {
		return q.pop(q, now)
	}
	return q.newest(), nil
}

func (q *queue) newest() *resource.Waiter {
	n := len(q.all)
	if n == 0 {
		return nil
	}
	w := q.all[n-1]
	q.all = q.all[:n-1]
	return w
}

// refuseLate is a Pop that refuses waiters after a second.
func refuseLate(q *queue, now time.Duration) (*resource.Waiter, error) {
	w := q.newest()
	if w != nil && now-w.Since > time.Second {
		return w, errLate
	}
	return w, nil
}

func TestQueue_Sound(t *testing.T) {
	for name, q := range map[string]queue{"newest first": {}, "refuses": {pop: refuseLate}} {
		synctest.Test(t, func(t *testing.T) {
			policytest.Queue(t, func() resource.Queue { return &queue{pop: q.pop} })
		})
		t.Run(name+" in real time", func(t *testing.T) {
			policytest.Queue(t, func() resource.Queue { return &queue{pop: q.pop} })
		})
	}
}

func TestQueue_Broken(t *testing.T) {
	of := func(q queue) func(testing.TB, <-chan struct{}) {
		return func(t testing.TB, _ <-chan struct{}) {
			policytest.Queue(t, func() resource.Queue { c := q; return &c })
		}
	}
	wantFailures(t, []broken{
		{"nil", []string{"new returned nil"}, func(t testing.TB, _ <-chan struct{}) {
			policytest.Queue(t, func() resource.Queue { return nil })
		}},
		{"loses", []string{"Pop returned nil while", "Push(#"}, of(queue{push: func(q *queue, w *resource.Waiter) {
			if w.Request.Priority != 2 {
				q.all = append(q.all, w)
			}
		}})},
		{"duplicates", []string{"had been removed or popped before", "Pop(now"}, of(queue{pop: func(q *queue, _ time.Duration) (*resource.Waiter, error) {
			if len(q.all) == 0 {
				return nil, nil
			}
			return q.all[0], nil
		}})},
		{"invents", []string{"never pushed"}, of(queue{pop: func(q *queue, _ time.Duration) (*resource.Waiter, error) {
			if w := q.newest(); w != nil {
				return &resource.Waiter{Request: w.Request}, nil
			}
			return nil, nil
		}})},
		{"forgets to remove", []string{"had been removed or popped before", "Remove(#"}, of(queue{remove: func(*queue, *resource.Waiter) {}})},
		{"removes another", []string{"Pop returned nil while", "Remove(a waiter that"}, of(queue{remove: func(q *queue, w *resource.Waiter) {
			if i := max(0, slices.Index(q.all, w)); i < len(q.all) {
				q.all = slices.Delete(q.all, i, i+1)
			}
		}})},
		{"panics when empty", []string{"the last call of this history panicked", "index out of range"}, of(queue{
			pop: func(q *queue, _ time.Duration) (*resource.Waiter, error) {
				w := q.all[0]
				q.all = q.all[1:]
				return w, nil
			},
		})},
		{"refuses without a waiter", []string{"the error \"too late\" without a waiter"}, of(queue{pop: func(q *queue, _ time.Duration) (*resource.Waiter, error) {
			if w := q.newest(); w != nil {
				return w, nil
			}
			return nil, errLate
		}})},
		{"negative RetryAfter", []string{"RetryAfter -1s"}, of(queue{pop: func(q *queue, _ time.Duration) (*resource.Waiter, error) {
			if w := q.newest(); w != nil {
				return w, &resource.Rejection{RetryAfter: -time.Second}
			}
			return nil, nil
		}})},
		{"exits at an edge", []string{"ended its goroutine"}, of(queue{push: func(q *queue, w *resource.Waiter) {
			exitIf(w.Request.Cost < 0)
			q.all = append(q.all, w)
		}})},
		{"blocks", []string{"the last call of this history has not returned after 1s"}, func(t testing.TB, free <-chan struct{}) {
			policytest.Queue(t, func() resource.Queue {
				return &queue{push: func(q *queue, w *resource.Waiter) { <-free }}
			})
		}},
		{"panics in a pool", []string{"it panicked", "in a pool", "full"}, func(t testing.TB, _ <-chan struct{}) {
			policytest.Queue(t, func() resource.Queue {
				return &queue{push: func(q *queue, w *resource.Waiter) {
					if q.all = append(q.all, w); inPool() {
						panic("full")
					}
				}}
			})
		}},
		{"leaves a goroutine", []string{"goroutines are left behind", "queue_test.go"}, func(t testing.TB, free <-chan struct{}) {
			policytest.Queue(t, func() resource.Queue {
				go func() { <-free }()
				return &queue{}
			})
		}},
	})
}
