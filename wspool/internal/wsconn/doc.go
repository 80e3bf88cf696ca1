// Package wsconn is the transport below a WebSocket client connection of
// gorilla/websocket: it knows bytes, TLS records and frames, and no pool.
//
// Two connections lie on top of each other, with TLS between them if there is any:
//
//	gorilla/websocket
//	FrameConn   follows the frames, answers "has everything been dealt with?"
//	crypto/tls  (wss only)
//	RawConn     the socket: reads without blocking, interruptible waits, write deadlines
//
// # Who may read
//
// At most one goroutine reads a connection at a time, called the reader; the user of
// the package decides which. [FrameConn] takes in ("buffers") what arrives. The reader
// calls [FrameConn.Await] or [FrameConn.Watch], which block outside gorilla and can be
// interrupted without harm, and enters gorilla only when a data message, a close
// frame or a protocol error has begun to arrive: then gorilla returns as soon as the
// rest of that frame is there. A read that is interrupted inside gorilla cannot be
// repeated, because gorilla keeps every read error for ever.
//
// A message that lies whole in one frame of the buffer is returned by
// [FrameConn.TakeMessage], and a short one is sent by [FrameConn.WriteShort]: gorilla's
// readers and writers allocate for each message. Gorilla does all others.
//
// Pings and pongs never make the reader enter gorilla. FrameConn parses them itself,
// and [FrameConn.TakeControls] returns them. Gorilla is still given their bytes where
// they lie inside or directly behind a message; its handlers then have nothing to do.
//
// # Lock order
//
// The lock of sender is held while a frame is written, and so may be held while RawConn.mu
// and locks of TLS are acquired. [FrameConn.TryPoll], which may be called while locks of the
// user are held, does not wait for it while the network takes nothing. FrameConn.mu and
// RawConn.mu are leaves: no other lock is acquired while one of them is held, and they are
// never held together, except that RawConn.mu is held while the clean function of
// [RawConn.WaitQuiet] and [RawConn.Dismiss] runs, which may call the methods of FrameConn
// that need no lock. No method calls code of the user while it holds a lock, other than that
// function and the methods of the net.Conn below.
package wsconn
