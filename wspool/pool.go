package wspool

import (
	"context"

	"github.com/respool/respool/resource"
)

// Pool lends WebSocket connections. Make one with [New]. All methods may be
// called by any number of goroutines at once.
type Pool struct {
	hub  *hub
	pool *resource.Pool[*link]
	end  context.CancelFunc // of what the hub's context is for
}

// New returns a pool for cfg, which it copies, and begins to dial
// [Config.MinIdle] connections in the background. The error names every bad
// field. Call [Pool.Close] when done.
func New(cfg Config) (*Pool, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := newHub(ctx, cfg, new(counts))
	pool, err := resource.New(h.config())
	if err != nil {
		cancel()
		return nil, err
	}
	return &Pool{hub: h, pool: pool, end: cancel}, nil
}

// Acquire lends a connection: an idle one, or else the first that is given back
// or dialled for those who wait. It blocks until then, until ctx ends or the
// pool is closed, and fails with a [*resource.AcquireError], which has the
// [*DialError] of a failed dial in its chain, or as its LastMake if that is not
// why. A connection that was dialled and died before anybody was lent it is no
// failed dial: what it died of, such as a [*CloseError], is in the chain then,
// and stands alone if that became known while it was lent to this caller. The
// caller ends the lease.
func (p *Pool) Acquire(ctx context.Context) (*Conn, error) {
	return p.AcquireWith(ctx, resource.Request{})
}

// AcquireWith is Acquire with what this caller asks for: a connection that will
// last (MinRemaining), one that nobody has used (Fresh), or one without a wait
// (NoWait) or after a bounded one (MaxWait), and what the policies look at.
func (p *Pool) AcquireWith(ctx context.Context, r resource.Request) (*Conn, error) {
	return borrow(ctx, p.pool, r)
}

// TryAcquire lends an idle connection, or returns false if there is none or
// another caller waits. It does not wait for other callers. If it returns false
// and there is room a dial begins in the background, one at a time, so that a
// later call may succeed.
func (p *Pool) TryAcquire() (*Conn, bool) { return tryBorrow(p.pool) }

// Do lends a connection to f and ends the lease when f returns: with
// [Conn.Release] if it returns nil, [Conn.Fail] if an error, which Do returns;
// if f panics or calls runtime.Goexit the connection is destroyed and the panic
// goes on. It blocks and fails as Acquire, and then f is not called. f may end
// the lease itself, and must not keep the Conn.
func (p *Pool) Do(ctx context.Context, f func(context.Context, *Conn) error) error {
	return do(ctx, p.pool, resource.Request{}, f)
}

// DoWith is Do with what this caller asks for: see AcquireWith. With
// [resource.Request.MaxWait] it bounds the acquire and leaves f its time.
func (p *Pool) DoWith(ctx context.Context, r resource.Request, f func(context.Context, *Conn) error) error {
	return do(ctx, p.pool, r, f)
}

// DoIdempotent is Do for work that may be done twice. f is called once more, with a
// connection that nobody has used, and its second result counts, if the connection
// had been used before and turns out dead before anything of an answer came
// ([ErrStale]), or if it ended before f had written anything, used or not, for
// instance with [ErrUnsolicited]. So f must return the error that it got, or one
// that wraps it.
func (p *Pool) DoIdempotent(ctx context.Context, f func(context.Context, *Conn) error) error {
	return doIdempotent(ctx, p.pool, f)
}

// Warm dials until n connections exist, or as many as MaxSize allows, and waits
// for them. Dials that fail, or that Redial does not let begin, are tried again
// until ctx ends: then Warm returns a [*resource.WarmError], which says how many
// there are and how the last dial failed. It returns [resource.ErrClosed] when the
// pool is closed. Dials already begun go on.
func (p *Pool) Warm(ctx context.Context, n int) error { return p.pool.Warm(ctx, n) }

// Resize changes how many connections may exist. Growing lets waiters have new
// ones at once. Shrinking closes surplus idle ones at once and interrupts no
// lease. It fails if max is less than 1.
func (p *Pool) Resize(max int) error { return p.pool.Resize(max) }

// Reset replaces every connection made before it: idle ones are closed now,
// leased ones when their lease ends. The cause is what Trace sees; nil means
// [resource.ErrReset]. Later dials resume no TLS session of an earlier one, so
// that they show the client certificate of now.
func (p *Pool) Reset(cause error) {
	p.hub.count.resets.Add(1)
	p.pool.Reset(cause)
}

// ResetNow is [Pool.Reset] for where the network is known to have changed: after the
// machine has slept, or when the server has moved. Connections made before it, and
// those being closed, are cut without a close handshake, so that their places are
// free at once; Reset waits for each peer's answer for up to [Config.CloseTimeout],
// unless the peer has been silent for longer than KeepAlive and PongWait. Leases go
// on until they end. It does not wait. The peer sees the TCP connection end, and no
// close frame.
func (p *Pool) ResetNow(cause error) {
	p.hub.count.roster.cutOff()
	p.Reset(cause)
}

// Stats returns a snapshot, which is the caller's. It does not wait.
func (p *Pool) Stats() Stats {
	s := Stats{p.pool.Stats(), p.hub.count.sockets()}
	s.Panics += p.hub.count.panics.Load()
	return s
}

// Close ends the pool: waiters get [resource.ErrClosed] at once, dials are
// cancelled, idle connections closed with code 1001, each within
// [Config.CloseTimeout], leased ones when their lease ends. It returns nil when
// nothing of the pool runs any more, or a [*resource.CloseError] when ctx ends
// before; the closing goes on, and Close may be called again to wait for it. Give
// ctx a deadline: behind a lease that leaked Close waits until ctx ends. What is
// left then [Pool.CloseNow] ends by force.
func (p *Pool) Close(ctx context.Context) error {
	p.end()
	if err := p.pool.Close(ctx); err != nil {
		return err
	}
	return p.hub.count.reclaims.await(ctx, func() resource.Load { return p.pool.Stats().Load })
}

// CloseNow ends the pool by force, and what a Close that has been called before has
// left over: connections are cut without a close handshake, and leases are ended,
// leaked ones too; reads and writes that run return [ErrReleased], as they do where
// another goroutine releases. It does not wait: after it Close returns as soon as
// functions of the caller's, such as OnConnect or Trace, have returned. It may be
// called at any time, any number of times.
func (p *Pool) CloseNow() {
	p.end()
	_ = p.pool.Close(noTime) // it says what is left, which is ended now
	p.hub.count.roster.endNow()
}

// noTime is a context that has ended.
var noTime = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
