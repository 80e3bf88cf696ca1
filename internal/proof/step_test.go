package proof_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/respool/respool/resource"
)

// holders returns the callers with a lease that the script may end, the oldest first.
func (d *drive) holders() []*caller { return d.list(holding) }

func (d *drive) list(s callerState) []*caller {
	d.mu.Lock()
	defer d.mu.Unlock()
	var l []*caller
	for _, c := range d.callers {
		owned := s == asking && c.mode != "try" || c.mode != "do" && c.v != nil
		if c.state == s && owned {
			l = append(l, c)
		}
	}
	return l
}

// choose returns element n of a list, modulo its length. For an empty list it returns the
// zero value, and the step does nothing.
func choose[E any](l []E, n int) (e E) {
	if len(l) > 0 {
		e = l[n%len(l)]
	}
	return e
}

// step performs one operation. It returns at the same virtual instant.
func (d *drive) step(o op) {
	none := resource.Request{}
	switch o.kind {
	case "acquire":
		d.ask(d.newCaller("acquire", none, 0))
	case "deadline":
		d.ask(d.newCaller("acquire", none, ms(5+120*o.a)+37*time.Microsecond))
	case "nowait":
		d.ask(d.newCaller("acquire", resource.Request{NoWait: true, Fresh: o.a%4 == 3}, 0))
	case "fresh":
		timeout := time.Duration(0)
		if o.b > 3 {
			timeout = ms(5+120*o.a) + 43*time.Microsecond
		}
		d.ask(d.newCaller("acquire", resource.Request{Fresh: true}, timeout))
	case "ended":
		c := d.newCaller("acquire", none, 0)
		c.cancel()
		d.ask(c)
	case "try":
		d.ask(d.newCaller("try", none, 0))
	case "do":
		d.do(d.newCaller("do", none, 0), o.a, ms(30*o.b)+41*time.Microsecond+odd)
	case "cancel":
		if c := choose(d.list(asking), o.a); c != nil {
			c.cancel()
		}
	case "release", "fail", "discard", "hijack", "race":
		if c := choose(d.holders(), o.a); c != nil {
			d.end(c, o)
		}
	case "stale":
		if c := choose(d.list(over), o.a); c != nil && c.lease != nil {
			d.stale(c)
		}
	case "invalidate", "sicken":
		if v := choose(d.present(), o.a); v != nil {
			d.strike(v, o.kind)
		}
	default:
		d.whole(o)
	}
}

// end ends the lease of c.
func (d *drive) end(c *caller, o op) {
	switch o.kind {
	case "release":
		d.free(c, "release", false)
		c.lease.Release()
	case "fail":
		err := choose([]error{errBroken, errMild, errWild}, o.b)
		bad := !d.script.shape.brokenAsks || !errors.Is(err, errMild)
		d.free(c, "fail", bad)
		c.lease.Fail(err)
		d.gone(c, bad)
	case "discard":
		d.free(c, "discard", true)
		c.lease.Discard(choose([]error{nil, errBroken}, o.b))
		d.gone(c, true)
	case "hijack":
		d.free(c, "hijack", false)
		if v, ok := c.lease.Hijack(); !ok || v != c.v {
			d.locked("Hijack of caller %d returned %v, %v", c.n, v, ok)
		}
	case "race": // two copies concurrently
		d.free(c, "race", false)
		var both sync.WaitGroup
		both.Go(c.lease.Release)
		both.Go(func() { c.lease.Discard(nil) })
		both.Wait()
	}
}

// gone checks that a thing that was found broken is not lent again.
func (d *drive) gone(c *caller, bad bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if bad {
		c.v.invalidated = true
	}
}

