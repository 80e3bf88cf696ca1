package wspool

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/wspool/internal/wsconn"
)

// pulse is the state of a link's pings and pongs. Its link's lock guards it.
type pulse struct {
	asked   int64           // when the ping was sent whose answer is awaited; 0: none is
	sent    uint64          // what the wire's progress was then
	left    bool            // it has been sent
	pardons int             // how often the process stood still since it was sent
	waited  bool            // the lease has waited in the midst of a message since
	nonce   uint64          // of the last ping
	at      int64           // when that was sent
	echoes  map[uint64]echo // pings that somebody waits for
	ponged  chan struct{}   // closed when the next pong comes; nil: nobody waits for that
	gap     gap
	senders int // goroutines that send a ping or pongs

	pongs     []string // what is to be sent, the newest last
	answering bool     // somebody sends them
}

// gap is what is known of a silence that was longer than a peer may keep: see
// tap.gap. What was read at its end may have been there for long and tells nothing
// of the peer: only the answer to a ping that was sent afterwards does.
type gap struct {
	at     int64  // which one, when the first ping since was sent
	before uint64 // nonce of the last ping before that
	over   int64  // the last one after which the peer has answered
}

// echo is a ping that somebody waits for.
type echo struct {
	at   int64
	took chan time.Duration // holds one
}

// pingPrefix marks our pings.
const pingPrefix = "wspool "

// silence is how long nothing may come in before l is sent a ping.
func (l *link) silence() time.Duration {
	d := l.hub.cfg.KeepAlive
	return d - time.Duration(l.care.spread*float64(d)/10)
}

// feel sends a ping if nothing has come in for too long, or takes l out of use
// if nothing has come since the last one. late is by how much it is called later
// than it should be. It returns when to feel again, 0 for never.
func (l *link) feel(t int64, late time.Duration) (next int64) {
	cfg := &l.hub.cfg
	l.mu.Lock()
	if l.closing || l.cause != nil {
		l.mu.Unlock()
		return 0
	}
	if l.evacuated() {
		l.mu.Unlock()
		return t + int64(time.Millisecond) // it may come back
	}
	p := &l.care.pulse
	if p.asked != 0 && l.watchable() { // the answer may have come, and nobody has looked
		l.startWatch()
	}
	heard := l.frames.LastRead.Load()
	if p.asked != 0 && heard >= p.asked {
		p.asked = 0
	}
	if p.asked != 0 {
		next = l.overdue(t, late)
		l.mu.Unlock()
		if next == 0 {
			l.fail(fmt.Errorf("%w for %v", ErrSilent, cfg.PongWait))
		}
		return next
	}
	if due := heard + int64(l.silence()); t+l.hub.keeper.early < due && heard >= l.hub.suspect.Load() {
		l.mu.Unlock()
		return due
	}
	if l.watchable() { // or nobody would read the pong
		l.startWatch()
	}
	l.query(t)
	l.mu.Unlock()
	return t + min(int64(cfg.PongWait), l.pace())
}

// pace is how soon to feel again a link that was sent a ping: once that is
// answered the next can be due before PongWait is over.
func (l *link) pace() int64 { return int64(max(l.silence(), time.Millisecond)) }

// query sends a ping that the keeper waits for. l is locked.
func (l *link) query(t int64) {
	p := &l.care.pulse
	p.asked, p.sent, p.left, p.waited, p.pardons = t, l.raw.Progress(), false, false, 0
	go l.ping(l.newPing(t))
}

