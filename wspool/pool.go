package wspool

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"runtime/debug"
	"sync/atomic"

	"github.com/respool/respool/internal/attached"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/internal/wsconn"
)

// Pool lends WebSocket connections. Make one with [New]. Any number of goroutines may call
// its methods at once.
type Pool struct {
	hub  *hub
	pool *resource.Pool[*link]
	end  context.CancelFunc // of the hub's context

	attached attached.List[struct{}]
}

// New returns a pool for cfg, which it copies, and starts to dial [Config.MinIdle]
// connections in the background. The error names every bad field. Call [Pool.Close] when
// done.
func New(cfg Config) (*Pool, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := newHub(ctx, cfg, new(registry))
	pool, err := resource.New(h.config())
	if err != nil {
		cancel()
		return nil, err
	}
	return &Pool{hub: h, pool: pool, end: cancel}, nil
}

// Acquire lends a connection: an idle one, otherwise the first that is given back or
// dialled for the waiting callers. It blocks until then, until ctx ends or the pool is
// closed. ctx bounds the acquire alone: the lease outlives it. The caller must end the
// lease: with [Conn.Release], [Conn.Fail], [Conn.Discard] or [Conn.Hijack].
//
// Acquire fails with a [*resource.AcquireError]. The [*DialError] of a failed dial is in
// its chain, or is its LastMake if another error is the reason. If a connection was dialled
// and died before it was lent, that is no failed dial: the error that ended it, such as a
// [*CloseError], is in the chain. If the end was found while the connection was being lent
// to this caller, Acquire returns that error itself.
func (p *Pool) Acquire(ctx context.Context) (*Conn, error) {
	return p.AcquireWith(ctx, resource.Request{})
}

// AcquireWith is Acquire with a request: for a connection that will last (MinRemaining),
// for an unused one (Fresh), without waiting (NoWait) or with a bounded wait (MaxWait),
// and with the values that policies decide by. It blocks and fails as Acquire.
func (p *Pool) AcquireWith(ctx context.Context, r resource.Request) (*Conn, error) {
	return borrow(ctx, p.pool, r)
}

// TryAcquire lends an idle connection, or returns false if there is none or another
// caller waits. It does not wait for other callers. If it returns false and there is room,
// a dial begins in the background, one at a time, so that a later call may succeed.
func (p *Pool) TryAcquire() (*Conn, bool) { return tryBorrow(p.pool) }

// Do lends a connection to f and ends the lease when f returns: with [Conn.Release] if f
// returns nil, with [Conn.Fail] if it returns an error, which Do returns too. If f panics
// or calls runtime.Goexit, the connection is destroyed and the panic continues. f gets ctx
// itself, may end the lease itself, and must not keep the Conn. Do blocks and fails as
// Acquire, and does not call f then.
func (p *Pool) Do(ctx context.Context, f func(context.Context, *Conn) error) error {
	return do(ctx, p.pool, resource.Request{}, f)
}

// DoWith is Do with a request: see AcquireWith. [resource.Request.MaxWait] bounds the
// acquire and leaves f its time. It blocks and fails as Do.
func (p *Pool) DoWith(ctx context.Context, r resource.Request, f func(context.Context, *Conn) error) error {
	return do(ctx, p.pool, r, f)
}

// DoIdempotent is Do for work that may be done twice. It calls f once more, with an unused
// connection, and returns the second result, in two cases: if the first connection had
// been used before and turned out dead before anything of an answer arrived ([ErrStale]);
// and if it ended before f had written anything, whether or not it had been used before,
// for instance with [ErrUnsolicited]. So f must return the error that it got, or one that
// wraps it. It blocks and fails as Do.
func (p *Pool) DoIdempotent(ctx context.Context, f func(context.Context, *Conn) error) error {
	return doIdempotent(ctx, p.pool, f)
}

// Warm dials until n connections exist, or as many as MaxSize allows, and waits for them.
// Dials that fail, or that Redial holds back, are tried again until ctx ends: then Warm
// returns a [*resource.WarmError] with the number of connections and the error of the last
// dial. It returns [resource.ErrClosed] when the pool is closed. Dials already begun go on.
func (p *Pool) Warm(ctx context.Context, n int) error { return p.pool.Warm(ctx, n) }

// Resize changes how many connections may exist. Growing dials for waiters at once.
// Shrinking closes surplus idle connections at once and interrupts no lease. It fails if
// max is less than 1, or with [resource.ErrClosed]. It does not wait for connections to be closed.
func (p *Pool) Resize(max int) error { return p.pool.Resize(max) }

// Reset replaces every connection made before it: idle ones are closed now, leased ones
// when their lease ends. Trace gets the cause; nil means [resource.ErrReset]. Later dials
// resume no TLS session of an earlier one, so that they use the present client
// certificate. Reset does not wait.
func (p *Pool) Reset(cause error) {
	p.hub.count.resets.Add(1)
	p.pool.Reset(cause)
}

