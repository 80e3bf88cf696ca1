package ledgertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/respool/respool/policy/fleet"
)

// Harness is a ledger to be checked, with the clock and the faults of its engine. Open is
// required.
type Harness struct {
	// Open returns a client of the engine. Run calls it several times: each client must see
	// what the others recorded. It may return the same ledger each time.
	Open func() fleet.Ledger

	// Advance advances the engine's clock, and no other, by d. nil: the engine and the test
	// share a clock, on which the checks sleep.
	Advance func(d time.Duration)

	// Lease is the shortest lease that the engine supports, and the unit of the checks. 0: one
	// second.
	Lease time.Duration

	// Late is how long after the end of its lease the engine may forget a holder. 0: it
	// forgets the holder at the end.
	Late time.Duration

	// Claims is how many claims the check of random claims makes. 0: 2000.
	Claims int

	// Lose deletes all data of the engine, as a restart without its data does. nil: the
	// checks of that loss are left out.
	Lose func()

	// Stall makes the engine stop answering until resume is called. nil: the check of that
	// is left out.
	Stall func() (resume func())

	// Broken has ledgers that must refuse or fail every claim. The key says what is wrong:
	// an address without a listener, a wrong password.
	Broken map[string]fleet.Ledger

	// Secrets are texts that no error of a broken or stalled ledger may contain.
	Secrets []string
}

// long returns a lease that does not end during the checks.
func (h *Harness) long() time.Duration { return 60 * h.Lease }

// check is one rule of the contract.
type check struct {
	rule  string
	run   func(k *kit)
	fresh bool // the quota must be unknown to the ledger
}

// checks are in this order because later rules rely on earlier ones: the first failure names
// the rule that is broken.
var checks = []check{
	{"learning", (*kit).learning, true},
	{"fair targets", (*kit).targets, false},
	{"a claim is absolute", (*kit).absolute, false},
	{"join, grow, shrink and leave", (*kit).lifeOfHolder, false},
	{"growth stops at the target", (*kit).grows, false},
	{"never beyond the limit", (*kit).limited, false},
	{"what a holder has is recorded", (*kit).recorded, false},
	{"stale claims are refused", (*kit).stale, false},
	{"the smallest limit", (*kit).smallestLimit, false},
	{"quotas are separate", (*kit).separate, false},
	{"invalid claims are refused", (*kit).invalid, false},
	{"the fence grows", (*kit).fenced, false},
	{"expiry by the engine's clock", (*kit).expiry, false},
	{"random claims, as the model", (*kit).random, false},
	{"many holders at once", (*kit).concurrent, false},
	{"the context ends a claim", (*kit).context, false},
	{"errors", (*kit).broken, false},
	{"rates", (*kit).rates, false},
	{"loss of all data", (*kit).loss, false},
}

