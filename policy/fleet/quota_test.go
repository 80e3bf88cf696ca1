package fleet_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

func TestQuota_Admit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account")
		q := newQuota(t, fleet.Config{Ledger: e, Limit: 5})
		dones := admit(t, q, 5)
		if s := q.Snapshot(); s.Held != 5 || s.Granted != 5 || s.Total != 5 || s.Holders != 1 || s.Over != 0 {
			t.Errorf("the state is %+v", s)
		}
		returnAll(dones)
		if err := q.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

// A late process gets its share of a quota that others use entirely, although their sessions
// are never idle; nothing is lost, and the limit holds throughout.
func TestQuota_FairShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, each = 100, 8
		e, p := newEngine("account"), newProvider()
		cfg := fleet.Config{Ledger: e, Limit: limit, OnLost: fleet.FailClosed}
		replicas := []*replica{newReplica(t, p, 0, cfg, limit, 500*time.Millisecond, 0)}
		eventually(t, lease, "the first has all", func() bool { return p.of(0) == limit })
		for i := 1; i < each; i++ {
			replicas = append(replicas, newReplica(t, p, i, cfg, 20, 500*time.Millisecond, 0))
		}
		took := eventually(t, 2*lease, "shares within 5 %", func() bool { return fair(p, each, limit) })
		t.Logf("fair after %v, %.2f leases", took, float64(took)/float64(lease))
		time.Sleep(lease)
		began := time.Now()
		claims := e.claims.Load()
		p.mean(began)
		const leases = 12
		time.Sleep(leases * lease)
		used := p.mean(began) / limit
		perRenewal := float64(e.claims.Load()-claims) / each / (3*leases + 1) // both ends may be within the time
		t.Logf("steady: %.1f %% of the limit in use, %.3f operations per renewal and process", 100*used, perRenewal)
		if used < 0.97 || perRenewal > 1.02 || !fair(p, each, limit) {
			t.Error("not as it should be")
		}
		for _, r := range replicas {
			r.leave(t)
		}
		if n := p.peak(); n > limit {
			t.Errorf("%d sessions at once, limit %d", n, limit)
		}
	})
}

// fair reports whether each of n processes has its share of limit, within 5 %.
func fair(p *provider, n, limit int) bool {
	share := float64(limit) / float64(n)
	for i := range n {
		if have := float64(p.of(i)); have < 0.95*share || have > 1.05*share {
			return false
		}
	}
	return true
}

// What a killed process had is lent again when its lease ends, not only at the next renewal.
func TestQuota_KilledProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 20
		e, p := newEngine("account"), newProvider()
		cfg := fleet.Config{Ledger: e, Limit: limit, OnLost: fleet.FailClosed}
		var replicas []*replica
		for i := range 4 {
			replicas = append(replicas, newReplica(t, p, i, cfg, 10, 500*time.Millisecond, 0))
		}
		for round := range 3 {
			eventually(t, 2*lease, "all is in use", func() bool { return p.count() == limit })
			time.Sleep(time.Duration(round) * lease / 7)
			victim := replicas[0]
			replicas = replicas[1:]
			victim.kill(p, round)
			took := eventually(t, lease+time.Second, "its share is in use again", func() bool { return p.count() == min(limit, 10*len(replicas)) })
			t.Logf("lent again after %v", took)
		}
		for _, r := range replicas {
			r.leave(t)
		}
		if n := p.peak(); n > limit {
			t.Errorf("%d sessions at once, limit %d", n, limit)
		}
	})
}

