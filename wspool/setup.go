package wspool

import (
	"context"
	"fmt"
	"time"

	"github.com/respool/respool/resource"
)

// setUp has OnConnect set l up, with a lease that is none of the pool's. It
// returns why the connection must not be pooled.
func (l *link) setUp(ctx context.Context, began time.Time) error {
	id := resource.MakingID(ctx)
	defer func() {
		l.mu.Lock()
		l.greeting = nil
		l.mu.Unlock()
	}()
	return l.early(resource.Info{ID: id, Age: time.Since(began)}, "OnConnect", func(c *Conn) error {
		return l.hub.cfg.OnConnect(ctx, c)
	})
}

// greet reads the greeting, and keeps it for OnConnect if there is one.
func (l *link) greet(ctx context.Context) error {
	return l.early(resource.Info{}, "the greeting", func(c *Conn) error {
		kind, data, err := c.ReadMessage(ctx)
		if err != nil {
			return fmt.Errorf("the server's greeting, which Config.Greeting says it sends, has not come: %w", err)
		}
		if l.hub.cfg.OnConnect != nil {
			l.mu.Lock()
			l.greeting = &Message{kind, data}
			l.mu.Unlock()
		}
		return nil
	})
}

// early calls f, called name in errors, with a lease to which Exchange does not
// apply.
func (l *link) early(i resource.Info, name string, f func(*Conn) error) error {
	c := &Conn{&tenant{link: l, detached: true, early: true}}
	l.mu.Lock()
	l.info = &i
	l.tenant = c.tenant // what has come in already is for it too
	l.mu.Unlock()
	defer c.end(errNotReturned, true, nil)
	if err := f(c); err != nil {
		return err
	}
	c.end(nil, false, nil)
	if cause := l.why(); cause != nil {
		return fmt.Errorf("after %s: %w", name, cause)
	}
	return nil
}
