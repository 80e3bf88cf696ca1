package museum

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/respool/respool/internal/bench/peer"
)

func panics() []Exhibit {
	return []Exhibit{
		{Name: "make-panics", Run: makePanics,
			What: "A panic in a make costs that make: not the process, not the slot."},
		{Name: "make-exits", Run: makeExits,
			What: "A runtime.Goexit in a make costs that make: not the caller, not the slot."},
		{Name: "destroy-panics", Run: destroyPanics,
			What: "A panic in a destroy costs that destroy: not the process, not the slot."},
	}
}

func makePanics(_ context.Context, k peer.Kind) (Finding, error) {
	w := &works{making: func(_ context.Context, n int) error {
		if n == 1 {
			panic("make")
		}
		return nil
	}}
	return firstMakeFails(k, w)
}

func makeExits(_ context.Context, k peer.Kind) (Finding, error) {
	w := &works{making: func(_ context.Context, n int) error {
		if n == 1 {
			runtime.Goexit()
		}
		return nil
	}}
	return firstMakeFails(k, w)
}

// firstMakeFails wants the first caller told, in whatever way, and a second one
// served from the same slot.
func firstMakeFails(k peer.Kind, w *works) (Finding, error) {
	s, err := openLazy(k, w, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	if _, err := s.take(); errors.Is(err, errLate) {
		return fails("its caller waits for ever")
	}
	if _, err := s.keepTaking(); err != nil {
		return fails("the slot is lost")
	}
	return passes()
}

// destroyPanics has the holder destroy one, and a Reset another where there is one:
// some pools do the former in the holder, and only the latter behind its back.
func destroyPanics(_ context.Context, k peer.Kind) (Finding, error) {
	s, err := openLazy(k, &works{ending: func() { panic("destroy") }}, 1, nil)
	if err != nil {
		return Finding{}, err
	}
	l, err := s.take()
	if err != nil {
		return broken("Acquire", err)
	}
	it := l.Item()
	_ = do(l.Destroy) // it may panic in the holder, who can know
	if !until(func() bool { return s.w.dead(it) }) {
		return fails("never destroyed")
	}
	l, err = s.keepTaking()
	if err != nil {
		return fails("the slot is lost")
	}
	r, err := as[peer.Resetter](s.Pool)
	if err != nil {
		return passes()
	}
	it = l.Item()
	l.Release()
	_ = do(r.Reset)
	if !until(func() bool { return s.w.dead(it) }) {
		return fails("never destroyed by Reset")
	}
	time.Sleep(settle) // the panic comes after that
	if _, err := s.keepTaking(); err != nil {
		return fails("the slot is lost")
	}
	return passes()
}
