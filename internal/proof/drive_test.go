package proof_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respool/respool/resource"
)

// drive runs a script in a bubble.
type drive struct {
	*world
	pool        pool[*thing]
	admits      *permits
	gate, quota *permits
	health      *health
	before      resource.Stats
}

// prove runs s against a pool and returns the violations; nil if there are none.
func prove(t *testing.T, s script, make newPool[*thing]) (err error) {
	defer func() {
		// A bubble panics here if blocked goroutines are left.
		if r := recover(); r != nil {
			err = errors.Join(err, fmt.Errorf("the bubble ended with: %v", r))
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		d := &drive{world: newWorld(s)}
		if err = d.open(make); err != nil {
			return
		}
		for i, o := range s.ops {
			time.Sleep(o.gap + time.Millisecond + time.Duration(i)*time.Microsecond)
			d.step(o)
			if d.settle(); d.broke(fmt.Sprintf("after step %d, %s(%d, %d):", i, o.kind, o.a, o.b)) {
				break
			}
		}
		d.finish()
		if d.broke("") {
			err = errors.New(strings.Join(d.wrong, "\n"))
		}
	})
	return err
}

// broke reports whether there was a violation, and adds where to the messages.
func (d *drive) broke(where string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.wrong) > 0 && where != "" {
		d.wrong = append([]string{where}, d.wrong...)
	}
	return len(d.wrong) > 0
}

// locked records a violation; it takes world.mu.
func (d *drive) locked(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err(format, args...)
}

// settle waits until all goroutines are blocked, and compares.
func (d *drive) settle() {
	synctest.Wait()
	s := d.pool.Stats()
	d.settled(s, d.before, d.health != nil && d.health.busy.Load() > 0, d.gate, d.quota)
	d.before = s
}

// ask calls Acquire for c on a new goroutine.
func (d *drive) ask(c *caller) {
	go func() {
		var l lease[*thing]
		var err error
		if c.mode == "try" {
			var ok bool
			if l, ok = d.pool.TryAcquire(); !ok {
				d.refusedTry(c)
				return
			}
		} else {
			l, err = d.pool.AcquireWith(c.ctx, c.req)
		}
		if err != nil {
			d.gaveUp(c, err)
			return
		}
		d.served(c, l)
	}()
}

// refusedTry checks a failed TryAcquire: it is a violation if a resource is idle, no caller
// waits and no policy could refuse.
func (d *drive) refusedTry(c *caller) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c.state = over
	d.missed = time.Now()
	n, cfg := d.levels(), d.script.shape
	if n.idle > 0 && n.asking == 0 && !d.closed && cfg.health == "" && cfg.eviction == "" && !cfg.admission {
		d.err("TryAcquire got nothing beside %d idle", n.idle)
	}
}

// do calls Pool.Do for c, with a function that takes some time and ends as how says.
func (d *drive) do(c *caller, how int, takes time.Duration) {
	var got error
	work := func(_ context.Context, v *thing) error {
		d.served(c, doLease{v})
		time.Sleep(takes)
		switch how % 5 {
		case 0, 1:
			d.free(c, "release", false)
			return nil
		case 2:
			d.free(c, "fail", !d.script.shape.brokenAsks)
			got = errMild
			return errMild
		case 3:
			d.free(c, "discard", true)
			panic(errBroken)
		}
		d.free(c, "discard", true)
		runtime.Goexit()
		return nil
	}
	go func() {
		defer func() {
			if r := recover(); r != nil && r != errBroken {
				d.locked("Do of caller %d panicked with %v", c.n, r)
			}
		}()
		err := d.pool.Do(c.ctx, work)
		d.mu.Lock()
		lent := c.v != nil
		d.mu.Unlock()
		if !lent {
			d.gaveUp(c, err)
		} else if !errors.Is(err, got) {
			d.locked("Do of caller %d returned %v, not %v", c.n, err, got)
		}
	}()
}

// doLease represents the hidden lease of Do.
type doLease struct{ v *thing }

func (l doLease) Value() *thing          { return l.v }
func (l doLease) Info() resource.Info    { return resource.Info{ID: 1, Leases: 1} }
func (l doLease) Release()               {}
func (l doLease) Fail(error)             {}
func (l doLease) Discard(error)          {}
func (l doLease) Hijack() (*thing, bool) { return nil, false }

// finish ends all planned failures, waits until every caller is served, closes the pool,
// and checks what is left.
func (d *drive) finish() {
	d.mu.Lock()
	d.healed = true
	d.mu.Unlock()
	for _, p := range []*permits{d.admits, d.gate, d.quota} {
		if p != nil {
			p.healed.Store(true)
		}
	}
	failed := d.broke("")
	for round := 0; round < 40 && !failed && d.unserved() > 0; round++ {
		d.endAll()
		time.Sleep(5*time.Second + 3*time.Microsecond)
		d.settle()
	}
	if n := d.unserved(); n > 0 && !failed {
		d.locked("%d callers or Warms were never answered", n)
	}
	d.endAll()
	if !failed {
		d.minIdle()
	}
	d.leaveAll()
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if err := d.pool.Close(ctx); err != nil {
		d.locked("Close with nothing leased: %v", err)
		return
	}
	d.nothingLeft(d.pool.Stats())
	time.Sleep(time.Hour) // whatever still runs is detected, and ends
}

// leaveAll cancels all callers that still wait, and ends their leases.
func (d *drive) leaveAll() {
	d.mu.Lock()
	for _, c := range d.callers {
		c.cancel()
	}
	d.mu.Unlock()
	synctest.Wait()
	d.endAll()
	time.Sleep(time.Microsecond)
	synctest.Wait()
}

// unserved counts waiting callers and Warms.
func (d *drive) unserved() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.warms
	for _, c := range d.callers {
		if c.state == asking || c.mode == "do" && c.state == holding {
			n++
		}
	}
	return n
}

// endAll releases all leases.
func (d *drive) endAll() {
	for _, c := range d.holders() {
		d.free(c, "release", false)
		c.lease.Release()
	}
}

// minIdle checks that the pool without load keeps MinIdle resources idle.
func (d *drive) minIdle() {
	cfg := d.script.shape
	d.mu.Lock()
	want := min(cfg.minIdle, d.max)
	skip := d.closed || cfg.eviction != ""
	d.mu.Unlock()
	if skip {
		return
	}
	time.Sleep(3*time.Minute + 5*time.Microsecond)
	d.settle()
	if s := d.pool.Stats(); s.Idle < want {
		d.locked("left alone for minutes with MinIdle %d: %+v", want, s)
	}
}

// nothingLeft checks that after a successful Close each thing ended exactly once (I3, I6).
func (d *drive) nothingLeft(s resource.Stats) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.running) > 0 {
		d.err("I6: %d makes run after Close", len(d.running))
	}
	for _, v := range d.things {
		if v.stage != dead && v.stage != away {
			d.err("I3: thing %d is in stage %d after Close", v.n, v.stage)
		}
	}
	if s.Idle+s.Leased+s.Making+s.Destroying+s.Abandoned+s.Waiting != 0 {
		d.err("I6: after Close: %+v", s)
	}
	for _, p := range []*permits{d.admits, d.gate, d.quota} {
		if p != nil && p.out.Load() != 0 {
			d.err("I4: %d permits of %s are out after Close", p.out.Load(), p.name)
		}
	}
}
