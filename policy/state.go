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

// The State methods of all policies, which implement [resource.Stateful]. No state
// contains an error: its text may come from a server and have a secret in it.

// stateOf returns the state of p; "" if it has none.
func stateOf(p any) string {
	if s, ok := p.(resource.Stateful); ok {
		return s.State()
	}
	return ""
}

// states joins the states of ps.
func states[P any](ps []P, sep string) string {
	var all []string
	for _, p := range ps {
		if s := stateOf(p); s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, sep)
}

// inUse returns the use of a limit.
func inUse[N int | int64](used, limit N) string { return fmt.Sprintf("%d of %d in use", used, limit) }

// rounded returns d rounded for display.
func rounded(d time.Duration) time.Duration {
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

// State returns the use of the limit: "3 of 8 in use".
func (l *Limiter) State() string { return inUse(l.used.n.Load(), l.limit.Load()) }

// maxStateClasses is the number of classes that a State names.
const maxStateClasses = 16

// State returns the use of the limit, of the common part and of each guarantee:
// "5 of 10 in use; common 1 of 4; a 4 of 3 guaranteed".
func (l *ShareLimiter) State() string {
	var b strings.Builder
	b.WriteString(inUse(l.InFlight(), l.Limit()))
	fmt.Fprintf(&b, "; common %d of %d", l.borrowed.n.Load(), l.common.Load())
	for i, class := range slices.Sorted(maps.Keys(l.classes)) {
		if i == maxStateClasses {
			fmt.Fprintf(&b, "; %d more classes", len(l.classes)-i)
			break
		}
		s := l.classes[class]
		fmt.Fprintf(&b, "; %.32s %d of %d guaranteed", class, s.used.n.Load(), s.guaranteed)
	}
	return b.String()
}

// State returns that of the underlying limit and the units reserved.
func (s *reserve) State() string {
	reserved := fmt.Sprintf("%d reserved for priority %d and higher, %d in use below", s.n, s.from, s.low.n.Load())
	return join(cmp.Or(stateOf(s.Gauged), inUse(s.InFlight(), s.Limit())), reserved)
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// State returns the available tokens, if the limiter reports them, and the number of
// waiting requests.
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
	return join(tokens, fmt.Sprintf("%d waiting", len(p.queue)))
}

// State returns whether the breaker admits, or how long it has been refusing.
func (p *breaker) State() string {
	if since := p.refusingSince.Load(); since != nil {
		return fmt.Sprintf("refusing for %v", rounded(time.Since(*since)))
	}
	return "admitting"
}

// State returns the state of the breaker and how much longer it stays open.
func (p *permitBreaker) State() string {
	if p.b.IsHalfOpen() {
		return "half-open"
	}
	if d := p.b.RemainingDelay(); d > 0 {
		return fmt.Sprintf("open for another %v", rounded(d))
	}
	return "closed"
}

// State returns the share of refused requests, if the throttler reports it.
func (p *throttle) State() string {
	if t, ok := p.t.(interface{ RejectionRate() float64 }); ok {
		return fmt.Sprintf("refusing %.0f%%", 100*t.RejectionRate())
	}
	return ""
}

// State returns the use of the limit and the number of waiting requests, if the
// limiter reports them.
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

// State returns whether the gate is open, or how long it has been paused.
func (g *Gate) State() string {
	if p := g.current.Load(); p != nil {
		return fmt.Sprintf("paused for %v", rounded(time.Since(p.since)))
	}
	return "open"
}

// State returns whether the gate is open, when it may open, and how many creations run
// and wait.
func (g *MakeGate) State() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	running := fmt.Sprintf("%d of %d creations running, %d waiting", g.running, g.concurrent, len(g.waiting))
	switch wait := time.Until(g.probeAt); {
	case g.closed && g.current > 0:
		return "creation failing, probe running; " + running
	case g.closed && wait > 0:
		return fmt.Sprintf("creation failing, closed for another %v; %s", rounded(wait), running)
	case g.closed:
		return "creation failing, probe due; " + running
	case g.limit < g.concurrent:
		return fmt.Sprintf("opening, limit %d; %s", g.limit, running)
	}
	return "open; " + running
}

// State returns the requests in flight and the estimated wait of the next one.
func (l *DeadlineLimiter) State() string {
	in := fmt.Sprintf("%d in flight, %d served at once", l.InFlight(), l.serving.Load())
	if wait := l.EstimatedWait(); wait > 0 {
		return fmt.Sprintf("%s, estimated wait %v", in, rounded(wait))
	}
	return in
}

// State returns the number of waiters and the order in which they are served. Unlike
// the methods of [resource.Queue] it may be called at any time.
func (c *codel) State() string {
	if c.stateOverloaded.Load() {
		return fmt.Sprintf("%d waiting, overloaded, newest first", c.length.Load())
	}
	return fmt.Sprintf("%d waiting, oldest first", c.length.Load())
}

// State returns the number of waiters, for an [EarliestDeadline] too. It may be called
// at any time.
func (q *priorityQueue) State() string { return fmt.Sprintf("%d waiting", q.length.Load()) }

// State returns the set of suspects and the state of the inner Health.
func (c *CohortHealth[T]) State() string {
	s := c.current.Load()
	if s == nil {
		return join("no suspects", c.inner.State())
	}
	return join(fmt.Sprintf("suspects: IDs up to %d except %d that passed", s.maxID, s.passedCount.Load()), c.inner.State())
}

// State returns that of the inner Health.
func (w *wrapped[T]) State() string { return stateOf(w.h) }

// State joins those of the members.
func (a *allAdmissions) State() string { return states(a.ps, "; ") }

// State joins those of the members.
func (ps anyAdmission) State() string { return states(ps, ", or ") }

// State returns the name and the state of the named policy.
func (p *named) State() string {
	if s := stateOf(p.p); s != "" {
		return p.name + ": " + s
	}
	return p.name
}

// State returns the limit and the jitter: "age 58m0s, up to 10% less".
func (a *maxAge) State() string {
	return "age " + (*jitteredLimit)(a).less(rounded(time.Duration(a.limit)).String())
}

// State returns the limit and the jitter: "1000 leases".
func (l *maxLeases) State() string {
	return (*jitteredLimit)(l).less(fmt.Sprintf("%.0f leases", l.limit))
}

// less appends the jitter to the text of the limit.
func (j *jitteredLimit) less(limit string) string {
	if j.jitter == 0 {
		return limit
	}
	return fmt.Sprintf("%s, up to %.0f%% less", limit, 100*j.jitter)
}

// State returns the limit: "idle 5m0s".
func (m *maxIdle) State() string { return fmt.Sprintf("idle %v", rounded(m.d)) }

// State returns the limits: "idle 5m0s while more than 2 idle".
func (s *softIdle) State() string {
	return fmt.Sprintf("idle %v while more than %d idle", rounded(s.d), s.floor)
}

// State joins those of the members.
func (a *anyOf) State() string { return states(a.es, ", or ") }

// State joins those of the members.
func (a *allOf) State() string { return states(a.es, ", and ") }

// State returns the floor and the state of the inner Eviction.
func (p *protect) State() string {
	return join(fmt.Sprintf("while more than %d idle", p.floor), stateOf(p.e))
}

// State returns the time and the state of the inner Eviction.
func (r *minRemaining) State() string {
	return join(fmt.Sprintf("%v earlier", rounded(r.d)), stateOf(r.e))
}
