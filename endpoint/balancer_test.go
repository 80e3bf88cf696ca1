package endpoint

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// picks counts how often each candidate is picked.
func picks(b Balancer, c []Candidate, n int) []int {
	counts := make([]int, len(c))
	for range n {
		counts[b.Pick(c, "")]++
	}
	return counts
}

func weighted(weights ...float64) []Candidate {
	c := make([]Candidate, len(weights))
	for i, w := range weights {
		c[i] = NewCandidate(Endpoint{Addr: fmt.Sprintf("e%d", i), Weight: w}, Facts{})
	}
	return c
}

// near fails the test if a part of the picks is not within 5 standard deviations of p.
func near(t *testing.T, name string, got, n int, p float64) {
	t.Helper()
	if d := 5 * math.Sqrt(float64(n)*p*(1-p)); math.Abs(float64(got)-float64(n)*p) > d {
		t.Errorf("%s was picked %d times of %d, want %.0f ± %.0f", name, got, n, float64(n)*p, d)
	}
}

func TestBalancersFollowSharesOfIdleCandidates(t *testing.T) {
	const n = 40000
	for name, b := range map[string]Balancer{"P2C": P2C(), "PeakEWMA": PeakEWMA(PeakEWMAConfig{}), "LeastLoaded": LeastLoaded(), "RoundRobin": RoundRobin()} {
		t.Run(name, func(t *testing.T) {
			got := picks(b, weighted(3, 1), n)
			near(t, "the heavier", got[0], n, 0.75)
			for i, k := range picks(b, weighted(1, 1, 1, 1), n) {
				near(t, fmt.Sprint("equal ", i), k, n, 0.25)
			}
			// The naive rule, to compare (load+1)/share, gives idle candidates of smaller share
			// nothing: an endpoint in slow start would never get its first call.
			if got := picks(b, weighted(1, 0.1), n); got[1] == 0 {
				t.Errorf("a candidate in slow start got nothing")
			}
		})
	}
}

func TestP2CPrefersTheSmallerLoad(t *testing.T) {
	c := []Candidate{
		NewCandidate(Endpoint{Addr: "busy"}, Facts{Load: 9}),
		NewCandidate(Endpoint{Addr: "free"}, Facts{Load: 2}),
	}
	if got := picks(P2C(), c, 1000); got[0] != 0 {
		t.Errorf("the busy one was picked %d times", got[0])
	}
	// Four times the share bears four times the load.
	c[0] = NewCandidate(Endpoint{Addr: "busy", Weight: 4}, Facts{Load: 9})
	if got := picks(P2C(), c, 1000); got[1] != 0 {
		t.Errorf("the light one was picked %d times", got[1])
	}
}

func TestLeastLoadedFindsTheLeast(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		c := make([]Candidate, 1+r.IntN(20))
		least := math.MaxInt
		for i := range c {
			l := r.IntN(6)
			least = min(least, l)
			c[i] = NewCandidate(Endpoint{Addr: fmt.Sprint(i)}, Facts{Load: l})
		}
		if i := LeastLoaded().Pick(c, ""); c[i].Load() != least {
			t.Fatalf("picked load %d, the least is %d", c[i].Load(), least)
		}
	}
}

func TestRoundRobinVisitsEqualCandidatesInTurn(t *testing.T) {
	b, c := RoundRobin(), weighted(1, 1, 1, 1, 1)
	for i := range 50 {
		if got := b.Pick(c, ""); got != i%5 {
			t.Fatalf("pick %d is %d", i, got)
		}
	}
}

// The naive weighted rotation repeats each candidate as often as its weight says, which gives
// an endpoint bursts: 8 calls in a row here.
func TestRoundRobinSpreadsWeightedPicks(t *testing.T) {
	b, c := RoundRobin(), weighted(8, 4, 2, 1, 1)
	var sequence []int
	for range 1600 {
		sequence = append(sequence, b.Pick(c, ""))
	}
	for i, want := range []int{800, 400, 200, 100, 100} {
		got := 0
		for _, p := range sequence {
			if p == i {
				got++
			}
		}
		if got < want-2 || got > want+2 {
			t.Errorf("candidate %d was picked %d times, want %d", i, got, want)
		}
	}
	longest, run := 0, 0
	for i, p := range sequence {
		if i > 0 && sequence[i-1] == p {
			run++
		} else {
			run = 1
		}
		longest = max(longest, run)
	}
	if longest > 3 {
		t.Errorf("%d picks of the same candidate in a row", longest)
	}
}

