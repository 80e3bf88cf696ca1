package fleet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/respool/respool/resource"
)

// Quota is the part of one process in a quota that many processes share. It is a
// [resource.Admission] for [resource.Config.Quota]: a permit is one unit, and lasts as long
// as the resource. Several pools of a process may share a Quota; see Member. Create it with
// [New] and end it with Close: the zero Quota cannot be used. Its methods are safe for
// concurrent use.
//
// A permit is a local integer. One goroutine claims units from the ledger in the background,
// so Admit never waits for a round trip if a unit is free.
type Quota struct {
	cfg     Config // with defaults; constant
	stopped func() // constant
	holder  string
	base    time.Time // zero of all times, on the monotonic clock
	only    *Member   // of weight 1: that of the Quota's own Admit and Surplus

	kick   chan struct{} // a value in it wakes run
	ctx    context.Context
	cancel context.CancelFunc // ends the goroutine
	done   chan struct{}      // closed when it has ended

	call ledgerCall[Grant] // of Claim; only run uses it

	mu         sync.Mutex // no call of foreign code while it is held
	acc        account
	members    []*Member // those that have units or wait for some, in no order
	made       int       // how many members were ever created
	first      *waiter   // requests that wait, in order of arrival
	lastWaiter *waiter
	lapse      *time.Timer // at the end of the lease
	parts      []part      // scratch of divideLocked
	sharing    bool        // a member has a bounded share
	onExpiry   map[*expiry]struct{}
	connSweep  int // size of onExpiry after the last search for closed connections
	claimErr   error
	claims     int64
	failed     int64
	refused    int64
	waits      int64
	tooMany    int64
	closedFor  int64
	lapses     int64
}

// New returns a Quota and starts its goroutine, which makes the first claim at once, for the
// units of Slack. New does not wait for the answer. It fails with an error that matches
// [ErrConfig] and names every invalid field.
func New(cfg Config) (*Quota, error) { return newQuota(cfg, func() {}) }

// newQuota is New. Every step of the Quota's own goroutines begins with a call of stopped,
// in which a test can stop them as SIGSTOP does.
func newQuota(cfg Config, stopped func()) (*Quota, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	q := &Quota{
		cfg: cfg, stopped: stopped, holder: newHolder(), base: time.Now(), acc: newAccount(cfg),
		kick: make(chan struct{}, 1), done: make(chan struct{}), onExpiry: make(map[*expiry]struct{}),
	}
	q.call.method = "Ledger.Claim"
	q.ctx, q.cancel = context.WithCancel(context.Background())
	q.only = q.member(1)
	q.lapse = time.AfterFunc(forever, q.lapsed)
	q.lapse.Stop()
	go q.run()
	return q, nil
}

// now is the time on the clock that the account uses. It reads the monotonic clock alone,
// which on Linux does not run while the machine is suspended.
func (q *Quota) now() time.Duration { return time.Since(q.base) }

// Member is one pool's part in a [Quota]. It is the Admission for [resource.Config.Quota],
// and its Surplus the Eviction for the same pool. Create it with [Quota.Member].
type Member struct {
	q      *Quota
	weight int // units of one resource; constant
	number int // in order of creation, from 1; constant
	done   resource.Done
	share  quotaShare

	// Guarded by Quota.mu.
	index   int // in Quota.members, plus one; 0: it is not there
	used    int // units in use
	waiting int // units that its requests wait for
	most    int // units that it may have; unbounded: as many as the process
}

// Member returns the part of one more pool, whose resources take weight units each. Each pool
// needs a Member of its own; for a Keyed, KeyedConfig.Config calls Member. A Member that has no
// units need not be closed: it is collected with its pool. Member panics if weight is less than
// 1 or more than Config.Limit.
//
// While the members together want more than the share of the process, it is divided among them in
// whole resources: the next one goes to the member that has the fewest units so far, if enough are
// left for it; among equals to the one of the smallest weight, then to the one that was created first. So
// each member gets a resource if the share suffices for one of each. If it does not, the
// heaviest members get none until the others want less; [Config.Min] can keep the share of the process
// large enough.
func (q *Quota) Member(weight int) *Member {
	if weight < 1 || weight > q.cfg.Limit {
		panic(fmt.Sprintf("fleet: Member: weight must be between 1 and Limit (%d), got %d", q.cfg.Limit, weight))
	}
	return q.member(weight)
}

