package resource_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/respool/respool/resource"
)

// A Queue decides the order of service.

func withQueue(q resource.Queue) func(h *harness) {
	return func(h *harness) { h.cfg.Queue = q }
}

// wantServedInOrder releases l and what follows from it, and checks that the
// callers are served in this order.
func (h *harness) wantServedInOrder(l resource.Lease[*item], cs ...*call) {
	h.t.Helper()
	for i, c := range cs {
		l.Release()
		l = c.wantLease()
		h.wantWaiting(cs[i+1:]...)
	}
	l.Release()
}

func TestQueue_NewestFirst(t *testing.T) {
	q := &listQueue{less: func(a, b *resource.Waiter) bool { return a.Since > b.Since }}
	script(t, 1, withQueue(q), func(h *harness) {
		l := h.lend()
		var cs []*call
		for range 4 {
			cs = append(cs, h.acquire())
			time.Sleep(time.Millisecond)
		}
		h.wantServedInOrder(l, cs[3], cs[2], cs[1], cs[0])
	})
}

func TestQueue_Priority(t *testing.T) {
	q := &listQueue{less: func(a, b *resource.Waiter) bool { return a.Request.Priority > b.Request.Priority }}
	script(t, 1, withQueue(q), func(h *harness) {
		l := h.lend()
		at := func(p int) *call { return h.acquireWith(resource.Request{Priority: p}) }
		low, mid, high, mid2 := at(1), at(5), at(9), at(5)
		h.wantServedInOrder(l, high, mid, mid2, low)
	})
}

// A Queue sees when the context of each caller ends, on the scale of Since.
func TestQueue_Deadline(t *testing.T) {
	q := &listQueue{less: func(a, b *resource.Waiter) bool { return a.Deadline > b.Deadline }}
	script(t, 1, withQueue(q), func(h *harness) {
		time.Sleep(time.Hour) // since the pool was made
		l := h.lend()
		none := h.acquire()
		far := h.acquireFor(time.Minute)
		time.Sleep(10 * time.Second)
		near := h.acquireFor(20 * time.Second)
		var got []time.Duration
		for _, w := range q.waiters {
			if w.Deadline != 0 {
				w.Deadline -= time.Hour
			}
			got = append(got, w.Deadline)
		}
		if want := []time.Duration{0, time.Minute, 30 * time.Second}; !slices.Equal(got, want) {
			t.Errorf("the deadlines are %v, want %v", got, want)
		}
		h.wantServedInOrder(l, far, near, none)
	})
}

// New resources are given out in the Queue's order too.
func TestQueue_OrdersMakes(t *testing.T) {
	q := &listQueue{less: func(a, b *resource.Waiter) bool { return a.Request.Priority > b.Request.Priority }}
	script(t, 2, withQueue(q), func(h *harness) {
		low, high := h.acquireWith(resource.Request{Priority: 1}), h.acquireWith(resource.Request{Priority: 2})
		ms := h.wantMakes(2)
		ms[0].finish()
		high.wantLease()
		h.wantWaiting(low)
		ms[1].finish()
		low.wantLease()
	})
}

// A waiter that left is removed, once, and not popped.
func TestQueue_Remove(t *testing.T) {
	q := &listQueue{}
	script(t, 1, withQueue(q), func(h *harness) {
		l := h.lend()
		base := *q
		c1, c2 := h.acquire(), h.acquire()
		c1.cancel()
		c1.wantErr(context.Canceled)
		l.Release()
		c2.wantLease()
		if q.pushed-base.pushed != 2 || q.removed-base.removed != 1 || q.popped-base.popped != 1 || len(q.waiters) != 0 {
			t.Errorf("pushed %d, removed %d, popped %d, %d left; want 2, 1, 1, 0",
				q.pushed-base.pushed, q.removed-base.removed, q.popped-base.popped, len(q.waiters))
		}
	})
}

