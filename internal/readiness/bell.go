// Package readiness tells when something has come in on a socket that nobody
// reads, without a goroutine for each. Where the system cannot, [New] returns
// nil.
package readiness

// A Bell rings when there is something to read on one socket: bytes, the end, or
// an error. Arm, Disarm and Close are for one goroutine at a time.
type Bell struct {
	poller *poller
	ring   func()
	socket socket
}

// Arm has ring called once, soon after there is something to read, or now if
// there is. A bell that is armed may be armed again. It returns false if it
// cannot, as after Close of the connection.
func (b *Bell) Arm() bool { return b.socket.set(b.poller, true) }

// Disarm takes that back, but for the end of the connection, which may still call
// ring. A call that is under way goes on.
func (b *Bell) Disarm() { b.socket.set(b.poller, false) }

// Close ends the bell and leaves the connection as it is. A call of ring that is
// under way goes on. Nothing may be called afterwards.
func (b *Bell) Close() {
	b.socket.remove(b.poller)
	b.poller.leave(b)
}
