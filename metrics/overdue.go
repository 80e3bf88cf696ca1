package metrics

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/respool/respool/metrics/internal/text"
	"github.com/respool/respool/resource"
)

// scan finds and reports the leases that are overdue, and sets the timer to when the
// next lease can be. A lease that begins after a scan cannot be overdue before Overdue
// has passed, so while leases are short, or there are none, there is one scan in each
// Overdue and no goroutine in between.
func (m *Meter) scan() {
	now := time.Now()
	next := m.cfg.Overdue
	defer func() { m.scanAgain(next) }() // even if a function of the user ends the goroutine
	todo, sooner := m.unseen(now)
	due, next := m.leases.due(now, m.cfg.Overdue)
	for _, h := range due {
		todo = append(todo, func() { m.report(h) })
	}
	next = min(next, sooner)
	doAll(todo)
}

func (m *Meter) scanAgain(in time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended {
		m.timer.Reset(min(max(in, m.cfg.Overdue/8), m.cfg.Overdue))
	}
}

// doAll calls all functions, even if one of them ends the goroutine.
func doAll(todo []func()) {
	defer func() {
		if len(todo) > 0 {
			doAll(todo)
		}
	}()
	for len(todo) > 0 {
		f := todo[0]
		todo = todo[1:]
		f()
	}
}

// report reports an overdue lease and then its end, if it has ended meanwhile. It does
// nothing if the meter is closed.
func (m *Meter) report(h Held) {
	defer func() {
		if ended := m.reports.end(h.ID, h.Lease); ended != nil && m.watches() {
			m.reportReturned(*ended)
		}
	}()
	if m.watches() {
		m.reportOverdue(h)
	}
}

func (m *Meter) watches() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.ended
}

// due marks and returns the leases that have lasted for limit and are not marked yet,
// and returns the time after which the next lease can have.
func (ls *leases) due(now time.Time, limit time.Duration) (due []Held, next time.Duration) {
	next = limit
	for i := range ls.shards {
		var marked []lease
		s := &ls.shards[i]
		s.mu.Lock()
		for _, l := range s.byID {
			switch lasted := now.Sub(l.began); {
			case l.overdue, l.shared:
			case lasted >= limit:
				l.overdue = true
				s.overdue++
				ls.m.reports.begin(l.id, l.number)
				marked = append(marked, *l)
			default:
				next = min(next, limit-lasted)
			}
		}
		s.mu.Unlock()
		for i := range marked {
			due = append(due, marked[i].held(now))
		}
	}
	return due, next
}

// unseen finds the overdue leases that were not sampled, in the list of the pool, and
// adds them, so that their end is noticed. It returns the reports to be made, and the
// removal of leases that ended before they were added.
func (m *Meter) unseen(now time.Time) (todo []func(), next time.Duration) {
	next = m.cfg.Overdue
	i, ok := m.inspect(0)
	if !ok {
		return nil, next
	}
	noted, unsampled := m.leases.noted()
	if i.Leased == 0 && unsampled == 0 {
		return nil, next
	}
	all := min(max(i.Max, i.Idle+i.Leased), math.MaxInt/4)
	if i, ok = m.inspect(2*all + 16); !ok { // the pool may be growing
		return nil, next
	}
	running := make(map[uint64]uint64)
	for _, r := range i.Resources {
		if r.State != resource.Leased {
			continue
		}
		number := r.Lease
		running[r.ID] = number
		if r.Shared {
			continue
		}
		if r.Held < m.cfg.Overdue {
			next = min(next, m.cfg.Overdue-r.Held)
			continue
		}
		if noted[r.ID].number == number {
			continue // and must not be added again if it has ended since
		}
		h, added, late := m.leases.found(r.ID, number, now.Add(-r.Held))
		if late.ID != 0 {
			todo = append(todo, func() { m.returned(late) })
		}
		if added {
			todo = append(todo, func() { m.sampleMore(); m.report(h) })
		}
	}
	for id, n := range noted {
		if !n.sampled && running[id] != n.number {
			todo = append(todo, func() { m.leases.end(resource.EndEvent{ID: id, Lease: n.number}) })
		}
	}
	return todo, next
}

// sampleAfterLeak is how long every lease is sampled after a lease was overdue that was
// not sampled.
const sampleAfterLeak = 10 * time.Minute

// sampleMore has the pool sample every lease for sampleAfterLeak, if it can: code that
// leaks one lease usually leaks another, whose stack is then known.
func (m *Meter) sampleMore() {
	if src := m.src.Load(); src != nil {
		if s, ok := (*src).(interface{ SampleFor(time.Duration) }); ok {
			until := time.Now().Add(sampleAfterLeak)
			if m.contain(func() { s.SampleFor(sampleAfterLeak) }) == nil {
				m.sampledUntil.Store(until.UnixNano())
			}
		}
	}
}