// Run checks the ledger of the Harness that open returns. It calls open once, and stops at the
// first rule that is broken.
//
//   - learning: a quota without any record grants what holders have and no more, for the
//     lease of the first claim; then what they want.
//   - fair targets are those of [fleet.Targets], with minimums and priorities.
//   - a claim is absolute: repeated with the next Seq it changes nothing.
//   - join, grow, shrink and leave: the grant, Total and Holders follow each claim. The
//     units of a holder that left are granted to others, and the quota stays known when the
//     last has left.
//   - growth stops at the target: a claim is granted no more than its fair target, apart
//     from what the holder has.
//   - never beyond the limit: no claim is granted more than the limit leaves, apart from
//     what the holder has.
//   - what a holder has is recorded, beyond the limit too.
//   - stale claims are refused: a claim with a Seq that the ledger has seen, or a smaller
//     one, fails with [fleet.ErrStale] and changes nothing.
//   - the smallest limit that a live holder states applies; Highest has the largest.
//   - quotas are separate, whatever their names have in common.
//   - invalid claims are refused with [fleet.ErrClaim] and change nothing.
//   - the fence grows in each grant, and grows on when all holders have left.
//   - expiry by the engine's clock: a holder is forgotten when the lease of its last claim
//     has ended, and not before.
//   - random claims: every field of every grant is that of the [Model].
//   - many concurrent holders, each of which stops using units before it states fewer: units
//     in use never exceed the limit, and no claim fails.
//   - the context ends a claim: it returns within five seconds of the end of its context,
//     also while the engine does not answer.
//   - errors: claims of [Harness.Broken] fail; no error contains one of [Harness.Secrets].
//   - rates, if the ledger is a [fleet.RateLedger]: over any time a bucket gives no more
//     than its burst and the tokens gained in that time; RetryAfter is the time until the
//     next token.
//   - loss of all data: the ledger is learning again. Holders that state what they have are
//     granted it, and the limit holds when they grow afterwards.
func Run(t testing.TB, open func(t testing.TB) Harness) {
	t.Helper()
	h := open(t)
	if h.Open == nil {
		t.Fatal("ledgertest: Harness.Open is nil")
	}
	if h.Lease == 0 {
		h.Lease = time.Second
	}
	if h.Claims == 0 {
		h.Claims = 2000
	}
	s := seed(t)
	prefix := fmt.Sprintf("ledgertest-%x/", rand.Uint64())
	clients := []fleet.Ledger{h.Open(), h.Open()}
	var all []*kit
	for i, c := range checks {
		k := &kit{TB: t, h: h, rule: c.rule, prefix: fmt.Sprintf("%s%d/", prefix, i), seed: s, client: clients}
		k.rand = k.source(0)
		all = append(all, k)
	}
	// The quotas of all checks learn at the same time, which takes one lease.
	for i, c := range checks {
		if c.fresh {
			continue
		}
		for _, name := range quotas {
			if !all[i].do(func() { all[i].found(name) }) {
				return
			}
		}
	}
	// The first lease that ends shows by which clock. Later checks rely on it.
	first := &kit{TB: t, h: h, rule: "expiry by the engine's clock", prefix: prefix, seed: s, client: clients}
	if !first.do(first.beforeFirstLease) {
		return
	}
	if !first.do(first.afterFirstLease) {
		return
	}
	for i, c := range checks {
		for _, name := range quotas {
			if !c.fresh && !all[i].do(func() { all[i].learned(name) }) {
				return
			}
		}
	}
	for i, c := range checks {
		if !all[i].repeat(c) {
			return
		}
	}
}

// repeat runs a check, again if the machine was too slow for it, and reports whether it
// passed.
func (k *kit) repeat(c check) bool {
	k.Helper()
	const attempts = 5
	for n := 1; ; n++ {
		k.slow = false
		k.validFor(0)
		passed := k.do(func() { c.run(k) })
		switch {
		case !k.slow || !passed:
			return passed
		case n == attempts:
			k.validFor(0)
			k.errorf("not checked: in each of %d attempts the machine was too slow for leases of %v", n, k.h.Lease)
			return false
		}
		k.prefix += "again/"
		if c.fresh {
			continue
		}
		if !k.do(func() {
			for _, name := range quotas {
				k.found(name)
			}
			k.pass(k.h.Lease)
			for _, name := range quotas {
				k.learned(name)
			}
		}) {
			return false
		}
	}
}

// do runs one part of a check and reports whether it passed.
func (k *kit) do(f func()) bool {
	k.Helper()
	failure := <-runAsync(f)
	if failure != "" && !k.bad.Load() && !k.slow {
		k.errorf("%s", failure)
	}
	return !k.bad.Load()
}

// quotas are the names that the checks use.
var quotas = []string{"q", "r"}

// found makes the quota known to the ledger. Its learning ends after one lease.
func (k *kit) found(name string) {
	h := k.holder(name, "founder", 1<<30)
	h.next.Lease = k.h.Lease
	h.claim(0, 1)
	h.claim(0, 0)
}

// learned waits until the learning of a quota that was found has ended, but not longer than
// the engine may be late.
func (k *kit) learned(name string) {
	h := k.holder(name, "founder", 1<<30)
	k.expire(0, func() bool { return !h.claim(0, 0).Learning })
}

