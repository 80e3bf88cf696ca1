package resource_test

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/respool/respool/resource"
)

// renewalPool is a pool that takes nearly a second to make one, and follows how many there
// are.
type renewalPool struct {
	*resource.Pool[int]
	mu           sync.Mutex
	made         int
	making, most int // at once
	live         int // made, not destroyed
	least        int // minimum of live, since watch
}

// inRenewalPool runs f in a bubble with one.
func inRenewalPool(t *testing.T, age time.Duration, edit func(cfg *resource.Config[int]), f func(n *renewalPool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &renewalPool{}
		cfg := resource.Config[int]{
			MaxSize:  10,
			Eviction: olderThan(age),
			Make: func(context.Context) (int, error) {
				n.mu.Lock()
				n.making++
				n.most = max(n.most, n.making)
				n.mu.Unlock()
				time.Sleep(900 * time.Millisecond)
				n.mu.Lock()
				defer n.mu.Unlock()
				n.making--
				n.made++
				n.live++
				return n.made, nil
			},
			Destroy: func(int, error) {
				n.mu.Lock()
				defer n.mu.Unlock()
				n.live--
				n.least = min(n.least, n.live)
			},
		}
		edit(&cfg)
		p := newPool(t, cfg)
		n.Pool = p
		f(n)
		closeAll(t, p)
	})
}

// watch begins to follow the extremes.
func (n *renewalPool) watch() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.most, n.least = n.making, n.live
}

func (n *renewalPool) extremes() (most, least int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.most, n.least
}

// A resource in use gets its replacement before it ends: no caller ever waits for
// one.
func TestRenewBeforeTheEnd(t *testing.T) {
	inRenewalPool(t, 5*time.Minute, func(cfg *resource.Config[int]) { cfg.MaxSize = 2 }, func(n *renewalPool) {
		lease := func() { // one use each second
			l := lendOne(t, n)
			time.Sleep(900 * time.Millisecond)
			l.Release()
			time.Sleep(100 * time.Millisecond)
		}
		lease()
		before := n.Stats()
		for range 3600 {
			lease()
		}
		s := n.Stats()
		if s.Waited != before.Waited {
			t.Errorf("%d of 3600 callers waited for a make", s.Waited-before.Waited)
		}
		// An hour has 12 times 5 minutes; each life is up to a lead shorter.
		if s.Made < 12 || s.Made > 14 {
			t.Errorf("%d made in an hour, want 12 to 14", s.Made)
		}
		if s.Evicted != s.Destroyed || s.Evicted < 11 {
			t.Errorf("%d evicted of %d destroyed", s.Evicted, s.Destroyed)
		}
	})
}

// The replacement of a resource in use begins at the first sweep after which less than one
// interval and the time of two creations are left.
func TestRenewLead(t *testing.T) {
	const sweep, creation, age = 10 * time.Second, 900 * time.Millisecond, 5 * time.Minute
	for _, tc := range []struct {
		first, second time.Duration // when the creation and that of the replacement begin
	}{
		// Born after 1.4 s it ends after 301.4 s. The lead is 11.8 s, so the sweep after 290 s comes
		// in time; if the lead had the time of one creation only, it would come too early.
		{500 * time.Millisecond, 290 * time.Second},
		// Born after 2.2 s it ends after 302.2 s. The sweep after 300 s is the first that finds it near
		// its end; with the time of three creations that after 290 s would.
		{1300 * time.Millisecond, 300 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			var mu sync.Mutex
			var begun []time.Duration
			p := newPool(t, resource.Config[int]{
				MaxSize: 2, Eviction: olderThan(age), SweepInterval: sweep,
				Make: func(context.Context) (int, error) {
					mu.Lock()
					begun = append(begun, time.Since(start))
					mu.Unlock()
					time.Sleep(creation)
					return 0, nil
				},
			})
			time.Sleep(tc.first)
			for time.Since(start) < age+time.Minute {
				l := lendOne(t, p)
				time.Sleep(500 * time.Millisecond)
				l.Release()
				time.Sleep(500 * time.Millisecond)
			}
			mu.Lock()
			defer mu.Unlock()
			if want := []time.Duration{tc.first, tc.second}; !slices.Equal(begun, want) {
				t.Errorf("creations began after %v, want %v", begun, want)
			}
			closeAll(t, p)
		})
	}
}

