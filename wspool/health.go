package wspool

import (
	"context"
	"errors"

	"github.com/respool/respool/resource"
)

// checker makes a check of connections one of links.
func checker(h resource.Health[*Conn]) resource.Health[*link] {
	if h == nil {
		return nil
	}
	if s, ok := h.(resource.Scheduled); ok {
		return struct {
			check
			resource.Scheduled
		}{check{h}, s}
	}
	return check{h}
}

type check struct{ of resource.Health[*Conn] }

// Check gives the check a lease that is none of the pool's.
func (k check) Check(ctx context.Context, l *link, i resource.Info) error {
	c, err := l.detach(ctx)
	if err != nil {
		return err
	}
	defer c.end(errNotReturned, true, nil)
	err = k.of.Check(ctx, c, i)
	if taint := c.end(nil, false, nil); taint != nil {
		return errors.Join(taint, err)
	}
	return err
}