// beforeFirstLease and afterFirstLease check the first lease that ends.
func (k *kit) beforeFirstLease() {
	a, b := k.holder("fresh", "dies", 10), k.holder("fresh", "renews", 10)
	a.next.Lease, b.next.Lease = k.h.Lease, k.h.Lease
	a.claim(2, 2)
	b.claim(3, 3)
	b.next.Lease = k.h.long()
	b.claim(3, 3)
}

func (k *kit) afterFirstLease() {
	c := k.holder("fresh", "c", 10)
	k.expire(k.h.Lease, func() bool { return c.claim(1, 1).Holders < 3 })
	g := c.claim(1, 1)
	switch {
	case g.Holders == 3:
		k.fatalf("a holder is live although its lease of %v has ended by the engine's clock\n%s", k.h.Lease, showGrant(g))
	case g.Holders != 2 || g.Total != 4:
		k.fatalf("%s: Total %d and Holders %d, want 4 and 2: a renewal gave the other a lease of %v\n%s", show(c.next), g.Total, g.Holders, k.h.long(), showGrant(g))
	}
}

func (k *kit) learning() {
	a, b, c := k.holder("fresh", "a", 10), k.holder("fresh", "b", 10), k.holder("fresh", "c", 10)
	lease := 2 * k.h.Lease
	a.next.Lease = lease
	k.validFor(lease)
	learns := func(h *holder, has, want, total, holders int) {
		k.Helper()
		g := h.wants(has, want, has, "the ledger had no record of the quota: it learns for the lease of the first claim, and grants what holders have")
		if !g.Learning {
			k.fatalf("%s: Learning is false, want true: the lease of the first claim has not ended\n%s", show(h.next), showGrant(g))
		}
		if g.Total != total || g.Holders != holders {
			k.fatalf("%s: Total %d and Holders %d, want %d and %d\n%s", show(h.next), g.Total, g.Holders, total, holders, showGrant(g))
		}
	}
	learns(a, 3, 5, 3, 1)
	a.next.Lease = k.h.long() // must not prolong the learning
	learns(a, 3, 5, 3, 1)
	learns(b, 0, 4, 3, 2)
	learns(c, 6, 6, 9, 3)
	learns(c, 4, 6, 7, 3)
	k.validFor(0)
	k.expire(lease, func() bool { return !b.claim(0, 0).Learning })
	g := b.wants(0, 2, 2, "the lease of the first claim has ended, and the others have 7 of 10")
	if g.Learning {
		k.fatalf("%s: Learning is true, want false: the lease of the first claim has ended\n%s", show(b.next), showGrant(g))
	}
}

// count checks Total and Holders of a grant.
func (h *holder) count(g fleet.Grant, total, holders int) {
	h.k.Helper()
	if g.Total != total || g.Holders != holders {
		h.k.fatalf("%s: Total %d and Holders %d, want %d and %d\n%s", show(h.next), g.Total, g.Holders, total, holders, showGrant(g))
	}
	if g.Learning {
		h.k.fatalf("%s: Learning is true, want false: the quota is known\n%s", show(h.next), showGrant(g))
	}
	if g.Lease < h.next.Lease || g.Lease > h.next.Lease+h.k.h.Late {
		h.k.fatalf("%s: Lease %v, want %v\n%s", show(h.next), g.Lease, h.next.Lease, showGrant(g))
	}
}

func (k *kit) lifeOfHolder() {
	a, b := k.holder("q", "a", 10), k.holder("q", "b", 10)
	a.count(a.wants(0, 4, 4, "nothing else is granted"), 4, 1)
	b.count(b.wants(0, 3, 3, "there is room for it"), 7, 2)
	a.count(a.wants(4, 6, 6, "a holder grows while there is room"), 9, 2)
	a.count(a.wants(6, 6, 6, "a renewal changes nothing"), 9, 2)
	b.count(b.wants(2, 9, 4, "the limit leaves 4"), 10, 2)
	a.count(a.wants(2, 2, 2, "a holder gives back what it does not want"), 6, 2)
	a.count(a.wants(2, 3, 3, "a holder may want a part of what it gave back"), 7, 2)
	b.count(b.wants(4, 9, 7, "what the other gave back is free"), 10, 2)
	b.wants(0, 0, 0, "a holder that has and wants nothing leaves")
	a.count(a.wants(3, 10, 10, "all others have left"), 10, 1)
	a.wants(0, 0, 0, "a holder that has and wants nothing leaves")
	b.count(b.wants(0, 10, 10, "all have left: the quota stays known and is free"), 10, 1)
	for range 3 {
		a.wants(0, 0, 0, "a holder that left may leave again")
		b.count(b.wants(2, 2, 2, "the other holder has left, once or again"), 2, 1)
	}
}

