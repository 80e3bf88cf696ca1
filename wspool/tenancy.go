package wspool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/respool/respool/resource"
)

// lend makes the lease of a link a Conn. If it fails it has ended the lease. A link
// that is not known to be fit to be lent within what p has left is vetted in the
// background, and comes back to the pool if it passes.
func lend(ctx context.Context, lease resource.Lease[*link], p *patience) (*Conn, error) {
	l := lease.Value()
	c := newConn(l)
	c.lease = lease
	if !l.rent(c.tenant) {
		err := l.vet(ctx, p)
		if err == nil {
			err = l.rentVetted(c.tenant)
		}
		switch cause := l.why(); {
		case err == nil:
		case cause != nil: // also if it has died since vet returned
			lease.Discard(cause)
			return nil, cause
		default:
			lease.ReleaseAfter(func(ctx context.Context, l *link) error { return l.vetFully(ctx) })
			return nil, err
		}
	}
	l.lent++
	c.reclaimable()
	return c, nil
}

// rent makes c the tenant, if it is known that nothing speaks against it.
func (l *link) rent(c *tenant) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil || l.closing || l.doubtful() || !l.look() {
		return false
	}
	l.disarm()
	l.tenant = c
	return true
}

// rentVetted makes c the tenant of a link that was vetted just now, or returns why
// the connection must not be used.
func (l *link) rentVetted(c *tenant) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.cause != nil:
		return l.cause
	case l.closing: // by CloseNow
		return resource.ErrClosed
	}
	l.tenant = c
	return nil
}

// end ends the lease once: by give if the link is clean, or if the caller has
// it destroyed anyway.
func (c *tenant) end(err error, destroy bool, give func(resource.Lease[*link])) (taint error) {
	if !c.ended.CompareAndSwap(false, true) {
		return nil
	}
	taint = c.link.vacate(c, destroy)
	if destroy || taint != nil {
		c.link.raw.UnhookContext() // an open reader
	}
	switch {
	case c.detached: // whatever is returned then, it is destroyed
		taint = cmp.Or(err, taint, because(destroy))
		if taint != nil {
			c.link.fail(taint)
		}
	case taint == nil || destroy:
		give(c.lease)
	case err != nil:
		c.lease.Discard(err)
	default:
		c.lease.Discard(taint)
	}
	return taint
}

// because is why a Conn without a lease was ended by its holder's wish.
func because(destroy bool) error {
	if destroy {
		return resource.ErrDiscarded
	}
	return nil
}

// vacate takes the link from c and returns why it is not clean.
func (l *link) vacate(c *tenant, destroy bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	taint := l.taintOf(c)
	l.tenant = nil
	if destroy || taint != nil {
		l.closing = true
		if c.running > 0 { // they return ErrReleased
			l.raw.Interrupt()
			l.raw.Sever()
			l.signal()
		}
		if taint != nil {
			l.hub.count.tainted.Add(1)
		}
		return taint
	}
	if c.out > 0 {
		l.served(c) // also if nothing was to be read
	}
	l.beginQuarantine(c)
	l.rest()
	return nil
}

// taintOf returns why c does not leave l clean. l is locked.
func (l *link) taintOf(c *tenant) error {
	switch {
	case l.cause != nil:
		return l.cause
	case l.taint != nil:
		return l.taint
	case c.running > 0:
		return fmt.Errorf("%w: a read or write still runs", ErrUnfinished)
	case c.writing:
		return fmt.Errorf("%w: a writer is open", ErrUnfinished)
	case l.open:
		return fmt.Errorf("%w: one was read in part", ErrUnread)
	}
	// What is behind the answer is still this lease's. One who has read one for
	// each he wrote, and goes soon after the last, leaves it to the next look: a
	// read took what there was. But where OnUnsolicited may drop a message, that
	// look could not tell a part of the reply from a message of nobody's, and the
	// next part would pass for the next lease's answer.
	if l.reader == nobody && l.pending.r == nil && l.raw.CanPoll() &&
		(l.hub.cfg.OnUnsolicited != nil || c.in != max(1, c.out) || c.awaiting || l.care.since != l.hub.keeper.tick.Load()) {
		l.frames.Poll()
	}
	broken := c.brokenExchange()
	waiting, torn := l.pending.r != nil || l.frames.State().MessagePending, l.frames.State().Partial || l.raw.MidRecord()
	switch {
	case !c.expects(): // what has come in is no lease's: rest has it dealt with
		return nil
	case !waiting && !torn:
	case broken == nil && l.quarantines(c): // which is for what comes late
	case broken == nil && !torn && (l.hub.cfg.OnUnsolicited != nil || l.owesAnswer()):
		// It may be a ping of the application's protocol, or the answer to a
		// heartbeat: stray finds out. It has come in whole, so that the next lease
		// does not wait for the peer.
		l.trail = l.frames.State().Messages
	case waiting:
		return fmt.Errorf("%w: one is waiting", ErrUnread)
	default:
		return fmt.Errorf("%w: part of one has come", ErrUnread)
	}
	return broken
}

