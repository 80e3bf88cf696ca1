package fleet_test

import (
	"testing"

	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

// held returns a quota that has units of its own, and returns when they are at hand.
func held(tb testing.TB, weight int) *fleet.Member {
	tb.Helper()
	m := fleet.NewMemory()
	m.Begin("account")
	q, err := fleet.New(fleet.Config{Ledger: m, Quota: "account", Limit: 100, Slack: 50})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { end(q) })
	member := q.Member(weight)
	done, err := member.Admit(ctx, resource.Request{})
	if err != nil {
		tb.Fatal(err)
	}
	done(resource.Outcome{})
	return member
}

func permit(tb testing.TB, m *fleet.Member) {
	done, err := m.Admit(ctx, resource.Request{})
	if err != nil {
		tb.Fatal(err)
	}
	done(resource.Outcome{Verdict: resource.OK})
}

func TestPermit_NoAllocation(t *testing.T) {
	for _, weight := range []int{1, 3} {
		m := held(t, weight)
		if n := testing.AllocsPerRun(1000, func() { permit(t, m) }); n != 0 {
			t.Errorf("a permit of weight %d allocates %v times", weight, n)
		}
		evict := m.Surplus()
		if n := testing.AllocsPerRun(1000, func() { _ = evict.Evict(resource.Info{Total: 5}) }); n != 0 {
			t.Errorf("Surplus allocates %v times", n)
		}
	}
}

// The cost of a permit: Admit and Done.
func BenchmarkPermit(b *testing.B) {
	m := held(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		permit(b, m)
	}
}

func BenchmarkSurplus(b *testing.B) {
	evict := held(b, 1).Surplus()
	b.ReportAllocs()
	for b.Loop() {
		if evict.Evict(resource.Info{Total: 5}) != nil {
			b.Fatal("evicted")
		}
	}
}
