package conformance

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func upkeep() []Case {
	return []Case{
		{Name: "checks-dial", What: "Five idle items, checks of 30 ms, one caller: no item is made because idle items are being checked.", run: func(p *probe) {
			p.openChecked(5, func(it *peer.Item) error {
				time.Sleep(30 * time.Millisecond)
				return p.check(it)
			})
			before := p.Makes()
			var longest time.Duration
			for end := time.Now().Add(600 * time.Millisecond); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
				began := time.Now()
				l := p.take()
				longest = max(longest, time.Since(began))
				l.Release()
			}
			n := p.Makes() - before
			p.judge(n == 0, "%d makes, longest acquire %s", n, ms(longest))
		}},
		{Name: "checks-reorder", What: "Checks keep the order: the item used last is lent next.", run: func(p *probe) {
			const idle, rounds = 4, 8
			p.openChecked(idle, p.check)
			checked := p.checkedSince(1)
			time.Sleep(4 * checkEvery)
			silent := !checked() // the pool looks at idle items without calling the check
			var ids []string
			same := 0
			for i := range rounds {
				if silent {
					time.Sleep(checkEvery)
				} else {
					p.failIf(!until(p.checkedSince(idle)), "not all are checked")
				}
				time.Sleep(settle)
				l := p.take()
				ids = append(ids, strconv.Itoa(l.Item().ID))
				l.Release()
				if i > 0 && ids[i] == ids[i-1] {
					same++
				}
			}
			p.failIf(same < (rounds-1)*2/3, "lent %s", strings.Join(ids[:5], " "))
		}},
		{Name: "dead-idle", Issues: []string{"livekit/agents#6513", "bifrost#3002"}, What: "An item that dies while it is idle is found by a check, and not lent.", run: func(p *probe) {
			p.openChecked(2, p.check)
			p.mu.Lock()
			p.ill = p.Makes()
			p.mu.Unlock()
			time.Sleep(6 * checkEvery)
			p.failIf(p.take().Item().ID <= p.ill, "a dead item lent")
		}},
		{Name: "lifetime-busy", Issues: []string{"pgx#2560"}, What: "An item that is always in use still ends at its maximum age.", run: func(p *probe) {
			const age = 150 * time.Millisecond
			p.openLazy(1, func(c *peer.Config) { c.MaxAge = age })
			for end := time.Now().Add(6 * age); time.Now().Before(end); {
				l := p.take()
				time.Sleep(5 * time.Millisecond)
				l.Release()
			}
			n := p.Makes()
			p.judge(n >= 3, "%d items in 6 ages", n)
		}},
		// The sweep is so rare that the pool must notice the shortage itself. It gets
		// time to do so: some pools first wait for the broken item's destroy.
		{Name: "min-idle", Issues: []string{"HikariCP#1474", "HikariCP#1830"}, What: "After two items broke, the minimum of two idle items is restored within a second, not only by the next sweep after three.", run: tries(3, func(p *probe) {
			const floor = 2
			p.openLazy(floor, func(c *peer.Config) { c.MinIdle, c.CheckEvery = floor, 3*time.Second })
			c := as[peer.Counter](p)
			p.warm(floor)
			held := p.takeAll(floor)
			began := time.Now()
			for _, l := range held {
				l.Destroy()
			}
			p.failIf(!until(func() bool { _, idle := c.Count(); return idle >= floor }), "not in %v", soon)
			took := time.Since(began)
			p.judge(took < time.Second, "%s", ms(took))
		})},
		// All items are kept busy: some pools look at an age only on release.
		{Name: "jitter-cut", What: "Twelve items made together, with a maximum age of 4.4 s and 0.9 s of jitter, end over at least a quarter of the jitter.", run: func(p *probe) {
			const items, age, jitter = 12, 4400 * time.Millisecond, 900 * time.Millisecond
			p.openLazy(items, func(c *peer.Config) { c.MaxAge, c.Jitter, c.CheckEvery = age, jitter, checkEvery })
			began := time.Now()
			for gone := 0; gone < items && time.Since(began) < age+2*jitter; time.Sleep(20 * time.Millisecond) {
				for _, l := range p.takeAll(items) {
					l.Release()
				}
				gone = p.Makes() - p.living()
			}
			first, last, n := time.Hour, time.Duration(0), 0
			for _, s := range p.Since(began)[:items] {
				if !s.Destroyed.IsZero() {
					lived := s.Destroyed.Sub(s.End)
					first, last, n = min(first, lived), max(last, lived), n+1
				}
			}
			p.failIf(n < items, "%d of %d end", n, items)
			p.judge(last-first >= jitter/4, "over %s", ms(last-first))
		}},
		{Name: "reset-leased", What: "An item that is leased at a Reset is destroyed on release, not lent again.", run: func(p *probe) {
			p.openLazy(2)
			r := as[peer.Resetter](p)
			l := p.take()
			it := l.Item()
			r.Reset()
			l.Release()
			p.failIf(p.take().Item() == it, "lent again")
			p.destroyed(it)
		}},
		{Name: "reset-making", What: "An item that is being made at a Reset is not lent.", run: func(p *probe) {
			p.Takes = 150 * time.Millisecond
			p.openLazy(1)
			r := as[peer.Resetter](p)
			warm := make(chan error, 1)
			go func() { warm <- p.pool.Warm(context.Background(), 1) }()
			p.makeBegins()
			r.Reset()
			receive(warm, soon)
			l, err := p.keepTaking()
			p.succeeds("Acquire", err)
			p.failIf(l.Item().ID == 1, "lent")
		}},
		{Name: "reset-waiters", Issues: []string{"vitess#20187"}, What: "A caller that waits at a Reset is served after it.", run: func(p *probe) {
			p.openLazy(1)
			r := as[peer.Resetter](p)
			l := p.take()
			got := p.askAndSettle()
			r.Reset()
			l.Release()
			p.failIf(await(got, soon).err != nil, "stranded")
		}},
		{Name: "stats-scan", alone: true, What: "Statistics of 3,000 items cost at most eight times as much as those of ten.", run: most(3, func(p *probe) {
			few, many := p.countCost(10), p.countCost(3000)
			p.judge(many <= 8*few, "%v and %v", few, many)
		})},
		{Name: "stats-closed", What: "An item that is being made at Close is destroyed, and not counted afterwards.", run: func(p *probe) {
			p.needs(!p.kind.NoClose)
			p.Takes = 100 * time.Millisecond
			p.openLazy(1)
			c := as[peer.Counter](p)
			go p.pool.Warm(context.Background(), 1)
			p.makeBegins()
			_ = p.closeWithin(soon)
			p.failIf(!until(func() bool { return p.living() == 0 }), "never destroyed")
			time.Sleep(settle)
			total, idle := c.Count()
			p.failIf(total > 0, "%d, of them %d idle", total, idle)
		}},
	}
}

