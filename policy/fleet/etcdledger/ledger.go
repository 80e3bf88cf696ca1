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

	"github.com/respool/respool/internal/random"
	"github.com/respool/respool/internal/redact"
	"github.com/respool/respool/policy/fleet"
)

var (
	// ErrContended: other claims changed the quota between the reading and the writing of each
	// of 100 attempts. The claim was not recorded.
	ErrContended = errors.New("etcdledger: too many claims on the quota at once")
	// ErrLeader: the leader of etcd may have changed during the claim. The claim was recorded,
	// but its lease may not have been renewed. Claim again with the next Seq.
	ErrLeader = errors.New("etcdledger: the leader changed during the claim")
)

// Options are the settings of a [Ledger]. The zero value is ready for use.
type Options struct {
	// Prefix begins the keys of all quotas. All processes that share quotas must use the same
	// one. Empty: "/respool/quotas/".
	Prefix string
}

// defaultPrefix is the Prefix of the zero Options.
const defaultPrefix = "/respool/quotas/"

// Ledger is a [fleet.Ledger] in etcd. Its methods are safe for concurrent use. Create it with
// [New]: the zero Ledger cannot be used. There is nothing to close.
type Ledger struct {
	store  store
	prefix string

	mu     sync.Mutex
	quotas map[string]*quota // by name, from the first claim on
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
// The first retry is made at once, with the content that etcd answered. Before each later one
// the claim pauses for a random time, whose bound doubles until all holders fit into it one
// after the other, and reads again.
const (
	attempts   = 100
	atOnce     = 1                    // attempts that are repeated without a pause
	firstPause = 4 * time.Millisecond // also the time for each holder
)

// Claim implements [fleet.Ledger]. A renewal makes three requests, one of which writes. A claim
// that is granted less than it wants, or is made while the ledger is learning, makes up to four
// more, usually one or two, to find [fleet.Grant].Next. Claims of one Ledger on the same quota
// wait for each other. Claim blocks until ctx ends at most.
//
// Its errors match [fleet.ErrClaim], [fleet.ErrStale], [ErrForm], [ErrContended], [ErrLeader],
// the cause of the end of ctx, or an error of etcd's client, all with errors.Is only. After
// ErrForm and ErrContended the claim was not recorded, after ErrLeader it was; the last two leave
// that open.
func (l *Ledger) Claim(ctx context.Context, c fleet.Claim) (fleet.Grant, error) {
	if err := c.Check(); err != nil {
		return fleet.Grant{}, err
	}
	// Claims of this process on one quota take turns: at the same time their transactions
	// would make each other fail.
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

// failed adds what failed, and hides what looks like a secret in the text of a foreign error. If
// ctx has ended the error matches its cause.
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

	lease    int64   // the holder's, granted or renewed by this claim; 0: none yet
	seconds  int64   // the full time of lease
	renewed  bool    // lease was renewed, which is valid only within the raft term term
	term     uint64  // in which the renewal began
	learning int64   // a lease for the learning key; 0: none was needed
	unused   []int64 // leases to revoke once the claim is recorded

	recorded bool // the transaction succeeded
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
			// A lease of this claim ended: the process or etcd was stopped for that long.
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
// grants or renews the leases that the transaction needs.
func (a *attempt) prepare(ctx context.Context, s *state, cluster uint64, self int, g *fleet.Grant) (txn, error) {
	t := txn{guards: []guard{{a.keys.meta(), s.meta}}, from: a.keys.base, end: a.keys.end()}
	r := record{seq: a.c.Seq, granted: g.Granted, want: a.c.Want, min: a.c.Min, priority: a.c.Priority, limit: a.c.Limit, ttl: a.ttl}
	if self >= 0 && !s.begins() && r.sameButSeq(&s.holders[self].record) {
		// A renewal that changes nothing for the others does not write the key that orders
		// claims, so renewals do not make each other fail. Their order does not affect any
		// grant. The second guard detects another claim of the same holder.
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

// holdLease sets a.lease to a lease for the record of the holder: its renewed one, or a new one.
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
	// The grant of a lease is replicated to a majority, so it does not depend on the leader, as
	// a renewal does.
	a.lease, a.seconds, a.renewed = id, seconds, false
	if self >= 0 {
		a.unuse(s.holders[self].lease)
	}
	return nil
}

// unuse notes a lease to which no key is attached once the claim has been recorded.
func (a *attempt) unuse(id int64) {
	if !slices.Contains(a.unused, id) {
		a.unused = append(a.unused, id)
	}
}

// discardLeases revokes the leases that no key needs, after the claim ended with err. If that
// fails, they end at their time. If it is unknown whether the claim was recorded, no lease is
// revoked: without the holder's lease the ledger would forget its units.
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

// maxAsked is about how many leases next asks etcd at most.
const maxAsked = 4

// soon is the Next of a claim that does not ask etcd. It errs on the early side.
const soon = time.Second

// lag is how long after the end of a lease etcd may delete its keys: it looks for ended leases
// twice a second.
const lag = 500 * time.Millisecond

// next returns the Next of a grant: the time until the learning or a lease of another holder
// ends. etcd reports how many full seconds a lease has left. Only a holder that lacks units, or
// claims while the ledger is learning, waits for that end: otherwise no request is made.
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

// firstToEnd returns leases of which one is the first to end, the claimant's left out: that of
// the learning and, for each duration of lease, the one that was renewed longest ago.
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

// pause waits before the n-th retry that has a pause.
func pause(ctx context.Context, n, holders int) error {
	most := firstPause * time.Duration(min(1<<min(n, 20), max(holders, 4)))
	t := time.NewTimer(random.N(most))
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
	memory               // guarded by the turn
}

// takeTurn waits for the turn. The caller must call pass when its claim ends.
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
