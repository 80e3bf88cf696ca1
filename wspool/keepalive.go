package wspool

import (
	"container/heap"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/wspool/internal/wsconn"
)

const (
	// pingPrefix marks our pings.
	pingPrefix = "wspool "

	// maxPongs is how many pings may wait for their answers.
	maxPongs = 16

	// maxPongWait bounds how long the writing of a pong may take.
	maxPongWait = 5 * time.Second

	// unreadWait is how soon a connection with unread bytes is checked again.
	unreadWait = 100 * time.Millisecond

	// maxPardons is how often a peer gets PongWait again for one ping: a dead peer must
	// be found also where timers are late all the time.
	maxPardons = 3

	// pausePart: a timer that is late by PongWait/pausePart shows that the process stood
	// still.
	pausePart = 4
)

// stoodStill reports whether a timer that fires late by that much shows that the process
// stood still. wait is how long the peer has for its answer.
func stoodStill(late, wait time.Duration) bool { return late >= wait/pausePart }

// keepalive decides when a ping is sent and when a peer is dead, and matches pongs with
// pings. The connection's lock guards it.
type keepalive struct {
	silence  time.Duration // how long nothing may arrive before a ping is sent
	patience time.Duration // PongWait
	rtt      atomic.Int64  // smoothed round-trip time in ns; 0: not known

	// The ping whose answer is awaited.
	asked   int64  // when it was sent; 0: none is
	sent    uint64 // RawConn.Progress at that time
	left    bool   // the ping has been written
	pardons int    // how often the process stood still since
	waited  bool   // since then a check has found the lease inside a message

	nonce  uint64          // of the last ping
	at     int64           // when that was sent; 0: it was answered
	echoes map[uint64]echo // pings that goroutines wait for
	ponged chan struct{}   // closed at the next pong; nil: no goroutine waits for that
	gap    silentGap

	pongs     []string // payloads to be sent, the newest last
	answering bool     // a goroutine sends them
}

// silentGap is the last silence that was longer than a live peer's may be (see
// FrameConn.Gap). Bytes that are read at its end may have been sent long before, and do
// not show that the peer lives; only the answer to a ping sent after the gap does.
type silentGap struct {
	at     int64  // the gap that was the last when a ping was last sent
	before uint64 // nonce of the last ping before that gap
	over   int64  // the last gap after which the peer has answered a ping
}

// echo is a ping that a goroutine waits for.
type echo struct {
	at   int64
	took chan time.Duration // has room for one
}

func newKeepalive(cfg *Config, jitter float64) keepalive {
	return keepalive{silence: cfg.KeepAlive - time.Duration(jitter*float64(cfg.KeepAlive)/10), patience: cfg.PongWait}
}

// pingFacts are what check decides by.
type pingFacts struct {
	now      int64
	late     time.Duration // of the timer that calls check
	lastRead int64
	suspect  int64  // a peer from which nothing has been read since then must answer a ping
	early    int64  // how much earlier than due a ping may be sent
	progress uint64 // RawConn.Progress
	stalled  bool   // a message waits for the lease to read it
	open     bool   // the lease is inside a message
	readable bool   // something has arrived that was not read yet
}

// verdict is what check decides.
type verdict uint8

const (
	verdictWait verdict = iota
	verdictPing         // send a ping
	verdictDead         // the peer is silent
)

// awaited reports whether a pong is awaited.
func (k *keepalive) awaited() bool { return k.asked != 0 }

// expired reports whether the answer to a ping has had its time.
func (k *keepalive) expired(now int64) bool {
	return k.asked != 0 && now >= k.asked+int64(k.patience)
}

// check decides what is to be done now, and when to check next.
func (k *keepalive) check(f pingFacts) (v verdict, next int64) {
	if k.asked != 0 && f.lastRead >= k.asked {
		k.asked = 0
	}
	if k.asked != 0 {
		return k.overdue(f)
	}
	if due := f.lastRead + int64(k.silence); f.now+f.early < due && f.lastRead >= f.suspect {
		return verdictWait, due
	}
	return verdictPing, f.now + min(int64(k.patience), k.pace())
}

// pace is how soon after a ping the connection is checked again: once the ping is answered
// the next one can be due before PongWait is over.
func (k *keepalive) pace() int64 { return int64(max(k.silence, time.Millisecond)) }

