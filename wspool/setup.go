package wspool

import (
	"context"
	"fmt"
)

// setUp has OnConnect set l up, sees to it that the server has said nothing that
// is still to be read, and gives l to the keeper.
func (l *link) setUp(ctx context.Context) error {
	l.hub.keeper.adopt(l)
	if err := l.connected(ctx); err != nil {
		return err
	}
	return l.settle(ctx, quietWait)
}

// connected calls OnConnect with a lease that is none of the pool's.
func (l *link) connected(ctx context.Context) error {
	set := l.hub.cfg.OnConnect
	if set == nil {
		return nil
	}
	c, err := l.detach(ctx)
	if err != nil {
		return err
	}
	defer c.end(errNotReturned, true, nil)
	if err := set(ctx, c); err != nil {
		return err
	}
	if taint := c.end(nil, false, nil); taint != nil {
		return fmt.Errorf("wspool: OnConnect: %w", taint)
	}
	return nil
}