func (q *Quota) member(weight int) *Member {
	m := &Member{q: q, weight: weight}
	m.done = func(o resource.Outcome) { q.release(m, weight, o) }
	m.bound(unbounded, false)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.made++
	m.number = q.made
	return m
}

// addLocked changes how many units m uses and waits for.
func (m *Member) addLocked(used, waiting int) {
	q := m.q
	m.used += used
	m.waiting += waiting
	switch needs := m.used > 0 || m.waiting > 0; {
	case needs && m.index == 0:
		q.members = append(q.members, m)
		m.index = len(q.members)
	case !needs && m.index > 0:
		last := q.members[len(q.members)-1]
		q.members[m.index-1], last.index = last, m.index
		q.members[len(q.members)-1] = nil
		q.members = q.members[:len(q.members)-1]
		m.index = 0
		if m.most != unbounded {
			m.bound(unbounded, false)
		}
	}
}

// Admit admits one resource of weight 1: see [Member.Admit].
func (q *Quota) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	return q.only.Admit(ctx, r)
}

// Admit admits one resource, or r.Cost of them at once. It does not block if units are free.
// Otherwise it waits for them until ctx ends, and then fails with the error of ctx; the quota
// asks the ledger for more meanwhile. Requests are served in the order of their arrival, except
// that those of a member that has its share of a scarce quota are passed over.
//
// All other errors are a [*resource.Rejection]. Those with a RetryAfter are [ErrFull], if
// r.NoWait is set and no unit is free; [ErrLost], if the ledger is lost and OnLost does not
// allow more; and [ErrTooMany], for a while after the provider has refused. Those without one
// are [ErrWeight], if more units are needed than the limit, and [ErrClosed]. All but
// ErrFull also end a request that waits.
func (m *Member) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	q := m.q
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n := m.weight
	if r.Cost != 0 && r.Cost != 1 {
		if r.Cost < 0 || r.Cost > MaxUnits/m.weight {
			return nil, q.reject(0, fmt.Errorf("%w: its cost is %d", ErrWeight, r.Cost))
		}
		n *= r.Cost
	}
	now := q.now()
	q.mu.Lock()
	bound, o := q.acc.bound(now)
	if q.first == nil && n <= bound-q.acc.used && !q.acc.closing && n <= m.most-m.used {
		q.takeLocked(m, n, now)
		q.mu.Unlock()
		return m.doneOf(n), nil
	}
	if err := q.refusalLocked(n, o, now); err != nil {
		q.refused++
		q.mu.Unlock()
		return nil, err
	}
	w := q.enqueueLocked(m, n, now)
	q.serveLocked(now) // the member's share may be larger with this request
	if r.NoWait && w.queued {
		q.dequeueLocked(w)
		q.refused++
		err := q.reject(max(1, q.acc.next(now)-now), ErrFull)
		q.mu.Unlock()
		return nil, err
	}
	if w.queued {
		q.waits++
	}
	q.mu.Unlock()
	select {
	case <-w.ready:
	case <-ctx.Done():
		if q.leave(w) {
			return nil, ctx.Err()
		}
		<-w.ready // it was served or refused before leave
		if w.err == nil {
			q.release(m, n, resource.Outcome{})
		}
		return nil, ctx.Err()
	}
	if w.err != nil {
		return nil, w.err
	}
	return m.doneOf(n), nil
}

// doneOf returns the function that gives n units back.
func (m *Member) doneOf(n int) resource.Done {
	if n == m.weight {
		return m.done
	}
	return func(o resource.Outcome) { m.q.release(m, n, o) }
}

// takeLocked puts n units into use.
func (q *Quota) takeLocked(m *Member, n int, now time.Duration) {
	q.acc.take(n, now)
	q.acc.left = false
	m.addLocked(n, 0)
	if q.sharing {
		q.reshareLocked(now)
	}
	if q.acc.grows(now) {
		q.wake()
	}
}

