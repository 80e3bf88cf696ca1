package wsconn

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/boundary"
)

// FrameConn is the net.Conn that gorilla reads from, above TLS. It follows the frames
// that arrive, so that whether everything has been dealt with is known rather than
// hoped for, and it can take in bytes before gorilla asks for them.
//
// Methods marked "for the reader" may be called by the reader, by a goroutine that
// keeps others from becoming the reader while there is none, and by one that holds
// RawConn.mu while the reader is parked. Only the reader changes what is below mu. So
// those methods read it without mu, and changes take mu.
type FrameConn struct {
	net.Conn // TLS, or the RawConn
	Raw      *RawConn
	clock    Clock
	limit    int   // control frames allowed in a second
	longest  int64 // the longest silence of a live peer, in ns

	// LastRead is when bytes last arrived, on the clock.
	LastRead atomic.Int64
	gap      atomic.Int64 // when bytes last arrived after more than longest; 0: never

	mu     sync.Mutex
	frames *boundary.FrameTracker
	taken  uint64  // messages that were read to their end, or dropped
	ahead  []byte  // bytes that gorilla has not been given
	buf    *[]byte // the buffer of ahead
	err    error   // ended the reading; returned once ahead is used up
	rest   partial

	// keep is how many bytes of ahead gorilla must be given before the next message:
	// what lies behind is control frames alone, which may be dropped. -1: all.
	keep int

	// aligned: ahead begins with a frame, and gorilla has been given nothing before it
	// but whole messages that were taken, and whole control frames. So a message in
	// ahead may be taken without gorilla.
	aligned bool

	out   sender
	batch *batch // nil: there is none; owned by the goroutine that writes data

	second   int64  // when the second began in which control frames are counted
	inSecond uint64 // control frames of that second
	handed   bool   // the connection was hijacked: frames are its new owner's
}

// ControlFloodError ends the reading of a connection on which more control frames
// arrive in a second than this limit.
type ControlFloodError int

func (e ControlFloodError) Error() string {
	return fmt.Sprintf("wsconn: over %d control frames in a second", int(e))
}

// ErrTail ends the reading of a connection whose peer goes on with a message long after
// the end of its inflated form.
var ErrTail = errors.New("wsconn: the message goes on behind the end of its inflated form")

// Control is a ping or pong.
type Control = boundary.Control

// The opcodes of [Control].
const (
	Ping = boundary.Ping
	Pong = boundary.Pong
)

// NewFrameConn returns a FrameConn over above, which is w or TLS over w. A live peer
// is never silent for more than longest (0: no limit) and sends no more than limit
// control frames in a second. deflate says that it may compress messages.
func NewFrameConn(above net.Conn, w *RawConn, c Clock, longest int64, limit int, deflate bool) *FrameConn {
	if longest <= 0 {
		longest = math.MaxInt64
	}
	f := &FrameConn{Conn: above, Raw: w, clock: c, longest: longest, limit: limit, frames: boundary.Frames(), keep: -1}
	f.frames.Deflate = deflate
	f.LastRead.Store(c.Now())
	return f
}

// aheadSize is the usual size of a buffer for bytes taken in ahead.
const aheadSize = 4 << 10

// maxTail is how much of a message is kept for gorilla to skip.
const maxTail = 64 << 10

var aheadBuffers = sync.Pool{New: func() any { b := make([]byte, aheadSize); return &b }}

