package wspool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/wspool/internal/wsconn"
)

// messageRate counts the unsolicited messages of a minute.
type messageRate struct {
	began time.Time // of the minute that is counted
	n     int
}

// allow reports whether one more may arrive, of limit in a minute.
func (r *messageRate) allow(now time.Time, limit int) bool {
	if now.Sub(r.began) >= time.Minute {
		*r = messageRate{began: now}
	}
	r.n++
	return r.n <= limit
}

// unsolicited deals with a message that belongs to no lease. If a lease has left it
// unread, only an answer shows that it is no part of a reply.
func (w *watcher) unsolicited(m incoming, o owner) error {
	l := w.l
	l.hub.count.unsolicited.Add(1)
	if l.hub.cfg.OnUnsolicited == nil {
		if o == ownerLeft {
			return fmt.Errorf("%w: one was waiting", ErrUnread)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.ticket.proved || l.hub.cfg.Greeting {
			return ErrUnsolicited
		}
		// The connection has served no lease yet: the message is probably a greeting.
		return fmt.Errorf("%w: it came before any lease of this connection; a server that greets needs Config.Greeting, or an OnConnect that reads the greeting", ErrUnsolicited)
	}
	if l.rate == nil {
		l.rate = new(messageRate)
	}
	if !l.rate.allow(time.Now(), l.hub.cfg.UnsolicitedLimit) {
		return fmt.Errorf("%w: over %d unsolicited messages in a minute", ErrFlooded, l.hub.cfg.UnsolicitedLimit)
	}
	data, err := w.readAll(m)
	if err != nil {
		return err
	}
	answered, err := w.respond(Message{m.kind, data})
	if err == nil && !answered && o == ownerLeft && l.cause() == nil {
		return fmt.Errorf("%w: one was waiting, and OnUnsolicited had no answer to it", ErrUnread)
	}
	return err
}

// late drops a message of the lease that has ended, or sends what OnUnsolicited answers
// to it: it may be a ping of the application's protocol.
func (w *watcher) late(m incoming) error {
	l := w.l
	l.hub.count.late.Add(1)
	l.mu.Lock()
	l.quarantine.message(l.hub.clock.Now())
	l.mu.Unlock()
	data, err := w.readAll(m)
	if err != nil || l.hub.cfg.OnUnsolicited == nil {
		return err
	}
	_, err = w.respond(Message{m.kind, data})
	if foreign.As(err, new(*refusal)) {
		err = nil
	}
	return err
}

// readAll reads a message to its end that no lease gets.
func (w *watcher) readAll(m incoming) ([]byte, error) {
	l := w.l
	data, err := l.readAll(m)
	switch {
	case foreign.Is(err, ErrReadLimit):
		return nil, refuseLength(l.ws, err, l.hub.cfg.ReadLimit)
	case foreign.Is(err, ErrNotUTF8):
		return nil, refuseText(l.ws, err)
	case err != nil:
		return nil, readError(err)
	}
	l.frames.MessageDone()
	return data, nil
}

// refusal is an error that OnUnsolicited returned.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// respond calls OnUnsolicited and sends its answer. It reports whether there was one. An
// error that OnUnsolicited returns is a *refusal.
func (w *watcher) respond(m Message) (answered bool, err error) {
	l := w.l
	ctx, cancel := context.WithTimeout(l.hub.ctx, l.hub.cfg.WriteTimeout)
	defer cancel()
	l.mu.Lock()
	l.end.halt = cancel
	ended := l.end.cause != nil
	l.mu.Unlock()
	if ended {
		return false, nil
	}
	answer, err := l.hub.askUnsolicited(ctx, m, l.fail)
	if err != nil || answer == nil {
		return false, err
	}
	turn := l.writeTurn.join()
	select {
	case <-turn:
		defer l.writeTurn.give()
	case <-ctx.Done():
		l.writeTurn.leave(turn)
		return false, fmt.Errorf("wspool: answering an unsolicited message: %w", ctx.Err())
	}
	if err := l.put(ctx, func() error { return write(l, *answer) }); err != nil {
		return false, fmt.Errorf("wspool: answering an unsolicited message: %w", err)
	}
	return true, nil
}

// askUnsolicited calls OnUnsolicited, which may end its goroutine, the watcher. failed
// is as in contain.
func (h *hub) askUnsolicited(ctx context.Context, m Message, failed func(error)) (answer *Message, err error) {
	broke := h.contain("OnUnsolicited", failed, func() { answer, err = h.cfg.OnUnsolicited(ctx, m) })
	if broke != nil {
		return nil, broke
	}
	switch {
	case err != nil:
		err = &refusal{err}
	case answer == nil:
	case !isData(answer.Type):
		err = fmt.Errorf("wspool: OnUnsolicited: answer: %w", badType(answer.Type))
	default:
		if bad := h.checkText(answer.Type, answer.Data); bad != nil {
			err = fmt.Errorf("wspool: OnUnsolicited: answer: %v", bad) // not ErrNotUTF8, which blames the peer
		}
	}
	return answer, err
}

// readAll reads a message to its end. Gorilla's read limit counts the bytes that were
// sent; what they inflate to is limited here.
func (l *link) readAll(m incoming) (data []byte, err error) {
	switch {
	case m.whole != nil:
		data = m.whole
	case !l.hub.cfg.Compression:
		data, err = l.sizes.ReadAll(m.r)
	default:
		limit := min(l.hub.cfg.ReadLimit, math.MaxInt64-1)
		data, err = l.sizes.ReadAll(io.LimitReader(m.r, limit+1))
		if err == nil && int64(len(data)) > limit {
			return nil, ErrReadLimit
		}
	}
	if err == nil {
		err = l.hub.checkText(m.kind, data)
	}
	return data, err
}

// QuietPatience is how long after [Config.Quiet] a connection that a lease has given
// back may go on sending messages before it is destroyed.
const QuietPatience = 10 * time.Second

// quarantine is the time between a lease and the next in which every message that
// arrives belongs to the first. It begins with the end of the lease, before the pool
// knows of that, and the pool lends the connection when serveQuarantine has returned.
// The connection's lock guards it.
type quarantine struct {
	on    bool
	heard int64 // when the lease ended, or the last message after it arrived
}

func (q *quarantine) begin(now int64) { *q = quarantine{on: true, heard: now} }

// message notes that a message has arrived.
func (q *quarantine) message(now int64) { q.heard = now }

// left returns how much longer nothing may arrive.
func (q *quarantine) left(now, quiet int64) int64 { return q.heard + quiet - now }

// tryEnd ends the quarantine if nothing has arrived for quiet.
func (q *quarantine) tryEnd(now, quiet int64) bool {
	over := q.left(now, quiet) <= 0
	q.on = q.on && !over
	return over
}

// onRelease returns what the pool calls before it lends a connection again.
func (h *hub) onRelease() func(context.Context, *link) error {
	if h.cfg.Quiet == 0 {
		return nil // a call would cost more than the lease
	}
	return func(ctx context.Context, l *link) error { return l.serveQuarantine(ctx) }
}

// serveQuarantine waits until no message has arrived for Config.Quiet. It returns an
// error if that takes too long or the connection ends.
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
	endless := fmt.Errorf("%w: messages still came %v after its end", ErrUnread, l.hub.cfg.Quiet+QuietPatience)
	for {
		now := l.hub.clock.Now()
		l.mu.Lock()
		left, gone := l.quarantine.left(now, quiet), l.end.done()
		l.mu.Unlock()
		switch {
		case now > end:
			return endless
		case left > 0:
			t := time.NewTimer(time.Duration(min(left, end-now+1)))
			select {
			case <-t.C:
				continue
			case <-gone:
				t.Stop()
				return l.cause()
			case <-ctx.Done():
				t.Stop()
				return context.Cause(ctx)
			}
		}
		// What has arrived just now, whole or in part, is late too.
		if err := l.settle(ctx, time.Duration(end-now+1)); errors.Is(err, wsconn.ErrNotQuiet) {
			return endless
		} else if err != nil {
			return err
		}
		l.mu.Lock()
		over := l.quarantine.tryEnd(now, quiet)
		l.mu.Unlock()
		if over {
			return nil
		}
	}
}