// A Queue may refuse a waiter: it gets the Queue's error, and the next one
// the resource.
func TestQueue_Refuses(t *testing.T) {
	late := errors.New("waited too long")
	q := &listQueue{}
	rejected := 0
	edit := func(h *harness) {
		h.cfg.Queue = q
		h.cfg.Trace = &resource.Trace{Rejected: func(context.Context, error) { rejected++ }}
	}
	script(t, 1, edit, func(h *harness) {
		l := h.lend()
		it := l.Value()
		c1, c2 := h.acquire(), h.acquire()
		q.refuse = late
		time.Sleep(time.Second)
		l.Release()
		if e := c1.wantErr(late); e.Waited != time.Second {
			t.Errorf("waited %v, want 1s", e.Waited)
		}
		c2.wantItem(it)
		if n := h.p.Stats().Rejected; n != 1 || rejected != 1 {
			t.Errorf("%d rejected, %d traced, want 1 and 1", n, rejected)
		}
	})
}

// If all are refused the resource goes to the idle list.
func TestQueue_RefusesAll(t *testing.T) {
	late := errors.New("waited too long")
	q := &listQueue{}
	script(t, 1, withQueue(q), func(h *harness) {
		l := h.lend()
		c := h.acquire()
		q.refuse = late
		l.Release()
		c.wantErr(late)
		h.wantLoad(resource.Load{Idle: 1})
	})
}

// A Queue that panics or that forgets its waiters: the oldest is served.
func TestQueue_Misbehaves(t *testing.T) {
	for name, q := range map[string]*listQueue{
		"Push panics": {hook: func(m string) { panicIn(m, "Push") }},
		"Pop panics":  {hook: func(m string) { panicIn(m, "Pop") }},
		"all panic":   {hook: func(m string) { panic("boom") }},
		"Pop is nil":  {empty: true},
	} {
		t.Run(name, func(t *testing.T) {
			script(t, 1, withQueue(q), func(h *harness) {
				l := h.lend()
				c1, c2, c3 := h.acquire(), h.acquire(), h.acquire()
				h.wantServedInOrder(l, c1, c2, c3)
				c4 := h.acquire()
				l = c4.wantLease()
				c5, c6 := h.acquire(), h.acquire()
				c5.cancel()
				c5.wantErr(context.Canceled)
				l.Release()
				c6.wantLease()
				if n := h.p.Stats().Panics; (n > 0) != (q.hook != nil) {
					t.Errorf("%d panics", n)
				}
			})
		})
	}
}

func panicIn(m, where string) {
	if m == where {
		panic("boom")
	}
}

// A Queue that pops a waiter that has left, or one twice, or none of this pool,
// harms no waiter.
func TestQueue_PopsTheWrongOne(t *testing.T) {
	q := &sloppyQueue{}
	script(t, 1, withQueue(q), func(h *harness) {
		l := h.lend()
		c1, c2, c3 := h.acquire(), h.acquire(), h.acquire()
		c1.cancel()
		c1.wantErr(context.Canceled) // the Queue keeps it
		h.wantServedInOrder(l, c2, c3)
		h.wantLoad(resource.Load{Idle: 1})
	})
}

// sloppyQueue pops in order, removes no waiter, and pops each one twice.
type sloppyQueue struct {
	waiters []*resource.Waiter
	n       int
}

func (q *sloppyQueue) Push(w *resource.Waiter, now time.Duration) { q.waiters = append(q.waiters, w) }
func (q *sloppyQueue) Remove(w *resource.Waiter)                  {}
func (q *sloppyQueue) Pop(now time.Duration) (*resource.Waiter, error) {
	q.n++
	if i := (q.n - 1) / 2; i < len(q.waiters) {
		return q.waiters[i], nil
	}
	return nil, nil
}

