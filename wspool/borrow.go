package wspool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/respool/respool/internal/cause"
	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/internal/bridge"
	"github.com/respool/respool/wspool/internal/wsconn"
)

// lender is a pool of connections, or several.
type lender interface {
	AcquireWith(ctx context.Context, r resource.Request) (resource.Lease[*link], error)
}

// tryLender is a lender that can lend what is idle.
type tryLender interface {
	lender
	TryAcquire() (resource.Lease[*link], bool)
}

// freshTries is how many connections that no caller has used may die while a caller is
// lent them, before the caller gets the error: the first, and others that were dialled
// after its death.
const freshTries = 3

// borrow is AcquireWith.
func borrow(ctx context.Context, from lender, r resource.Request) (*Conn, error) {
	return borrowFor(ctx, from, r, nil)
}

// borrowFor is borrow for a claim, which is notified of the end of the lease, if it is not nil.
func borrowFor(ctx context.Context, from lender, r resource.Request, c *bridge.Claim) (*Conn, error) {
	b := newBorrower(from, r)
	b.claim = c
	pooled, err := b.acquire(ctx)
	if err != nil {
		return nil, err
	}
	return b.lend(ctx, pooled)
}

// borrower acquires a connection for one caller, which can take several leases of the pool.
type borrower struct {
	from     lender
	request  resource.Request
	until    time.Time // when request.MaxWait is over
	patience patience
	died     time.Time     // when the first unused connection died; zero: none has
	fresh    int           // how many unused ones have died, as far as they count
	claim    *bridge.Claim // is notified of the end of the lease; nil: none is
}

func newBorrower(from lender, r resource.Request) borrower {
	b := borrower{from: from, request: r, patience: patience{proof: r.NoWait}, fresh: 1}
	if r.MaxWait > 0 {
		b.until = time.Now().Add(r.MaxWait)
	}
	return b
}

// acquire returns a lease of the pool, of a connection that may be unfit to be lent.
func (b *borrower) acquire(ctx context.Context) (resource.Lease[*link], error) {
	if b.request.MaxWait > 0 {
		b.request.MaxWait = max(1, time.Until(b.until)) // it bounds all tries together
	}
	return b.from.AcquireWith(ctx, b.request)
}

// lend makes pooled a Conn, or another lease if its connection is unfit.
func (b *borrower) lend(ctx context.Context, pooled resource.Lease[*link]) (*Conn, error) {
	for {
		l := pooled.Value()
		c, err := lend(ctx, pooled, &b.patience, b.request.Shared, b.claim)
		if err == nil {
			return c, nil
		}
		// If ctx has ended the next acquire returns the proper error. If the connection
		// is not dead it is vetted in the background.
		if ctx.Err() == nil && l.cause() != nil && b.fatal(l) {
			return nil, err
		}
		if pooled, err = b.acquire(ctx); err != nil {
			return nil, err
		}
	}
}

// fatal reports whether the caller has to know that l died while it was lent. When the server
// has gone others that existed then may do so too, but each only once. If one does that was
// dialled afterwards, the caller has to know.
func (b *borrower) fatal(l *link) bool {
	switch {
	case l.leases > 0:
	case b.died.IsZero():
		b.died = time.Now()
	case time.Duration(l.hub.clock.Now()-l.dialed) < time.Since(b.died): // it may be of another hub, with another clock
		b.fresh++
	}
	return b.fresh == freshTries
}

// tryBorrow is TryAcquire.
func tryBorrow(from tryLender) (*Conn, bool) {
	p := patience{proof: true}
	for {
		pooled, ok := from.TryAcquire()
		if !ok {
			return nil, false
		}
		c, err := lend(context.Background(), pooled, &p, false, nil)
		if err == nil {
			return c, true
		}
		if p.spent() {
			return nil, false
		}
	}
}

// lend makes a lease of the pool a Conn. If it fails it has ended the lease. A connection
// that is not certain to be fit within what p has left is vetted in the background, and
// returns to the pool if it passes.
func lend(ctx context.Context, pooled resource.Lease[*link], p *patience, shared bool, claim *bridge.Claim) (*Conn, error) {
	l := pooled.Value()
	c := newConn(l)
	c.pooled, c.state.shared = pooled, shared
	c.claim = claim
	if !l.attach(c.lease) {
		err := vetting{l}.briefly(ctx, p)
		if err == nil {
			err = l.attachVetted(c.lease)
		}
		switch cause := l.cause(); {
		case err == nil:
		case cause != nil: // also if it has died since vet returned
			pooled.Discard(cause)
			return nil, cause
		default:
			pooled.ReleaseAfter(func(ctx context.Context, l *link) error { return vetting{l}.fully(ctx) })
			return nil, err
		}
	}
	l.leases++
	c.reclaimable()
	return c, nil
}

