package wspool

import (
	"context"
	"fmt"

	"github.com/respool/respool/resource"
)

// checker makes a Health of links from one of Conns.
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

// ended is the error of a check whose connection has ended, or must. It has the text of the
// check's own error, but is not tolerated as that may be.
type ended struct{ cause, said error }

func (e ended) Error() string {
	if e.said == nil {
		return e.cause.Error()
	}
	return e.cause.Error() + " (" + e.said.Error() + ")"
}

func (e ended) Unwrap() error { return e.cause }

type check struct{ of resource.Health[*Conn] }

// State implements [resource.Stateful].
func (k check) State() string { return fmt.Sprintf("%T", k.of) + inner(k.of) }

// Check calls the check with a lease that is not the pool's.
func (k check) Check(ctx context.Context, l *link, i resource.Info) error {
	c, err := l.attachDetached(ctx, i)
	if err != nil {
		return err
	}
	defer c.end(errNotReturned, true, nil)
	err = k.of.Check(ctx, c, i)
	c.end(nil, false, nil)
	if cause := l.cause(); cause != nil {
		return ended{cause, err}
	}
	return err
}
