package policy_test

import (
	"context"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// stock are the admissions whose hit path is our own, each with room for all.
func stock() map[string]resource.Admission {
	const room = 1 << 20
	sized := policy.WithinDeadline(room)
	return map[string]resource.Admission{
		"limit":      policy.Limit(room),
		"queue":      policy.BoundedQueue(room, room),
		"shares":     policy.Shares(room, map[string]int{"a": 1 << 10, "b": 1 << 10}),
		"borrowed":   policy.Shares(room, map[string]int{"b": 1 << 10}),
		"gate":       policy.NewGate(),
		"deadline":   sized,
		"named":      policy.Named("n", policy.Limit(room)),
		"any":        policy.Any(policy.Limit(room), policy.Limit(room)),
		"bypriority": policy.ByPriority(pickAlways(policy.Limit(room))),
		"all of 1":   policy.All(policy.Limit(room)),
		"all of 2":   policy.All(policy.Limit(room), policy.NewGate()),
		"all of 3":   policy.All(policy.Limit(room), policy.Shares(room, nil), policy.NewGate()),
		"reserve":    policy.Reserve(1, 1, policy.Limit(room)),
	}
}

func pickAlways(p resource.Admission) func(int) resource.Admission {
	return func(int) resource.Admission { return p }
}

func BenchmarkAdmitDone(b *testing.B) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	r := resource.Request{Class: "a"}
	ok := resource.Outcome{Verdict: resource.OK}
	for name, p := range stock() {
		turn := func() {
			done, err := p.Admit(ctx, r)
			if err != nil {
				b.Error(err)
			}
			if done != nil {
				done(ok)
			}
		}
		b.Run("policy="+name+"/goroutines=1", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				turn()
			}
		})
		b.Run("policy="+name+"/goroutines=GOMAXPROCS", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					turn()
				}
			})
		})
	}
}
