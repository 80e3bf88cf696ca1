package fleet

import (
	"context"
	"fmt"
	"time"
)

// ledgerCall calls one method of the ledger, each time on a goroutine of its own, so that a panic
// or Goexit in the call, or a call that does not return when its context ends, makes only this call
// fail. The next call begins only after an abandoned one has returned. It may be used by one
// goroutine at a time. A is what the method returns.
type ledgerCall[A any] struct {
	method  string        // constant: its name, for errors
	hanging chan struct{} // closed when an abandoned call returns; nil: there is none
}

// do returns what f returns. After the end of ctx it waits for f as long as patience.
func (l *ledgerCall[A]) do(ctx context.Context, patience time.Duration, f func() (A, error)) (none A, err error) {
	if l.hanging != nil {
		select {
		case <-l.hanging:
			l.hanging = nil
		default:
			return none, l.hangs()
		}
	}
	type answer struct {
		a   A
		err error
	}
	answers := make(chan answer, 1)
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		got := answer{err: fmt.Errorf("fleet: %s ended its goroutine", l.method)}
		defer func() {
			if v := recover(); v != nil {
				got.err = fmt.Errorf("fleet: %s panicked: %v", l.method, v)
			}
			answers <- got
		}()
		a, err := f()
		got = answer{a, err}
	}()
	select {
	case got := <-answers:
		return got.a, got.err
	case <-ctx.Done():
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case got := <-answers:
		return got.a, got.err
	case <-timer.C:
		l.hanging = returned
		return none, l.hangs()
	}
}

func (l *ledgerCall[A]) hangs() error {
	return fmt.Errorf("fleet: %s has not returned after its context ended", l.method)
}
