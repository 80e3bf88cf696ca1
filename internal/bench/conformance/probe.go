package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// soon bounds what should take no time: long enough for a busy machine, short enough
// to wait for in vain.
const soon = 1500 * time.Millisecond

// receive waits for a value of c, at most d, which it counts in a hundred parts: while the
// system does not run this process, which is no fault of the pool, only one passes.
func receive[T any](c <-chan T, d time.Duration) (v T, ok bool) {
	for range 100 {
		select {
		case v := <-c:
			return v, true
		case <-time.After(d / 100):
		}
	}
	return v, false
}

// settle is how long a goroutine gets to reach the call in which it waits.
const settle = 10 * time.Millisecond

var (
	errLate   = errors.New("did not return")
	errPanic  = errors.New("panic")
	errGoexit = errors.New("runtime.Goexit")
)

// call runs f in a goroutine and returns how it ended. If f has not returned after d,
// call abandons it and returns errLate.
func call[T any](d time.Duration, f func() (T, error)) (T, error) {
	type end struct {
		v   T
		err error
	}
	done := make(chan end, 1)
	go func() {
		e := end{err: errGoexit}
		defer func() {
			if r := recover(); r != nil {
				e.err = fmt.Errorf("%w: %v", errPanic, r)
			}
			done <- e
		}()
		e.v, e.err = f()
	}()
	e, ok := receive(done, d)
	if !ok {
		e.err = errLate
	}
	return e.v, e.err
}

// do is call for a function without a result.
func do(f func()) error {
	_, err := call(soon, func() (struct{}, error) { f(); return struct{}{}, nil })
	return err
}

// A probe runs one case on one pool. Many of its methods end the case early, as those
// of testing.T do.
type probe struct {
	peer.Factory
	kind peer.Kind
	pool peer.Pool
	seen string // what a pass shows

	mu      sync.Mutex
	checked map[int]int // checks of each item
	ill     int         // items up to this one fail their check
}

func (p *probe) failf(format string, args ...any) {
	panic(outcome{Finding: Finding{Verdict: Fails, Seen: fmt.Sprintf(format, args...)}})
}

// failIf fails if bad.
func (p *probe) failIf(bad bool, format string, args ...any) {
	if bad {
		p.failf(format, args...)
	}
}

// judge fails unless ok; what was observed is shown both ways.
func (p *probe) judge(ok bool, format string, args ...any) {
	p.failIf(!ok, format, args...)
	p.seen = fmt.Sprintf(format, args...)
}

// needs ends the case with the verdict Cannot unless the pool has what the case needs.
func (p *probe) needs(has bool) {
	if !has {
		panic(outcome{Finding: Finding{Verdict: Cannot}})
	}
}

// must ends the case without a verdict if the case itself went wrong.
func (p *probe) must(err error) {
	p.needs(!errors.Is(err, errors.ErrUnsupported))
	if err != nil {
		panic(outcome{err: err})
	}
}

// succeeds fails if an operation that should succeed hung, panicked or exited, and ends
// the case without a verdict at any other error.
func (p *probe) succeeds(what string, err error) {
	switch {
	case errors.Is(err, errLate):
		p.failf("%s hangs", what)
	case errors.Is(err, errPanic):
		panic(outcome{Finding: Finding{Verdict: Fails, Seen: what + " panics", Note: err.Error()}})
	case errors.Is(err, errGoexit):
		p.failf("%s ends its goroutine", what)
	case err != nil:
		p.must(fmt.Errorf("%s: %w", what, err))
	}
}

// open opens a pool of at most max items.
func (p *probe) open(max int, edits ...func(c *peer.Config)) {
	c := peer.Config{Max: max, Make: p.Make, Destroy: p.Destroy}
	for _, edit := range edits {
		edit(&c)
	}
	var err error
	p.pool, err = p.kind.Open(c)
	p.must(err)
}

// openLazy is open for pools that make items on demand.
func (p *probe) openLazy(max int, edits ...func(c *peer.Config)) {
	p.needs(!p.kind.Prefilled)
	p.open(max, edits...)
}

// openClosable is open for pools that can be closed.
func (p *probe) openClosable(max int) {
	p.needs(!p.kind.NoClose)
	p.open(max)
}

// as returns the pool as a T.
func as[T any](p *probe) T {
	t, ok := p.pool.(T)
	p.needs(ok)
	return t
}

func (p *probe) warm(n int) { p.must(p.pool.Warm(context.Background(), n)) }

// tryTake acquires within d.
func (p *probe) tryTake(d time.Duration) (peer.Lease, error) {
	return call(d, func() (peer.Lease, error) { return p.pool.Acquire(context.Background()) })
}

// take acquires.
func (p *probe) take() peer.Lease {
	l, err := p.tryTake(soon)
	p.succeeds("Acquire", err)
	return l
}

// takeAll acquires n items and holds them.
func (p *probe) takeAll(n int) (held []peer.Lease) {
	for range n {
		held = append(held, p.take())
	}
	return held
}

// keepTaking acquires until that succeeds: earlier errors are forgiven.
func (p *probe) keepTaking() (peer.Lease, error) {
	for end := time.Now().Add(soon); ; {
		l, err := p.tryTake(time.Until(end))
		if err == nil || time.Now().After(end) {
			return l, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// slotSurvives fails unless a lease can be acquired: the slot is not lost.
func (p *probe) slotSurvives() peer.Lease {
	l, err := p.keepTaking()
	p.failIf(err != nil, "the slot is lost")
	return l
}

// A grant is how an acquire in the background ended, and when.
type grant struct {
	lease peer.Lease
	err   error
	at    time.Time
}

// ask acquires in the background.
func (p *probe) ask(ctx context.Context) <-chan grant {
	got := make(chan grant, 1)
	go func() {
		l, err := call(time.Hour, func() (peer.Lease, error) { return p.pool.Acquire(ctx) })
		got <- grant{l, err, time.Now()}
	}()
	return got
}

// askAndSettle is ask, and gives the goroutine time to wait in the pool.
func (p *probe) askAndSettle() <-chan grant {
	got := p.ask(context.Background())
	time.Sleep(settle)
	return got
}

// await waits for the grant, at most d; after that its error is errLate.
func await(got <-chan grant, d time.Duration) grant {
	g, ok := receive(got, d)
	if !ok {
		g = grant{err: errLate, at: time.Now()}
	}
	return g
}

// until waits for cond, and reports whether it became true.
func until(cond func() bool) bool {
	for range soon / time.Millisecond {
		if cond() {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return cond()
}

// living is how many items are alive.
func (p *probe) living() int {
	n, _ := p.Alive()
	return n
}

// destroyed fails unless the pool destroys it.
func (p *probe) destroyed(it *peer.Item) {
	p.failIf(!until(func() bool { return p.Dead(it) }), "never destroyed")
}

// ms is d in whole milliseconds.
func ms(d time.Duration) string {
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
}