// overdue is when to feel again a link that has been asked and has not answered,
// 0 if it had time enough. The timer that finds it overdue may run before the
// goroutine that reads the answer: so it looks first whether something has come.
// Where nobody can look, and where the answer has not come while the process stood
// still, the peer gets PongWait again. l is locked.
func (l *link) overdue(t int64, late time.Duration) (next int64) {
	p, patience := &l.care.pulse, int64(l.hub.cfg.PongWait)
	if t < p.asked+patience {
		return min(p.asked+patience, t+l.pace())
	}
	next, sent := t+patience, l.raw.Progress()
	switch {
	case sent != p.sent:
		// A ping behind much that is being sent has not arrived, or has not
		// even left; that the network takes more is a sign of life.
		if !p.left {
			l.query(t)
			return next
		}
		p.waited = false
	case l.pending.r != nil, l.open && l.reader == nobody:
		p.waited = false // what is behind a message that nobody reads cannot be seen
	case l.open && !p.waited:
		p.waited = true // but it may have begun to read only just now
	case l.raw.Readable():
		return t + min(patience, int64(readWait))
	case p.pardons < maxPardons && stoodStill(late, l.hub.cfg.PongWait):
		p.pardons++
	default:
		return 0
	}
	p.asked, p.sent = t, sent
	return next
}

// readWait is how soon to feel again a link that has something to be read.
const readWait = 100 * time.Millisecond

// maxPardons is how often a peer gets PongWait again for one ping: where timers
// are late all the time a dead one is to be found too.
const maxPardons = 3

// caughtUp has l read if a pong is awaited that may be behind the message which
// its lease has just read. The time before that does not count. l is locked.
func (l *link) caughtUp() {
	p := &l.care.pulse
	asked := p.asked > l.frames.LastRead.Load()
	if asked {
		p.asked = l.hub.clock.Now()
	}
	if (asked || len(p.echoes) > 0) && l.watchable() {
		l.startWatch()
	}
}

// newPing makes up the next ping. l is locked.
func (l *link) newPing(t int64) (nonce uint64) {
	p := &l.care.pulse
	if at := l.frames.Gap(); at != p.gap.at {
		p.gap.at, p.gap.before = at, p.nonce
	}
	p.nonce++
	p.at = t
	p.senders++
	return p.nonce
}

