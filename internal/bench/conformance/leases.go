package conformance

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func leases() []Case {
	return []Case{
		{Name: "stale-release", What: "A lease that has ended cannot end the next holder's lease.", run: func(p *probe) {
			p.open(1)
			old := p.take()
			old.Release()
			holder := p.take().Item()
			_ = do(old.Release) // a panic is as good as no effect
			p.exclusive(holder)
		}},
		{Name: "release-twice", What: "A second Release of one lease does nothing.", run: func(p *probe) {
			p.open(1)
			l := p.take()
			l.Release()
			p.succeeds("the second", do(l.Release))
			p.exclusive(p.take().Item())
		}},
		// The second Release may panic: its caller has been told then.
		{Name: "release-race", Issues: []string{"pgx#2260", "pgx#2564"}, What: "Two concurrent Releases of one lease count as one.", run: func(p *probe) {
			const rounds = 10000
			p.open(1)
			for i := range rounds {
				l, err := p.tryTake(soon)
				p.failIf(err != nil, "lost after %d rounds", i)
				var ready atomic.Int64
				var both sync.WaitGroup
				for range 2 {
					both.Go(func() {
						defer func() { _ = recover() }()
						// Not for long: the other one may have no processor.
						ready.Add(1)
						for spins := 0; ready.Load() < 2 && spins < 10_000; spins++ {
						}
						l.Release()
					})
				}
				p.succeeds("Release", do(both.Wait))
			}
			p.exclusive(p.take().Item())
		}},
		{Name: "release-destroyed", What: "A destroyed item is not lent again because its lease is released as well.", run: func(p *probe) {
			p.openLazy(1)
			l := p.take()
			it := l.Item()
			l.Destroy()
			_ = do(l.Release)
			p.destroyed(it)
			next := p.take()
			p.failIf(next.Item() == it, "a destroyed item lent")
			p.exclusive(next.Item())
		}},
		{Name: "destroy-twice", What: "A second Destroy of one lease does nothing.", run: func(p *probe) {
			p.openLazy(1)
			for range 3 {
				l := p.take()
				l.Destroy()
				p.succeeds("the second", do(l.Destroy))
			}
			p.exclusive(p.take().Item())
		}},
		{Name: "use-released", What: "A lease that has ended does not give access to the next holder's item.", run: func(p *probe) {
			p.open(1)
			old := p.take()
			old.Release()
			p.take()
			p.unusable(old)
		}},
		{Name: "use-destroyed", What: "A lease that has ended does not give access to a destroyed item.", run: func(p *probe) {
			p.openLazy(1)
			l := p.take()
			it := l.Item()
			l.Destroy()
			p.destroyed(it)
			p.unusable(l)
		}},
		{Name: "make-panics", What: "A panic in a make fails that make only: the process and the slot survive.", run: func(p *probe) { firstMakeFails(p, func() { panic("make") }) }},
		{Name: "make-exits", What: "A runtime.Goexit in a make fails that make only: the caller and the slot survive.", run: func(p *probe) { firstMakeFails(p, runtime.Goexit) }},
		// The holder destroys one item, and a Reset another if the pool has
		// one: some pools run the former in the holder's goroutine and only the latter in
		// their own.
		{Name: "destroy-panics", What: "A panic in a destroy fails that destroy only: the process and the slot survive.", run: func(p *probe) {
			p.Ending = func() { panic("destroy") }
			p.openLazy(1)
			l := p.take()
			it := l.Item()
			_ = do(l.Destroy) // the holder may see the panic
			p.destroyed(it)
			l = p.slotSurvives()
			r, ok := p.pool.(peer.Resetter)
			if !ok {
				return
			}
			it = l.Item()
			l.Release()
			_ = do(r.Reset)
			p.failIf(!until(func() bool { return p.Dead(it) }), "never destroyed by Reset")
			time.Sleep(settle) // the panic follows
			p.slotSurvives()
		}},
		{Name: "max-destroying", What: "No more items are alive than the maximum, those being destroyed included. The time is how long a caller then waits for a Destroy of 150 ms.", run: func(p *probe) {
			p.Ends = 150 * time.Millisecond
			p.openLazy(1)
			l := p.take()
			began := time.Now()
			l.Destroy()
			p.take()
			waited := time.Since(began)
			_, top := p.Alive()
			p.failIf(top > 1, "%d alive of 1", top)
			p.seen = ms(waited)
		}},
		{Name: "max-reset", What: "No more items are alive than the maximum through a Reset, those being destroyed included.", run: func(p *probe) {
			const most = 4
			p.Ends = 150 * time.Millisecond
			p.openLazy(most)
			r := as[peer.Resetter](p)
			for range 3 {
				for _, l := range p.takeAll(most) {
					l.Release()
				}
				r.Reset()
			}
			p.takeAll(most)
			_, top := p.Alive()
			p.judge(top <= most, "%d alive of %d", top, most)
		}},
		{Name: "resize-grow", What: "A pool that is made larger serves a waiter at once.", run: func(p *probe) {
			p.openLazy(1)
			r := as[peer.Resizer](p)
			p.take()
			got := p.askAndSettle()
			p.must(r.Resize(2))
			began := time.Now()
			g := await(got, soon)
			p.failIf(g.err != nil, "the waiter is not served")
			took := g.at.Sub(began)
			p.judge(took < 100*time.Millisecond, "%s", ms(took))
		}},
		{Name: "resize-shrink", What: "A pool that is made smaller destroys idle items, and does not interrupt a holder or wait for one.", run: func(p *probe) {
			p.openLazy(4)
			r := as[peer.Resizer](p)
			held := p.takeAll(4)
			for _, l := range held[:2] {
				l.Release()
			}
			_, err := call(soon, func() (struct{}, error) { return struct{}{}, r.Resize(1) })
			p.succeeds("Resize", err)
			p.failIf(!until(func() bool { return p.living() <= 2 }), "%d alive of 1, 2 of them held", p.living())
			for _, l := range held[2:] {
				p.failIf(p.Dead(l.Item()), "a holder is interrupted")
				l.Release()
			}
			p.failIf(!until(func() bool { return p.living() <= 1 }), "%d stay alive of 1", p.living())
		}},
		{Name: "close-waiters", What: "Close, which has 200 ms, fails the waiters although a lease is out.", run: func(p *probe) {
			p.openClosable(1)
			p.take()
			got := p.askAndSettle()
			began := time.Now()
			go p.closeWithin(closeTime)
			g := await(got, soon)
			p.failIf(errors.Is(g.err, errLate), "not told in %v", soon)
			p.failIf(g.err == nil, "served from a closed pool")
			p.seen = "after " + ms(g.at.Sub(began))
		}},
		{Name: "close-leaked", What: "Close returns although a lease never ends: at once, or when its context ends.", run: func(p *probe) {
			p.openClosable(1)
			p.take()
			began := time.Now()
			p.failIf(errors.Is(p.closeWithin(closeTime), peer.ErrStillClosing), "hangs")
			took := time.Since(began)
			p.judge(took < soon, "%s", ms(took))
		}},
		{Name: "close-release", What: "A lease that is released twice after Close is destroyed once.", run: func(p *probe) {
			p.openClosable(1)
			l := p.take()
			it := l.Item()
			_ = p.closeWithin(50 * time.Millisecond)
			p.succeeds("Release", do(l.Release))
			p.succeeds("the second", do(l.Release))
			p.destroyed(it)
		}},
	}
}

