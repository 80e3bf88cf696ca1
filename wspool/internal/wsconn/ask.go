package wsconn

import "context"

// Without Ask a request and its reply take two reads that find the socket empty: one before the
// write, to see that nothing has arrived, and the attempt that every read makes before it
// blocks. [FrameConn.Ask] replaces both by one.
//
// It calls write while the descriptor, and the TLS connection if there is one, are locked for
// reading. write may acquire locks of the caller's package that other goroutines hold while they
// call Poll: no deadlock follows, because they call Poll only while there is no reader.
//
// Ask relies on the order of [syscall.RawConn.Read], which resets the readiness of the
// socket, calls the function, and blocks if that returns false. A reply that arrives at
// any time after the reset makes the socket ready again, so the wait returns at once: no
// wake-up is lost although the socket is not read between the write and the wait.

// CanAsk reports whether Ask can be used: whether the connection is a socket.
func (w *RawConn) CanAsk() bool { return w.socket != nil }

// Ask is Await that calls write once it has found the socket empty, and then blocks until
// something arrives, if write returned true. If something has arrived before, Ask returns without
// calling write. asked reports whether write was called; on is the result of Await. ctx bounds
// the write, as that of BeginMessage does. CanAsk and Drained must be true. For the reader.
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

// askLocked calls ask, unless the read was interrupted or part of a TLS record has arrived, and
// reports whether the reader must block. It releases mu during the call.
func (w *RawConn) askLocked() (wait bool) {
	if w.read.interrupted || w.units != nil && !w.units.Clean() {
		return false
	}
	ask := w.ask
	w.ask = nil
	w.boundLocked(w.askCtx)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.budget = nil
	}()
	return ask()
}