// errNotReturned is why Do destroys a connection whose function panicked.
var errNotReturned = cause.New("wspool: the function that had the connection did not return", "not returned")

// do is Do.
func do(ctx context.Context, from lender, r resource.Request, f func(context.Context, *Conn) error) error {
	_, err := doOnce(ctx, from, r, f)
	return err
}

// doOnce is do. It also reports whether f failed because the connection ended before f
// had written anything.
func doOnce(ctx context.Context, from lender, r resource.Request, f func(context.Context, *Conn) error) (unsent bool, err error) {
	c, err := borrow(ctx, from, r)
	if err != nil {
		return false, err
	}
	defer c.Discard(errNotReturned) // does nothing after Fail
	err = f(ctx, c)
	unsent = c.unsent(err)
	c.Fail(err)
	return unsent, err
}

// doIdempotent is DoIdempotent.
func doIdempotent(ctx context.Context, from lender, f func(context.Context, *Conn) error) error {
	unsent, err := doOnce(ctx, from, resource.Request{}, f)
	if !unsent && !foreign.Is(err, ErrStale) {
		return err
	}
	return do(ctx, from, resource.Request{Fresh: true}, f)
}

// A connection is lent when it is certain that its peer lives and that everything that
// has arrived was dealt with. For most connections that is known at once. One whose peer
// must answer a ping first, or send the rest of a frame, is vetted: for a moment by the
// caller that has acquired it, then in the background (see [resource.Lease.ReleaseAfter]),
// while the caller goes on to another connection or waits for whichever is ready first.

// vetTime is how long one acquire waits for connections to be vetted, all of them
// together, before it goes on without them. A delay by a busy machine is usually over
// within microseconds, and a dial takes longer than this on most networks.
const vetTime = 10 * time.Millisecond

// quietWait is how long a goroutine waits for the reader to deal with what has arrived.
// That takes microseconds, or as long as the scheduler keeps the reader waiting: a
// reader that has not run is no evidence against the connection. So the limit is only
// for a peer that floods the connection or does not take its pongs.
const quietWait = 2 * time.Second

// tryWait is quietWait for a caller that does not want to wait.
const tryWait = 5 * time.Millisecond

// patience is how much of vetTime an acquire has left. The zero patience has all of it.
type patience struct {
	proof bool         // it waits for a ping's answer too, because it cannot wait in line
	until int64        // on clock; 0: it has not begun
	clock wsconn.Clock // that of the first connection's hub: the next may be of another hub
}

// left returns how long the acquire may still wait.
func (p *patience) left(c wsconn.Clock) time.Duration {
	if p.until == 0 {
		p.clock, p.until = c, c.Now()+int64(vetTime)
	}
	return time.Duration(max(0, p.until-p.clock.Now()))
}

// spent reports whether twice vetTime is over: an acquire that must not wait is not kept
// by connections that return vetted and are in doubt again.
func (p *patience) spent() bool {
	return p.until != 0 && p.clock.Now() > p.until+int64(vetTime)
}

// errUnproven is why a connection in doubt is not lent yet.
var errUnproven = errors.New("wspool: the peer has not shown yet that it is alive")

// doubtfulLocked reports whether the peer must answer a ping before the connection is
// lent: another connection was found dead since bytes last arrived here, or they arrived
// longer ago than a live peer may be silent, as where the process has stood still. The
// clock is read only if the connection is not hot.
func (l *link) doubtfulLocked() bool {
	if l.hub.cfg.KeepAlive <= 0 {
		return false
	}
	heard := l.frames.LastRead.Load()
	if l.hub.suspect.Load() > heard || !l.keepalive.vouched(l.frames.Gap()) {
		return true
	}
	return !l.watch.hot() && l.hub.clock.Now()-heard > l.hub.longestSilence()
}

// trusted reports whether the peer need not answer a ping first.
func (l *link) trusted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.doubtfulLocked()
}

// vetting finds out whether a connection may be lent.
type vetting struct{ l *link }