// The pool calls one method at a time.
func TestQueue_OneMethodAtATime(t *testing.T) {
	var inside, both atomic.Int32
	q := &listQueue{}
	q.hook = func(string) {
		if inside.Add(1) > 1 {
			both.Add(1)
		}
		inside.Add(-1)
	}
	hammer(t, 2, 8, 500, func(cfg *resource.Config[*token]) { cfg.Queue = q }, release)
	if n := both.Load(); n > 0 {
		t.Errorf("%d calls at once", n)
	}
}

// now and Since are on the same scale: the time since the pool was made.
func TestQueue_Times(t *testing.T) {
	q := &clockQueue{}
	script(t, 1, withQueue(q), func(h *harness) {
		l := h.lend()
		time.Sleep(3 * time.Second)
		c := h.acquire()
		time.Sleep(2 * time.Second)
		l.Release()
		c.wantLease()
		if q.push != 3*time.Second || q.since != 3*time.Second || q.pop != 5*time.Second {
			t.Errorf("pushed at %v, since %v, popped at %v; want 3s, 3s, 5s", q.push, q.since, q.pop)
		}
	})
}

// clockQueue keeps the times of its last calls.
type clockQueue struct {
	listQueue
	push, since, pop time.Duration
}

func (q *clockQueue) Push(w *resource.Waiter, now time.Duration) {
	q.push, q.since = now, w.Since
	q.listQueue.Push(w, now)
}

func (q *clockQueue) Pop(now time.Duration) (*resource.Waiter, error) {
	q.pop = now
	return q.listQueue.Pop(now)
}

// Effects of a Queue besides the order. Each of these once failed, most of them
// only with a Queue.

// eachQueue runs f without a Queue, and with one.
func eachQueue(t *testing.T, max int, edit func(h *harness), f func(h *harness)) {
	t.Helper()
	for name, queue := range map[string]resource.Queue{"no queue": nil, "queue": &listQueue{}} {
		t.Run(name, func(t *testing.T) {
			with := func(h *harness) {
				h.cfg.Queue = queue
				if edit != nil {
					edit(h)
				}
			}
			script(t, max, with, f)
		})
	}
}

// In an outage a caller that waited for what was leased did not get it when it
// came back.
func TestQueue_OutageServesFromReleases(t *testing.T) {
	eachQueue(t, 4, nil, func(h *harness) {
		l := h.lend()
		it := l.Value()
		h.down(3)
		c := h.acquireFor(20 * time.Millisecond)
		h.wantWaiting(c)
		l.Release()
		c.wantItem(it)
	})
}

// Each caller of a spike had a resource made, though one served them all in
// less time than a make takes.
func TestQueue_SpikeMakesFew(t *testing.T) {
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finishAfter(150 * time.Millisecond) }
	}
	eachQueue(t, 50, edit, func(h *harness) {
		h.lend().Release()
		before := h.begun()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				l, err := h.p.Acquire(context.Background())
				if err != nil {
					h.t.Error(err)
					return
				}
				time.Sleep(time.Millisecond)
				l.Release()
			})
		}
		wg.Wait()
		if n := h.begun() - before; n > 3 {
			h.t.Errorf("%d makes for 20 callers of 1ms each", n)
		}
	})
}

// Where every new resource was unhealthy, the pool made and destroyed without end.
func TestQueue_AlwaysUnhealthy(t *testing.T) {
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finishAfter(time.Millisecond) }
		h.cfg.Health = checkFunc(func(context.Context, *item, resource.Info) error { return errSick })
	}
	eachQueue(t, 1, edit, func(h *harness) {
		c := h.acquireFor(time.Second)
		time.Sleep(time.Second)
		h.settle()
		if n := h.begun(); n > 10 {
			h.t.Errorf("%d makes in 1s for one caller", n)
		}
		c.wantErr(errSick)
	})
}