// An unused resource that MinIdle does not need ends without a replacement.
func TestRenewNotWhatIsUnused(t *testing.T) {
	inRenewalPool(t, 5*time.Minute, func(*resource.Config[int]) {}, func(n *renewalPool) {
		if err := n.Warm(context.Background(), 3); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if s := n.Stats(); s.Made != 3 || s.Idle != 0 {
			t.Errorf("%v, want 3 made and none left", s)
		}
	})
}

// What was made together is replaced one by one: before it ends if there is room,
// so that never fewer than MinIdle are alive; in a full pool each is evicted before
// its replacement is made.
func TestRenewMinIdle(t *testing.T) {
	for _, tc := range []struct {
		name       string
		max, least int
	}{{"with room", 10, 5}, {"full", 5, 4}} {
		t.Run(tc.name, func(t *testing.T) {
			inRenewalPool(t, 10*time.Minute, func(cfg *resource.Config[int]) { cfg.MinIdle, cfg.MaxSize = 5, tc.max }, func(n *renewalPool) {
				time.Sleep(5 * time.Second)
				n.watch()
				time.Sleep(time.Hour)
				if most, least := n.extremes(); most != 1 || least < tc.least {
					t.Errorf("up to %d made at once, and at times %d live; want 1 and never less than %d", most, least, tc.least)
				}
				if s := n.Stats(); s.Made > 5*8 || s.Made < 5*6 {
					t.Errorf("%d made in an hour, want about 6 generations of 5", s.Made)
				}
			})
		})
	}
}

// A successor does not keep Close, and is not made after it.
func TestRenewClosed(t *testing.T) {
	inRenewalPool(t, time.Minute, func(cfg *resource.Config[int]) { cfg.MinIdle = 5 }, func(n *renewalPool) {
		time.Sleep(51500 * time.Millisecond) // some are just being renewed
		if s := n.Stats(); s.Making != 1 {
			t.Fatalf("%v, want a successor being made", s)
		}
		closeAll(t, n)
		made := n.made
		time.Sleep(time.Minute)
		if n.made != made {
			t.Errorf("%d made after Close", n.made-made)
		}
	})
}

// A pending replacement is settled by any resource made in the slot: what a full
// pool has renewed for hours is not made once more when it may grow.
func TestRenew_NothingOwedAfterGrowth(t *testing.T) {
	inRenewalPool(t, 10*time.Minute, func(cfg *resource.Config[int]) { cfg.MinIdle, cfg.MaxSize = 5, 5 }, func(n *renewalPool) {
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

// The same where a caller takes the slot of an evicted resource.
func TestRenew_NothingOwedWithoutCallers(t *testing.T) {
	inRenewalPool(t, time.Minute, func(cfg *resource.Config[int]) {
		cfg.MaxSize = 1
		destroy := cfg.Destroy
		cfg.Destroy = func(v int, err error) { time.Sleep(time.Second); destroy(v, err) }
	}, func(n *renewalPool) {
		for range 600 { // every other second: so some come during an eviction
			l := lendOne(t, n)
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
		time.Sleep(5 * time.Minute) // no caller comes
		if after := n.Stats(); after.Made > s.Made+1 || after.Idle != 0 {
			t.Errorf("%d more were made without a caller: %v", after.Made-s.Made, after)
		}
	})
}

// While callers always wait no successor is made; what ended meanwhile is not
// kept for that.
func TestRenew_ForgetsDestroyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var made []weak.Pointer[[1024]byte]
		p := newPool(t, resource.Config[*[1024]byte]{
			MaxSize:  4,
			Eviction: olderThan(time.Minute),
			Make: func(context.Context) (*[1024]byte, error) {
				v := new([1024]byte)
				mu.Lock()
				defer mu.Unlock()
				made = append(made, weak.Make(v))
				return v, nil
			},
		})
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
		closeAll(t, p)
	})
}
