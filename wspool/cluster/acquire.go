package cluster

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/internal/random"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/internal/bridge"
)

// use is one caller's use of the cluster: an acquire and the lease that follows, or an exchange.
// It counts as load of one endpoint from begin to finish, which is called exactly once.
type use struct {
	c     *Cluster
	claim bridge.Claim
	buf   []string // of claim.Keys

	counted endpoint.Use
	pick    string    // the first of the keys
	at      string    // the endpoint that counted is of
	lent    bool      // Lent was called since begin
	shared  bool      // the request is Shared
	node    *node     // where a shared lease is counted; nil: nowhere
	timed   bool      // it is an exchange, whose latency is measured
	since   time.Time // when its connection was lent, if timed
}

// maxKept is how many addresses a use that is kept for later has room for.
const maxKept = 64

func newUse(c *Cluster) *use {
	u := &use{c: c, buf: make([]string, 0, endpoint.DefaultChoices)}
	u.claim.Manager, u.claim.Use = c.manager, u
	return u
}

// begin counts the use as load of the first of keys.
func (u *use) begin(keys []string, r *resource.Request) {
	u.claim.Keys, u.pick, u.at = keys, keys[0], keys[0]
	u.shared, u.lent = r.Shared, false
	u.counted = u.c.set.Begin(keys[0])
}

// Lent implements [bridge.Use].
func (u *use) Lent(key string) {
	u.lent = true
	if u.timed {
		u.since = time.Now()
	}
	if key != u.at {
		u.counted = u.counted.Move(key)
		u.at = key
		if key != u.pick {
			u.c.grow(u.pick, key)
		}
	}
	if u.shared {
		u.unshare()
		if u.node = u.c.node(key); u.node != nil {
			u.node.shared.Add(1)
		}
	}
}

func (u *use) unshare() {
	if u.node != nil {
		u.node.shared.Add(-1)
		u.node = nil
	}
}

// Ended implements [bridge.Use]. An end of the connection itself was reported by ConnEnded.
func (u *use) Ended(e bridge.LeaseEnd) {
	switch {
	case e.Answered:
		u.finish(endpoint.Evidence{Kind: endpoint.Success})
	case e.GaveUp:
		n := u.c.node(u.at)
		u.finish(endpoint.Evidence{})
		if n != nil {
			n.doubt()
		}
	case e.Hijacked: // Trace.Destroyed is not called for it
		n := u.c.node(u.at)
		u.finish(endpoint.Evidence{})
		if n != nil {
			n.signal()
		}
	default:
		u.finish(endpoint.Evidence{})
	}
}

// stop ends the count of the use, which may begin again.
func (u *use) stop(e endpoint.Evidence) {
	u.unshare()
	u.counted.End(e)
	u.counted = endpoint.Use{}
}

// finish ends the use.
func (u *use) finish(e endpoint.Evidence) {
	u.stop(e)
	u.claim.Keys, u.pick, u.at, u.timed = nil, "", "", false
	if cap(u.buf) > maxKept {
		u.buf = make([]string, 0, endpoint.DefaultChoices)
	}
	clear(u.buf[:cap(u.buf)])
	u.c.uses.Put(u)
}

// Acquire lends a connection of any endpoint: see [Cluster.AcquireWith].
func (c *Cluster) Acquire(ctx context.Context) (*wspool.Conn, error) {
	return c.AcquireKey(ctx, "", resource.Request{})
}

// AcquireWith lends a connection of any endpoint, as [wspool.Manager.AcquireAny] does of those
// that the balancer prefers; the package documentation says how they are chosen. It blocks and
// fails as [wspool.Pool.AcquireWith], and the caller ends the lease as that of a [wspool.Pool]. If
// all endpoints that were chosen fail it tries others, each once, and fails with the error of
// the last ones. While the resolver has not answered yet it waits, unless the request is not to. A
// caller that waits does not get a connection of an endpoint that joins meanwhile, unless those for
// which it waits fail.
func (c *Cluster) AcquireWith(ctx context.Context, r resource.Request) (*wspool.Conn, error) {
	return c.AcquireKey(ctx, "", r)
}

// affinityWait is for how long a caller with a key waits for its endpoint alone.
const affinityWait = 250 * time.Millisecond

// AcquireKey is AcquireWith with a key for the balancer, such as [endpoint.Rendezvous], which gives
// callers of one key the same endpoint. A caller with a key does not get an idle connection of
// another endpoint at once: it waits for its own for up to 250 ms (affinityWait) first. An empty
// key is none.
func (c *Cluster) AcquireKey(ctx context.Context, key string, r resource.Request) (*wspool.Conn, error) {
	return c.acquire(ctx, key, r, "")
}

