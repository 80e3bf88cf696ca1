package wspool

import (
	"io"
	"math"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respool/respool/internal/boundary"
)

// tap is the net.Conn that gorilla reads from, above TLS. It follows the frames
// that come in, so that it is known and not hoped for whether everything that
// came was dealt with, and it can take in bytes before gorilla asks for them.
//
// Read, await and poll are called by who has the reading of the link, and nobody
// else changes what is below mu: so that one reads it without, and takes mu only
// to change it.
type tap struct {
	net.Conn // what it stands on: TLS, or the wire
	wire     *wire
	clock    clock
	heard    atomic.Int64 // when bytes last came in, on that clock
	longest  int64        // how long none may come in from a peer that is alive
	gap      atomic.Int64 // when that was last exceeded before some came; 0: never

	mu      sync.Mutex
	frames  *boundary.FrameTracker
	taken   uint64  // messages that were read to their end, or dropped
	handled uint64  // control frames that gorilla has passed on
	ahead   []byte  // has come in, and gorilla has not taken it
	buf     *[]byte // what ahead lies in
	err     error   // what ended the reading, to be told once ahead is taken
	tear    tear

	second   int64 // when the second began in which control frames are counted
	inSecond int   // how many have come in it

	// The reader's.
	brief  bool // it is a watcher that goes when nothing is left
	behind bool // the last bytes of a message that was taken may be left for gorilla to skip
}

// newTap returns one for a peer that may be silent for longest, or for any time if
// that is 0.
func newTap(above net.Conn, w *wire, c clock, longest int64) *tap {
	if longest <= 0 {
		longest = math.MaxInt64
	}
	t := &tap{Conn: above, wire: w, clock: c, longest: longest, frames: boundary.Frames()}
	t.heard.Store(t.clock.now())
	return t
}

// aheadBuffers are what await and poll read into.
var aheadBuffers = sync.Pool{New: func() any { b := make([]byte, 4<<10); return &b }}

// Read gives gorilla what was taken in ahead, or waits for more. A watcher that
// was dismissed waits no longer, and one that a bell has called does not wait: its
// goroutine ends here. That is safe since it happens between two frames only,
// where gorilla has changed nothing yet but asks for a header, and would ask
// again. Where a part of a frame came in that instant, the reading of one who was
// dismissed fails, and who came for a bell waits for the rest.
func (t *tap) Read(p []byte) (int, error) {
	switch {
	case len(t.ahead) > 0:
		t.mu.Lock()
		defer t.mu.Unlock()
		n := copy(p, t.ahead)
		if t.ahead = t.ahead[n:]; len(t.ahead) == 0 {
			t.drop()
		}
		return n, nil
	case t.err != nil:
		return 0, t.err
	}
	n, err := t.receiveNow(p)
	if n > 0 {
		t.mu.Lock()
		t.took(p[:n])
		t.mu.Unlock()
	}
	if err == errDismissed {
		if n == 0 && !t.torn() {
			runtime.Goexit()
		}
		if n > 0 {
			err = nil // it comes again
		}
	}
	return n, err
}

// receiveNow is receive, but that a brief watcher does not wait between two
// frames, unless gorilla may have skipped the rest of a message just now: it
// notes that only with the next header, and would skip as much again.
func (t *tap) receiveNow(p []byte) (int, error) {
	if t.brief && !t.torn() && !t.begun() && !t.behind {
		t.wire.nowait = true
		n, err := t.receive(p)
		t.wire.nowait = false
		switch {
		case err != errNothing:
			return n, err
		case n > 0: // TLS looked for its goodbye behind them
			return n, nil
		}
		if !t.wire.torn() {
			runtime.Goexit()
		}
	}
	return t.receive(p)
}

