package proof_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/respool/respool/resource"
	"pgregory.net/rapid"
)

// script is a whole test as data: the configuration of the pool, the behavior of the world,
// and the operations with their times. It is drawn before the run, so that it can be
// printed, minimized and run against another pool.
type script struct {
	shape   shape
	makes   []makePlan // of the first creations; later ones succeed
	admits  []verdict  // of the first admissions; later ones are granted
	gates   []verdict
	quotas  []verdict
	queries []verdict // of the faulty queue
	ops     []op
}

// shape is the part of the Config that a script chooses.
type shape struct {
	max, minIdle       int
	makeTimeout, sweep time.Duration
	order              resource.Order
	outage             resource.OutageMode
	admission, gate    bool
	quota              bool
	eviction, health   string
	predicted          bool // the eviction has a Horizon
	queue              string
	brokenAsks         bool
}

// makePlan is the behavior of one creation and of its result.
type makePlan struct {
	how     string // ok, fails, panics, goexits, hangs, ignores, tardy (comes when its context has ended)
	after   time.Duration
	watch   string // quiet, panics, invalidates
	destroy string // ok, panics, goexits
	dying   time.Duration
}

// verdict is the answer of a policy to one call.
type verdict string

// op is one step. a and b select its objects, modulo their number.
type op struct {
	kind string
	a, b int
	gap  time.Duration // virtual time before it
}

var opKinds = []string{
	"acquire", "acquire", "acquire", "acquire", "acquire", "deadline", "deadline", "nowait", "ended", "do", "do",
	"try", "try", "cancel", "cancel", "release", "release", "release", "release", "release", "fail", "fail",
	"discard", "hijack", "race", "stale", "stale", "invalidate", "invalidate", "invalidate", "sicken", "warm", "grow", "shrink",
	"reset", "sleep", "sleep", "fresh", "fresh", "fresh",
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// drawScript draws a script. The features are drawn first, so that many scripts use few of
// them.
func drawScript(t *rapid.T) script {
	some := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, name) == 3 }
	s := script{shape: drawShape(t)}
	if some("trouble") || some("more trouble") {
		s.makes = rapid.SliceOfN(rapid.Custom(drawMake), 0, 30).Draw(t, "makes")
	} else {
		after := rapid.SampledFrom([]time.Duration{0, ms(3), ms(50), ms(400)}).Draw(t, "make time")
		s.makes = []makePlan{{how: "ok", after: after, watch: "quiet", destroy: "ok"}}
	}
	verdicts := rapid.SliceOfN(rapid.SampledFrom([]verdict{"yes", "yes", "nil", "no", "later", "slow", "panics", "goexits"}), 0, 20)
	if s.shape.admission {
		s.admits = verdicts.Draw(t, "admits")
	}
	if s.shape.gate {
		s.gates = verdicts.Draw(t, "gates")
	}
	if s.shape.quota {
		s.quotas = verdicts.Draw(t, "quotas")
	}
	if s.shape.queue == "broken" {
		s.queries = rapid.SliceOfN(rapid.SampledFrom([]verdict{"yes", "yes", "nil", "no", "panics"}), 0, 30).Draw(t, "queries")
	}
	s.ops = rapid.SliceOfN(rapid.Custom(drawOp), 1, 60).Draw(t, "ops")
	if some("close") {
		at := rapid.IntRange(0, len(s.ops)-1).Draw(t, "close at")
		s.ops[at].kind = "close"
	}
	return s
}

func drawShape(t *rapid.T) shape {
	pick := func(name string, from ...string) string { return rapid.SampledFrom(from).Draw(t, name) }
	yes := func(name string) bool { return rapid.IntRange(0, 4).Draw(t, name) == 4 }
	c := shape{
		max:         rapid.IntRange(1, 5).Draw(t, "max"),
		makeTimeout: rapid.SampledFrom([]time.Duration{ms(30_000), ms(1100), ms(200)}).Draw(t, "make timeout"),
		sweep:       rapid.SampledFrom([]time.Duration{ms(10_000), ms(300)}).Draw(t, "sweep"),
		order:       rapid.SampledFrom([]resource.Order{resource.NewestFirst, resource.OldestFirst}).Draw(t, "order"),
		outage:      rapid.SampledFrom([]resource.OutageMode{resource.FailFast, resource.KeepWaiting}).Draw(t, "outage"),
		admission:   yes("admission"), gate: yes("gate"), quota: yes("quota"),
		eviction:   pick("eviction", "", "", "", "leases", "age", "idle", "panics"),
		health:     pick("health", "", "", "", "honest", "slow", "panics"),
		queue:      pick("queue", "", "", "", "", "newest", "broken"),
		brokenAsks: yes("broken"),
	}
	if c.eviction != "" {
		c.predicted = rapid.Bool().Draw(t, "predicted")
	}
	if yes("min idle") {
		c.minIdle = rapid.IntRange(1, c.max).Draw(t, "min idle size")
	}
	return c
}

func drawMake(t *rapid.T) makePlan {
	pick := func(name string, from ...string) string { return rapid.SampledFrom(from).Draw(t, name) }
	return makePlan{
		how:     pick("how", "ok", "ok", "ok", "ok", "fails", "fails", "panics", "goexits", "hangs", "ignores", "tardy"),
		after:   rapid.SampledFrom([]time.Duration{0, ms(3), ms(20), ms(150), ms(900)}).Draw(t, "after"),
		watch:   pick("watch", "quiet", "quiet", "quiet", "quiet", "panics", "invalidates"),
		destroy: pick("destroy", "ok", "ok", "ok", "panics", "goexits"),
		dying:   rapid.SampledFrom([]time.Duration{0, 0, ms(5), ms(300), ms(4000)}).Draw(t, "dying"),
	}
}

func drawOp(t *rapid.T) op {
	return op{
		kind: rapid.SampledFrom(opKinds).Draw(t, "kind"),
		a:    rapid.IntRange(0, 11).Draw(t, "a"),
		b:    rapid.IntRange(0, 5).Draw(t, "b"),
		gap:  rapid.SampledFrom([]time.Duration{0, 0, 0, ms(10), ms(60), ms(500), ms(3000)}).Draw(t, "gap"),
	}
}

// String returns the script, one line per step.
func (s script) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%+v\n", s.shape)
	for i, m := range s.makes {
		fmt.Fprintf(&b, "make %d: %+v\n", i+1, m)
	}
	fmt.Fprintf(&b, "admits %v gates %v quotas %v queries %v\n", s.admits, s.gates, s.quotas, s.queries)
	for i, o := range s.ops {
		fmt.Fprintf(&b, "%2d. +%-8v %s(%d, %d)\n", i, o.gap, o.kind, o.a, o.b)
	}
	return b.String()
}