// release returns n units.
func (q *Quota) release(m *Member, n int, o resource.Outcome) {
	refused := false
	// Deferred, so that it happens also if TooMany ends this goroutine.
	defer func() { q.giveBack(m, n, refused) }()
	refused = o.Verdict == resource.Failed && q.isTooMany(o.Err)
}

// giveBack returns n units. refused says that the provider refused the resource that they were
// for.
func (q *Quota) giveBack(m *Member, n int, refused bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n > m.used {
		panic("fleet: bug: a Done was called twice")
	}
	if !refused && q.first == nil && !q.sharing && q.acc.ordinary() { // the clock costs more than the rest
		q.acc.used -= n
		m.addLocked(-n, 0)
		return
	}
	now := q.now()
	if excess, all := q.acc.surplus(now); excess > 0 && !all { // at the end of a lease OnExpiry counts
		q.closedFor++
	}
	q.acc.give(n, now)
	m.addLocked(-n, 0)
	if refused {
		q.tooManyLocked(now)
	}
	q.serveLocked(now)
	if q.acc.owes() || q.acc.closing && q.acc.used == 0 {
		q.wake()
	}
}

// isTooMany calls TooMany. A panic in it counts as false.
func (q *Quota) isTooMany(err error) bool {
	if q.cfg.TooMany == nil || err == nil {
		return false
	}
	defer func() { _ = recover() }()
	return q.cfg.TooMany(err)
}

// Report calls [Config.TooMany] with an error that did not come from a creation, such as the close
// code with which the provider ended an existing resource, and returns the result. If it is true,
// the quota reacts as to a refused creation. It returns false if err or TooMany is nil. TooMany
// runs on the caller's goroutine. Report does not block.
func (q *Quota) Report(err error) (tooMany bool) {
	if !q.isTooMany(err) {
		return false
	}
	now := q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tooManyLocked(now)
	return true
}

// tooManyLocked lowers the wanted units and refuses the waiting requests.
func (q *Quota) tooManyLocked(now time.Duration) {
	q.tooMany++
	q.acc.tooMany(now)
	q.serveLocked(now)
	q.wake()
}

// waiter is a request that waits for units.
type waiter struct {
	m          *Member
	n          int
	prev, next *waiter
	queued     bool
	ready      chan struct{} // closed when it is served or refused
	err        error         // set before
}

func (q *Quota) enqueueLocked(m *Member, n int, now time.Duration) *waiter {
	w := &waiter{m: m, n: n, ready: make(chan struct{}), prev: q.lastWaiter, queued: true}
	if q.lastWaiter != nil {
		q.lastWaiter.next = w
	} else {
		q.first = w
	}
	q.lastWaiter = w
	q.acc.wait(n)
	m.addLocked(0, n)
	if q.acc.grows(now) || !q.acc.valid(now) {
		q.wake()
	}
	return w
}

func (q *Quota) dequeueLocked(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.lastWaiter = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.acc.waiting -= w.n
	w.m.addLocked(0, -w.n)
}

// leave removes a request whose context has ended from the queue. It returns false if the
// request was served or refused before.
func (q *Quota) leave(w *waiter) bool {
	now := q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if !w.queued {
		return false
	}
	q.dequeueLocked(w)
	q.serveLocked(now) // smaller requests may have waited behind it
	return true
}

// serveLocked serves waiting requests in order while units are free, and refuses those that
// must not wait any longer. A request that exceeds the share of its member is passed over,
// whether units are free for it or not: it must not keep those behind it waiting.
func (q *Quota) serveLocked(now time.Duration) {
	q.reshareLocked(now)
	for w := q.first; w != nil; {
		next := w.next
		bound, o := q.acc.bound(now)
		free := !q.acc.closing && w.n <= bound-q.acc.used
		if !free {
			w.err = q.refusalLocked(w.n, o, now)
		}
		switch {
		case w.err != nil:
			q.dequeueLocked(w)
			q.refused++
			close(w.ready)
		case w.n > w.m.most-w.m.used:
		case free:
			q.dequeueLocked(w)
			q.takeLocked(w.m, w.n, now)
			close(w.ready)
		default:
			return
		}
		w = next
	}
}