// Sessions that end and are replaced all the time do not lose their units to others, and use
// the quota: with 2 s of life a session is closed and dialed again every 2 s.
func TestQuota_Churn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, each = 40, 4
		e, p := newEngine("account"), newProvider()
		var replicas []*replica
		for i := range each {
			replicas = append(replicas, newReplicaWith(t, p, i, fleet.Config{Ledger: e, Limit: limit, OnLost: fleet.FailClosed}, 20, time.Second, 0, policy.MaxLeases(2, 0)))
		}
		time.Sleep(2 * lease)
		began := time.Now()
		claims := e.claims.Load()
		p.mean(began)
		time.Sleep(10 * lease)
		used := p.mean(began) / limit
		perRenewal := float64(e.claims.Load()-claims) / each / 30
		t.Logf("%.1f %% of the limit in use, %.3f operations per renewal and process", 100*used, perRenewal)
		if used < 0.97 || perRenewal > 1.1 {
			t.Error("not as it should be")
		}
		for _, r := range replicas {
			r.leave(t)
		}
		if n := p.peak(); n > limit {
			t.Errorf("%d sessions at once, limit %d", n, limit)
		}
	})
}

// A request that waits is served in the operation of the ledger that brings its unit.
func TestQuota_ServedWithTheGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account")
		cfg := fleet.Config{Ledger: e, Limit: 3, Slack: -1, OnLost: fleet.FailClosed}
		a, b := newQuota(t, cfg), newQuota(t, cfg)
		held := admit(t, a, 3)
		var granted, served time.Time
		e.set(func(e *engine) {
			e.override = func(c fleet.Claim, do func() (fleet.Grant, error)) (fleet.Grant, error) {
				g, err := do()
				if c.Want == 1 && g.Granted == 1 && granted.IsZero() {
					granted = time.Now()
				}
				return g, err
			}
		})
		var done resource.Done
		go func() {
			var err error
			if done, err = b.Admit(ctx, resource.Request{}); err != nil {
				t.Error(err)
			}
			served = time.Now()
		}()
		time.Sleep(lease / 4)
		held[0](resource.Outcome{})
		time.Sleep(lease)
		synctest.Wait()
		if granted.IsZero() || served.Sub(granted) > rtt {
			t.Errorf("granted at %v, served at %v", granted, served)
		}
		returnAll(append(held[1:], done))
		for _, q := range []*fleet.Quota{a, b} {
			if err := q.Close(ctx); err != nil {
				t.Error(err)
			}
		}
	})
}

// Thousands of requests that cannot be served do not become as many operations.
func TestQuota_NoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account")
		q := newQuota(t, fleet.Config{Ledger: e, Limit: 10})
		defer end(q)
		dones := admit(t, q, 10)
		before := e.claims.Load()
		stop, cancel := context.WithCancel(ctx)
		var busy sync.WaitGroup
		for i := range 1000 {
			busy.Go(func() {
				time.Sleep(time.Duration(i) * 5 * time.Millisecond)
				for stop.Err() == nil {
					short, cancel := context.WithTimeout(stop, 2*time.Second)
					_, _ = q.Admit(short, resource.Request{NoWait: i%2 == 0})
					cancel()
					pause(stop, 300*time.Millisecond)
				}
			})
		}
		time.Sleep(lease)
		if n := e.claims.Load() - before; n > 16 { // renewals, and one for each time that the demand doubled
			t.Errorf("%d operations in one lease", n)
		}
		cancel()
		busy.Wait()
		returnAll(dones)
	})
}

// An answer that is lost after the ledger has recorded the claim costs nothing but time: the
// claim is repeated with a larger Seq, and never states more than what was known to be
// granted.
func TestQuota_LostAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account")
		lost := 0
		e.toll = func(c fleet.Claim) (there, back bool) {
			if c.Want >= 3 && lost < 2 {
				lost++
				return true, false
			}
			return true, true
		}
		q := newQuota(t, fleet.Config{Ledger: e, Limit: 5, Slack: -1, OnLost: fleet.FailClosed})
		began := time.Now()
		dones := admitWithin(t, q, lease, 1)
		var waiting sync.WaitGroup
		for range 2 {
			waiting.Go(func() {
				done, err := q.Admit(ctx, resource.Request{})
				if err != nil {
					t.Error(err)
				}
				_ = done
			})
		}
		waiting.Wait()
		if took := time.Since(began); lost != 2 || took > lease/3 {
			t.Errorf("%d answers were lost, and it took %v", lost, took)
		}
		seq := uint64(0)
		for _, c := range e.seen {
			if c.Seq <= seq || c.Has > 3 || c.Want > 3 || c.Has == 3 && c.Seq < 3 {
				t.Errorf("claim %+v after Seq %d", c, seq)
			}
			seq = c.Seq
		}
		if s := q.Snapshot(); s.Operations != int64(len(e.seen)) || s.Failed != 2 || s.Held != 3 {
			t.Errorf("the state is %+v", s)
		}
		_ = dones
		end(q)
	})
}

