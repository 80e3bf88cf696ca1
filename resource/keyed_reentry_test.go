package resource_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/respool/respool/resource"
)

// meddler is every policy at once; each of its methods calls the Keyed.
type meddler struct {
	k     atomic.Pointer[resource.Keyed[int, int]]
	calls atomic.Int64
	deep  atomic.Int64
	stack
}

// meddle does something to some key.
func (m *meddler) meddle() {
	k := m.k.Load()
	if k == nil || m.deep.Add(1) > 8 {
		m.deep.Add(-1)
		return
	}
	defer m.deep.Add(-1)
	m.calls.Add(1)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	key := rand.IntN(7) // one is of no other use
	switch rand.IntN(9) {
	case 0:
		if l, err := k.Acquire(ctx, key); err == nil {
			l.Release()
		}
	case 1:
		if l, ok := k.TryAcquire(key); ok {
			l.Discard(nil)
		}
	case 2:
		k.Stats()
	case 3:
		if key == 6 {
			_ = k.Drain(ctx, key)
		}
	case 4:
		if rand.IntN(20) == 0 {
			k.Reset(nil)
		}
	case 5:
		_ = k.Resize(2 + rand.IntN(4))
	case 6:
		for _, p := range k.All() {
			p.Stats()
		}
	case 7:
		if p, ok := k.Find(key); ok {
			_ = p.Warm(ctx, 1)
		}
	case 8:
		k.Len()
	}
}

func (m *meddler) Admit(context.Context, resource.Request) (resource.Done, error) {
	m.meddle()
	return func(resource.Outcome) { m.meddle() }, nil
}
func (m *meddler) Evict(resource.Info) error                       { m.meddle(); return nil }
func (m *meddler) Check(context.Context, int, resource.Info) error { m.meddle(); return nil }
func (m *meddler) Due(resource.Info) bool                          { m.meddle(); return rand.IntN(2) == 0 }
func (m *meddler) Push(w *resource.Waiter, t time.Duration)        { m.meddle(); m.stack.Push(w, t) }
func (m *meddler) Remove(w *resource.Waiter)                       { m.meddle(); m.stack.Remove(w) }
func (m *meddler) Pop(t time.Duration) (*resource.Waiter, error) {
	m.meddle()
	return m.stack.Pop(t)
}

// Whatever a Keyed calls may call the Keyed: nothing is locked meanwhile, and
// nothing is left when it is closed.
func TestI5_KeyedCalledFromEverywhere(t *testing.T) {
	here := goleak.IgnoreCurrent()
	var all []*meddler
	var mu sync.Mutex
	var k *resource.Keyed[int, int]
	k, err := resource.NewKeyed(resource.KeyedConfig[int, int]{
		MaxTotal: 3, ForgetAfter: time.Millisecond,
		Config: func(key int) (resource.Config[int], error) {
			m := &meddler{}
			m.k.Store(k)
			mu.Lock()
			all = append(all, m)
			mu.Unlock()
			cfg := resource.Config[int]{
				MaxSize: 2, SweepInterval: resource.MinSweepInterval,
				Make:    func(context.Context) (int, error) { m.meddle(); return key, nil },
				Destroy: func(int, error) { m.meddle() },
				Watch:   func(_ int, invalidate func(error)) { m.meddle() },
				Quota:   m, MakeGate: m,
				Trace: &resource.Trace{
					Made:      func(context.Context, resource.MakeEvent) { m.meddle() },
					Destroyed: func(resource.DestroyEvent) { m.meddle() },
				},
			}
			if key%3 > 0 {
				cfg.Admission, cfg.Eviction, cfg.Health = m, m, m
			}
			if key%3 == 2 {
				cfg.Queue = m
			}
			return cfg, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var served atomic.Int64
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if l, err := k.Acquire(ctx, rand.IntN(6)); err == nil {
					served.Add(1)
					l.Release()
				}
			}
		})
	}
	wg.Wait()
	last, cancelLast := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancelLast()
	if err := k.Close(last); err != nil {
		t.Fatalf("I6: Close: %v; %v", err, k.Stats())
	}
	if err := goleak.Find(here); err != nil {
		t.Error(err)
	}
	calls := int64(0)
	for _, m := range all {
		calls += m.calls.Load()
	}
	if served.Load() < 100 || calls < 100 {
		t.Errorf("%d served, %d calls from inside: nothing was tried", served.Load(), calls)
	}
	t.Logf("%d served, %d calls from inside", served.Load(), calls)
}