// noted is a lease that is held.
type noted struct {
	number  uint64
	sampled bool
}

// noted returns the leases that are held, by resource, and how many of them were not sampled.
func (ls *leases) noted() (all map[uint64]noted, unsampled int) {
	all = make(map[uint64]noted)
	for i := range ls.shards {
		s := &ls.shards[i]
		s.mu.Lock()
		for id, l := range s.byID {
			all[id] = noted{l.number, l.depth > 0}
			if l.depth == 0 {
				unsampled++
			}
		}
		s.mu.Unlock()
	}
	return all, unsampled
}

// found adds an overdue lease; added is false if it was there before. late is that of
// addLocked.
func (ls *leases) found(id, number uint64, began time.Time) (h Held, added bool, late Held) {
	s := ls.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	l, late := s.addLocked(id, number)
	if l != nil {
		l.began, l.overdue = began, true
		s.overdue++
		ls.m.reports.begin(id, number)
		h, added = l.held(time.Now()), true
	}
	return h, added, late
}

func (m *Meter) reportOverdue(h Held) {
	m.events.add("overdue", h.acquirer(), func() string { return h.describe() })
	_ = m.contain(func() { m.logger().Warn("lease is overdue", m.attrs(h)...) })
	if f := m.cfg.OnOverdue; f != nil {
		_ = m.contain(func() { f(h) })
	}
}

// reportDropped reports a lease that its holder did not end.
func (m *Meter) reportDropped(h Held) {
	m.events.add("dropped", h.acquirer(), func() string { return h.describe() })
	_ = m.contain(func() { m.logger().Warn("lease was dropped without being ended", m.attrs(h)...) })
	if f := m.cfg.OnDropped; f != nil {
		_ = m.contain(func() { f(h) })
	}
}

// describe returns a few words about h.
func (h Held) describe() string {
	what := fmt.Sprintf("resource %d, lease %d, for %v", h.ID, h.Lease, h.For.Round(time.Millisecond))
	if f := h.acquirer(); f != "" {
		what += ", by " + f
	}
	return what
}

// acquirer returns the function that acquired the lease; "" if it is not known. It is
// the label of the event, so that a leak does not displace all other events.
func (h Held) acquirer() string {
	if len(h.Stack) == 0 {
		return ""
	}
	return h.Stack[0].Func
}

// returned reports that an overdue lease has ended, or leaves it to the goroutine that
// is going to report that the lease is overdue.
func (m *Meter) returned(h Held) {
	if !m.reports.defers(h) {
		m.reportReturned(h)
	}
}

func (m *Meter) reportReturned(h Held) {
	cause := ""
	if h.Ended != nil {
		cause = text.Of(h.Ended)
	}
	m.events.add("returned", h.acquirer(), func() string {
		what := fmt.Sprintf("resource %d, overdue lease %d, after %v", h.ID, h.Lease, h.For.Round(time.Millisecond))
		if cause != "" {
			what += ", destroyed: " + cause
		}
		return what
	})
	attrs := m.attrs(h)
	if cause != "" {
		attrs = append(attrs, "cause", cause)
	}
	_ = m.contain(func() { m.logger().Info("overdue lease has ended", attrs...) })
	if f := m.cfg.OnReturned; f != nil {
		_ = m.contain(func() { f(h) })
	}
}

func (m *Meter) logger() *slog.Logger {
	if m.cfg.Logger != nil {
		return m.cfg.Logger
	}
	return slog.Default()
}

// attrs returns the attributes of a lease in a log line.
func (m *Meter) attrs(h Held) []any {
	a := []any{"pool", m.name, "resource", h.ID, "lease", h.Lease, "held", h.For}
	if h.Class != "" {
		a = append(a, "class", h.Class)
	}
	stack := stackText(h.Stack)
	if stack == "" {
		stack = "unknown: the lease was not sampled; "
		if rest := time.Until(time.Unix(0, m.sampledUntil.Load())); rest > 0 {
			stack += fmt.Sprintf("those that begin in the next %v are; ", rest.Round(time.Second))
		}
		stack += "with SampleLeases: 1 all are"
	}
	return append(a, "stack", stack)
}

// stackText returns a stack in one line, innermost first.
func stackText(stack []Frame) string {
	var b strings.Builder
	for i, f := range stack {
		if i > 0 {
			b.WriteString(" < ")
		}
		fmt.Fprintf(&b, "%s (%s:%d)", f.Func, f.File, f.Line)
	}
	return b.String()
}