// A claim that was delayed in the network and arrives after a later one is refused, and does
// not make the ledger forget what the later one has stated.
func TestQuota_ReorderedClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account")
		var late sync.WaitGroup
		var stale, recorded int
		var mu sync.Mutex
		e.override = func(c fleet.Claim, do func() (fleet.Grant, error)) (fleet.Grant, error) {
			late.Go(func() { // the same message, once more
				time.Sleep(lease / 2)
				_, err := e.Memory.Claim(ctx, c)
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, fleet.ErrStale) {
					stale++
				} else {
					recorded++
				}
			})
			return do()
		}
		q := newQuota(t, fleet.Config{Ledger: e, Limit: 5, OnLost: fleet.FailClosed})
		for range 20 {
			dones := admit(t, q, 4)
			time.Sleep(lease / 5)
			returnAll(dones)
		}
		dones := admit(t, q, 4)
		time.Sleep(lease)
		if s := q.Snapshot(); s.Held != 4 || s.Granted < 4 || s.Failed != 0 || e.Granted("account")[s.Holder] < 4 {
			t.Errorf("the state is %+v, the ledger has %v", s, e.Granted("account"))
		}
		returnAll(dones)
		end(q)
		late.Wait()
		if stale == 0 || recorded > 1 {
			t.Errorf("%d late claims were refused, %d recorded", stale, recorded)
		}
	})
}

func TestQuota_NoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, fleet.Config{Ledger: newEngine("account"), Limit: 1})
		defer end(q)
		dones := admit(t, q, 1)
		_, err := q.Admit(ctx, resource.Request{NoWait: true})
		caused(t, err, fleet.ErrFull, resource.ErrRejected)
		var r *resource.Rejection
		if !errors.As(err, &r) || r.RetryAfter <= 0 || r.RetryAfter > lease/2 {
			t.Errorf("the refusal is %+v", r)
		}
		returnAll(dones)
	})
}

func TestQuota_ContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, fleet.Config{Ledger: newEngine("account"), Limit: 1})
		defer end(q)
		ended, cancel := context.WithCancel(ctx)
		cancel()
		for _, free := range []int{0, 1} {
			if s := q.Snapshot(); s.Granted != free {
				t.Errorf("the state is %+v", s)
			}
			if _, err := q.Admit(ended, resource.Request{}); err != context.Canceled {
				t.Errorf("the error with %d units free is %v", free, err)
			}
			time.Sleep(time.Second) // the answer of the first claim arrives
		}
		dones := admit(t, q, 1)
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := q.Admit(short, resource.Request{}); err != context.DeadlineExceeded {
			t.Errorf("the error is %v", err)
		}
		if s := q.Snapshot(); s.Waiting != 0 || s.Held != 1 {
			t.Errorf("the state is %+v", s)
		}
		returnAll(dones)
	})
}