// Read implements net.Conn for gorilla: it returns what was taken in ahead, or blocks. If
// p is small, as gorilla's own buffer is, it takes in as much as has arrived.
func (f *FrameConn) Read(p []byte) (int, error) {
	f.aligned = false
	if len(f.ahead) > 0 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.giveLocked(p), nil
	}
	if f.err != nil {
		return 0, f.err
	}
	into, buf := p, (*[]byte)(nil)
	if len(p) < aheadSize {
		buf = aheadBuffers.Get().(*[]byte)
		into = *buf
	}
	n, err := f.receive(into)
	if n == 0 {
		if buf != nil {
			aheadBuffers.Put(buf)
		}
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tookLocked(into[:n])
	if buf != nil {
		f.buf, f.ahead = buf, into[:n]
	}
	f.keep = -1
	if f.betweenMessages() && f.frames.Clean() {
		f.keep = len(f.ahead)
	}
	if buf == nil {
		return n, err
	}
	if err != nil && !isNotice(err) && f.err == nil {
		f.err = err // for later: bytes come first
	}
	return f.giveLocked(p), nil
}

// giveLocked gives gorilla what was taken in ahead, as far as p has room.
func (f *FrameConn) giveLocked(p []byte) (n int) {
	n = copy(p, f.ahead)
	if f.keep >= 0 {
		f.keep = max(0, f.keep-n)
	}
	if f.ahead = f.ahead[n:]; len(f.ahead) == 0 {
		f.dropBufferLocked()
	}
	return n
}

// receive reads from below. An end inside a TLS record is to gorilla what an end
// inside a frame is. A notice that TLS returns without a Read of its own is one that it
// has kept, and returns for ever: that is an end too.
func (f *FrameConn) receive(p []byte) (int, error) {
	before := f.Raw.reads
	n, err := f.Conn.Read(p)
	switch {
	case err == io.ErrUnexpectedEOF:
		err = io.EOF
	case f.Raw.reads == before && isNotice(err):
		err = errKept
	}
	return n, err
}

// errKept ends the reading of a connection whose TLS keeps a notice for ever.
var errKept = errors.New("wsconn: TLS cannot read on after a read that was not to block")

// tookLocked notes bytes that arrived.
func (f *FrameConn) tookLocked(p []byte) {
	if f.handed {
		return
	}
	before := f.frames.Controls()
	f.frames.Feed(p)
	now := f.clock.Now()
	if now-f.LastRead.Load() > f.longest {
		f.gap.Store(now)
	}
	f.LastRead.Store(now)
	f.rest.note(f.frames, now)
	if n := f.frames.Controls() - before; n > 0 {
		if now-f.second >= int64(time.Second) {
			f.second, f.inSecond = now, 0
		}
		if f.inSecond += n; f.inSecond > uint64(f.limit) && f.err == nil {
			f.err = ControlFloodError(f.limit)
		}
	}
}

// partial is since when the rest of a frame, or of a fragmented message, is missing.
type partial struct {
	since              int64 // on the clock; 0: nothing is missing
	messages, controls uint64
}

// note takes in the state of f. Other frames that the peer sends meanwhile do not
// make an unfinished message younger.
func (p *partial) note(f *boundary.FrameTracker, now int64) {
	switch {
	case f.Clean() && !f.Open():
		p.since = 0
	case p.since == 0, f.Messages() != p.messages, !f.Open() && f.Controls() != p.controls:
		*p = partial{now, f.Messages(), f.Controls()}
	}
}

// PartialSince returns since when the rest of a frame or message is missing, on the
// clock; 0: nothing is missing.
func (f *FrameConn) PartialSince() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rest.since
}

// Gap identifies the last silence that was longer than a live peer may keep, by when
// it ended; 0: there was none. Bytes read at its end may have been sent before it.
func (f *FrameConn) Gap() int64 { return f.gap.Load() }

// dropBufferLocked returns the buffer to its pool. Larger ones are left to the garbage
// collector.
func (f *FrameConn) dropBufferLocked() {
	f.ahead = nil
	if f.buf != nil {
		if len(*f.buf) == aheadSize {
			aheadBuffers.Put(f.buf)
		}
		f.buf = nil
	}
}

// Await blocks until something has arrived or reading has ended. It returns false if
// the present read (see [RawConn.BeginRead]) was interrupted. If it returns true and a
// message has begun, the read counts as inside gorilla. For the reader.
func (f *FrameConn) Await() bool {
	if !f.Raw.beginAwait() {
		return false
	}
	f.fill()
	return f.Raw.endAwait(f.MessagePending())
}

