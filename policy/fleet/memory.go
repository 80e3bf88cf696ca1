package fleet

import (
	"context"
	"math"
	"math/bits"
	"slices"
	"sync"
	"time"
)

// Memory is a [Ledger] and [RateLedger] in the memory of one process, for tests and for
// several quotas or pools in one process. Its clock is that of package time. Its methods are
// safe for concurrent use. Create it with [NewMemory]: the zero Memory cannot be used.
type Memory struct {
	mu      sync.Mutex
	books   map[string]*book
	buckets map[string]*bucket
}

// NewMemory returns a ledger without any record. As the contract of [Ledger] says, it is
// learning for the lease of the first claim on each quota, unless Begin was called for it.
func NewMemory() *Memory {
	m := new(Memory)
	m.Forget()
	return m
}

// Forget deletes all records, as a restart of an engine without its data does.
func (m *Memory) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.books, m.buckets = make(map[string]*book), make(map[string]*bucket)
}

// Begin records that the quota exists and that no process has units of it, so that there is
// nothing to learn. It does nothing if there is a record of the quota.
func (m *Memory) Begin(quota string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.books[quota] == nil {
		m.books[quota] = newBook(time.Time{})
	}
}

// book is the record of one quota.
type book struct {
	holders  map[string]*record
	order    []*record // sorted as Targets sorts shares
	shares   []Share   // scratch
	learning time.Time // until then it is learning
	fence    uint64
	total    int64 // granted to all
}

// record is what a book has about one holder.
type record struct {
	claim   Claim
	granted int
	until   time.Time
}

func newBook(learning time.Time) *book {
	return &book{holders: make(map[string]*record), learning: learning, fence: uint64(max(0, time.Now().UnixMicro()))}
}