// Requests are served in order: a large one is not passed by small ones for ever.
func TestMember_Weights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, fleet.Config{Ledger: newEngine("account"), Limit: 12})
		defer end(q)
		m := q.Member(2)
		dones := admit(t, m, 6)
		var order []string
		var mu sync.Mutex
		var busy sync.WaitGroup
		wait := func(cost int, name string) {
			busy.Go(func() {
				done, err := m.Admit(ctx, resource.Request{Cost: cost})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				time.Sleep(time.Second)
				done(resource.Outcome{})
			})
			synctest.Wait()
		}
		wait(2, "large")
		wait(1, "small")
		dones[0](resource.Outcome{})
		synctest.Wait()
		if len(order) != 0 {
			t.Errorf("served %v with 2 units free", order)
		}
		dones[1](resource.Outcome{})
		busy.Wait()
		if len(order) != 2 || order[0] != "large" {
			t.Errorf("served %v", order)
		}
		for cost, want := range map[int]error{7: fleet.ErrWeight, -1: fleet.ErrWeight, fleet.MaxUnits: fleet.ErrWeight} {
			_, err := m.Admit(ctx, resource.Request{Cost: cost})
			caused(t, err, want, resource.ErrRejected)
		}
		if s := q.Snapshot(); s.Held != 8 {
			t.Errorf("the state is %+v", s)
		}
		returnAll(dones[2:])
		if s := q.Snapshot(); s.Held != 0 {
			t.Errorf("the state is %+v", s)
		}
	})
}

func TestMember_BadWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, fleet.Config{Ledger: newEngine("account"), Limit: 10})
		defer end(q)
		for _, weight := range []int{0, -1, 11} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("weight %d was accepted", weight)
					}
				}()
				q.Member(weight)
			}()
		}
		q.Member(10) // one resource may need the whole quota
	})
}

// Two quotas at once: if the second does not admit, the first has its unit back.
func TestQuota_All(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account", "model")
		account := newQuota(t, fleet.Config{Ledger: e, Quota: "account", Limit: 10})
		model := newQuota(t, fleet.Config{Ledger: e, Quota: "model", Limit: 3})
		defer end(account)
		defer end(model)
		both := policy.All(account, model)
		dones := admit(t, both, 3)
		for _, r := range []resource.Request{{}, {NoWait: true}} {
			short, cancel := context.WithTimeout(ctx, time.Second)
			if _, err := both.Admit(short, r); err == nil {
				t.Error("admitted")
			}
			cancel()
			if a, m := account.Snapshot(), model.Snapshot(); a.Held != 3 || m.Held != 3 {
				t.Errorf("%d and %d are held", a.Held, m.Held)
			}
		}
		returnAll(dones)
		if a, m := account.Snapshot(), model.Snapshot(); a.Held != 0 || m.Held != 0 {
			t.Errorf("%d and %d are held", a.Held, m.Held)
		}
	})
}

// A process with a larger priority gets what it wants first; the minimum of the other stays.
func TestQuota_Priority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 20
		e, p := newEngine("account"), newProvider()
		low := newReplica(t, p, 0, fleet.Config{Ledger: e, Limit: limit, Min: 4, OnLost: fleet.FailClosed}, 20, time.Second, 0)
		eventually(t, lease, "all is in use", func() bool { return p.of(0) == limit })
		high := newReplica(t, p, 1, fleet.Config{Ledger: e, Limit: limit, Priority: 1, OnLost: fleet.FailClosed}, 30, time.Second, 0)
		eventually(t, 2*lease, "the larger priority has all but the minimum", func() bool { return p.of(0) == 4 && p.of(1) == limit-4 })
		high.leave(t)
		eventually(t, 2*lease, "all is in use again", func() bool { return p.of(0) == limit })
		low.leave(t)
		if n := p.peak(); n > limit {
			t.Errorf("%d sessions at once, limit %d", n, limit)
		}
	})
}

// A limit that is lowered below what is held drains: no lease is cut, no new session is
// opened, and the smallest limit that a process states is the limit.
func TestQuota_LoweredLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, p := newEngine("account"), newProvider()
		old := newReplica(t, p, 0, fleet.Config{Ledger: e, Limit: 20, OnLost: fleet.FailClosed}, 20, time.Second, 0)
		eventually(t, lease, "all is in use", func() bool { return p.of(0) == 20 })
		lowered := newReplica(t, p, 1, fleet.Config{Ledger: e, Limit: 8, OnLost: fleet.FailClosed}, 20, time.Second, 0)
		eventually(t, 2*lease, "the new limit is kept", func() bool { return p.of(0) == 4 && p.of(1) == 4 })
		p.peak()
		time.Sleep(2 * lease)
		if n := p.peak(); n > 8 {
			t.Errorf("%d sessions at once, limit 8", n)
		}
		for _, r := range []*replica{old, lowered} {
			if s := r.q.Snapshot(); !s.Disagree || s.Limit != 8 || s.Highest != 20 {
				t.Errorf("the state is %+v", s)
			}
		}
		if s := old.pool.Stats(); s.Failed+s.Panics != 0 || s.Evicted != 16 {
			t.Errorf("the pool's counters are %+v", s)
		}
		if s := old.q.Snapshot(); s.Closed != 16 {
			t.Errorf("%d units were given up, want 16", s.Closed)
		}
		lowered.leave(t)
		eventually(t, 2*lease, "the old limit is back", func() bool { return p.of(0) == 20 })
		old.leave(t)
	})
}

