package wspool

import (
	"context"
	"fmt"
	"time"

	"github.com/respool/respool/resource"
)

// setUp reads the greeting and calls OnConnect, as far as they are configured, with a lease
// that is not the pool's and to which Exchange does not apply. It returns why the connection
// must not be pooled. That lease begins before the monitor has the connection watched:
// otherwise a message that the server sends first could count as unsolicited.
func (d *dialing) setUp(ctx context.Context, l *link, answer *Response) error {
	given := &detachment{info: resource.Info{ID: resource.MakingID(ctx), Age: time.Since(d.start)}}
	given.answer.Store(answer)
	c := &Conn{&lease{link: l, detached: true, early: true, given: given}}
	l.mu.Lock()
	l.lease = c.lease // what has arrived already is for it too
	l.mu.Unlock()
	defer c.end(errNotReturned, true, nil)
	defer given.answer.Store(nil) // Conn.Response is for OnConnect alone
	d.hub.adopt(l)
	last := ""
	if d.cfg.Greeting {
		d.phase, last = "greeting", "the greeting"
		kind, data, err := c.ReadMessage(ctx)
		if err != nil {
			return fmt.Errorf("the server's greeting, which Config.Greeting says it sends, has not come: %w", err)
		}
		l.mu.Lock()
		given.greeting = &Message{kind, data}
		l.mu.Unlock()
	}
	if d.cfg.OnConnect != nil {
		d.phase, last = "set-up", "OnConnect"
		if err := d.cfg.OnConnect(ctx, c); err != nil {
			return err
		}
	}
	c.end(nil, false, nil)
	if cause := l.cause(); cause != nil {
		return fmt.Errorf("after %s: %w", last, cause)
	}
	return nil
}
