package conformance

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func waiting() []Case {
	return []Case{
		{Name: "ended-context", What: "A caller whose context ended before its Acquire gets nothing, although an item is idle.", run: func(p *probe) {
			const rounds = 100
			p.open(1)
			p.take().Release() // now the item exists
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			served := 0
			for range rounds {
				if l, err := call(soon, func() (peer.Lease, error) { return p.pool.Acquire(ended) }); err == nil {
					served++
					l.Release()
				}
			}
			p.failIf(served > 0, "served %d of %d times", served, rounds)
		}},
		// On one processor the waiter cannot leave before the
		// release: the releaser finds it in the queue.
		{Name: "expired-waiter", Issues: []string{"vitess#20310", "vitess#20308"}, What: "A waiter whose context ended before a release does not get the released item.", run: func(p *probe) {
			p.open(1)
			runtime.GOMAXPROCS(1)
			const rounds = 100
			served := p.leave(rounds, time.Millisecond, func(l peer.Lease, cancel func()) { cancel(); l.Release() })
			p.failIf(served > 0, "served %d of %d times", served, rounds)
		}},
		{Name: "leaving-waiter", Issues: []string{"reactor-pool#124"}, What: "No item is lost when a waiter leaves while an item is being released.", run: func(p *probe) {
			p.open(1)
			for i := range 10 {
				p.leave(30, time.Duration(i)*50*time.Microsecond, func(l peer.Lease, cancel func()) {
					var both sync.WaitGroup
					both.Go(cancel)
					both.Go(l.Release)
					both.Wait()
				})
			}
		}},
		{Name: "late-timeout", Issues: []string{"vitess#16896", "vitess#16897"}, What: "Fifty waiters whose contexts end together return within 100 ms.", run: tries(3, func(p *probe) {
			const callers = 50
			p.open(1)
			p.take()
			end := time.Now().Add(50 * time.Millisecond)
			ctx, cancel := context.WithDeadline(context.Background(), end)
			defer cancel()
			var asked []<-chan grant
			for range callers {
				asked = append(asked, p.ask(ctx))
			}
			var last time.Duration
			for i, got := range asked {
				g := await(got, soon)
				p.failIf(g.err == nil, "two holders")
				p.failIf(g.err == errLate, "%d of %d not told", callers-i, callers)
				last = max(last, g.at.Sub(end))
			}
			p.judge(last < 100*time.Millisecond, "%s late", ms(last))
		})},
		// Waits are counted in ticks of a clock that stands still while one has the item, or
		// the process is stopped. In each round both get the item once, so that no later
		// release repairs a wake-up that one of them missed.
		{Name: "lost-wakeup", Issues: []string{"vitess#17662", "vitess#17675", "vitess#18713", "vitess#20081"}, alone: true, What: "Two goroutines on one item: neither waits for 20 ms while the other does not hold it.", run: most(3, func(p *probe) {
			p.open(1)
			var now, longest, often atomic.Int64 // milliseconds, and a number of waits
			var holders atomic.Int64
			var failed atomic.Bool
			go func() {
				for range time.Tick(time.Millisecond) {
					if holders.Load() == 0 {
						now.Add(1)
					}
				}
			}()
			rounds := 0
			once := func() {
				asked := now.Load()
				l, err := p.pool.Acquire(context.Background())
				if err != nil {
					failed.Store(true)
					return
				}
				holders.Add(1)
				defer holders.Add(-1) // when Release has returned
				waited := now.Load() - asked
				longest.Store(max(waited, longest.Load())) // one has the item
				if waited >= 20 {
					often.Add(1)
				}
				if rounds%4 == 0 {
					runtime.Gosched() // so that the other one begins to wait
				}
				l.Release()
			}
			for end := time.Now().Add(800 * time.Millisecond); time.Now().Before(end); rounds++ {
				var both sync.WaitGroup
				both.Go(once)
				both.Go(once)
				p.failIf(do(both.Wait) != nil, "one waits for ever")
			}
			p.failIf(failed.Load(), "Acquire fails")
			p.judge(often.Load() == 0, "%d in %d, longest %d ms", often.Load(), rounds, longest.Load())
		})},
		{Name: "starvation", Issues: []string{"sqlalchemy#7679"}, What: "Fifty goroutines on two items: the fewest leases of one are at least a quarter of the most.", run: func(p *probe) {
			const callers, items = 50, 2
			p.open(items)
			counts := make([]int64, callers)
			ctx, cancel := context.WithTimeout(context.Background(), 600*time.Millisecond)
			defer cancel()
			var all sync.WaitGroup
			for i := range callers {
				all.Go(func() {
					for ctx.Err() == nil {
						l, err := p.pool.Acquire(ctx)
						if err != nil {
							return
						}
						time.Sleep(200 * time.Microsecond)
						l.Release()
						counts[i]++
					}
				})
			}
			p.succeeds("Acquire", do(all.Wait))
			fewest, top := slices.Min(counts), slices.Max(counts)
			p.judge(top > 0 && fewest*4 >= top, "%d to %d", fewest, top)
		}},
		{Name: "random-order", Issues: []string{"golang/go#31708", "golang/go#50358"}, What: "Waiters are served first come, first served.", run: tries(3, func(p *probe) {
			const callers = 16
			p.open(1)
			l := p.take()
			served := make(chan int, callers)
			for i := range callers {
				go func() {
					l, err := p.pool.Acquire(context.Background())
					if err != nil {
						served <- -1
						return
					}
					served <- i
					l.Release()
				}()
				time.Sleep(settle)
			}
			l.Release()
			overtakes, first := 0, 0
			for i := range callers {
				n, ok := receive(served, soon)
				p.failIf(!ok, "only %d of %d served", i, callers)
				if i == 0 {
					first = n
				}
				if n != i {
					overtakes++
				}
			}
			p.failIf(overtakes > 0, "%d of %d out of turn, number %d first", overtakes, callers, first+1)
		})},
		// The releaser keeps the only processor. This says nothing about
		// an acquire that the server must answer, because the server's goroutine needs the
		// processor too.
		{Name: "slow-handoff", Issues: []string{"puddle#46"}, alone: true, What: "A waiter gets a released item before the releaser, which keeps the CPU, has used up its 10 ms time slice.", run: func(p *probe) {
			p.needs(!p.kind.RoundTrip)
			p.open(1)
			runtime.GOMAXPROCS(1)
			var waits []time.Duration
			for range 9 {
				l := p.take()
				var at time.Time
				done := make(chan error, 1)
				go func() { // without the second goroutine of ask, which would be measured too
					l, err := p.pool.Acquire(context.Background())
					at = time.Now()
					if err == nil {
						l.Release()
					}
					done <- err
				}()
				time.Sleep(2 * time.Millisecond)
				began := time.Now()
				l.Release()
				for time.Since(began) < 30*time.Millisecond {
				}
				p.must(<-done)
				waits = append(waits, at.Sub(began))
			}
			slices.Sort(waits)
			median := waits[len(waits)/2]
			p.judge(median < 5*time.Millisecond, "%.1f ms", float64(median.Microseconds())/1000)
		}},
	}
}

// leave has a waiter whose context ends as end says, with the holder's lease, and
// returns how many times the waiter was served.
func (p *probe) leave(rounds int, after time.Duration, end func(l peer.Lease, cancel func())) (served int) {
	for i := range rounds {
		l, err := p.tryTake(soon)
		p.failIf(err != nil, "lost after %d rounds", i)
		ctx, cancel := context.WithCancel(context.Background())
		got := p.ask(ctx)
		time.Sleep(after)
		end(l, cancel)
		switch g := await(got, soon); g.err {
		case nil:
			served++
			g.lease.Release()
		case errLate:
			p.failf("not told in round %d", i)
		}
	}
	return served
}