// The provider's own refusal lowers what the process wants and holds it off for a time; then
// it recovers one unit at a time.
func TestQuota_TooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, p := newEngine("account"), newProvider()
		p.limit = 6
		var refusals atomic.Int64
		r := newReplica(t, p, 0, fleet.Config{Ledger: e, Limit: 20, TooMany: func(err error) bool {
			if errors.Is(err, errTooManySessions) {
				refusals.Add(1)
				return true
			}
			return false
		}}, 20, time.Second, 0)
		time.Sleep(lease)
		burst := refusals.Load()
		s := r.q.Snapshot()
		if p.of(0) != 6 || burst == 0 || s.TooMany != burst || s.Ceiling < 6 || s.Ceiling > 9 || s.Want > 9 {
			t.Errorf("%d sessions, %d refusals, the state is %+v", p.of(0), burst, s)
		}
		time.Sleep(30 * lease)
		refused := refusals.Load()
		t.Logf("%d refusals in the first lease, %d in the next 30", burst, refused-burst)
		if refused-burst > 40 {
			t.Errorf("%d refusals in 30 leases: it does not hold off", refused-burst)
		}
		p.mu.Lock()
		p.limit = 0
		p.mu.Unlock()
		eventually(t, 20*lease, "it has recovered", func() bool { return p.of(0) == 20 && r.q.Snapshot().Ceiling == 0 })
		if !r.q.Report(errTooManySessions) || r.q.Report(errDown) {
			t.Error("Report does not ask TooMany")
		}
		_, err := r.q.Admit(ctx, resource.Request{})
		caused(t, err, fleet.ErrTooMany, resource.ErrRejected)
		r.leave(t)
	})
}

func TestQuota_TooManyPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, fleet.Config{Ledger: newEngine("account"), TooMany: func(error) bool { panic("test") }})
		dones := admit(t, q, 1)
		dones[0](resource.Outcome{Verdict: resource.Failed, Err: errDown})
		if q.Report(errDown) {
			t.Error("a panic counts as yes")
		}
		end(q)
	})
}

func TestQuota_Close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account")
		q := newQuota(t, fleet.Config{Ledger: e, Limit: 2})
		dones := admit(t, q, 2)
		var waiting, closing sync.WaitGroup
		waiting.Go(func() {
			_, err := q.Admit(ctx, resource.Request{})
			caused(t, err, fleet.ErrClosed, resource.ErrRejected)
		})
		synctest.Wait()
		closed := time.Time{}
		closing.Go(func() {
			if err := q.Close(ctx); err != nil {
				t.Error(err)
			}
			closed = time.Now()
		})
		waiting.Wait()
		_, err := q.Admit(ctx, resource.Request{})
		caused(t, err, fleet.ErrClosed)
		time.Sleep(3 * lease) // the lease is renewed while units are in use
		if n := e.Granted("account")[q.Snapshot().Holder]; n != 2 || !closed.IsZero() {
			t.Errorf("the ledger has %d units of it, closed at %v", n, closed)
		}
		last := time.Now()
		returnAll(dones)
		closing.Wait()
		if took := closed.Sub(last); took > lease/10 || len(e.Granted("account")) != 0 {
			t.Errorf("closed after %v, the ledger has %v", took, e.Granted("account"))
		}
		if err := q.Close(ctx); err != nil {
			t.Errorf("closed again: %v", err)
		}
	})
}

