package relay

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Way is one direction of a connection. Its settings apply also to bytes that were received
// and not forwarded yet.
type Way struct {
	conn     *Conn
	from, to *net.TCPConn

	mu      sync.Mutex
	changed chan struct{} // closed when a field below changes
	paused  bool
	hole    bool
	cut     bool // EOF was forwarded already
	delay   time.Duration
	trickle bool
	linger  time.Duration
	begun   int64 // bytes, including those of the running write
	passed  int64
	marks   []mark
}

// mark is a function to be called once, after at bytes.
type mark struct {
	at int64
	do func()
}

// piece is the largest number of bytes forwarded at once.
const piece = 32 << 10

func newWay(c *Conn, from, to *net.TCPConn) *Way {
	return &Way{conn: c, from: from, to: to, changed: make(chan struct{})}
}

// set changes settings and wakes pump.
func (w *Way) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

// Delay delays everything by d, EOF included. Zero means no delay.
func (w *Way) Delay(d time.Duration) { w.set(func() { w.delay, w.trickle = d, false }) }

// Trickle forwards one byte at a time, each after a pause of d. [Way.Delay] ends it.
func (w *Way) Trickle(d time.Duration) { w.set(func() { w.delay, w.trickle = d, true }) }

// SlowClose delays EOF by d.
func (w *Way) SlowClose(d time.Duration) { w.set(func() { w.linger = d }) }

// Pause forwards nothing until Resume. The relay then does not read either, so the
// sender's buffers fill.
func (w *Way) Pause() { w.set(func() { w.paused = true }) }

// Resume ends a Pause.
func (w *Way) Resume() { w.set(func() { w.paused = false }) }

// BlackHole reads and drops everything from now on, EOF included. The connection stays open
// until it is closed or reset.
func (w *Way) BlackHole() {
	w.set(func() { w.hole = true })
	w.to.SetWriteDeadline(time.Unix(1, 0)) // interrupts the running write; fails only when closed
}

// Cut forwards EOF now and drops what is received later. The other direction stays open.
func (w *Way) Cut() {
	w.set(func() { w.cut = true })
	w.BlackHole()
	w.to.CloseWrite() // fails only when the connection is gone
}

// Reset closes the receiving side with RST. The sending side stays open and is not
// informed.
func (w *Way) Reset() {
	w.conn.BlackHole()
	reset(w.to)
}

// After calls f when n bytes have been forwarded in this direction, before the next one: at
// once if they have. f must not block.
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

// Passed returns the number of bytes forwarded or dropped in this direction; it is never
// less than what the receiver may have read.
func (w *Way) Passed() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begun
}

// pump forwards bytes until either side ends.
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

// pass forwards as much of p as may be forwarded at once.
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
			w.conn.Reset() // as the sender would see
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

// count counts n bytes and calls the functions that are due.
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

// end forwards how the sender ended.
func (w *Way) end(err error) {
	if !w.wait(func() time.Duration { return w.delay + w.linger }) {
		return
	}
	w.mu.Lock()
	hole, cut := w.hole, w.cut
	w.mu.Unlock()
	switch {
	case cut:
	case hole, errors.Is(err, net.ErrClosed): // closed by Reset of the other direction
		<-w.conn.done
	case err == io.EOF:
		w.to.CloseWrite() // fails only when the connection is gone
	default:
		w.conn.Reset()
	}
}

// wait waits while w is paused and until the delay d has passed; d is called again, with w
// locked, whenever a setting changes. It reports false if the connection has ended. In a
// black hole it does not wait.
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
