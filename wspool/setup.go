package wspool

import (
	"context"
	"fmt"
	"time"

	"github.com/respool/respool/resource"
)

// setUp reads the greeting and calls OnConnect, as far as they are configured,
// with a lease that is none of the pool's and to which Exchange does not apply. It
// returns why the connection must not be pooled. That lease begins before the
// keeper has the connection watched: else a message that the server sends first
// could be taken for nobody's.
func (d *dialing) setUp(ctx context.Context, l *link, answer *Response) error {
	info := resource.Info{ID: resource.MakingID(ctx), Age: time.Since(d.start)}
	c := &Conn{&tenant{link: l, detached: true, early: true}}
	l.upgrade.Store(answer)
	l.mu.Lock()
	l.info = &info
	l.tenant = c.tenant // what has come in already is for it too
	l.mu.Unlock()
	defer c.end(errNotReturned, true, nil)
	defer func() {
		l.upgrade.Store(nil) // with its headers a connection would need 1.7 KiB more
		l.mu.Lock()
		l.greeting = nil
		l.mu.Unlock()
	}()
	d.hub.keeper.adopt(l)
	last := ""
	if d.cfg.Greeting {
		d.phase, last = "greeting", "the greeting"
		if err := l.greet(ctx, c); err != nil {
			return err
		}
	}
	if d.cfg.OnConnect != nil {
		d.phase, last = "set-up", "OnConnect"
		if err := d.cfg.OnConnect(ctx, c); err != nil {
			return err
		}
	}
	c.end(nil, false, nil)
	if cause := l.why(); cause != nil {
		return fmt.Errorf("after %s: %w", last, cause)
	}
	return nil
}

// greet reads the greeting, and keeps it for OnConnect.
func (l *link) greet(ctx context.Context, c *Conn) error {
	kind, data, err := c.ReadMessage(ctx)
	if err != nil {
		return fmt.Errorf("the server's greeting, which Config.Greeting says it sends, has not come: %w", err)
	}
	l.mu.Lock()
	l.greeting = &Message{kind, data}
	l.mu.Unlock()
	return nil
}
