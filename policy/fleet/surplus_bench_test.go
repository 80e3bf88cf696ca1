package fleet_test

import (
	"context"
	"testing"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

// BenchmarkHit is an acquire that finds an idle resource, and its release, in a pool without a
// quota, in one with it, and in one in which Surplus is asked on each hit, as if it were not Capped.
func BenchmarkHit(b *testing.B) {
	for _, name := range []string{"alone", "shared", "asked"} {
		cfg := resource.Config[string]{Make: func(context.Context) (string, error) { return "session", nil }, MaxSize: 100}
		if name != "alone" {
			ledger := fleet.NewMemory()
			ledger.Begin("account")
			quota, err := fleet.New(fleet.Config{Ledger: ledger, Quota: "account", Limit: 100})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { quota.Close(context.Background()) })
			cfg.Quota, cfg.Eviction = quota, quota.Surplus()
			if name == "asked" {
				cfg.Eviction = policy.EvictionFunc(quota.Surplus().Evict)
			}
		}
		pool, err := resource.New(cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { pool.Close(context.Background()) }) // before that of the quota
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				lease, err := pool.Acquire(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				lease.Release()
			}
		})
	}
}
