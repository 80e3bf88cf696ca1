package wspool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/respool/respool/wspool/internal/wsconn"
)

// QuietPatience is how long after [Config.Quiet] a connection that a lease has
// given back may go on sending messages before it is destroyed.
const QuietPatience = 10 * time.Second

// quarantine is the time between a lease and the next in which what comes in is
// still the first one's. It begins with the end of the lease, before the pool
// hears of that, and the pool lends the connection when serveQuarantine has
// returned. Its link's lock guards it.
type quarantine struct {
	on    bool
	heard int64 // when the lease ended, or a message came after it, on the hub's clock
}

// quarantines reports whether the end of c begins a quarantine: it is a lease of
// the pool's that has exchanged messages. l is locked.
func (l *link) quarantines(c *tenant) bool {
	return l.hub.cfg.Quiet > 0 && !c.detached && (c.out > 0 || c.in > 0 || c.drained)
}

// beginQuarantine begins the quarantine after c, if there is to be one. l is
// locked.
func (l *link) beginQuarantine(c *tenant) {
	if l.quarantines(c) {
		l.quarantine = quarantine{on: true, heard: l.hub.clock.Now()}
	}
}

// onRelease is what the pool calls before it lends a connection again.
func (h *hub) onRelease() func(context.Context, *link) error {
	if h.cfg.Quiet == 0 {
		return nil // a call would cost more than the lease
	}
	return func(ctx context.Context, l *link) error { return l.serveQuarantine(ctx) }
}

// serveQuarantine waits until no message has come in for Config.Quiet. If that
// takes too long, or the connection ends, it returns an error.
func (l *link) serveQuarantine(ctx context.Context) error {
	l.mu.Lock()
	if !l.quarantine.on {
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	l.hub.count.quarantined.Add(1)
	defer l.hub.count.quarantined.Add(-1)
	quiet := int64(l.hub.cfg.Quiet)
	end := l.hub.clock.Now() + quiet + int64(QuietPatience)
	for {
		now := l.hub.clock.Now()
		l.mu.Lock()
		left := l.quarantine.heard + quiet - now
		l.mu.Unlock()
		switch {
		case now > end:
			return l.neverQuiet()
		case left > 0:
			if err := l.waitQuiet(ctx, time.Duration(min(left, end-now+1))); err != nil {
				return err
			}
			continue
		}
		// What has come in just now, or in part, is still late.
		if err := l.settle(ctx, time.Duration(end-now+1)); errors.Is(err, wsconn.ErrNotQuiet) {
			return l.neverQuiet()
		} else if err != nil {
			return err
		}
		l.mu.Lock()
		over := l.quarantine.heard+quiet <= now
		if over {
			l.quarantine.on = false
		}
		l.mu.Unlock()
		if over {
			return nil
		}
	}
}

// neverQuiet is why a connection is destroyed on which messages come and come.
func (l *link) neverQuiet() error {
	return fmt.Errorf("%w: messages still came %v after its end", ErrUnread, l.hub.cfg.Quiet+QuietPatience)
}

// waitQuiet waits for d, or returns why the wait is in vain.
func (l *link) waitQuiet(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-l.broken:
		return l.why()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// dropLate drops a message of the lease that has ended, or sends what
// OnUnsolicited answers to it: a ping of the application's protocol may come then
// as well.
func (l *link) dropLate(m incoming) error {
	l.hub.count.late.Add(1)
	l.mu.Lock()
	l.quarantine.heard = l.hub.clock.Now()
	l.mu.Unlock()
	data, err := l.readStray(m)
	if err != nil || l.hub.cfg.OnUnsolicited == nil {
		return err
	}
	_, err = l.respond(Message{m.kind, data})
	if errors.As(err, new(*refusal)) {
		err = nil
	}
	return err
}
