package proof_test

import (
	"context"
	"errors"
	"time"

	"github.com/respool/respool/resource"
)

// put passes an item to a waiter, to the idle ones, or to Destroy. The lock is held.
func (p *plain[T]) put(it *item[T], cause error) {
	switch {
	case cause != nil:
	case p.closed:
		cause = resource.ErrClosed
	case it.gen < p.gen && p.bug != "lends what was made before Reset":
		cause = resource.ErrReset
	case it.end != nil && p.bug != "lends the invalidated":
		cause = it.end
	case p.s.Idle+p.s.Leased+1 > p.s.Max && p.bug != "keeps too many":
		cause = resource.ErrResized
	}
	if cause != nil {
		p.destroy(it, cause)
		return
	}
	p.s.Idle++
	it.since = time.Now()
	lost := p.bug == "loses a wake-up" && len(p.line) > 1
	if len(p.line) == 0 || lost || p.bug == "lends twice" {
		p.idle = append(p.idle, it)
	}
	if len(p.line) > 0 && !lost {
		if p.bug == "lends twice" {
			p.s.Idle++
		}
		p.answer(answer[T]{it: it})
	}
	p.notify()
}

// destroy ends an item. The lock is held.
func (p *plain[T]) destroy(it *item[T], cause error) {
	it.gone = true
	p.s.Destroying++
	p.goDo(func() {
		destroy := func() error {
			if p.cfg.Destroy != nil {
				p.cfg.Destroy(it.v, cause)
			}
			return nil
		}
		_ = contain("Destroy", destroy)
		if p.bug == "destroys twice" && it.leases > 1 {
			_ = contain("Destroy", destroy)
		}
		it.quota(resource.Outcome{Verdict: resource.OK})
		p.mu.Lock()
		defer p.mu.Unlock()
		p.s.Destroying--
		p.s.Destroyed++
		p.grow(context.Background())
	})
}

// grow begins as many creations as are wanted and fit. The lock is held.
func (p *plain[T]) grow(ctx context.Context) {
	for !p.closed && p.room() {
		want := len(p.line) + max(0, p.cfg.MinIdle-p.s.Idle, p.warm-p.s.Idle-p.s.Leased)
		if p.s.Outage {
			want = min(want, 1)
		}
		if p.bug == "makes too many" && want > 0 {
			want += 2
		}
		if p.fresh-min(p.overdue, p.s.Max/2) >= want || p.waked {
			return
		}
		p.s.Making++
		p.fresh++
		gen := p.gen
		p.goDo(func() { p.makeOne(context.WithoutCancel(ctx), gen) })
	}
}

func (p *plain[T]) room() bool {
	n := p.s.Idle + p.s.Leased + p.s.Making + p.s.Destroying
	if p.bug == "forgets that dying ones take a place" {
		n -= p.s.Destroying
	}
	return n < p.s.Max
}

// later calls grow again soon, after a refusal or in an outage. The lock is held.
func (p *plain[T]) later() {
	p.waked = true
	p.goDo(func() {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-p.base.Done():
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.waked = false
		p.grow(context.Background())
	})
}

// makeOne makes an item, with the permits it needs.
func (p *plain[T]) makeOne(ctx context.Context, gen int) {
	gctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.base, cancel)()
	gate, err := p.admit(p.cfg.MakeGate, gctx, resource.Request{})
	quota := func(resource.Outcome) {}
	if err == nil {
		if quota, err = p.admit(p.cfg.Quota, gctx, resource.Request{}); err != nil {
			gate(resource.Outcome{})
		}
	}
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.s.Refused++
		p.unmake(gen)
		p.later()
		return
	}
	p.mu.Lock()
	era := p.era
	if gen != p.gen && !p.closed { // it waited for its permits, so it begins after the Reset
		gen = p.gen
		p.fresh++
	}
	p.mu.Unlock()
	it := &item[T]{made: time.Now(), gen: gen, quota: quota}
	late := false
	slow := time.AfterFunc(overdueAfter, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if late = gen == p.gen && !p.closed && p.bug != "counts on makes that hang"; late {
			p.overdue++
			p.grow(ctx)
		}
	})
	err = p.try(era, it)
	slow.Stop()
	p.mu.Lock()
	if late && gen == p.gen {
		p.overdue--
	}
	late = false
	p.mu.Unlock()
	out := resource.Outcome{Verdict: resource.OK}
	if err != nil {
		out = resource.Outcome{Verdict: resource.Failed, Err: err}
	}
	gate(out)
	if err != nil {
		p.failed(err, gen, quota)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unmake(gen)
	p.streak, p.s.Outage, p.s.LastMake = 0, false, nil
	p.waked = false // the outage is over
	p.s.Made++
	p.ids++
	it.id = p.ids
	p.put(it, nil)
	p.grow(ctx)
}

