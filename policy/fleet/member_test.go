package fleet_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

// newMemberPool begins a pool of the member and callers that use it, and returns how to end
// both.
func newMemberPool(t *testing.T, p *provider, id int, m *fleet.Member, callers int) (stop func()) {
	t.Helper()
	pool, err := resource.New(resource.Config[*session]{
		Make:     func(context.Context) (*session, error) { return p.open(id) },
		Destroy:  func(s *session, _ error) { s.close() },
		MaxSize:  callers,
		Quota:    m,
		Eviction: m.Surplus(),
	})
	if err != nil {
		t.Fatal(err)
	}
	working, cancel := context.WithCancel(ctx)
	var busy sync.WaitGroup
	for range callers {
		busy.Go(func() {
			for working.Err() == nil {
				if l, err := pool.Acquire(working); err == nil {
					pause(working, time.Second)
					l.Release()
				}
			}
		})
	}
	return func() {
		cancel()
		busy.Wait()
		if err := pool.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}

// Pools of one process divide its share: a pool that begins to want units gets its part from
// one that has all of them, and the other has all again when the first wants none.
func TestMember_PoolsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, p := newEngine("account"), newProvider()
		q := newQuota(t, fleet.Config{Ledger: e, Limit: 12, OnLost: fleet.FailClosed})
		stop0 := newMemberPool(t, p, 0, q.Member(1), 20)
		eventually(t, lease, "the first has all", func() bool { return p.of(0) == 12 })
		stop1 := newMemberPool(t, p, 1, q.Member(2), 20) // 40 units
		eventually(t, lease, "half for each", func() bool { return p.of(0) == 6 && p.of(1) == 3 })
		stop2 := newMemberPool(t, p, 2, q.Member(3), 1)
		eventually(t, lease, "3 units for the third", func() bool { return p.of(2) == 1 && p.of(0)+2*p.of(1) >= 8 })
		time.Sleep(2 * lease)
		if a, b, c := p.of(0), p.of(1), p.of(2); a < 4 || b < 2 || c != 1 || a+2*b+3*c > 12 {
			t.Errorf("%d, %d and %d sessions", a, b, c)
		}
		stop1()
		stop2()
		eventually(t, lease, "the first has all again", func() bool { return p.of(0) == 12 })
		stop0()
		if s := q.Snapshot(); s.Held != 0 || s.Waiting != 0 || s.OverTotal != 0 {
			t.Errorf("the state is %+v", s)
		}
		if err := q.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

// forAMinute checks in each second of a minute, in a bubble, that is returns true.
func forAMinute(t *testing.T, what string, is func() bool) {
	t.Helper()
	for at := range 60 {
		time.Sleep(time.Second) // virtual
		synctest.Wait()
		if !is() {
			t.Fatalf("not %s after %d s", what, at+1)
		}
	}
}

// Pools whose resources take different numbers of units: the half of the share of the process is less
// than one resource of the heavy pool, which gets one nevertheless, and the other pool has the rest.
func TestMember_HeavyPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, p := newEngine("account"), newProvider()
		q := newQuota(t, fleet.Config{Ledger: e, Limit: 8, OnLost: fleet.FailClosed})
		defer end(q)
		light := newMemberPool(t, p, 1, q.Member(1), 20)
		eventually(t, lease, "the first has all", func() bool { return p.of(1) == 8 })
		heavy := newMemberPool(t, p, 5, q.Member(5), 2)
		eventually(t, lease, "one for the heavy pool", func() bool { return p.of(5) == 1 && p.of(1) == 3 })
		forAMinute(t, "1 and 3 sessions", func() bool { return p.of(5) == 1 && p.of(1) == 3 })
		heavy()
		eventually(t, lease, "the first has all again", func() bool { return p.of(1) == 8 })
		light()
		if s := q.Snapshot(); s.Held != 0 || s.OverTotal != 0 {
			t.Errorf("the state is %+v", s)
		}
	})
}

// Two pools have the same weight, and the share of the process suffices for one resource: always
// exactly one exists.
func TestMember_ShareForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, p := newEngine("account"), newProvider()
		q := newQuota(t, fleet.Config{Ledger: e, Limit: 8, OnLost: fleet.FailClosed})
		defer end(q)
		first, second := newMemberPool(t, p, 0, q.Member(5), 2), newMemberPool(t, p, 1, q.Member(5), 2)
		eventually(t, lease, "one session", func() bool { return p.count() == 1 })
		forAMinute(t, "one session", func() bool { return p.count() == 1 })
		first()
		eventually(t, lease, "one session of the second", func() bool { return p.of(1) == 1 })
		second()
	})
}

// Across processes Config.Min is what gives a heavy pool its first resource.
func TestMember_HeavyPoolOfProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, p := newEngine("account"), newProvider()
		q := newQuota(t, fleet.Config{Ledger: e, Limit: 8, OnLost: fleet.FailClosed})
		defer end(q)
		light := newMemberPool(t, p, 1, q.Member(1), 20)
		eventually(t, lease, "the first has all", func() bool { return p.of(1) == 8 })
		other := newQuota(t, fleet.Config{Ledger: e, Limit: 8, Slack: -1, Min: 5, OnLost: fleet.FailClosed})
		defer end(other)
		heavy := newMemberPool(t, p, 5, other.Member(5), 2)
		eventually(t, 2*lease, "one for the heavy pool", func() bool { return p.of(5) == 1 && p.of(1) == 3 })
		heavy()
		light()
	})
}

