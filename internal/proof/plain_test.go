package proof_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/respool/respool/resource"
)

// plain is a simple pool with one lock. It has the contract of resource.Pool (without
// Queue), so it must pass the harnesses; with a planted bug it must fail.
type plain[T any] struct {
	cfg  resource.Config[T]
	bug  string
	base context.Context
	stop context.CancelCauseFunc
	era  context.Context // ends at the next Reset
	over context.CancelCauseFunc

	mu      sync.Mutex
	s       resource.Stats // levels and counters
	idle    []*item[T]     // in the order of return
	line    []*call[T]
	ids     uint64
	gen     int
	fresh   int // running creations that began after the last Reset
	overdue int // of those, long-running ones
	warm    int
	streak  int
	closed  bool
	running int // goroutines
	waked   bool
	changed chan struct{} // closed, and replaced, when a level changes
}

// item is one resource of a plain pool.
type item[T any] struct {
	v      T
	id     uint64
	made   time.Time
	since  time.Time
	leases int64
	gen    int
	turn   int   // incremented when a lease ends
	out    bool  // leased
	end    error // invalidated
	gone   bool
	quota  resource.Done
}

func (it *item[T]) info() resource.Info {
	i := resource.Info{ID: it.id, Age: time.Since(it.made), Leases: it.leases}
	if !it.out {
		i.Idle = time.Since(it.since)
	}
	return i
}

// call is a waiting acquire.
type call[T any] struct{ got chan answer[T] }

type answer[T any] struct {
	it  *item[T]
	err error
}

func newPlain[T any](bug string) newPool[T] {
	return func(cfg resource.Config[T]) (pool[T], error) {
		p := &plain[T]{cfg: cfg, bug: bug, changed: make(chan struct{})}
		if p.cfg.MakeTimeout == 0 {
			p.cfg.MakeTimeout = resource.DefaultMakeTimeout
		}
		p.s.Max = cfg.MaxSize
		p.base, p.stop = context.WithCancelCause(context.Background())
		p.era, p.over = context.WithCancelCause(p.base)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.grow(context.Background())
		p.goDo(p.sweep)
		return p, nil
	}
}

// goDo runs f in the background. Close waits for it. The lock is held.
func (p *plain[T]) goDo(f func()) {
	p.running++
	go func() {
		defer func() {
			p.mu.Lock()
			p.running--
			p.notify()
			p.mu.Unlock()
		}()
		f()
	}()
}

func (p *plain[T]) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// contain runs f and converts a panic or Goexit to an error.
func contain(where string, f func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		normal := false
		defer func() {
			if r := recover(); r != nil {
				err = &resource.PanicError{Where: where, Value: r}
			} else if !normal {
				err = resource.ErrGoexit
			}
		}()
		err = f()
		normal = true
	}()
	<-done
	return err
}

func (p *plain[T]) admit(a resource.Admission, ctx context.Context, r resource.Request) (d resource.Done, err error) {
	if a == nil {
		return func(resource.Outcome) {}, nil
	}
	err = contain("Admit", func() (err error) {
		d, err = a.Admit(ctx, r)
		return err
	})
	if d == nil {
		d = func(resource.Outcome) {}
	}
	if err != nil {
		err = &resource.Rejection{Err: err}
	}
	return d, err
}

func (p *plain[T]) evict(i resource.Info) (cause error) {
	if p.cfg.Eviction == nil {
		return nil
	}
	err := contain("Evict", func() error { return p.cfg.Eviction.Evict(i) })
	var pe *resource.PanicError
	if errors.As(err, &pe) {
		return nil
	}
	return err
}

// countFailure counts an acquire that fails with err, and returns the reason. p.mu is
// held.
func (p *plain[T]) countFailure(ctx context.Context, err error) resource.Reason {
	f := &p.s.Failures
	switch {
	case ctx.Err() != nil:
		p.s.Canceled++
		f.Canceled++
		return resource.ReasonCanceled
	case errors.Is(err, resource.ErrRejected):
		p.s.Rejected++
		f.Admission++
		return resource.ReasonAdmission
	case errors.Is(err, resource.ErrOutage):
		f.Outage++
		return resource.ReasonOutage
	case errors.Is(err, resource.ErrNoneIdle):
		f.NoneIdle++
		return resource.ReasonNoneIdle
	case errors.Is(err, resource.ErrClosed):
		f.Closed++
		return resource.ReasonClosed
	}
	f.MakeFailed++
	return resource.ReasonMakeFailed
}

