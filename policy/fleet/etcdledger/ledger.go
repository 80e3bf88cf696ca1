package etcdledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/respool/respool/internal/redact"
	"github.com/respool/respool/policy/fleet"
)

var (
	// ErrContended: other claims on the quota came first again and again. The claim was not
	// recorded.
	ErrContended = errors.New("etcdledger: too many claims on the quota at once")
	// ErrLeader: the leader of etcd may have changed during the claim. It was recorded, but its
	// lease may not have been renewed. Claim again.
	ErrLeader = errors.New("etcdledger: the leader changed during the claim")
)

// Options are the settings of a [Ledger]. The zero value is ready for use.
type Options struct {
	// Prefix begins the keys of all quotas. Empty: "/respool/quotas/". All processes that share
	// quotas must have the same.
	Prefix string
}

// defaultPrefix is the Prefix of the zero Options.
const defaultPrefix = "/respool/quotas/"

// Ledger is a [fleet.Ledger] in etcd. It may be used by many goroutines at once.
type Ledger struct {
	store  store
	prefix string

	mu     sync.Mutex
	quotas map[string]*quota // those that were claimed
}

// New returns a ledger that uses the client, which the caller may use too and must not close
// while claims are under way. It makes no request. It fails if client is nil.
func New(client *clientv3.Client, o Options) (*Ledger, error) {
	if client == nil {
		return nil, errors.New("etcdledger: client must not be nil")
	}
	return newLedger(newEtcd(client), o), nil
}

func newLedger(s store, o Options) *Ledger {
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	return &Ledger{store: s, prefix: o.Prefix, quotas: make(map[string]*quota)}
}

// A transaction fails if another one changed the quota between the reading and the writing.
// The claim then tries again with what etcd answered, the first time at once. After that it
// pauses at random, up to a bound that doubles until it is enough for all holders one after
// the other, and reads again.
const (
	attempts   = 100
	atOnce     = 1                    // attempts that are repeated without a pause
	firstPause = 4 * time.Millisecond // also the time for each holder
)

// Claim implements [fleet.Ledger]. A renewal makes three requests, one of which writes. A
// claim that is granted less than it wants makes another one or two to find [fleet.Grant].Next.
//
// Apart from fleet's errors it fails with [ErrForm], [ErrContended], [ErrLeader], the end of
// ctx and the errors of etcd's client; all but the first two leave open whether the claim was
// recorded.
func (l *Ledger) Claim(ctx context.Context, c fleet.Claim) (fleet.Grant, error) {
	if err := c.Check(); err != nil {
		return fleet.Grant{}, err
	}
	// Claims of this process on one quota take turns, since they could only make each other
	// fail.
	q, err := l.takeTurn(ctx, c.Quota)
	if err != nil {
		return fleet.Grant{}, failed(ctx, c.Quota, "waiting for claims of this process", err)
	}
	defer q.pass()
	a := attempt{store: l.store, memory: &q.memory, keys: keysOf(l.prefix, c.Quota), c: c, ttl: int64((c.Lease + time.Second - 1) / time.Second)}
	g, err := a.run(ctx)
	a.discardLeases(ctx, err)
	if err != nil {
		return fleet.Grant{}, failed(ctx, c.Quota, a.doing, err)
	}
	return g, nil
}

