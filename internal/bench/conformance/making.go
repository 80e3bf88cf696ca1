package conformance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func making() []Case {
	return []Case{
		{Name: "dial-storm", Issues: []string{"go-redis#3890", "go-redis#3891", "golang/go#57248"}, alone: true, What: "Fifty callers, five idle items, work of 2 ms: at most ten makes, of 150 ms, and all callers finish before one make could.", run: tries(3, func(p *probe) {
			const callers, idle, takes = 50, 5, 150 * time.Millisecond
			p.Takes = takes
			p.openLazy(callers)
			p.warm(idle)
			before := p.Makes()
			began := time.Now()
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					if l, err := p.pool.Acquire(context.Background()); err == nil {
						time.Sleep(2 * time.Millisecond)
						l.Release()
					}
				})
			}
			p.succeeds("Acquire", do(all.Wait))
			took, n := time.Since(began), p.Makes()-before
			p.judge(took < takes && n <= 10, "%s, %d makes", ms(took), n)
		})},
		{Name: "own-dial", Issues: []string{"go-redis#3890"}, What: "A caller that waits for a make of 400 ms takes an item that is released after 10 ms.", run: func(p *probe) {
			p.openLazy(2)
			l := p.take()
			p.SetTakes(400 * time.Millisecond)
			began := time.Now()
			got := p.askAndSettle()
			l.Release()
			g := await(got, soon)
			p.succeeds("Acquire", g.err)
			p.prompt(g.at.Sub(began))
		}},
		{Name: "dial-blocks", What: "An idle item can be acquired while an item is made for another caller.", run: func(p *probe) {
			p.openLazy(3)
			l := p.take()
			p.SetTakes(400 * time.Millisecond)
			dialing := p.askAndSettle()
			go func() {
				if g := <-dialing; g.err == nil {
					g.lease.Release()
				}
			}()
			began := time.Now()
			go l.Release()
			time.Sleep(settle)
			p.take()
			p.prompt(time.Since(began))
		}},
		{Name: "outage", Issues: []string{"bb8#149"}, What: "Two hundred callers, a maximum of ten, makes that fail after 50 ms: every caller gets an error within 500 ms, and at most fifty makes are tried.", run: func(p *probe) {
			const callers, watch = 200, 2 * time.Second
			p.Takes = 50 * time.Millisecond
			p.Making = func(context.Context, int) error { return errors.New("down") }
			p.openLazy(10)
			var asked []<-chan grant
			began := time.Now()
			for range callers {
				asked = append(asked, p.ask(context.Background()))
			}
			time.Sleep(watch)
			returned, last := 0, time.Duration(0)
			for _, got := range asked {
				select {
				case g := <-got:
					returned++
					last = max(last, g.at.Sub(began))
				default:
				}
			}
			p.failIf(returned < callers, "%d of %d not told in %v", callers-returned, callers, watch)
			n := p.Makes()
			p.judge(last < 500*time.Millisecond && n <= 50, "%s, %d makes", ms(last), n)
		}},
		{Name: "release-dials", What: "A caller that returns a broken item does not wait for the make of its replacement.", run: func(p *probe) {
			p.openLazy(1)
			l := p.take()
			got := p.askAndSettle()
			p.SetTakes(300 * time.Millisecond)
			began := time.Now()
			p.succeeds("Destroy", do(l.Destroy))
			took := time.Since(began)
			p.failIf(await(got, soon).err != nil, "the waiter is not served")
			p.prompt(took)
		}},
		{Name: "hung-make", What: "A make that hangs until its context ends does not keep its slot after its caller has left.", run: func(p *probe) {
			p.Making = func(ctx context.Context, n int) error {
				if n == 1 {
					<-ctx.Done()
				}
				return ctx.Err()
			}
			p.openLazy(1, func(c *peer.Config) { c.MakeTimeout = 200 * time.Millisecond })
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			p.failIf(errors.Is(await(p.ask(ctx), soon).err, errLate), "its caller waits for ever")
			p.slotSurvives()
		}},
		{Name: "deaf-make", What: "A caller leaves when its context ends, although the make ignores its own context.", run: func(p *probe) {
			p.Making = func(context.Context, int) error {
				time.Sleep(400 * time.Millisecond)
				return nil
			}
			p.openLazy(1)
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			began := time.Now()
			p.prompt(await(p.ask(ctx), soon).at.Sub(began))
		}},
		{Name: "caller-kills-dial", What: "A make outlives the context of the caller that it was begun for, and serves the next caller.", run: func(p *probe) {
			killsDial(p, func(ctx context.Context) {
				if l, err := p.pool.Acquire(ctx); err == nil {
					l.Release()
				}
			})
		}},
		// This needs a TryAcquire that begins a make: most of them only look for an
		// idle item.
		{Name: "try-kills-dial", What: "A make that a TryAcquire began outlives the context of that call.", run: func(p *probe) {
			killsDial(p, func(ctx context.Context) {
				as[peer.Trier](p).TryAcquire(ctx)
				<-ctx.Done()
				p.needs(until(func() bool { return p.Makes() > 0 })) // it begins in a goroutine
			})
		}},
	}
}

// prompt fails unless took is well below the 300 to 400 ms that a make takes.
func (p *probe) prompt(took time.Duration) { p.judge(took < 200*time.Millisecond, "%s", ms(took)) }

// killsDial wants a single make, although the caller that it was begun for has left.
func killsDial(p *probe, first func(context.Context)) {
	p.Takes = 150 * time.Millisecond
	p.openLazy(1)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	first(ctx)
	<-ctx.Done()
	l, err := p.keepTaking()
	p.succeeds("Acquire", err)
	l.Release()
	n := p.Makes()
	p.judge(n == 1, "%d makes", n)
}