// refusalLocked returns why a request for n units is refused; nil: the request waits.
func (q *Quota) refusalLocked(n int, o outlook, now time.Duration) error {
	a := &q.acc
	switch {
	case a.closing:
		return q.reject(0, ErrClosed)
	case n > a.limit():
		return q.reject(0, fmt.Errorf("%w: %d of %d units", ErrWeight, n, a.limit()))
	case o == lost:
		return q.reject(max(1, a.retryAt-now), errors.Join(ErrLost, q.claimErr))
	case o == calming:
		return q.reject(max(1, a.calmAt-now), ErrTooMany)
	}
	return nil
}

func (q *Quota) reject(retryAfter time.Duration, err error) error {
	return &resource.Rejection{Policy: q.cfg.Quota, RetryAfter: retryAfter, Err: err}
}

// wake has run compute the time of the next claim again.
func (q *Quota) wake() {
	select {
	case q.kick <- struct{}{}:
	default:
	}
}

// run makes claims until the Quota is closed and the ledger has recorded that it has no units,
// or until q.ctx ends.
func (q *Quota) run() {
	defer close(q.done)
	timer := time.NewTimer(forever)
	defer timer.Stop()
	for {
		q.stopped()
		now := q.now()
		q.mu.Lock()
		at, left := q.acc.next(now), q.acc.left
		q.mu.Unlock()
		switch {
		case left || q.ctx.Err() != nil:
			return
		case at <= now:
			q.claim()
			continue
		}
		timer.Reset(at - now)
		select {
		case <-timer.C:
		case <-q.kick:
		case <-q.ctx.Done():
		}
	}
}

// claimPart: a claim may take Lease/claimPart.
const claimPart = 6

// claim makes one claim.
func (q *Quota) claim() {
	sent := q.now()
	q.mu.Lock()
	closers := q.lapseLocked(sent)
	c := q.acc.prepare(sent)
	q.mu.Unlock()
	expireAll(closers)
	c.Quota, c.Holder = q.cfg.Quota, q.holder
	ctx, cancel := context.WithTimeout(q.ctx, q.cfg.Lease/claimPart)
	g, err := q.ask(ctx, c)
	cancel()
	q.stopped()
	now := q.now()
	q.mu.Lock()
	closers = q.lapseLocked(now)
	q.claims++
	if err == nil {
		q.claimErr = nil
		q.acc.succeed(sent, now, g)
		q.lapse.Reset(max(0, q.acc.until-now))
	} else {
		q.failed++
		q.claimErr = err
		q.acc.fail(now)
	}
	q.serveLocked(now)
	q.mu.Unlock()
	expireAll(closers)
}

// ask calls the ledger.
func (q *Quota) ask(ctx context.Context, c Claim) (Grant, error) {
	g, err := q.call.do(ctx, q.cfg.Lease/retryPart, func() (Grant, error) { return q.cfg.Ledger.Claim(ctx, c) })
	if err == nil && !possible(&c, &g) {
		err = fmt.Errorf("fleet: Ledger.Claim returned an invalid grant: %+v", g)
	}
	return g, err
}

// possible reports whether a ledger that keeps its contract can answer c with g. Any other
// answer is dropped: by it the process would use units that the ledger has not recorded.
func possible(c *Claim, g *Grant) bool {
	leaves := c.Has == 0 && c.Want == 0
	return g.Granted >= c.Has && g.Granted <= max(c.Has, g.Target) && g.Target >= 0 && g.Target <= c.Want && g.Total >= g.Granted &&
		g.Limit >= 1 && g.Highest >= g.Limit && g.Highest <= MaxUnits && g.Lease >= minLease && g.Next >= 0 &&
		g.Holders >= 0 && g.Holders <= MaxUnits && (leaves || g.Limit <= c.Limit && g.Holders >= 1)
}

// lapsed is called when the lease may have ended.
func (q *Quota) lapsed() {
	q.stopped()
	now := q.now()
	q.mu.Lock()
	a := &q.acc
	if a.valid(now) {
		q.lapse.Reset(a.until - now)
		q.mu.Unlock()
		return
	}
	closers := q.lapseLocked(now)
	q.serveLocked(now)
	q.mu.Unlock()
	q.wake()
	expireAll(closers)
}

