package wspool

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/wspool/internal/wsconn"
)

// thinkTime is how long a lease may leave its connection unread before the connection
// is watched, so that pings are answered meanwhile: soon enough for servers that allow a
// third of a second. Beside a lease that thinks for so long the hand-over of its next
// message costs nothing. It is noticed at the next tick of the monitor: 10 ms later with
// the default WatchAfter, thinkTime later at most.
const thinkTime = 100 * time.Millisecond

// monitor knows which connections of a pool are not watched and when the keepalive of
// each is to be checked next. It has two timers for all of them; while every connection
// is watched and no check is due, neither runs. T is the connection.
type monitor[T any] struct {
	step  time.Duration // between two ticks
	idle  uint64        // for how many ticks an idle connection may stay hot
	early int64         // how much earlier a check may be made, together with one that is due
	tick  atomic.Uint64 // how many there have been
	clock wsconn.Clock
	level *atomic.Int64 // counts unwatched connections, of all pools that share it

	// What the timers call, on goroutines of their own: beginTick to endTick, and
	// dueChecks.
	onTick, onAlarm func()

	// Guarded by mu.
	mu      sync.Mutex
	loose   []*monitored[T] // the unwatched ones
	ticking bool
	ticker  *time.Timer
	alarms  alarms[T]
	alarm   *time.Timer
	at      int64 // when alarm fires; 0: it does not
}

// Waking up for one ping costs several times what the ping does. So checks that are due
// soon are made together with one that is due: earlier by KeepAlive/earlyPart and
// maxEarly at most.
const (
	earlyPart = 128
	maxEarly  = 100 * time.Millisecond
)

// monitored is one connection's part of a monitor. monitor.mu guards all but owner.
type monitored[T any] struct {
	owner T
	loose int   // index in monitor.loose plus 1; 0: not in it; -1: forgotten
	place int   // index in monitor.alarms plus 1; likewise
	due   int64 // of the next check
}

func (m *monitor[T]) start(cfg *Config, c wsconn.Clock, level *atomic.Int64, onTick, onAlarm func()) {
	m.clock, m.level, m.onTick, m.onAlarm = c, level, onTick, onAlarm
	m.early = int64(min(cfg.KeepAlive/earlyPart, maxEarly))
	m.step, m.idle = thinkTime, 2 // the first tick may come at once
	if after := cfg.WatchAfter; after > 0 {
		m.step = min(m.step, after)
		m.idle += uint64((after - 1) / m.step)
	}
}

// overdue reports whether a connection that has been unread for so many ticks is to be
// watched.
func (m *monitor[T]) overdue(ticks uint64, leased bool) bool {
	if leased {
		return time.Duration(ticks)*m.step >= thinkTime
	}
	return ticks >= m.idle
}

// forget removes n for good.
func (m *monitor[T]) forget(n *monitored[T]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.removeLocked(n)
	if n.place > 0 {
		heap.Remove(&m.alarms, n.place-1)
	}
	n.place, n.loose = -1, -1
	if len(m.loose) == 0 && m.ticker != nil {
		m.ticker.Stop()
		m.ticking = false
	}
	if len(m.alarms) == 0 && m.alarm != nil {
		m.alarm.Stop()
		m.at = 0
	}
}

// unwatched notes that n is not watched.
func (m *monitor[T]) unwatched(n *monitored[T]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n.loose != 0 {
		return
	}
	m.loose = append(m.loose, n)
	n.loose = len(m.loose)
	m.level.Add(1)
	if m.ticking {
		return
	}
	m.ticking = true
	if m.ticker == nil {
		m.ticker = time.AfterFunc(m.step, m.onTick)
	} else {
		m.ticker.Reset(m.step)
	}
}

// watched notes that n is watched.
func (m *monitor[T]) watched(n *monitored[T]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.removeLocked(n)
}

func (m *monitor[T]) removeLocked(n *monitored[T]) {
	i := n.loose
	if i <= 0 {
		return
	}
	last := len(m.loose) - 1
	m.loose[i-1] = m.loose[last]
	m.loose[i-1].loose = i
	m.loose[last] = nil
	m.loose = m.loose[:last]
	n.loose = 0
	m.level.Add(-1)
}

// beginTick returns the number of this tick and the connections that are not watched.
func (m *monitor[T]) beginTick() (tick uint64, loose []T) {
	tick = m.tick.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.loose {
		loose = append(loose, n.owner)
	}
	return tick, loose
}

// endTick schedules the next tick, if there is anything left to look at.
func (m *monitor[T]) endTick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ticking = len(m.loose) > 0; m.ticking {
		m.ticker.Reset(m.step)
	}
}

// checkAt schedules the next check of n; 0: none.
func (m *monitor[T]) checkAt(n *monitored[T], at int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at == 0 || n.place < 0 {
		return
	}
	n.due = at
	if n.place > 0 {
		heap.Fix(&m.alarms, n.place-1)
	} else {
		heap.Push(&m.alarms, n)
	}
	m.setAlarmLocked()
}

// setAlarmLocked sets the timer for the first check.
func (m *monitor[T]) setAlarmLocked() {
	if len(m.alarms) == 0 {
		return
	}
	at := m.alarms[0].due
	if m.at != 0 && m.at <= at {
		return
	}
	m.at = at
	wait := time.Duration(max(0, at-m.clock.Now()))
	if m.alarm == nil {
		m.alarm = time.AfterFunc(wait, m.onAlarm)
	} else {
		m.alarm.Reset(wait)
	}
}

// dueCheck is a check that is due.
type dueCheck[T any] struct {
	owner T
	late  time.Duration // by how much it is late; negative if it is early
}

// dueChecks removes and returns the checks that are due, and the time now.
func (m *monitor[T]) dueChecks() (now int64, due []dueCheck[T]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = 0
	now = m.clock.Now()
	for len(m.alarms) > 0 && m.alarms[0].due <= now+m.early {
		n := heap.Pop(&m.alarms).(*monitored[T])
		due = append(due, dueCheck[T]{n.owner, time.Duration(now - n.due)})
	}
	m.setAlarmLocked()
	return now, due
}

// hurry makes all checks due now.
func (m *monitor[T]) hurry() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Now()
	for _, n := range m.alarms {
		n.due = now
	}
	m.setAlarmLocked()
}

// alarms is a heap, the first due in front.
type alarms[T any] []*monitored[T]

func (a alarms[T]) Len() int           { return len(a) }
func (a alarms[T]) Less(i, j int) bool { return a[i].due < a[j].due }

func (a alarms[T]) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i+1, j+1
}

func (a *alarms[T]) Push(x any) {
	n := x.(*monitored[T])
	*a = append(*a, n)
	n.place = len(*a)
}

func (a *alarms[T]) Pop() any {
	old := *a
	n := old[len(old)-1]
	old[len(old)-1] = nil
	*a = old[:len(old)-1]
	n.place = 0
	return n
}
