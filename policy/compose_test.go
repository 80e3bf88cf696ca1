package policy_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// I4: whatever the policies do, every Done runs exactly once and no permit is lost.

// tree is a random nesting of policies.
type tree struct {
	rnd     *rand.Rand      // for the structure
	draw    func(n int) int // for the leaves
	p       resource.Admission
	gauges  []policy.Gauge
	waits   []*policy.DeadlineLimiter
	ledgers []*ledger
	gates   []*policy.Gate
	wild    bool // leaves may panic and call Goexit
	said    string
}

func plant(rnd *rand.Rand, draw func(int) int, wild bool) *tree {
	tr := &tree{rnd: rnd, draw: draw, wild: wild}
	tr.p, tr.said = tr.grow(4)
	return tr
}

// grow returns a random policy of at most the given depth, and its description.
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

// mishap is what a leaf sometimes does instead of admitting.
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

// check returns an error if a permit is left.
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

// tally counts the results of many requests.
type tally struct{ asked, admitted, refused, torn, left int }

func (a *tally) add(b tally) {
	a.asked += b.asked
	a.admitted += b.admitted
	a.refused += b.refused
	a.torn += b.torn
	a.left += b.left
}

// visit makes n requests, with up to three permits held at a time.
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
			ctx, r.NoWait = gone, false // does not block: the context has ended
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

// guarded calls f and reports whether it returned.
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

// The same with many goroutines, for the duration RESPOOL_STRESS.
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
	for begun := time.Now(); time.Since(begun) < d || sum.refused == 0 || sum.torn == 0; {
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

// journal creates admissions that log their calls in one list.
type journal []string

func (j *journal) member(name string, err error) resource.Admission {
	return policy.AdmissionFunc(func(context.Context, resource.Request) (resource.Done, error) {
		*j = append(*j, "ask "+name)
		if err != nil {
			return nil, err
		}
		return func(o resource.Outcome) {
			*j = append(*j, fmt.Sprintf("done %s %d", name, o.Verdict))
		}, nil
	})
}

func (j *journal) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(*j, want) {
		t.Errorf("got  %q\nwant %q", *j, want)
	}
	*j = nil
}

func TestAll(t *testing.T) {
	var j journal
	p := policy.All(j.member("a", nil), j.member("b", nil), j.member("c", nil))
	done := admit(t, p, resource.Request{})
	j.want(t, "ask a", "ask b", "ask c")
	done(failed)
	j.want(t, "done c 2", "done b 2", "done a 2")
	admit(t, p, resource.Request{})(ignored)
	j.want(t, "ask a", "ask b", "ask c", "done c 0", "done b 0", "done a 0")
}

func TestAllRefused(t *testing.T) {
	var j journal
	refusal := &resource.Rejection{Policy: "c", RetryAfter: time.Second, Err: errBoom}
	p := policy.All(j.member("a", nil), j.member("b", nil), j.member("c", refusal), j.member("d", nil))
	done, err := p.Admit(t.Context(), resource.Request{})
	if done != nil || err != error(refusal) {
		t.Errorf("refused with %v, want the member's own %v", err, refusal)
	}
	j.want(t, "ask a", "ask b", "ask c", "done b 0", "done a 0")
}

// A nested All is flattened: its members are asked in its position and ended in reverse.
func TestAllNested(t *testing.T) {
	var j journal
	p := policy.All(
		policy.All(j.member("a", nil), policy.All()),
		policy.Named("n", policy.All(j.member("b", nil), j.member("c", nil))),
		policy.All(policy.All(j.member("d", nil), j.member("e", nil))),
	)
	admit(t, p, resource.Request{})(ok)
	j.want(t, "ask a", "ask b", "ask c", "ask d", "ask e", "done e 1", "done d 1", "done c 1", "done b 1", "done a 1")
}