// Claim implements [Ledger]. It does not block. If ctx has ended it fails with the cause of that.
func (m *Memory) Claim(ctx context.Context, c Claim) (Grant, error) {
	if err := c.Check(); err != nil {
		return Grant{}, err
	}
	if ctx.Err() != nil {
		return Grant{}, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	b := m.books[c.Quota]
	if b == nil {
		b = newBook(now.Add(c.Lease))
		m.books[c.Quota] = b
	}
	b.expire(now)
	return b.claim(now, c)
}

// expire forgets the holders whose leases have ended.
func (b *book) expire(now time.Time) {
	b.order = slices.DeleteFunc(b.order, func(r *record) bool {
		ended := !r.until.After(now)
		if ended {
			b.total -= int64(r.granted)
			delete(b.holders, r.claim.Holder)
		}
		return ended
	})
}

func (b *book) claim(now time.Time, c Claim) (Grant, error) {
	r := b.holders[c.Holder]
	if r != nil && c.Seq <= r.claim.Seq {
		return Grant{}, ErrStale
	}
	b.fence++
	g := Grant{Lease: c.Lease, Fence: b.fence, Learning: now.Before(b.learning)}
	if c.Has == 0 && c.Want == 0 {
		b.remove(r)
	} else {
		r = b.put(r, c)
		r.until = now.Add(c.Lease)
	}
	g.Limit = b.limits(&c, &g.Highest)
	b.targets(g.Limit)
	for i := range b.shares {
		if b.shares[i].Holder == c.Holder {
			g.Target = b.shares[i].Target
		}
	}
	if r != nil && b.holders[c.Holder] == r {
		others := b.total - int64(r.granted)
		g.Granted = c.Has
		if !g.Learning {
			g.Granted = max(c.Has, min(g.Target, int(max(0, int64(g.Limit)-others))))
		}
		r.granted = g.Granted
		b.total = others + int64(g.Granted)
	}
	g.Total = int(min(b.total, math.MaxInt))
	g.Holders = len(b.order)
	g.Next = b.next(now, c.Holder)
	return g, nil
}

// remove forgets a holder; nil: there is none.
func (b *book) remove(r *record) {
	if r == nil {
		return
	}
	b.total -= int64(r.granted)
	delete(b.holders, r.claim.Holder)
	b.order = slices.DeleteFunc(b.order, func(other *record) bool { return other == r })
}

// put records the claim and returns the record of its holder, which is r if it exists.
func (b *book) put(r *record, c Claim) *record {
	if r != nil && r.claim.Priority == c.Priority {
		r.claim = c
		return r
	}
	granted := 0
	if r != nil {
		granted = r.granted
		b.remove(r)
		b.total += int64(granted)
	}
	r = &record{claim: c, granted: granted}
	b.holders[c.Holder] = r
	at, _ := slices.BinarySearchFunc(b.order, r, func(a, r *record) int {
		return compareShares(a.claim.Priority, r.claim.Priority, a.claim.Holder, r.claim.Holder)
	})
	b.order = slices.Insert(b.order, at, r)
	return r
}

// limits returns the smallest limit of a live holder, and the largest in *highest. If none
// is live both are that of c.
func (b *book) limits(c *Claim, highest *int) (limit int) {
	if len(b.order) == 0 {
		*highest = c.Limit
		return c.Limit
	}
	limit = math.MaxInt
	for _, r := range b.order {
		limit, *highest = min(limit, r.claim.Limit), max(*highest, r.claim.Limit)
	}
	return limit
}

// targets sets b.shares.
func (b *book) targets(limit int) {
	b.shares = b.shares[:0]
	for _, r := range b.order {
		b.shares = append(b.shares, Share{Holder: r.claim.Holder, Want: r.claim.Want, Min: r.claim.Min, Priority: r.claim.Priority})
	}
	Targets(limit, b.shares)
}

// next is the Next of a grant to that holder.
func (b *book) next(now time.Time, holder string) (next time.Duration) {
	if now.Before(b.learning) {
		next = b.learning.Sub(now)
	}
	for _, r := range b.order {
		if left := r.until.Sub(now); r.claim.Holder != holder && (next == 0 || left < next) {
			next = left
		}
	}
	return next
}

// bucket is a token bucket: at time t it has as many tokens as accrue between empty and t.
type bucket struct{ empty time.Time }

// Take implements [RateLedger]. It does not block. If ctx has ended it fails with the cause of that.
func (m *Memory) Take(ctx context.Context, d Draw) (Taken, error) {
	if err := d.Check(); err != nil {
		return Taken{}, err
	}
	if ctx.Err() != nil {
		return Taken{}, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	b := m.buckets[d.Rate]
	if b == nil {
		b = &bucket{empty: now}
		m.buckets[d.Rate] = b
	}
	return b.take(now, d), nil
}

func (b *bucket) take(now time.Time, d Draw) Taken {
	burst := d.Burst
	if burst == 0 {
		burst = d.Tokens
	}
	if full := now.Add(-accrual(burst, &d)); b.empty.Before(full) {
		b.empty = full
	}
	available := int(min(mulDiv(uint64(max(0, now.Sub(b.empty))), uint64(d.Tokens), uint64(d.Per)), uint64(burst)))
	n := min(d.Want, available)
	b.empty = b.empty.Add(accrual(n, &d))
	t := Taken{Granted: n}
	if n < d.Want {
		t.RetryAfter = max(1, b.empty.Add(accrual(1, &d)).Sub(now))
	}
	return t
}

// accrual is how long n tokens take to accrue, rounded up.
func accrual(n int, d *Draw) time.Duration {
	return time.Duration(mulDivUp(uint64(n), uint64(d.Per), uint64(d.Tokens)))
}

// forever is more than any time that matters, and small enough to be added to another.
const forever = math.MaxInt64 / 4

// mulDiv returns a*b/c, rounded down, at most forever.
func mulDiv(a, b, c uint64) uint64 {
	q, _ := divide128(a, b, c)
	return q
}

// mulDivUp returns a*b/c, rounded up, at most forever.
func mulDivUp(a, b, c uint64) uint64 {
	q, rest := divide128(a, b, c)
	if rest > 0 {
		q++
	}
	return q
}

func divide128(a, b, c uint64) (q, rest uint64) {
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return forever, 0
	}
	if q, rest = bits.Div64(hi, lo, c); q >= forever {
		return forever, 0
	}
	return q, rest
}
