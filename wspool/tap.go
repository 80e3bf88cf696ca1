package wspool

import (
	"io"
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
// Read, await and poll are called by who has the reading of the link.
type tap struct {
	net.Conn // what it stands on: TLS, or the wire
	wire     *wire
	clock    clock
	heard    atomic.Int64 // when bytes last came in, on that clock

	mu      sync.Mutex
	frames  *boundary.FrameTracker
	taken   uint64  // messages that were read to their end, or dropped
	handled uint64  // control frames that gorilla has passed on
	ahead   []byte  // has come in, and gorilla has not taken it
	buf     *[]byte // what ahead lies in
	err     error   // what ended the reading, to be told once ahead is taken
}

func newTap(above net.Conn, w *wire, c clock) *tap {
	t := &tap{Conn: above, wire: w, clock: c, frames: boundary.Frames()}
	t.heard.Store(t.clock.now())
	return t
}

// aheadBuffers are what await and poll read into.
var aheadBuffers = sync.Pool{New: func() any { b := make([]byte, 4<<10); return &b }}

// Read gives gorilla what was taken in ahead, or waits for more. A watcher that
// was dismissed waits no longer: its goroutine ends here. That is safe since it
// happens between two frames only, where gorilla has changed nothing yet but
// asks for a header, and would ask again.
func (t *tap) Read(p []byte) (int, error) {
	t.mu.Lock()
	if len(t.ahead) > 0 {
		n := copy(p, t.ahead)
		if t.ahead = t.ahead[n:]; len(t.ahead) == 0 {
			t.drop()
		}
		t.mu.Unlock()
		return n, nil
	}
	err := t.err
	t.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := t.receive(p)
	if n > 0 {
		t.mu.Lock()
		t.took(p[:n])
		t.mu.Unlock()
	}
	if err == errDismissed {
		runtime.Goexit()
	}
	return n, err
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
	t.heard.Store(t.clock.now())
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
// errInterrupted if the wait was broken off, and else nil.
func (t *tap) await() error {
	if !t.wire.beginAwait() {
		return errInterrupted
	}
	err := t.fill()
	t.wire.endAwait()
	if err == errInterrupted {
		return err
	}
	return nil
}

// poll takes in what has come in and does not wait. The wire can try.
func (t *tap) poll() {
	t.wire.nowait = true
	t.fill()
	t.wire.nowait = false
}

// fill reads once, behind what is there already. An error that ends the reading
// is kept for gorilla.
func (t *tap) fill() error {
	t.mu.Lock()
	buf, had, ended := t.buf, len(t.ahead), t.err != nil
	if buf == nil {
		buf = aheadBuffers.Get().(*[]byte)
	} else if had > 0 {
		copy(*buf, t.ahead)
		t.ahead = (*buf)[:had]
	}
	t.mu.Unlock()
	if ended || had == len(*buf) {
		return nil
	}
	n, err := t.receive((*buf)[had:])
	_, passing := err.(notice) // TLS passes on what it has from below
	t.mu.Lock()
	defer t.mu.Unlock()
	if n > 0 {
		t.took((*buf)[had : had+n])
	}
	if n+had > 0 {
		t.buf, t.ahead = buf, (*buf)[:had+n]
	} else {
		t.buf = buf
		t.drop()
	}
	if err != nil && !passing {
		t.err = err
	}
	if n == 0 && passing {
		return err
	}
	return nil
}

// begun reports whether a message has begun that nobody has taken; stirred,
// whether there is anything else for gorilla to do: a control frame that has
// come in whole, or the end.
func (t *tap) begun() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.frames.Messages() > t.taken
}

func (t *tap) stirred() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.frames.Controls() > t.handled || t.err != nil
}

// finished notes that a message was dealt with, controlled a control frame.
func (t *tap) finished() {
	t.mu.Lock()
	t.taken++
	t.mu.Unlock()
}

func (t *tap) controlled() {
	t.mu.Lock()
	t.handled++
	t.mu.Unlock()
}

// blank reports whether everything that has come in was dealt with.
func (t *tap) blank() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.frames
	return f.Clean() && !f.Open() && f.Messages() == t.taken && f.Controls() == t.handled &&
		len(t.ahead) == 0 && t.err == nil
}

// torn reports whether a part of something has come in, and its rest has not.
func (t *tap) torn() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.frames.Clean() || t.frames.Open()
}

// SetWriteDeadline goes to the wire: TLS has none of its own.
func (t *tap) SetWriteDeadline(d time.Time) error { return t.wire.SetWriteDeadline(d) }
