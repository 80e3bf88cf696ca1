package compose_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pgregory.net/rapid"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/resource"
)

// verdict is the result of Admit.
type verdict uint8

const (
	admits verdict = iota
	refuses
	panics
)

func (v verdict) String() string { return [...]string{"admits", "refuses", "panics"}[v] }

// node is a policy with its model. The model is sequential and independent of the
// implementation of the policy.
type node interface {
	policy() resource.Admission
	// ask returns the expected verdict for r. If r is admitted, undo ends it.
	ask(r resource.Request) (v verdict, undo func())
	// check returns an error if the counts of policy and model differ.
	check() error
	String() string
}

// cost returns the units of r; ok is false if the Cost is invalid.
func cost(r resource.Request) (n int, ok bool) { return max(1, r.Cost), r.Cost >= 0 }

// limit is a Limiter with its model.
type limit struct {
	p       *policy.Limiter
	max, in int
}

func (n *limit) policy() resource.Admission { return n.p }
func (n *limit) String() string             { return fmt.Sprintf("Limit(%d)", n.max) }

func (n *limit) ask(r resource.Request) (verdict, func()) {
	c, ok := cost(r)
	if !ok || n.in+c > n.max {
		return refuses, nil
	}
	n.in += c
	return admits, func() { n.in -= c }
}

func (n *limit) check() error { return count(n, n.p, n.in, n.max) }

// count compares a Gauge with the model.
func count(n node, g policy.Gauge, in, max int) error {
	if g.InFlight() != in || g.Limit() != max {
		return fmt.Errorf("%v: %d of %d in flight, want %d of %d", n, g.InFlight(), g.Limit(), in, max)
	}
	return nil
}

// shares is a ShareLimiter with its model: a request is admitted if the sum over all classes
// of the units above their guarantees fits the common part.
type shares struct {
	p          *policy.ShareLimiter
	total      int
	guaranteed map[string]int
	used       map[string]int // classes without a guarantee under ""
}

func newShares(total int, guaranteed map[string]int) *shares {
	return &shares{policy.Shares(total, guaranteed), total, guaranteed, make(map[string]int)}
}

func (n *shares) policy() resource.Admission { return n.p }
func (n *shares) String() string             { return fmt.Sprintf("Shares(%d, %v)", n.total, n.guaranteed) }

func (n *shares) ask(r resource.Request) (verdict, func()) {
	c, ok := cost(r)
	class := r.Class
	if n.guaranteed[class] == 0 {
		class = ""
	}
	if !ok {
		return refuses, nil
	}
	n.used[class] += c
	if borrowed, common := n.borrowed(); borrowed > common {
		n.used[class] -= c
		return refuses, nil
	}
	return admits, func() { n.used[class] -= c }
}

func (n *shares) borrowed() (borrowed, common int) {
	common = n.total
	for _, g := range n.guaranteed {
		common -= g
	}
	for class, used := range n.used {
		borrowed += max(0, used-n.guaranteed[class])
	}
	return borrowed, common
}

func (n *shares) check() error {
	in := 0
	for _, used := range n.used {
		in += used
	}
	return count(n, n.p, in, n.total)
}

// reserve is a Reserve over a Limit with its model.
type reserve struct {
	p       policy.Gauged
	n, from int
	of      *limit
	low     int
}

func (n *reserve) policy() resource.Admission { return n.p }
func (n *reserve) String() string             { return fmt.Sprintf("Reserve(%d, %d, %v)", n.n, n.from, n.of) }

func (n *reserve) ask(r resource.Request) (verdict, func()) {
	c, ok := cost(r)
	low := r.Priority < n.from
	if !ok || low && n.low+c > n.of.max-n.n {
		return refuses, nil
	}
	v, undo := n.of.ask(r)
	if v != admits || !low {
		return v, undo
	}
	n.low += c
	return admits, func() { n.low -= c; undo() }
}

func (n *reserve) check() error { return errors.Join(n.of.check(), count(n, n.p, n.of.in, n.of.max)) }

// probe is an Admission that behaves as the class of the request says.
type probe struct {
	name string // for this class it does not simply admit
	does verdict
	in   int // in flight in the model

	out, twice int // in the policy: permits held, permits returned twice
}

func (n *probe) policy() resource.Admission { return policy.AdmissionFunc(n.admit) }
func (n *probe) String() string             { return fmt.Sprintf("probe(%s %v)", n.name, n.does) }

var errProbe = errors.New("probe")

func (n *probe) admit(_ context.Context, r resource.Request) (resource.Done, error) {
	if r.Class == n.name {
		switch n.does {
		case refuses:
			return nil, errProbe
		case panics:
			panic(errProbe)
		}
	}
	n.out++
	ended := false
	return func(resource.Outcome) {
		if ended {
			n.twice++
		}
		ended = true
		n.out--
	}, nil
}

