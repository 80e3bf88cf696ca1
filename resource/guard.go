package resource

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// guard runs the user's functions. A panic or Goexit in one costs that one call
// (I9): it becomes an error, is counted, and is reported to Trace.Panicked. No lock
// may be held during a call (I5).
type guard struct {
	trace  *Trace       // constant
	panics atomic.Int64 // contained panics and Goexits
}

// call calls f and turns a panic into an error. If f ends its goroutine with
// runtime.Goexit, the unwinding continues through the caller of call; a caller
// that must restore something then does so in a deferred function.
func (g *guard) call(where string, f func()) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		err = broken(where, recover())
		g.contained(err)
	}()
	f()
	returned = true
	return nil
}

// isolate is call on a goroutine of its own, for functions that run in the
// background, where a Goexit must not end what follows.
func (g *guard) isolate(where string, f func()) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Set first: on a Goexit, call does not return.
		err = fmt.Errorf("%w: %s", ErrGoexit, where)
		err = g.call(where, f)
	}()
	<-done
	return err
}

// contained counts a contained panic or Goexit and reports it.
func (g *guard) contained(err error) {
	g.panics.Add(1)
	if report := g.trace.Panicked; report != nil {
		defer func() { _ = recover() }() // a panic in Panicked itself has no further recipient
		report(err)
	}
}

// broken is the error of a function that did not return. v is the value of its
// panic; nil: it ended its goroutine.
func broken(where string, v any) error {
	if v == nil {
		return fmt.Errorf("%w: %s", ErrGoexit, where)
	}
	return &PanicError{Where: where, Value: v, Stack: debug.Stack()}
}

// is is errors.Is for an err whose methods may be the user's.
func (g *guard) is(err, target error) (yes bool) {
	_ = g.call("errors.Is", func() { yes = errors.Is(err, target) })
	return yes
}

// retryAfter returns the RetryAfter of the Rejection in err. It calls the methods
// of err, which may be a policy's own.
func (g *guard) retryAfter(err error) (d time.Duration) {
	_ = g.call("errors.As", func() {
		var r *Rejection
		if errors.As(err, &r) {
			d = r.RetryAfter
		}
	})
	return d
}

// policies asks the policies of a Config, each question guarded. It holds no
// state. The hit path asks some of them directly, in one frame: see acquireOp.
type policies[T any] struct {
	guard     *guard
	cfg       *Config[T]
	scheduled Scheduled // the Health, if it implements Scheduled; else nil

	horizonOf   func(Info) Horizon // of the Eviction, if it is Predictable or Capped; else nil
	horizonName string             // of that method
}

// evict asks Eviction and then EvictIf.
func (p *policies[T]) evict(v T, i Info) (cause error) {
	_ = p.guard.call("Evict", func() {
		if p.cfg.Eviction != nil {
			cause = p.cfg.Eviction.Evict(i)
		}
		if cause == nil && p.cfg.EvictIf != nil {
			cause = p.cfg.EvictIf(v, i)
		}
	})
	return cause
}

// predict finds out whether the Eviction is Predictable or Capped, and decides alone. most is its cap, nil
// if it has none.
func (p *policies[T]) predict() (most *atomic.Int64, ok bool) {
	if p.cfg.EvictIf != nil {
		return nil, false
	}
	if c, capped := p.cfg.Eviction.(Capped); capped {
		_ = p.guard.isolate("Cap", func() { most = c.Cap() })
		if most != nil {
			p.horizonOf, p.horizonName = c.HorizonWithinCap, "HorizonWithinCap"
		}
	}
	if e, predictable := p.cfg.Eviction.(Predictable); predictable && most == nil {
		p.horizonOf, p.horizonName = e.Horizon, "Horizon"
	}
	return most, p.horizonOf != nil && p.horizon(Info{}) != Horizon{}
}

// horizon asks the Eviction for how long it keeps the resource with that Info. If it panics or ends its
// goroutine, that is the zero Horizon.
func (p *policies[T]) horizon(i Info) (h Horizon) {
	_ = p.guard.isolate(p.horizonName, func() { h = p.horizonOf(i) })
	return h
}