// failed says what failed and hides what looks like a secret in the text of a foreign error.
// The error matches that of the context if that has ended.
func failed(ctx context.Context, quota, doing string, err error) error {
	if errors.Is(err, fleet.ErrStale) {
		return err
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return &claimError{text: fmt.Sprintf("etcdledger: quota %q: %s: %s", quota, doing, redact.Hide(strings.TrimPrefix(err.Error(), "etcdledger: "))), err: err}
}

// claimError has a text without secrets. It does not show the error that it wraps.
type claimError struct {
	text string
	err  error
}

func (e *claimError) Error() string              { return e.text }
func (e *claimError) Is(target error) bool       { return errors.Is(e.err, target) }
func (e *claimError) GoString() string           { return e.text }
func (e *claimError) Format(f fmt.State, _ rune) { fmt.Fprint(f, e.text) }

// attempt is one claim under way.
type attempt struct {
	store  store
	memory *memory
	keys   keys
	c      fleet.Claim
	ttl    int64  // of the lease that the claim asks for
	doing  string // for errors

	lease    int64  // the holder's, which has its full time since this claim began; 0: none yet
	seconds  int64  // its time
	renewed  bool   // it was renewed, which counts only in the raft term in which that began
	term     uint64 // that term
	learning int64  // a lease for the learning key; 0: none was needed
	unused   []int64

	recorded bool // the transaction was made
}

// run makes the claim.
func (a *attempt) run(ctx context.Context) (fleet.Grant, error) {
	read := func() (content, error) {
		a.doing = "reading"
		return a.store.read(ctx, a.keys.base, a.keys.end())
	}
	c, err := read()
	if err != nil {
		return fleet.Grant{}, err
	}
	for n := range attempts {
		s, err := parse(a.keys, c, a.memory)
		if err != nil {
			return fleet.Grant{}, err
		}
		if s.begins() {
			s.epoch = rand.Uint64()
		} else {
			a.memory.note(c.revision, s.epoch)
		}
		g, self, err := decide(&s, &a.c)
		if err != nil {
			return fleet.Grant{}, err
		}
		t, err := a.prepare(ctx, &s, c.cluster, self, &g)
		if err != nil {
			return fleet.Grant{}, err
		}
		a.doing = "writing"
		var r committed
		r, c, err = a.store.commit(ctx, t)
		switch {
		case errors.Is(err, errNoLease):
			// A lease of this claim ended: the process, or etcd, stood still for that long.
			a.lease, a.learning = 0, 0
		case err != nil:
			return fleet.Grant{}, err
		case r.ok:
			a.recorded = true
			if s.begins() {
				a.learning = 0 // in use now
				a.unuse(s.learning)
			}
			a.memory.note(r.revision, s.epoch)
			if a.renewed && (a.term != r.term || r.term == 0) {
				return fleet.Grant{}, ErrLeader
			}
			g.Fence = uint64(r.revision)
			g.Lease = time.Duration(a.seconds) * time.Second
			g.Next = a.next(ctx, &s, self, &g)
			return g, nil
		case n < atOnce:
			continue // with what the store answered
		default:
			if err := pause(ctx, n-atOnce, len(s.holders)); err != nil {
				return fleet.Grant{}, err
			}
		}
		if c, err = read(); err != nil {
			return fleet.Grant{}, err
		}
	}
	return fleet.Grant{}, ErrContended
}

// prepare returns the transaction that records the claim with the grant g in the state s. It
// sees to the leases that this needs.
func (a *attempt) prepare(ctx context.Context, s *state, cluster uint64, self int, g *fleet.Grant) (txn, error) {
	t := txn{guards: []guard{{a.keys.meta(), s.meta}}, from: a.keys.base, end: a.keys.end()}
	r := record{seq: a.c.Seq, granted: g.Granted, want: a.c.Want, min: a.c.Min, priority: a.c.Priority, limit: a.c.Limit, ttl: a.ttl}
	if self >= 0 && !s.begins() && r.sameButSeq(&s.holders[self].record) {
		// A renewal that changes nothing for the others does not write the key that puts
		// claims in order, so renewals do not make each other fail. The order among them does
		// not show in any grant. A claim of the same holder shows in its record.
		t.guards = append(t.guards, guard{a.keys.record(a.c.Holder), s.holders[self].since})
	} else {
		t.puts = append(t.puts, pair{key: a.keys.meta(), value: metaOf(cluster, s.epoch)})
	}
	if s.begins() {
		if a.learning == 0 {
			a.doing = "beginning to learn"
			id, _, err := a.store.grant(ctx, a.ttl)
			if err != nil {
				return txn{}, err
			}
			a.learning = id
		}
		t.puts = append(t.puts, pair{key: a.keys.learning(), value: version, lease: a.learning})
	}
	if a.c.Has == 0 && a.c.Want == 0 {
		if self >= 0 {
			t.deletes = append(t.deletes, a.keys.record(a.c.Holder))
			a.unuse(s.holders[self].lease)
		}
		a.seconds = a.ttl
		return t, nil
	}
	if err := a.holdLease(ctx, s, self); err != nil {
		return txn{}, err
	}
	t.puts = append(t.puts, pair{key: a.keys.record(a.c.Holder), value: r.encode(), lease: a.lease})
	return t, nil
}

// holdLease sees to it that a.lease is a lease for the record of the holder.
func (a *attempt) holdLease(ctx context.Context, s *state, self int) error {
	if a.lease != 0 {
		return nil
	}
	a.doing = "renewing the lease"
	if self >= 0 && s.holders[self].ttl == a.ttl {
		id := s.holders[self].lease
		seconds, term, err := a.store.renew(ctx, id)
		if err != nil {
			return err
		}
		if seconds > 0 {
			a.lease, a.seconds, a.renewed, a.term = id, seconds, true, term
			return nil
		}
	}
	id, seconds, err := a.store.grant(ctx, a.ttl)
	if err != nil {
		return err
	}
	// The grant of a lease is written by a majority: unlike a renewal it needs no leader to last.
	a.lease, a.seconds, a.renewed = id, seconds, false
	if self >= 0 {
		a.unuse(s.holders[self].lease)
	}
	return nil
}

// unuse notes a lease that no key is attached to when the claim has been recorded.
func (a *attempt) unuse(id int64) {
	if !slices.Contains(a.unused, id) {
		a.unused = append(a.unused, id)
	}
}

// discardLeases ends the leases that no key needs, after the claim ended with err. If that
// fails, etcd ends them in time. If it is open whether the claim was recorded, so is which
// leases are needed: ending the holder's would make the ledger forget what it has.
func (a *attempt) discardLeases(ctx context.Context, err error) {
	var leases []int64
	switch {
	case a.recorded:
		leases = append(a.unused, a.learning)
	case errors.Is(err, ErrContended), errors.Is(err, fleet.ErrStale): // certainly not recorded
		leases = append(leases, a.learning)
		if !a.renewed {
			leases = append(leases, a.lease) // granted for this claim
		}
	}
	for _, id := range leases {
		if id != 0 {
			_ = a.store.revoke(ctx, id)
		}
	}
}

// maxAsked is how many leases next asks for.
const maxAsked = 4

// soon is the Next of a claim that does not know better. It errs on the early side.
const soon = time.Second

// lag is how much later than its end etcd may delete the keys of a lease: it looks twice a
// second.
const lag = 500 * time.Millisecond

// next returns the Next of a grant: how long until the learning or the lease of another holder
// ends. etcd says how many full seconds a lease has left. Only a holder that was granted less
// than it wants waits for that, so that otherwise no request is made.
func (a *attempt) next(ctx context.Context, s *state, self int, g *fleet.Grant) time.Duration {
	leases := a.firstToEnd(s, self)
	switch {
	case s.begins():
		return time.Duration(a.ttl) * time.Second // the learning has begun with this claim
	case len(leases) == 0:
		return 0
	case len(leases) > maxAsked, g.Granted >= a.c.Want && !g.Learning:
		return soon
	}
	least := int64(-1)
	for _, id := range leases {
		// The claim has been recorded: an error here must not make it fail.
		seconds, err := a.store.left(ctx, id)
		if err != nil {
			return soon
		}
		if seconds = max(0, seconds); least < 0 || seconds < least {
			least = seconds
		}
	}
	return time.Duration(least)*time.Second + lag
}

// firstToEnd returns leases of which one is the first to end, apart from the claimant's: that
// of the learning and, for each time that leases have, the one that was renewed first.
func (a *attempt) firstToEnd(s *state, self int) []int64 {
	oldest := make(map[int64]*holder)
	for i := range s.holders {
		h := &s.holders[i]
		if o := oldest[h.ttl]; i != self && (o == nil || h.since < o.since) {
			oldest[h.ttl] = h
		}
	}
	var leases []int64
	if s.learning != 0 {
		leases = append(leases, s.learning)
	}
	for _, h := range oldest {
		leases = append(leases, h.lease)
	}
	return leases
}

// pause waits before a repetition, the n-th with a pause.
func pause(ctx context.Context, n, holders int) error {
	most := firstPause * time.Duration(min(1<<min(n, 20), max(holders, 4)))
	t := time.NewTimer(rand.N(most))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// quota is what a process knows about one quota. Claims on it take turns.
type quota struct {
	turn   chan struct{} // has a value while no claim has the turn
	memory               // of the claim that has the turn
}

// takeTurn waits for the turn. The claim must call pass at its end.
func (l *Ledger) takeTurn(ctx context.Context, name string) (*quota, error) {
	l.mu.Lock()
	q := l.quotas[name]
	if q == nil {
		q = &quota{turn: make(chan struct{}, 1)}
		q.pass()
		l.quotas[name] = q
	}
	l.mu.Unlock()
	select {
	case <-q.turn:
		return q, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// pass lets another claim have the turn.
func (q *quota) pass() { q.turn <- struct{}{} }