// ResetNow is [Pool.Reset] for when the network is known to have changed: after the machine
// has slept, or when the server has moved. Connections made before it, and those being
// closed, are closed without a closing handshake, so that their slots are free at once;
// Reset waits for each peer's answer for up to [Config.CloseTimeout], unless the peer has
// been silent for longer than KeepAlive and PongWait. Leases go on until they end. It does
// not wait. The peer sees the end of the TCP connection, and no close frame.
//
// ResetNow also ends a pause of [Config.Redial], and the delay before the next dial in an
// outage: where something waits for a connection a dial begins at once, and the streak of
// Redial begins anew.
func (p *Pool) ResetNow(cause error) {
	p.hub.count.lifts.Add(1)
	cutOffAll(&p.hub.count.roster)
	p.Reset(cause)
	p.pool.RetryNow()
}

// Reclaim ends a lease that was leaked and closes its connection, as
// [resource.Pool.Reclaim] does: the slot is free once the connection is closed, after
// [Config.CloseTimeout] at the latest. [Pool.Inspect], a [resource.LeaseEvent] and the
// metrics have the id and the ordinal of the lease. It is safe while the holder still uses
// the [Conn]: reads and writes, those that run included, return [ErrReleased], and the
// holder's own end of the lease does nothing. It returns false, and does nothing, if that
// lease is not the current one or began less than a second ago. It does not wait. Where
// leases leak again and again see [Config.Reclaim].
func (p *Pool) Reclaim(id, lease uint64) bool { return p.pool.Reclaim(id, lease) }

// Stats returns a snapshot. It does not wait.
func (p *Pool) Stats() Stats {
	s := Stats{p.pool.Stats(), p.hub.count.sockets()}
	s.Panics += p.hub.count.panics.Load()
	return s
}

// Close ends the pool: waiters get [resource.ErrClosed] at once, dials are cancelled, idle
// connections are closed with code 1001, each within [Config.CloseTimeout], and leased ones
// when their lease ends. It returns nil when nothing of the pool runs any more, or a
// [*resource.CloseError] when ctx ends before; the closing goes on. Pass a ctx with a
// deadline: a leaked lease makes Close wait until ctx ends.
//
// After a CloseError [Pool.Inspect] has the leases that have not ended, [Pool.Reclaim] ends
// those that leaked, and another Close waits for the rest. [Pool.CloseNow] ends everything
// by force.
func (p *Pool) Close(ctx context.Context) error {
	p.end()
	if err := p.pool.Close(ctx); err != nil {
		return err
	}
	return p.hub.count.reclaims.await(ctx, func() resource.Load { return p.pool.Stats().Load })
}

// CloseNow ends the pool by force, also what an earlier Close has left: connections are
// closed without a closing handshake, and leases are ended, leaked ones too; reads and
// writes that run return [ErrReleased], as they do when another goroutine releases. It does
// not wait: a Close after it returns as soon as the user's functions, such as OnConnect or
// Trace, have returned. It may be called at any time, any number of times.
func (p *Pool) CloseNow() {
	p.end()
	_ = p.pool.Close(noTime) // the error lists what is left, which is ended now
	endAllNow(&p.hub.count.roster)
}

// noTime is a context that has ended.
var noTime = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// hub is what all connections of a pool share, and the coordinator of the components that
// are theirs together: the gate of dials, the monitor, TLS sessions, known addresses.
type hub struct {
	cfg     Config  // with defaults
	given   *Config // by the user; constant
	gate    *dialGate
	tls     tlsSessions
	monitor monitor[*link]
	clock   wsconn.Clock
	suspect atomic.Int64    // a peer that was last heard before then must answer a ping before it is lent
	count   *registry       // of all pools that share it
	closing chan struct{}   // holds a token for each closing handshake that runs
	ctx     context.Context // ends when the pool is closed

	addresses addressBook
	usual     handshakes
	scouting  atomic.Bool // a dial sends scouts: see race
	lookup    func(ctx context.Context, host string) ([]netip.Addr, error)
}

func newHub(ctx context.Context, cfg Config, count *registry) *hub {
	cfg.Trace = copyOf(cfg.Trace)
	h := &hub{ctx: ctx, count: count, cfg: cfg.withDefaults(), given: cmp.Or(cfg.given, &cfg), clock: wsconn.NewClock(), closing: make(chan struct{}, maxClosing), lookup: lookup}
	h.gate = newDialGate(&h.cfg)
	h.gate.contained, h.gate.lifts = h.contained, &count.lifts
	h.tls.start(h.cfg.TLS, &count.resets, h.contained)
	h.monitor.start(h.cfg.KeepAlive, h.cfg.WatchAfter, h.clock, &count.unwatched, h.onTick, h.onAlarm)
	return h
}

