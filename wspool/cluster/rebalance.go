package cluster

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/internal/bridge"
)

// share is an endpoint as the rebalancer sees it.
type share struct {
	have   int     // connections
	max    int     // that it may have
	weight float64 // 0: its Priority is not in use
}

// shares returns the endpoints among which connections are to be even. Those that fail or leave are
// left out: nothing is moved there, and what they have is not the fault of the distribution. With
// failing those that fail are not left out.
func (c *Cluster) shares(failing bool) (nodes []*node, all []share) {
	have := bridge.Count(c.manager)
	for _, s := range c.set.Snapshot().Endpoints {
		n := c.node(s.Endpoint.Addr)
		if n == nil || s.Failing && !failing {
			continue
		}
		one := share{have: have[n], max: n.cfg.MaxSize}
		switch s.Status {
		case endpoint.Healthy, endpoint.SlowStart:
			one.weight = min(s.Share, n.weight()) // during slow start it grows
		case endpoint.Standby:
		case endpoint.Ejected, endpoint.Probing:
			if !failing {
				continue
			}
			one.weight = n.weight()
		default:
			continue
		}
		nodes, all = append(nodes, n), append(all, one)
	}
	return nodes, all
}

// fair returns how many of n connections each endpoint would have by its weight. What is beyond the
// maximum of an endpoint is divided among the others.
func fair(all []share, n int) []float64 {
	parts := make([]float64, len(all))
	full := make([]bool, len(all))
	for left := float64(n); ; {
		sum := 0.0
		for i, s := range all {
			if !full[i] {
				sum += s.weight
			}
		}
		if sum == 0 {
			return parts
		}
		again := false
		for i, s := range all {
			if full[i] {
				continue
			}
			parts[i] = left * s.weight / sum
			if parts[i] > float64(s.max) {
				full[i], again = true, true
			}
		}
		if !again {
			return parts
		}
		left = float64(n)
		for i, s := range all {
			if full[i] {
				parts[i] = float64(s.max)
				left -= parts[i]
			}
		}
	}
}

// apportion is fair in whole numbers, by largest remainders.
func apportion(all []share, n int) []int {
	exact := fair(all, n)
	parts, order := make([]int, len(all)), make([]int, len(all))
	sum, given := 0.0, 0
	for i, f := range exact {
		parts[i], order[i] = int(f), i
		sum += f
		given += parts[i]
	}
	rest := func(i int) float64 { return exact[i] - float64(parts[i]) }
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rest(b), rest(a)) })
	for _, i := range order[:max(0, int(math.Round(sum))-given)] {
		parts[i]++
	}
	return parts
}

// rebalancer decides when a connection is to be moved, and between which endpoints.
type rebalancer struct {
	cfg    Rebalance
	uneven time.Time // since when the distribution has been uneven; zero: it is not
	moving bool      // until every endpoint has its share
	next   time.Time // when the next may be moved
}

// rebalanceTick is how often the distribution is looked at, unless After or Every is shorter.
const rebalanceTick = time.Second

// step returns the indices of the endpoint that has too many connections and of the one that has
// too few, if ok says that a connection is to be moved now. wait is after how long step is to be
// called again.
func (r *rebalancer) step(now time.Time, all []share) (from, to int, ok bool, wait time.Duration) {
	total := 0
	for _, s := range all {
		total += s.have
	}
	fair := fair(all, total)
	wait = max(time.Millisecond, min(rebalanceTick, r.cfg.After/4))
	from, to = -1, -1
	over, under := 0.0, 0.0 // by how many connections
	outside := false
	for i, s := range all {
		f := fair[i]
		d := float64(s.have) - f
		if from < 0 || d > over {
			from, over = i, d
		}
		if s.weight > 0 && (to < 0 || -d > under) {
			to, under = i, -d
		}
		// One connection cannot be divided.
		outside = outside || math.Abs(d) >= 1 && math.Abs(d) > f*r.cfg.Tolerance
	}
	if !outside && !r.moving {
		r.uneven = time.Time{}
		return from, to, false, wait
	}
	if r.uneven.IsZero() {
		r.uneven = now
	}
	if now.Sub(r.uneven) < r.cfg.After {
		return from, to, false, min(wait, r.cfg.After-now.Sub(r.uneven))
	}
	// A move that leaves both as far from their shares as before would be followed by its
	// reverse. Where shares are fractions one or the other has up to one more than its share.
	if from < 0 || to < 0 || from == to || under < 1e-9 || over+under <= 1+1e-9 {
		r.moving, r.uneven = false, time.Time{}
		return from, to, false, wait
	}
	r.moving = true
	if now.Before(r.next) {
		return from, to, false, min(wait, r.next.Sub(now))
	}
	// An even pace keeps the limit in every period of Every, not only in those that begin with
	// the first move.
	limit := max(1, int(r.cfg.Part*float64(total)))
	pace := r.cfg.Every / time.Duration(limit)
	if r.cfg.Every%time.Duration(limit) > 0 {
		pace++
	}
	r.next = now.Add(pace)
	return from, to, true, min(wait, pace)
}

