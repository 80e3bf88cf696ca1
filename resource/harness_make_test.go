package resource_test

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// makeCall is one running Make.
type makeCall struct {
	h      *harness
	ctx    context.Context
	number int // 1, 2, … in the order in which they began
	began  time.Time
	deaf   bool // does not listen to ctx: set by the script or auto
	answer chan func() (*item, error)
	ended  bool      // guarded by h.mu
	cut    time.Time // when its context ended, if it is deaf; guarded by h.mu
}

// doMake is the Config's Make: it waits for the script's word. Unless it is
// deaf it ends with its context.
func (h *harness) doMake(ctx context.Context) (*item, error) {
	m := &makeCall{h: h, ctx: ctx, began: time.Now(), answer: make(chan func() (*item, error), 1)}
	h.mu.Lock()
	h.makes = append(h.makes, m)
	m.number = len(h.makes)
	h.checkPlaces()
	auto := h.auto
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		m.ended = true
		h.mu.Unlock()
	}()
	if auto != nil {
		auto(m)
	}
	done := ctx.Done()
	for {
		select {
		case f := <-m.answer:
			return f()
		case <-h.over:
			return nil, context.Canceled
		case <-done:
			if !m.isDeaf() {
				return nil, ctx.Err()
			}
			h.mu.Lock()
			m.cut = time.Now()
			h.mu.Unlock()
			done = nil
		}
	}
}

// checkPlaces checks I1 from outside, each time a make begins: what lives and
// what is being made is at most the maximum. A make past its time holds no
// place. h.mu is held.
func (h *harness) checkPlaces() {
	n := len(h.living)
	for _, m := range h.makes {
		abandoned := time.Since(m.began) >= h.grace || !m.cut.IsZero() && time.Since(m.cut) >= time.Second
		if !m.ended && !abandoned {
			n++
		}
	}
	if n > h.max {
		h.faults = append(h.faults, fmt.Sprintf("I1: make %d began as number %d of at most %d", len(h.makes), n, h.max))
	}
}

func (m *makeCall) isDeaf() bool {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	return m.deaf
}

// hang makes m ignore the end of its context.
func (m *makeCall) hang() {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	m.deaf = true
}

// finish lets m return a new item, which it returns too.
func (m *makeCall) finish() *item {
	it := m.born()
	m.answer <- func() (*item, error) {
		m.h.mu.Lock()
		defer m.h.mu.Unlock()
		m.h.living[it] = true
		m.ended = true
		return it, nil
	}
	return it
}

// finishAfter is finish after d, for auto: it keeps the make's goroutine.
func (m *makeCall) finishAfter(d time.Duration) {
	select {
	case <-time.After(d):
		m.finish()
	case <-m.ctx.Done():
	}
}

func (m *makeCall) born() *item {
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	m.h.made++
	return &item{n: m.h.made}
}

// fail lets m return err.
func (m *makeCall) fail(err error) {
	m.answer <- func() (*item, error) { return nil, err }
}

// panic lets m panic.
func (m *makeCall) panic(v any) {
	m.answer <- func() (*item, error) { panic(v) }
}

// goexit lets m end its goroutine.
func (m *makeCall) goexit() {
	m.answer <- func() (*item, error) { runtime.Goexit(); return nil, nil }
}

// answer lets f answer each make from now on; nil: the script does, and those
// begun so far do not count.
func (h *harness) answer(f func(m *makeCall)) {
	h.settle()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.auto = f
	h.claimed = len(h.makes)
}

// wantMakes checks that exactly n makes have begun that the script has not
// seen yet.
func (h *harness) wantMakes(n int) []*makeCall {
	h.t.Helper()
	h.settle()
	h.mu.Lock()
	defer h.mu.Unlock()
	fresh := h.makes[h.claimed:]
	if len(fresh) != n {
		h.t.Fatalf("%d makes have begun, want %d", len(fresh), n)
	}
	h.claimed += n
	return fresh
}

// wantMake checks that exactly one make has begun.
func (h *harness) wantMake() *makeCall {
	h.t.Helper()
	return h.wantMakes(1)[0]
}

// wantNoMake checks that no make has begun.
func (h *harness) wantNoMake() {
	h.t.Helper()
	h.wantMakes(0)
}

// wantMakeWithin waits until a make has begun, at most d.
func (h *harness) wantMakeWithin(d time.Duration) *makeCall {
	h.t.Helper()
	for end := time.Now().Add(d); h.begun() == h.claimed; {
		if !time.Now().Before(end) {
			h.t.Fatalf("no make has begun within %v", d)
		}
		time.Sleep(time.Millisecond)
	}
	return h.wantMake()
}

// begun is how many makes have begun.
func (h *harness) begun() int {
	h.settle()
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.makes)
}

// running is how many makes run.
func (h *harness) running() (n int) {
	h.settle()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.makes {
		if !m.ended {
			n++
		}
	}
	return n
}
