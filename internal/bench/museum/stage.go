package museum

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

// soon is how long something may take that takes no time: long enough for a busy
// machine, short enough to wait for in vain.
const soon = 1500 * time.Millisecond

var (
	errLate   = errors.New("did not return")
	errPanic  = errors.New("panic")
	errGoexit = errors.New("runtime.Goexit")
)

// call runs f in a goroutine and tells how it ended. After d it is left behind.
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
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case e := <-done:
		return e.v, e.err
	case <-t.C:
		var none T
		return none, errLate
	}
}

// do is call of a function that returns nothing.
func do(f func()) error {
	_, err := call(soon, func() (struct{}, error) { f(); return struct{}{}, nil })
	return err
}

// A stage is an open pool and the works behind it.
type stage struct {
	peer.Pool
	w *works
}

// open opens a pool of at most max; edit may be nil.
func open(k peer.Kind, w *works, max int, edit func(c *peer.Config)) (stage, error) {
	c := peer.Config{Max: max, Make: w.make, Destroy: w.destroy}
	if edit != nil {
		edit(&c)
	}
	p, err := k.Open(c)
	return stage{p, w}, err
}

// lazy is for exhibits of makes: a pool that was filled once has none, and no ends.
func lazy(k peer.Kind) error {
	if k.Filled {
		return errors.ErrUnsupported
	}
	return nil
}

// openLazy is open for pools that make what they lend when somebody asks.
func openLazy(k peer.Kind, w *works, max int, edit func(c *peer.Config)) (stage, error) {
	if err := lazy(k); err != nil {
		return stage{}, err
	}
	return open(k, w, max, edit)
}

// openClosable is open for pools that can be closed.
func openClosable(k peer.Kind, w *works, max int) (stage, error) {
	if k.Lasting {
		return stage{}, errors.ErrUnsupported
	}
	return open(k, w, max, nil)
}

// as returns p as a T, if it is one.
func as[T any](p peer.Pool) (T, error) {
	if t, ok := p.(T); ok {
		return t, nil
	}
	var none T
	return none, errors.ErrUnsupported
}

// take acquires, soon.
func (s stage) take() (peer.Lease, error) { return s.takeIn(soon) }

func (s stage) takeIn(d time.Duration) (peer.Lease, error) {
	return call(d, func() (peer.Lease, error) { return s.Acquire(context.Background()) })
}

// keepTaking acquires until that succeeds, soon: what failed before is forgiven.
func (s stage) keepTaking() (peer.Lease, error) {
	for end := time.Now().Add(soon); ; {
		l, err := s.takeIn(time.Until(end))
		if err == nil || time.Now().After(end) {
			return l, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// takeAll acquires n and holds them.
func (s stage) takeAll(n int) ([]peer.Lease, error) {
	var held []peer.Lease
	for range n {
		l, err := s.take()
		if err != nil {
			return nil, err
		}
		held = append(held, l)
	}
	return held, nil
}

// A grant is how an acquire in the background ended, and when.
type grant struct {
	lease peer.Lease
	err   error
	at    time.Time
}

// ask acquires in the background.
func (s stage) ask(ctx context.Context) <-chan grant {
	got := make(chan grant, 1)
	go func() {
		l, err := call(time.Hour, func() (peer.Lease, error) { return s.Acquire(ctx) })
		got <- grant{l, err, time.Now()}
	}()
	return got
}

// await waits for what comes of ask, at most d. What does not come is errLate.
func await(got <-chan grant, d time.Duration) grant {
	select {
	case g := <-got:
		return g
	case <-time.After(d):
		return grant{err: errLate, at: time.Now()}
	}
}

// until waits for cond, soon, and returns whether it came.
func until(cond func() bool) bool {
	for end := time.Now().Add(soon); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// tries is an exhibit that passes if it does so once in n times. It is for what a
// busy machine can only make worse, a delay or callers that begin out of turn, and
// what a pool that has the defect does every time: no luck makes it fifty waiters
// told one by one in time, or sixteen served in turn that are drawn by lot. What
// comes of chance, or what the machine can make look better too, is for [most].
func tries(n int, run func(context.Context, peer.Kind) (Finding, error)) func(context.Context, peer.Kind) (Finding, error) {
	return func(ctx context.Context, k peer.Kind) (got Finding, err error) {
		for range n {
			if got, err = run(ctx, k); err != nil || got.Verdict == Passes {
				return got, err
			}
		}
		return got, err
	}
}

// most is an exhibit whose verdict is that of more than half of n times.
func most(n int, run func(context.Context, peer.Kind) (Finding, error)) func(context.Context, peer.Kind) (Finding, error) {
	return func(ctx context.Context, k peer.Kind) (Finding, error) {
		times := map[Verdict]int{}
		for {
			got, err := run(ctx, k)
			if err != nil {
				return got, err
			}
			if times[got.Verdict]++; times[got.Verdict] > n/2 {
				return got, nil
			}
		}
	}
}

// settle is how long a goroutine gets to come to where it waits.
const settle = 10 * time.Millisecond

// ms is d in whole milliseconds, for what is shown.
func ms(d time.Duration) string {
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
}
