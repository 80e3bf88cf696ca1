package proof_test

import (
	"errors"
	"time"

	"github.com/respool/respool/resource"
)

// levels are the expected levels and counters of the pool, as counted by the world.
type levels struct {
	idle, leased, making, dying, lateDying, abandoned, asking, admitting int

	acquired, released, hijacked, destroyed, made, canceled, rejected, barred int64

	failed  int64                     // acquires that returned an error
	reasons map[resource.Reason]int64 // the same by reason

	askingFresh, unused int // callers among asking, resources among idle

	tries int // failed TryAcquires: their refusals may or may not be counted
}

func (w *world) levels() levels {
	n := levels{reasons: map[resource.Reason]int64{}}
	for m := range w.running {
		if w.givenUp(m) {
			n.abandoned++
		} else {
			n.making++
		}
	}
	for _, v := range w.things {
		if v.late {
			if v.stage == dying {
				n.lateDying++
			}
			continue
		}
		n.made++
		switch {
		case v.stage == away:
			n.hijacked++
		case v.stage == dead:
			n.destroyed++
		case v.stage == dying:
			n.dying++
		case v.holder != nil:
			n.leased++
		default:
			n.idle++
			if !v.used {
				n.unused++
			}
		}
	}
	for _, c := range w.callers {
		if c.err != nil && c.v == nil && c.mode != "try" {
			n.failed++
			n.reasons[c.reason()]++
		}
		switch {
		case c.state == asking && c.admitted:
			n.asking++
			if c.req.Fresh {
				n.askingFresh++
			}
		case c.state == asking:
			n.admitting++
		case c.v != nil:
			n.acquired++
			if c.state == over {
				n.released++
			}
		case c.mode == "try":
			n.tries++
		case c.canceled:
			n.canceled++
		case c.refused && !errors.Is(c.err, resource.ErrClosed): // a closed pool says so, whatever the Admission
			n.rejected++
		case errors.Is(c.err, resource.ErrRejected):
			n.barred++ // by the Queue, which is counted, or with its creation, which is not
		}
	}
	return n
}

// settled compares the pool with the model while all goroutines are blocked.
func (w *world) settled(s, before resource.Stats, aside bool, gate, quota *permits) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.levels()
	w.reconcile(s, n, aside)
	w.monotone(s, before)
	w.moving(s, n, aside, gate, quota)
	w.checkIdle(s, aside)
	w.fairness()
	w.failuresTold()
	w.permitsOut(s, n, gate, quota)
}

// equal records a difference from the model.
func (w *world) equal(name string, pool, model int64) {
	if pool != model {
		w.err("%s is %d in the pool and %d in the model", name, pool, model)
	}
}

// reconcile checks Stats for consistency and against the model. A resource in a check is
// neither idle nor leased.
func (w *world) reconcile(s resource.Stats, n levels, aside bool) {
	if s.Made-s.Destroyed-s.Hijacked != int64(s.Idle+s.Leased+s.Destroying) || s.Acquired != s.Released+int64(s.Leased) {
		w.err("Stats does not reconcile: %+v", s)
	}
	if !w.closed {
		w.equal("Max", int64(s.Max), int64(w.max))
	}
	w.equal("Idle+Leased", int64(s.Idle+s.Leased), int64(n.idle+n.leased))
	if !aside {
		w.equal("Leased", int64(s.Leased), int64(n.leased))
		w.equal("Waiting", int64(s.Waiting), int64(n.asking))
	}
	if cfg := w.script.shape; cfg.eviction == "" && cfg.health == "" || !turnedDownCounts && !aside {
		w.equal("Acquired", s.Acquired, n.acquired)
		w.equal("Released", s.Released, n.released)
	} else if !aside && s.Acquired < n.acquired {
		w.equal("Acquired", s.Acquired, n.acquired)
	}
	w.equal("Hijacked", s.Hijacked, n.hijacked)
	w.equal("Canceled", s.Canceled, n.canceled)
	w.equal("Failures.Total()", s.Failures.Total(), n.failed+int64(n.tries))
	for reason, count := range s.Failures.All() {
		if reason != resource.ReasonNoneIdle && n.tries == 0 {
			w.equal("Failures: "+reason.String(), count, n.reasons[reason])
		}
	}
	w.within("Destroying", s.Destroying, n.dying, n.lateDying)
	w.within("Abandoned", s.Abandoned, n.abandoned, n.lateDying)
	slack := n.lateDying
	if w.script.shape.gate || w.script.shape.quota {
		slack = s.Making // a creation that waits for a permit is not visible here
	}
	w.within("Making", s.Making, n.making, slack)
	w.within("Rejected", int(s.Rejected), int(n.rejected), int(n.barred)+n.tries)
	if s.Made < n.made {
		w.equal("Made", s.Made, n.made)
	}
}

