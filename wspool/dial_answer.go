package wspool

import (
	"errors"
	"net"
)

// maxHead is how many bytes a server or a proxy may answer a handshake with.
const maxHead = 64 << 10

var errHead = errors.New("wspool: the answer's head is over 64 KiB")

// answerConn bounds what is read through it until it is opened: the answer to
// the handshake, and what of the first messages came with it.
type answerConn struct {
	net.Conn
	left int
	over bool // it was asked for more than that
	open bool // set before another goroutine reads
}

func newAnswerConn(c net.Conn) *answerConn { return &answerConn{Conn: c, left: maxHead} }

func (c *answerConn) Read(p []byte) (int, error) {
	if c.open {
		return c.Conn.Read(p)
	}
	if c.left <= 0 {
		c.over = true
		return 0, errHead
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
