package fleet_test

import (
	"testing"
	"testing/synctest"
	"time"

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

func TestQuota_FairShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 100
		e, p := newEngine("account"), newProvider()
		replicas := []*replica{newReplica(t, p, 0, fleet.Config{Ledger: e, Limit: limit}, limit, 50*time.Millisecond, 0)}
		eventually(t, lease, "the first has all", func() bool { return p.of(0) == limit })
		for i := 1; i < 8; i++ {
			replicas = append(replicas, newReplica(t, p, i, fleet.Config{Ledger: e, Limit: limit}, limit, 50*time.Millisecond, 0))
		}
		took := eventually(t, 2*lease, "shares within 5 %", func() bool {
			for i := range replicas {
				if n := p.of(i); n < 12 || n > 13 {
					return false
				}
			}
			return true
		})
		t.Logf("fair after %v", took)
		if n := p.peak(); n > limit {
			t.Errorf("%d sessions at once, limit %d", n, limit)
		}
		began, ops := time.Now(), e.claims.Load()
		p.mean(began)
		time.Sleep(10 * lease)
		t.Logf("mean %.2f sessions, %.2f operations per renewal and replica", p.mean(began), float64(e.claims.Load()-ops)/8/30)
		for _, r := range replicas {
			t.Log(r.q.State())
			r.leave(t)
		}
	})
}
