package resource_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

var errAbove = errors.New("test: surplus")

// above is an Eviction that keeps as many resources as it holds, and those that are just
// being lent for the first time.
type above struct{ atomic.Int64 }

func (a *above) Evict(i resource.Info) error {
	if int64(i.Total) > a.Load() && (i.Leases > 0 || i.Idlers > 0) {
		return errAbove
	}
	return nil
}

// Of resources that all come back at once exactly as many end as there are too many.
func TestInfo_TotalAtRelease(t *testing.T) {
	const most, kept = 32, 19
	for range 50 {
		var share above
		share.Store(most)
		p := newPool(t, resource.Config[int]{Make: makeOne, MaxSize: most, Eviction: &share, SweepInterval: time.Hour})
		var leases []resource.Lease[int]
		for range most {
			leases = append(leases, lendOne(t, p))
		}
		share.Store(kept)
		var start, busy sync.WaitGroup
		start.Add(1)
		for _, l := range leases {
			busy.Go(func() {
				start.Wait()
				l.Release()
			})
		}
		start.Done()
		busy.Wait()
		if n := p.Stats().Evicted; n != most-kept {
			t.Fatalf("%d evicted, want %d", n, most-kept)
		}
		closeAll(t, p)
	}
}

// Under load, with sweeps, acquires and releases at once, the number falls to the share and
// not below it; resources that end for another reason do not upset the count.
func TestInfo_TotalUnderLoad(t *testing.T) {
	const most, kept = 24, 9
	var share above
	share.Store(most)
	old := olderThan(150 * time.Millisecond)
	p := newPool(t, resource.Config[int]{
		Make: makeOne, MaxSize: most, SweepInterval: resource.MinSweepInterval,
		Eviction: evictFunc(func(i resource.Info) error {
			if err := old(i); err != nil && i.ID%3 == 0 {
				return err
			}
			return share.Evict(i)
		}),
	})
	ctx, cancel := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	var turns atomic.Int64
	for range most {
		busy.Go(func() {
			for ctx.Err() == nil {
				l, err := p.Acquire(ctx)
				if err != nil {
					continue
				}
				turns.Add(1)
				if turns.Load()%50 == 0 {
					time.Sleep(time.Millisecond)
				}
				l.Release()
			}
		})
	}
	for turns.Load() < 20000 {
		time.Sleep(time.Millisecond)
		share.Store(kept + turns.Load()%3)
	}
	cancel()
	busy.Wait()
	share.Store(kept)
	within(t, 10*time.Second, func() {
		for existing(p) > kept {
			time.Sleep(time.Millisecond)
		}
	})
	share.Store(0)
	within(t, 10*time.Second, func() {
		for existing(p) > 0 {
			time.Sleep(time.Millisecond)
		}
	})
	share.Store(most)
	l := lendOne(t, p)
	if i := l.Info(); i.Total != 1 {
		t.Errorf("Total is %d with one resource", i.Total)
	}
	l.Release()
	closeAll(t, p)
}

// The sweep ends the resources idle longest, and each is asked about with another Total.
func TestInfo_TotalInSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, kept = 200, 150 // more than one chunk of the sweep
		var share above
		share.Store(most)
		var mu sync.Mutex
		var ended []int
		made := 0
		p := newPool(t, resource.Config[int]{
			Make: func(context.Context) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				made++
				return made, nil
			},
			Destroy: func(v int, cause error) {
				mu.Lock()
				defer mu.Unlock()
				if cause == errAbove {
					ended = append(ended, v)
				}
			},
			MaxSize: most, Eviction: &share, SweepInterval: time.Second,
		})
		if err := p.Warm(context.Background(), most); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		share.Store(kept)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		mu.Lock()
		n := len(ended)
		mu.Unlock()
		if n != most-kept || existing(p) != kept {
			t.Errorf("%d ended, %d are left, want %d", n, existing(p), kept)
		}
		closeAll(t, p)
	})
}

// Where the answer is to depend on the resource alone Total is 0: a caller that asks for
// MinRemaining gets a resource although there are too many.
func TestInfo_TotalOfTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var later atomic.Int64
		p := newPool(t, resource.Config[int]{
			Make: makeOne, MaxSize: 2, SweepInterval: time.Second,
			Eviction: evictFunc(func(i resource.Info) error {
				if i.Age >= time.Hour {
					later.Add(1)
					if i.Total != 0 {
						t.Errorf("Total is %d for a time to come", i.Total)
					}
				}
				return nil
			}),
		})
		l, err := p.AcquireWith(context.Background(), resource.Request{MinRemaining: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
		l, err = p.AcquireWith(context.Background(), resource.Request{MinRemaining: time.Hour})
		if err != nil || later.Load() == 0 {
			t.Fatalf("asked %d times; %v", later.Load(), err)
		}
		l.Release()
		closeAll(t, p)
	})
}

// existing is how many resources the pool has that are not being created or destroyed.
func existing[T any](p *resource.Pool[T]) int {
	s := p.Stats()
	return s.Idle + s.Leased
}