func (n *probe) ask(r resource.Request) (verdict, func()) {
	if r.Class == n.name && n.does != admits {
		return n.does, nil
	}
	n.in++
	return admits, func() { n.in-- }
}

func (n *probe) check() error {
	if n.out != n.in || n.twice != 0 {
		return fmt.Errorf("%v: %d permits held, want %d; %d returned twice", n, n.out, n.in, n.twice)
	}
	return nil
}

// chain is All or Any with its model.
type chain struct {
	p    resource.Admission
	any  bool
	kids []node
}

func (n *chain) policy() resource.Admission { return n.p }

func (n *chain) String() string {
	var parts []string
	for _, k := range n.kids {
		parts = append(parts, k.String())
	}
	name := "All"
	if n.any {
		name = "Any"
	}
	return fmt.Sprintf("%s(%s)", name, strings.Join(parts, ", "))
}

func (n *chain) ask(r resource.Request) (verdict, func()) {
	var held []func()
	undo := func() {
		for _, u := range held {
			u()
		}
	}
	for _, k := range n.kids {
		v, u := k.ask(r)
		switch {
		case v == admits && n.any:
			return admits, u
		case v == admits:
			held = append(held, u)
		case v == panics || !n.any:
			undo()
			return v, nil
		}
	}
	if n.any {
		return refuses, nil
	}
	return admits, undo
}

func (n *chain) check() (err error) {
	for _, k := range n.kids {
		err = errors.Join(err, k.check())
	}
	return err
}

// fork is ByPriority with its model: the second admission for priorities above 0.
type fork struct {
	p    resource.Admission
	kids [2]node
}

func newFork(low, high node) *fork {
	l, h := low.policy(), high.policy()
	return &fork{policy.ByPriority(func(priority int) resource.Admission {
		if priority > 0 {
			return h
		}
		return l
	}), [2]node{low, high}}
}

func (n *fork) policy() resource.Admission { return n.p }
func (n *fork) String() string             { return fmt.Sprintf("ByPriority(%v, %v)", n.kids[0], n.kids[1]) }

func (n *fork) ask(r resource.Request) (verdict, func()) {
	if r.Priority > 0 {
		return n.kids[1].ask(r)
	}
	return n.kids[0].ask(r)
}

func (n *fork) check() error { return errors.Join(n.kids[0].check(), n.kids[1].check()) }

// draw draws a nesting of at most the given depth.
func draw(t *rapid.T, depth int) node {
	kinds := []string{"limit", "shares", "reserve", "probe"}
	if depth > 0 {
		kinds = append(kinds, "all", "all", "any", "fork")
	}
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "limit":
		return drawLimit(t, 1)
	case "shares":
		a, b := rapid.IntRange(0, 3).Draw(t, "a"), rapid.IntRange(0, 3).Draw(t, "b")
		guaranteed := make(map[string]int)
		if a > 0 {
			guaranteed["a"] = a
		}
		if b > 0 {
			guaranteed["b"] = b
		}
		return newShares(max(1, a+b+rapid.IntRange(0, 3).Draw(t, "common")), guaranteed)
	case "reserve":
		of := drawLimit(t, 2)
		n, from := rapid.IntRange(1, of.max-1).Draw(t, "n"), rapid.IntRange(-1, 2).Draw(t, "from")
		return &reserve{p: policy.Reserve(n, from, of.p), n: n, from: from, of: of}
	case "probe":
		return &probe{
			name: rapid.SampledFrom(classes).Draw(t, "at"),
			does: rapid.SampledFrom([]verdict{admits, refuses, panics}).Draw(t, "does"),
		}
	case "fork":
		return newFork(draw(t, depth-1), draw(t, depth-1))
	case "any":
		return drawChain(t, depth, true)
	}
	return drawChain(t, depth, false)
}

func drawLimit(t *rapid.T, least int) *limit {
	n := rapid.IntRange(least, 6).Draw(t, "limit")
	return &limit{p: policy.Limit(n), max: n}
}

func drawChain(t *rapid.T, depth int, any bool) *chain {
	n := &chain{any: any}
	var ps []resource.Admission
	for range rapid.IntRange(1, 4).Draw(t, "members") {
		k := draw(t, depth-1)
		n.kids = append(n.kids, k)
		ps = append(ps, k.policy())
	}
	if n.p = policy.All(ps...); any {
		n.p = policy.Any(ps...)
	}
	return n
}

var classes = []string{"", "a", "b", "c"}