// A MinRemaining that no resource has was asked for again and again, each time
// of a new one.
func TestQueue_ImpossibleMinRemaining(t *testing.T) {
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finishAfter(time.Millisecond) }
		h.cfg.Eviction = olderThan(time.Hour)
	}
	eachQueue(t, 1, edit, func(h *harness) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c := h.acquireCtx(ctx, resource.Request{MinRemaining: 2 * time.Hour})
		time.Sleep(time.Second)
		h.settle()
		if n := h.begun(); n > 10 {
			h.t.Errorf("%d makes in 1s for one caller", n)
		}
		c.wantFailed()
	})
}

// A resource once too near its end for one caller was destroyed at its release, in
// front of a caller without such a constraint.
func TestQueue_UnfitForOneIsLentToOthers(t *testing.T) {
	edit := func(h *harness) { h.cfg.Eviction = olderThan(time.Hour) }
	eachQueue(t, 1, edit, func(h *harness) {
		it := h.stock(1)[0]
		h.acquireWith(resource.Request{MinRemaining: 2 * time.Hour, NoWait: true}).wantErr(resource.ErrNoneIdle)
		l := h.acquire().wantItem(it)
		c := h.acquire()
		h.wantWaiting(c)
		l.Release()
		c.wantItem(it)
		h.wantAlive(it)
	})
}

// A waiter that left while Pop returned it was removed after it was popped.
func TestQueue_NoRemoveAfterPop(t *testing.T) {
	var q *slowQueue
	edit := func(h *harness) {
		q = &slowQueue{popped: map[*resource.Waiter]bool{}}
		h.cfg.Queue = q
	}
	script(t, 1, edit, func(h *harness) {
		l := h.lend()
		gate := make(chan struct{})
		q.gate = gate
		c := h.acquire()
		go l.Release()
		h.settle()
		c.cancel()
		h.settle()
		close(gate)
		c.wantErr(context.Canceled)
		h.wantLoad(resource.Load{Idle: 1})
		if q.pops == 0 || q.wrong > 0 {
			t.Errorf("%d popped, %d of them removed after that", q.pops, q.wrong)
		}
	})
}

// slowQueue waits for its gate, if it has one, before Pop returns a waiter.
type slowQueue struct {
	listQueue
	gate        chan struct{}
	popped      map[*resource.Waiter]bool
	pops, wrong int
}

func (q *slowQueue) Pop(now time.Duration) (*resource.Waiter, error) {
	w, err := q.listQueue.Pop(now)
	if w != nil && q.gate != nil {
		q.popped[w] = true
		q.pops++
		<-q.gate
	}
	return w, err
}

func (q *slowQueue) Remove(w *resource.Waiter) {
	if q.popped[w] {
		q.wrong++
	}
	q.listQueue.Remove(w)
}

// Close said that all had ended while a method of the Queue still ran.
func TestQueue_CloseWaitsForItsMethods(t *testing.T) {
	q := &listQueue{}
	script(t, 1, withQueue(q), func(h *harness) {
		gate := make(chan struct{})
		open := sync.OnceFunc(func() { close(gate) })
		defer open()
		q.hook = func(m string) {
			if m == "Push" {
				<-gate
			}
		}
		c := h.acquire()
		h.wantWaiting(c)
		done := h.close(time.Second)
		time.Sleep(500 * time.Millisecond)
		h.wantPending(done)
		time.Sleep(time.Second)
		h.wantDone(done, context.DeadlineExceeded)
		open()
		c.wantErr(resource.ErrClosed)
	})
}

// The RetryAfter of a Queue's refusal was lost.
func TestQueue_RefusalSaysRetryAfter(t *testing.T) {
	q := &listQueue{}
	script(t, 1, withQueue(q), func(h *harness) {
		l := h.lend()
		q.refuse = &resource.Rejection{Policy: "late", RetryAfter: time.Second}
		c := h.acquire()
		h.wantWaiting(c)
		l.Release()
		e := c.wantErr(resource.ErrRejected)
		var r *resource.Rejection
		if e.RetryAfter != time.Second || !errors.As(e, &r) || r.RetryAfter != time.Second {
			t.Errorf("RetryAfter is %v, and %+v; want 1s", e.RetryAfter, r)
		}
	})
}