// rebalance moves connections until the cluster is closed.
func (c *Cluster) rebalance() {
	r := rebalancer{cfg: c.cfg.Rebalance}
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-c.ctx.Done():
			return
		}
		nodes, all := c.shares(false)
		from, to, ok, wait := r.step(time.Now(), all)
		if ok {
			c.move(nodes[from], nodes[to])
		}
		t.Reset(wait)
	}
}

// movePatience is how long a move waits for a Quota before it retires the connection first.
const movePatience = 2 * time.Second

// move dials a connection at to and then retires one of from. If the total, or the Quota, is used up
// it does so in the reverse order: the slot, or the unit, has to be free first. It does nothing if
// from has only connections that Retire does not choose.
func (c *Cluster) move(from, to *node) {
	if bridge.Retirable(c.manager, from) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.moveTimeout(to))
	defer cancel()
	e := MoveEvent{From: from.addr, To: to.addr}
	retired := 0
	count := func(idle, leased int) {
		retired += idle + leased
		e.Leased = e.Leased || leased > 0
	}
	retire := func() { count(bridge.Retire(c.manager, from, 1, ErrRebalanced)) }
	unblock := func() (again bool) {
		if to.cfg.Quota != nil {
			count(c.retireForUnit(from))
		}
		return false
	}
	total := c.manager.Stats()
	full := total.Idle+total.Leased+total.Making+total.Destroying >= total.Max
	if full {
		retire()
		e.Err = c.manager.Warm(ctx, to.addr, c.exist(to)+1) // waits for the slot
	} else {
		e.Err = to.dialForMove(ctx, unblock)
		if e.Err == nil && retired == 0 {
			retire()
		}
	}
	if c.ctx.Err() != nil || e.Err == nil && retired == 0 { // else it ended by itself
		return
	}
	if e.Err == nil {
		from.moved.Add(-1)
		to.moved.Add(1)
		c.moves.done.Add(1)
	} else {
		c.moves.failed.Add(1)
	}
	if f := c.cfg.Trace.Moved; f != nil {
		c.guard(func() { f(e) })
	}
}

// dialForMove dials a connection of n. If the Quota does not let the dial begin it calls unblock, and
// goes on. ctx has a deadline.
func (n *node) dialForMove(ctx context.Context, unblock func() (again bool)) error {
	by, _ := ctx.Deadline()
	begun, err := n.dialOne(ctx, time.Until(by), movePatience, unblock)
	if err == nil || begun || ctx.Err() != nil {
		return err
	}
	unblock() // a Quota that refuses at once
	return n.c.manager.Warm(ctx, n.addr, n.c.exist(n)+1)
}

// moveTimeout is how long a move may take.
func (c *Cluster) moveTimeout(to *node) time.Duration {
	if d := to.cfg.DialTimeout; d > 0 {
		return d
	}
	return resource.DefaultMakeTimeout
}

// exist returns how many connections n has.
func (c *Cluster) exist(n *node) int {
	s, _ := bridge.StatsOf(c.manager, n.addr)
	return s.Idle + s.Leased + s.Making
}