// acquire is AcquireKey. It tries the endpoint except last.
func (c *Cluster) acquire(ctx context.Context, key string, r resource.Request, except string) (*wspool.Conn, error) {
	var conn any
	u := c.uses.Get().(*use)
	err := u.try(ctx, key, r, except, func(ctx context.Context, r resource.Request) (err error) {
		conn, err = bridge.AcquireAny(ctx, &u.claim, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return conn.(*wspool.Conn), nil // u is the lease's, which may have ended
}

// try calls acquire for the endpoints that the Set ranks, until it succeeds or fails finally. If it
// fails, or acquire does not return, it has finished u. Otherwise u is the caller's, or the
// lease's.
func (u *use) try(ctx context.Context, key string, r resource.Request, except string, acquire func(context.Context, resource.Request) error) (err error) {
	c := u.c
	var until time.Time
	if r.MaxWait > 0 {
		until = time.Now().Add(r.MaxWait)
	}
	keys := u.rank(key, &r, except, nil)
	if key != "" && len(keys) > 1 {
		rest, err := u.first(ctx, keys[:1], r, acquire)
		if err == nil {
			return nil
		}
		goesOn := foreign.Is(err, resource.ErrMaxWait) && ctx.Err() == nil || c.triesOthers(ctx, err)
		if !goesOn || r.MaxWait > 0 && rest <= 0 {
			u.finish(endpoint.Evidence{})
			return c.closedError(err)
		}
		r.MaxWait = rest
		keys = u.rank(key, &r, except, nil) // with the evidence of that attempt
	}
	if len(keys) > 0 {
		if err = u.once(ctx, keys, r, acquire); err == nil {
			return nil
		}
		if !c.triesOthers(ctx, err) {
			u.finish(endpoint.Evidence{})
			return c.closedError(err)
		}
	}
	return u.tryOthers(ctx, key, r, except, until, err, acquire)
}

// first is the first attempt of a caller with a key, at one endpoint. rest is what is left of
// r.MaxWait if that is not 0.
func (u *use) first(ctx context.Context, keys []string, r resource.Request, acquire func(context.Context, resource.Request) error) (rest time.Duration, err error) {
	most, began := r.MaxWait, time.Now()
	if most == 0 || most > affinityWait {
		r.MaxWait = affinityWait
	}
	if err = u.once(ctx, keys, r, acquire); err == nil || most == 0 {
		return 0, err
	}
	return most - time.Since(began), err
}

// tryOthers is try after the first attempt, which has failed with err; nil: there was no endpoint.
func (u *use) tryOthers(ctx context.Context, key string, r resource.Request, except string, until time.Time, err error, acquire func(context.Context, resource.Request) error) error {
	c := u.c
	tried := slices.Clone(u.claim.Keys)
	for {
		if err == nil {
			if err = c.await(ctx, &r); err != nil {
				break
			}
		}
		keys := u.rank(key, &r, except, tried)
		if len(keys) == 0 && err != nil {
			break // all have been tried
		}
		err = nil
		if len(keys) == 0 {
			continue // an endpoint joined, and has left
		}
		if r.MaxWait > 0 {
			r.MaxWait = max(1, time.Until(until))
		}
		if err = u.once(ctx, keys, r, acquire); err == nil {
			return nil
		}
		if !c.triesOthers(ctx, err) {
			break
		}
		tried = append(tried, keys...)
	}
	u.finish(endpoint.Evidence{})
	return c.closedError(err)
}

// await waits until there is an endpoint.
func (c *Cluster) await(ctx context.Context, r *resource.Request) error {
	cause := resource.ReasonCanceled
	if r.NoWait {
		return &resource.AcquireError{Err: fmt.Errorf("%w: %w", resource.ErrNoneIdle, endpoint.ErrNoEndpoints), Reason: resource.ReasonNoneIdle}
	}
	began := time.Now()
	if r.MaxWait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.MaxWait, resource.ErrMaxWait)
		defer cancel()
	}
	err := c.set.Ready(ctx)
	switch {
	case err == nil:
		return nil
	case context.Cause(ctx) == resource.ErrMaxWait:
		cause, err = resource.ReasonMaxWait, fmt.Errorf("%w: %w", resource.ErrMaxWait, err)
	case ctx.Err() == nil:
		cause, err = resource.ReasonClosed, resource.ErrClosed
	}
	return &resource.AcquireError{Err: err, Reason: cause, Waited: time.Since(began)}
}

// once is one attempt of try. If acquire does not return it finishes u.
func (u *use) once(ctx context.Context, keys []string, r resource.Request, acquire func(context.Context, resource.Request) error) error {
	u.begin(keys, &r)
	returned := false
	defer func() {
		if !returned { // a policy has ended the goroutine
			u.finish(endpoint.Evidence{})
		}
	}()
	err := acquire(ctx, r)
	returned = true
	if err != nil {
		u.stop(endpoint.Evidence{})
	}
	return err
}

// rank returns the endpoints to try, without those tried.
func (u *use) rank(key string, r *resource.Request, except string, tried []string) []string {
	u.buf = u.c.set.Rank(u.buf[:0], key)
	keys := u.buf
	if tried != nil {
		keys = slices.DeleteFunc(keys, func(addr string) bool { return slices.Contains(tried, addr) })
		if len(keys) == 0 {
			keys = u.c.untried(keys, tried) // the balancer has picked the same ones again
			u.buf = keys
		}
	}
	if r.Shared && key == "" && len(keys) > 1 {
		u.c.spread(keys)
	}
	if i := slices.Index(keys, except); except != "" && i >= 0 {
		keys = append(slices.Delete(keys, i, i+1), except)
	}
	return keys
}

// untried appends to keys endpoints that may be used and are not in tried, at random, those of
// the Priority in use first, and no more than one acquire tries at once.
func (c *Cluster) untried(keys, tried []string) []string {
	var next []string
	for _, s := range c.set.Snapshot().Endpoints {
		switch addr := s.Endpoint.Addr; {
		case slices.Contains(tried, addr):
		case s.Ranked:
			keys = append(keys, addr)
		case s.Status == endpoint.Standby:
			next = append(next, addr)
		}
	}
	if len(keys) == 0 {
		keys = append(keys, next...)
	}
	random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	most := c.cfg.Choices
	if most == 0 {
		most = endpoint.DefaultChoices
	}
	return keys[:min(len(keys), most)]
}

// spread sorts keys by the number of shared leases relative to the weight. Such leases last for
// long, so a random choice would leave them uneven for long.
func (c *Cluster) spread(keys []string) {
	nodes := *c.nodes.Load()
	slices.SortStableFunc(keys, func(a, b string) int {
		x, y := nodes[a], nodes[b]
		if x == nil || y == nil {
			return 0
		}
		// x.shared / x.weight < y.shared / y.weight
		p, q := float64(x.shared.Load())*y.weight(), float64(y.shared.Load())*x.weight()
		switch {
		case p < q:
			return -1
		case p > q:
			return 1
		}
		return 0
	})
}

// triesOthers reports whether a caller whose acquire failed with err is to try other endpoints:
// err is about the endpoints, and not about the caller.
func (c *Cluster) triesOthers(ctx context.Context, err error) bool {
	switch {
	case ctx.Err() != nil, c.ctx.Err() != nil, foreign.Is(err, resource.ErrMaxWait):
		return false
	}
	var failed *resource.AcquireError
	if foreign.As(err, &failed) {
		switch failed.Reason {
		case resource.ReasonCanceled, resource.ReasonMaxWait, resource.ReasonAdmission, resource.ReasonQueue, resource.ReasonNearEnd:
			return false
		}
	}
	return true
}

// closedError returns err. If the cluster is closed and err says that an endpoint is drained, it
// returns the error of a closed pool.
func (c *Cluster) closedError(err error) error {
	if c.ctx.Err() != nil && foreign.Is(err, resource.ErrDraining) {
		return &resource.AcquireError{Err: resource.ErrClosed, Reason: resource.ReasonClosed}
	}
	return err
}

// The least time between two looks of grow at an endpoint, and between two dials there while its
// dials fail.
const (
	growEvery  = 10 * time.Millisecond
	growFailed = time.Second
)

// grow is called when a caller that was to use pick got a connection of other. If pick has
// fewer, relative to the weights, one is dialled there in the background, so that the picks of
// the balancer can be followed. If that fails the evidence says so to the Set.
func (c *Cluster) grow(pick, other string) {
	n, o := c.node(pick), c.node(other)
	if n == nil || o == nil || n.leaving.Load() {
		return
	}
	due := n.growAt.Load()
	if time.Now().UnixNano() < due || !n.growAt.CompareAndSwap(due, math.MaxInt64) {
		return
	}
	c.work.Go(func() {
		pause := growEvery
		if c.fewer(n, o) {
			// Trace.Made reports why it fails. A Quota that has nothing is not kept waiting.
			if _, err := n.dialOne(c.ctx, growFailed, 0, nil); err != nil {
				pause = growFailed
			}
		}
		n.growAt.Store(time.Now().Add(pause).UnixNano())
	})
}

// fewer reports whether n has fewer connections than o, relative to the weights, and no dial of n
// runs.
func (c *Cluster) fewer(n, o *node) bool {
	x, _ := bridge.StatsOf(c.manager, n.addr) // a key that is not in use has none
	y, _ := bridge.StatsOf(c.manager, o.addr)
	return x.Making == 0 && float64(x.Idle+x.Leased)*o.weight() < float64(y.Idle+y.Leased)*n.weight()
}
