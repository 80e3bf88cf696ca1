package ledgertest

import (
	"maps"
	"math"
	"time"

	"github.com/respool/respool/policy/fleet"
)

// Model is the contract of [fleet.Ledger] for one quota, as a sequential program. Times are
// durations since a fixed instant that the caller chooses. The zero value is a quota of which
// the ledger has no record. A Model is not safe for concurrent use.
type Model struct {
	holders map[string]entry
	known   bool          // there is a record of the quota
	learned time.Duration // when learning ends
	fence   uint64
}

// entry is the last claim of a live holder, and what it was granted.
type entry struct {
	claim   fleet.Claim
	granted int
	ends    time.Duration
}

// Claim records c, which must be valid, at the instant now and returns the grant. It fails
// with [fleet.ErrStale] only. The instants of successive calls must not decrease.
func (m *Model) Claim(now time.Duration, c fleet.Claim) (fleet.Grant, error) {
	m.expire(now)
	if e, ok := m.holders[c.Holder]; ok && c.Seq <= e.claim.Seq {
		return fleet.Grant{}, fleet.ErrStale
	}
	if !m.known {
		m.known = true
		m.holders = make(map[string]entry)
		m.learned = now + c.Lease
	}
	learning := now < m.learned
	m.fence++
	leaves := c.Has == 0 && c.Want == 0
	if leaves {
		delete(m.holders, c.Holder)
	} else {
		m.holders[c.Holder] = entry{claim: c, ends: now + c.Lease}
	}
	g := fleet.Grant{Limit: math.MaxInt, Lease: c.Lease, Fence: m.fence, Learning: learning}
	if len(m.holders) == 0 {
		g.Limit, g.Highest = c.Limit, c.Limit
	}
	others := 0
	if learning {
		g.Next = m.learned - now
	}
	for name, e := range m.holders {
		g.Limit = min(g.Limit, e.claim.Limit)
		g.Highest = max(g.Highest, e.claim.Limit)
		if name == c.Holder {
			continue
		}
		others += e.granted
		if left := e.ends - now; g.Next == 0 || left < g.Next {
			g.Next = left
		}
	}
	if !leaves {
		g.Target = m.target(c.Holder, g.Limit)
		g.Granted = c.Has
		if !learning {
			g.Granted = max(c.Has, min(g.Target, g.Limit-others))
		}
		m.holders[c.Holder] = entry{claim: c, granted: g.Granted, ends: now + c.Lease}
	}
	g.Total = others + g.Granted
	g.Holders = len(m.holders)
	return g, nil
}

// expire forgets the holders whose lease has ended at the instant now.
func (m *Model) expire(now time.Duration) {
	maps.DeleteFunc(m.holders, func(_ string, e entry) bool { return e.ends <= now })
}

// Forget deletes the record of one holder, as if its lease had ended.
func (m *Model) Forget(holder string) { delete(m.holders, holder) }

// EndLearning ends the learning, as if the lease of the first claim had ended.
func (m *Model) EndLearning() { m.learned = 0 }

// Equal reports whether two models answer all claims alike from now on, apart from Fence.
func (m *Model) Equal(other *Model) bool {
	return m.known == other.known && m.learned == other.learned && maps.Equal(m.holders, other.holders)
}

// Lose deletes all records, as a restart of the engine without its data does.
func (m *Model) Lose() { *m = Model{} }

// Learn prolongs the learning to that instant at least, as for an engine that may have lost its
// last writes.
func (m *Model) Learn(until time.Duration) { m.learned = max(m.learned, until) }

// Clone returns a copy that shares nothing with m.
func (m *Model) Clone() *Model {
	c := *m
	c.holders = maps.Clone(m.holders)
	return &c
}

// target returns the fair share of one holder.
func (m *Model) target(holder string, limit int) int {
	shares := make([]fleet.Share, 0, len(m.holders))
	for name, e := range m.holders {
		shares = append(shares, fleet.Share{Holder: name, Want: e.claim.Want, Min: e.claim.Min, Priority: e.claim.Priority})
	}
	fleet.Targets(limit, shares)
	for _, s := range shares {
		if s.Holder == holder {
			return s.Target
		}
	}
	return 0
}
