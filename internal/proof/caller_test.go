package proof_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/respool/respool/resource"
)

// callerState is the state of a caller.
type callerState uint8

const (
	asking callerState = iota
	holding
	over
)

// caller is one acquire and its result. Guarded by world.mu.
type caller struct {
	n      int
	req    resource.Request
	mode   string // acquire, do or try
	ctx    context.Context
	cancel context.CancelFunc
	state  callerState

	began    time.Time
	arrived  time.Time // when it was admitted; without an Admission when it began
	admitted bool
	refused  bool // by Admission
	canceled bool // its context had ended when it was served or refused
	answered time.Time
	judged   bool // checked by fairness
	err      error
	v        *thing
	second   bool // v had been leased before
	lease    lease[*thing]
	permit   *permit
	verdict  resource.Verdict // the verdict that its permit must get, if certain
	sure     bool
}

type callerKey struct{}

// newCaller registers a caller that is about to acquire.
func (w *world) newCaller(mode string, r resource.Request, timeout time.Duration) *caller {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &caller{n: len(w.callers) + 1, mode: mode, req: r, began: time.Now(), arrived: time.Now()}
	c.admitted = !w.script.shape.admission
	ctx := context.WithValue(context.Background(), callerKey{}, c)
	if timeout > 0 {
		c.ctx, c.cancel = context.WithTimeout(ctx, timeout)
	} else {
		c.ctx, c.cancel = context.WithCancel(ctx)
	}
	w.callers = append(w.callers, c)
	return c
}

