package wspool

import (
	"context"
	"fmt"

	"github.com/respool/respool/resource"
)

// forSetUp returns the Conn that OnConnect gets; nil if there is none. It is the
// tenant before the reader starts, since the server may greet at once. There is
// no lease behind it, and reading before writing is in order.
func (l *link) forSetUp() *Conn {
	if l.cfg.OnConnect == nil {
		return nil
	}
	c := &Conn{
		link:     l,
		early:    true,
		released: make(chan struct{}),
		box:      make(chan Message, 1),
		room:     make(chan struct{}, 1),
		wrote:    true,
	}
	c.room <- struct{}{}
	return c
}

// setUp calls OnConnect and takes the connection back from it. It returns why
// the connection must not be pooled. What comes in afterwards is unsolicited.
func (l *link) setUp(ctx context.Context) error {
	l.mu.Lock()
	c := l.tenant
	l.mu.Unlock()
	err := l.cfg.OnConnect(ctx, c)
	c.endEarly(err, err != nil)
	if err != nil {
		return err
	}
	return l.why()
}

// endEarly is end for OnConnect. An OnConnect that ends its Conn otherwise than
// clean has failed.
func (c *Conn) endEarly(err error, destroy bool) {
	if !c.ended.CompareAndSwap(false, true) {
		return
	}
	l := c.link
	l.mu.Lock()
	c.awaiting = false // Exchange does not hold here
	l.mu.Unlock()
	taint := l.vacate(c, destroy)
	close(c.released)
	switch {
	case err != nil:
		l.fail(err)
	case destroy:
		l.fail(resource.ErrDiscarded)
	case taint != nil:
		l.fail(fmt.Errorf("after OnConnect: %w", taint))
	}
}