// ping sends one. That it could not wait its turn behind a message is no fault;
// that the network took no bytes is.
func (l *link) ping(nonce uint64) {
	data := strconv.AppendUint([]byte(pingPrefix), nonce, 16)
	err := l.ws.WriteControl(websocket.PingMessage, data, time.Now().Add(l.hub.cfg.PongWait))
	if fatal(err) {
		l.fail(fmt.Errorf("wspool: ping: %w", err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.care.pulse
	p.left = p.left || err == nil && nonce == p.nonce
	p.senders--
	l.freed.Broadcast()
}

// fatal reports whether err, of WriteControl, is the end of writing and not
// known by another name.
func fatal(err error) bool {
	var temporary interface{ Temporary() bool }
	return err != nil && !errors.Is(err, websocket.ErrCloseSent) &&
		!(errors.As(err, &temporary) && temporary.Temporary())
}

// handleControls deals with the pings and pongs that have arrived. It is for the
// goroutine that reads.
func (l *link) handleControls() {
	for _, c := range l.frames.TakeControls() {
		if c.Opcode == wsconn.Ping {
			l.pinged(c.Payload)
		} else {
			l.ponged(c.Payload)
		}
	}
}

// ponged takes in a pong. One that is not the answer to our last ping, or to one
// that somebody waits for, is a sign of life as any byte is, and nothing more.
func (l *link) ponged(data string) {
	if len(data) <= len(pingPrefix) || data[:len(pingPrefix)] != pingPrefix {
		return
	}
	nonce, err := strconv.ParseUint(data[len(pingPrefix):], 16, 64)
	if err != nil {
		return
	}
	t := l.hub.clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.care.pulse
	if nonce > p.gap.before && nonce <= p.nonce {
		p.gap.over = p.gap.at
	}
	if p.ponged != nil {
		close(p.ponged)
		p.ponged = nil
	}
	if e, ok := p.echoes[nonce]; ok {
		delete(p.echoes, nonce)
		e.took <- time.Duration(t - e.at)
	}
	if nonce == p.nonce && p.at != 0 {
		l.measured(t - p.at)
		p.at = 0
	}
}

// measured smooths the round-trip time as RFC 6298, section 2, does.
func (l *link) measured(took int64) {
	if old := l.care.rtt.Load(); old != 0 {
		took = old + (took-old)/8
	}
	l.care.rtt.Store(max(1, took))
}

// maxPongs is how many pings may wait for their answers.
const maxPongs = 16

// pinged answers a ping, without keeping the reader. Where too many come before
// the answers could be sent, the oldest are not answered, as RFC 6455 allows in
// section 5.5.3.
func (l *link) pinged(data string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.care.pulse
	if len(p.pongs) == maxPongs {
		p.pongs = slices.Delete(p.pongs, 0, 1)
	}
	p.pongs = append(p.pongs, data)
	if !p.answering {
		p.answering = true
		p.senders++
		go l.answer()
	}
}

// answer sends pongs as long as there are any to send.
func (l *link) answer() {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.care.pulse
	for len(p.pongs) > 0 {
		data := []byte(p.pongs[0])
		p.pongs = slices.Delete(p.pongs, 0, 1)
		l.mu.Unlock()
		by := time.Now().Add(min(l.hub.cfg.WriteTimeout, maxPongWait))
		if err := l.ws.WriteControl(websocket.PongMessage, data, by); fatal(err) {
			l.fail(fmt.Errorf("wspool: answering a ping: %w", err))
		}
		l.mu.Lock()
	}
	p.pongs = nil
	p.answering = false
	p.senders--
	l.freed.Broadcast()
}

// maxPongWait bounds how long a pong may take.
const maxPongWait = 5 * time.Second

// Ping sends a ping and returns how long its pong took. It blocks until that has
// come, and fails with ctx's error, [ErrReleased], or what ended the connection.
// A pong behind a message that the lease has not read is not seen until it has.
// [Config.PongWait] does not bound it: give it a ctx that ends.
func (c *Conn) Ping(ctx context.Context) (time.Duration, error) {
	defer runtime.KeepAlive(c)
	if !c.link.begin(c.tenant) {
		return 0, ErrReleased
	}
	defer c.link.finish(c.tenant)
	took, err := c.link.roundTrip(ctx, nil)
	return took, c.orReleased(err)
}

// roundTrip sends a ping and waits for the answer to it, or until enough, asked
// whenever an answer to any ping of ours has come, says that this will do; nil:
// it will not.
func (l *link) roundTrip(ctx context.Context, enough func() bool) (time.Duration, error) {
	e := echo{at: l.hub.clock.Now(), took: make(chan time.Duration, 1)}
	l.mu.Lock()
	if l.cause != nil {
		defer l.mu.Unlock()
		return 0, l.cause
	}
	if l.watchable() {
		l.startWatch()
	}
	nonce := l.newPing(e.at)
	p := &l.care.pulse
	if p.echoes == nil {
		p.echoes = make(map[uint64]echo)
	}
	p.echoes[nonce] = e
	ponged := l.nextPong(enough)
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(p.echoes, nonce)
	}()
	go l.ping(nonce)
	for {
		select {
		case took := <-e.took:
			return took, nil
		case <-l.broken:
			return 0, l.why()
		case <-ctx.Done():
			return 0, fmt.Errorf("wspool: ping: %w", ctx.Err())
		case <-ponged:
			l.mu.Lock()
			ponged = l.nextPong(enough)
			l.mu.Unlock()
			if enough() {
				return 0, nil
			}
		}
	}
}

// nextPong returns what is closed when the next pong comes, if it is enough for
// somebody; else nil. l is locked.
func (l *link) nextPong(enough func() bool) <-chan struct{} {
	p := &l.care.pulse
	if enough == nil {
		return nil
	}
	if p.ponged == nil {
		p.ponged = make(chan struct{})
	}
	return p.ponged
}

// strays counts the messages that belong to nobody.
type strays struct {
	began time.Time // of the minute that is counted
	n     int
}

// allow reports whether one more may come, of limit in a minute.
func (s *care) allow(t time.Time, limit int) bool {
	if t.Sub(s.strays.began) >= time.Minute {
		s.strays = strays{began: t}
	}
	s.strays.n++
	return s.strays.n <= limit
}