func (p *plain[T]) AcquireWith(ctx context.Context, r resource.Request) (lease[T], error) {
	start := time.Now()
	fail := func(err error) (lease[T], error) {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		reason := p.countFailure(ctx, err)
		return nil, &resource.AcquireError{Err: err, Reason: reason, Waited: time.Since(start), Load: p.s.Load, LastMake: p.s.LastMake}
	}
	if ctx.Err() != nil && p.bug != "serves a context that has ended" {
		return fail(ctx.Err())
	}
	done, err := p.admit(p.cfg.Admission, ctx, r)
	if err != nil {
		return fail(err)
	}
	for first := true; ; first = false {
		it, err := p.take(ctx, r, first)
		if err != nil {
			if p.bug != "forgets a Done" {
				done(resource.Outcome{})
			}
			return fail(err)
		}
		if l := p.lend(ctx, it, done); l != nil {
			return l, nil
		}
	}
}

// lend begins a lease on an idle item, unless a policy refuses.
func (p *plain[T]) lend(ctx context.Context, it *item[T], done resource.Done) lease[T] {
	p.mu.Lock()
	i := it.info()
	p.mu.Unlock()
	cause := p.evict(i)
	if p.cfg.Health != nil && cause == nil {
		cause = contain("Check", func() error { return p.cfg.Health.Check(ctx, it.v, i) })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s.Idle--
	if cause == nil && it.gen < p.gen {
		cause = resource.ErrReset
	}
	if cause == nil && p.bug != "lends the invalidated" {
		cause = it.end
	}
	if cause == nil && p.closed {
		cause = resource.ErrClosed
	}
	if cause == nil && ctx.Err() == nil || p.bug == "serves a context that has ended" && ctx.Err() != nil {
		l := &plainLease[T]{p: p, it: it, turn: it.turn, done: done}
		it.leases++
		l.info = it.info()
		it.out = true
		p.s.Leased++
		p.s.Acquired++
		return l
	}
	p.put(it, cause)
	return nil
}

// take finds an idle item or waits for one. The item counts as idle until it is lent.
func (p *plain[T]) take(ctx context.Context, r resource.Request, first bool) (*item[T], error) {
	p.mu.Lock()
	switch {
	case ctx.Err() != nil && p.bug != "serves a context that has ended":
		p.mu.Unlock()
		return nil, ctx.Err()
	case p.closed:
		p.mu.Unlock()
		return nil, resource.ErrClosed
	case len(p.idle) > 0 && (len(p.line) == 0 || !first):
		n := len(p.idle) - 1
		if (p.cfg.Order == resource.OldestFirst) != (p.bug == "lends from the wrong end") {
			n = 0
		}
		it := p.idle[n]
		p.idle = append(p.idle[:n:n], p.idle[n+1:]...)
		p.mu.Unlock()
		return it, nil
	case r.NoWait:
		p.mu.Unlock()
		return nil, resource.ErrNoneIdle
	}
	c := &call[T]{got: make(chan answer[T], 1)}
	if first {
		p.line = append(p.line, c)
	} else {
		p.line = append([]*call[T]{c}, p.line...)
	}
	p.s.Waiting++
	p.s.Waited++
	p.grow(ctx)
	p.mu.Unlock()
	select {
	case a := <-c.got:
		return a.it, a.err
	case <-ctx.Done():
		return p.leave(ctx, c)
	}
}

// leave removes c from the queue and passes on an item that it was given meanwhile.
func (p *plain[T]) leave(ctx context.Context, c *call[T]) (*item[T], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, x := range p.line {
		if x == c {
			p.line = append(p.line[:i:i], p.line[i+1:]...)
			p.s.Waiting--
			return nil, ctx.Err()
		}
	}
	if a := <-c.got; a.it != nil {
		p.s.Idle--
		p.put(a.it, nil)
	}
	return nil, ctx.Err()
}

// answer serves the call that has waited longest.
func (p *plain[T]) answer(a answer[T]) {
	n := 0
	if p.bug == "serves the last" {
		n = len(p.line) - 1
	}
	p.line[n].got <- a
	p.line = append(p.line[:n:n], p.line[n+1:]...)
	p.s.Waiting--
}