// ingress-nginx #5540: its EWMA took an endpoint that failed fast for a fast one, and sent it
// nearly everything.
func TestPeakEWMACountsFailuresAsSlow(t *testing.T) {
	b := PeakEWMA(PeakEWMAConfig{}).(*peakEWMA)
	naive, ours := &live{}, &live{}
	for range 10 {
		naive.observe(1e6, 0, b.cfg) // a failure within 1 ms is taken for an answer
		ours.observe(max(1e6, b.cfg.Penalty), 0, b.cfg)
	}
	naive.setShare(1)
	ours.setShare(1)
	good := NewCandidate(Endpoint{Addr: "good"}, Facts{Latency: 20e6})
	if got := picks(b, []Candidate{good, {live: naive}}, 1000); got[1] != 1000 {
		t.Errorf("the naive rule picked the failing endpoint %d times of 1000; the scene is to show that it is always", got[1])
	}
	if got := picks(b, []Candidate{good, {live: ours}}, 1000); got[1] != 0 {
		t.Errorf("the failing endpoint was picked %d times", got[1])
	}
}

func TestLatencyFollowsPeaksAtOnceAndDecays(t *testing.T) {
	cfg := PeakEWMA(PeakEWMAConfig{}).(*peakEWMA).cfg
	l := &live{}
	l.observe(10e6, 0, cfg)
	l.observe(900e6, 1e9, cfg)
	if got := l.latency.Load(); got != 900e6 {
		t.Errorf("after a peak the latency is %v", got)
	}
	l.observe(10e6, 1e9+cfg.Decay, cfg)
	if got, want := float64(l.latency.Load()), 10e6+890e6/math.E; math.Abs(got-want) > 1e6 {
		t.Errorf("after the decay time it is %v, want %v", got, want)
	}
	if !l.fade(1e9+2*cfg.Decay, cfg) || l.fade(1e9+40*cfg.Decay, cfg) || l.latency.Load() != 0 {
		t.Errorf("it does not fade to 0: %v", l.latency.Load())
	}
}

func TestRendezvousMovesOnlyWhatItMust(t *testing.T) {
	for _, n := range []int{3, 7, 16, 100} {
		for _, mixed := range []bool{false, true} {
			c, b := candidates(n, mixed), Rendezvous()
			removed := slices.Delete(slices.Clone(c), n/2, n/2+1)
			moved, had := 0, 0
			for k := range 4000 {
				key := fmt.Sprint("key", k)
				before, after := c[b.Pick(c, key)].Addr, removed[Rendezvous().Pick(removed, key)].Addr
				if before == c[n/2].Addr {
					had++
				} else if before != after {
					moved++
				}
				if again := c[b.Pick(c, key)].Addr; again != before {
					t.Fatalf("key %s moved from %s to %s without a change", key, before, again)
				}
			}
			if moved > 0 || had == 0 {
				t.Errorf("n=%d mixed=%v: %d keys of others moved; the removed one had %d", n, mixed, moved, had)
			}
		}
	}
}

func TestRendezvousDividesKeysByWeight(t *testing.T) {
	for _, unit := range []float64{1, 1e-6, 1e6} {
		rendezvousDivides(t, unit)
	}
}

func rendezvousDivides(t *testing.T, unit float64) {
	c, b, n := weighted(4*unit, 2*unit, unit, unit), Rendezvous(), 40000
	got := make([]int, 4)
	for k := range n {
		got[b.Pick(c, fmt.Sprint("session-", k))]++
	}
	for i, p := range []float64{0.5, 0.25, 0.125, 0.125} {
		near(t, fmt.Sprint(i), got[i], n, p)
	}
}

// The scan without logarithms, the memo and Rank must agree with the definition.
func TestRendezvousAgreesWithItsDefinition(t *testing.T) {
	for _, n := range []int{1, 2, 5, 16, 200} {
		for _, mixed := range []bool{false, true} {
			c, b := candidates(n, mixed), Rendezvous()
			for k := range 300 {
				key := fmt.Sprint(k)
				type scored struct {
					addr string
					d    float64
				}
				var all []scored
				for i := range c {
					all = append(all, scored{c[i].Addr, -math.Log(unit(mix(c[i].Hash^hashString(key)))) / c[i].weight()})
				}
				slices.SortFunc(all, func(a, b scored) int {
					if a.d < b.d {
						return -1
					}
					return 1
				})
				if got := c[b.Pick(c, key)].Addr; got != all[0].addr {
					t.Fatalf("n=%d key %s: got %s, want %s", n, key, got, all[0].addr)
				}
				ranked := b.(Ranker).Rank(nil, c, key, 5)
				for i, addr := range ranked {
					if addr != all[i].addr {
						t.Fatalf("n=%d key %s: rank %d is %s, want %s", n, key, i, addr, all[i].addr)
					}
				}
				if len(ranked) != min(5, n) {
					t.Fatalf("%d ranked of %d", len(ranked), n)
				}
			}
		}
	}
}

