package main

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/jackc/puddle/v2"
	"github.com/respool/respool/resource"
)

// A loop acquires and releases n times. Each pool has loops of its own,
// because at this size a call through an interface would be seen.
type loop func(ctx context.Context, n int) error

// loops are the loops of one pool, warmed and ready.
type loops struct {
	plain loop // release at once
	yield loop // runtime.Gosched while holding
	close func() error
}

// A loopKind is how to make loops over a pool of size resources, all made.
type loopKind struct {
	name string
	open func(ctx context.Context, size int) (loops, error)
}

func loopKinds() []loopKind {
	return []loopKind{{"respool", respoolLoops}, {"puddle", puddleLoops}, {"channel", channelLoops}}
}

func respoolLoops(ctx context.Context, size int) (loops, error) {
	p, err := resource.New(resource.Config[*item]{Make: instant, MaxSize: size})
	if err != nil {
		return loops{}, err
	}
	if err := p.Warm(ctx, size); err != nil {
		return loops{}, errors.Join(err, closeRespool(p))
	}
	return loops{
		plain: func(ctx context.Context, n int) error { return respoolPlain(ctx, p, n) },
		yield: func(ctx context.Context, n int) error { return respoolYield(ctx, p, n) },
		close: func() error { return closeRespool(p) },
	}, nil
}

func respoolPlain(ctx context.Context, p *resource.Pool[*item], n int) error {
	for range n {
		l, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		l.Release()
	}
	return nil
}

func respoolYield(ctx context.Context, p *resource.Pool[*item], n int) error {
	for range n {
		l, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		runtime.Gosched()
		l.Release()
	}
	return nil
}

func puddleLoops(ctx context.Context, size int) (loops, error) {
	q, err := openPuddle(size, instant)
	if err != nil {
		return loops{}, err
	}
	if err := q.warm(ctx, size); err != nil {
		return loops{}, errors.Join(err, q.close())
	}
	p := q.(puddlePool).Pool
	return loops{
		plain: func(ctx context.Context, n int) error { return puddlePlain(ctx, p, n) },
		yield: func(ctx context.Context, n int) error { return puddleYield(ctx, p, n) },
		close: q.close,
	}, nil
}

func puddlePlain(ctx context.Context, p *puddle.Pool[*item], n int) error {
	for range n {
		r, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		r.Release()
	}
	return nil
}

func puddleYield(ctx context.Context, p *puddle.Pool[*item], n int) error {
	for range n {
		r, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		runtime.Gosched()
		r.Release()
	}
	return nil
}

func channelLoops(_ context.Context, size int) (loops, error) {
	p := make(chan *item, size)
	for range size {
		p <- &item{}
	}
	return loops{
		plain: func(ctx context.Context, n int) error { return channelPlain(ctx, p, n) },
		yield: func(ctx context.Context, n int) error { return channelYield(ctx, p, n) },
		close: func() error { return nil },
	}, nil
}

func channelPlain(ctx context.Context, p chan *item, n int) error {
	for range n {
		select {
		case it := <-p:
			p <- it
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func channelYield(ctx context.Context, p chan *item, n int) error {
	for range n {
		select {
		case it := <-p:
			runtime.Gosched()
			p <- it
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// shared has g goroutines do l, n times in all. If own, each has a context of
// its own that can be cancelled, as the callers of a server have; else all have
// the same, and meet at its Done channel when they wait, whatever the pool.
func shared(g int, own bool, l loop) loop {
	if g == 1 {
		return l
	}
	return func(ctx context.Context, n int) error {
		errs := make([]error, g)
		var wg sync.WaitGroup
		for i := range g {
			part := n / g
			if i < n%g {
				part++
			}
			wg.Go(func() {
				ctx := ctx
				if own {
					var cancel context.CancelFunc
					ctx, cancel = context.WithCancel(ctx)
					defer cancel()
				}
				errs[i] = l(ctx, part)
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	}
}

// A crew is who does the loops of one row, and on how many resources.
type crew struct {
	name       string
	goroutines int
	resources  int
	yield      bool // runtime.Gosched while holding
	own        bool // each goroutine has a context of its own
}

func crews() []crew {
	return []crew{
		{name: "alone", goroutines: 1, resources: 1},
		{name: "per-core", goroutines: runtime.GOMAXPROCS(0), resources: 64, own: true},
		{name: "64-on-4", goroutines: 64, resources: 4, yield: true},
		{name: "64-on-4-own-ctx", goroutines: 64, resources: 4, yield: true, own: true},
	}
}

// loop is what the crew does on l.
func (c crew) loop(l loops) loop {
	body := l.plain
	if c.yield {
		body = l.yield
	}
	return shared(c.goroutines, c.own, body)
}