// lapseLocked handles the end of the lease, once for each lease that has ended, and returns
// what the caller must close. A renewal calls it too: a process that was stopped may renew
// its lease before the timer of lapsed runs.
func (q *Quota) lapseLocked(now time.Duration) (closers []*expiry) {
	a := &q.acc
	if a.valid(now) || a.expired || a.until == 0 {
		return nil
	}
	a.expired, a.lapsed = true, true
	a.countOver(now)
	if !a.left {
		q.lapses++
	}
	if q.cfg.CloseBeforeExpiry {
		closers = q.takeExpiriesLocked()
	}
	q.reshareLocked(now)
	return closers
}

// reshareLocked divides the fair share among the members while the process has more, or
// while the ledger cannot grant what they want together.
func (q *Quota) reshareLocked(now time.Duration) {
	excess, all := q.acc.surplus(now)
	divides := excess > 0 || len(q.members) > 1 && q.acc.unmet && q.acc.waiting > 0 && q.acc.valid(now) && !q.acc.last.Learning
	if !divides && !q.sharing {
		return
	}
	q.sharing = divides
	switch {
	case !divides:
		for _, m := range q.members {
			m.bound(unbounded, false)
		}
	case all:
		for _, m := range q.members {
			m.bound(0, true)
		}
	case len(q.members) == 1:
		q.members[0].bound(q.acc.target, false)
	default:
		q.divideLocked(q.acc.target)
	}
}

// divideLocked divides units among the members.
func (q *Quota) divideLocked(units int) {
	q.parts = q.parts[:0]
	for i, m := range q.members {
		q.parts = append(q.parts, part{member: i, number: m.number, weight: m.weight, want: m.used + m.waiting})
	}
	divide(units, q.parts)
	for i := range q.parts {
		q.members[q.parts[i].member].bound(q.parts[i].share, false)
	}
}

// bound sets how many units m may have.
func (m *Member) bound(units int, expired bool) {
	m.most = units
	n := int64(unbounded)
	if units < unbounded {
		n = int64(units / m.weight)
	}
	m.share.set(n, expired)
}

// unbounded is the share of a member that need not give anything up.
const unbounded = math.MaxInt

// Close ends the Quota. Requests that wait, and later ones, are refused with [ErrClosed].
// Close blocks until every unit in use has been returned, as closing the pools does; meanwhile
// the lease is renewed. Then it states to the ledger that no unit is left, and returns nil.
//
// If ctx ends before that, the goroutine ends, and Close fails with a [*CloseError] that
// matches the error of ctx, a thirtieth of Lease later at most. The ledger then grants the units
// to others when the lease ends, and with CloseBeforeExpiry resources in use are closed before.
// Close may be called again, and at the same time: all calls end together.
func (q *Quota) Close(ctx context.Context) error {
	now := q.now()
	q.mu.Lock()
	q.acc.closing = true
	q.serveLocked(now)
	q.mu.Unlock()
	q.wake()
	select {
	case <-q.done:
	case <-ctx.Done():
		q.cancel()
		<-q.done
	}
	q.cancel()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.acc.left {
		q.lapse.Stop()
		return nil
	}
	err := &CloseError{Held: q.acc.used, Err: ctx.Err(), Claim: q.claimErr}
	if err.Err == nil {
		err.Err = ErrClosed // another call of Close was given up
	}
	return err
}

// CloseError is the error of a [Quota.Close] whose context ended.
type CloseError struct {
	Held  int   // units that were still in use
	Err   error // that of the context; [ErrClosed] if it was the context of another call of Close
	Claim error // that of the last claim; nil: the ledger answered it
}

// Error implements error.
func (e *CloseError) Error() string {
	text := fmt.Sprintf("fleet: closed with %d units in use: %v", e.Held, e.Err)
	if e.Claim != nil {
		text += "; last claim: " + e.Claim.Error()
	}
	return text
}

// Unwrap returns Err and Claim.
func (e *CloseError) Unwrap() []error { return []error{e.Err, e.Claim} }

// waitingLocked returns how many requests wait.
func (q *Quota) waitingLocked() (n int) {
	for w := q.first; w != nil; w = w.next {
		n++
	}
	return n
}