// briefly finds out whether the connection may be lent, for as long as p has left. It returns
// nil, why the connection must not be used, ctx's error, or, if the time was too short,
// errUnproven or wsconn.ErrNotQuiet.
func (v vetting) briefly(ctx context.Context, p *patience) error {
	l := v.l
	left := p.left(l.hub.clock)
	if !l.trusted() {
		if !p.proof || left <= 0 {
			return errUnproven
		}
		limited, cancel := context.WithTimeout(ctx, left)
		_, err := l.roundTrip(limited, l.trusted)
		cancel()
		switch cause := l.cause(); {
		case cause != nil:
			return cause
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return errUnproven
		}
		left = p.left(l.hub.clock)
	}
	return l.settle(ctx, left)
}

// fully is briefly to the end: if the connection is not found fit to be lent in time, it
// is taken out of use. It runs in the background, once for all callers that have acquired
// the connection, and its time does not depend on theirs.
func (v vetting) fully(ctx context.Context) error {
	l := v.l
	if !l.trusted() {
		if err := v.prove(ctx); err != nil {
			return err
		}
	}
	wait := quietWait
	if since := l.frames.PartialSince(); since != 0 { // the rest of a frame is overdue already
		wait = max(vetTime, quietWait-time.Duration(l.hub.clock.Now()-since))
	}
	err := l.settle(ctx, wait)
	if errors.Is(err, wsconn.ErrNotQuiet) {
		l.fail(err)
	}
	return err
}

// prove has the peer show that it is alive: it must answer a ping within PongWait, or the
// connection is taken out of use. If the process stood still meanwhile, or the answer may
// have arrived unread, the peer gets as much time again.
func (v vetting) prove(ctx context.Context) error {
	l := v.l
	wait := l.hub.cfg.PongWait
	for again := false; ; again = true {
		began := l.hub.clock.Now()
		limited, cancel := context.WithTimeout(ctx, wait)
		_, err := l.roundTrip(limited, l.trusted)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case limited.Err() == nil:
			l.fail(err)
			return err
		}
		late := time.Duration(l.hub.clock.Now()-began) - wait
		if !again && (l.raw.Readable() || stoodStill(late, wait)) {
			continue
		}
		err = fmt.Errorf("%w for %v", ErrSilent, wait)
		l.fail(err)
		return err
	}
}

// settle waits until everything that had arrived before was dealt with. It returns why
// the connection must not be used, ctx's error, or wsconn.ErrNotQuiet if that takes longer
// than patience. A message that has arrived belongs to no lease.
func (l *link) settle(ctx context.Context, patience time.Duration) error {
	l.mu.Lock()
	if l.settledLocked() {
		defer l.mu.Unlock()
		return l.end.cause
	}
	return l.settleUntil(ctx, patience, l.settledLocked)
}

// settleUntil is settle where the reader has to do it, or until done, which is called
// with mu held, reports that it need not. It is called with mu held and returns without.
func (l *link) settleUntil(ctx context.Context, patience time.Duration, done func() bool) error {
	l.settling++
	gone := l.end.done()
	l.mu.Unlock()
	err := l.raw.WaitQuiet(ctx, l.frames.Drained, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return done()
	}, gone, patience)
	if errors.Is(err, wsconn.ErrNotQuiet) && patience == quietWait {
		l.fail(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settling--
	if l.end.cause != nil {
		return l.end.cause
	}
	return err
}

// settledLocked reports whether settle has nothing left to wait for. If it has, it makes
// sure that a goroutine reads. Once the lease has written, what arrives may be its answer,
// and a message that has begun to arrive for it is its own.
func (l *link) settledLocked() bool {
	return l.end.cause != nil || l.watch.midMessage() || l.lease != nil && l.lease.state.out > 0 || l.lookLocked()
}

// lookAge is how old the look of attach may be to stand for that before the first write.
//
// A message that arrives between a look and the write passes for a reply, as does one that the
// server sent before it received the request: the pool cannot know them from a reply. That the
// look is so old lets in what arrives in this time, which is less than a local server needs for
// one system call, beside what arrives in the time that the request takes to the server. The
// time between an acquire and a write that follows at once is less than half of it. A look takes a
// system call, reading the clock does not.
const lookAge = 2 * time.Microsecond

// lookLocked reports whether it is certain that nothing has arrived that was not dealt
// with. If there is no reader it looks itself, and has what it finds watched: mu keeps
// others from becoming the reader.
func (l *link) lookLocked() bool {
	if l.watch.reader != noReader {
		return false
	}
	if l.raw.CanPoll() {
		if some, known := l.frames.TryPoll(false); known && !some && l.frames.Drained() && !l.raw.MidRecord() {
			return true
		}
	}
	l.startWatchLocked()
	return false
}
