package ledgertest_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"sync"
	"time"

	"github.com/respool/respool/policy/fleet"
)

// engine is a ledger in memory, and what can be wrong with it. It is written apart from
// Model, so that an error in one of them shows.
type engine struct {
	fault string
	mu    sync.Mutex
	off   time.Duration // by which its clock was advanced
	fixed bool          // its clock does not run otherwise
	q     map[string]*quota
	rates map[string]*bucket
	stall chan struct{} // open while it does not answer
	took  int
	slow  int // claims that take a second from now on
}

type quota struct {
	holders map[string]*record
	learned time.Time
	fence   uint64
	total   int // for the ledger that counts
}

type record struct {
	c       fleet.Claim
	granted int
	ends    time.Time
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newEngine(fault string) *engine {
	return &engine{fault: fault, q: make(map[string]*quota), rates: make(map[string]*bucket)}
}

func (e *engine) now() time.Time {
	if e.fixed && e.fault != "client clock" {
		return time.Unix(0, 0).Add(e.off)
	}
	return time.Now()
}

func (e *engine) advance(d time.Duration) {
	e.mu.Lock()
	e.off += d
	e.mu.Unlock()
}

func (e *engine) lose() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.q = make(map[string]*quota)
}

// client is one client of the engine.
type client struct {
	e    *engine
	fail error
}

func (e *engine) open() fleet.Ledger { return &client{e: e} }

