package wspool

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

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

// DialError says how far a dial came and why it failed. Its text shows the
// host, and nothing else of the URL or of any header.
type DialError struct {
	Host string // as in the URL
	// Phase is where it failed: "header" (in [Config.Header]), "connect" (name
	// look-up and TCP, or [Config.NetDial]), "tls", "handshake" (the HTTP
	// upgrade) or "subprotocol".
	Phase string
	// Status is the HTTP status that the server answered with; 0: none.
	Status int
	// RetryAfter is how long the server asked to wait; 0: it did not.
	RetryAfter time.Duration
	// Err is the cause. For an answer that is no upgrade it is
	// [websocket.ErrBadHandshake].
	Err error
}

func (e *DialError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "wspool: dial %s: %s: %v", e.Host, e.Phase, e.Err)
	if e.Status != 0 {
		fmt.Fprintf(&b, " (status %d", e.Status)
		if t := http.StatusText(e.Status); t != "" {
			b.WriteString(" " + t)
		}
		if e.RetryAfter > 0 {
			fmt.Fprintf(&b, ", retry after %v", e.RetryAfter)
		}
		b.WriteByte(')')
	}
	return b.String()
}

// Unwrap leads to Err.
func (e *DialError) Unwrap() error { return e.Err }

// readError makes what gorilla's reader returned an error of this package.
func readError(err error) error {
	var ce *websocket.CloseError
	if errors.As(err, &ce) {
		return &CloseError{Code: ce.Code, Text: ce.Text}
	}
	// gorilla takes a close code it has not heard of, such as 1014 (Bad
	// Gateway), for a fault, and keeps the number in the text alone. It is one
	// if no peer may send the code: the caller would take 1006 for the network's.
	if s, ok := strings.CutPrefix(err.Error(), "websocket: bad close code "); ok {
		if code, err := strconv.Atoi(s); err == nil && maySend(code) {
			return &CloseError{Code: code}
		}
	}
	return fmt.Errorf("wspool: read: %w", err)
}

// maySend reports whether RFC 6455 allows code in a close frame, if only once
// somebody has registered it.
func maySend(code int) bool {
	switch code {
	case websocket.CloseNoStatusReceived, websocket.CloseAbnormalClosure, websocket.CloseTLSHandshake:
		return false
	}
	return code >= 1000 && code < 5000
}

// retryAfter reads the header of that name: seconds or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	s := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseInt(s, 10, 32); err == nil {
		return time.Duration(max(n, 0)) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}