// A member that was bounded, and gave back all that it had, may have the whole share again when the
// others need nothing.
func TestMember_BoundEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account")
		q := newQuota(t, fleet.Config{Ledger: e, Limit: 4, Slack: -1})
		defer end(q)
		a, b := q.Member(1), q.Member(1)
		first := admit(t, a, 4)
		second := make(chan resource.Done)
		for range 2 {
			go func() {
				done, err := b.Admit(ctx, resource.Request{})
				if err != nil {
					t.Error(err)
				}
				second <- done
			}()
		}
		time.Sleep(lease) // the ledger has nothing for b, so a is bounded
		evicts := func(total int) bool { return a.Surplus().Evict(resource.Info{Total: total, Leases: 1}) != nil }
		if evicts(2) || !evicts(3) {
			t.Error("a is not bounded to half of the units")
		}
		returnAll(first)
		others := []resource.Done{<-second, <-second}
		if evicts(1000) {
			t.Error("a is bounded though it has nothing")
		}
		returnAll(others)
		dones := admit(t, a, 4)
		if s := q.Snapshot(); s.Held != 4 || s.Waiting != 0 {
			t.Errorf("the state is %+v", s)
		}
		returnAll(dones)
	})
}

// A request that exceeds the share of its member, and for which no units are free either, does not
// keep the requests of other members waiting.
func TestMember_PassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, fleet.Config{Ledger: newEngine("account"), Limit: 10, Slack: -1, OnLost: fleet.FailClosed})
		defer end(q)
		a, b := q.Member(6), q.Member(1)
		first := admit(t, a, 1)
		waiting, cancel := context.WithCancel(ctx)
		var busy sync.WaitGroup
		defer busy.Wait()
		defer cancel()
		busy.Go(func() {
			_, err := a.Admit(waiting, resource.Request{})
			caused(t, err, context.Canceled)
		})
		time.Sleep(2 * lease)
		others := admit(t, b, 4)
		if s := q.Snapshot(); s.Held != 10 || s.Waiting != 1 {
			t.Errorf("the state is %+v", s)
		}
		cancel()
		busy.Wait()
		returnAll(append(first, others...))
	})
}

// A request that is passed over is refused like any other when the lease has ended.
func TestMember_PassedOverAndLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account")
		q := newQuota(t, fleet.Config{Ledger: e, Limit: 10, Slack: -1, OnLost: fleet.FailClosed})
		defer end(q)
		a, b := q.Member(6), q.Member(1)
		dones := append(admit(t, a, 1), admit(t, b, 1)...)
		var busy sync.WaitGroup
		busy.Go(func() {
			_, err := a.Admit(deadline(t, 10*lease), resource.Request{})
			caused(t, err, fleet.ErrLost)
		})
		time.Sleep(2 * lease)
		e.set(func(e *engine) { e.down = errLost })
		busy.Wait()
		returnAll(dones)
	})
}

// A burst of callers that are served by others or leave does not keep up the demand: soon the
// process wants no more than what it has, and the others get the rest.
func TestQuota_DemandEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 20
		e, p := newEngine("account"), newProvider()
		cfg := fleet.Config{Ledger: e, Limit: limit, Slack: -1, OnLost: fleet.FailClosed}
		quiet := newQuota(t, cfg)
		pool, err := resource.New(resource.Config[*session]{
			Make:    func(context.Context) (*session, error) { return p.open(0) },
			Destroy: func(s *session, _ error) { s.close() },
			MaxSize: 100, Quota: quiet, Eviction: quiet.Surplus(),
		})
		if err != nil {
			t.Fatal(err)
		}
		busy := newReplica(t, p, 1, cfg, 30, time.Second, 0)
		eventually(t, 2*lease, "all is in use", func() bool { return p.of(1) == limit })
		var burst sync.WaitGroup
		for range 50 {
			burst.Go(func() {
				l, err := pool.Acquire(deadline(t, 2*lease))
				if err == nil {
					pause(ctx, lease)
					l.Release()
				}
			})
		}
		eventually(t, 2*lease, "a fair half", func() bool { return p.of(0) == limit/2 })
		burst.Wait()
		time.Sleep(2 * lease)
		if s := quiet.Snapshot(); s.Waiting != 0 || s.Want > limit/2 {
			t.Errorf("the state is %+v, the pool has %v", s, pool.Stats())
		}
		if err := pool.Close(ctx); err != nil {
			t.Error(err)
		}
		eventually(t, 2*lease, "the other has all", func() bool { return p.of(1) == limit })
		end(quiet)
		busy.leave(t)
		if n := p.peak(); n > limit {
			t.Errorf("%d sessions at once, limit %d", n, limit)
		}
	})
}
