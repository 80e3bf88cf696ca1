package policy

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/respool/respool/resource"
)

// What the policies that have a state say of it: each State implements
// [resource.Stateful]. Errors, which may come from a server, are not in it.

// stateOf is what p says of itself; "" if it says nothing.
func stateOf(p any) string {
	if s, ok := p.(resource.Stateful); ok {
		return s.State()
	}
	return ""
}

// states joins what ps say of themselves.
func states[P any](ps []P, sep string) string {
	var all []string
	for _, p := range ps {
		if s := stateOf(p); s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, sep)
}

// inUse is how a limit stands.
func inUse[N int | int64](used, limit N) string { return fmt.Sprintf("%d of %d in use", used, limit) }

// span is a duration as people read it.
func span(d time.Duration) time.Duration {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(100 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d
}

// State says how much is used: "3 of 8 in use".
func (l *Limiter) State() string { return inUse(l.used.n.Load(), l.limit.Load()) }

// shownClasses is how many classes a State names.
const shownClasses = 16

// State says how much is used, of the common part and by each class that has a
// guarantee: "5 of 10 in use; common 1 of 4; a 4 of 3 guaranteed".
func (l *ShareLimiter) State() string {
	var b strings.Builder
	b.WriteString(inUse(l.InFlight(), l.Limit()))
	fmt.Fprintf(&b, "; common %d of %d", l.borrowed.n.Load(), l.common.Load())
	for i, class := range slices.Sorted(maps.Keys(l.classes)) {
		if i == shownClasses {
			fmt.Fprintf(&b, "; %d classes more", len(l.classes)-i)
			break
		}
		s := l.classes[class]
		fmt.Fprintf(&b, "; %.32s %d of %d guaranteed", class, s.used.n.Load(), s.guaranteed)
	}
	return b.String()
}

// State says what the limit does, and how much is kept.
func (s *reserve) State() string {
	kept := fmt.Sprintf("%d kept for priority %d and higher, the lower have %d", s.n, s.from, s.low.n.Load())
	return join(cmp.Or(stateOf(s.Gauged), inUse(s.InFlight(), s.Limit())), kept)
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// State says how many tokens there are, if the limiter tells, and how many wait.
func (p *rate[R]) State() string {
	tokens := ""
	if l, ok := p.l.(interface {
		Tokens() float64
		Burst() int
	}); ok {
		if n := l.Tokens(); !math.IsInf(n, 0) && !math.IsNaN(n) {
			tokens = fmt.Sprintf("%.1f of %d tokens", n, l.Burst())
		}
	}
	if !p.waits {
		return tokens
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return join(tokens, fmt.Sprintf("%d waiting", len(p.line)))
}

// State says for how long the breaker has refused everybody.
func (p *breaker) State() string {
	if since := p.refusing.Load(); since != nil {
		return fmt.Sprintf("refusing for %v", span(time.Since(*since)))
	}
	return "admitting"
}

// State says whether the breaker is open, and for how long still.
func (p *permitBreaker) State() string {
	if p.b.IsHalfOpen() {
		return "half-open"
	}
	if d := p.b.RemainingDelay(); d > 0 {
		return fmt.Sprintf("open for %v more", span(d))
	}
	return "closed"
}

// State says how much is refused, if the throttler tells.
func (p *throttle) State() string {
	if t, ok := p.t.(interface{ RejectionRate() float64 }); ok {
		return fmt.Sprintf("refuses %.0f %%", 100*t.RejectionRate())
	}
	return ""
}

// State says how much is used and how many wait, if the limiter tells.
func (p *adaptive[P]) State() string {
	if l, ok := p.l.(interface {
		Limit() int
		Inflight() int
		Queued() int
	}); ok {
		return fmt.Sprintf("%s, %d waiting", inUse(l.Inflight(), l.Limit()), l.Queued())
	}
	return ""
}

// State says whether the gate is open, and for how long it has not been.
func (g *Gate) State() string {
	if p := g.now.Load(); p != nil {
		return fmt.Sprintf("paused for %v", span(time.Since(p.since)))
	}
	return "open"
}

// State says how many makes run and wait, and, while makes fail, until when.
func (g *MakeGate) State() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	running := fmt.Sprintf("%d of %d makes run, %d waiting", g.running, g.concurrent, len(g.waiting))
	switch wait := time.Until(g.next); {
	case g.closed && g.fresh > 0:
		return "makes fail, one tries again; " + running
	case g.closed && wait > 0:
		return fmt.Sprintf("makes fail, shut for %v more; %s", span(wait), running)
	case g.closed:
		return "makes fail, the next may try; " + running
	case g.allowed < g.concurrent:
		return fmt.Sprintf("opening, %d may run; %s", g.allowed, running)
	}
	return "open; " + running
}

// State says how many are in, and how long one who came now would wait.
func (l *DeadlineLimiter) State() string {
	in := fmt.Sprintf("%d in, %d served at once", l.InFlight(), l.serving.Load())
	if wait := l.EstimatedWait(); wait > 0 {
		return fmt.Sprintf("%s, the next waits %v", in, span(wait))
	}
	return in
}

// State says how many wait, and whether there is overload. Unlike the methods of
// [resource.Queue] it may be called at any time.
func (c *codel) State() string {
	if c.shownLate.Load() {
		return fmt.Sprintf("%d waiting, overloaded: the newest first", c.shown.Load())
	}
	return fmt.Sprintf("%d waiting, in order", c.shown.Load())
}

// State says how many wait, of an [EarliestDeadline] too. It may be called at any
// time.
func (p *priority) State() string { return fmt.Sprintf("%d waiting", p.shown.Load()) }

// State says which are suspected.
func (c *CohortHealth[T]) State() string {
	s := c.now.Load()
	if s == nil {
		return join("nobody suspected", c.in.State())
	}
	return join(fmt.Sprintf("suspects up to %d, of whom %d have passed since", s.upTo, s.n.Load()), c.in.State())
}

// State is that of the Health within.
func (w *wrapped[T]) State() string { return stateOf(w.h) }

// State is that of all members.
func (ps allAdmissions) State() string { return states(ps, "; ") }

// State is that of all members.
func (ps anyAdmission) State() string { return states(ps, ", or ") }

// State is that of what is named.
func (p *named) State() string {
	if s := stateOf(p.p); s != "" {
		return p.name + ": " + s
	}
	return p.name
}

// State says the limit, and how much less it is for some: "age 58m0s, up to 10% less".
func (a *maxAge) State() string {
	return "age " + (*jittered)(a).less(span(time.Duration(a.limit)).String())
}

// State is like that of MaxAge: "1000 leases".
func (l *maxLeases) State() string {
	return (*jittered)(l).less(fmt.Sprintf("%.0f leases", l.limit))
}

func (j *jittered) less(limit string) string {
	if j.jitter == 0 {
		return limit
	}
	return fmt.Sprintf("%s, up to %.0f%% less", limit, 100*j.jitter)
}

// State says the limit: "idle 5m0s".
func (m *maxIdle) State() string { return fmt.Sprintf("idle %v", span(m.d)) }

// State says the limits: "idle 5m0s, more than 2 of them".
func (s *softIdle) State() string {
	return fmt.Sprintf("idle %v, more than %d of them", span(s.d), s.floor)
}

// State is that of all members.
func (a *anyOf) State() string { return states(a.es, ", or ") }

// State is that of all members.
func (a *allOf) State() string { return states(a.es, ", and ") }

// State is that of the Eviction within, and the floor.
func (p *protect) State() string {
	return join(fmt.Sprintf("more than %d idle", p.floor), stateOf(p.e))
}

// State is that of the Eviction within, and how much earlier it counts.
func (r *minRemaining) State() string {
	return join(fmt.Sprintf("%v earlier", span(r.d)), stateOf(r.e))
}
