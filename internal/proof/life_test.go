package proof_test

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// watch is Config.Watch.
func (w *world) watch(v *thing, invalidate func(error)) {
	w.mu.Lock()
	v.invalidate = invalidate
	v.invalidated = v.plan.watch == "invalidates"
	switch v.plan.watch {
	default:
		w.succeed(v.from)
	case "panics":
		v.late, v.fails = true, makeError{v.n}
		w.streak++
		w.worst = max(w.worst, w.streak)
		w.failed++
	}
	w.mu.Unlock()
	switch v.plan.watch {
	case "invalidates":
		invalidate(errDead)
	case "panics":
		panic(makeError{v.n})
	}
}

// failing reports whether the creation of v lasts until v is destroyed, and then fails.
// world.mu is held.
func (v *thing) failing(w *world) bool {
	return v.fails != nil && v.stage != dead && (context.Cause(v.from.ctx) == nil || !w.givenUp(v.from))
}

var errDead = errors.New("found dead")

// destroy is Config.Destroy.
func (w *world) destroy(v *thing, cause error) {
	w.mu.Lock()
	if v.stage != living {
		w.err("I3: thing %d destroyed (%v) in stage %d", v.n, cause, v.stage)
	}
	if v.holder != nil {
		w.err("I2: thing %d destroyed (%v) while caller %d has it", v.n, cause, v.holder.n)
	}
	if cause == nil {
		w.err("thing %d destroyed without a cause", v.n)
	}
	v.stage = dying
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		failing := v.failing(w)
		v.stage = dead
		if failing {
			w.fail(v.from, v.fails)
		}
		w.mu.Unlock()
	}()
	time.Sleep(v.plan.dying + time.Duration(v.n*17+3)*time.Microsecond + odd) // in the bubble: the time that Destroy takes
	switch v.plan.destroy {
	case "panics":
		panic("planned panic in Destroy")
	case "goexits":
		runtime.Goexit()
	}
}
