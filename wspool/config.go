package wspool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/respool/respool/resource"
)

// What zero means in a [Config].
const (
	DefaultDialTimeout  = 10 * time.Second
	DefaultWriteTimeout = 10 * time.Second
	DefaultCloseTimeout = 2 * time.Second
	DefaultReadLimit    = 16 << 20
)

// Config says where and how to connect and how the connections are pooled.
// [New] copies it. Only URL and MaxSize are required; every other zero value is
// a working default.
type Config struct {
	// URL is where to connect, ws://host[:port]/path or wss://… . Required. It
	// carries no user name or password (use Header) and no fragment.
	URL string
	// Header returns the headers of one handshake. It is asked at every dial,
	// so a short-lived token is always fresh. It may block until ctx ends; an
	// error fails the dial. Nil: none beyond those of the protocol.
	Header func(ctx context.Context) (http.Header, error)
	// Subprotocols are those the client offers, the preferred first. The
	// server must choose one of them, or the dial fails. Nil: none.
	Subprotocols []string
	// TLS configures wss; it is cloned for each dial. NextProtos must not name
	// anything but http/1.1. Nil: the defaults of crypto/tls.
	TLS *tls.Config
	// NetDial opens the connection below TLS and WebSocket. If that is a
	// *net.TCPConn or *net.UnixConn, a message that has come in is known even
	// before it is read; with another type it is known some microseconds
	// later. Nil: a net.Dialer.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Unpaired says that messages are not requests and replies: a lease may
	// read before it has written, and end with a write that nobody answers.
	// The pool can then tell less well whose a late message is. While it is
	// false, a message that comes before the lease has written is
	// [ErrUnsolicited], and a lease that ends with a write that nothing was
	// read after destroys the connection with [ErrUnread].
	Unpaired bool
	// Broken says which errors given to [Conn.Fail] or returned from the
	// function in [Pool.Do] mean that the connection must not be lent again.
	// Nil: every one. A connection that is not clean is never lent again,
	// whatever Broken says.
	Broken func(err error) bool

	// MaxSize is how many connections may exist at once. Required, at least 1.
	MaxSize int
	// MinIdle is how many to keep ready, MaxSize at most. Zero: none.
	MinIdle int

	// DialTimeout bounds one dial, from Header to the checked handshake. Zero:
	// DefaultDialTimeout.
	DialTimeout time.Duration
	// WriteTimeout bounds the writing of one message, and of a pong, which
	// gets 5 s at most. Zero: DefaultWriteTimeout.
	WriteTimeout time.Duration
	// CloseTimeout bounds the closing of one connection: the close frame, the
	// peer's answer and the moment it gets to hang up first. Zero:
	// DefaultCloseTimeout.
	CloseTimeout time.Duration
	// ReadLimit is how many bytes a received message may have. A longer one
	// ends the connection with close code 1009. Zero: DefaultReadLimit.
	ReadLimit int64

	// The rest is as in [resource.Config], zero values included.

	SweepInterval time.Duration       // how often idle connections are held against Eviction and MinIdle
	Order         resource.Order      // which idle connection is lent
	Queue         resource.Queue      // in what order callers wait
	Outage        resource.OutageMode // what callers get while dials keep failing
	Admission     resource.Admission  // may this caller ask?
	MakeGate      resource.Admission  // may another dial begin now?
	Quota         resource.Admission  // may another connection exist?
	Eviction      resource.Eviction   // has it served long enough?
	Trace         *resource.Trace     // told what happens
}

// check names every bad field. It shows nothing of the URL but its scheme:
// what does not parse may hold a password anywhere.
func (c *Config) check() error {
	var bad []error
	no := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf(format, args...))
		}
	}
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		no(false, "URL is empty")
	case err != nil:
		no(false, "URL does not parse")
	default:
		no(u.Scheme == "ws" || u.Scheme == "wss", "URL is not of scheme ws or wss")
		no(u.Hostname() != "", "URL has no host")
		no(u.User == nil, "URL has a user name or password")
		no(u.Fragment == "", "URL has a fragment")
	}
	no(!slices.Contains(c.Subprotocols, ""), "Subprotocols has an empty one")
	no(c.TLS == nil || !slices.ContainsFunc(c.TLS.NextProtos, func(p string) bool { return p != "http/1.1" }),
		"TLS.NextProtos names a protocol besides http/1.1")
	no(c.MaxSize >= 1, "MaxSize is %d, not at least 1", c.MaxSize)
	no(c.MinIdle >= 0, "MinIdle is %d, not at least 0", c.MinIdle)
	no(c.MinIdle <= max(c.MaxSize, 0), "MinIdle is %d, over MaxSize %d", c.MinIdle, c.MaxSize)
	no(c.DialTimeout >= 0, "DialTimeout is %v, not at least 0", c.DialTimeout)
	no(c.WriteTimeout >= 0, "WriteTimeout is %v, not at least 0", c.WriteTimeout)
	no(c.CloseTimeout >= 0, "CloseTimeout is %v, not at least 0", c.CloseTimeout)
	no(c.ReadLimit >= 0, "ReadLimit is %d, not at least 0", c.ReadLimit)
	no(c.SweepInterval >= 0, "SweepInterval is %v, not at least 0", c.SweepInterval)
	no(c.Order <= resource.OldestFirst, "Order is %d, not NewestFirst or OldestFirst", c.Order)
	no(c.Outage <= resource.KeepWaiting, "Outage is %d, not FailFast or KeepWaiting", c.Outage)
	if bad == nil {
		return nil
	}
	return fmt.Errorf("wspool: bad Config: %w", errors.Join(bad...))
}

// withDefaults returns a copy that shares nothing that a caller may change, in
// which zero values are replaced.
func (c Config) withDefaults() Config {
	c.Subprotocols = slices.Clone(c.Subprotocols)
	if c.TLS != nil {
		c.TLS = c.TLS.Clone()
	}
	if c.NetDial == nil {
		c.NetDial = (&net.Dialer{}).DialContext
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = DefaultDialTimeout
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = DefaultWriteTimeout
	}
	if c.CloseTimeout == 0 {
		c.CloseTimeout = DefaultCloseTimeout
	}
	if c.ReadLimit == 0 {
		c.ReadLimit = DefaultReadLimit
	}
	return c
}
