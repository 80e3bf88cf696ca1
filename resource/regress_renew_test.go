package resource_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/respool/respool/resource"
)

// A successor that was owed is paid off by whatever is made in the place: what a
// full pool has renewed for hours is not made once more when it may grow.
func TestRenewOwesNothing(t *testing.T) {
	inNursery(t, 10*time.Minute, func(cfg *resource.Config[int]) { cfg.MinIdle, cfg.MaxSize = 5, 5 }, func(n *nursery) {
		time.Sleep(65 * time.Minute) // in the middle of a generation
		before := n.Stats()
		if before.Made < 30 || before.Idle != 5 {
			t.Fatalf("%v, want 5 of the 6th generation", before)
		}
		if err := n.Resize(50); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if s := n.Stats(); s.Made != before.Made || s.Idle != 5 {
			t.Errorf("%v, want the same 5 and none made since: %d", s, s.Made-before.Made)
		}
	})
}

// The same where it is a caller who takes the place of one that made way.
func TestRenewOwesNothingToNobody(t *testing.T) {
	inNursery(t, time.Minute, func(cfg *resource.Config[int]) {
		cfg.MaxSize = 1
		destroy := cfg.Destroy
		cfg.Destroy = func(v int, err error) { time.Sleep(time.Second); destroy(v, err) }
	}, func(n *nursery) {
		for range 600 { // every other second: so some come while one makes way
			l, err := n.Acquire(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			l.Release()
			time.Sleep(time.Second)
		}
		s := n.Stats()
		if s.Evicted < 10 {
			t.Fatalf("%v, want a renewal a minute", s)
		}
		if err := n.Resize(20); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute) // for nobody
		if after := n.Stats(); after.Made > s.Made+1 || after.Idle != 0 {
			t.Errorf("%d more were made for nobody: %v", after.Made-s.Made, after)
		}
	})
}

// While callers always wait no successor is made; what ended meanwhile is not
// kept for that.
func TestRenewForgetsTheGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var made []weak.Pointer[[1024]byte]
		p, err := resource.New(resource.Config[*[1024]byte]{
			MaxSize:  4,
			Eviction: maxAge(time.Minute),
			Make: func(context.Context) (*[1024]byte, error) {
				v := new([1024]byte)
				mu.Lock()
				defer mu.Unlock()
				made = append(made, weak.Make(v))
				return v, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		for range 12 {
			go func() {
				for {
					l, err := p.Acquire(ctx)
					if err != nil {
						return
					}
					time.Sleep(time.Second)
					l.Release()
				}
			}()
		}
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		runtime.GC()
		runtime.GC()
		kept := 0
		for _, w := range made {
			if w.Value() != nil {
				kept++
			}
		}
		if len(made) < 1000 || kept > 100 {
			t.Errorf("%d of %d are still in memory, and %d in the pool", kept, len(made), p.Stats().Idle)
		}
		cancel()
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
