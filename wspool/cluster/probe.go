package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/internal/bridge"
)

// attempt is one dial that the cluster begins for itself: a probe, a move, or by grow. The context
// of the creation has it.
type attempt struct {
	begun atomic.Bool // the Quota and the MakeGate have let it begin
}

type attemptKey struct{}

// dialOne dials a connection of n. begun reports whether the Quota and the MakeGate let the dial
// begin; otherwise nothing is known about the endpoint. If they have not done so after wait dialOne
// calls blocked, unless that is nil, and again as long as that returns true. After patience it gives
// up: the creation is withdrawn.
func (n *node) dialOne(ctx context.Context, patience, wait time.Duration, blocked func() (again bool)) (begun bool, err error) {
	a := new(attempt)
	ctx, cancel := context.WithCancel(context.WithValue(ctx, attemptKey{}, a))
	defer cancel()
	if blocked != nil {
		stop := a.afterUnbegun(wait, blocked)
		defer stop()
	}
	stop := a.afterUnbegun(patience, func() bool { cancel(); return false })
	defer stop()
	err = bridge.MakeOne(ctx, n.c.manager, n.addr)
	var refused *resource.Rejection // by a gate of wspool, which is asked later
	return a.begun.Load() && !foreign.As(err, &refused), err
}

// afterUnbegun calls f after d if the dial has not begun, and, if f returns true, again after each further d.
// The function that it returns waits for f.
func (a *attempt) afterUnbegun(d time.Duration, f func() (again bool)) (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(max(1, d))
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if a.begun.Load() || !f() {
					return
				}
			case <-ended:
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-done
	}
}

// freeings is how often a probe that waits calls freeUnit, at most.
const freeings = 10

// probe tries whether the endpoint works, by a dial. If that has no room, or a Quota or MakeGate does
// not let it begin, it pings a connection.
func (c *Cluster) probe(ctx context.Context, addr string) error {
	n := c.node(addr)
	if n == nil {
		return errUnknown // it has left
	}
	patience := endpoint.DefaultProbeTimeout / 2
	if by, ok := ctx.Deadline(); ok {
		patience = time.Until(by) / 2
	}
	until := time.Now().Add(patience)
	for {
		left := max(1, time.Until(until))
		// Callers that wait elsewhere may get the units that are freed first.
		begun, err := n.dialOne(ctx, left, left/freeings, n.freeUnit)
		if err == nil || begun {
			return err
		}
		var refused *resource.Rejection
		if foreign.As(err, &refused) && refused.RetryAfter > 0 && refused.RetryAfter < time.Until(until) { // a pause after the last failure
			t := time.NewTimer(refused.RetryAfter)
			select {
			case <-t.C:
				continue
			case <-ctx.Done():
				t.Stop()
			}
		}
		return n.pingOne(ctx)
	}
}

// pingOne pings a connection of n, for a probe whose dial could not begin.
func (n *node) pingOne(ctx context.Context) error {
	conn, err := n.c.manager.Acquire(ctx, n.addr)
	if err != nil {
		// That no connection became free is not the endpoint's failure. What a dial has shown
		// meanwhile, Trace.Made has reported.
		n.observe(endpoint.Evidence{Kind: endpoint.Local, Err: err})
		return err
	}
	defer conn.Release()
	_, err = conn.Ping(ctx)
	return err
}

// freeUnit closes a connection of the endpoint that has the most, so that the Quota has a unit for a
// dial of n that waits for one. It does so only if n has no connection: otherwise the
// endpoints that are in use may keep all units, and one that has recovered is never dialled. It
// reports whether to call it again.
func (n *node) freeUnit() (again bool) {
	c := n.c
	if n.cfg.Quota == nil {
		return false
	}
	have := bridge.Count(c.manager)
	var from *node
	for o, k := range have {
		if at, ok := o.(*node); ok && k > 0 && (from == nil || k > have[from]) {
			from = at
		}
	}
	if have[n] == 0 && from != nil {
		c.retireForUnit(from)
	}
	return true
}

// retireForUnit retires a connection of from, so that the Quota has a unit for another endpoint. It
// retires none if no dial has begun since it did so last: a Quota that gives nothing costs one
// connection.
func (c *Cluster) retireForUnit(from *node) (idle, leased int) {
	if c.freed.Swap(true) {
		return 0, 0
	}
	if idle, leased = bridge.Retire(c.manager, from, 1, ErrRebalanced); idle+leased == 0 {
		c.freed.Store(false) // all are new
	}
	return idle, leased
}
