package wspool

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// DialError says how far a dial came and why it failed. Its text shows the
// host, the proxy's host if it was to blame, and nothing else of a URL or of any
// header, unless the server repeats it in the text of a [CloseError].
type DialError struct {
	// Host is the server's, with the port if the URL has one. It is empty if
	// [Config.Prepare] had still to give it.
	Host string
	// Phase is where it failed: "prepare" ([Config.Prepare]), "proxy"
	// ([Config.Proxy], and all up to the proxy's consent), "connect" (name
	// look-up and TCP, or [Config.NetDial], without a proxy), "tls",
	// "handshake" (the HTTP upgrade, and the moment after it), "subprotocol"
	// (the server chose none that was offered), "greeting" ([Config.Greeting],
	// and the moment after it) or "set-up" ([Config.OnConnect],
	// and the moment after it).
	Phase string
	// Status is the HTTP status that the server answered with, or the proxy if
	// Phase is "proxy"; 0: none.
	Status int
	// RetryAfter is how long that answer asked to wait; 0: it did not.
	RetryAfter time.Duration
	// Err is the cause. For an answer of the server that is no upgrade it is
	// [websocket.ErrBadHandshake].
	Err error
}

func (e *DialError) Error() string {
	var b strings.Builder
	b.WriteString("wspool: dial")
	if e.Host != "" {
		b.WriteString(" " + e.Host)
	}
	fmt.Fprintf(&b, ": %s: %v", e.Phase, e.Err)
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
