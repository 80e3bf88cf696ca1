package wsconn

import "context"

// A request and its reply take two reads of the socket where they need one: a look, before
// the request is written, that nothing has arrived, and the attempt that every read makes
// before it blocks. Both find that the socket is empty. [FrameConn.Ask] makes one of them.
//
// The write is called while the descriptor is locked for reading, and TLS too. It may acquire
// locks of the user of this package that are held while other goroutines call Poll, because
// those do so only while there is no reader.
//
// Ask relies on the order of [syscall.RawConn.Read], which resets the readiness of the
// socket, calls the function, and blocks if that returns false. A reply that arrives at
// any time after the reset makes the socket ready again, so the wait returns at once: no
// wake-up is lost although the socket is not read between the write and the wait.

// CanAsk reports whether Ask can be used: the connection is a socket.
func (w *RawConn) CanAsk() bool { return w.socket != nil }

// Ask is Await that calls write when the socket is found empty, and then blocks until
// something arrives. If something has arrived before, Ask returns without calling write.
// asked says whether write was called; write reports whether Ask is to wait. ctx bounds
// the write, as that of BeginMessage does. Everything that arrived earlier has been
// dealt with (Drained), and CanAsk is true. For the reader.
func (f *FrameConn) Ask(ctx context.Context, write func() (wait bool)) (asked, on bool) {
	w := f.Raw
	if !w.beginAwait() {
		return false, false
	}
	w.askCtx, w.ask = ctx, write
	f.fill()
	asked = w.ask == nil
	w.askCtx, w.ask = nil, nil
	return asked, w.endAwait(f.MessagePending())
}

// askLocked calls ask, unless the read was interrupted or part of a TLS record has
// arrived, and reports whether the reader is to block. It releases mu meanwhile.
func (w *RawConn) askLocked() (wait bool) {
	if w.read.interrupted || w.units != nil && !w.units.Clean() {
		return false
	}
	ask := w.ask
	w.ask, w.budget = nil, w.askCtx
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.budget = nil
	}()
	return ask()
}
