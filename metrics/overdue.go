package metrics

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/respool/respool/resource"
)

// scan looks for leases that are overdue, reports them, and sees to it that it
// is called again when the next can be. One that begins after a scan cannot be
// overdue before Overdue is over, so while leases are short, or there are none,
// that is all it costs: one look in so long, and no goroutine in between.
func (m *Meter) scan() {
	now := time.Now()
	next := m.cfg.Overdue
	defer func() { m.scanAgain(next) }() // also if what is called ends the goroutine
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

// doAll calls all, also those behind one that ends the goroutine.
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

// report reports a lease that is overdue, unless the meter is closed, and then,
// if it has ended since it was found, that.
func (m *Meter) report(h Held) {
	defer func() {
		if ended := m.telling.end(h.ID, h.Lease); ended != nil && m.watches() {
			m.tellReturned(*ended)
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

// due marks and returns the leases that have lasted for limit and are not
// marked yet, and says when the next could have.
func (ls *leases) due(now time.Time, limit time.Duration) (due []Held, next time.Duration) {
	next = limit
	for i := range ls.shards {
		var marked []lease
		s := &ls.shards[i]
		s.mu.Lock()
		for _, l := range s.byID {
			switch lasted := now.Sub(l.began); {
			case l.overdue:
			case lasted >= limit:
				l.overdue = true
				s.overdue++
				ls.m.telling.begin(l.id, l.number)
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

// unseen finds overdue leases whose beginning was not sampled, as the pool lists
// them, and notes them, to know when they end. What is to be told of them is left
// to do; and to forget those that have ended before they were noted.
func (m *Meter) unseen(now time.Time) (todo []func(), next time.Duration) {
	next = m.cfg.Overdue
	i, ok := m.inspect(0)
	if !ok {
		return nil, next
	}
	noted := m.leases.unsampled()
	if i.Leased == 0 && len(noted) == 0 {
		return nil, next
	}
	all := min(max(i.Max, i.Idle+i.Leased), math.MaxInt/4)
	if i, ok = m.inspect(2*all + 16); !ok { // it may be growing
		return nil, next
	}
	running := make(map[uint64]uint64)
	for _, r := range i.Resources {
		if r.State != resource.Leased {
			continue
		}
		number := uint64(r.Leases)
		running[r.ID] = number
		if r.Held < m.cfg.Overdue {
			next = min(next, m.cfg.Overdue-r.Held)
			continue
		}
		h, news, late := m.leases.found(r.ID, number, now.Add(-r.Held))
		if late.ID != 0 {
			todo = append(todo, func() { m.reportReturned(late) })
		}
		if news {
			todo = append(todo, func() { m.sampleMore(); m.report(h) })
		}
	}
	for id, number := range noted {
		if running[id] != number {
			todo = append(todo, func() { m.leases.end(resource.EndEvent{ID: id, Lease: number}) })
		}
	}
	return todo, next
}

// sampleAfterLeak is for how long every lease is sampled after one was overdue that
// was not.
const sampleAfterLeak = 10 * time.Minute

// sampleMore has the pool, if it can, sample every lease for a while: what leaks one
// lease usually leaks another, and then its stack is known.
func (m *Meter) sampleMore() {
	if src := m.src.Load(); src != nil {
		if s, ok := (*src).(interface{ SampleFor(time.Duration) }); ok {
			_ = m.contain(func() { s.SampleFor(sampleAfterLeak) })
		}
	}
}

// unsampled are the leases whose beginning was not sampled, by resource.
func (ls *leases) unsampled() map[uint64]uint64 {
	all := make(map[uint64]uint64)
	for i := range ls.shards {
		s := &ls.shards[i]
		s.mu.Lock()
		for id, l := range s.byID {
			if l.depth == 0 {
				all[id] = l.number
			}
		}
		s.mu.Unlock()
	}
	return all
}

// found notes an overdue lease; news is false if it was noted before. late is as
// place has it.
func (ls *leases) found(id, number uint64, began time.Time) (h Held, news bool, late Held) {
	s := ls.shelf(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	l, late := s.place(id, number)
	if l != nil {
		l.began, l.overdue = began, true
		s.overdue++
		ls.m.telling.begin(id, number)
		h, news = l.held(time.Now()), true
	}
	return h, news, late
}

func (m *Meter) reportOverdue(h Held) {
	m.events.add("overdue", h.who(), func() string { return h.words() })
	_ = m.contain(func() { m.logger().Warn("lease is overdue", m.attrs(h)...) })
	if f := m.cfg.OnOverdue; f != nil {
		_ = m.contain(func() { f(h) })
	}
}

// reportDropped tells of a lease that nobody ended, and by whom it was taken if
// that is known.
func (m *Meter) reportDropped(h Held) {
	m.events.add("dropped", h.who(), func() string { return h.words() })
	_ = m.contain(func() { m.logger().Warn("lease was dropped, not ended", m.attrs(h)...) })
	if f := m.cfg.OnDropped; f != nil {
		_ = m.contain(func() { f(h) })
	}
}

// words says in a few words what h is.
func (h Held) words() string {
	what := fmt.Sprintf("resource %d, lease %d, for %v", h.ID, h.Lease, h.For.Round(time.Millisecond))
	if who := h.who(); who != "" {
		what += ", by " + who
	}
	return what
}

// who is the function that acquired it; "" if that is not known. Events of many
// leases of one are counted together: a leak must not push out all others.
func (h Held) who() string {
	if len(h.Stack) == 0 {
		return ""
	}
	return h.Stack[0].Func
}

// reportReturned tells that an overdue lease has ended, or leaves that to who is
// about to tell that it is overdue.
func (m *Meter) reportReturned(h Held) {
	if !m.telling.keep(h) {
		m.tellReturned(h)
	}
}

func (m *Meter) tellReturned(h Held) {
	m.events.add("returned", h.who(), func() string {
		return fmt.Sprintf("resource %d, overdue lease %d, after %v", h.ID, h.Lease, h.For.Round(time.Millisecond))
	})
	_ = m.contain(func() { m.logger().Info("overdue lease has ended after all", m.attrs(h)...) })
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

// attrs is what a log line says of a lease.
func (m *Meter) attrs(h Held) []any {
	a := []any{"pool", m.name, "resource", h.ID, "lease", h.Lease, "held", h.For}
	if h.Class != "" {
		a = append(a, "class", h.Class)
	}
	said := stackText(h.Stack)
	if said == "" {
		said = "the lease was not sampled; the next ones are, and with SampleLeases: 1 every one is"
	}
	return append(a, "stack", said)
}

// stackText is a stack in one line, innermost first.
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
