package resource_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

type againGate func(ctx context.Context) error

func (f againGate) Admit(ctx context.Context, _ resource.Request) (resource.Done, error) {
	return nil, f(ctx)
}

type againEvict func(i resource.Info) error

func (f againEvict) Evict(i resource.Info) error { return f(i) }

func againPool(t *testing.T, c resource.Config[*int]) *resource.Pool[*int] {
	if c.Make == nil {
		c.Make = func(context.Context) (*int, error) { return new(int), nil }
	}
	p, err := resource.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// One burst of refusals counted as many in a row, and barred makes for long.
func TestAgain_RefusalBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		p := againPool(t, resource.Config[*int]{MaxSize: 8, Outage: resource.KeepWaiting,
			MakeGate: againGate(func(context.Context) error {
				if n.Add(1) <= 8 {
					time.Sleep(time.Millisecond) // so that all are refused at one instant
					return &resource.Rejection{Policy: "x", RetryAfter: 10 * time.Millisecond}
				}
				return nil
			})})
		start := time.Now()
		var wg sync.WaitGroup
		var ls [8]resource.Lease[*int]
		for i := range 8 {
			wg.Go(func() {
				var err error
				if ls[i], err = p.Acquire(t.Context()); err != nil {
					t.Errorf("caller %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d > 200*time.Millisecond {
			t.Errorf("a gate that said 10ms once to each was tried again after %v", d)
		}
		for _, l := range ls {
			l.Release()
		}
		p.Close(context.Background())
	})
}

// After one refusal nothing was tried as long as a slow make ran.
func TestAgain_RefusalSerialises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		p := againPool(t, resource.Config[*int]{MaxSize: 4, MakeTimeout: time.Minute,
			Make: func(context.Context) (*int, error) { time.Sleep(20 * time.Second); return new(int), nil },
			MakeGate: againGate(func(context.Context) error {
				switch n.Add(1) {
				case 1:
					return nil
				case 2:
					time.Sleep(time.Millisecond)
					return &resource.Rejection{Policy: "x", RetryAfter: 100 * time.Millisecond}
				}
				return nil
			})})
		start := time.Now()
		var wg sync.WaitGroup
		var ls [2]resource.Lease[*int]
		for i := range 2 {
			wg.Go(func() {
				var err error
				if ls[i], err = p.Acquire(t.Context()); err != nil {
					t.Errorf("caller %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d > 21*time.Second {
			t.Errorf("second of two: %v, with a gate open again after 100ms and makes of 20s", d)
		}
		for _, l := range ls {
			l.Release()
		}
		p.Close(context.Background())
	})
}

type refuseOnce struct {
	ws []*resource.Waiter
	n  int
}

func (q *refuseOnce) Push(w *resource.Waiter, _ time.Duration) { q.ws = append(q.ws, w) }
func (q *refuseOnce) Remove(w *resource.Waiter)                { q.ws = nil }
func (q *refuseOnce) Pop(time.Duration) (*resource.Waiter, error) {
	if len(q.ws) == 0 {
		return nil, nil
	}
	w := q.ws[0]
	q.ws = q.ws[1:]
	if q.n++; q.n == 1 {
		return w, errors.New("waited too long")
	}
	return w, nil
}

// What was made for a caller that the Queue then refused passed for fresh for
// ever.
func TestAgain_QueueFreshForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := againPool(t, resource.Config[*int]{MaxSize: 2, Queue: &refuseOnce{}, SweepInterval: 24 * time.Hour,
			Eviction: againEvict(func(i resource.Info) error {
				if i.Idle > time.Minute {
					return errors.New("idle too long")
				}
				return nil
			})})
		if _, err := p.Acquire(t.Context()); err == nil {
			t.Fatal("not refused")
		}
		synctest.Wait()
		time.Sleep(time.Hour)
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Errorf("after an hour: %v; %v", err, p.Stats())
		} else {
			l.Release()
		}
		p.Close(context.Background())
	})
}

func tooOld(i resource.Info) error {
	if i.Age > time.Hour {
		return errors.New("too old")
	}
	return nil
}

// In a full pool whose resource is too near its end nobody looked again when a
// refusal had ended.
func TestAgain_BarredFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		p := againPool(t, resource.Config[*int]{MaxSize: 2, Eviction: againEvict(tooOld), SweepInterval: 24 * time.Hour,
			MakeGate: againGate(func(context.Context) error {
				if n.Add(1) == 2 {
					time.Sleep(2 * time.Second) // its caller has left by then
					return &resource.Rejection{Policy: "x", RetryAfter: 10 * time.Second}
				}
				return nil
			})})
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if _, err := p.Acquire(ctx); err == nil {
			t.Error("lent, though the gate refuses")
		}
		cancel()
		time.Sleep(2 * time.Second)
		p.Resize(1)
		l.Release()
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		l, err = p.AcquireWith(ctx, resource.Request{MinRemaining: 45 * time.Minute})
		if err != nil {
			t.Errorf("%v; %v", err, p.Stats())
		} else {
			l.Release()
		}
		p.Close(context.Background())
	})
}

// In such a pool the prober never got a place, and an outage never ended.
func TestAgain_OutageFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		p := againPool(t, resource.Config[*int]{MaxSize: 2, Eviction: againEvict(tooOld), SweepInterval: 24 * time.Hour,
			Make: func(context.Context) (*int, error) {
				if down.Load() {
					return nil, errors.New("down")
				}
				return new(int), nil
			}})
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Minute)
		down.Store(true)
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := p.Acquire(ctx); err == nil {
				t.Error("lent by a dead factory")
			}
			cancel()
		}
		if !p.Stats().Outage {
			t.Fatal("no outage", p.Stats())
		}
		p.Resize(1)
		l.Release()
		down.Store(false)
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		l, err = p.AcquireWith(ctx, resource.Request{MinRemaining: 45 * time.Minute})
		if err != nil {
			t.Errorf("%v; %v", err, p.Stats())
		} else {
			l.Release()
		}
		p.Close(context.Background())
	})
}

type slowRemove struct {
	refuseOnce
	hold, in chan struct{}
}

func (q *slowRemove) Remove(*resource.Waiter) { close(q.in); <-q.hold }

// Close returned nil while a method of the Queue still ran.
func TestAgain_CloseQueueRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &slowRemove{hold: make(chan struct{}), in: make(chan struct{})}
		p := againPool(t, resource.Config[*int]{MaxSize: 1, Queue: q,
			MakeGate: againGate(func(context.Context) error {
				return &resource.Rejection{Policy: "x", RetryAfter: time.Hour}
			})})
		go p.Acquire(t.Context())
		synctest.Wait()
		go p.Close(context.Background())
		<-q.in // Remove runs
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Close(ctx); err == nil {
			t.Error("Close returned nil while Queue.Remove runs")
		}
		close(q.hold)
		synctest.Wait()
	})
}

type goexitErr struct{}

func (goexitErr) Error() string { return "x" }
func (goexitErr) Is(error) bool { runtime.Goexit(); return false }

// A Goexit in a method of a gate's error cost a place for ever.
func TestAgain_GoexitInIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		p := againPool(t, resource.Config[*int]{MaxSize: 1,
			MakeGate: againGate(func(context.Context) error {
				if n.Add(1) == 1 {
					return goexitErr{}
				}
				return nil
			})})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := p.Acquire(ctx)
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		l, err2 := p.Acquire(ctx)
		if err2 != nil {
			t.Errorf("%v, %v; %v", err, err2, p.Stats())
		}
		l.Release()
		ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}
