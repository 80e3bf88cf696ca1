package fleet_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/policy/fleet"
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
		replicas := []*replica{newReplica(t, p, 0, cfg, limit, 200*time.Millisecond, 0)}
		eventually(t, lease, "the first has all", func() bool { return p.of(0) == limit })
		for i := 1; i < each; i++ {
			replicas = append(replicas, newReplica(t, p, i, cfg, 20, 200*time.Millisecond, 0))
		}
		took := eventually(t, 2*lease, "shares within 5 %", func() bool { return fair(p, each, limit) })
		t.Logf("fair after %v, %.2f leases", took, float64(took)/float64(lease))
		time.Sleep(lease)
		began := time.Now()
		claims := e.claims.Load()
		p.mean(began)
		time.Sleep(10 * lease)
		used := p.mean(began) / limit
		perRenewal := float64(e.claims.Load()-claims) / each / 30
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
