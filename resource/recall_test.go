package resource_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// recalls notes the calls of Recall.
type recalls struct {
	mu     sync.Mutex
	values []int
	causes []error
	on     func(v int, cause error) // called too; nil: nothing is
}

func (r *recalls) recall(v int, cause error) {
	r.mu.Lock()
	r.values, r.causes = append(r.values, v), append(r.causes, cause)
	on := r.on
	r.mu.Unlock()
	if on != nil {
		on(v, cause)
	}
}

// want waits until nothing runs and requires that Recall was called for these values since
// the last want, in any order, each time with that cause.
func (r *recalls) want(t *testing.T, cause error, values ...int) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.values)
	if !slices.Equal(r.values, values) {
		t.Errorf("recalled %v, want %v", r.values, values)
	}
	for _, c := range r.causes {
		if !errors.Is(c, cause) {
			t.Errorf("recalled because %v, want %v", c, cause)
		}
	}
	r.values, r.causes = nil, nil
}

// numbered is a Make that returns 1, 2, 3 and so on.
func numbered() func(context.Context) (int, error) {
	var mu sync.Mutex
	n := 0
	return func(context.Context) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		n++
		return n, nil
	}
}

// Reset, Resize and Close ask the holders of what they want back, each once.
func TestRecall(t *testing.T) {
	cause := errors.New("moved")
	synctest.Test(t, func(t *testing.T) {
		r := &recalls{}
		p := newPool(t, resource.Config[int]{Make: numbered(), MaxSize: 4, Recall: r.recall})
		var held [4]resource.Lease[int]
		for i := range held {
			held[i] = lendOne(t, p)
		}
		held[3].Release() // idle: there is no holder to ask
		p.Reset(cause)
		r.want(t, cause, 1, 2, 3)
		p.Reset(cause) // they were asked before
		r.want(t, cause)

		held[3] = lendOne(t, p) // 5, of the new era
		if err := p.Resize(2); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.want(t, nil) // three of the old era, which were asked, are more than the surplus
		for i := range held[:3] {
			held[i].Release()
		}
		held[0], held[1] = held[3], lendOne(t, p)
		if err := p.Resize(1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.mu.Lock()
		if len(r.values) != 1 || r.causes[0] != resource.ErrResized {
			t.Errorf("recalled %v because %v, want one of two, %v", r.values, r.causes, resource.ErrResized)
		}
		asked := r.values
		r.values, r.causes = nil, nil
		r.mu.Unlock()

		closed := make(chan error)
		go func() { closed <- p.Close(context.Background()) }()
		other := 5 + 6 - asked[0]
		r.want(t, resource.ErrClosed, other)
		held[0].Release()
		held[1].Release()
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// A holder that ends its lease when it is asked does not block Close.
func TestRecallLetsCloseEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held sync.Map
		r := &recalls{on: func(v int, _ error) {
			if l, ok := held.Load(v); ok {
				l.(resource.Lease[int]).Release()
			}
		}}
		p := newPool(t, resource.Config[int]{Make: numbered(), MaxSize: 100, Recall: r.recall})
		for range 100 {
			l := lendOne(t, p)
			held.Store(l.Value(), l)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

// A sweep asks for a leased resource that will soon be too old: once for each lease.
func TestRecallForeseenAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recalls{}
		p := newPool(t, resource.Config[int]{
			Make: numbered(), MaxSize: 2, Recall: r.recall, Eviction: olderThan(time.Minute), SweepInterval: 5 * time.Second,
		})
		defer closeAll(t, p)
		l := lendOne(t, p)
		time.Sleep(50 * time.Second)
		r.want(t, nil)
		time.Sleep(7 * time.Second)
		r.want(t, errOld, 1)
		time.Sleep(time.Hour) // the resource is far too old
		r.want(t, nil)
		l.Release()
	})
}

// The idle time for which a resource would be replaced does not count while it is leased.
func TestRecallNotForIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recalls{}
		p := newPool(t, resource.Config[int]{
			Make: numbered(), MaxSize: 2, Recall: r.recall, Eviction: idleFor(20 * time.Second), SweepInterval: 5 * time.Second,
		})
		defer closeAll(t, p)
		l := lendOne(t, p)
		l.Release()
		time.Sleep(18 * time.Second)
		l = lendOne(t, p)
		time.Sleep(time.Minute)
		r.want(t, nil)
		l.Release()
	})
}