func TestZonePrefersAndSpills(t *testing.T) {
	zone := func(zone string, load int) Candidate {
		return NewCandidate(Endpoint{Addr: zone, Zone: zone}, Facts{Load: load})
	}
	for _, tc := range []struct {
		near, far int
		spill     float64
		stays     bool
	}{
		{0, 0, 1.5, true}, {1, 0, 1.5, true}, {2, 0, 1.5, true}, {3, 0, 1.5, false},
		{10, 6, 1.5, true}, {20, 6, 1.5, false}, {1000, 0, 0, true},
	} {
		b := Zone("here", tc.spill, P2C())
		c := []Candidate{zone("there", tc.far), zone("here", tc.near)}
		if got := c[b.Pick(c, "")].Zone; (got == "here") != tc.stays {
			t.Errorf("%+v: picked %s", tc, got)
		}
		if got := b.(Ranker).Rank(nil, c, "", 2); len(got) != 2 || got[0] == got[1] {
			t.Errorf("%+v: rank %v", tc, got)
		}
	}
	b := Zone("nowhere", 0, P2C())
	c := []Candidate{zone("there", 1)}
	if b.Pick(c, "") != 0 {
		t.Error("a zone without candidates is not left")
	}
	// One counter for both lists would visit only every other member of each.
	rr := Zone("here", 1, RoundRobin())
	many := []Candidate{}
	for i := range 2 {
		many = append(many,
			NewCandidate(Endpoint{Addr: fmt.Sprint("here", i), Zone: "here"}, Facts{Load: 9}),
			NewCandidate(Endpoint{Addr: fmt.Sprint("there", i), Zone: "there"}, Facts{}))
	}
	if got := picks(rr, many, 100); got[1] != 50 || got[3] != 50 {
		t.Errorf("round robin elsewhere: %v", got)
	}
}

func TestBalancersWithOneCandidateAndExtremeWeights(t *testing.T) {
	extreme := weighted(math.MaxFloat64, math.SmallestNonzeroFloat64, 1)
	for name, b := range balancers() {
		for range 100 {
			if got := b.Pick(weighted(1), "k"); got != 0 {
				t.Errorf("%s: %d of one candidate", name, got)
			}
			if got := b.Pick(extreme, "k"); got < 0 || got > 2 {
				t.Errorf("%s: %d of three candidates", name, got)
			}
		}
	}
}

func TestBalancersAllocateNothing(t *testing.T) {
	dst := make([]string, 0, maxChoices)
	for name, b := range balancers() {
		for _, n := range []int{1, 5, 16, 1000} {
			c := candidates(n, true)
			if got := testing.AllocsPerRun(100, func() { b.Pick(c, "key") }); got != 0 {
				t.Errorf("%s among %d: %v allocations in a pick", name, n, got)
			}
			if r, ok := b.(Ranker); ok {
				if got := testing.AllocsPerRun(100, func() { r.Rank(dst, c, "key", 8) }); got != 0 {
					t.Errorf("%s among %d: %v allocations in a rank", name, n, got)
				}
			}
		}
	}
}

func TestAppendRestOrdersByLoad(t *testing.T) {
	for n := 1; n <= 40; n++ {
		c := candidates(n, true)
		for first := range n {
			got := appendRest(nil, c, first, 8)
			if want := min(n-1, 8); len(got) != want {
				t.Fatalf("%d of %d, want %d", len(got), n, want)
			}
			last := 0.0
			for i, addr := range got {
				at := slices.IndexFunc(c, func(c Candidate) bool { return c.Addr == addr })
				cost := float64(c[at].Load()+1) / c[at].Share()
				if at == first || slices.Contains(got[:i], addr) || cost < last {
					t.Fatalf("n=%d first=%d: bad order %v", n, first, got)
				}
				last = cost
			}
		}
	}
}

// A peak of an endpoint that gets no callers any more decays with time alone.
func TestLatencyFadesWithoutCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, SetConfig{Balancer: PeakEWMA(PeakEWMAConfig{})}, five()...)
		defer st.close()
		st.Observe("a", Evidence{Kind: Success, Latency: 3 * time.Second})
		if got := st.state("a").Latency; got != 3*time.Second {
			t.Errorf("latency %v", got)
		}
		pass(20 * time.Second)
		if got := st.state("a").Latency; got < 300*time.Millisecond || got > 500*time.Millisecond {
			t.Errorf("after twice the decay time the latency is %v, want about %v", got, 406*time.Millisecond)
		}
		pass(5 * time.Minute)
		if got := st.state("a").Latency; got != 0 {
			t.Errorf("after five minutes it is %v", got)
		}
	})
}