// exclusive acquires from a pool of one whose item has a holder, and fails if that
// succeeds.
func (p *probe) exclusive(held *peer.Item) {
	got := await(p.ask(context.Background()), settle*10)
	p.failIf(got.err == nil && got.lease.Item() == held, "two holders")
	p.failIf(got.err == nil, "two items of one at most")
	if !errors.Is(got.err, errLate) {
		p.succeeds("Acquire", got.err)
	}
}

// unusable fails unless l, which has ended, says so.
func (p *probe) unusable(l peer.Lease) {
	err := l.Use()
	p.needs(!errors.Is(err, errors.ErrUnsupported))
	p.failIf(err == nil, "still usable")
}

// firstMakeFails wants the first caller to get any result at all, and a second caller
// to be served from the same slot.
func firstMakeFails(p *probe, fail func()) {
	p.Making = func(_ context.Context, n int) error {
		if n == 1 {
			fail()
		}
		return nil
	}
	p.openLazy(1)
	_, err := p.tryTake(soon)
	p.failIf(errors.Is(err, errLate), "its caller waits for ever")
	p.slotSurvives()
}

// closeTime is what a Close gets that cannot complete: well below soon, as some pools
// wait for the holders first and fail the waiters after that.
const closeTime = 200 * time.Millisecond

// closeWithin closes the pool within d.
func (p *probe) closeWithin(d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return p.pool.Close(ctx)
}