const checkEvery = 50 * time.Millisecond

// openChecked opens a pool of n items that checks the idle ones.
func (p *probe) openChecked(n int, check func(*peer.Item) error) {
	p.checked = map[int]int{}
	p.openLazy(2*n, func(c *peer.Config) { c.Check, c.CheckEvery = check, checkEvery })
	p.warm(n)
}

// check is the pool's Check.
func (p *probe) check(it *peer.Item) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.checked[it.ID]++; it.ID <= p.ill {
		return errors.New("ill")
	}
	return nil
}

// checkedSince returns a condition: n items have been checked since this call.
func (p *probe) checkedSince(n int) func() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := maps.Clone(p.checked)
	return func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		fresh := 0
		for id, c := range p.checked {
			if c > before[id] {
				fresh++
			}
		}
		return fresh >= n
	}
}

// makeBegins fails unless the first make begins.
func (p *probe) makeBegins() {
	p.failIf(!until(func() bool { return p.Makes() == 1 }), "nothing is made ahead")
}

// countCost is the least average time of one Count in a pool of n.
func (p *probe) countCost(n int) time.Duration {
	const batch = 200
	p.openLazy(n)
	c := as[peer.Counter](p)
	p.warm(n)
	best := time.Hour
	for range 20 {
		began := time.Now()
		for range batch {
			c.Count()
		}
		best = min(best, time.Since(began)/batch)
	}
	return max(best, time.Nanosecond)
}