func (k *kit) grows() {
	a, b := k.holder("q", "a", 10), k.holder("q", "b", 10)
	a.wants(0, 10, 10, "there is no other holder")
	b.wants(0, 10, 0, "others were granted 10 of 10")
	a.wants(4, 10, 5, "two holders want 10 of 10 each: growth stops at the target of 5")
	b.wants(0, 10, 5, "two holders want 10 of 10 each: growth stops at the target of 5")
	b.wants(1, 3, 3, "it wants no more")
	a.wants(5, 10, 7, "the other wants 3 of 10: the target is 7")
	b.wants(3, 10, 3, "others were granted 7 of 10")
	a.wants(6, 10, 6, "two holders want 10 of 10 each: the target is 5, and the holder has 6")
}

func (k *kit) limited() {
	a, b, c := k.holder("q", "a", 10), k.holder("q", "b", 10), k.holder("q", "c", 10)
	a.wants(0, 11, 10, "the limit is 10")
	a.wants(10, 1<<30, 10, "the limit is 10")
	a.wants(0, 7, 7, "a holder may keep what it wants of its grant")
	b.wants(0, 10, 3, "others were granted 7 of 10, whether they use them or not")
	c.wants(0, 1, 0, "others were granted 10 of 10")
	b.wants(3, 10, 3, "others were granted 7 of 10")
	a.wants(0, 10, 5, "others were granted 3 of 10, and the target is 5")
}

func (k *kit) recorded() {
	a, b, c := k.holder("q", "a", 10), k.holder("q", "b", 10), k.holder("q", "c", 10)
	a.count(a.wants(15, 15, 15, "units in use are recorded even beyond the limit"), 15, 1)
	b.count(b.wants(0, 5, 0, "others have more than the limit"), 15, 2)
	b.count(b.wants(2, 5, 2, "units in use are recorded, and others have more than the limit"), 17, 2)
	a.count(a.wants(9, 15, 9, "others have 2 of 10, and the holder has 9"), 11, 2)
	a.count(a.wants(5, 15, 5, "the holder has its target"), 7, 2)
	c.count(c.wants(4, 4, 4, "units in use are recorded, and others have 7 of 10"), 11, 3)
}

func (k *kit) absolute() {
	a, b := k.holder("q", "a", 10), k.holder("q", "b", 10)
	b.wants(0, 2, 2, "nothing else is granted")
	for _, c := range []struct{ has, want, granted int }{{0, 5, 5}, {5, 7, 7}, {3, 3, 3}, {3, 4, 4}} {
		for range 3 {
			a.count(a.wants(c.has, c.want, c.granted, "a claim is absolute: its repetition with the next Seq changes nothing"), 2+c.granted, 2)
		}
	}
}

func (k *kit) stale() {
	a, b := k.holder("q", "a", 10), k.holder("q", "b", 10)
	a.next.Seq = 40
	a.wants(0, 6, 6, "nothing else is granted")
	refused := func(seq uint64, has, want int) {
		k.Helper()
		c := a.next
		c.Seq, c.Has, c.Want = seq, has, want
		for range len(k.client) { // each client
			g, err := k.send(c)
			k.wantStale(c, g, err, "the ledger has seen Seq 41 of that holder")
		}
		b.count(b.wants(1, 1, 1, "the stale claim must change nothing"), 7, 2)
	}
	b.wants(1, 1, 1, "there is room for it")
	refused(41, 0, 6)
	refused(41, 0, 0)
	refused(40, 0, 0)
	refused(1, 9, 9)
	a.wants(6, 6, 6, "the Seq is the next one")
	a.next.Seq += 1 << 40
	a.wants(6, 9, 9, "a Seq may leave some out")
}

