package wspool

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// DialError says how far a dial came and why it failed. Its text shows the host,
// the proxy's host if it was to blame, the address of whichever it was, where a
// redirect leads, and how the body of a refusal begins. It shows nothing else of
// a URL or of any header, also where a server repeats it, unless that is in the
// text of a [CloseError]. Of the text of Err, which may contain names from a
// certificate, at most 512 bytes are shown, and no control characters.
type DialError struct {
	// Host is the server's, with the port if the URL has one; after a redirect
	// that of the last. It is empty if [Config.Prepare] had still to give it.
	Host string
	// Phase is where it failed: "prepare" ([Config.Prepare]), "resolve" (name
	// look-up without a proxy, by net.Dialer), "connect" (TCP, or
	// [Config.NetDial], without a proxy), "proxy" ([Config.Proxy], and all up to
	// the proxy's consent), "tls", "handshake" (the HTTP upgrade, and the moment
	// after it), "subprotocol" (the server chose one that was not offered, or
	// none: see [Config.SubprotocolOptional]), "greeting" ([Config.Greeting], and
	// the moment after it) or "set-up" ([Config.OnConnect],
	// and the moment after it).
	Phase string
	// Addr is the address of the server, or of the proxy, that the dial was
	// connected to, or tried last to connect to; empty if it came to none.
	Addr string
	// Status is the HTTP status that the server answered with, or the proxy if
	// Phase is "proxy"; 0: none.
	Status int
	// RetryAfter is how long that answer asked to wait, [Config.MaxRetryAfter] at
	// most. It counts only if RetryAfterSet is true: then 0 means at once.
	RetryAfter time.Duration
	// RetryAfterSet is whether the answer had a Retry-After field as RFC 9110,
	// section 10.2.3, defines it.
	RetryAfterSet bool
	// RetryAfterErr says why the answer's Retry-After field was ignored; nil: it
	// had none, or one that counts.
	RetryAfterErr error
	// Response is that answer, headers and body; nil: none.
	Response *Response
	// Err is the cause. For an answer of the server that is no upgrade it is or
	// wraps [websocket.ErrBadHandshake]. Its own text may show more.
	Err error

	text     string // of Err, as it may be shown; "": not known
	location string // of Response, as it may be shown
}

func (e *DialError) Error() string {
	var b strings.Builder
	b.WriteString("wspool: dial")
	if e.Host != "" {
		b.WriteString(" " + e.Host)
	}
	cause := e.cause()
	b.WriteString(": " + e.Phase + ": " + cause)
	if more := e.more(cause); len(more) > 0 {
		b.WriteString(" (" + strings.Join(more, ", ") + ")")
	}
	if e.Response != nil {
		if says := e.Response.says(); says != "" {
			fmt.Fprintf(&b, ": %q", says)
		}
	}
	return b.String()
}

// cause is the text of Err.
func (e *DialError) cause() string {
	if e.text == "" && e.Err != nil {
		return new(secrets).text(e.Err)
	}
	return e.text
}

// more is what the text says behind the cause.
func (e *DialError) more(cause string) (more []string) {
	if e.Status != 0 {
		more = append(more, strings.TrimSpace(fmt.Sprintf("status %d %s", e.Status, http.StatusText(e.Status))))
		switch {
		case e.RetryAfterSet:
			more = append(more, fmt.Sprintf("retry after %v", e.RetryAfter))
		case e.RetryAfterErr != nil:
			more = append(more, e.RetryAfterErr.Error())
		}
	}
	if e.location != "" {
		more = append(more, "it leads to "+e.location)
	}
	if e.Addr != "" && e.Addr != e.Host && !strings.Contains(cause, e.Addr) {
		more = append(more, "at "+e.Addr)
	}
	return more
}

// GoString keeps what a server sent out of %#v.
func (e *DialError) GoString() string {
	return fmt.Sprintf("&wspool.DialError{Host:%q, Phase:%q, Addr:%q, Status:%d, RetryAfter:%d, Err:%q}",
		e.Host, e.Phase, e.Addr, e.Status, e.RetryAfter, e.cause())
}

// LogValue is a group: the text, and the fields.
func (e *DialError) LogValue() slog.Value {
	return slog.GroupValue(slog.String("text", e.Error()), slog.String("host", e.Host), slog.String("phase", e.Phase),
		slog.String("addr", e.Addr), slog.Int("status", e.Status), slog.Duration("retry_after", e.RetryAfter))
}

// Unwrap leads to Err.
func (e *DialError) Unwrap() error { return e.Err }
