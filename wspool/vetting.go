package wspool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/respool/respool/wspool/internal/wsconn"
)

// A connection is lent when it is known that its peer lives and that everything
// that has come in was dealt with. For most that is known at once. One that a ping
// or the rest of a frame has to vouch for first is vetted: for a moment by the
// caller that has found it, then in the background (see [resource.Lease.ReleaseAfter]),
// while the caller goes on to another one or waits for whichever is ready first.

// vetTime is how long one acquire waits for connections to be vetted, all of them
// together, before it goes on without them. What a busy machine delays is usually
// done within microseconds, and a dial takes longer than this on most networks.
const vetTime = 10 * time.Millisecond

// quietWait is how long a caller waits for the reader to deal with what has arrived.
// That takes microseconds, or as long as the scheduler keeps the reader waiting: a
// reader that has not run is no evidence against the connection. So the limit is only
// for a peer that floods the connection or does not take its pongs.
const quietWait = 2 * time.Second

// tryWait is quietWait for a caller that does not want to wait.
const tryWait = 5 * time.Millisecond

// patience is how much of vetTime an acquire has left. The zero patience has all.
type patience struct {
	proof bool  // it waits for a suspect's pong too: it cannot wait in line for that
	until int64 // on the hub's clock; 0: it has not begun
}

// left is how long the acquire may still wait.
func (p *patience) left(c wsconn.Clock) time.Duration {
	now := c.Now()
	if p.until == 0 {
		p.until = now + int64(vetTime)
	}
	return time.Duration(max(0, p.until-now))
}

// spent reports whether twice the time is over: connections that come back vetted
// and are in doubt again do not keep an acquire that must not wait.
func (p *patience) spent(c wsconn.Clock) bool {
	return p.until != 0 && c.Now() > p.until+int64(vetTime)
}

// errUnproven is why a connection in doubt is not lent yet.
var errUnproven = errors.New("wspool: the peer has not shown yet that it is alive")

// doubtful reports whether l's peer must show that it is alive before l is lent:
// another connection has been found dead since something last came in, or that is
// longer ago than a peer may be silent, as where the process has stood still. The
// clock is read only where l is not hot. l is locked.
func (l *link) doubtful() bool {
	if l.hub.cfg.KeepAlive <= 0 {
		return false
	}
	heard := l.frames.LastRead.Load()
	if l.hub.suspect.Load() > heard || l.frames.Gap() != l.care.pulse.gap.over {
		return true
	}
	hot := l.reader == nobody && !l.armed
	return !hot && l.hub.clock.Now()-heard > l.hub.longestSilence()
}

// inDoubt is doubtful where l is not locked.
func (l *link) inDoubt() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.doubtful()
}

func (l *link) undoubted() bool { return !l.inDoubt() }

// vet clears up whether l may be lent, for as long as p has left. It returns nil,
// why l must not be used, ctx's error, or, if the time was too short, errUnproven
// or wsconn.ErrNotQuiet.
func (l *link) vet(ctx context.Context, p *patience) error {
	left := p.left(l.hub.clock)
	if l.inDoubt() {
		if !p.proof || left <= 0 {
			return errUnproven
		}
		limited, cancel := context.WithTimeout(ctx, left)
		_, err := l.roundTrip(limited, l.undoubted)
		cancel()
		switch cause := l.why(); {
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

// vetFully is vet to the end: if it is not cleared up in time that l is fit to be
// lent, l is taken out of use. It runs in the background, once for all callers
// that have met l, and its time does not depend on theirs.
func (l *link) vetFully(ctx context.Context) error {
	if l.inDoubt() {
		if err := l.prove(ctx); err != nil {
			return err
		}
	}
	err := l.settle(ctx, l.quietTime())
	if errors.Is(err, wsconn.ErrNotQuiet) {
		l.fail(err)
	}
	return err
}

// quietTime is how long l has to become quiet: quietWait, less what the rest of a
// frame is overdue already.
func (l *link) quietTime() time.Duration {
	since := l.frames.PartialSince()
	if since == 0 {
		return quietWait
	}
	return max(vetTime, quietWait-time.Duration(l.hub.clock.Now()-since))
}

// prove has the peer show that it is alive: it must answer a ping within PongWait,
// or l is taken out of use. If the process stood still meanwhile, or the answer may
// have come and nobody has read it yet, the peer gets as much time again.
func (l *link) prove(ctx context.Context) error {
	wait := l.hub.cfg.PongWait
	for again := false; ; again = true {
		began := l.hub.clock.Now()
		limited, cancel := context.WithTimeout(ctx, wait)
		_, err := l.roundTrip(limited, l.undoubted)
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

// pausePart is by which part of PongWait a timer must be late to tell that the
// process stood still.
const pausePart = 4

// stoodStill reports whether a timer that is that late tells so, where an answer
// has that long.
func stoodStill(late, wait time.Duration) bool { return late >= wait/pausePart }
