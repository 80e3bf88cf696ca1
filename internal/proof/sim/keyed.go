package sim

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// One hot key and many cold ones share one total. Each caller acquires, holds, releases and
// repeats, so each key always wants at least one slot; the many callers of the hot key
// would use all of them. Creations take time too.

const crowdHold = 10 * time.Millisecond

// crowd is a set of keys and callers.
type crowd struct {
	slots, cold, hot int // slots in total, cold keys, callers of the hot key
	make             time.Duration
	dials            float64 // goal: the largest number per served caller
	lasts            time.Duration
}

// turn is the goal for the waits: the time until each key has used its resources long enough
// to be worth their making.
func (c crowd) turn() time.Duration {
	each := c.make + max(c.make, crowdHold) + crowdHold
	return time.Duration(c.cold/c.slots+1) * each
}

// borrow acquires a resource of a key.
type borrow func(ctx context.Context, key int) (release func(), err error)

// shares is the result of each key.
type shares struct {
	dials  int
	served []int             // by key; 0 is the hot key
	leased []time.Duration   // by key
	waits  [][]time.Duration // by key
}

// dial is the Make.
func (s *shares) dial(mu *sync.Mutex, takes time.Duration) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		mu.Lock()
		s.dials++
		d := takes + instant(s.dials%500)
		mu.Unlock()
		select {
		case <-time.After(d):
			return 1, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// run runs the callers on the result of open. A caller that still waits at the end counts
// with its wait so far.
func (c crowd) run(st *Stage, variant string, open func(t *testing.T, dial func(context.Context) (int, error)) (lend borrow, close func() error)) *shares {
	n := c.cold + 1
	s := &shares{served: make([]int, n), leased: make([]time.Duration, n), waits: make([][]time.Duration, n)}
	st.bubble(variant, func(t *testing.T) {
		var mu sync.Mutex
		lend, shut := open(t, s.dial(&mu, c.make))
		ctx, cancel := context.WithTimeout(t.Context(), c.lasts)
		defer cancel()
		var wg sync.WaitGroup
		for i := range c.hot + c.cold {
			key := max(0, i-c.hot+1)
			r := st.rand(uint64(i))
			wg.Go(func() {
				time.Sleep(instant(i))
				if key > 0 {
					time.Sleep(time.Second) // the hot key is first
				}
				for ctx.Err() == nil {
					began := time.Now()
					release, err := lend(ctx, key)
					waited := time.Since(began)
					if err == nil {
						time.Sleep(crowdHold + upTo(r, 100*time.Microsecond))
						release()
					}
					mu.Lock()
					s.waits[key] = append(s.waits[key], waited)
					if err == nil {
						s.served[key]++
						s.leased[key] += crowdHold
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if err := shut(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// worst returns the longest wait of a caller of a cold key, and the lease time of the key
// with the least, relative to the mean.
func (s *shares) worst() (wait time.Duration, part float64) {
	for _, w := range s.waits[1:] {
		wait = max(wait, slices.Max(w))
	}
	return wait, float64(slices.Min(s.leased)) * float64(len(s.leased)) / float64(s.lease())
}

// lease returns the total lease time.
func (s *shares) lease() (sum time.Duration) {
	for _, d := range s.leased {
		sum += d
	}
	return sum
}

// total returns the number of served callers.
func (s *shares) total() (n int) {
	for _, m := range s.served {
		n += m
	}
	return n
}

// byKeyed uses a Keyed.
func (c crowd) byKeyed(st *Stage) *shares {
	return c.run(st, "Keyed", func(t *testing.T, dial func(context.Context) (int, error)) (borrow, func() error) {
		k, err := resource.NewKeyed(resource.KeyedConfig[int, int]{
			Config: func(int) (resource.Config[int], error) {
				return resource.Config[int]{Make: dial, MaxSize: c.slots}, nil
			},
			MaxTotal: c.slots,
		})
		if err != nil {
			t.Fatal(err)
		}
		lend := func(ctx context.Context, key int) (func(), error) {
			l, err := k.Acquire(ctx, key)
			return l.Release, err
		}
		return lend, func() error { return k.Close(context.Background()) }
	})
}

// byQuota uses one pool per key, which share a semaphore as Quota.
func (c crowd) byQuota(st *Stage) *shares {
	return c.run(st, "pools with a Quota", func(t *testing.T, dial func(context.Context) (int, error)) (borrow, func() error) {
		quota := policy.Semaphore(semaphore.NewWeighted(int64(c.slots)))
		pools := make([]*resource.Pool[int], c.cold+1)
		for i := range pools {
			p, err := resource.New(resource.Config[int]{Make: dial, MaxSize: c.slots, Quota: quota})
			if err != nil {
				t.Fatal(err)
			}
			pools[i] = p
		}
		lend := func(ctx context.Context, key int) (func(), error) {
			l, err := pools[key].Acquire(ctx)
			return l.Release, err
		}
		return lend, func() (err error) {
			for _, p := range pools {
				if e := p.Close(context.Background()); e != nil {
					err = e
				}
			}
			return err
		}
	})
}

// byTurn uses one pool in order of arrival; a caller redials if the last user had another
// key.
func (c crowd) byTurn(st *Stage) *shares {
	return c.run(st, "one pool, first come", func(t *testing.T, dial func(context.Context) (int, error)) (borrow, func() error) {
		p, err := resource.New(resource.Config[*int]{
			Make: func(context.Context) (*int, error) {
				key := -1
				return &key, nil
			},
			MaxSize: c.slots,
		})
		if err != nil {
			t.Fatal(err)
		}
		lend := func(ctx context.Context, key int) (func(), error) {
			l, err := p.Acquire(ctx)
			if err != nil {
				return nil, err
			}
			if now := l.Value(); *now != key {
				if _, err := dial(ctx); err != nil {
					l.Release()
					return nil, err
				}
				*now = key
			}
			return l.Release, nil
		}
		return lend, func() error { return p.Close(context.Background()) }
	})
}

var hotKey = Scene{
	Name:    "hot-key",
	Promise: "one busy key with 20 callers for each resource, and as many quiet keys as resources: wait of a caller of a quiet key",
	Clients: 200,
	play: func(s *Stage) {
		for i, c := range []crowd{
			{slots: 10, cold: 9, hot: 200, make: 5 * time.Millisecond, dials: 0.02},
			{slots: 10, cold: 29, hot: 200, make: 20 * time.Millisecond, dials: 1},
		} {
			c.slots, c.cold, c.hot = s.scaled(c.slots), s.scaled(c.cold), s.scaled(c.hot)
			c.lasts = max(time.Second, 10*time.Second*200/time.Duration(s.res.Clients))
			if i > 0 {
				s.row()
			}
			s.row(fmt.Sprintf("%d slots, %d cold keys, make %v", c.slots, c.cold, c.make),
				"cold p50", "p99", "most", "least, of the mean", "hot served", "all served", "dials", "slots leased")
			report := func(name string, r *shares) *shares {
				wait, least := r.worst()
				cold := slices.Concat(r.waits[1:]...)
				s.row(name, quantile(cold, 0.5), quantile(cold, 0.99), wait, fmt.Sprintf("%.3f", least), r.served[0], r.total(),
					r.dials, fmt.Sprintf("%.1f", float64(r.lease())/float64(c.lasts)))
				return r
			}
			ours := report("Keyed", c.byKeyed(s))
			turns := report("one pool, first come", c.byTurn(s))
			quota := report("pools with a Quota", c.byQuota(s))

			wait, least := ours.worst()
			s.goal(wait <= c.turn() && least >= 0.5, "a cold key's caller waited %v, at most %v; the least had %.3f of the mean, at least 0.5", wait, c.turn(), least)
			most := c.dials * float64(ours.total())
			s.goal(float64(ours.dials) <= most, "%d dials for %d served, at most %.0f", ours.dials, ours.total(), most)
			_, byTurn := turns.worst()
			s.goal(byTurn <= 0.2, "first come, first served gives each key %.3f of the mean, at most 0.2, or the load is lower than intended", byTurn)
			_, byQuota := quota.worst()
			s.goal(byQuota == 0, "a Quota gives each key %.3f of the mean, 0, or the load is lower than intended", byQuota)
			if i == 0 {
				ourWaits, turnWaits := slices.Concat(ours.waits[1:]...), slices.Concat(turns.waits[1:]...)
				s.figures(short(quantile(turnWaits, 0.5))+" (one pool)", short(quantile(ourWaits, 0.5))+", at most "+short(wait)+" (`Keyed`)")
			}
		}
	},
}
