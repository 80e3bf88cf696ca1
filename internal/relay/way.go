package relay

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Way is one direction of a connection. What it is told holds for bytes that
// have come and are not passed on yet, too.
type Way struct {
	conn     *Conn
	from, to *net.TCPConn

	mu      sync.Mutex
	changed chan struct{} // closed when any of these changes
	paused  bool
	hole    bool
	cut     bool // the end was passed on already
	delay   time.Duration
	trickle bool
	linger  time.Duration
	begun   int64 // bytes, with those that a write is passing on
	passed  int64
	marks   []mark
}

// mark is something to be done once.
type mark struct {
	at int64
	do func()
}

// piece is as much as passes at once.
const piece = 32 << 10

func newWay(c *Conn, from, to *net.TCPConn) *Way {
	return &Way{conn: c, from: from, to: to, changed: make(chan struct{})}
}

// set changes what w does.
func (w *Way) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

// Delay has everything wait for d before it passes, the end too. Zero: no wait.
func (w *Way) Delay(d time.Duration) { w.set(func() { w.delay, w.trickle = d, false }) }

// Trickle passes one byte at a time, each after a pause of d. [Way.Delay] ends
// it.
func (w *Way) Trickle(d time.Duration) { w.set(func() { w.delay, w.trickle = d, true }) }

// SlowClose passes the end on d after it came.
func (w *Way) SlowClose(d time.Duration) { w.set(func() { w.linger = d }) }

// Pause passes nothing on until Resume. The relay then does not read either, so
// the sender's buffers fill.
func (w *Way) Pause() { w.set(func() { w.paused = true }) }

// Resume ends a Pause.
func (w *Way) Resume() { w.set(func() { w.paused = false }) }

// BlackHole takes everything that comes from now on, the end too, and passes
// nothing on. The connection stays until it is closed or reset.
func (w *Way) BlackHole() {
	w.set(func() { w.hole = true })
	w.to.SetWriteDeadline(time.Unix(1, 0)) // for the write that runs; fails only when closed
}

// Cut passes the end on now, and drops what comes later. The other way stays.
func (w *Way) Cut() {
	w.set(func() { w.cut = true })
	w.BlackHole()
	w.to.CloseWrite() // fails only when the connection is gone
}

// Reset ends the side that the way leads to with RST. The other side stays open
// and hears nothing of it.
func (w *Way) Reset() {
	w.conn.BlackHole()
	reset(w.to)
}

// After has f called when n bytes have come this way and been passed on, before
// the next: at once, if they have. f must not block.
func (w *Way) After(n int64, f func()) {
	w.mu.Lock()
	due := w.passed >= n
	if !due {
		w.marks = append(w.marks, mark{n, f})
	}
	w.mu.Unlock()
	if due {
		f()
	}
}

// Passed returns how many bytes have come this way, dropped ones included, and
// not less than the receiver can have heard.
func (w *Way) Passed() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begun
}

// pump passes bytes on until either side ends.
func (w *Way) pump() {
	buf := make([]byte, piece)
	for {
		if !w.wait(func() time.Duration { return 0 }) {
			return
		}
		n, err := w.from.Read(buf)
		for p := buf[:n]; len(p) > 0; {
			n, ok := w.pass(p)
			if !ok {
				return
			}
			p = p[n:]
		}
		if err != nil {
			w.end(err)
			return
		}
	}
}

// pass passes on as much of p as may go at once.
func (w *Way) pass(p []byte) (int, bool) {
	if !w.wait(func() time.Duration { return w.delay }) {
		return 0, false
	}
	w.mu.Lock()
	hole := w.hole
	if w.trickle {
		p = p[:1]
	}
	for _, m := range w.marks {
		p = p[:min(int64(len(p)), m.at-w.passed)]
	}
	w.begun += int64(len(p))
	w.mu.Unlock()
	if !hole {
		if _, err := w.to.Write(p); err != nil && !w.isHole() {
			w.conn.Reset() // as the sender would find out
			return 0, false
		}
	}
	w.count(len(p))
	return len(p), true
}

func (w *Way) isHole() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hole
}

// count notes n bytes and does what is due.
func (w *Way) count(n int) {
	w.mu.Lock()
	w.passed += int64(n)
	var due []func()
	kept := w.marks[:0]
	for _, m := range w.marks {
		if m.at > w.passed {
			kept = append(kept, m)
		} else {
			due = append(due, m.do)
		}
	}
	w.marks = kept
	w.mu.Unlock()
	for _, f := range due {
		f()
	}
}

// end passes on how the sender ended.
func (w *Way) end(err error) {
	if !w.wait(func() time.Duration { return w.delay + w.linger }) {
		return
	}
	w.mu.Lock()
	hole, cut := w.hole, w.cut
	w.mu.Unlock()
	switch {
	case cut:
	case hole, errors.Is(err, net.ErrClosed): // closed: our own doing, by Reset of the other way
		<-w.conn.done
	case err == io.EOF:
		w.to.CloseWrite() // fails only when the connection is gone
	default:
		w.conn.Reset()
	}
}

// wait waits while w is paused, and for as long as d, which is asked again
// whenever something changes, with w locked. False: the connection has ended.
// In a black hole nothing waits.
func (w *Way) wait(d func() time.Duration) bool {
	began := time.Now()
	for {
		w.mu.Lock()
		changed := w.changed
		left := d() - time.Since(began)
		free := w.hole || left <= 0 && !w.paused
		w.mu.Unlock()
		if free {
			select {
			case <-w.conn.done:
				return false
			default:
				return true
			}
		}
		var after <-chan time.Time
		if left > 0 {
			after = time.After(left)
		}
		select {
		case <-after:
		case <-changed:
		case <-w.conn.done:
			return false
		}
	}
}