// due asks the Health whether a check is due.
func (p *policies[T]) due(i Info) bool {
	if p.scheduled == nil {
		return true
	}
	due := true
	_ = p.guard.call("Due", func() { due = p.scheduled.Due(i) })
	return due
}

// check runs the Health check. A panic is a failed check.
func (p *policies[T]) check(ctx context.Context, v T, i Info) (ill error) {
	if broke := p.guard.call("Check", func() { ill = p.cfg.Health.Check(ctx, v, i) }); broke != nil {
		ill = broke
	}
	return ill
}

// passes notes what a check of e found and reports whether e is kept. The caller has e
// to itself.
func (p *policies[T]) passes(e *entry[T], ill error, tick int64) bool {
	if ill == nil {
		e.checked.Store(tick + 1)
		e.failures.Store(0)
		return true
	}
	if !p.guard.is(ill, ErrTolerated) {
		return false
	}
	e.failures.Add(1)
	return true
}

// broken asks Broken whether err means that the resource must not be lent again. A
// panic means yes, and ends in the caller's deferred functions if it is a Goexit.
func (p *policies[T]) broken(err error) bool {
	broken := true
	if p.cfg.Broken != nil {
		_ = p.guard.call("Broken", func() { broken = p.cfg.Broken(err) })
	}
	return broken
}

// admitted returns what an Admission returned, as the pool passes it on: the
// context's error if ctx has ended, else an error that matches ErrRejected.
func (p *policies[T]) admitted(ctx context.Context, where string, done Done, err error) (Done, error) {
	if err == nil {
		return done, nil
	}
	if ctx.Err() != nil {
		return nil, ctxError(ctx)
	}
	if !p.guard.is(err, ErrRejected) {
		err = &Rejection{Policy: where, Err: err}
	}
	return nil, err
}

// giveBack returns a permit.
func (p *policies[T]) giveBack(done Done, o Outcome) {
	if done != nil {
		_ = p.guard.call("Done", func() { done(o) })
	}
}

// giveBackIsolated is giveBack in the background.
func (p *policies[T]) giveBackIsolated(done Done, o Outcome) {
	if done != nil {
		_ = p.guard.isolate("Done", func() { done(o) })
	}
}

// states asks every policy for its state.
func (p *policies[T]) states() (states []PolicyState) {
	add := func(moment string, policy any) {
		if policy == nil {
			return
		}
		s := PolicyState{Moment: moment, Type: fmt.Sprintf("%T", policy)}
		if f, ok := policy.(Stateful); ok {
			_ = p.guard.call("State", func() { s.State = f.State() })
		}
		states = append(states, s)
	}
	add("Admission", p.cfg.Admission)
	add("MakeGate", p.cfg.MakeGate)
	add("Quota", p.cfg.Quota)
	add("Eviction", p.cfg.Eviction)
	if p.cfg.EvictIf != nil {
		add("EvictIf", p.cfg.EvictIf)
	}
	add("Health", p.cfg.Health)
	add("Queue", p.cfg.Queue)
	return states
}

// sharedQuotas asks every Admission for the quotas that it shares with other processes.
func (p *policies[T]) sharedQuotas(to *quotaSet) {
	for _, a := range []Admission{p.cfg.Admission, p.cfg.MakeGate, p.cfg.Quota} {
		if f, ok := a.(QuotaReporter); ok {
			_ = p.guard.call("SharedQuotas", func() { to.add(f.SharedQuotas()) })
		}
	}
}

// quotaSet lists quotas in the order in which they were added, each holder of one once: a
// policy may be in several fields, and in the pools of several keys.
type quotaSet struct {
	all  []SharedQuota
	seen map[[2]string]bool // by name and holder
}

func (s *quotaSet) add(some []SharedQuota) {
	for _, q := range some {
		key := [2]string{q.Name, q.Holder}
		if s.seen[key] {
			continue
		}
		if s.seen == nil {
			s.seen = make(map[[2]string]bool)
		}
		s.seen[key] = true
		s.all = append(s.all, q)
	}
}
