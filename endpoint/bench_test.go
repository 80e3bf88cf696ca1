package endpoint

import (
	"context"
	"fmt"
	"testing"
)

// candidates returns n of them, with loads from 0 to 4; mixed says whether their weights
// differ.
func candidates(n int, mixed bool) []Candidate {
	c := make([]Candidate, n)
	for i := range c {
		e := Endpoint{Addr: fmt.Sprintf("10.0.%d.%d:443", i/250, i%250), Zone: string(rune('a' + i%3))}
		if mixed {
			e.Weight = float64(1 + i%4)
		}
		c[i] = NewCandidate(e, Facts{Load: i * 7 % 5, Latency: 1e6})
	}
	return c
}

func balancers() map[string]Balancer {
	return map[string]Balancer{
		"P2C": P2C(), "PeakEWMA": PeakEWMA(PeakEWMAConfig{}), "LeastLoaded": LeastLoaded(),
		"RoundRobin": RoundRobin(), "Rendezvous": Rendezvous(), "Zone": Zone("a", 1.5, P2C()),
	}
}

// BenchmarkPick is what one pick of each balancer costs.
func BenchmarkPick(b *testing.B) {
	for _, name := range []string{"P2C", "PeakEWMA", "LeastLoaded", "RoundRobin", "Rendezvous", "Zone"} {
		for _, n := range []int{16, 1000} {
			for _, mixed := range []bool{false, true} {
				weights := "equal"
				if mixed {
					weights = "mixed"
				}
				b.Run(fmt.Sprintf("%s/%d/%s", name, n, weights), func(b *testing.B) {
					c, balancer := candidates(n, mixed), balancers()[name]
					b.ReportAllocs()
					for b.Loop() {
						balancer.Pick(c, "session-1234")
					}
				})
			}
		}
	}
}

// BenchmarkRendezvousNewKeys is what a pick costs for a key that is not remembered.
func BenchmarkRendezvousNewKeys(b *testing.B) {
	keys := make([]string, 1<<16) // many more than are remembered
	for i := range keys {
		keys[i] = fmt.Sprint("session-", i)
	}
	for _, n := range []int{16, 1000} {
		for _, mixed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/mixed=%v", n, mixed), func(b *testing.B) {
				c, balancer, i := candidates(n, mixed), Rendezvous(), 0
				b.ReportAllocs()
				for b.Loop() {
					balancer.Pick(c, keys[i%len(keys)])
					i++
				}
			})
		}
	}
}

// BenchmarkSet is what the calls of a Set on the path of an acquire cost.
func BenchmarkSet(b *testing.B) {
	for _, n := range []int{5, 16, 1000} {
		var list []Endpoint
		for i := range n {
			list = append(list, Endpoint{Addr: fmt.Sprintf("10.0.%d.%d:443", i/250, i%250)})
		}
		set, err := NewSet(SetConfig{Resolver: fixed(list), Ejector: Never()})
		if err != nil {
			b.Fatal(err)
		}
		if err := set.Ready(b.Context()); err != nil {
			b.Fatal(err)
		}
		dst := make([]string, 0, 8)
		for _, call := range []struct {
			name string
			f    func()
		}{
			{"Pick", func() { set.Pick("") }},
			{"Rank", func() { set.Rank(dst, "") }},
			{"BeginEnd", func() { set.Begin("10.0.0.3:443").End(Evidence{Kind: Success}) }},
		} {
			b.Run(fmt.Sprintf("%s/%d", call.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					call.f()
				}
			})
		}
		if err := set.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
