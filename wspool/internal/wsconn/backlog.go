package wsconn

import "sync/atomic"

// A deferred write is one that does not wait for the network: what the kernel does not take at
// once is written by a goroutine of the RawConn. Until that has written all, every other Write
// queues behind it and returns at once. Such writes are control frames and alerts of TLS, since
// the user of the package starts no other message before the deferred one has ended.

// backlog is what is left of a deferred write, and what was written behind it.
type backlog struct {
	on atomic.Bool // a goroutine writes

	// Guarded by RawConn.mu.
	defers bool                       // a Write that would wait is deferred
	buf    []byte                     // to be written next
	queued uint64                     // bytes that were added to buf
	sent   uint64                     // bytes of these that the network took
	mark   uint64                     // queued, when Mark was called
	err    error                      // ended the writing
	done   func(left uint64, e error) // called when the goroutine has ended; nil: not set yet
}

// Defer makes the next Writes deferred ones, until EndDefer.
func (w *RawConn) Defer() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.backlog.defers = true
	w.backlog.err, w.backlog.done = nil, nil
	w.backlog.queued, w.backlog.sent, w.backlog.mark = 0, 0, 0
}

// Mark notes that the message which the caller writes ends here, as far as it is known, and returns
// how many bytes of the deferred write were not taken at once. The caller keeps others from writing.
// Without a deferred write it does nothing.
func (w *RawConn) Mark() (queued uint64) {
	if !w.backlog.defers { // only goroutines that write messages change it, one at a time
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.backlog.mark = w.backlog.queued
	return w.backlog.queued
}

// deferredSent returns how many bytes that the network did not take at once it has taken since, of
// the present deferred write or the last one.
func (w *RawConn) deferredSent() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.backlog.sent
}

// EndDefer ends the deferred write. It reports whether something is left to be written: done
// is called then when all is written or writing has failed, on a goroutine of its own, with
// the number of bytes before the Mark that were not written. Otherwise it returns these.
func (w *RawConn) EndDefer(done func(left uint64, e error)) (later bool, left uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &w.backlog
	b.defers = false
	if b.on.Load() {
		b.done = done
		return true, 0, nil
	}
	return false, b.left(), b.err
}

// TryEndDefer is EndDefer if nothing is left to be written, and reports false otherwise; then
// EndDefer must be called. It needs no callback, which its caller would have to allocate.
func (w *RawConn) TryEndDefer() (ended bool, left uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &w.backlog
	if b.on.Load() {
		return false, 0, nil
	}
	b.defers = false
	return true, b.left(), b.err
}

// left is how many bytes before the mark were not written.
func (b *backlog) left() uint64 { return max(b.mark, b.sent) - b.sent }

// deferRest has p, the rest of a Write, written in the background. It reports false if the
// Write is to wait for the network itself.
func (w *RawConn) deferRest(p []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &w.backlog
	if !b.defers || b.on.Load() {
		return false
	}
	b.buf, b.queued = append([]byte(nil), p...), b.queued+uint64(len(p))
	b.on.Store(true)
	go w.writeBacklog()
	return true
}

// maxQueued bounds what is queued behind a deferred write: a peer that makes this side send
// control frames, and does not read, is cut off.
const maxQueued = 1 << 20

// enqueue adds p behind the deferred write. It reports false if that has ended.
func (w *RawConn) enqueue(p []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &w.backlog
	if !b.on.Load() {
		return false
	}
	if !b.defers && len(b.buf)+len(p) > maxQueued {
		w.severLocked()
		return true // lost with the connection
	}
	b.buf, b.queued = append(b.buf, p...), b.queued+uint64(len(p))
	return true
}

// writeBacklog writes the backlog to its end.
func (w *RawConn) writeBacklog() {
	b := &w.backlog
	for {
		w.mu.Lock()
		p := b.buf
		b.buf = nil
		if len(p) == 0 || b.err != nil {
			if b.defers { // more may come, and EndDefer has to find this goroutine or its end
				b.on.Store(false)
				w.mu.Unlock()
				return
			}
			done, left, err := b.done, b.left(), b.err
			b.on.Store(false)
			w.mu.Unlock()
			if done != nil {
				done(left, err)
			}
			return
		}
		w.mu.Unlock()
		n, err := w.writeSlow(p, 0)
		w.mu.Lock()
		if b.sent += uint64(n); err != nil {
			b.err = err
			w.severLocked() // part of a frame may have been written
		}
		w.mu.Unlock()
	}
}
