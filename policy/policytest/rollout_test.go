package policytest_test

import (
	"testing"
	"testing/synctest"

	"github.com/respool/respool/policy/policytest"
	"github.com/respool/respool/resource"
)

// A rollout that ends all resources up to an ID keeps those created later, and passes while
// it is on.
func TestEviction_Rollout(t *testing.T) {
	for _, last := range []uint64{0, 3, 100} {
		synctest.Test(t, func(t *testing.T) {
			policytest.Eviction(t, func() resource.Eviction {
				return evictFunc(func(i resource.Info) error { return errorIf(i.ID <= last) })
			})
		})
	}
}

// With an Eviction that keeps old IDs and ends new ones nothing can be lent.
func TestEviction_EndsNewIDs(t *testing.T) {
	wantFailures(t, []broken{{"new IDs", []string{"a new resource is evicted"},
		func(t testing.TB, _ <-chan struct{}) {
			policytest.Eviction(t, func() resource.Eviction {
				return evictFunc(func(i resource.Info) error { return errorIf(i.ID > 1000) })
			})
		}}})
}