// The last unit that comes back ends Close, also if others came back long before.
func TestQuota_CloseAtLastUnit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, fleet.Config{Ledger: newEngine("account"), Limit: 2})
		dones := admit(t, q, 2)
		var closed time.Time
		var closing sync.WaitGroup
		closing.Go(func() {
			if err := q.Close(ctx); err != nil {
				t.Error(err)
			}
			closed = time.Now()
		})
		var last time.Time
		for _, done := range dones {
			time.Sleep(lease/3 + lease/10) // later than a renewal
			last = time.Now()
			done(resource.Outcome{})
		}
		closing.Wait()
		if took := closed.Sub(last); took > 2*rtt {
			t.Errorf("Close returned %v after the last unit had come back", took)
		}
	})
}

// A unit that is admitted while a claim without units is in flight keeps Close waiting: the answer
// to that claim does not say that the ledger knows of the unit.
func TestQuota_CloseDuringEmptyClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine("account")
		e.set(func(e *engine) { e.down = errLost })
		q := newQuota(t, fleet.Config{Ledger: e, Limit: 10, Slack: -1}) // LocalShare
		defer end(q)
		time.Sleep(time.Second)
		inFlight, answer := make(chan fleet.Claim, 1), make(chan struct{})
		e.set(func(e *engine) {
			e.down = nil
			e.override = func(c fleet.Claim, do func() (fleet.Grant, error)) (fleet.Grant, error) {
				select {
				case <-answer:
				case inFlight <- c:
					<-answer
				}
				return do()
			}
		})
		if c := <-inFlight; c.Has != 0 || c.Want != 0 {
			t.Fatalf("the claim is %+v", c)
		}
		dones := admit(t, q, 1)
		closed := make(chan error, 1)
		go func() { closed <- q.Close(ctx) }()
		synctest.Wait()
		close(answer)
		time.Sleep(3 * lease)
		s := q.Snapshot()
		if n := e.Granted("account")[s.Holder]; n != 1 || len(closed) != 0 {
			t.Errorf("the ledger has %d units, %d calls of Close have returned, the state is %+v", n, len(closed), s)
		}
		returnAll(dones)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if n := len(e.Granted("account")); n != 0 {
			t.Errorf("the ledger has %d holders", n)
		}
	})
}

func TestQuota_CloseGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, down := range []bool{false, true} {
			e := newEngine("account")
			q := newQuota(t, fleet.Config{Ledger: e, Limit: 2})
			dones := admit(t, q, 2)
			if down {
				e.set(func(e *engine) { e.down = errDown })
				returnAll(dones)
			}
			short, cancel := context.WithTimeout(ctx, lease)
			err := q.Close(short)
			cancel()
			var c *fleet.CloseError
			if !errors.As(err, &c) || !errors.Is(err, context.DeadlineExceeded) || down && (c.Held != 0 || !errors.Is(err, errDown)) || !down && c.Held != 2 {
				t.Errorf("the error is %v", err)
			}
			if !down {
				returnAll(dones)
			}
		}
	})
}