// keepingQueue is a Queue that never lets go of those it was given.
type keepingQueue struct {
	listQueue
	all []*resource.Waiter
}

func (k *keepingQueue) Push(w *resource.Waiter, now time.Duration) {
	k.all = append(k.all, w)
	k.listQueue.Push(w, now)
}

// A Queue that keeps a Waiter does not keep the caller's context, nor what it
// was lent.
func TestQueue_KeepsNothingOfTheCaller(t *testing.T) {
	q := &keepingQueue{}
	p := newPlain(t, 1, func(cfg *resource.Config[*token]) { cfg.Queue = q })
	served := make(chan [2]weak.Pointer[token])
	l := p.must(context.Background())
	go func() {
		mine := &token{}
		ctx := context.WithValue(context.Background(), classKey{}, mine)
		l := p.must(ctx)
		lent := l.Value()
		l.Discard(nil)
		served <- [2]weak.Pointer[token]{weak.Make(mine), weak.Make(lent)}
	}()
	for p.Stats().Waiting == 0 {
		runtime.Gosched()
	}
	l.Release()
	kept := <-served
	for end := time.Now().Add(20 * time.Second); kept[0].Value() != nil || kept[1].Value() != nil; runtime.GC() {
		if time.Now().After(end) {
			t.Fatalf("kept are the context's value: %t, the resource: %t", kept[0].Value() != nil, kept[1].Value() != nil)
		}
	}
	if len(q.all) == 0 {
		t.Error("no caller waited")
	}
}

// Without a Queue nothing is noted for one, which would be kept for ever; with one all is reported.
func TestQueue_NothingLeftToReport(t *testing.T) {
	for name, q := range map[string]resource.Queue{"none": nil, "list": &listQueue{}} {
		t.Run(name, func(t *testing.T) {
			script(t, 1, func(h *harness) { h.cfg.Queue = q }, func(h *harness) {
				l := h.lend()
				for range 3 {
					gaveUp := h.acquireFor(ms)
					next := h.acquire()
					time.Sleep(2 * ms) // in the bubble of script
					gaveUp.wantErr(context.DeadlineExceeded)
					l.Release()
					l = next.wantLease()
				}
				if n := h.p.Unreported(); n != 0 {
					t.Errorf("%d comings and goings of waiters are kept", n)
				}
				l.Release()
			})
		})
	}
}

// Trap 25: the line of waiters had no bound and no order but its own.
func TestPuddleTrap25_NoPriority(t *testing.T) {
	urgent := &listQueue{less: func(a, b *resource.Waiter) bool { return a.Request.Priority > b.Request.Priority }}
	script(t, 1, func(h *harness) { h.cfg.Queue = urgent }, func(h *harness) {
		l := h.lend()
		low := h.acquireWith(resource.Request{Priority: 1})
		high := h.acquireWith(resource.Request{Priority: 2})
		l.Release()
		high.wantLease().Release()
		low.wantLease()
		h.acquireWith(resource.Request{NoWait: true}).wantErr(resource.ErrNoneIdle)
	})
}

// A resource made for a caller that the Queue then refused passed for fresh for
// ever.
func TestQueue_RefusedCallersResourceAges(t *testing.T) {
	edit := func(h *harness) {
		h.auto = func(m *makeCall) { m.finish() }
		h.cfg.Queue = &listQueue{refuse: errors.New("waited too long")}
		h.cfg.SweepInterval = 24 * time.Hour
		h.cfg.Eviction = idleFor(time.Minute)
	}
	script(t, 2, edit, func(h *harness) {
		h.acquire().wantErr(resource.ErrRejected)
		time.Sleep(time.Hour)
		h.acquire().wantLeaseWithin(time.Minute)
	})
}
