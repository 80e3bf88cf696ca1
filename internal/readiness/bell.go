// Package readiness reports when something arrives on a socket that no goroutine reads,
// without a goroutine for each socket. On systems without support [New] returns nil.
package readiness

// A Bell rings when there is something to read on one socket: bytes, the end, or an error.
// Arm, Disarm and Close are for one goroutine at a time.
type Bell struct {
	poller *poller
	ring   func()
	socket socket
}

// Arm makes the bell call ring once, soon after there is something to read, or now if there
// is. An armed bell may be armed again. It returns false if that is impossible, as after the
// connection was closed.
func (b *Bell) Arm() bool { return b.socket.set(b.poller, true) }

// Disarm undoes Arm, except that the end of the connection may still ring. A call of ring
// that is under way continues.
func (b *Bell) Disarm() { b.socket.set(b.poller, false) }

// Close ends the bell and leaves the connection as it is. A call of ring that is under way
// continues. No method may be called afterwards.
func (b *Bell) Close() {
	b.socket.remove(b.poller)
	b.poller.leave(b)
}