// overdueAfter is how long the pool expects a creation to succeed.
const overdueAfter = 1900 * time.Millisecond

func (p *plain[T]) unmake(gen int) {
	p.s.Making--
	if gen == p.gen {
		p.fresh--
	}
}

// try runs Make and Watch, and gives up some time after MakeTimeout or the end of era.
func (p *plain[T]) try(era context.Context, it *item[T]) error {
	limit := p.cfg.MakeTimeout
	grace := min(limit/10, time.Second)
	mctx, cancel := context.WithCancelCause(era)
	defer time.AfterFunc(limit, func() { cancel(resource.ErrMakeTimeout) }).Stop()
	ended := make(chan error, 1)
	p.mu.Lock()
	p.goDo(func() {
		ended <- contain("Make", func() (err error) {
			it.v, err = p.cfg.Make(mctx)
			late := context.Cause(mctx) == resource.ErrMakeTimeout && p.bug != "keeps what came after MakeTimeout"
			switch {
			case late && err == nil:
				if p.bug != "forgets what came late" {
					_ = contain("Destroy", func() error { p.cfg.Destroy(it.v, resource.ErrMakeTimeout); return nil })
				}
				return resource.ErrMakeTimeout
			case late:
				return errors.Join(resource.ErrMakeTimeout, err)
			case err != nil:
				return err
			}
			return p.watch(it)
		})
	})
	p.mu.Unlock()
	select {
	case err := <-ended:
		return err
	case <-mctx.Done():
	}
	if context.Cause(mctx) == resource.ErrClosed {
		grace += limit - time.Since(it.made)
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(grace):
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s.Abandoned++
	p.goDo(func() {
		if err := <-ended; err == nil && p.bug != "forgets what came late" {
			_ = contain("Destroy", func() error { p.cfg.Destroy(it.v, resource.ErrMakeTimeout); return nil })
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.s.Abandoned--
	})
	return resource.ErrMakeTimeout
}

// watch calls Watch for a new item, which is destroyed if Watch fails.
func (p *plain[T]) watch(it *item[T]) error {
	if p.cfg.Watch == nil {
		return nil
	}
	err := contain("Watch", func() error {
		p.cfg.Watch(it.v, func(cause error) { p.invalidate(it, cause) })
		return nil
	})
	if err != nil {
		_ = contain("Destroy", func() error { p.cfg.Destroy(it.v, err); return nil })
	}
	return err
}

func (p *plain[T]) failed(err error, gen int, quota resource.Done) {
	quota(resource.Outcome{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unmake(gen)
	p.s.Failed++
	tell := p.cfg.Outage == resource.FailFast && p.bug != "hides a failed make"
	hope := p.s.Leased > 0 && p.bug != "tells of a failed make though something is leased" || p.fresh >= len(p.line)
	if gen != p.gen {
		if p.bug == "tells of what a Reset canceled" && tell && len(p.line) > 0 && !p.closed {
			p.answer(answer[T]{err: err})
		}
		p.grow(context.Background())
		return
	}
	p.s.LastMake = err
	p.streak++
	if tell && !hope && len(p.line) > 0 && !p.closed {
		p.answer(answer[T]{err: err})
	}
	if p.streak < 3 {
		p.grow(context.Background())
		return
	}
	p.s.Outage = true
	for tell && p.s.Leased == 0 && len(p.line) > 0 && !p.closed {
		p.answer(answer[T]{err: errors.Join(resource.ErrOutage, err)})
	}
	p.later()
}

// invalidate ends an item that was found dead.
func (p *plain[T]) invalidate(it *item[T], cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if it.gone || it.end != nil {
		return
	}
	if it.end = cause; cause == nil {
		it.end = resource.ErrInvalidated
	}
	p.drop(func(x *item[T]) error {
		if x == it {
			return it.end
		}
		return nil
	})
}

// drop destroys the idle ones that have a cause. The lock is held.
func (p *plain[T]) drop(cause func(*item[T]) error) {
	var keep []*item[T]
	for _, it := range p.idle {
		if err := cause(it); err != nil {
			p.s.Idle--
			p.destroy(it, err)
		} else {
			keep = append(keep, it)
		}
	}
	p.idle = keep
}
