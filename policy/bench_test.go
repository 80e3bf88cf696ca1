package policy_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// stock are the admissions implemented in this package, with room for every request.
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

// The calls on the hit path of a pool.

func BenchmarkEvict(b *testing.B) {
	i := resource.Info{ID: 3, Age: time.Second, Idle: time.Second, Leases: 5, Jitter: 0.5}
	for name, e := range stockEvictions() {
		b.Run("policy="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				evictSink = e.Evict(i)
			}
		})
	}
}

// stockHealths are not due for a resource that was just used.
func stockHealths() map[string]resource.Health[int] {
	idle := policy.IfIdle(time.Minute, policy.Check(func(context.Context, int) error { return nil }))
	suspects := policy.Cohort(idle)
	suspects.Suspect(9)
	for id := range uint64(9) {
		_ = suspects.Check(context.Background(), 0, resource.Info{ID: id + 1})
	}
	return map[string]resource.Health[int]{
		"IfIdle":              idle,
		"CheckTimeout":        policy.CheckTimeout(time.Second, idle),
		"Consecutive":         policy.Consecutive(3, idle),
		"Cohort":              policy.Cohort(idle),
		"Cohort,suspect=past": suspects,
	}
}

var dueSink bool

// Due does not allocate, not even for a former suspect.
func TestHealth_DueAllocates(t *testing.T) {
	for name, h := range stockHealths() {
		s := h.(resource.Scheduled)
		for _, id := range []uint64{3, 300} {
			i := resource.Info{ID: id, Age: time.Hour, Idle: time.Second, Checked: time.Second}
			if n := testing.AllocsPerRun(100, func() { dueSink = s.Due(i) }); n != 0 || dueSink {
				t.Errorf("%s: %v allocations; due: %v", name, n, dueSink)
			}
		}
	}
}

func BenchmarkDue(b *testing.B) {
	i := resource.Info{ID: 3, Age: time.Hour, Idle: time.Second, Checked: time.Second}
	for name, h := range stockHealths() {
		s := h.(resource.Scheduled)
		b.Run("policy="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				dueSink = s.Due(i)
			}
		})
	}
}

// BenchmarkQueue measures one Push and one Pop at a constant length.
func BenchmarkQueue(b *testing.B) {
	for _, q := range []struct {
		name string
		make func() resource.Queue
	}{
		{"Priority", func() resource.Queue { return policy.Priority(time.Second) }},
		{"CoDel", func() resource.Queue { return policy.CoDel(target, interval) }},
	} {
		for _, waiting := range []int{1, 100, 10_000} {
			b.Run(fmt.Sprintf("policy=%s/waiting=%d", q.name, waiting), func(b *testing.B) {
				b.ReportAllocs()
				queue := q.make()
				now := time.Duration(0)
				push := func(w *resource.Waiter) {
					now += time.Microsecond
					w.Since, w.Request.Priority = now, int(now/time.Microsecond)%5
					queue.Push(w, now)
				}
				for range waiting - 1 {
					push(&resource.Waiter{})
				}
				w := &resource.Waiter{}
				for b.Loop() {
					push(w)
					w, _ = queue.Pop(now)
				}
			})
		}
	}
}

// BenchmarkMakeGate measures one Admit and Done, which is small compared with a dial.
func BenchmarkMakeGate(b *testing.B) {
	g, err := policy.NewMakeGate(policy.MakeGateConfig{Concurrent: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		done, err := g.Admit(context.Background(), resource.Request{})
		if err != nil {
			b.Fatal(err)
		}
		done(resource.Outcome{Verdict: resource.OK})
	}
}
