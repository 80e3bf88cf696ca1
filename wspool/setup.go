package wspool

import (
	"context"
	"fmt"
)

// setUp has OnConnect set l up, with a lease that is none of the pool's. It
// returns why the connection must not be pooled.
func (l *link) setUp(ctx context.Context) error {
	c := &Conn{link: l, detached: true}
	l.mu.Lock()
	l.tenant = c // what has come in already is its, such as a greeting
	l.mu.Unlock()
	defer c.end(errNotReturned, true, nil)
	if err := l.hub.cfg.OnConnect(ctx, c); err != nil {
		c.end(err, true, nil)
		return err
	}
	if taint := c.end(nil, false, nil); taint != nil {
		return fmt.Errorf("after OnConnect: %w", taint)
	}
	return l.why()
}
