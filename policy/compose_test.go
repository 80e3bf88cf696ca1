package policy_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// I4: whatever the policies do, every Done runs exactly once, and no permit is
// left behind.

// tree is a random nesting of policies.
type tree struct {
	rnd     *rand.Rand      // of the builder
	draw    func(n int) int // of the leaves
	p       resource.Admission
	gauges  []policy.Gauge
	waits   []*policy.DeadlineLimiter
	ledgers []*ledger
	gates   []*policy.Gate
	wild    bool // leaves may panic and end their goroutines
	said    string
}

func plant(rnd *rand.Rand, draw func(int) int, wild bool) *tree {
	tr := &tree{rnd: rnd, draw: draw, wild: wild}
	tr.p, tr.said = tr.grow(4)
	return tr
}

// grow returns a policy at most so deep, and what it is.
func (tr *tree) grow(deep int) (resource.Admission, string) {
	if deep == 0 {
		return tr.leaf()
	}
	switch tr.rnd.IntN(8) {
	case 0, 1, 2:
		ps, said := tr.several(deep, 0)
		return policy.All(ps...), "All(" + said + ")"
	case 3, 4:
		ps, said := tr.several(deep, 1)
		return policy.Any(ps...), "Any(" + said + ")"
	case 5:
		ps, said := tr.several(deep, 2)
		return policy.ByPriority(func(priority int) resource.Admission {
			return ps[priority%len(ps)]
		}), "ByPriority(" + said + ")"
	case 6:
		p, said := tr.grow(deep - 1)
		return policy.Named("n", p), "Named(" + said + ")"
	}
	g, said := tr.gauged(deep)
	return policy.Reserve(1, tr.rnd.IntN(4), g), "Reserve(" + said + ")"
}

func (tr *tree) several(deep, least int) (ps []resource.Admission, said string) {
	for range least + tr.rnd.IntN(4) {
		p, s := tr.grow(tr.rnd.IntN(deep))
		ps = append(ps, p)
		said += s + " "
	}
	return ps, said
}

func (tr *tree) gauged(deep int) (policy.Gauged, string) {
	n := 2 + tr.rnd.IntN(4)
	var g policy.Gauged
	said := fmt.Sprint("Limit ", n)
	switch tr.rnd.IntN(3) {
	case 0:
		g = policy.Limit(n)
	case 1:
		g, said = policy.Shares(n, map[string]int{"a": 1}), fmt.Sprint("Shares ", n)
	case 2:
		if deep == 0 {
			g = policy.Limit(n)
			break
		}
		inner, s := tr.gauged(deep - 1)
		return policy.Reserve(1, tr.rnd.IntN(4), inner), "Reserve(" + s + ")"
	}
	tr.gauges = append(tr.gauges, g)
	return g, said
}

func (tr *tree) leaf() (resource.Admission, string) {
	switch tr.rnd.IntN(6) {
	case 0, 1:
		return tr.gauged(0)
	case 2:
		g := policy.NewGate()
		tr.gates = append(tr.gates, g)
		return g, "Gate"
	case 3:
		p := policy.WithinDeadline(1 + tr.rnd.IntN(3))
		tr.waits = append(tr.waits, p)
		return p, "WithinDeadline"
	}
	l := &ledger{noDone: tr.rnd.IntN(4) == 0, before: tr.mishap}
	if tr.wild {
		l.after = func(resource.Outcome) {
			switch tr.draw(20) {
			case 0:
				panic(errBoom)
			case 1:
				runtime.Goexit()
			}
		}
	}
	tr.ledgers = append(tr.ledgers, l)
	return l, "ledger"
}

// mishap is what a leaf does instead of admitting, now and then.
func (tr *tree) mishap(ctx context.Context, r resource.Request) error {
	n := tr.draw(25)
	switch {
	case n == 0:
		return errBoom
	case n == 1:
		return &resource.Rejection{RetryAfter: time.Millisecond, Err: errBoom}
	case n == 2 && ctx.Err() != nil && !r.NoWait:
		return ctx.Err()
	case n == 3 && tr.wild:
		panic(errBoom)
	case n == 4 && tr.wild:
		runtime.Goexit()
	}
	return nil
}

// check says what is left behind.
func (tr *tree) check() error {
	var bad []error
	for i, g := range tr.gauges {
		if n := g.InFlight(); n != 0 {
			bad = append(bad, fmt.Errorf("gauge %d: %d in flight", i, n))
		}
	}
	for i, p := range tr.waits {
		if n := p.InFlight(); n != 0 {
			bad = append(bad, fmt.Errorf("deadline %d: %d in flight", i, n))
		}
	}
	for i, l := range tr.ledgers {
		if err := l.check(); err != nil {
			bad = append(bad, fmt.Errorf("ledger %d: %w", i, err))
		}
	}
	return errors.Join(bad...)
}

