package wspool

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"
)

// thinkTime is how long a lease may leave its connection unread before a watcher
// reads it, so that pings are answered meanwhile: soon enough for servers that
// give them a third of a second. Beside a lease that thinks for so long, what the
// hand-over of its next message costs is nothing.
const thinkTime = 100 * time.Millisecond

// keeper looks after all connections of a pool: it puts watchers to those that
// nobody has read for a while, and sends pings where nothing came in. It has two
// timers for all of them, and while every connection is watched and none is due
// neither runs.
type keeper struct {
	hub  *hub
	step time.Duration // between ticks
	cool uint64        // for how many an idle connection may stay unwatched
	tick atomic.Uint64 // how many there have been

	mu      sync.Mutex
	loose   []*link // those without a watcher
	ticking bool
	ticker  *time.Timer
	alarms  alarms
	alarm   *time.Timer
	at      int64 // when alarm goes off; 0: it does not
	early   int64 // how much earlier a ping may be sent, together with one that is due
}

// To wake for one ping costs several times what the ping does. So those that are
// due soon go with it: earlier by this part of KeepAlive, and maxEarly, at most.
const (
	earlyPart = 128
	maxEarly  = 100 * time.Millisecond
)

// care is what the keeper keeps in a link.
type care struct {
	since  uint64       // the tick when it was last read, or given back; guarded by link.mu
	rtt    atomic.Int64 // smoothed; 0: not known
	loose  int          // place in keeper.loose, from 1; 0: in none; guarded by keeper.mu
	place  int          // in keeper.alarms, from 1; 0: in none; guarded by keeper.mu
	due    int64        // guarded by keeper.mu
	spread float64      // what KeepAlive is shortened by, of a tenth

	pulse  pulse  // guarded by link.mu
	strays strays // the watcher's
}

func (k *keeper) start(h *hub) {
	k.hub = h
	k.early = int64(min(h.cfg.KeepAlive/earlyPart, maxEarly))
	k.step, k.cool = thinkTime, 2 // the first tick may come at once
	if after := h.cfg.WatchAfter; after > 0 {
		k.step = min(k.step, after)
		k.cool += uint64((after - 1) / k.step)
	}
}

// adopt takes a new link into its care, with nobody reading it.
func (k *keeper) adopt(l *link) {
	k.untied(l)
	if k.hub.cfg.KeepAlive > 0 {
		k.wakeAt(l, k.hub.clock.Now()+int64(l.silence()))
	}
}

// forget lets go of l, for good.
func (k *keeper) forget(l *link) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remove(l)
	if i := l.care.place; i > 0 {
		heap.Remove(&k.alarms, i-1)
	}
	l.care.place, l.care.loose = -1, -1
	if len(k.loose) == 0 && k.ticker != nil {
		k.ticker.Stop()
		k.ticking = false
	}
	if len(k.alarms) == 0 && k.alarm != nil {
		k.alarm.Stop()
		k.at = 0
	}
}

// untied notes that nobody watches l, tied that somebody does. l is locked, or
// not shared yet.
func (k *keeper) untied(l *link) {
	l.care.since = k.tick.Load()
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.care.loose != 0 {
		return
	}
	k.loose = append(k.loose, l)
	l.care.loose = len(k.loose)
	k.hub.count.unwatched.Add(1)
	if k.ticking {
		return
	}
	k.ticking = true
	if k.ticker == nil {
		k.ticker = time.AfterFunc(k.step, k.onTick)
	} else {
		k.ticker.Reset(k.step)
	}
}

func (k *keeper) tied(l *link) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.remove(l)
}

// remove takes l out of loose. k is locked.
func (k *keeper) remove(l *link) {
	i := l.care.loose
	if i <= 0 {
		return
	}
	last := len(k.loose) - 1
	k.loose[i-1] = k.loose[last]
	k.loose[i-1].care.loose = i
	k.loose[last] = nil
	k.loose = k.loose[:last]
	l.care.loose = 0
	k.hub.count.unwatched.Add(-1)
}

// onTick looks at the links without a watcher.
func (k *keeper) onTick() {
	tick := k.tick.Add(1)
	k.mu.Lock()
	loose := append([]*link(nil), k.loose...)
	k.mu.Unlock()
	k.aged(k.hub.clock.Now())
	for _, l := range loose {
		l.tend(tick)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ticking = len(k.loose) > 0; k.ticking {
		k.ticker.Reset(k.step)
	}
}

// tend puts a watcher to l if nobody has read it for too long: for WatchAfter if
// it is idle, for thinkTime if it is leased. A read that has gone on since the
// last tick is hooked to its context.
func (l *link) tend(tick uint64) {
	l.raw.HookContext(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.watchable() {
		return
	}
	k := &l.hub.keeper
	still := tick - l.care.since
	if l.tenant == nil && still >= k.cool || l.tenant != nil && time.Duration(still)*k.step >= thinkTime {
		l.startWatch()
	}
}

// watchable reports whether l has nobody who reads it, and may be read. l is
// locked.
func (l *link) watchable() bool {
	return l.reader == nobody && !l.unread() && !l.closing && l.cause == nil
}

// wakeAt has l's pulse felt at a time, 0 for never.
func (k *keeper) wakeAt(l *link, at int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if at == 0 || l.care.place < 0 {
		return
	}
	l.care.due = at
	if i := l.care.place; i > 0 {
		heap.Fix(&k.alarms, i-1)
	} else {
		heap.Push(&k.alarms, l)
	}
	k.setAlarm()
}

// setAlarm sets the timer for the first of the alarms. k is locked.
func (k *keeper) setAlarm() {
	if len(k.alarms) == 0 {
		return
	}
	at := k.alarms[0].care.due
	if k.at != 0 && k.at <= at {
		return
	}
	k.at = at
	wait := time.Duration(max(0, at-k.hub.clock.Now()))
	if k.alarm == nil {
		k.alarm = time.AfterFunc(wait, k.onAlarm)
	} else {
		k.alarm.Reset(wait)
	}
}

// onAlarm feels the pulse of those that are due.
func (k *keeper) onAlarm() {
	type one struct {
		l    *link
		late time.Duration
	}
	k.mu.Lock()
	k.at = 0
	t := k.hub.clock.Now()
	var due []one
	for len(k.alarms) > 0 && k.alarms[0].care.due <= t+k.early {
		l := heap.Pop(&k.alarms).(*link)
		due = append(due, one{l, time.Duration(t - l.care.due)})
	}
	k.setAlarm()
	k.mu.Unlock()
	k.aged(t)
	for _, d := range due {
		k.wakeAt(d.l, d.l.feel(t, d.late))
	}
}

// aged has connections prove that they are alive that have been silent for longer
// than they may, hot ones too: both timers run late, and soon, when the process
// has stood still.
func (k *keeper) aged(t int64) {
	if k.hub.cfg.KeepAlive > 0 {
		k.hub.suspectBefore(t - k.hub.longestSilence())
	}
}

// hurry feels everybody's pulse now.
func (k *keeper) hurry() {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.hub.clock.Now()
	for _, l := range k.alarms {
		l.care.due = t
	}
	k.setAlarm()
}

// alarms is a heap, the first due in front.
type alarms []*link

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].care.due < a[j].care.due }

func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].care.place, a[j].care.place = i+1, j+1
}

func (a *alarms) Push(x any) {
	l := x.(*link)
	*a = append(*a, l)
	l.care.place = len(*a)
}

func (a *alarms) Pop() any {
	old := *a
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*a = old[:len(old)-1]
	l.care.place = 0
	return l
}