func (k *kit) smallestLimit() {
	a, b, c := k.holder("q", "a", 10), k.holder("q", "b", 20), k.holder("q", "c", 6)
	limits := func(h *holder, g fleet.Grant, limit, highest int) {
		k.Helper()
		if g.Limit != limit || g.Highest != highest {
			k.fatalf("%s: Limit %d and Highest %d, want %d and %d: the smallest and the largest that a live holder states\n%s",
				show(h.next), g.Limit, g.Highest, limit, highest, showGrant(g))
		}
	}
	limits(b, b.wants(0, 12, 12, "the only limit is 20"), 20, 20)
	limits(a, a.wants(0, 9, 0, "the smallest limit is 10, and others were granted 12"), 10, 20)
	limits(b, b.wants(11, 14, 11, "the smallest limit is 10, and the holder has 11"), 10, 20)
	limits(c, c.wants(0, 1, 0, "the smallest limit is 6"), 6, 20)
	limits(b, b.wants(5, 14, 5, "the smallest limit is 6, and the holder has 5"), 6, 20)
	c.claim(0, 0)
	limits(a, a.wants(0, 9, 5, "the holder that states 6 has left"), 10, 20)
	a.next.Limit = 30
	limits(a, a.wants(4, 30, 10, "the holder that stated 10 now states 30"), 20, 30)
	a.claim(0, 0)
	limits(b, b.wants(5, 30, 20, "the only limit is 20"), 20, 20)
}

func (k *kit) separate() {
	a, b, c := k.holder("q", "a", 10), k.holder("r", "a", 5), k.holder("r", "b", 5)
	a.wants(0, 10, 10, "nothing else of the quota is granted")
	b.count(b.wants(0, 5, 5, "nothing of that quota is granted"), 5, 1)
	c.count(c.wants(0, 5, 0, "all of the quota is granted"), 5, 2)
	a.count(a.wants(10, 10, 10, "the other quota does not matter"), 10, 1)
	b.claim(0, 0)
	a.count(a.wants(10, 10, 10, "the holder has left the other quota only"), 10, 1)
	// Names that an engine could mistake for another one, for a part of a path, for a
	// pattern or for a range of keys.
	for i, name := range []string{"a", "a/", "a/b", "a/b/", "a:b", "a:b:c", "*", "a*", "a\"b", "a'b", "a\\b", "a%2fb", "a;b", "~", "!"} {
		h := k.holder("names/"+name, "h/"+name, 3)
		if g := h.claim(i%3, i%3); g.Granted != i%3 || g.Total != i%3 || g.Limit != 3 {
			k.fatalf("%s of the quota %q was granted %d of %d, want %d of 3: quotas with other names do not matter\n%s",
				show(h.next), name, g.Granted, g.Limit, i%3, showGrant(g))
		}
	}
}

func (k *kit) invalid() {
	valid := k.holder("q", "h", 10).next
	valid.Seq, valid.Want = 7, 3
	for field, spoil := range map[string]func(c *fleet.Claim){
		"Quota":    func(c *fleet.Claim) { c.Quota = "" },
		"Holder":   func(c *fleet.Claim) { c.Holder = "a b" },
		"Seq":      func(c *fleet.Claim) { c.Seq = 0 },
		"Has":      func(c *fleet.Claim) { c.Has = -1 },
		"Want":     func(c *fleet.Claim) { c.Has = 4 },
		"Min":      func(c *fleet.Claim) { c.Min = -1 },
		"Priority": func(c *fleet.Claim) { c.Priority = -fleet.MaxUnits - 1 },
		"Limit":    func(c *fleet.Claim) { c.Limit = 0 },
		"Lease":    func(c *fleet.Claim) { c.Lease = 0 },
	} {
		c := valid
		spoil(&c)
		g, err := k.send(c)
		if !errors.Is(err, fleet.ErrClaim) || !strings.Contains(err.Error(), field) {
			k.fatalf("%s, whose field %s is invalid, was granted %d with the error %v, want fleet.ErrClaim and the name of the field", show(c), field, g.Granted, err)
		}
	}
	h := k.holder("q", "other", 10)
	h.count(h.wants(1, 1, 1, "invalid claims are not recorded"), 1, 1)
}

