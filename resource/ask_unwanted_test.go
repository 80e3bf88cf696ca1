package resource_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// unitQuota admits as many as it has units, and the others wait.
type unitQuota struct {
	units   chan struct{}
	mu      sync.Mutex
	waiting int
}

func (q *unitQuota) Admit(ctx context.Context, _ resource.Request) (resource.Done, error) {
	q.mu.Lock()
	q.waiting++
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.waiting--
	}()
	select {
	case <-q.units:
		return func(resource.Outcome) { q.units <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// asked returns how many wait.
func (q *unitQuota) asked() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting
}

// A creation that waits for a permit is given up when callers do not want it any more, and
// only then.
func TestQuota_UnwantedCreations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, units = 10, 2
		q := &unitQuota{units: make(chan struct{}, most)}
		for range units {
			q.units <- struct{}{}
		}
		p := newPool(t, resource.Config[int]{Make: makeOne, MaxSize: most, Quota: q})
		first, second := lendOne(t, p), lendOne(t, p)
		ctx, leave := context.WithCancel(context.Background())
		var busy sync.WaitGroup
		var served atomic.Int64
		for i := range most - units {
			busy.Go(func() {
				wait := ctx
				if i == 0 {
					wait = context.Background()
				}
				if l, err := p.Acquire(wait); err == nil {
					served.Add(1)
					l.Release()
				}
			})
		}
		time.Sleep(time.Minute)
		if s := p.Stats(); s.Making < 1 || s.Withdrawn != 0 || s.Waiting != most-units || q.asked() != s.Making {
			t.Errorf("while they wait: %v, %d ask", s, q.asked())
		}
		leave()
		time.Sleep(3 * time.Second)
		if s := p.Stats(); s.Making != 1 || s.Waiting != 1 || s.Refused != 0 || q.asked() != 1 {
			t.Errorf("when all but one have left: %v, %d ask", s, q.asked())
		}
		first.Release()
		time.Sleep(3 * time.Second)
		if s := p.Stats(); s.Making != 0 || s.Refused != 0 || s.Made != units || q.asked() != 0 {
			t.Errorf("when that one has been served: %v, %d ask", s, q.asked())
		}
		busy.Wait()
		if n := served.Load(); n != 1 {
			t.Errorf("%d served, want 1", n)
		}
		second.Release()
		closeAll(t, p)
		if len(q.units) != units {
			t.Errorf("%d units are back, want %d", len(q.units), units)
		}
	})
}

// slowQuota admits nothing, and takes a while to leave its line.
type slowQuota struct{ asked, left atomic.Int64 }

func (q *slowQuota) Admit(ctx context.Context, _ resource.Request) (resource.Done, error) {
	q.asked.Add(1)
	<-ctx.Done()
	time.Sleep(5 * time.Millisecond) // in a bubble
	q.left.Add(1)
	return nil, ctx.Err()
}

// When one caller leaves one creation leaves the line of the MakeGate; the others keep their places.
func TestMakeGate_OneCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := new(slowQuota)
		p := newPool(t, resource.Config[int]{Make: makeOne, MaxSize: 20, MakeGate: q})
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for i := range 20 {
			callers.Go(func() {
				r := resource.Request{}
				if i == 19 {
					r.MaxWait = 500 * time.Millisecond
				}
				_, _ = p.AcquireWith(ctx, r)
			})
		}
		time.Sleep(5 * time.Second)
		if asked, left, s := q.asked.Load(), q.left.Load(), p.Stats(); asked != 20 || left != 1 || s.Withdrawn != 1 {
			t.Errorf("the gate was asked %d times, and %d left its line; %d withdrawn, want 20, 1 and 1", asked, left, s.Withdrawn)
		}
		cancel()
		callers.Wait()
		closeAll(t, p)
	})
}
