package wspool

import (
	"context"
	"fmt"
)

// setUp has OnConnect set l up, with a lease that is none of the pool's. It
// returns why the connection must not be pooled.
func (l *link) setUp(ctx context.Context, answer *Response) error {
	c := &Conn{&tenant{link: l, detached: true, early: true}}
	l.upgrade.Store(answer)
	defer l.upgrade.Store(nil) // with its headers a connection would need 1.7 KiB more
	l.mu.Lock()
	l.tenant = c.tenant // what has come in already is for it too
	l.mu.Unlock()
	defer c.end(errNotReturned, true, nil)
	if err := l.hub.cfg.OnConnect(ctx, c); err != nil {
		return err
	}
	c.end(nil, false, nil)
	if cause := l.why(); cause != nil {
		return fmt.Errorf("after OnConnect: %w", cause)
	}
	return nil
}