// Watch blocks until something has arrived or reading has ended. It returns false if
// the reader was dismissed (see [RawConn.Dismiss]). No context ends it. For the reader.
func (f *FrameConn) Watch() bool {
	_, err := f.fill()
	return err != errDismissed
}

// Poll takes in what has arrived, without waiting for more. It reports whether something has.
// It needs [RawConn.CanPoll]. With TLS it may wait until a frame is written, because TLS
// answers some records and sends alerts: a caller that holds a lock calls TryPoll. For the
// reader.
func (f *FrameConn) Poll() bool {
	if f.Raw.exhausted() {
		return false // a Read would find nothing either, and take longer
	}
	return f.poll()
}

// TryPoll is Poll that does not wait for the network. known is false, and nothing has changed, if a
// frame is being written and TLS might have to wait for that. What TLS writes of its own accord
// is given to the network as far as that takes it at once; the next Write writes the rest.
//
// patient: wait for the frame unless that waits for the network; it must be a control frame, which
// takes microseconds then. So known says something about the peer, and nothing about the
// moment. For the reader.
func (f *FrameConn) TryPoll(patient bool) (some, known bool) {
	w := f.Raw
	switch {
	case w.exhausted():
		return false, true
	case w.units == nil:
		return f.poll(), true
	}
	for !f.out.mu.TryLock() {
		if !patient || w.writeWaits() {
			return false, false
		}
		runtime.Gosched()
	}
	defer f.out.mu.Unlock()
	w.owes.Store(true)
	defer w.owes.Store(false)
	return f.poll(), true
}

func (f *FrameConn) poll() bool {
	f.Raw.nowait = true
	n, _ := f.fill()
	f.Raw.nowait = false
	return n > 0
}