func TestNew_BadConfig(t *testing.T) {
	_, err := fleet.New(fleet.Config{
		Quota: "a b", Lease: time.Millisecond, Margin: -1, Min: -1, Slack: 1, OnLost: 9, CloseBeforeExpiry: true,
		Priority: -fleet.MaxUnits - 1,
	})
	caused(t, err, fleet.ErrConfig)
	for _, text := range []string{
		"Ledger is required", "Quota must have", "Limit must be between 1 and", "Lease must be", "Margin must be", "Min must be between 0 and",
		"Slack must be", "OnLost must be", "CloseBeforeExpiry requires", "Priority must be",
	} {
		if err == nil || strings.Count(err.Error(), text) != 1 {
			t.Errorf("the error does not say once %q: %v", text, err)
		}
	}
	for _, c := range []struct {
		cfg fleet.Config
		bad string // empty: cfg is good
	}{
		{fleet.Config{Lease: fleet.MinLease}, ""},
		{fleet.Config{Lease: fleet.MinLease - 1}, "Lease must be"},
		{fleet.Config{Lease: 24 * time.Hour}, ""},
		{fleet.Config{Lease: 24*time.Hour + 1}, "Lease must be"},
		{fleet.Config{Margin: fleet.DefaultLease / 2}, ""},
		{fleet.Config{Margin: fleet.DefaultLease/2 + 1}, "Margin must be"},
		{fleet.Config{Lease: time.Second, Margin: time.Second / 2}, ""},
		{fleet.Config{Lease: time.Second, Margin: time.Second/2 + 1}, "Margin must be"},
		{fleet.Config{Min: 5, Slack: 5}, ""},
		{fleet.Config{Min: 6}, "Min must be at most Limit (5)"},
		{fleet.Config{Slack: 6}, "Slack must be"},
		{fleet.Config{Slack: -1000}, ""},
		{fleet.Config{Priority: fleet.MaxUnits}, ""},
		{fleet.Config{Priority: -fleet.MaxUnits}, ""},
		{fleet.Config{Priority: -fleet.MaxUnits - 1}, "Priority must be"},
		{fleet.Config{OnLost: fleet.FailOpen}, ""},
		{fleet.Config{OnLost: fleet.FailOpen + 1}, "OnLost must be"},
		{fleet.Config{OnLost: fleet.FailOpen, CloseBeforeExpiry: true}, "CloseBeforeExpiry requires OnLost: FailClosed, got fail open"},
		{fleet.Config{OnLost: fleet.FailClosed, CloseBeforeExpiry: true}, ""},
		{fleet.Config{Quota: strings.Repeat("x", 200)}, ""},
		{fleet.Config{Quota: strings.Repeat("x", 201)}, "Quota must have"},
	} {
		c.cfg.Ledger, c.cfg.Limit = fleet.NewMemory(), 5
		if c.cfg.Quota == "" {
			c.cfg.Quota = "account"
		}
		q, err := fleet.New(c.cfg)
		if (err == nil) != (c.bad == "") || err != nil && !strings.Contains(err.Error(), c.bad) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.bad)
		}
		if err == nil {
			end(q)
		}
	}
	for name, good := range map[string]bool{"!a|~": true, "": false, "a b": false, "a{b": false, "a}b": false, "a\x1f": false, "a\x7f": false, "ä": false} {
		q, err := fleet.New(fleet.Config{Ledger: fleet.NewMemory(), Quota: name, Limit: 1})
		if (err == nil) != good {
			t.Errorf("the name %q: %v", name, err)
		}
		if err == nil {
			end(q)
		}
	}
}

// A ledger that panics, or answers nonsense, is a ledger that does not answer.
func TestQuota_BadLedger(t *testing.T) {
	for name, answer := range map[string]func(fleet.Claim) (fleet.Grant, error){
		"panics": func(fleet.Claim) (fleet.Grant, error) { panic("test") },
		"zero":   func(fleet.Claim) (fleet.Grant, error) { return fleet.Grant{}, nil },
		"revokes": func(c fleet.Claim) (fleet.Grant, error) {
			return fleet.Grant{Granted: c.Has - 1, Limit: 1, Lease: c.Lease}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEngine("account")
				e.override = func(c fleet.Claim, _ func() (fleet.Grant, error)) (fleet.Grant, error) { return answer(c) }
				q := newQuota(t, fleet.Config{Ledger: e, OnLost: fleet.FailClosed})
				_, err := q.Admit(ctx, resource.Request{})
				caused(t, err, fleet.ErrLost)
				end(q)
			})
		})
	}
}

func TestQuota_DoneTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, fleet.Config{Ledger: newEngine("account")})
		defer end(q)
		done := admit(t, q, 1)[0]
		done(resource.Outcome{})
		defer func() {
			if recover() == nil || q.Snapshot().Held != 0 {
				t.Error("a Done that was called twice was not detected")
			}
		}()
		done(resource.Outcome{})
	})
}
