package wspool

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
)

// maxHead is how many bytes the head of a server's or a proxy's answer may have.
const maxHead = 64 << 10

// headPiece is how many bytes of the head are read at once.
const headPiece = 512

var errHead = errors.New("wspool: the answer's head is over 64 KiB")

// answerConn is what gorilla reads the answer to the handshake from. It reads the
// head whole before gorilla sees any of it. Behind a head that agrees to the
// handshake it is the connection; behind any other it is at its end, because
// gorilla waits for a body that a server need not send: see readRefusal.
type answerConn struct {
	net.Conn
	amend func(http.Header) bool // may change the header of an answer that agrees; nil: nothing does

	head   []byte         // of the answer, up to its empty line; dropped by keep
	ahead  []byte         // what gorilla is to be given before it reads from Conn
	rest   []byte         // of a refusal, the bytes read behind the head
	answer *http.Response // what head says; nil: it has not come, or is no HTTP
	n      int            // bytes of the head so far
	blank  bool           // the line has no character so far
	ended  bool           // the head has
	failed error          // why there is no head
	open   bool           // the handshake succeeded; set before another goroutine reads
}

func (c *answerConn) Read(p []byte) (int, error) {
	if !c.open && !c.ended {
		if c.failed == nil {
			c.failed = c.readHead()
		}
		if c.failed != nil {
			return 0, c.failed
		}
	}
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
			c.ahead = nil
		}
		return n, nil
	}
	if c.open || c.agreed() {
		return c.Conn.Read(p)
	}
	return 0, io.EOF
}

// Close does nothing until the handshake has succeeded: gorilla closes the
// connection of a refusal, whose body is still to be read. The dial closes the
// connection below.
func (c *answerConn) Close() error {
	if !c.open {
		return nil
	}
	return c.Conn.Close()
}

// readHead reads up to the empty line that ends the head.
func (c *answerConn) readHead() error {
	buf := make([]byte, headPiece)
	for !c.ended {
		if c.n >= maxHead {
			return errHead
		}
		n, err := c.Conn.Read(buf[:min(len(buf), maxHead-c.n)])
		end := c.follow(buf[:n])
		c.head = append(c.head, buf[:end]...)
		c.rest = append(c.rest, buf[end:n]...)
		switch {
		case c.ended:
		case err == io.EOF: // to gorilla half a line is a bad one
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
	c.parse()
	return nil
}

// parse decides what gorilla is given.
func (c *answerConn) parse() {
	c.ahead = bytes.Clone(c.head)
	answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(c.head)), nil)
	if err != nil {
		return // gorilla finds the same
	}
	c.answer = answer
	if !c.agreed() {
		return
	}
	if changed := answer.Header.Clone(); c.amend != nil && c.amend(changed) {
		var b bytes.Buffer
		b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
		_ = changed.Write(&b) // to memory
		b.WriteString("\r\n")
		c.ahead = b.Bytes()
	}
	c.ahead = append(c.ahead, c.rest...)
	c.rest = nil
}

// follow looks for the empty line that ends the head, and returns how many bytes
// of p are up to it.
func (c *answerConn) follow(p []byte) int {
	for i, b := range p {
		c.n++
		switch b {
		case '\r':
		case '\n':
			if c.blank {
				c.ended = true
				return i + 1
			}
			c.blank = true
		default:
			c.blank = false
		}
	}
	return len(p)
}

func (c *answerConn) agreed() bool {
	return c.answer != nil && c.answer.StatusCode == http.StatusSwitchingProtocols
}

// keep makes c the connection, after the handshake succeeded.
func (c *answerConn) keep() {
	c.open, c.head, c.answer, c.amend = true, nil, nil, nil
}

// body returns a reader of the bytes behind the head of a refusal.
func (c *answerConn) body() io.Reader { return io.MultiReader(bytes.NewReader(c.rest), c.Conn) }
