package policy_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// meet has 20 callers ask at the same instant for one resource, which each holds
// for 10 ms. The caller that asks last has the earliest deadline, and each has time
// enough if the others do not go before it that can wait longer. It returns how many
// were served.
func meet(t *testing.T, q resource.Queue) (served int) {
	synctest.Test(t, func(t *testing.T) {
		const callers, hold = 20, 10 * time.Millisecond
		l := lend(t, resource.Config[int]{MaxSize: 1, Queue: q})
		held := l.get()
		var mu sync.Mutex
		var all sync.WaitGroup
		for k := range callers {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), (callers-time.Duration(k))*hold-hold/2)
				defer cancel()
				lease, err := l.Acquire(ctx)
				if err != nil {
					return
				}
				time.Sleep(hold)
				lease.Release()
				mu.Lock()
				defer mu.Unlock()
				served++
			})
			synctest.Wait() // the next asks after it
		}
		held.Release()
		all.Wait()
	})
	return served
}

// Where all can be served in time all are; first come, first served loses half.
func TestEarliestDeadline_AllInTime(t *testing.T) {
	if n := meet(t, policy.EarliestDeadline(time.Second)); n != 20 {
		t.Errorf("%d of 20 callers were served", n)
	}
	if n := meet(t, nil); n > 12 {
		t.Errorf("first come, first served: %d of 20 were served, which then says nothing of EarliestDeadline", n)
	}
}

// The order, for waiters of every kind, is that of the deadlines.
func TestEarliestDeadline_Order(t *testing.T) {
	const otherwise = time.Second
	due := func(w *resource.Waiter) time.Duration {
		if w.Deadline != 0 {
			return w.Deadline
		}
		if w.Since > math.MaxInt64-otherwise {
			return math.MaxInt64
		}
		return w.Since + otherwise
	}
	rnd := rand.New(rand.NewPCG(13, 7))
	q := policy.EarliestDeadline(otherwise)
	var in []*resource.Waiter
	for range 5000 {
		switch n := rnd.IntN(8); {
		case n < 4:
			w := &resource.Waiter{Since: time.Duration(rnd.Int64N(1e10)), Request: resource.Request{Priority: rnd.IntN(3)}}
			if rnd.IntN(3) > 0 {
				w.Deadline = time.Duration(1 + rnd.Int64N(1e10))
			}
			if rnd.IntN(50) == 0 {
				w.Since = math.MaxInt64
			}
			q.Push(w, 0)
			in = append(in, w)
		case n < 5 && len(in) > 0:
			i := rnd.IntN(len(in))
			q.Remove(in[i])
			in = slices.Delete(in, i, i+1)
		default:
			w, refuse := q.Pop(0)
			if refuse != nil || (w == nil) != (len(in) == 0) {
				t.Fatalf("Pop of %d: %v, %v", len(in), w, refuse)
			}
			if w == nil {
				continue
			}
			for _, x := range in {
				if due(x) < due(w) || due(x) == due(w) && x.Request.Priority > w.Request.Priority {
					t.Fatalf("%+v was served before %+v", w, x)
				}
			}
			i := slices.Index(in, w)
			in = slices.Delete(in, i, i+1)
		}
	}
}

// A caller without a deadline is passed over for as long as was said, and then
// served, though others with deadlines come all the time.
func TestEarliestDeadline_WithoutDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lend(t, resource.Config[int]{MaxSize: 1, Queue: policy.EarliestDeadline(time.Second)})
		held := l.get()
		waited := make(chan time.Duration, 1)
		began := time.Now()
		go func() {
			lease, err := l.Acquire(context.Background())
			waited <- time.Since(began)
			if err != nil {
				t.Error(err)
			}
			lease.Release()
		}()
		synctest.Wait()
		var all sync.WaitGroup
		for range 300 { // each 10 ms one that holds for 10 ms, for 3 s
			all.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
				defer cancel()
				lease, err := l.Acquire(ctx)
				if err == nil {
					time.Sleep(10 * time.Millisecond)
					lease.Release()
				}
			})
			time.Sleep(10 * time.Millisecond)
			if held != (resource.Lease[int]{}) {
				held.Release()
				held = resource.Lease[int]{}
			}
		}
		all.Wait()
		if d := <-waited; d < 500*time.Millisecond || d > 1500*time.Millisecond {
			t.Errorf("it waited for %v, want about a second", d)
		}
	})
}