// brokenExchange returns how c has not kept Config.Exchange. A Health that only
// writes says thereby that nobody answers. The link is locked.
func (c *tenant) brokenExchange() error {
	if c.early || c.detached && c.in == 0 {
		return nil
	}
	switch c.link.hub.cfg.Exchange {
	case ReplyLast:
		if c.awaiting {
			return fmt.Errorf("%w: none was read since the last was written", ErrUnread)
		}
	case ReplyEach:
		if c.in != c.out {
			return fmt.Errorf("%w: %d were written and %d read", ErrUnread, c.out, c.in)
		}
	}
	return nil
}

// rest leaves l, which is clean and nobody's, hot, or has it watched if it must
// not or cannot be. l is locked.
func (l *link) rest() {
	if l.reader != nobody {
		return
	}
	if l.hub.cfg.WatchAfter < 0 || l.quarantine.on || !l.raw.CanPoll() || l.frames.EndPending() || l.frames.ControlsPending() || l.frames.MessagePending() || l.frames.Partial() {
		l.startWatch()
		return
	}
	l.care.since = l.hub.keeper.tick.Load()
}

// begin notes that a read or write runs. It returns false if the lease is over.
func (l *link) begin(c *tenant) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tenant != c {
		return false
	}
	c.running++
	return true
}

func (l *link) finish(c *tenant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.running--
}

// orReleased is err, unless the lease has ended meanwhile: then what went wrong
// is the end of the connection behind it. The end of a connection that was used
// before, and from which nothing has come since, is told as such.
func (c *tenant) orReleased(err error) error {
	if err == nil {
		return nil
	}
	if c.ended.Load() {
		return ErrReleased
	}
	l := c.link
	l.mu.Lock()
	dead := l.cause != nil && errors.Is(err, l.cause) || l.mute
	stale := dead && c.in == 0 && !l.frames.State().MessagePending && !c.detached
	l.mu.Unlock()
	if !stale || errors.Is(err, ErrUnsolicited) || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded) || c.lease.Info().Leases <= 1 {
		return err
	}
	l.mu.Lock()
	told := c.stale
	c.stale = true
	l.mu.Unlock()
	if !told {
		l.hub.stale()
	}
	return fmt.Errorf("%w: %w", ErrStale, err)
}

// detach makes a tenant that no caller of the pool is.
func (l *link) detach(ctx context.Context, i resource.Info) (*Conn, error) {
	c := &Conn{&tenant{link: l, detached: true}}
	l.mu.Lock()
	l.info = &i
	l.mu.Unlock()
	if l.rent(c.tenant) {
		return c, nil
	}
	if err := l.vetFully(ctx); err != nil {
		return c, err
	}
	return c, l.rentVetted(c.tenant)
}

// detachedInfo is what is known while c, whom no caller of the pool is, has l.
func (l *link) detachedInfo(c *tenant) resource.Info {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tenant != c {
		return resource.Info{}
	}
	return *l.info
}

// evacuate takes l out of everybody's hands but c's, so that a hijacker may
// have it: c can do nothing more either. It returns false, and nothing has
// changed, if it cannot.
func (l *link) evacuate(c *tenant) bool {
	late := false
	limit := time.AfterFunc(quietWait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		late = true
		l.freed.Broadcast()
	})
	defer limit.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.tenant == c && l.cause == nil && l.taint == nil && !l.owesAnswer() && c.running == 0 && !c.writing && !l.unread() &&
		!l.frames.State().MessagePending && !l.frames.State().Partial && l.reader != lessee && !late {
		switch {
		case l.reader == nobody && l.frames.ControlsPending():
			l.reader = lessee
			l.mu.Unlock()
			l.handleControls()
			l.mu.Lock()
			l.free()
		case l.care.pulse.senders > 0: // a ping or pong is on its way out
			l.freed.Wait()
		case l.reader == nobody:
			l.disarm()
			l.reader, l.tenant = lessee, nil
			l.hub.keeper.tied(l)
			return true
		case l.raw.Dismiss(l.frames.Drained):
			for l.reader == watcher && !late {
				l.freed.Wait()
			}
		default:
			_ = l.calm(context.Background(), tryWait, l.unwatched)
			l.mu.Lock()
		}
	}
	return false
}

// evacuated reports whether a hijacker has l, or is about to. l is locked.
func (l *link) evacuated() bool { return l.reader == lessee && l.tenant == nil && !l.closing }

// readmit undoes evacuate; the lease has ended otherwise.
func (l *link) readmit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free()
	l.hub.keeper.untied(l)
}

// handOver makes l a plain connection of gorilla's.
func (l *link) handOver() {
	l.hub.keeper.forget(l)
	l.hub.count.roster.remove(l)
	l.mu.Lock()
	l.stopHeartbeat()
	l.unbell()
	l.mu.Unlock()
	l.ws.SetPingHandler(nil)
	l.ws.SetPongHandler(nil)
	l.ws.SetCloseHandler(nil)
	l.frames.HandOver()
}
