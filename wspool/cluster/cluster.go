package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/internal/attached"
	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/internal/tasks"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/internal/bridge"
)

// Cluster lends WebSocket connections of several endpoints. Make one with [New]. Any number of
// goroutines may call its methods at once.
type Cluster struct {
	cfg     Config             // constant
	shown   []resource.Setting // constant: what Inspect lists of cfg
	manager *wspool.Manager[string]
	set     *endpoint.Set // constant once made is closed
	made    chan struct{} // closed when New has set everything
	ctx     context.Context
	cancel  context.CancelCauseFunc
	uses    sync.Pool // of *use
	work    tasks.Group
	reset   atomic.Pointer[error] // cause of the last Reset; nil: there was none
	moves   moveCounts
	freed   atomic.Bool // a connection was closed to free a unit of a Quota, and no dial has begun since

	attached attached.List[struct{}]

	mu    sync.Mutex
	nodes atomic.Pointer[map[string]*node] // by address; replaced under mu
}

// New returns a cluster for cfg, which it copies, and begins to follow the resolver; it does not
// wait for the first answer. The error names every bad field. Call [Cluster.Close] when done.
func New(cfg Config) (*Cluster, error) {
	bad := cfg.check()
	c := &Cluster{cfg: cfg.withDefaults(), shown: settingsOf(cfg), made: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.nodes.Store(&map[string]*node{})
	var resolver endpoint.Resolver
	if cfg.Resolver != nil {
		resolver = delayed{cfg.Resolver, c.made}
	}
	set, setErr := endpoint.NewSet(endpoint.SetConfig{
		Resolver: resolver,
		Balancer: c.cfg.Balancer, Choices: cfg.Choices,
		Ejector: cfg.Ejector, MaxEjected: cfg.MaxEjected, PanicBelow: cfg.PanicBelow,
		ProbeDelay: cfg.ProbeDelay, MaxProbeDelay: cfg.MaxProbeDelay, ProbeTimeout: cfg.ProbeTimeout,
		SlowStart:     cfg.SlowStart,
		FailoverBelow: cfg.FailoverBelow, FailbackAfter: cfg.FailbackAfter,
		Probe: c.probe, OnJoin: c.join, OnChange: c.change, OnLeave: c.leave,
		Trace: c.cfg.Trace.Event,
	})
	if setErr != nil {
		bad = append(bad, setErr)
	}
	if bad == nil {
		var err error
		if c.manager, err = wspool.NewManager(wspool.ManagerConfig[string]{Config: c.config, MaxTotal: cfg.MaxTotal}); err != nil {
			bad = append(bad, err)
		}
	}
	if bad != nil {
		c.cancel(resource.ErrClosed)
		if setErr == nil {
			_ = set.Close(context.Background()) // nothing of it runs: the resolver waits for made
		}
		return nil, badConfig(bad)
	}
	c.set = set
	c.uses.New = func() any { return newUse(c) }
	close(c.made)
	if !cfg.Rebalance.Off {
		c.work.Go(c.rebalance)
	}
	return c, nil
}

// delayed is a resolver that begins when made is closed.
type delayed struct {
	endpoint.Resolver
	made <-chan struct{}
}

func (d delayed) Watch(ctx context.Context, f func(endpoint.Update)) error {
	select {
	case <-d.made:
		return d.Resolver.Watch(ctx, f)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Refresh implements [endpoint.Refresher].
func (d delayed) Refresh() {
	if r, ok := d.Resolver.(endpoint.Refresher); ok {
		r.Refresh()
	}
}

// node returns the node of addr; nil: there is none.
func (c *Cluster) node(addr string) *node { return (*c.nodes.Load())[addr] }

// setNode sets the node of addr; nil: there is none.
func (c *Cluster) setNode(addr string, n *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := maps.Clone(*c.nodes.Load())
	if n == nil {
		delete(all, addr)
	} else {
		all[addr] = n
	}
	c.nodes.Store(&all)
}

// errUnknown: the Manager asked for the Config of an endpoint that has left.
var errUnknown = errors.New("cluster: unknown endpoint")

// config is the Config of the Manager.
func (c *Cluster) config(addr string) (wspool.Config, error) {
	n := c.node(addr)
	if n == nil {
		return wspool.Config{}, errUnknown
	}
	return n.cfg, nil
}

// Warm dials until n connections exist, or as many as MaxTotal and MaxEach allow, each endpoint
// its part of them by its weight, and waits for them. It first waits until the resolver has
// answered. Dials that fail are tried again until ctx ends: see [wspool.Pool.Warm]. The part of an
// endpoint that has left meanwhile goes to the others. The error joins those of the endpoints.
func (c *Cluster) Warm(ctx context.Context, n int) error {
	for {
		if err := c.set.Ready(ctx); err != nil {
			return fmt.Errorf("cluster: warm: %w", c.closedOr(err))
		}
		// The pool of an endpoint that was drained is closed, or not made again.
		if err := c.warm(ctx, n); c.ctx.Err() != nil || !foreign.Is(err, resource.ErrClosed) && !foreign.Is(err, errUnknown) {
			return err
		}
	}
}

// warm is Warm for the endpoints that there are now.
func (c *Cluster) warm(ctx context.Context, n int) error {
	nodes, all := c.shares(false)
	if !slices.ContainsFunc(all, func(s share) bool { return s.weight > 0 }) {
		nodes, all = c.shares(true) // dials are tried again until ctx ends
	}
	want := apportion(all, min(n, c.manager.Stats().Max))
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, n := range nodes {
		if want[i] > 0 {
			wg.Go(func() { errs[i] = c.manager.Warm(ctx, n.addr, want[i]) })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Resize changes how many connections of all endpoints may exist at once, as
// [wspool.Manager.Resize] does. MaxEach stays as it was, also if it was zero in the Config. It
// fails if max is less than 1, or with [resource.ErrClosed]. It does not wait.
func (c *Cluster) Resize(max int) error { return c.manager.Resize(max) }

// Reset replaces every connection made before it, as [wspool.Pool.Reset] does. It does not wait.
func (c *Cluster) Reset(cause error) {
	if cause != nil {
		c.reset.Store(&cause)
	}
	c.manager.Reset(cause)
}

// ResetNow is Reset without closing handshakes, as [wspool.Pool.ResetNow] does. It has the resolver
// look up again, too.
func (c *Cluster) ResetNow(cause error) {
	if cause != nil {
		c.reset.Store(&cause)
	}
	c.manager.ResetNow(cause)
	c.set.Refresh()
}

// Reclaim ends a lease that was leaked, as [wspool.Pool.Reclaim] does: an ID is unique among the
// connections of all endpoints.
func (c *Cluster) Reclaim(id, lease uint64) bool { return c.manager.Reclaim(id, lease) }

// Refresh has the resolver look up again soon, if it is an [endpoint.Refresher].
func (c *Cluster) Refresh() { c.set.Refresh() }

// Ready blocks until there is an endpoint to use. It fails when ctx ends, and with
// [resource.ErrClosed]. A nil error does not say that the endpoint can be dialled.
func (c *Cluster) Ready(ctx context.Context) error { return c.closedOr(c.set.Ready(ctx)) }

// closedOr returns err, or resource.ErrClosed if the cluster is closed.
func (c *Cluster) closedOr(err error) error {
	if err != nil && c.ctx.Err() != nil {
		return resource.ErrClosed
	}
	return err
}

// Close ends the cluster: the resolver is followed no more, callers that wait get
// [resource.ErrClosed], and the connections are closed as [wspool.Pool.Close] does. It returns nil
// when nothing of the cluster runs any more, or an error when ctx ends before; the closing goes on,
// and Close may be called again to wait for it.
func (c *Cluster) Close(ctx context.Context) error {
	c.cancel(resource.ErrClosed)
	ofSet := make(chan error)
	// At the same time: a probe ends when the Manager is closed at the latest.
	go func() { ofSet <- c.set.Close(ctx) }()
	err := c.manager.Close(ctx)
	if e := <-ofSet; err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return c.work.Wait(ctx) // last: the callers of the Manager start goroutines
}

// CloseNow ends the cluster by force, as [wspool.Pool.CloseNow] does: connections are closed
// without a closing handshake, and leases are ended. It does not wait.
func (c *Cluster) CloseNow() {
	c.cancel(resource.ErrClosed)
	c.manager.CloseNow()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.set.Close(ended) // Close waits for it
}

// Format writes the kind of pool for every verb: fmt would follow pointers, without a lock.
func (c *Cluster) Format(f fmt.State, _ rune) { io.WriteString(f, "cluster.Cluster") }

// node is one endpoint. It exists from OnJoin until OnLeave has drained it.
type node struct {
	c       *Cluster
	addr    string
	cfg     wspool.Config // as the user returned it, with hooks
	info    atomic.Pointer[endpoint.Endpoint]
	leaving atomic.Bool   // no dial may begin
	dialing atomic.Int64  // creations that may dial: the gate has let them begin, and they have not ended
	shared  atomic.Int64  // shared leases
	growAt  atomic.Int64  // when Cluster.grow may look at it, Unix time in ns
	doubted atomic.Int64  // when its connections were last doubted, Unix time in ns
	changed chan struct{} // holds a token when a connection or a dial has ended
	moved   atomic.Int64  // connections that were moved here, less those moved from here
}

// join is called when an endpoint joins.
func (c *Cluster) join(e endpoint.Endpoint) error {
	if n := c.node(e.Addr); n != nil { // it left, and is listed again before it was drained
		n.info.Store(&e)
		return nil
	}
	cfg, err := c.cfg.Config(e)
	if err != nil {
		return err
	}
	n := &node{c: c, addr: e.Addr, changed: make(chan struct{}, 1)}
	n.info.Store(&e)
	switch {
	case cfg.MaxSize == 0:
		cfg.MaxSize = c.cfg.MaxEach
	case cfg.MaxSize > 0:
		cfg.MaxSize = min(cfg.MaxSize, c.cfg.MaxEach)
	}
	bridge.Observe(&cfg, n) // before the hooks, which are no settings of the user
	cfg.MakeGate = &leavingGate{n, cfg.MakeGate}
	cfg.Trace = n.trace(cfg.Trace)
	n.cfg = cfg
	c.setNode(e.Addr, n)
	if err := bridge.Open(c.manager, e.Addr); err != nil {
		c.setNode(e.Addr, nil)
		return err
	}
	return nil
}

// change is called when attributes of an endpoint have changed. Its Config stays.
func (c *Cluster) change(e endpoint.Endpoint) {
	if n := c.node(e.Addr); n != nil {
		n.info.Store(&e)
	}
}

// weight returns the weight of the endpoint.
func (n *node) weight() float64 {
	if w := n.info.Load().Weight; w > 0 {
		return w
	}
	return 1
}

// trace returns t with the hooks of n.
func (n *node) trace(t *resource.Trace) *resource.Trace {
	var with resource.Trace
	if t != nil {
		with = *t
	}
	made, destroyed := with.Made, with.Destroyed
	with.Made = func(ctx context.Context, e resource.MakeEvent) {
		defer n.signal()
		var reset error
		if r := n.c.reset.Load(); r != nil {
			reset = *r
		}
		ev := evidenceOfDial(e.Err, reset)
		ev.Latency = e.Took
		n.observe(ev)
		if made != nil {
			made(ctx, e)
		}
	}
	with.Destroyed = func(e resource.DestroyEvent) {
		defer n.signal()
		if destroyed != nil {
			destroyed(e)
		}
	}
	return &with
}

// observe reports evidence to the Set.
func (n *node) observe(e endpoint.Evidence) {
	if e.Kind != endpoint.Nothing {
		n.c.set.Observe(n.addr, e)
	}
}

// Key implements [bridge.Observer].
func (n *node) Key() string { return n.addr }

// ConnEnded implements [bridge.Observer].
func (n *node) ConnEnded(err error, answered bool) {
	if answered { // the lease may have been long: the failures before it are not in a row with this one
		n.observe(endpoint.Evidence{Kind: endpoint.Success})
	}
	n.observe(evidenceOfEnd(err))
}

// signal notes that a connection or a dial has ended.
func (n *node) signal() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// doubtEvery is how often the connections of an endpoint are doubted, at most.
const doubtEvery = time.Second

// doubt makes idle connections of n prove that their peer lives, because a lease has awaited a
// message in vain. The caller's context may have ended early, so it is no evidence by itself.
func (n *node) doubt() {
	now := time.Now().UnixNano()
	if last := n.doubted.Load(); now-last >= int64(doubtEvery) && n.doubted.CompareAndSwap(last, now) {
		bridge.Doubt(n.c.manager, n)
	}
}

// leavingGate is the MakeGate of an endpoint: no dial begins while it leaves.
type leavingGate struct {
	n    *node
	next resource.Admission // the user's; nil: none
}

// Admit implements [resource.Admission].
func (g *leavingGate) Admit(ctx context.Context, r resource.Request) (resource.Done, error) {
	if g.n.leaving.Load() {
		return nil, &resource.Rejection{Policy: "cluster", Err: ErrLeft}
	}
	var done resource.Done
	if g.next != nil {
		var err error
		if done, err = g.next.Admit(ctx, r); err != nil {
			return nil, err
		}
	}
	// Counted before leaving is read, which awaitEmpty reads in the other order: either this dial
	// does not begin, or awaitEmpty waits for it.
	g.n.dialing.Add(1)
	ended := func(o resource.Outcome) {
		defer g.n.signal()
		defer g.n.dialing.Add(-1)
		if done != nil {
			done(o)
		}
	}
	if g.n.leaving.Load() { // since the other gate was asked, which may have waited
		ended(resource.Outcome{})
		return nil, &resource.Rejection{Policy: "cluster", Err: ErrLeft}
	}
	g.n.c.freed.Store(false)
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		a.begun.Store(true)
	}
	return ended, nil
}

// State implements [resource.Stateful].
func (g *leavingGate) State() string {
	text := ""
	if s, ok := g.next.(resource.Stateful); ok {
		text = s.State()
	}
	switch {
	case !g.n.leaving.Load():
		return text
	case text == "":
		return "the endpoint leaves"
	}
	return "the endpoint leaves; " + text
}

// leave drains the endpoint, which is not picked any more. It returns when nothing is left of
// it, when the endpoint is listed again, or when the cluster is closed.
//
// The pool of the endpoint is closed only when it has no connection: a pool that is being closed
// lends nothing until its last lease has ended, so that an endpoint that is listed again meanwhile
// would be of no use. Until then the gate keeps it from dialling.
func (c *Cluster) leave(ctx context.Context, addr string) {
	n := c.node(addr)
	if n == nil {
		return
	}
	n.leaving.Store(true)
	bridge.Reset(c.manager, addr, ErrLeft)
	// The gate refuses dials; at MaxSize none would begin, and nothing that the leases end comes back.
	bridge.TurnAway(c.manager, addr, &resource.Rejection{Policy: "cluster", Err: ErrLeft})
	if c.awaitEmpty(ctx, n) {
		// It is listed again, or the cluster is closed.
		n.leaving.Store(false)
		bridge.TurnAway(c.manager, addr, nil)
		bridge.RetryNow(c.manager, addr)
		return
	}
	c.setNode(addr, nil) // first: the Manager must not make another pool for it
	bridge.CutOff(c.manager, n, ErrDrainTimeout)
	_ = c.manager.Drain(c.ctx, addr) // fails if the cluster is closed
}

// awaitEmpty waits until n has no connection and none is dialled, or for DrainTimeout. It reports
// whether ctx has ended before. Creations that wait for a gate are not waited for: they will not
// dial, and their ends are not signalled.
func (c *Cluster) awaitEmpty(ctx context.Context, n *node) (stopped bool) {
	var late <-chan time.Time
	if c.cfg.DrainTimeout > 0 {
		t := time.NewTimer(c.cfg.DrainTimeout)
		defer t.Stop()
		late = t.C
	}
	for {
		if s, ok := bridge.StatsOf(c.manager, n.addr); !ok || s.Idle+s.Leased+s.Destroying == 0 && n.dialing.Load() == 0 {
			return false
		}
		select {
		case <-n.changed:
		case <-late:
			return false
		case <-ctx.Done():
			return true
		}
	}
}