// config returns the configuration of the pool of resources.
func (h *hub) config() resource.Config[*link] {
	c := &h.cfg
	return resource.Config[*link]{
		Make:           h.dial,
		Destroy:        (*link).destroy,
		Watch:          (*link).onFail,
		Recall:         recallHolder,
		OnRelease:      h.onRelease(),
		Broken:         c.Broken,
		MaxSize:        c.MaxSize,
		MinIdle:        c.MinIdle,
		MakeTimeout:    c.DialTimeout,
		ReleaseTimeout: c.Quiet + QuietPatience + 2*quietWait, // serveQuarantine bounds itself
		SweepInterval:  c.SweepInterval,
		Order:          c.Order,
		Queue:          c.Queue,
		Outage:         c.Outage,
		Admission:      c.Admission,
		MakeGate:       h.gate,
		Quota:          c.Quota,
		Health:         checker(c.Health),
		Eviction:       c.Eviction,
		Trace:          c.Trace,
		SampleLeases:   c.sampleLeases(),
		Describe:       (*link).describe,
		Settings:       h.settings,
	}
}

// adopt puts a new connection, which has no reader, under the monitor.
func (h *hub) adopt(l *link) {
	h.monitor.unwatched(&l.node)
	if h.cfg.KeepAlive > 0 {
		h.monitor.checkAt(&l.node, h.clock.Now()+int64(l.keepalive.silence))
	}
}

// onTick is called by a timer of the monitor.
func (h *hub) onTick() {
	tick, unwatched := h.monitor.beginTick()
	h.suspectSilent(h.clock.Now())
	for _, l := range unwatched {
		l.tend(tick)
	}
	h.monitor.endTick()
}

// onAlarm is called by a timer of the monitor.
func (h *hub) onAlarm() {
	now, due := h.monitor.dueChecks()
	h.suspectSilent(now)
	for _, d := range due {
		h.monitor.checkAt(&d.owner.node, d.owner.checkAlive(now, d.late))
	}
}

// stale is called when a connection turned out dead when it was used again. Others that
// have been silent for as long may be dead too: none is lent before bytes have arrived on
// it.
func (h *hub) stale() {
	h.count.stale.Add(1)
	h.suspectBefore(h.clock.Now())
	h.monitor.hurry()
}

// suspectSilent makes connections prove that their peer lives that have been silent for
// longer than a live peer may, hot ones too. Both timers of the monitor run late, and soon,
// when the process has stood still.
func (h *hub) suspectSilent(now int64) {
	if h.cfg.KeepAlive > 0 {
		h.suspectBefore(now - h.longestSilence())
	}
}

// suspectBefore makes every connection on which nothing has arrived since t prove that its
// peer lives before it is lent.
func (h *hub) suspectBefore(t int64) {
	for {
		old := h.suspect.Load()
		if t <= old || h.suspect.CompareAndSwap(old, t) {
			return
		}
	}
}

// longestSilence is how long a live peer may be silent: after KeepAlive it is sent a ping,
// which it answers within PongWait. It is 0 if no pings are sent.
func (h *hub) longestSilence() int64 {
	if h.cfg.KeepAlive <= 0 {
		return 0
	}
	return int64(h.cfg.KeepAlive) + int64(h.cfg.PongWait)
}

// panicked returns the error of a user's function that panicked with v; nil means that it
// ended its goroutine.
func panicked(where string, v any) error {
	if v == nil {
		return fmt.Errorf("%w: %s", resource.ErrGoexit, where)
	}
	return &resource.PanicError{Where: where, Value: v, Stack: debug.Stack()}
}

// contained counts a panic or Goexit that this package has contained, in addition to those
// that the pool of resources contains, and reports it in the same way. No lock is held.
func (h *hub) contained(err error) {
	h.count.panics.Add(1)
	h.reportPanic(err)
}

func (h *hub) reportPanic(err error) {
	if t := h.cfg.Trace; t != nil && t.Panicked != nil {
		defer func() { _ = recover() }() // a panic in Panicked itself cannot be reported
		t.Panicked(err)
	}
}

// containedIn is contained for a panic with v in where, which it returns as an error. Locks may
// be held, so a goroutine of its own reports it.
func (h *hub) containedIn(where string, v any) error {
	err := panicked(where, v)
	h.count.panics.Add(1)
	go h.reportPanic(err)
	return err
}

// contain calls f, a function of the user. If f panics, contain returns the panic as an
// error; it calls failed with the error before that, because f may have ended the goroutine.
func (h *hub) contain(name string, failed func(error), f func()) (err error) {
	returned := false
	defer func() {
		if !returned {
			err = fmt.Errorf("wspool: %s did not return: %w", name, panicked(name, recover()))
			failed(err)
			h.contained(err)
		}
	}()
	f()
	returned = true
	return nil
}