// A caller of another key that has nothing makes a key ask for a leased resource, one at a
// time, and gets its slot.
func TestRecallForAnotherKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held sync.Map
		r := &recalls{on: func(v int, _ error) {
			if l, ok := held.LoadAndDelete(v); ok {
				l.(resource.Lease[int]).Release()
			}
		}}
		k := newKeyed(t, resource.KeyedConfig[string, int]{
			MaxTotal: 3,
			Config: func(key string) (resource.Config[int], error) {
				c := resource.Config[int]{Make: numbered(), MaxSize: 3}
				if key == "long" {
					c.Recall = r.recall
				}
				return c, nil
			},
		})
		defer closeAll(t, k)
		for range 3 {
			l, err := k.Acquire(context.Background(), "long")
			if err != nil {
				t.Fatal(err)
			}
			held.Store(l.Value(), l)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, key := range []string{"a", "b"} {
			l, err := k.Acquire(ctx, key)
			if err != nil {
				t.Fatalf("key %s: %v", key, err)
			}
			defer l.Release()
			synctest.Wait()
			r.mu.Lock()
			if n := len(r.values); n != 1 || r.causes[0] != resource.ErrPreempted {
				t.Errorf("key %s: recalled %v because %v, want one, %v", key, r.values, r.causes, resource.ErrPreempted)
			}
			r.values, r.causes = nil, nil
			r.mu.Unlock()
		}
		held.Range(func(_, l any) bool { l.(resource.Lease[int]).Release(); return true })
	})
}

// Fewer slots for all keys: leased resources are asked for.
func TestRecallOnKeyedResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recalls{}
		k := newKeyed(t, resource.KeyedConfig[string, int]{
			MaxTotal: 2,
			Config: func(string) (resource.Config[int], error) {
				return resource.Config[int]{Make: numbered(), MaxSize: 3, Recall: r.recall}, nil
			},
		})
		defer closeAll(t, k)
		var held [2]resource.Lease[int]
		for i := range held {
			l, err := k.Acquire(context.Background(), "long")
			if err != nil {
				t.Fatal(err)
			}
			held[i] = l
		}
		if err := k.Resize(1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.mu.Lock()
		if len(r.values) != 1 || r.causes[0] != resource.ErrResized {
			t.Errorf("recalled %v because %v, want one, %v", r.values, r.causes, resource.ErrResized)
		}
		r.mu.Unlock()
		held[0].Release()
		held[1].Release()
	})
}

// I5, I9: Recall may use the pool, and a panic or Goexit in it costs nothing else.
func TestI9_Recall(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p *resource.Pool[int]
				r := &recalls{on: func(int, error) { p.Stats(); end() }}
				p = newPool(t, resource.Config[int]{Make: numbered(), MaxSize: 2, Recall: r.recall})
				a, b := lendOne(t, p), lendOne(t, p)
				p.Reset(nil)
				r.want(t, resource.ErrReset, 1, 2)
				if n := p.Stats().Panics; n != 2 {
					t.Errorf("%d panics contained, want 2", n)
				}
				a.Release()
				b.Release()
				closeAll(t, p)
			})
		})
	}
}

// I6, I11: a Recall that hangs keeps no other from being called, and Close waits for it.
func TestI11_RecallHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		r := &recalls{on: func(v int, _ error) {
			if v == 1 {
				<-free
			}
		}}
		p := newPool(t, resource.Config[int]{Make: numbered(), MaxSize: 2, Recall: r.recall})
		a, b := lendOne(t, p), lendOne(t, p)
		p.Reset(nil)
		r.want(t, resource.ErrReset, 1, 2)
		a.Release()
		b.Release()
		lendOne(t, p).Release()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := p.Close(ctx); err == nil {
			t.Error("Close returned while Recall ran")
		}
		close(free)
		closeAll(t, p)
	})
}

// Shared leases are shown as such.
func TestSharedLease(t *testing.T) {
	for name, cfg := range map[string]resource.Config[int]{
		"hit": {}, "policy": {Eviction: olderThan(time.Hour)}, "sampled": {SampleLeases: 1, Trace: &resource.Trace{Leased: func(context.Context, resource.LeaseEvent) {}}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Make, cfg.MaxSize = numbered(), 2
			p := newPool(t, cfg)
			defer closeAll(t, p)
			for _, shared := range []bool{true, false, true, false} {
				l, err := p.AcquireWith(context.Background(), resource.Request{Shared: shared})
				if err != nil {
					t.Fatal(err)
				}
				if rs := p.Inspect(8).Resources; len(rs) != 1 || rs[0].Shared != shared {
					t.Errorf("shared %v: %+v", shared, rs)
				}
				l.Release()
				if rs := p.Inspect(8).Resources; rs[0].Shared {
					t.Error("an idle resource is shown as shared")
				}
			}
		})
	}
}