// overdue is check where a ping has not been answered. The timer that finds it overdue
// may run before the goroutine that reads the answer, so f.readable is consulted. Where
// nothing can be known, and where the answer has not come while the process stood still,
// the peer gets PongWait again.
func (k *keepalive) overdue(f pingFacts) (v verdict, next int64) {
	patience := int64(k.patience)
	if !k.expired(f.now) {
		return verdictWait, min(k.asked+patience, f.now+k.pace())
	}
	next = f.now + patience
	switch {
	case f.progress != k.sent:
		// A ping behind a large write has not arrived, or not even left; that the
		// network takes more is a sign of life.
		if !k.left {
			return verdictPing, next
		}
		k.waited = false
	case f.stalled:
		k.waited = false // a pong behind an unread message cannot be seen
	case f.open && !k.waited:
		k.waited = true // but the lease may have begun to read it only just now
	case f.readable:
		return verdictWait, f.now + min(patience, int64(unreadWait))
	case k.pardons < maxPardons && stoodStill(f.late, k.patience):
		k.pardons++
	default:
		return verdictDead, 0
	}
	k.asked, k.sent = f.now, f.progress
	return verdictWait, next
}

// ask notes that a ping is sent whose answer check waits for, and returns its nonce.
func (k *keepalive) ask(now, gap int64, progress uint64) (nonce uint64) {
	k.asked, k.sent, k.left, k.waited, k.pardons = now, progress, false, false, 0
	return k.next(now, gap)
}

// next returns the nonce of a ping that is sent now; gap is FrameConn.Gap.
func (k *keepalive) next(now, gap int64) (nonce uint64) {
	if gap != k.gap.at {
		k.gap.at, k.gap.before = gap, k.nonce
	}
	k.nonce++
	k.at = now
	return k.nonce
}

// wrote notes that the ping was written.
func (k *keepalive) wrote(nonce uint64) {
	k.left = k.left || nonce == k.nonce
}

// readOn notes that the lease has read a message to its end. If a pong is awaited that
// may be behind it, the time before now does not count. It reports whether the
// connection is to be read on for a pong.
func (k *keepalive) readOn(c wsconn.Clock, lastRead int64) bool {
	late := k.asked > lastRead
	if late {
		k.asked = c.Now() // the clock is read only here: most reads await no pong
	}
	return late || len(k.echoes) > 0
}

// pong handles a pong. If it answers neither the last ping nor one that a goroutine waits
// for, it is a sign of life like any other byte, and nothing more.
func (k *keepalive) pong(payload string, now int64) {
	if len(payload) <= len(pingPrefix) || payload[:len(pingPrefix)] != pingPrefix {
		return
	}
	nonce, err := strconv.ParseUint(payload[len(pingPrefix):], 16, 64)
	if err != nil {
		return
	}
	if nonce > k.gap.before && nonce <= k.nonce {
		k.gap.over = k.gap.at
	}
	if k.ponged != nil {
		close(k.ponged)
		k.ponged = nil
	}
	if e, ok := k.echoes[nonce]; ok {
		delete(k.echoes, nonce)
		e.took <- time.Duration(now - e.at)
	}
	if nonce == k.nonce && k.at != 0 {
		took := now - k.at
		if old := k.rtt.Load(); old != 0 {
			took = old + (took-old)/8 // RFC 6298, section 2
		}
		k.rtt.Store(max(1, took))
		k.at = 0
	}
}

// vouched reports whether the peer has answered a ping since that gap.
func (k *keepalive) vouched(gap int64) bool { return gap == k.gap.over }

// await registers a goroutine that waits for the answer to the ping nonce.
func (k *keepalive) await(nonce uint64, e echo) {
	if k.echoes == nil {
		k.echoes = make(map[uint64]echo)
	}
	k.echoes[nonce] = e
}

// anyPong returns a channel that is closed at the next pong.
func (k *keepalive) anyPong() <-chan struct{} {
	if k.ponged == nil {
		k.ponged = make(chan struct{})
	}
	return k.ponged
}

