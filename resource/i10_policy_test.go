package resource_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/respool/respool/resource"
)

// I10 with policies: a hit takes no lock, and neither does its release.

// onHit runs f with the lock of p held, once p is on the hit path.
func onHit(t *testing.T, p *plain, f func()) {
	t.Helper()
	within(t, 20*time.Second, func() {
		for {
			p.must(context.Background()).Release() // starts the clock
			if p.Locked(f) {
				return
			}
		}
	})
}

func TestI10_PoliciesTakeNoLock(t *testing.T) {
	for _, c := range costs {
		t.Run(c.name, func(t *testing.T) {
			p := newPlain(t, 1, c.set)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var tok *token
			onHit(t, p, func() {
				l, err := p.Acquire(ctx)
				if err != nil {
					t.Error(err)
				}
				tok = l.Value()
				l.Release()
				l.Release()
				if l, err = p.AcquireWith(ctx, resource.Request{Cost: 3}); err != nil || l.Value() != tok {
					t.Errorf("another one, or %v", err)
				}
				l.Fail(nil)
				if err := p.Do(ctx, func(context.Context, *token) error { return nil }); err != nil {
					t.Error(err)
				}
				l, ok := p.TryAcquire()
				if !ok || l.Value() != tok {
					t.Error("none idle, or another one")
				}
				l.Release()
			})
			s := p.Stats()
			if err := unbalanced(s); err != nil {
				t.Error(err)
			}
			if s.Idle != 1 || s.Leased != 0 || s.Acquired < 5 {
				t.Errorf("%+v, want one idle after 5 leases or more", s)
			}
		})
	}
}

// The hit path asks what the slow one asks: each policy once, of the same facts.
func TestI10_PoliciesAreAsked(t *testing.T) {
	var admitted, done, evict, due atomic.Int64
	var facts [2]resource.Info
	p := newPlain(t, 1, func(cfg *resource.Config[*token]) {
		cfg.Admission = admitFunc(func(_ context.Context, r resource.Request) (resource.Done, error) {
			admitted.Add(int64(1 + r.Cost))
			return func(o resource.Outcome) {
				if o != (resource.Outcome{Verdict: resource.OK}) {
					t.Errorf("Done was told %+v", o)
				}
				done.Add(1)
			}, nil
		})
		cfg.Eviction = evictFunc(func(i resource.Info) error { facts[evict.Add(1)%2] = i; return nil })
		cfg.Health = &dueHealth{due: func(resource.Info) bool { due.Add(1); return false }}
		cfg.SweepInterval = time.Hour
	})
	onHit(t, p, func() {
		for _, n := range []*atomic.Int64{&admitted, &done, &evict, &due} {
			n.Store(0)
		}
		l, err := p.AcquireWith(context.Background(), resource.Request{Cost: 4})
		if err != nil {
			t.Error(err)
		}
		before := l.Info().Leases
		if a, e, d := admitted.Load(), evict.Load(), due.Load(); a != 5 || e != 1 || d != 1 || done.Load() != 0 {
			t.Errorf("after the acquire: admitted %d, evict %d, due %d, done %d", a, e, d, done.Load())
		}
		if i := facts[1]; i.ID != 1 || i.Leases != before-1 || i.Age < 0 || i.Idle < 0 || i.Checked != i.Age || i.Idlers != 0 {
			t.Errorf("at the acquire of lease %d Evict was told %+v", before, i)
		}
		l.Release()
		if e, d := evict.Load(), due.Load(); e != 2 || d != 1 || done.Load() != 1 {
			t.Errorf("after the release: evict %d, due %d, done %d", e, d, done.Load())
		}
		if i := facts[0]; i.ID != 1 || i.Leases != before || i.Idle != 0 || i.Idlers != 0 {
			t.Errorf("at the release of lease %d Evict was told %+v", before, i)
		}
		l.Release() // has ended: nobody is asked
		if e := evict.Load(); e != 2 || done.Load() != 1 {
			t.Errorf("after a second release: evict %d, done %d", e, done.Load())
		}
	})
}

// dueHealth is a Scheduled Health made of functions; nil: due, and well.
type dueHealth struct {
	due   func(i resource.Info) bool
	check func(i resource.Info) error
}

func (d *dueHealth) Due(i resource.Info) bool { return d.due == nil || d.due(i) }

func (d *dueHealth) Check(_ context.Context, _ *token, i resource.Info) error {
	if d.check == nil {
		return nil
	}
	return d.check(i)
}