func (k *kit) fenced() {
	a, b := k.holder("q", "a", 10), k.holder("q", "b", 10)
	var last uint64
	grows := func(h *holder, has, want int) {
		k.Helper()
		g := h.claim(has, want)
		if g.Fence <= last {
			k.fatalf("%s: Fence %d after %d: it must be larger in each grant of the quota", show(h.next), g.Fence, last)
		}
		last = g.Fence
	}
	for i := range 4 {
		grows(a, 0, i)
		grows(b, 0, 4-i)
		grows(b, 0, 4-i)
	}
	grows(a, 0, 0)
	grows(b, 0, 0)
	grows(a, 0, 1)
}

func (k *kit) expiry() {
	limit := 10
	dies, renews, lives := k.holder("q", "dies", limit), k.holder("q", "renews", limit), k.holder("q", "lives", limit)
	shortens, back := k.holder("q", "shortens", 4), k.holder("q", "back", limit)
	lease := 2 * k.h.Lease // an engine may be late by a part of one
	shortens.claim(1, 1)
	shortens.next.Lease = lease
	back.next.Lease = lease
	k.validFor(lease)
	shortens.claim(1, 1)
	back.claim(1, 1)
	dies.next.Lease = lease
	dies.claim(4, 4)
	renews.next.Lease = lease
	renews.claim(2, 2)
	k.pass(lease * 5 / 8)
	renewed := time.Now()
	renews.claim(2, 2)
	lives.count(lives.wants(0, limit, 0, "no lease has ended"), 8, 5)
	late := dies.next // refused, so it prolongs nothing
	late.Has, late.Want = 4, 4
	g, err := k.send(late)
	k.wantStale(late, g, err, "the ledger has seen that Seq")
	k.validFor(max(1, lease-time.Since(renewed)))
	k.expire(lease*3/8, func() bool { return lives.claim(0, 1).Holders < 3 })
	g = lives.claim(0, 1)
	if g.Holders != 2 {
		k.fatalf("a lease of %v ended by the engine's clock: %d holders are live, want 2, the one that renewed and the one that claims\n%s",
			lease, g.Holders, showGrant(g))
	}
	lives.count(g, 3, 2)
	if g = lives.wants(0, limit, limit-2, "the other leases have ended"); g.Limit != limit {
		k.fatalf("Limit %d, want %d: the lease of the holder that states 4 has ended\n%s", g.Limit, limit, showGrant(g))
	}
	lives.count(g, limit, 2)
	k.validFor(0)
	k.expire(lease, func() bool { return lives.claim(0, 1).Holders == 1 })
	lives.count(lives.wants(0, limit, limit, "all other leases have ended"), limit, 1)
	back.count(back.wants(3, 5, 3, "a holder that comes back after its lease states what it has, and all else is granted"), limit+3, 2)
}

func (k *kit) loss() {
	if k.h.Lose == nil {
		return
	}
	a, b, c := k.holder("q", "a", 10), k.holder("q", "b", 10), k.holder("q", "c", 10)
	a.wants(0, 6, 6, "nothing else is granted")
	b.wants(0, 4, 4, "there is room for it")
	k.h.Lose()
	lease := 2 * k.h.Lease
	c.next.Lease = lease
	learns := func(h *holder, has, want int) {
		k.Helper()
		g := h.wants(has, want, has, "the engine lost all data: it learns what holders have before it grants more")
		if !g.Learning {
			k.fatalf("%s: Learning is false, want true: the engine lost all data\n%s", show(h.next), showGrant(g))
		}
	}
	k.validFor(lease)
	learns(c, 0, 10)
	learns(a, 6, 8)
	c.next.Lease = k.h.long()
	learns(c, 0, 10)
	learns(b, 4, 8)
	k.validFor(0)
	k.expire(lease, func() bool { return !c.claim(0, 10).Learning })
	c.wants(0, 10, 0, "the others stated that they have 10 of 10")
	b.wants(1, 1, 1, "a holder may shrink")
	c.wants(0, 10, 3, "the others have 7 of 10")
}
