package wspool

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/cause"
	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/internal/wsconn"
)

// Errors of a lease, besides those of the network and of its context, and reasons why the
// pool destroys a connection that is not clean. Test with errors.Is.
var (
	// ErrReleased: the lease has ended.
	ErrReleased = errors.New("wspool: connection has been released")
	// ErrUnsolicited: a message arrived while the connection was not leased, or before the
	// lease had written anything (see [Config.Exchange]). It can be the late answer to another
	// caller's request, so no lease gets it.
	ErrUnsolicited = cause.New("wspool: unsolicited message", "unsolicited message")
	// ErrUnread: the lease ended while a message waited unread, or one was still to come. It
	// could have reached the next caller.
	ErrUnread = cause.New("wspool: lease ended before its last message was read", "unread message")
	// ErrUnfinished: the lease ended while a read or write of it still ran, or after one was
	// broken off inside a message; or a read began before the previous message was read to its
	// end.
	ErrUnfinished = cause.New("wspool: lease ended with a read or write unfinished", "unfinished read or write")
	// ErrStale: a connection that an earlier lease had used ended before this lease had read
	// anything of an answer. What this lease has written may or may not have reached the
	// server; [Pool.DoIdempotent] tries again. The error matches the cause as well, such as a
	// *CloseError.
	ErrStale = cause.New("wspool: reused connection was dead", "stale")
	// ErrDropped: the lease had not been ended when the garbage collector found its Conn
	// unreachable. See [Config.Reclaim].
	ErrDropped = resource.ErrDropped
	// ErrSilent: nothing arrived within [Config.PongWait] after a ping. The peer is gone, or
	// the network between.
	ErrSilent = cause.New("wspool: peer has been silent", "peer silent")
	// ErrReadLimit: a message was longer than [Config.ReadLimit]. The connection was closed
	// with code 1009.
	ErrReadLimit = cause.New("wspool: message is over the limit", "message over the limit")
	// ErrNotUTF8: a text message is not UTF-8, and [Config.CheckUTF8] is set. One that the peer
	// sent ended the connection with code 1007; one that was to be written was not sent, or was
	// broken off after a [Conn.NextWriter] had sent part of it.
	ErrNotUTF8 = cause.New("wspool: text message is not UTF-8", "not UTF-8")
	// ErrFlooded: more unsolicited messages arrived than [Config.UnsolicitedLimit] allows, or
	// more control frames than [Config.ControlLimit].
	ErrFlooded = cause.New("wspool: peer sends too much", "flooded")
)

// CloseError says that the connection was closed, by which side, with which code and reason.
// Find it with errors.As.
type CloseError struct {
	// Code is the close code: 1000 to 4999 as the peer sent it, 1005 if its close frame had
	// none, 1006 if the connection ended without a close frame.
	Code int
	// Text is the reason in the close frame. It is lost, and empty, with codes below 3000 that
	// RFC 6455 does not define.
	Text string
	// ByPeer is false if the peer violated the protocol and this side closed with code 1002.
	ByPeer bool
}

func (e *CloseError) Error() string {
	var b strings.Builder
	b.WriteString("wspool: connection closed")
	if e.ByPeer {
		b.WriteString(" by the peer")
	}
	fmt.Fprintf(&b, " with code %d", e.Code)
	if e.Text != "" {
		fmt.Fprintf(&b, ": %q", e.Text)
	}
	return b.String()
}

// Cause returns the code in a few words, for counting causes: "closed 1001".
func (e *CloseError) Cause() string { return "closed " + strconv.Itoa(e.Code) }

// Unwrap returns [io.ErrUnexpectedEOF] if there was no close frame.
func (e *CloseError) Unwrap() error {
	if e.Code == websocket.CloseAbnormalClosure {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// EndError says how far a connection had come when it ended, which decides what its end is
// evidence of. [Config.Redial] is given one for each connection that ended and that the pool
// did not end.
type EndError struct {
	// Served is whether the connection had served a lease: a lease had read a message from it,
	// or had written to it and left it clean. The server has accepted the client then.
	Served bool
	// Asked is whether it ended within a lease that had written to it: its end may be the
	// answer to what that lease wrote.
	Asked bool
	// Err is why it ended: a [*CloseError], an error of the network, [ErrSilent],
	// [ErrUnsolicited] and so on.
	Err error
}

func (e *EndError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *EndError) Unwrap() error { return e.Err }

// readError turns an error of gorilla's reader into an error of this package.
func readError(err error) error {
	var ce *websocket.CloseError
	if foreign.As(err, &ce) {
		return &CloseError{Code: ce.Code, Text: ce.Text, ByPeer: true}
	}
	var flood wsconn.ControlFloodError
	if foreign.As(err, &flood) {
		return fmt.Errorf("%w: over %d control frames in a second", ErrFlooded, int(flood))
	}
	if foreign.Is(err, websocket.ErrReadLimit) || errors.Is(err, wsconn.ErrTail) {
		return fmt.Errorf("%w (%w)", ErrReadLimit, err)
	}
	text, ours := strings.CutPrefix(err.Error(), "websocket: ")
	if !ours {
		return fmt.Errorf("wspool: read: %w", err)
	}
	// Gorilla takes a close code that it does not know, such as 1014 (Bad Gateway), for a
	// protocol error, and keeps the number in the text only. It is one if no peer may send
	// the code: the caller would take 1006 for the end of the network connection.
	if s, ok := strings.CutPrefix(text, "bad close code "); ok {
		if code, err := strconv.Atoi(s); err == nil && maySend(code) {
			return &CloseError{Code: code, ByPeer: true}
		}
	}
	return &CloseError{Code: websocket.CloseProtocolError, Text: text}
}

// maySend reports whether RFC 6455 allows code in a close frame, if only once it has been
// registered.
func maySend(code int) bool {
	switch code {
	case websocket.CloseNoStatusReceived, websocket.CloseAbnormalClosure, websocket.CloseTLSHandshake:
		return false
	}
	return code >= 1000 && code < 5000
}