// fill reads once, behind what was taken in before. An error that ends the reading is
// kept for gorilla; a notice is returned.
func (f *FrameConn) fill() (n int, err error) {
	if f.err != nil {
		return 0, nil
	}
	buf, had := f.room()
	if had == len(*buf) {
		return 0, nil // full, and gorilla has a message to read
	}
	n, err = f.receive((*buf)[had:])
	passing := isNotice(err)
	if n == 0 && had == 0 && len(*buf) == aheadSize {
		aheadBuffers.Put(buf)
	}
	if n == 0 && (err == nil || passing) {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n > 0 {
		if had == 0 {
			f.aligned = f.betweenMessages() && f.frames.Clean()
		}
		f.buf, f.ahead = buf, (*buf)[:had+n]
		f.tookLocked(f.ahead[had:])
		f.trimLocked()
	}
	if err != nil && !passing && f.err == nil {
		f.err = err
	}
	return n, nil // a notice that came with bytes comes again
}

// room returns the buffer to read into, behind its first had bytes. It is full only
// if gorilla has something to do.
func (f *FrameConn) room() (buf *[]byte, had int) {
	had = len(f.ahead)
	if had == 0 && f.buf == nil {
		return aheadBuffers.Get().(*[]byte), 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	buf = f.buf
	if had == len(*buf) && !f.gorillaNeeded() {
		if had >= maxTail && f.frames.Open() {
			f.err = ErrTail
			return buf, had
		}
		larger := make([]byte, 2*had) // the end of a message, and what came with it
		buf = &larger
	}
	copy(*buf, f.ahead)
	f.buf, f.ahead = buf, (*buf)[:had]
	return buf, had
}

// trimLocked drops whole control frames behind what gorilla must be given: they have
// been parsed. So a peer that sends only pings does not fill the buffer.
func (f *FrameConn) trimLocked() {
	switch {
	case !f.betweenMessages():
		f.keep = -1
	case !f.frames.Clean():
	case f.keep < 0:
		f.keep = len(f.ahead)
	default:
		if f.ahead = f.ahead[:f.keep]; f.keep == 0 {
			f.dropBufferLocked()
		}
	}
}

// betweenMessages reports whether no data message, close frame or protocol error has
// begun to arrive since the last message that was taken.
func (f *FrameConn) betweenMessages() bool {
	return !f.frames.Open() && !f.MessagePending() && !f.frames.Closing()
}

// MessagePending reports whether a message has begun to arrive that was not taken.
// For the reader.
func (f *FrameConn) MessagePending() bool { return f.frames.Messages() > f.taken }

// EndPending reports whether a close frame, the end or an error has arrived. For the
// reader.
func (f *FrameConn) EndPending() bool { return f.err != nil || f.frames.Closing() }

// gorillaNeeded reports whether gorilla has something to do.
func (f *FrameConn) gorillaNeeded() bool { return f.MessagePending() || f.EndPending() }

// ControlsPending reports whether TakeControls would return any. For the reader.
func (f *FrameConn) ControlsPending() bool { return f.frames.Kept() > 0 }

// Partial reports whether part of a frame or message has arrived, and its rest has
// not. For the reader.
func (f *FrameConn) Partial() bool { return !f.frames.Clean() || f.frames.Open() }

// Drained reports whether everything that has arrived was dealt with. For the reader.
func (f *FrameConn) Drained() bool {
	return !f.Partial() && !f.gorillaNeeded() && !f.ControlsPending()
}

// State is what the methods for the reader say.
type State struct {
	MessagePending bool
	Partial        bool
	Messages       uint64 // how many have begun to arrive
	Taken          uint64 // how many of them were read to their end, or dropped
}

// State returns a snapshot, to any goroutine.
func (f *FrameConn) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return State{f.MessagePending(), f.Partial(), f.frames.Messages(), f.taken}
}

// TakeControls returns the pings and pongs that have arrived since the last call, in
// order. For the reader.
func (f *FrameConn) TakeControls() []Control {
	if !f.ControlsPending() {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.frames.Take()
}

// MessageDone notes that the pending message was read to its end, or dropped. The
// inflated form of a message can end before the message does; gorilla skips the rest
// when it is asked for the next message. For the reader.
func (f *FrameConn) MessageDone() {
	f.mu.Lock()
	f.taken++
	f.keep = -1
	if f.betweenMessages() && f.frames.Clean() {
		f.keep = len(f.ahead) // gorilla may have taken part of a control frame in it
	}
	f.mu.Unlock()
}

// TakeMessage removes the pending message, appends its payload to dst, which may be nil,
// and returns its opcode and the extended slice. It returns false, and changes nothing, if
// gorilla has to read the message: it is compressed, fragmented, longer than limit or not
// whole yet, or gorilla holds bytes before it. For the reader.
func (f *FrameConn) TakeMessage(limit int64, dst []byte) (opcode int, data []byte, ok bool) {
	if !f.aligned || !f.MessagePending() {
		return 0, nil, false
	}
	m, n, ok := boundary.FirstMessage(f.ahead)
	if !ok || int64(len(m.Payload)) > limit {
		return 0, nil, false
	}
	if data = dst; dst == nil {
		data = make([]byte, 0, len(m.Payload)) // an empty message is not nil
	}
	data = append(data, m.Payload...)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken++
	if f.betweenMessages() && f.frames.Clean() { // what follows is control frames alone
		n, f.keep = len(f.ahead), 0
	} else {
		f.keep = -1
	}
	if f.ahead = f.ahead[n:]; len(f.ahead) == 0 {
		f.dropBufferLocked()
	}
	return int(m.Opcode), data, true
}

// HandOver makes the connection a plain one, for a new owner that uses gorilla
// directly. For the reader.
func (f *FrameConn) HandOver() {
	f.mu.Lock()
	f.handed = true
	f.mu.Unlock()
	f.Raw.handed.Store(true)
}