// within records a level below that of the model, or above it by more than slack.
func (w *world) within(name string, pool, model, slack int) {
	if pool < model || pool > model+slack {
		w.err("%s is %d in the pool, %d to %d in the model", name, pool, model, model+slack)
	}
}

func (w *world) monotone(s, b resource.Stats) {
	if s.Acquired < b.Acquired || s.Released < b.Released || s.Waited < b.Waited || s.WaitTime < b.WaitTime ||
		s.Canceled < b.Canceled || s.Rejected < b.Rejected || s.Made < b.Made || s.MakeTime < b.MakeTime ||
		s.Failed < b.Failed || s.Refused < b.Refused || s.Destroyed < b.Destroyed || s.Hijacked < b.Hijacked ||
		s.Evicted < b.Evicted || s.Unhealthy < b.Unhealthy || s.Invalidated < b.Invalidated || s.Panics < b.Panics {
		w.err("a counter went back: %+v after %+v", s, b)
	}
}

// moving checks that waiting callers can still be served (I7). The pool decides how many
// creations run, but there must be at least one if nothing else can serve them.
func (w *world) moving(s resource.Stats, n levels, aside bool, gate, quota *permits) {
	if w.closed {
		if n.asking > 0 && !aside {
			w.err("%d callers still wait after Close", n.asking)
		}
		return
	}
	for _, c := range w.callers {
		if c.state == asking && c.ctx.Err() != nil {
			w.err("I8: caller %d still waits, and its context has ended", c.n)
		}
	}
	if aside || n.asking == 0 {
		return
	}
	if n.unused > 0 || n.idle > 0 && n.asking > n.askingFresh {
		w.err("I7: %d callers wait, %d for a new one, beside %d idle, %d of them new", n.asking, n.askingFresh, n.idle, n.unused)
	}
	room := w.max - n.idle - n.leased - n.dying - w.canceled()
	if s.Outage || gate.refusing() || quota.refusing() {
		return
	}
	making := s.Making - w.canceled()
	if room > making && making <= w.overdue(false) && (n.leased == 0 || w.watched()) {
		w.err("%d callers wait, there is room for %d, %d are leased, and nothing is being made that counts", n.asking, room, n.leased)
	}
	if room <= 0 && n.idle > 0 && making == 0 && s.Destroying == 0 {
		w.err("%d callers wait for a new one, and of %d idle none makes room", n.askingFresh, n.idle)
	}
	calm := w.failed == 0 && n.abandoned == 0 && !w.slow && w.overdue(true) == 0 && w.noneUnfit() && gate == nil && quota == nil
	if want := min(n.asking, room); calm && n.leased == 0 && making < want {
		w.err("%d callers wait, there is room for %d, nothing is leased, and only %d are being made", n.asking, room, making)
	}
}

// watched reports whether the pool has observed releases for long enough to begin the next
// creation: for the usual duration of a creation since the last began, or 50 ms, and
// then up to a tenth of that.
func (w *world) watched() bool {
	return time.Since(w.last) >= max(w.longest, ms(50))*11/10+ms(1)
}