// queuePong notes that a ping is to be answered, and reports whether a goroutine has to
// be started that sends pongs. If too many pings arrive before their answers could be
// sent, the oldest are not answered, as RFC 6455, section 5.5.3, allows.
func (k *keepalive) queuePong(payload string) (start bool) {
	if len(k.pongs) == maxPongs {
		k.pongs = slices.Delete(k.pongs, 0, 1)
	}
	k.pongs = append(k.pongs, payload)
	start = !k.answering
	k.answering = true
	return start
}

// nextPong returns the next pong to be sent; false: there is none, and the goroutine
// that sends them ends.
func (k *keepalive) nextPong() (payload string, ok bool) {
	if len(k.pongs) == 0 {
		k.pongs, k.answering = nil, false
		return "", false
	}
	payload = k.pongs[0]
	k.pongs = slices.Delete(k.pongs, 0, 1)
	return payload, true
}

// checkAlive sends a ping if nothing has arrived for too long, or takes the connection
// out of use if nothing has arrived since the last ping. late is by how much it is called
// later than planned. It returns when to check next, 0 for never.
func (l *link) checkAlive(now int64, late time.Duration) (next int64) {
	l.mu.Lock()
	if !l.end.usable() {
		l.mu.Unlock()
		return 0
	}
	if l.reservedLocked() {
		l.mu.Unlock()
		return now + int64(time.Millisecond) // the hijack may be undone
	}
	k := &l.keepalive
	if k.awaited() && l.watchableLocked() { // the answer may have arrived unread
		l.startWatchLocked()
	}
	v, next := k.check(pingFacts{
		now: now, late: late, lastRead: l.frames.LastRead.Load(), suspect: l.hub.suspect.Load(), early: l.hub.monitor.early,
		progress: l.raw.Progress(), stalled: l.watch.stalled(), open: l.watch.open,
		readable: k.expired(now) && l.raw.Readable(),
	})
	if v == verdictPing {
		if l.watchableLocked() { // else the pong would not be read
			l.startWatchLocked()
		}
		l.senders++
		go l.ping(k.ask(now, l.frames.Gap(), l.raw.Progress()))
	}
	l.mu.Unlock()
	if v == verdictDead {
		l.fail(fmt.Errorf("%w for %v", ErrSilent, l.hub.cfg.PongWait))
	}
	return next
}

// ping sends a ping. That it could not be sent while a message is written is no fault;
// that the network took no bytes is.
func (l *link) ping(nonce uint64) {
	data := strconv.AppendUint([]byte(pingPrefix), nonce, 16)
	err := l.ws.WriteControl(websocket.PingMessage, data, time.Now().Add(l.hub.cfg.PongWait))
	if fatal(err) {
		l.fail(fmt.Errorf("wspool: ping: %w", err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.keepalive.wrote(nonce)
	}
	l.sentLocked()
}

// fatal reports whether err, from WriteControl, ends all writing, and is not a consequence of
// a close frame that was sent before.
func fatal(err error) bool {
	var temporary interface{ Temporary() bool }
	return err != nil && !foreign.Is(err, websocket.ErrCloseSent) &&
		!(foreign.As(err, &temporary) && temporary.Temporary())
}

// sendPongs sends the pongs that are queued, without keeping the reader.
func (l *link) sendPongs() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		payload, ok := l.keepalive.nextPong()
		if !ok {
			l.sentLocked()
			return
		}
		l.mu.Unlock()
		by := time.Now().Add(min(l.hub.cfg.WriteTimeout, maxPongWait))
		if err := l.ws.WriteControl(websocket.PongMessage, []byte(payload), by); fatal(err) {
			l.fail(fmt.Errorf("wspool: answering a ping: %w", err))
		}
		l.mu.Lock()
	}
}

// Ping sends a ping and returns its round-trip time. It blocks until the pong has
// arrived, and fails with ctx's error, [ErrReleased], or the error that ended the
// connection. A pong behind a message that the lease has not read is not seen until the
// lease has read that. [Config.PongWait] does not bound it: pass a ctx that ends.
func (c *Conn) Ping(ctx context.Context) (time.Duration, error) {
	defer runtime.KeepAlive(c)
	if !c.begin() {
		return 0, ErrReleased
	}
	defer c.finish()
	took, err := c.link.roundTrip(ctx, nil)
	return took, c.orReleased(err)
}