func (c *client) Claim(ctx context.Context, cl fleet.Claim) (fleet.Grant, error) {
	e := c.e
	if c.fail != nil {
		return fleet.Grant{}, c.fail
	}
	e.mu.Lock()
	stall, slow := e.stall, e.slow > 0
	e.slow--
	e.mu.Unlock()
	if slow {
		time.Sleep(time.Second) // the engine is slow
	}
	if stall != nil {
		if e.fault == "deaf to its context" {
			<-stall
		}
		select {
		case <-stall:
		case <-ctx.Done():
			return fleet.Grant{}, ctx.Err()
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.claim(cl)
}

// claim makes one claim. The caller holds e.mu.
func (e *engine) claim(c fleet.Claim) (fleet.Grant, error) {
	is := func(fault string) bool { return e.fault == fault }
	if err := c.Check(); err != nil && !is("accepts anything") {
		return fleet.Grant{}, err
	}
	now := e.now()
	name := c.Quota
	if is("one quota for all") {
		name = path.Dir(name)
	}
	q := e.q[name]
	if q == nil {
		q = &quota{holders: make(map[string]*record), learned: now.Add(c.Lease)}
		e.q[name] = q
	}
	if is("learns with each claim") && now.Before(q.learned) {
		q.learned = now.Add(c.Lease)
	}
	if !is("never forgets") {
		for name, r := range q.holders {
			ends := r.ends
			if is("forgets early") {
				ends = ends.Add(-r.c.Lease / 2)
			}
			if !ends.After(now) {
				delete(q.holders, name)
				if !is("counter drift") {
					q.total -= r.granted
				}
			}
		}
	}
	old := q.holders[c.Holder]
	if old != nil && !is("no Seq") {
		if c.Seq < old.c.Seq || c.Seq == old.c.Seq && !is("repeats a Seq") {
			if is("an unnamed error") {
				return fleet.Grant{}, errors.New("too old")
			}
			if is("stale claims renew") {
				old.ends = now.Add(c.Lease)
			}
			return fleet.Grant{}, fmt.Errorf("refused: %w", fleet.ErrStale)
		}
	}
	limit, highest := c.Limit, c.Limit
	others := 0
	for name, r := range q.holders {
		if name == c.Holder {
			continue
		}
		others += r.granted
		if is("the holders' units, not grants") {
			others += r.c.Has - r.granted
		}
		if !is("each its own limit") {
			limit = min(limit, r.c.Limit)
		}
		highest = max(highest, r.c.Limit)
	}
	if is("counter drift") || is("a counter") {
		others = q.total
		if old != nil {
			others -= old.granted
		}
	}
	want, has := c.Want, c.Has
	if is("forgets what is held") {
		has = 0
	}
	if leaves := c.Has == 0 && c.Want == 0; leaves && len(q.holders) > 1 || leaves && old == nil && len(q.holders) > 0 {
		limit, highest = math.MaxInt, 0
		for name, r := range q.holders {
			if name != c.Holder {
				limit, highest = min(limit, r.c.Limit), max(highest, r.c.Limit)
			}
		}
	}
	g := fleet.Grant{Limit: limit, Highest: highest, Lease: c.Lease}
	q.holders[c.Holder] = &record{c: c, ends: now.Add(c.Lease)}
	g.Target = q.target(c.Holder, limit, is)
	if !is("grows beyond its target") {
		want = min(want, g.Target)
	}
	if is("incremental") && old != nil {
		want += old.granted - has
	}
	g.Learning = now.Before(q.learned) && !is("never learns")
	room := limit - others
	if is("one too many") {
		room++
	}
	if is("cuts what is held") {
		has = min(has, max(0, room))
	}
	g.Granted = max(has, min(want, room))
	if g.Learning {
		g.Granted = has
	}
	if !is("fence repeats") || q.fence == 0 || old == nil || old.granted != g.Granted {
		q.fence++
	}
	g.Fence = q.fence
	if old != nil {
		q.total -= old.granted
	}
	if c.Has == 0 && c.Want == 0 {
		g.Granted, g.Target = 0, 0
		if !is("never leaves") {
			delete(q.holders, c.Holder)
			if len(q.holders) == 0 && is("forgets a quota that all left") {
				delete(e.q, name)
			}
		}
	} else {
		q.total += g.Granted
		lease := c.Lease
		if old != nil && is("keeps the first lease") {
			q.holders[c.Holder] = &record{c, g.Granted, old.ends}
		} else {
			q.holders[c.Holder] = &record{c, g.Granted, now.Add(lease)}
		}
	}
	g.Total, g.Holders = others+g.Granted, len(q.holders)
	if g.Learning {
		g.Next = q.learned.Sub(now)
	}
	for name, r := range q.holders {
		if left := r.ends.Sub(now); name != c.Holder && (g.Next == 0 || left < g.Next) {
			g.Next = left
		}
	}
	if is("Next is late") && g.Next > 0 {
		g.Next += time.Second
	}
	return g, nil
}

func (q *quota) target(holder string, limit int, is func(string) bool) int {
	var shares []fleet.Share
	for name, r := range q.holders {
		s := fleet.Share{Holder: name, Want: r.c.Want, Min: r.c.Min, Priority: r.c.Priority}
		if is("no minimums") {
			s.Min = 0
		}
		if is("no priorities") {
			s.Priority = 0
		}
		shares = append(shares, s)
	}
	if is("equal parts") {
		return limit / max(1, len(shares))
	}
	fleet.Targets(limit, shares)
	for _, s := range shares {
		if s.Holder == holder {
			return s.Target
		}
	}
	return 0
}

// rated is a client whose engine has buckets.
type rated struct{ *client }

func (r rated) Take(_ context.Context, d fleet.Draw) (fleet.Taken, error) {
	e := r.e
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	burst := float64(d.Burst)
	if burst == 0 {
		burst = float64(d.Tokens)
	}
	b := e.rates[d.Rate]
	if b == nil {
		b = &bucket{at: now}
		e.rates[d.Rate] = b
	}
	each := float64(d.Per) / float64(d.Tokens)
	b.tokens += float64(now.Sub(b.at)) / each
	if e.fault != "a bucket without a bottom" {
		b.tokens = min(b.tokens, burst)
	}
	b.at = now
	if e.fault == "rounds tokens up" && e.took%2 == 0 {
		b.tokens = math.Ceil(b.tokens)
	}
	e.took++
	n := min(d.Want, int(b.tokens))
	b.tokens -= float64(n)
	t := fleet.Taken{Granted: n}
	if n < d.Want {
		t.RetryAfter = time.Duration(math.Ceil((1 - b.tokens) * each))
		if e.fault == "early retries" {
			t.RetryAfter /= 3
		}
	}
	return t, nil
}
