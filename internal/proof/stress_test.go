package proof_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/internal/proof/testkit"
	"github.com/respool/respool/resource"
)

// judge receives failures: a *testing.T, or a tally that only counts.
type judge interface {
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}

// tally is a judge that keeps the first failure.
type tally struct{ first atomic.Pointer[string] }

func (j *tally) Logf(string, ...any) {}

func (j *tally) Errorf(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	j.first.CompareAndSwap(nil, &s)
}

// stress is a pool with every feature, and its load.
type stress struct {
	*factory
	pool    pool[*part]
	rand    *rand.Rand
	permits []*permits
	holders []*holder
	limit   time.Duration // of Close
}

// verdicts draws answers for a policy, mostly grants.
func verdicts(r *rand.Rand, refusals int) []verdict {
	plan := make([]verdict, 50_000)
	for i := range plan {
		plan[i] = "yes"
		if r.IntN(1000) < refusals {
			plan[i] = []verdict{"nil", "no", "panics"}[r.IntN(3)]
		}
	}
	return plan
}

// newStress returns a pool of at most so many parts. With scale 1 it has every policy and
// many failures; with a larger scale it has no policies and fewer failures, so that most
// acquires find an idle resource.
func newStress(t judge, seed uint64, make newPool[*part], most, scale int) *stress {
	r := rand.New(rand.NewPCG(seed, 0))
	y := newFactory(t, most, scale)
	s := &stress{factory: y, rand: r, limit: time.Minute}
	policy := func(name string, refusals int) *permits {
		p := &permits{name: name, plan: verdicts(r, refusals), complain: t.Errorf, exits: name != "admission"}
		s.permits = append(s.permits, p)
		return p
	}
	cfg := resource.Config[*part]{
		Make: y.make, Destroy: y.destroy, Watch: y.watch,
		MaxSize: most, MinIdle: 1, MakeTimeout: y.patience, SweepInterval: 20 * time.Millisecond,
	}
	if scale == 1 {
		cfg.Admission, cfg.MakeGate, cfg.Quota = policy("admission", 20), policy("make gate", 10), policy("quota", 10)
		cfg.Health, cfg.Eviction = randomHealth{y}, randomEviction{}
	}
	p, err := make(cfg)
	if err != nil {
		panic(err) // the Config is constant
	}
	s.pool = p
	return s
}

// poolOps performs random operations on the whole pool, and checks that Stats is
// consistent.
func (s *stress) poolOps(stop <-chan struct{}) {
	tick := time.NewTicker(time.Duration(s.scale) * 300 * time.Microsecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		s.reconcile()
		switch n := s.rand.IntN(100); {
		case n < 10:
			if p := s.some(); p != nil {
				if invalidate := p.invalidate.Load(); invalidate != nil {
					(*invalidate)(errDead)
				}
			}
		case n < 14:
			if err := s.pool.Resize(1 + s.rand.IntN(int(s.most))); err != nil {
				s.t.Errorf("Resize: %v", err)
			}
		case n < 15:
			s.pool.Reset(nil)
		case n < 16:
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
			_ = s.pool.Warm(ctx, s.rand.IntN(int(s.most)))
			cancel()
		}
	}
}

func (s *stress) reconcile() resource.Stats {
	n := s.pool.Stats()
	if n.Made-n.Destroyed-n.Hijacked != int64(n.Idle+n.Leased+n.Destroying) || n.Acquired != n.Released+int64(n.Leased) {
		s.t.Errorf("Stats does not reconcile: %+v", n)
	}
	if n.Idle < 0 || n.Leased < 0 || n.Making < 0 || n.Destroying < 0 || n.Abandoned < 0 || n.Waiting < 0 {
		s.t.Errorf("a level is negative: %+v", n)
	}
	return n
}

// run runs many goroutines on the pool for d, then closes it and checks the totals.
func (s *stress) run(d time.Duration, goroutines int) {
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range goroutines {
		h := &holder{y: s.factory, id: int64(i + 1), pool: s.pool, rand: rand.New(rand.NewPCG(s.rand.Uint64(), 1))}
		s.holders = append(s.holders, h)
		all.Go(func() { h.run(stop) })
	}
	all.Go(func() { s.poolOps(stop) })
	time.Sleep(d) // the time of the load
	select {
	case <-s.lent: // on a busy machine the first lease may take longer
	case <-time.After(30 * time.Second):
		s.t.Errorf("no acquire succeeded")
	}
	close(stop)
	all.Wait()
	s.recovers()
	s.close()
}

// recovers checks that callers are served when the failures have ended.
func (s *stress) recovers() {
	s.healed.Store(true)
	for _, p := range s.permits {
		p.healed.Store(true)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		l, err := s.pool.AcquireWith(ctx, resource.Request{})
		if err == nil {
			l.Release()
			return
		}
		var ae *resource.AcquireError
		if ctx.Err() != nil || !errors.As(err, &ae) {
			s.t.Errorf("no caller is served after the failures have ended: %v", err)
			return
		}
		select {
		case <-time.After(max(ae.RetryAfter, time.Millisecond)):
		case <-ctx.Done():
		}
	}
}

func (s *stress) close() {
	ctx, cancel := context.WithTimeout(context.Background(), s.limit)
	defer cancel()
	if err := s.pool.Close(ctx); err != nil {
		s.t.Errorf("Close: %v", err)
		return
	}
	n := s.reconcile()
	if n.Idle+n.Leased+n.Making+n.Destroying+n.Abandoned+n.Waiting != 0 {
		s.t.Errorf("I6: after Close: %+v", n)
	}
	for _, p := range s.parts {
		if p.fate.Load() == alive {
			s.t.Errorf("I3: part %d, late %v, is alive after Close", p.n, p.late)
		}
	}
	if n := s.slots.Load(); n != 0 {
		s.t.Errorf("I1: %d slots are taken after Close", n)
	}
	for _, p := range s.permits {
		if n := p.out.Load(); n != 0 {
			s.t.Errorf("I4: %d permits of %s are out after Close", n, p.name)
		}
	}
	got := 0
	for _, h := range s.holders {
		got += h.got
	}
	s.t.Logf("%d leases of %d parts", got, len(s.parts))
}

// TestStress checks the invariants under random concurrent operations.
func TestStress(t *testing.T) {
	n := testkit.Seed(t)
	for _, c := range []struct{ most, goroutines, scale int }{{4, 32, 1}, {16, 8, 1}, {4, 16, 50}, {16, 6, 500}} {
		newStress(t, n, newReal[*part], c.most, c.scale).run(testkit.StressTime(t)/4, c.goroutines)
	}
}

// TestStressPlain checks that the plain pool passes.
func TestStressPlain(t *testing.T) {
	newStress(t, testkit.Seed(t), newPlain[*part](""), 6, 1).run(time.Second, 24)
}

// TestStressCatches checks that a faulty pool fails.
func TestStressCatches(t *testing.T) {
	for _, bug := range []string{
		"destroys twice",
		"forgets a Done",
		"runs a Done twice",
		"ends another's lease",
		"forgets that dying ones take a place",
		"destroys what was hijacked",
	} {
		t.Run(bug, func(t *testing.T) {
			n := testkit.Seed(t)
			for i := range uint64(20) {
				var j tally
				s := newStress(&j, n+i, newPlain[*part](bug), 6, 1)
				s.limit = time.Second
				s.run(200*time.Millisecond, 16)
				if what := j.first.Load(); what != nil {
					t.Log("caught:", *what)
					return
				}
			}
			t.Error("not caught")
		})
	}
}
