package suite

import (
	"fmt"
	"slices"
)

// A rule says how the samples of a figure are held against its bound.
type rule uint8

const (
	told         rule = iota // no goal: the figure is only told
	ratioAtMost              // the median over the rounds of ours / theirs
	ratioAtLeast             // the same
	atMost                   // the median of ours
	neverOver                // the largest of ours
	atLeast                  // the median of ours
	always                   // each of ours is the bound
)

// A goal is one figure of the table and what it has to reach.
type goal struct {
	row    string
	work   string // in words
	metric string
	rule   rule
	bound  float64
	than   string // the entrant to compare with; "" is the best of the others
	more   bool   // more of it is better, which matters where the best is sought
	level  bool   // neither is better
	allocs bool   // and it must allocate nothing, amortised
	why    string // why it is not reached, as far as that is known, where it is not
}

// noAllocs is what counts as none, an operation: what the runtime and the
// timing itself allocate now and then is below it.
const noAllocs = 0.01

// String is how the table shows the goal.
func (g goal) String() string {
	var s string
	switch b := number(g.bound); g.rule {
	case ratioAtMost:
		s = fmt.Sprintf("ratio <= %s", b)
	case ratioAtLeast:
		s = fmt.Sprintf("ratio >= %s", b)
	case atMost:
		s = "<= " + b
	case neverOver:
		s = "never > " + b
	case atLeast:
		s = ">= " + b
	case always:
		s = "always " + b
	}
	if g.allocs {
		s += ", 0 allocs"
	}
	return s
}

// Why a goal that is not reached is not, where that has been found out.
const (
	whyCrowd = "who waits parks and is woken, whatever the pool does: half of the samples of the profile below are the " +
		"scheduler's. A channel, which keeps neither an order nor counts, stands beside"
	whyStorm = "who came first is served first, though he has less time left than his work takes: with strict order more of the " +
		"work is late. The policies WithinDeadline and CoDel refuse such callers at once"
	whyLease = "a lease looks into the socket twice, so that nothing of the last lease is taken for an answer to this one, is " +
		"acquired and released, and follows the frames"
	whyMessage = "a message goes through a net.Conn of ours that follows the frames, 0.5 to 0.8 us"
	whyWorkers = "both processors are busy, so that what a lease adds to an exchange is missed in full"
	whyDial    = "both sides cost processor time alone, as on loopback a dial has no round trip to wait for; with a handshake that " +
		"takes time see the users' claim"
	whyEvict = "an eviction is asked twice, when its resource is lent and when it comes back, each time through an interface and " +
		"with an Info that has to be filled in"
	whyCounts = "an admission that counts is called through an interface at both ends, and adds atomically at each"
)

// goals is every figure of the table. This is the one place where the goals
// are written down.
func goals(s size) []goal {
	const p = "puddle"
	out := []goal{
		{row: "alone", work: "acquire and release, one goroutine", metric: "ns/op", rule: ratioAtMost, bound: 0.25, than: p, allocs: true},
		{row: "per-core", work: "one goroutine a core, size 64", metric: "ns/op", rule: ratioAtMost, bound: 0.25, than: p, allocs: true},
		{row: "64-on-4", work: "64 goroutines on 4, Gosched while holding", metric: "ns/op", rule: ratioAtMost, bound: 0.5, than: p, allocs: true, why: whyCrowd},
		{row: "64-on-4-own-ctx", work: "  each with a context of its own", metric: "ns/op", rule: ratioAtMost, bound: 0.5, than: p, allocs: true, why: whyCrowd},
		{row: "spike-short", work: "50 at once, 5 idle, make 150 ms, work 2 ms", metric: "total ms", rule: atMost, bound: 30, than: p},
		{row: "spike-short", work: "  makes", metric: "makes", rule: neverOver, bound: 3, than: p},
		{row: "spike-long", work: "the same, work 2 s: the last is served", metric: "served ms", rule: atMost, bound: 180, than: p},
		{row: "spike-long", work: "  makes", metric: "makes", rule: always, bound: 45, than: p, level: true},
		{row: "zero-work", work: "5,000 acquires without work, empty pool, 50 goroutines", metric: "makes long", rule: atMost, bound: 1.5, than: p},
		{row: "zero-work", work: "  makes", metric: "makes", than: p, level: true},
		{row: "dead-factory", work: "200 callers, max 10: makes in the first second", metric: "makes", rule: neverOver, bound: 15, than: p},
		{row: "dead-factory", work: "  all are told", metric: "told ms", rule: atMost, bound: 250, than: p},
		{row: "dead-factory", work: "  makes at once until a make's time after the first success", metric: "burst", rule: neverOver, bound: 2, than: p},
		{row: "dead-factory", work: "  recovery until the first make has succeeded", metric: "recovered ms", than: p},
		{row: "lost-wakeup", work: "2 goroutines on 1, 400,000 rounds: longest wait", metric: "longest ms", rule: neverOver, bound: 20, than: p},
		{row: "hand-off", work: "8 goroutines on 1, hold 200 us, then 200 us of CPU", metric: "us/op", rule: ratioAtMost, bound: 0.3, than: p},
		{row: "release-64-on-16", work: "64 goroutines on 16 TCP connections, echo: Release p99", metric: "release p99 us", rule: atMost, bound: 20, than: p},
		{row: "release-64-on-16", work: "  acquire, echo and release p50", metric: "p50 us", than: p},
		{row: "release-64-on-16", work: "  p99", metric: "p99 us", than: p},
		{row: "release-64-on-16", work: "  a second", metric: "op/s", than: p, more: true},
		{row: "release-alone", work: "one goroutine on one connection: p50", metric: "p50 us", rule: ratioAtMost, bound: 1.03, than: p},
		{row: "fair-hold-1ms", work: "50 goroutines on 2: fewest/most, hold 1 ms", metric: "fewest/most", rule: atLeast, bound: 0.9, than: p},
		{row: "fair-hold-20us", work: "  hold 20 us of CPU", metric: "fewest/most", than: p, more: true},
		{row: "fair-hold-0", work: "  hold nothing", metric: "fewest/most", than: p, more: true},
		{row: "timeout-storm", work: "600 callers, 20-50 ms each, on 8 of 1 ms: useful", metric: "useful", rule: ratioAtLeast, bound: 0.95, more: true, why: whyStorm},
		{row: "idle-acquire", work: "acquire with 100,000 idle, beside 10 idle", metric: "ns/op", rule: ratioAtMost, bound: 1.2, than: "10 idle", allocs: true},
		{row: "idle-sweep", work: "  CPU of a sweep of 100,000 idle", metric: "cpu ms", rule: atMost, bound: 10},
		{row: "idle-stats", work: "  Stats with 100,000 idle, beside 10 idle", metric: "ns/op", rule: ratioAtMost, bound: 1.5, than: "10 idle"},
		{row: "keyed", work: "acquire and release by key, 10,000 keys, beside one pool", metric: "ns/op", rule: ratioAtMost, bound: 2, than: "one pool", allocs: true},
	}
	return slices.Concat(out, sweepGoals(s), policyGoals(), watchGoals(), wsGoals(), floorsGoals())
}
