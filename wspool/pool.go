package wspool

import (
	"context"
	"errors"

	"github.com/respool/respool/resource"
)

// errNotReturned is why Do destroys a connection whose function panicked.
var errNotReturned = errors.New("wspool: the function in Do did not return")

// Pool lends WebSocket connections. Make one with [New]. All methods may be
// called by any number of goroutines at once.
type Pool struct {
	cfg  Config
	pool *resource.Pool[*link]
	gate *dialGate
}

// New returns a pool for cfg, which it copies, and begins to dial
// [Config.MinIdle] connections in the background. The error names every bad
// field. Call [Pool.Close] when done.
func New(cfg Config) (*Pool, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := &Pool{cfg: cfg.withDefaults()}
	p.gate = newDialGate(&p.cfg)
	var err error
	p.pool, err = resource.New(resource.Config[*link]{
		Make:          p.dial,
		Destroy:       (*link).destroy,
		Watch:         (*link).watch,
		Broken:        cfg.Broken,
		MaxSize:       cfg.MaxSize,
		MinIdle:       cfg.MinIdle,
		MakeTimeout:   p.cfg.DialTimeout,
		SweepInterval: cfg.SweepInterval,
		Order:         cfg.Order,
		Queue:         cfg.Queue,
		Outage:        cfg.Outage,
		Admission:     cfg.Admission,
		MakeGate:      p.gate,
		Quota:         cfg.Quota,
		Eviction:      cfg.Eviction,
		Trace:         cfg.Trace,
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Acquire lends a connection: an idle one, or else the first that is given back
// or dialled for those who wait. It blocks until then, until ctx ends or the
// pool is closed, and fails with a [*resource.AcquireError], whose causes
// include the [*DialError] of a failed dial. If every connection that it was
// lent had died just then, it fails with what the last one died of. The caller
// ends the lease.
func (p *Pool) Acquire(ctx context.Context) (*Conn, error) {
	return p.AcquireWith(ctx, resource.Request{})
}

// AcquireWith is Acquire with particulars for the policies.
func (p *Pool) AcquireWith(ctx context.Context, r resource.Request) (*Conn, error) {
	tries := -1
	for {
		lease, err := p.pool.AcquireWith(ctx, r)
		if err != nil {
			return nil, err
		}
		c, err := lend(ctx, lease)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			continue // the pool says it best
		}
		// It died in the instant it was lent. So may the other idle ones; one
		// that is dialled afterwards and dies too is news for the caller.
		if tries < 0 {
			tries = p.pool.Stats().Idle + 1
		}
		if tries == 0 {
			return nil, err
		}
		tries--
	}
}

// TryAcquire lends an idle connection if there is one and nobody waits. It does
// not wait for other callers and never dials.
func (p *Pool) TryAcquire() (*Conn, bool) {
	for {
		lease, ok := p.pool.TryAcquire()
		if !ok {
			return nil, false
		}
		if c, err := lend(context.Background(), lease); err == nil {
			return c, true
		}
	}
}

// Do lends a connection to f and ends the lease when f returns: with
// [Conn.Release] if it returns nil, [Conn.Fail] if an error, which Do returns;
// if f panics or calls runtime.Goexit the connection is destroyed and the panic
// goes on.
func (p *Pool) Do(ctx context.Context, f func(context.Context, *Conn) error) error {
	c, err := p.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Discard(errNotReturned) // does nothing after Fail
	err = f(ctx, c)
	c.Fail(err)
	return err
}

// Warm dials until n connections exist, or as many as MaxSize allows, and waits
// for them. It fails with the first dial's failure, with ctx, or
// [resource.ErrClosed]; dials already begun go on.
func (p *Pool) Warm(ctx context.Context, n int) error { return p.pool.Warm(ctx, n) }

// Resize changes how many connections may exist. Growing lets waiters have new
// ones at once. Shrinking closes surplus idle ones at once and interrupts no
// lease. It fails if max is less than 1.
func (p *Pool) Resize(max int) error { return p.pool.Resize(max) }

// Reset replaces every connection made before it: idle ones are closed now,
// leased ones when their lease ends. The cause is what Trace sees; nil means
// [resource.ErrReset].
func (p *Pool) Reset(cause error) { p.pool.Reset(cause) }

// Stats returns a snapshot.
func (p *Pool) Stats() resource.Stats { return p.pool.Stats() }

// Close ends the pool: waiters get [resource.ErrClosed] at once, dials are
// cancelled, idle connections closed with code 1001, leased ones when their
// lease ends. It returns nil when nothing of the pool runs any more, or a
// [*resource.CloseError] when ctx ends before; the closing goes on, and Close
// may be called again to wait for it.
func (p *Pool) Close(ctx context.Context) error { return p.pool.Close(ctx) }
