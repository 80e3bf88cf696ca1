package resource_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/respool/respool/resource"
)

// What a Queue once changed besides the order. Each of these once failed,
// most of them only with a Queue.

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

// Where everything made was found ill, the pool made and destroyed without end.
func TestQueue_AlwaysIll(t *testing.T) {
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

// What was once too near its end for somebody was destroyed when it came back,
// in front of a caller who did not mind.
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

// slowQueue waits for its gate, if it has one, before Pop returns somebody.
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

// keeper is a Queue that never lets go of those it was given.
type keeper struct {
	listQueue
	all []*resource.Waiter
}

func (k *keeper) Push(w *resource.Waiter, now time.Duration) {
	k.all = append(k.all, w)
	k.listQueue.Push(w, now)
}

// A Queue that keeps a Waiter does not keep the caller's context, nor what it
// was lent.
func TestQueue_KeepsNothingOfTheCaller(t *testing.T) {
	q := &keeper{}
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
		t.Error("nobody waited")
	}
}
