package wspool

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/gorilla/websocket"
)

// What a lease can fail with besides the errors of the network and of its
// context, and why the pool destroys a connection that is not clean. Test with
// errors.Is.
var (
	// ErrReleased: the lease has ended.
	ErrReleased = errors.New("wspool: connection has been released")
	// ErrUnsolicited: a message came while nobody leased the connection, or
	// before the lease had written anything (see [Config.Exchange]). It can be
	// the late answer to another caller's question, so nobody gets it.
	ErrUnsolicited = errors.New("wspool: unsolicited message")
	// ErrUnread: the lease ended while a message waited unread, or one was
	// still to come. It could have reached the next caller.
	ErrUnread = errors.New("wspool: lease ended before its last message was read")
	// ErrUnfinished: the lease ended while a read or write of it still ran, or
	// after a write was broken off.
	ErrUnfinished = errors.New("wspool: lease ended with a read or write unfinished")
)

// CloseError says that the connection was closed, and what the peer said.
type CloseError struct {
	// Code is the close code: 1000 to 4999 as the peer sent it, 1005 if its
	// close frame had none, 1006 if the connection ended without one.
	Code int
	// Text is the reason that came with it. It is lost, and empty, with codes
	// below 3000 that RFC 6455 does not name.
	Text string
}

func (e *CloseError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("wspool: connection closed with code %d", e.Code)
	}
	return fmt.Sprintf("wspool: connection closed with code %d: %q", e.Code, e.Text)
}

// Unwrap leads to [io.ErrUnexpectedEOF] if there was no close frame.
func (e *CloseError) Unwrap() error {
	if e.Code == websocket.CloseAbnormalClosure {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// readError makes what gorilla's reader returned an error of this package.
func readError(err error) error {
	var ce *websocket.CloseError
	if errors.As(err, &ce) {
		return &CloseError{Code: ce.Code, Text: ce.Text}
	}
	// gorilla takes a close code it has not heard of, such as 1014 (Bad
	// Gateway), for a fault, and keeps the number in the text alone.
	if s, ok := strings.CutPrefix(err.Error(), "websocket: bad close code "); ok {
		if code, err := strconv.Atoi(s); err == nil {
			return &CloseError{Code: code}
		}
	}
	return fmt.Errorf("wspool: read: %w", err)
}
