package wspool

import (
	"errors"
	"io"
	"net"
)

// maxHead is how many bytes the head of a server's or a proxy's answer may have.
const maxHead = 64 << 10

var errHead = errors.New("wspool: the answer's head is over 64 KiB")

// answerConn bounds what gorilla reads as the answer to the handshake. Behind a
// head that agrees to it, it is the connection; behind any other it is at its
// end, because gorilla waits for a body that nobody wants, and a server need not
// send.
type answerConn struct {
	net.Conn
	n     int      // bytes of the head so far
	start [12]byte // the first of them: HTTP/1.1 101
	blank bool     // the line has no character so far
	ended bool     // the head has
	torn  error    // why the connection ended before the head
	open  bool     // the handshake succeeded; set before another goroutine reads
}

func (c *answerConn) Read(p []byte) (int, error) {
	switch {
	case c.open || c.ended && c.agreed():
		return c.Conn.Read(p)
	case c.ended:
		return 0, io.EOF
	case c.over():
		return 0, errHead
	}
	n, err := c.Conn.Read(p[:min(len(p), maxHead-c.n)])
	c.follow(p[:n])
	if err != nil && !c.ended && c.n > 0 && c.torn == nil {
		c.torn = err
		if err == io.EOF {
			c.torn = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// follow looks for the empty line that ends the head.
func (c *answerConn) follow(p []byte) {
	for _, b := range p {
		if c.n < len(c.start) {
			c.start[c.n] = b
		}
		c.n++
		switch b {
		case '\r':
		case '\n':
			if c.blank {
				c.ended = true
				return
			}
			c.blank = true
		default:
			c.blank = false
		}
	}
}

func (c *answerConn) agreed() bool { return string(c.start[9:]) == "101" }

// over reports whether the head has no end within its bounds.
func (c *answerConn) over() bool { return !c.ended && c.n >= maxHead }
