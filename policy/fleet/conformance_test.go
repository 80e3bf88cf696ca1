package fleet_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

// closing makes of a policy one whose Close needs no context, as package policytest expects.
type closing struct {
	resource.Admission
	close func()
}

func (c closing) Close() error {
	c.close()
	return nil
}

func TestConformance_Admission(t *testing.T) {
	quota := func(use func(*fleet.Quota) resource.Admission) func() resource.Admission {
		return func() resource.Admission {
			q, err := fleet.New(fleet.Config{Ledger: newEngine("account"), Quota: "account", Limit: 8, Slack: 8})
			if err != nil {
				panic(err)
			}
			time.Sleep(time.Second) // what it may have is at hand
			return closing{use(q), func() { end(q) }}
		}
	}
	rate := func() resource.Admission {
		d, err := fleet.NewDialRate(fleet.RateConfig{Ledger: fleet.NewMemory(), Rate: "dials", Tokens: 100, Per: time.Second, Burst: 8})
		if err != nil {
			panic(err)
		}
		for range 2 { // the bucket is empty at first, and then a token is fetched
			_, _ = d.Admit(ctx, resource.Request{NoWait: true})
			time.Sleep(time.Second / 2)
		}
		return closing{d, d.Close}
	}
	for name, new := range map[string]func() resource.Admission{
		"Quota":    quota(func(q *fleet.Quota) resource.Admission { return q }),
		"Member":   quota(func(q *fleet.Quota) resource.Admission { return q.Member(2) }),
		"DialRate": rate,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { policytest.Admission(t, new) })
		})
	}
}

func TestConformance_Eviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policytest.Eviction(t, func() resource.Eviction {
			q := newQuota(t, fleet.Config{Ledger: newEngine("account"), Limit: 8})
			end(q)
			return q.Surplus()
		})
	})
}