// admission records the result of the Admission for a caller.
func (w *world) admission(ctx context.Context, p *permit, refused bool) {
	c, _ := ctx.Value(callerKey{}).(*caller)
	if c == nil {
		return // TryAcquire has no context
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.permit != nil {
		w.err("caller %d was admitted twice", c.n)
	}
	c.permit, c.refused, c.admitted, c.arrived = p, refused, !refused, time.Now()
}

// served records that c got l, and checks that it may.
func (w *world) served(c *caller, l lease[*thing]) {
	v, i := l.Value(), l.Info()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.checkIdleOrder(c, v, now)
	if v.holder != nil {
		w.err("I2: thing %d lent to caller %d while caller %d has it", v.n, c.n, v.holder.n)
	}
	if c.req.Fresh && v.used {
		w.err("thing %d lent to caller %d, which asked for an unused one", v.n, c.n)
	}
	defer func() { c.second, v.used = v.used, true }()
	if c.ctx.Err() != nil && c.mode != "try" {
		w.err("I8: thing %d lent to caller %d whose context has ended", v.n, c.n)
	}
	if w.closed {
		w.err("thing %d lent to caller %d after Close", v.n, c.n)
	}
	if v.stage != living || v.late || v.invalidated || v.gen < w.gen && !w.mayPredateReset(c, v) {
		w.err("thing %d lent to caller %d: stage %d, invalidated %v, made %d resets ago, late %v",
			v.n, c.n, v.stage, v.invalidated, w.gen-v.gen, v.late)
	}
	if v.sick && w.script.shape.health != "" && w.script.shape.health != "slow" {
		w.err("thing %d lent to caller %d though it is sick", v.n, c.n)
	}
	if err := eviction(w.script.shape.eviction).lapsed(i); err != nil {
		w.err("thing %d lent to caller %d though its time is over: %v", v.n, c.n, err)
	}
	if i.ID == 0 || i.Jitter < 0 || i.Jitter >= 1 || i.Leases < 1 {
		w.err("thing %d lent with odd Info %+v", v.n, i)
	}
	v.holder = c
	c.state, c.v, c.lease, c.answered = holding, v, l, now
}

// mayPredateReset reports whether c may get v although its creation began before a Reset:
// the creation was not canceled, and c has waited since before the Reset. world.mu is held.
func (w *world) mayPredateReset(c *caller, v *thing) bool {
	return v.from.cut.IsZero() && !v.used && c.arrived.Before(w.resets[v.gen])
}

// checkIdleOrder checks which idle thing was lent, if only the order decides. The position
// of a new thing in NewestFirst is unspecified. world.mu is held.
func (w *world) checkIdleOrder(c *caller, v *thing, now time.Time) {
	cfg := w.script.shape
	if c.arrived != now || c.req.Fresh || cfg.health != "" || cfg.eviction != "" || !v.since.Before(now) {
		return
	}
	for _, o := range w.things {
		if o == v || o.stage != living || o.holder != nil || o.late || !o.since.Before(now) {
			continue
		}
		if cfg.order == resource.NewestFirst && !v.back.IsZero() && o.back.After(v.back) {
			w.err("NewestFirst lent thing %d, and thing %d was returned after it", v.n, o.n)
		}
		if cfg.order == resource.OldestFirst && o.since.Before(v.since) {
			w.err("OldestFirst lent thing %d, and thing %d is idle for longer", v.n, o.n)
		}
	}
}

// free records that c is about to end its lease. It is called before the end, since the
// next holder may have the resource before the call returns.
func (w *world) free(c *caller, how string, broken bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.state = over
	c.v.holder = nil
	c.v.since = time.Now()
	c.v.back = c.v.since
	switch {
	case how == "release":
		c.verdict, c.sure = resource.OK, true
	case how == "fail" && broken:
		c.verdict, c.sure = resource.Failed, true
	case how == "hijack":
		c.v.stage = away
	}
}

// failed records that c failed, and checks the error.
func (w *world) gaveUp(c *caller, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.state, c.err, c.answered = over, err, time.Now()
	c.verdict, c.sure = resource.Ignored, true
	var ae *resource.AcquireError
	switch {
	case !errors.As(err, &ae):
		w.err("caller %d: %v (%T) is no AcquireError", c.n, err, err)
	case ae.Waited < 0 || ae.Waited > c.answered.Sub(c.began)+ms(11):
		w.err("caller %d: says it waited %v of %v", c.n, ae.Waited, c.answered.Sub(c.began))
	case c.ctx.Err() != nil:
		c.canceled = true
		if !errors.Is(err, c.ctx.Err()) {
			w.err("caller %d: got %v, its own context's %v should win", c.n, err, c.ctx.Err())
		}
	case w.closed:
		if !errors.Is(err, resource.ErrClosed) && !(c.refused && errors.Is(err, resource.ErrRejected)) && !w.failedEarly(err) {
			w.err("caller %d: got %v from a closed pool", c.n, err)
		}
	case errors.Is(err, resource.ErrRejected):
		if !c.refused && !w.mayReject() {
			w.err("caller %d: %v, but no policy refused it", c.n, err)
		}
	case errors.Is(err, resource.ErrNoneIdle):
		if !c.req.NoWait {
			w.err("caller %d: %v, but it would have waited", c.n, err)
		}
		w.missed = c.answered
	default:
		w.checkBlame(c, err)
	}
}

// reason returns the Reason that matches the error of c.
func (c *caller) reason() resource.Reason {
	var ae *resource.AcquireError
	if !errors.As(c.err, &ae) {
		return 0
	}
	for _, x := range []struct {
		is  bool
		but []resource.Reason
	}{
		{c.canceled, []resource.Reason{resource.ReasonCanceled}},
		{errors.Is(ae.Err, resource.ErrMakeRefused), []resource.Reason{resource.ReasonMakeGate, resource.ReasonQuota}},
		{errors.Is(ae.Err, resource.ErrRejected), []resource.Reason{resource.ReasonAdmission, resource.ReasonQueue}},
		{errors.Is(ae.Err, resource.ErrClosed), []resource.Reason{resource.ReasonClosed}},
		{errors.Is(ae.Err, resource.ErrNoneIdle), []resource.Reason{resource.ReasonNoneIdle}},
		{errors.Is(ae.Err, resource.ErrOutage), []resource.Reason{resource.ReasonOutage}},
	} {
		if x.is {
			if slices.Contains(x.but, ae.Reason) {
				return ae.Reason
			}
			return 0
		}
	}
	if ae.Reason == resource.ReasonMakeFailed || ae.Reason == resource.ReasonNearEnd {
		return ae.Reason
	}
	return 0
}

// mayReject reports whether a caller can be rejected although its Admission did not
// refuse: by the Queue, or by a MakeGate or Quota.
func (w *world) mayReject() bool {
	cfg := w.script.shape
	return cfg.queue == "broken" || (cfg.gate || cfg.quota) && cfg.outage == resource.FailFast
}

// noneUnfit reports whether no new resource was found unfit, which counts as a failed
// creation too.
func (w *world) noneUnfit() bool {
	for _, v := range w.things {
		if v.invalidated || v.late {
			return false
		}
	}
	return w.script.shape.health == "" && w.script.shape.eviction == ""
}

// failedEarly reports whether err is the reason why a new resource could not be lent.
func (w *world) failedEarly(err error) bool {
	var pe *resource.PanicError
	return errors.Is(err, errDead) || errors.Is(err, errSick) || errors.Is(err, errEvicted) ||
		errors.As(err, &pe) && pe.Where == "Check"
}

// checkBlame checks an error caused by a failed creation. world.mu is held.
func (w *world) checkBlame(c *caller, err error) {
	if w.failedEarly(err) && !errors.Is(err, resource.ErrOutage) {
		return
	}
	if w.script.shape.outage == resource.KeepWaiting {
		w.err("caller %d: %v, but it was to keep waiting", c.n, err)
	}
	held := 0
	for _, v := range w.things {
		if v.holder != nil {
			held++
		}
	}
	if errors.Is(err, resource.ErrOutage) {
		slow := 0
		for m := range w.running {
			if time.Since(m.began) >= w.script.shape.makeTimeout {
				slow++
			}
		}
		if w.noneUnfit() && w.worst+slow < 3 || held > 0 && !c.req.Fresh {
			w.err("caller %d: %v after never more than %d failures in a row, with %d leased", c.n, err, w.worst, held)
		}
		return
	}
	if held > 0 && !c.req.Fresh {
		w.err("caller %d: %v with %d leased", c.n, err, held)
	}
	for _, f := range w.failures {
		if !f.silent && errors.Is(err, f.err) {
			return
		}
	}
	if !errors.Is(err, resource.ErrMakeTimeout) { // the creation may still run
		w.err("caller %d: %v, and no make failed so", c.n, err)
	}
}