// stale uses an ended lease, which must have no effect.
func (d *drive) stale(c *caller) {
	func() {
		defer func() {
			if recover() == nil {
				d.locked("Value of an ended lease did not panic")
			}
		}()
		c.lease.Value()
	}()
	c.lease.Release()
	c.lease.Fail(errBroken)
	c.lease.Discard(errBroken)
	if v, ok := c.lease.Hijack(); ok || v != nil {
		d.locked("Hijack of an ended lease returned %v, %v", v, ok)
	}
	if i := c.lease.Info(); i != (resource.Info{}) {
		d.locked("Info of an ended lease is %+v", i)
	}
}

// present returns the things in the pool, and the last one that was.
func (d *drive) present() []*thing {
	d.mu.Lock()
	defer d.mu.Unlock()
	var l []*thing
	for i, v := range d.things {
		if v.stage == living || i == len(d.things)-1 {
			l = append(l, v)
		}
	}
	return l
}

// strike makes v dead, reported by invalidate or not.
func (d *drive) strike(v *thing, how string) {
	d.mu.Lock()
	invalidate := v.invalidate
	if how == "sicken" || v.stage != living || invalidate == nil {
		v.sick = v.sick || how == "sicken" && d.health != nil
		d.mu.Unlock()
		if invalidate != nil && how == "invalidate" {
			invalidate(errDead) // of a removed one: no effect
		}
		return
	}
	v.invalidated = true
	d.mu.Unlock()
	invalidate(errDead)
	invalidate(nil)
}

// whole performs operations on the whole pool.
func (d *drive) whole(o op) {
	switch o.kind {
	case "warm":
		d.warm(o.a)
	case "grow":
		d.resize(o.a%4 + 1)
	case "shrink":
		d.resize(-(o.a%3 + 1))
	case "reset":
		d.mu.Lock()
		d.gen++
		awaited := d.levels().asking > 0
		d.mu.Unlock()
		d.pool.Reset(nil)
		d.mu.Lock()
		d.cutOff(awaited)
		d.mu.Unlock()
	case "sleep":
		time.Sleep(choose([]time.Duration{ms(1), ms(100), ms(700), ms(2500), ms(11_000), ms(40_000)}, o.b))
	case "close":
		d.close(o)
	}
}

// resize changes the maximum by n, down to 1.
func (d *drive) resize(n int) {
	d.mu.Lock()
	d.max = max(1, d.max+n)
	d.most = max(d.most, d.max)
	to, closed := d.max, d.closed
	d.mu.Unlock()
	if err := d.pool.Resize(to); err != nil && !(closed && errors.Is(err, resource.ErrClosed)) {
		d.locked("Resize(%d): %v", to, err)
	}
	if err := d.pool.Resize(0); err == nil {
		d.locked("Resize(0) returned nil")
	}
}

func (d *drive) warm(n int) {
	d.mu.Lock()
	d.warms++
	d.warming = max(d.warming, n)
	d.mu.Unlock()
	go func() {
		err := d.pool.Warm(context.Background(), n)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.warms--
		if err != nil && !(d.closed && errors.Is(err, resource.ErrClosed)) {
			d.err("Warm(%d): %v", n, err)
		}
	}()
}

// close calls Close in the background, since it may wait for holders.
func (d *drive) close(o op) {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), ms(2000*o.b)+59*time.Microsecond)
		defer cancel()
		err := d.pool.Close(ctx)
		d.mu.Lock()
		defer d.mu.Unlock()
		n := d.levels()
		out := n.leased + n.idle + n.dying + n.lateDying + len(d.running)
		var ce *resource.CloseError
		switch {
		case err == nil && out > 0:
			d.err("I6: Close returned nil with %d leased, %d dying, %d makes", n.leased, n.dying+n.lateDying, len(d.running))
		case err != nil && (!errors.As(err, &ce) || !errors.Is(err, context.DeadlineExceeded)):
			d.err("Close: %v", err)
		case ce != nil && d.health != nil && d.health.busy.Load() > 0:
			// A resource in a check for a caller counts as leased.
		case ce != nil && (ce.Load.Leased != n.leased || len(ce.Leased) != min(n.leased, 16)):
			d.err("Close says %v, %d are leased", err, n.leased)
		}
	}()
}
