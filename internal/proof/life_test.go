package proof_test

import (
	"errors"
	"runtime"
	"time"
)

// watch is the pool's Watch.
func (w *world) watch(v *thing, doom func(error)) {
	w.mu.Lock()
	v.doom = doom
	v.doomed = v.plan.watch == "dooms"
	if v.plan.watch == "panics" {
		v.late = true
		w.streak++
		w.failed++
		w.failures = append(w.failures, failure{n: v.n, at: time.Now(), err: makeError{v.n}, old: true})
	}
	w.mu.Unlock()
	switch v.plan.watch {
	case "dooms":
		doom(errDead)
	case "panics":
		panic(makeError{v.n})
	}
}

var errDead = errors.New("found dead")

// destroy is the pool's Destroy.
func (w *world) destroy(v *thing, cause error) {
	w.mu.Lock()
	if v.place != living {
		w.err("I3: thing %d destroyed (%v) when it was in place %d", v.n, cause, v.place)
	}
	if v.holder != nil {
		w.err("I2: thing %d destroyed (%v) while caller %d has it", v.n, cause, v.holder.n)
	}
	if cause == nil {
		w.err("thing %d destroyed without a cause", v.n)
	}
	v.place = dying
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		v.place = dead
		w.mu.Unlock()
	}()
	time.Sleep(v.plan.dying + time.Duration(v.n*17+3)*time.Microsecond)
	switch v.plan.destroy {
	case "panics":
		panic("planned panic in Destroy")
	case "goexits":
		runtime.Goexit()
	}
}