func TestAllOfLittle(t *testing.T) {
	if done, err := policy.All().Admit(t.Context(), resource.Request{}); done != nil || err != nil {
		t.Errorf("All of nothing: a Done, or %v", err)
	}
	l := policy.Limit(1)
	if p := policy.All(l); p != resource.Admission(l) {
		t.Errorf("All of one is a %T", p)
	}
	if p := policy.All(policy.All(), policy.All(l)); p != resource.Admission(l) {
		t.Errorf("All of nothing and of one is a %T", p)
	}
	if p := policy.Any(l); p != resource.Admission(l) {
		t.Errorf("Any of one is a %T", p)
	}
	none := &ledger{noDone: true}
	if done, err := policy.All(none, none, none).Admit(t.Context(), resource.Request{}); done != nil || err != nil {
		t.Errorf("All of members that want to know nothing: a Done, or %v", err)
	}
	// The only Done of several members is returned unchanged.
	one := &ledger{}
	admit(t, policy.All(none, one, none), resource.Request{})(failed)
	if o := one.last.Load(); o == nil || o.Err != errBoom || one.check() != nil {
		t.Errorf("outcome %+v, %v", o, one.check())
	}
	// The argument slice may be modified afterwards.
	ps := []resource.Admission{none, one}
	p := policy.All(ps...)
	ps[1] = refusing(errBoom)
	admit(t, p, resource.Request{})(ok)
}