// roundTrip sends a ping and waits for its answer, or until enough, which is called
// after each pong, reports that waiting is no longer needed; nil: it never is.
func (l *link) roundTrip(ctx context.Context, enough func() bool) (time.Duration, error) {
	e := echo{at: l.hub.clock.Now(), took: make(chan time.Duration, 1)}
	k := &l.keepalive
	l.mu.Lock()
	if l.end.cause != nil {
		defer l.mu.Unlock()
		return 0, l.end.cause
	}
	if l.watchableLocked() {
		l.startWatchLocked()
	}
	nonce := k.next(e.at, l.frames.Gap())
	k.await(nonce, e)
	var ponged <-chan struct{}
	if enough != nil {
		ponged = k.anyPong()
	}
	l.senders++
	gone := l.end.done()
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(k.echoes, nonce)
	}()
	go l.ping(nonce)
	for {
		select {
		case took := <-e.took:
			return took, nil
		case <-gone:
			return 0, l.cause()
		case <-ctx.Done():
			return 0, fmt.Errorf("wspool: ping: %w", ctx.Err())
		case <-ponged:
			l.mu.Lock()
			ponged = k.anyPong()
			l.mu.Unlock()
			if enough() {
				return 0, nil
			}
		}
	}
}

// thinkTime is how long a lease may leave its connection unread before the connection
// is watched, so that pings are answered meanwhile: soon enough for servers that allow a
// third of a second. For a lease that has not read for so long the cost of the hand-over of
// its next message does not matter. The monitor notices at its next tick: 10 ms later with
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
	open    []*monitored[T] // the unwatched ones
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
	index int32 // index in monitor.open plus 1; 0: not in it; -1: forgotten
	alarm int32 // index in monitor.alarms plus 1; likewise
	due   int64 // of the next check
}

func (m *monitor[T]) start(keepAlive, watchAfter time.Duration, c wsconn.Clock, level *atomic.Int64, onTick, onAlarm func()) {
	m.clock, m.level, m.onTick, m.onAlarm = c, level, onTick, onAlarm
	m.early = int64(min(keepAlive/earlyPart, maxEarly))
	m.step, m.idle = thinkTime, 2 // the first tick may come at once
	if watchAfter > 0 {
		m.step = min(m.step, watchAfter)
		m.idle += uint64((watchAfter - 1) / m.step)
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
	if n.alarm > 0 {
		heap.Remove(&m.alarms, int(n.alarm-1))
	}
	n.alarm, n.index = -1, -1
	if len(m.open) == 0 && m.ticker != nil {
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
	if n.index != 0 {
		return
	}
	m.open = append(m.open, n)
	n.index = int32(len(m.open))
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
	i := n.index
	if i <= 0 {
		return
	}
	last := len(m.open) - 1
	m.open[i-1] = m.open[last]
	m.open[i-1].index = i
	m.open[last] = nil
	m.open = m.open[:last]
	n.index = 0
	m.level.Add(-1)
}

// beginTick returns the number of this tick and the connections that are not watched.
func (m *monitor[T]) beginTick() (tick uint64, unwatched []T) {
	tick = m.tick.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.open {
		unwatched = append(unwatched, n.owner)
	}
	return tick, unwatched
}

// endTick schedules the next tick, if there is anything left to look at.
func (m *monitor[T]) endTick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ticking = len(m.open) > 0; m.ticking {
		m.ticker.Reset(m.step)
	}
}

// checkAt schedules the next check of n; 0: none.
func (m *monitor[T]) checkAt(n *monitored[T], at int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at == 0 || n.alarm < 0 {
		return
	}
	n.due = at
	if n.alarm > 0 {
		heap.Fix(&m.alarms, int(n.alarm-1))
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

// hurry sets all checks to be due now.
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
	a[i].alarm, a[j].alarm = int32(i+1), int32(j+1)
}

func (a *alarms[T]) Push(x any) {
	n := x.(*monitored[T])
	*a = append(*a, n)
	n.alarm = int32(len(*a))
}

func (a *alarms[T]) Pop() any {
	old := *a
	n := old[len(old)-1]
	old[len(old)-1] = nil
	*a = old[:len(old)-1]
	n.alarm = 0
	return n
}