// checkIdle checks that no idle resource is unfit to be lent, and that not too many are idle.
func (w *world) checkIdle(s resource.Stats, aside bool) {
	for _, v := range w.things {
		if v.stage != living || v.holder != nil || aside {
			continue
		}
		if v.invalidated || v.gen < w.gen || v.late || w.closed {
			w.err("thing %d lies idle: invalidated %v, made %d resets ago, late %v, pool closed %v",
				v.n, v.invalidated, w.gen-v.gen, v.late, w.closed)
		}
	}
	if !aside && s.Idle > 0 && s.Idle+s.Leased > w.max {
		w.err("%d idle and %d leased of at most %d", s.Idle, s.Leased, w.max)
	}
}

// fairness checks that of two callers that waited at the same time, the one that the Queue
// prefers was served first. Callers are judged once they have been served.
func (w *world) fairness() {
	kind := w.script.shape.queue
	for _, c := range w.callers {
		if c.v == nil || c.judged || c.mode == "try" {
			continue
		}
		c.judged = true
		if kind == "broken" || w.script.shape.health != "" || w.script.shape.eviction != "" {
			continue
		}
		for _, o := range w.callers {
			present := o.admitted && o != c && o.mode != "try" && o.arrived.Before(c.answered) &&
				(o.state == asking || o.answered.After(c.answered))
			if !present {
				continue
			}
			if o.req.Fresh && c.second || kind != "" && c.req.Fresh {
				continue // it could not use that; or it was chosen before o arrived, and waited for a creation
			}
			if kind == "" && o.arrived.Before(c.arrived) {
				w.err("FIFO: caller %d was served before caller %d, which arrived first", c.n, o.n)
			}
			if kind == "newest" && o.arrived.After(c.arrived) {
				w.err("Queue: caller %d was served before caller %d, which arrived last", c.n, o.n)
			}
		}
	}
}

// failuresTold checks that with FailFast the first waiter gets each failed creation at once
// if nothing else can serve it: no lease that may end and no other creation.
func (w *world) failuresTold() {
	if w.closed || w.script.shape.outage == resource.KeepWaiting || w.script.shape.health != "" {
		return
	}
	for _, f := range w.failures {
		waiting, told := 0, 0
		var front *caller
		for _, c := range w.callers {
			if !c.admitted || c.mode == "try" || !c.arrived.Before(f.at) {
				continue
			}
			if c.state == asking || !c.answered.Before(f.at) {
				waiting++
				if front == nil || c.arrived.Before(front.arrived) {
					front = c
				}
			}
			if c.err != nil && errors.Is(c.err, f.err) {
				told++
			}
		}
		hopes := f.leased > 0 && front != nil && !front.req.Fresh || f.coming >= waiting
		if waiting > 0 && told == 0 && !f.silent && !hopes {
			w.err("make %d failed while %d waited, and no waiter got the error", f.n, waiting)
		}
	}
}

// permitsOut checks that each permit lasts as long as what it permits (I4).
func (w *world) permitsOut(s resource.Stats, n levels, gate, quota *permits) {
	for _, c := range w.callers {
		if c.permit == nil {
			continue
		}
		back := c.permit.returned.Load() > 0
		if back != (c.state == over) {
			w.err("I4: the permit of caller %d is back: %v, the caller is done: %v", c.n, back, c.state == over)
		}
		got := resource.Verdict(c.permit.verdict.Load() - 1)
		if back && c.sure && got != c.verdict {
			w.err("the permit of caller %d got verdict %d, not %d", c.n, got, c.verdict)
		}
	}
	if gate != nil && int(gate.out.Load()) > s.Making+n.abandoned {
		w.err("I4: %d make permits are out for %d makes", gate.out.Load(), s.Making+n.abandoned)
	}
	if quota == nil {
		return
	}
	live := s.Idle + s.Leased + s.Destroying
	if out := int(quota.out.Load()); out > live+s.Making+n.abandoned+n.lateDying || out+int(quota.nils.Load()) < live {
		w.err("I4: %d quota permits are out for %d resources and %d makes", out, live, s.Making)
	}
}