// tally is what became of many admissions.
type tally struct{ asked, admitted, refused, torn, left int }

func (a *tally) add(b tally) {
	a.asked += b.asked
	a.admitted += b.admitted
	a.refused += b.refused
	a.torn += b.torn
	a.left += b.left
}

// visit asks n times, with up to three permits held at a time.
func (tr *tree) visit(rnd *rand.Rand, n int) (sum tally) {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	soon, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	outcomes := []resource.Outcome{ok, failed, ignored}
	var out []resource.Done
	giveBack := func(i int) {
		done := out[i]
		out[i] = out[len(out)-1]
		out = out[:len(out)-1]
		tr.guarded(func() { done(outcomes[rnd.IntN(3)]) })
	}
	for range n {
		if len(tr.gates) > 0 && rnd.IntN(20) == 0 {
			if g := tr.gates[rnd.IntN(len(tr.gates))]; rnd.IntN(2) == 0 {
				g.Pause(errBoom)
			} else {
				g.Resume()
			}
		}
		r := resource.Request{
			Priority: rnd.IntN(5), Cost: rnd.IntN(4) - rnd.IntN(2)*rnd.IntN(2), NoWait: true,
			Class: []string{"", "a", "b"}[rnd.IntN(3)],
		}
		ctx := soon
		if rnd.IntN(8) == 0 {
			ctx, r.NoWait = gone, false // blocks nowhere: it ends at once
		}
		var done resource.Done
		var err error
		sum.asked++
		switch returned := tr.guarded(func() { done, err = tr.p.Admit(ctx, r) }); {
		case !returned:
			sum.torn++
		case err == nil:
			sum.admitted++
			if done != nil {
				out = append(out, done)
			}
		case ctx == gone && errors.Is(err, context.Canceled):
			sum.left++
		default:
			sum.refused++
		}
		if len(out) > 3 || len(out) > 0 && rnd.IntN(2) == 0 {
			giveBack(rnd.IntN(len(out)))
		}
	}
	for len(out) > 0 {
		giveBack(0)
	}
	return sum
}

// guarded calls f, and reports whether it returned.
func (tr *tree) guarded(f func()) bool {
	if tr.wild {
		return caught(f) == nil
	}
	f()
	return true
}

func TestI4_RandomCompositions(t *testing.T) {
	rnd := rand.New(rand.NewPCG(newSeed(t), 4))
	for _, wild := range []bool{false, true} {
		t.Run(fmt.Sprintf("wild=%v", wild), func(t *testing.T) {
			trees := 1000
			if testing.Short() {
				trees = 200
			}
			var sum tally
			for i := range trees {
				tr := plant(rnd, rnd.IntN, wild)
				sum.add(tr.visit(rnd, 100))
				if err := tr.check(); err != nil {
					t.Fatalf("tree %d: %s:\n%v", i, tr.said, err)
				}
			}
			t.Logf("%+v", sum)
			if sum.asked != trees*100 || sum.admitted < sum.asked/4 || sum.refused == 0 || sum.left == 0 || wild != (sum.torn > 0) {
				t.Errorf("%+v: that is not all that can happen", sum)
			}
		})
	}
}

// The same with many at once. RESPOOL_STRESS says for how long.
func TestI4_StressCompositions(t *testing.T) {
	d := 300 * time.Millisecond
	if s := os.Getenv("RESPOOL_STRESS"); s != "" {
		var err error
		if d, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	rnd := rand.New(rand.NewPCG(newSeed(t), 5))
	var sum tally
	for begun := time.Now(); time.Since(begun) < d; {
		tr := plant(rnd, rand.IntN, rnd.IntN(2) == 0)
		var wg sync.WaitGroup
		var mu sync.Mutex
		for i := range 4 {
			own := rand.New(rand.NewPCG(rnd.Uint64(), uint64(i)))
			wg.Go(func() {
				each := tr.visit(own, 200)
				mu.Lock()
				defer mu.Unlock()
				sum.add(each)
			})
		}
		wg.Wait()
		if err := tr.check(); err != nil {
			t.Fatalf("%s:\n%v", tr.said, err)
		}
	}
	t.Logf("%+v", sum)
	if sum.admitted == 0 || sum.refused == 0 || sum.torn == 0 {
		t.Errorf("%+v: that is not all that can happen", sum)
	}
}
