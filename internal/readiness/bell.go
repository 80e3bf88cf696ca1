// Package readiness reports when a socket without a reader becomes readable, without a
// goroutine per socket. On systems that do not support it [New] returns nil.
package readiness

// A Bell rings when one socket becomes readable: bytes, EOF or an error. Arm, Disarm and
// Close must not be called concurrently.
type Bell struct {
	poller *poller
	ring   func()
	socket socket
}

// Arm causes one call of ring soon after the socket becomes readable, or at once if it is.
// An armed bell may be armed again. It returns false on failure, such as after Close of
// the connection.
func (b *Bell) Arm() bool { return b.socket.set(b.poller, true) }

// Disarm cancels Arm, except that the end of the connection may still call ring. A running
// call is not interrupted.
func (b *Bell) Disarm() { b.socket.set(b.poller, false) }

// Close ends the bell; the connection stays open. A running call of ring is not
// interrupted. No method may be called afterwards.
func (b *Bell) Close() {
	b.socket.remove(b.poller)
	b.poller.leave(b)
}
