package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/respool/respool/policy"
	"github.com/respool/respool/policy/fleet"
	"github.com/respool/respool/resource"
)

// The quota of the three pools that share one. The lease is renewed when a third of it has passed, and
// an outage of the ledger is shorter than the rest. So no quota loses its lease, and the limit is
// strict, unless the process stands still for as long: see clock.
const (
	quotaName   = "soak"
	quotaLimit  = 8
	quotaLease  = 4 * time.Second
	quotaOutage = time.Second
)

var errLedger = errors.New("soak: the ledger does not answer")

// A ledger is one in memory that fails: before it records a claim, or after it, and for a while.
type ledger struct {
	*fleet.Memory
	mu   sync.Mutex // guards what follows
	rand *rand.Rand
	down time.Time // until then it does not answer
	calm bool      // it does not fail
}

// Claim implements [fleet.Ledger].
func (l *ledger) Claim(ctx context.Context, c fleet.Claim) (fleet.Grant, error) {
	l.mu.Lock()
	n, slow := l.rand.IntN(40), time.Duration(l.rand.Int64N(int64(20*time.Millisecond)))
	down := time.Now().Before(l.down)
	if l.calm {
		n, slow, down = 40, 0, false
	}
	l.mu.Unlock()
	pause(ctx, slow) // the network
	if down || n == 0 {
		return fleet.Grant{}, errLedger
	}
	g, err := l.Memory.Claim(ctx, c)
	if n == 1 {
		return fleet.Grant{}, errLedger // it has recorded the claim, and the answer is lost
	}
	return g, err
}

// fail has the ledger not answer for a while.
func (l *ledger) fail(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = time.Now().Add(d)
}

// calmly has it answer from now on, or fail again.
func (l *ledger) calmly(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calm = on
	l.down = time.Time{}
}

// quotas is the section of three pools, each with a quota of its own, as in three processes.
type quotas struct {
	pools  []*sessions
	ledger *ledger
	load   *load
}

// config is the Config of one of the pools.
func (q *quotas) config(g *generation, c *resource.Config[*session]) error {
	quota, err := fleet.New(fleet.Config{
		Ledger: q.ledger, Quota: quotaName, Limit: quotaLimit, Lease: quotaLease, OnLost: fleet.FailClosed,
	})
	if err != nil {
		return err
	}
	g.release = func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		// An error says that the units are given back only at the end of the lease, which the ledger allows.
		_ = quota.Close(ctx)
	}
	p := &permits{name: "quota", journal: g.book.journal, next: quota}
	g.permits = []*permits{nil, nil, p}
	c.Quota = p
	c.Eviction = policy.AnyOf(quota.Surplus(), policy.MaxIdle(time.Second))
	return nil
}

func (q *quotas) label() string { return "quota" }

func (q *quotas) targets() (all []*target) {
	for _, s := range q.pools {
		all = append(all, s.target)
	}
	return all
}

func (q *quotas) start(l *load) {
	for _, s := range q.pools {
		l.begin(s.name, max(1, l.callers/2), s.op)
		l.keep(60*time.Millisecond, s.operate)
	}
	l.keep(500*time.Millisecond, func(w *worker) {
		switch w.rand.IntN(40) {
		case 0, 1, 2:
			d := time.Duration(w.rand.Int64N(int64(quotaOutage)))
			w.event("quota", "the ledger does not answer for %v", d.Round(time.Millisecond))
			q.ledger.fail(d)
		case 3:
			w.event("quota", "the ledger loses its data")
			q.ledger.Forget()
		}
	})
}

func (q *quotas) calm() {
	q.ledger.calmly(true)
	for _, s := range q.pools {
		s.calm()
	}
}

func (q *quotas) probe(ctx context.Context) error {
	for _, s := range q.pools {
		if err := s.probe(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (q *quotas) always() (bad []string) {
	for _, s := range q.pools {
		bad = append(bad, s.always()...)
	}
	return bad
}

func (q *quotas) rest() string {
	for _, s := range q.pools {
		if text := s.rest(); text != "" {
			return text
		}
	}
	return ""
}

func (q *quotas) once() (bad []string) {
	q.ledger.calmly(false)
	for _, s := range q.pools {
		bad = append(bad, s.once()...)
	}
	return bad
}

func (q *quotas) empty() {
	for _, s := range q.pools {
		s.empty()
	}
}

func (q *quotas) bare() string {
	for _, s := range q.pools {
		if text := s.bare(); text != "" {
			return text
		}
	}
	return ""
}

func (q *quotas) close(ctx context.Context) (bad []string) {
	for _, s := range q.pools {
		bad = append(bad, s.close(ctx)...)
	}
	return bad
}

func (q *quotas) dials() (n int64) {
	for _, s := range q.pools {
		n += s.dials()
	}
	return n
}
