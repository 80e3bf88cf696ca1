package resource_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

var errAged = errors.New("old")

// maxAge ends what is older than it says, by exactly that.
type maxAge time.Duration

func (d maxAge) Evict(i resource.Info) error {
	if i.Age >= time.Duration(d) {
		return errAged
	}
	return nil
}

// nursery is a pool that takes nearly a second to make one, and follows how many there
// are.
type nursery struct {
	*resource.Pool[int]
	mu           sync.Mutex
	made         int
	making, most int // at once
	live         int // made, not destroyed
	least        int // of live, since watch
}

// inNursery runs f in a bubble with one.
func inNursery(t *testing.T, age time.Duration, edit func(cfg *resource.Config[int]), f func(n *nursery)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &nursery{}
		cfg := resource.Config[int]{
			MaxSize:  10,
			Eviction: maxAge(age),
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
		p, err := resource.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		n.Pool = p
		f(n)
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// watch begins to follow the extremes.
func (n *nursery) watch() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.most, n.least = n.making, n.live
}

func (n *nursery) extremes() (most, least int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.most, n.least
}

// What is in use gets its successor before it ends: nobody ever waits for one.
func TestRenewBeforeTheEnd(t *testing.T) {
	inNursery(t, 5*time.Minute, func(cfg *resource.Config[int]) { cfg.MaxSize = 2 }, func(n *nursery) {
		lease := func() { // one use each second
			l, err := n.Acquire(context.Background())
			if err != nil {
				t.Fatal(err)
			}
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

// What nobody uses and nothing needs ends without a successor.
func TestRenewNotWhatIsUnused(t *testing.T) {
	inNursery(t, 5*time.Minute, func(*resource.Config[int]) {}, func(n *nursery) {
		if err := n.Warm(context.Background(), 3); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if s := n.Stats(); s.Made != 3 || s.Idle != 0 {
			t.Errorf("%v, want 3 made and none left", s)
		}
	})
}

// What was made together is replaced one by one, before it ends if there is
// room, and never all are gone.
func TestRenewMinIdleWithRoom(t *testing.T) {
	inNursery(t, 10*time.Minute, func(cfg *resource.Config[int]) { cfg.MinIdle, cfg.MaxSize = 5, 10 }, func(n *nursery) {
		time.Sleep(5 * time.Second)
		n.watch()
		time.Sleep(time.Hour)
		if most, least := n.extremes(); most != 1 || least < 5 {
			t.Errorf("up to %d made at once, and at times %d live; want 1 and never less than 5", most, least)
		}
		if s := n.Stats(); s.Made > 5*8 || s.Made < 5*6 {
			t.Errorf("%d made in an hour, want about 6 generations of 5", s.Made)
		}
	})
}

// In a full pool each makes way for its successor, one by one.
func TestRenewMinIdleFull(t *testing.T) {
	inNursery(t, 10*time.Minute, func(cfg *resource.Config[int]) { cfg.MinIdle, cfg.MaxSize = 5, 5 }, func(n *nursery) {
		time.Sleep(5 * time.Second)
		n.watch()
		time.Sleep(time.Hour)
		if most, least := n.extremes(); most != 1 || least < 4 {
			t.Errorf("up to %d made at once, and at times %d live; want 1 and never less than 4", most, least)
		}
		if s := n.Stats(); s.Made > 5*8 || s.Made < 5*6 {
			t.Errorf("%d made in an hour, want about 6 generations of 5", s.Made)
		}
	})
}

// A successor does not keep Close, and is not made after it.
func TestRenewClosed(t *testing.T) {
	inNursery(t, time.Minute, func(cfg *resource.Config[int]) { cfg.MinIdle = 5 }, func(n *nursery) {
		time.Sleep(51500 * time.Millisecond) // some are just being renewed
		if s := n.Stats(); s.Making != 1 {
			t.Fatalf("%v, want a successor being made", s)
		}
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
		made := n.made
		time.Sleep(time.Minute)
		if n.made != made {
			t.Errorf("%d made after Close", n.made-made)
		}
	})
}
