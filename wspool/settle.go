package wspool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/respool/respool/wspool/internal/wsconn"
)

// settle sees to it that all that came in before now has been dealt with, and
// returns why the connection must not be used, or ctx's error, or wsconn.ErrNotQuiet if
// that takes longer than patience. What has come in and is no control frame
// belongs to nobody.
func (l *link) settle(ctx context.Context, patience time.Duration) error {
	l.mu.Lock()
	if l.settled() {
		defer l.mu.Unlock()
		return l.cause
	}
	return l.calm(ctx, patience, l.settled)
}

// calm is settle where the reader has to do it, or done, asked with l locked,
// says that it need not.
// l is locked when it is called, and not when it returns.
func (l *link) calm(ctx context.Context, patience time.Duration, done func() bool) error {
	l.settling++
	l.mu.Unlock()
	err := l.raw.WaitQuiet(ctx, l.frames.Drained, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return done()
	}, l.broken, patience)
	if errors.Is(err, wsconn.ErrNotQuiet) && patience == quietWait {
		l.fail(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settling--
	if l.cause != nil {
		return l.cause
	}
	return err
}

// settled reports whether there is nothing left to wait for in settle, and sees
// to it that somebody reads if there is. If the lease has written meanwhile, what
// comes may be its answer, and what has begun to come in for it is its own. l is
// locked.
func (l *link) settled() bool {
	return l.cause != nil || l.unread() || l.tenant != nil && l.tenant.out > 0 || l.look()
}

// unwatched reports whether there is no watcher. l is locked.
func (l *link) unwatched() bool { return l.reader != watcher }

// look reports whether it is certain that nothing has come in that was not dealt
// with. If nobody reads it looks for itself, and puts a watcher to what it finds.
// l is locked, so that nobody begins to read meanwhile.
func (l *link) look() bool {
	if l.reader != nobody {
		return false
	}
	if l.raw.CanPoll() {
		l.frames.Poll()
		if l.frames.Drained() && !l.raw.MidRecord() {
			return true
		}
	}
	l.startWatch()
	return false
}

// stray deals with a message that is nobody's. If it is trailing, a lease has left
// it unread, and only an answer shows that it is no part of a reply.
func (l *link) stray(m incoming, whose whose) error {
	l.hub.count.unsolicited.Add(1)
	if l.hub.cfg.OnUnsolicited == nil {
		if whose == trailing {
			return fmt.Errorf("%w: one was waiting", ErrUnread)
		}
		return l.unsolicited()
	}
	if !l.care.allow(time.Now(), l.hub.cfg.UnsolicitedLimit) {
		return fmt.Errorf("%w: over %d unsolicited messages in a minute", ErrFlooded, l.hub.cfg.UnsolicitedLimit)
	}
	data, err := l.readStray(m)
	if err != nil {
		return err
	}
	answered, err := l.respond(Message{m.kind, data})
	if err == nil && !answered && whose == trailing && l.why() == nil {
		return fmt.Errorf("%w: one was waiting, and OnUnsolicited had no answer to it", ErrUnread)
	}
	return err
}

// unsolicited is why a message that is nobody's ends the connection. If that has
// not served a lease yet, the message is likely to be a greeting.
func (l *link) unsolicited() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.proved || l.hub.cfg.Greeting {
		return ErrUnsolicited
	}
	return fmt.Errorf("%w: it came before any lease of this connection; a server that greets needs Config.Greeting, or an OnConnect that reads the greeting", ErrUnsolicited)
}

// refusal is an error of OnUnsolicited's.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// respond has OnUnsolicited say what to answer to m, and sends that. It reports
// whether there was an answer. An error that OnUnsolicited returns is a *refusal.
func (l *link) respond(m Message) (answered bool, err error) {
	ctx, cancel := context.WithTimeout(l.hub.ctx, l.hub.cfg.WriteTimeout)
	defer cancel()
	l.mu.Lock()
	l.halt = cancel
	ended := l.cause != nil
	l.mu.Unlock()
	if ended {
		return false, nil
	}
	answer, err := l.ask(ctx, m)
	if err != nil || answer == nil {
		return false, err
	}
	select {
	case l.writeTurn <- struct{}{}:
		defer func() { <-l.writeTurn }()
	case <-ctx.Done():
		return false, fmt.Errorf("wspool: answering an unsolicited message: %w", ctx.Err())
	}
	if err := l.put(ctx, func() error { return l.ws.WriteMessage(answer.Type, answer.Data) }); err != nil {
		return false, fmt.Errorf("wspool: answering an unsolicited message: %w", err)
	}
	return true, nil
}

// readStray reads a message to its end that no lease gets.
func (l *link) readStray(m incoming) ([]byte, error) {
	data, err := l.readAll(m)
	switch {
	case errors.Is(err, ErrReadLimit):
		return nil, l.tooBig(err)
	case errors.Is(err, ErrNotUTF8):
		return nil, l.notUTF8(err)
	case err != nil:
		return nil, readError(err)
	}
	l.frames.MessageDone()
	return data, nil
}

// ask calls OnUnsolicited. It may end its goroutine, which is the watcher.
func (l *link) ask(ctx context.Context, m Message) (answer *Message, err error) {
	broke := l.contain("OnUnsolicited", func() { answer, err = l.hub.cfg.OnUnsolicited(ctx, m) })
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
		if bad := l.hub.checkText(answer.Type, answer.Data); bad != nil {
			err = fmt.Errorf("wspool: OnUnsolicited: answer: %v", bad) // not ErrNotUTF8, which is the peer's doing
		}
	}
	return answer, err
}

// readAll reads a message to its end. Gorilla's own limit counts what was sent;
// what that inflates to may be more.
func (l *link) readAll(m incoming) (data []byte, err error) {
	if !l.hub.cfg.Compression {
		data, err = l.sizes.ReadAll(m.r)
	} else {
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