// receive reads from below. That the connection ended in the midst of a TLS record
// is nothing else to gorilla than that it ended in the midst of a frame.
func (t *tap) receive(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

// took notes bytes that came in; t is locked.
func (t *tap) took(p []byte) {
	t.frames.Feed(p)
	now := t.clock.now()
	if now-t.heard.Load() > t.longest {
		t.gap.Store(now)
	}
	t.heard.Store(now)
	t.tear.note(t.frames, now)
}

// tear is since when the rest of a frame, or of a message in several, is awaited.
type tear struct {
	since              int64 // on the tap's clock; 0: nothing is
	messages, controls uint64
}

// note takes in how f stands. What a peer sends meanwhile of others does not make
// a message that it leaves unfinished newer.
func (t *tear) note(f *boundary.FrameTracker, now int64) {
	switch {
	case f.Clean() && !f.Open():
		t.since = 0
	case t.since == 0, f.Messages() != t.messages, !f.Open() && f.Controls() != t.controls:
		*t = tear{now, f.Messages(), f.Controls()}
	}
}

// tornSince is since when, to anybody.
func (t *tap) tornSince() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tear.since
}

// drop gives the buffer back; t is locked.
func (t *tap) drop() {
	t.ahead = nil
	if t.buf != nil {
		aheadBuffers.Put(t.buf)
		t.buf = nil
	}
}

// await waits until something has come in or reading has ended. It returns
// false if the wait was broken off. If a message has begun the wire knows that
// its reader is inside gorilla from now.
func (t *tap) await() bool {
	if !t.wire.beginAwait() {
		return false
	}
	t.fill()
	return t.wire.endAwait(t.begun())
}

// poll takes in what has come in and does not wait. The wire can try.
func (t *tap) poll() {
	if t.wire.drained() {
		return // TLS would find nothing either, and takes longer
	}
	t.wire.nowait = true
	t.fill()
	t.wire.nowait = false
}

// fill reads once, behind what is there already. An error that ends the reading
// is kept for gorilla.
func (t *tap) fill() {
	buf, had := t.buf, len(t.ahead)
	if t.err != nil {
		return
	}
	if buf == nil {
		buf = aheadBuffers.Get().(*[]byte)
	} else if had > 0 {
		t.mu.Lock()
		copy(*buf, t.ahead)
		t.ahead = (*buf)[:had]
		t.mu.Unlock()
		if had == len(*buf) {
			return
		}
	}
	n, err := t.receive((*buf)[had:])
	_, passing := err.(notice) // TLS passes on what it has from below
	if n == 0 && had == 0 {
		aheadBuffers.Put(buf)
	}
	if n == 0 && (err == nil || passing) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if n > 0 {
		t.buf, t.ahead = buf, (*buf)[:had+n]
		t.took(t.ahead[had:])
	}
	if err != nil && !passing {
		t.err = err
	}
}

// begun reports whether a message has begun that nobody has taken. It is for
// who reads, for whoever has the link locked while nobody does, and for who has
// locked the wire and found the reader parked; others ask by seen.
func (t *tap) begun() bool { return t.frames.Messages() > t.taken }

// stirred reports, to the same, whether there is something for gorilla to do
// besides messages: a control frame that has come in whole, or the end.
func (t *tap) stirred() bool { return t.frames.Controls() > t.handled || t.err != nil }

// seenMessages is how many messages have begun to come in, to anybody.
func (t *tap) seenMessages() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.frames.Messages()
}

// torn reports, to the same, whether a part of something has come in, and its
// rest has not.
func (t *tap) torn() bool { return !t.frames.Clean() || t.frames.Open() }

// blank reports, to the same, whether everything that has come in was dealt
// with.
func (t *tap) blank() bool {
	return !t.torn() && !t.begun() && !t.stirred() && len(t.ahead) == 0
}

// seen is what one of these says, to anybody.
func (t *tap) seen(says func() bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return says()
}

// finished notes that a message was dealt with, controlled a control frame. What
// is deflated may end before its message does.
func (t *tap) finished(deflated bool) {
	t.mu.Lock()
	t.taken++
	t.behind = deflated && (t.torn() || len(t.ahead) > 0)
	t.mu.Unlock()
}

// controlled returns how many control frames have come in the second of the clock
// that runs.
func (t *tap) controlled() (inSecond int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handled++
	t.behind = false
	if heard := t.heard.Load(); heard-t.second >= int64(time.Second) {
		t.second, t.inSecond = heard, 0
	}
	t.inSecond++
	return t.inSecond
}

// SetWriteDeadline goes to the wire: TLS has none of its own.
func (t *tap) SetWriteDeadline(d time.Time) error { return t.wire.SetWriteDeadline(d) }