// If a member panics or calls Goexit, the permits of the others are returned and the panic
// or Goexit continues.
func TestAllMemberDoesNotReturn(t *testing.T) {
	for name, test := range map[string]struct {
		end  func()
		want any
	}{
		"panic":  {func() { panic(errBoom) }, errBoom},
		"goexit": {runtime.Goexit, errGoexit},
	} {
		ends := &ledger{before: func(context.Context, resource.Request) error { test.end(); return nil }}
		for before := range 4 {
			t.Run(fmt.Sprintf("%s in Admit after %d", name, before), func(t *testing.T) {
				l := &ledger{}
				var ps []resource.Admission
				for range before {
					ps = append(ps, l)
				}
				p := policy.All(append(ps, ends, l)...)
				if how := caught(func() { p.Admit(context.Background(), resource.Request{}) }); how != test.want {
					t.Errorf("ended with %v, want %v", how, test.want)
				}
				if err := l.check(); err != nil || l.given.Load() != int64(before) {
					t.Errorf("%d given, want %d; %v", l.given.Load(), before, err)
				}
				if o := l.last.Load(); before > 0 && *o != ignored {
					t.Errorf("outcome %+v, want Ignored", *o)
				}
			})
		}
		for at := range 4 {
			t.Run(fmt.Sprintf("%s in Done %d", name, at), func(t *testing.T) {
				l := &ledger{}
				fatal := &ledger{after: func(resource.Outcome) { test.end() }}
				ps := []resource.Admission{l, l, l, l}
				ps[at] = fatal
				done := admit(t, policy.All(ps...), resource.Request{})
				if how := caught(func() { done(failed) }); how != test.want {
					t.Errorf("ended with %v, want %v", how, test.want)
				}
				for _, l := range []*ledger{l, fatal} {
					if err := l.check(); err != nil || l.last.Load().Err != errBoom {
						t.Errorf("%v; outcome %+v", err, l.last.Load())
					}
				}
				// The pooled chain is usable again.
				admit(t, policy.All(l, l, l), resource.Request{})(ok)
				if err := l.check(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// Every Done is called even if all of them panic.
func TestAllEveryDonePanics(t *testing.T) {
	fatal := &ledger{after: func(resource.Outcome) { panic(errBoom) }}
	done := admit(t, policy.All(fatal, fatal, fatal), resource.Request{})
	if how := caught(func() { done(ok) }); how != errBoom {
		t.Errorf("ended with %v, want a panic", how)
	}
	if err := fatal.check(); err != nil || fatal.given.Load() != 3 {
		t.Errorf("%d given: %v", fatal.given.Load(), err)
	}
	refused := policy.All(fatal, fatal, refusing(errBoom)) // during the rollback too
	if how := caught(func() { refused.Admit(context.Background(), resource.Request{}) }); how != errBoom {
		t.Errorf("ended with %v, want a panic", how)
	}
	if err := fatal.check(); err != nil || fatal.given.Load() != 5 {
		t.Errorf("%d given: %v", fatal.given.Load(), err)
	}
}

// A member may call the same All again, from Admit and from Done.
func TestAllReentered(t *testing.T) {
	l := &ledger{}
	var p resource.Admission
	deep := 0
	again := &ledger{
		before: func(ctx context.Context, r resource.Request) error {
			if deep++; deep < 5 {
				admit(t, p, r)(ok)
			}
			return nil
		},
		after: func(resource.Outcome) {
			if deep++; deep < 20 {
				admit(t, p, resource.Request{})(ok)
			}
		},
	}
	p = policy.All(l, again, l)
	admit(t, p, resource.Request{})(ok)
	for _, l := range []*ledger{l, again} {
		if err := l.check(); err != nil {
			t.Error(err)
		}
	}
	if deep < 20 {
		t.Errorf("only %d deep", deep)
	}
}

func TestAny(t *testing.T) {
	full := policy.Limit(1)
	defer admit(t, full, resource.Request{})(ok)
	l := &ledger{}
	var asked []bool
	noWait := policy.AdmissionFunc(func(_ context.Context, r resource.Request) (resource.Done, error) {
		asked = append(asked, r.NoWait)
		return nil, &resource.Rejection{Policy: "q", RetryAfter: time.Minute, Err: errBoom}
	})
	soon := refusing(&resource.Rejection{RetryAfter: time.Second})

	p := policy.Any(noWait, full, l, noWait)
	admit(t, p, resource.Request{})(failed)
	if !slices.Equal(asked, []bool{true}) || l.check() != nil || l.last.Load().Err != errBoom {
		t.Errorf("asked with NoWait %v; %v", asked, l.check())
	}

	asked = nil
	p = policy.Any(noWait, full, soon, noWait)
	refused(t, p, resource.Request{}, "any", errBoom, time.Second)
	refused(t, p, resource.Request{NoWait: true}, "any", policy.ErrFull, time.Second)
	if !slices.Equal(asked, []bool{true, false, true, true}) {
		t.Errorf("asked with NoWait %v: only the last may block, and only if the caller lets it", asked)
	}
	refused(t, policy.Any(full, refusing(errBoom)), resource.Request{}, "any", errBoom, 0)
	refused(t, policy.Any(full, full), resource.Request{}, "any", policy.ErrFull, 0)
}

// If the context ends while the last member blocks, that is not a refusal.
func TestAnyCallerLeaves(t *testing.T) {
	gate := policy.NewGate()
	gate.Pause(errBoom)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, p := range []resource.Admission{policy.Any(refusing(errBoom), gate), policy.Named("n", gate)} {
		if _, err := p.Admit(ctx, resource.Request{}); err != context.Canceled {
			t.Errorf("%v, want the context's end", err)
		}
	}
	p := policy.Any(gate, policy.Limit(1)) // a refusal by the last member
	admit(t, p, resource.Request{})
	refusedCtx(t, ctx, p, resource.Request{}, "any", policy.ErrFull, 0)
}

// An All can be a member of an Any; the permits that it took before a refusal are returned.
func TestAnyOfAll(t *testing.T) {
	first, second := policy.Limit(1), policy.Limit(1)
	gate := policy.NewGate()
	gate.Pause(nil)
	p := policy.Any(policy.All(first, second, gate), policy.All(second, first))
	done := admit(t, p, resource.Request{})
	wantInFlight(t, first, 1)
	wantInFlight(t, second, 1)
	refused(t, p, resource.Request{}, "any", policy.ErrFull, 0)
	done(ok)
	wantInFlight(t, first, 0)
	wantInFlight(t, second, 0)
}

func TestByPriority(t *testing.T) {
	low, high := policy.Limit(1), policy.Limit(1)
	p := policy.ByPriority(func(priority int) resource.Admission {
		switch {
		case priority < 0:
			return low
		case priority == 0:
			return high
		}
		return nil
	})
	defer admit(t, p, resource.Request{Priority: -1})(ok)
	refused(t, p, resource.Request{Priority: -5}, "limit", policy.ErrFull, 0)
	defer admit(t, p, resource.Request{})(ok)
	wantInFlight(t, low, 1)
	wantInFlight(t, high, 1)
	if done, err := p.Admit(t.Context(), resource.Request{Priority: 1}); done != nil || err != nil {
		t.Errorf("what is not limited: a Done, or %v", err)
	}
}

func TestNamed(t *testing.T) {
	inner := errors.New("inner")
	for _, test := range []struct {
		err   error
		retry time.Duration
	}{
		{&resource.Rejection{Policy: "other", RetryAfter: time.Second, Err: inner}, time.Second},
		{fmt.Errorf("so: %w", &resource.Rejection{RetryAfter: time.Second, Err: inner}), time.Second},
		{inner, 0},
	} {
		refused(t, policy.Named("mine", refusing(test.err)), resource.Request{}, "mine", inner, test.retry)
	}
	// The refusal of the named policy itself is not modified.
	full := policy.Limit(1)
	defer admit(t, policy.Named("mine", full), resource.Request{})(ok)
	refused(t, policy.Named("mine", full), resource.Request{}, "mine", policy.ErrFull, 0)
	refused(t, full, resource.Request{}, "limit", policy.ErrFull, 0)
}
