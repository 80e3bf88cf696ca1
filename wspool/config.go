package wspool

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"time"

	"github.com/respool/respool/internal/redact"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/internal/bridge"
)

// The defaults of [Config].
const (
	DefaultDialTimeout  = 10 * time.Second
	DefaultWriteTimeout = 10 * time.Second
	DefaultCloseTimeout = 2 * time.Second
	DefaultReadLimit    = 16 << 20 // bytes
	DefaultKeepAlive    = 15 * time.Second
	DefaultPongWait     = 10 * time.Second
	DefaultWatchAfter   = 10 * time.Millisecond
	DefaultMaxDials     = 16

	DefaultMaxRetryAfter = 10 * time.Minute

	DefaultUnsolicitedLimit = 60       // a minute
	DefaultControlLimit     = 5000     // a second
	DefaultWriteFrameSize   = 64 << 10 // bytes
)

// The bounds of [Config.WriteFrameSize], in bytes.
const (
	MinWriteFrameSize = 128
	MaxWriteFrameSize = 64 << 20
)

// MaxRedirects is the most that [Config.Redirects] may be.
const MaxRedirects = 20

// forever stands for any longer time: two of them can still be added to the clock, and a deadline
// that far away still has a UnixNano.
const forever = math.MaxInt64 / 4

// Config says where and how to connect and how the connections are pooled. [New] copies it.
// Only URL and MaxSize are required; every other zero value is a working default.
type Config struct {
	// URL is where to connect: ws://host[:port]/path or wss://… . Required, unless Prepare
	// is set and provides one. It has no user name or password (Prepare can send them in a
	// header) and no fragment.
	URL string
	// Subprotocols are those that the client offers, the preferred one first. The server
	// must choose one of them, or the dial fails, unless SubprotocolOptional is set. Nil:
	// none.
	Subprotocols []string
	// SubprotocolOptional accepts a server that chooses none of the subprotocols offered, as
	// RFC 6455, section 4.1, allows and browsers do; [Conn.Subprotocol] is "" then. A
	// subprotocol that was not offered always fails the dial. False: the server must choose
	// one.
	SubprotocolOptional bool
	// Redirects is how many redirects (status 301, 302, 303, 307 or 308) one dial follows,
	// MaxRedirects at most. A redirect may lead to the same host, or to any host over TLS,
	// but never from wss to ws. A redirect to another host, or to another port (except from
	// 80 to 443 where TLS begins), removes the credentials for the rest of the dial: of
	// Prepare's headers only Accept-Language, Origin and User-Agent are sent, no client
	// certificate is used, and TLS.ServerName is ignored. Subprotocols are still offered, and
	// Jar's cookies for the new URL are sent. Zero: no redirect is followed; the text of the
	// [DialError] shows where it leads.
	Redirects int
	// Jar holds cookies, as RFC 6265 defines: those for the URL (with http for ws and https
	// for wss) are sent with each handshake, and those of each answer, a refusal or redirect
	// included, are stored in it. Many goroutines call it at once, and it must not block.
	// Nil: no cookies but those that Prepare sets.
	Jar http.CookieJar
	// Prepare completes one handshake. It is called for every dial, and again for each
	// further attempt of a dial (see Lookup), so that a short-lived token or a signed URL is
	// always fresh. h contains URL and Subprotocols, and is Prepare's to change. It may block
	// until ctx ends; an error fails the dial, and its text is shown (see DialError). Many
	// goroutines call it at once. Nil: nothing to change.
	Prepare func(ctx context.Context, h *Handshake) error
	// TLS configures wss; it is cloned for each dial. NextProtos may contain http/1.1 only,
	// which ALPN offers if NextProtos is nil; if it is empty and not nil nothing is offered.
	// ServerName is the URL's host unless it is set. If ClientSessionCache is nil the pool
	// has one of its own, so that a dial resumes the TLS session of an earlier one;
	// SessionTicketsDisabled prevents that. Its Get and Put are called within a dial, and Put
	// later too, from a goroutine of its own. A resumed session keeps the client certificate of
	// its first handshake. So no session is resumed if GetClientCertificate is set, which is
	// then called for every dial, whatever ClientSessionCache is; and no session from before
	// a [Pool.Reset], or from before a dial that failed in its TLS handshake, with status
	// 400, 401, 403, 407, 495 or 496, or with close code 1008, 3000, 4401 or 4403 in
	// OnConnect. Renegotiation must be tls.RenegotiateNever, its zero value: crypto/tls cannot
	// renegotiate in a read that does not block. Nil: the defaults of crypto/tls.
	TLS *tls.Config
	// Proxy returns the proxy of one dial; nil: none. It is called as net/http calls it, with
	// scheme http for ws and https for wss, so [http.ProxyFromEnvironment] and
	// [http.ProxyURL] fit. A proxy of scheme http or https is asked for a tunnel by CONNECT; a
	// proxy of scheme socks5 or socks5h (the same) is asked to connect to the host, whose
	// name it looks up. User name and password of the proxy's URL are sent to it. The
	// certificate of an https proxy is verified as TLS says, but for the proxy's name. Nil:
	// no proxy.
	Proxy func(*http.Request) (*url.URL, error)
	// Lookup returns the addresses of the URL's host, the preferred one first, where no proxy
	// is used; a proxy looks names up itself. A dial connects to the first address. It tries
	// the next one in parallel if it has not connected within 250 ms (RFC 8305, "Happy
	// Eyeballs"), or has connected and the TLS or WebSocket handshake takes longer than
	// handshakes usually do (1 s while that is not known), and at once if it fails without an
	// answer. An address that stayed silent is tried last for a minute. Prepare is called for
	// each such attempt; TLS verifies, and the Host header contains, the URL's host. Where a
	// redirect leads, the addresses are tried one after the other, each for an equal share of
	// the time that is left. Lookup must return when ctx ends. Nil: net.DefaultResolver,
	// unless NetDial is set.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// ProxyConnectHeader returns headers to send to a proxy of scheme http or https, with the
	// CONNECT to target, a host and port. It is called for every dial through a proxy, and
	// may block until ctx ends; an error fails the dial, and its text is shown. A
	// Proxy-Authorization in it replaces the one of the proxy's URL. Nil: no more headers.
	ProxyConnectHeader func(ctx context.Context, proxy *url.URL, target string) (http.Header, error)
	// NetDial opens the connection below TLS and WebSocket, to the server or to the proxy,
	// and must return when ctx ends. The pool closes the connection. If it is a *net.TCPConn
	// or *net.UnixConn, the pool knows of a message even before it reads it; with another
	// type some microseconds later.
	//
	// addr is an address and port if Lookup is set. If not it is the URL's host and port, so
	// that NetDial can look the name up anywhere. But if NetDial returns a TCP connection to
	// one of the addresses that net.DefaultResolver has for that name, and the connection
	// stays silent, NetDial is called for the next of those addresses, as with Lookup. Nil: a
	// net.Dialer.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Exchange says how the messages of a lease belong together, and so whether a lease
	// leaves the connection clean when it ends. Zero: ReplyLast.
	Exchange Exchange
	// OnConnect sets a new connection up before it is pooled: it signs in, subscribes, reads a
	// greeting. It has the connection to itself until it returns, and must return when ctx
	// ends, which DialTimeout bounds. An error fails the dial. Exchange does not apply to it,
	// and it may read first. [Conn.SetValue] passes what it found, such as the id of a session,
	// to the leases of the connection.
	//
	// A message that OnConnect leaves unread fails the dial with [ErrUnread], unless
	// OnUnsolicited is set and OnConnect has read at least one message for each that it wrote:
	// then the message goes to OnUnsolicited, as one that arrives later does. So if a reply has
	// several parts OnConnect must read all of them. Nil: nothing to set up.
	OnConnect func(ctx context.Context, c *Conn) error
	// Greeting says that the server speaks first: each dial waits for one message, and fails
	// if none arrives within DialTimeout. OnConnect, if set, is called after that and gets the
	// message from [Conn.Greeting]; otherwise the message is dropped. False: a message that
	// arrives before the first lease has written is unsolicited, and one that arrives later
	// passes for the answer to what that lease has written.
	Greeting bool
	// Heartbeat is a message that keeps a connection alive for servers that do not count
	// pings. The zero value: none.
	Heartbeat Heartbeat
	// Quiet is how long no message may have arrived after a lease before the connection is
	// lent again. Until then the connection is in quarantine: it is read, and every message
	// is dropped, because it belongs to the lease that ended; it reaches no other lease and
	// does not count as unsolicited. If OnUnsolicited is set, it is called with each of
	// them for an answer, and its error is ignored.
	//
	// Release does not wait. Waiting callers get the connection at the end of the
	// quarantine, or another one before that. If the quarantine takes longer than 1.5 s, a
	// connection is dialled for them if there is room. A lease that has written and read
	// nothing is followed by no quarantine. If a lease leaves a message unread, the
	// connection is kept, as long as Exchange is kept otherwise. A connection on which
	// messages still arrive [QuietPatience] after Quiet is destroyed with [ErrUnread].
	// Zero: none.
	Quiet time.Duration
	// OnUnsolicited is called with each message that belongs to no lease: one that arrives
	// while the connection is not leased, or, unless Exchange is Unpaired, before the lease
	// has written anything; or behind the last reply that OnConnect has read, as an event does
	// with which a server welcomes its clients. It returns the answer to send, nil for none; an
	// error destroys the connection, and so does a panic.
	//
	// It is also called with a message that a lease left unread, if the message had arrived
	// whole and the lease has otherwise kept Exchange. That can be a ping of the
	// application's protocol behind the reply, or a part of a reply. Only an answer shows
	// that OnUnsolicited knows the message: if it returns nil, the connection is destroyed
	// with [ErrUnread], because more of the reply may come. So it must not answer what can
	// be a reply.
	//
	// It runs on the goroutine that reads the connection, which waits for it, and for many
	// connections at once. It must return when ctx ends: with the connection, or after
	// WriteTimeout. Until it returns the connection is not lent; if a caller has already
	// acquired the connection, it is destroyed after 2 s. So OnUnsolicited must not wait
	// for the pool. A lease that has written gets such messages itself. Nil: the connection
	// is destroyed with [ErrUnsolicited]. See also [DropUnsolicited].
	OnUnsolicited func(ctx context.Context, m Message) (answer *Message, err error)
	// UnsolicitedLimit is how many such messages a connection may send in a minute; one more
	// destroys it with [ErrFlooded]. It applies only if OnUnsolicited is set. Zero:
	// DefaultUnsolicitedLimit.
	UnsolicitedLimit int
	// ControlLimit is how many control frames (pings, pongs and close frames, RFC 6455,
	// section 5.5) a connection may send in a second, leased or not; one more destroys it with
	// [ErrFlooded]. Each costs a few microseconds and most pings an answer, so that a peer that
	// sends nothing else could keep a processor busy. Zero: DefaultControlLimit.
	ControlLimit int
	// Compression offers permessage-deflate (RFC 7692) to the server, without context
	// takeover.
	Compression bool
	// Broken says which errors passed to [Conn.Fail] or returned from the function in
	// [Pool.Do] mean that the connection must not be lent again. Nil: all. A connection that
	// is not clean is never lent again, whatever Broken says.
	Broken func(err error) bool

	// MaxSize is how many connections may exist at once. Required, at least 1.
	MaxSize int
	// MinIdle is how many connections to keep ready, MaxSize at most; they are dialled ahead,
	// in the background. Zero: none.
	MinIdle int

	// DialTimeout bounds one dial, from Prepare to the end of OnConnect. Zero:
	// DefaultDialTimeout.
	DialTimeout time.Duration
	// WriteTimeout is how long the writing of a message may make no progress: the network
	// takes no byte. A long message on a slow network may take longer; the ctx of the write
	// bounds the whole. A stop is noticed up to an eighth of the time late. It also bounds the
	// writing of a pong, which gets 5 s at most (maxPongWait). Zero: DefaultWriteTimeout.
	WriteTimeout time.Duration
	// CloseTimeout bounds the closing of one connection: the close frame, the peer's answer,
	// and the time for the peer to close TCP first. The connection keeps its slot meanwhile:
	// where callers give up on a slow server and connections are discarded, a shorter time
	// frees slots sooner. Zero: DefaultCloseTimeout.
	CloseTimeout time.Duration
	// ReadLimit is how many bytes a received message may have, both as sent and inflated. A
	// longer one ends the connection with close code 1009 ([ErrReadLimit]). Zero:
	// DefaultReadLimit.
	ReadLimit int64
	// WriteFrameSize is how many bytes of a message go into one frame; a longer message is
	// sent in fragments (RFC 6455, section 5.4), which some peers mishandle. A buffer of this
	// size is held while a message is written, also for a short one; all connections share
	// the buffers. A writer of [Conn.NextWriter] sends whenever a frame is full, and at Close.
	// From MinWriteFrameSize to MaxWriteFrameSize. Zero: DefaultWriteFrameSize.
	WriteFrameSize int
	// CheckUTF8 checks that text messages are UTF-8, as RFC 6455, section 8.1, requires. If
	// a caller writes a text message that is not, it is not sent (see [ErrNotUTF8]); if the
	// peer sends one, the connection ends with close code 1007. [Conn.WritePrepared] is not
	// checked. False: text is passed on unchecked in both directions, which saves the time.
	CheckUTF8 bool

	// KeepAlive is how long nothing may arrive before a ping is sent. Each connection uses up
	// to a tenth less, so that pings do not synchronize. When a connection is found stale
	// ([ErrStale]), others that have been silent since must answer a ping before they are
	// lent; so must a connection that has been silent for longer than KeepAlive and PongWait
	// together, because the process stood still. Zero: DefaultKeepAlive; negative: no pings
	// but those of [Conn.Ping], and none of these checks.
	KeepAlive time.Duration
	// PongWait is how long after a ping something must arrive, or the connection is dead
	// ([ErrSilent]). The time while a message waits for the lease to read it does not count.
	// Before a peer is called silent the pool checks whether something has arrived unread;
	// where it cannot check (see NetDial), and its timer is late by a quarter of PongWait or
	// more, the process stood still, and the peer gets PongWait again, three times at most.
	// Zero: DefaultPongWait.
	PongWait time.Duration
	// WatchAfter is how long a connection that was given back clean stays hot: no goroutine
	// reads it, so that the next caller can read it on its own goroutine without a hand-over;
	// a ping of the server is not answered meanwhile. After it, or up to twice as long, the
	// connection is watched. Zero: DefaultWatchAfter; negative: it is never hot.
	WatchAfter time.Duration

	// MaxDials is how many dials may run at once; further dials wait in line. Further attempts
	// of one dial (see Lookup) do not count. In a [Manager] each key counts its own. Zero:
	// DefaultMaxDials.
	MaxDials int
	// Redial returns for how long no dial may begin after a connection ended, or a dial
	// failed, with cause: an [*EndError] or a [*DialError]. Zero is no pause; of several
	// pauses the one that ends last applies. streak is how many have ended so in a row, this
	// one included. Connections that end together count as one: once an end has counted, the
	// ends of connections dialled before it do not, and Redial is called for them only if they
	// have another close code or status. The streak is 1 again after a connection dialled
	// later has served a lease or stayed up for 5 s (provenAfter). Redial is not called for
	// connections that the pool ends. In a [Manager] each key has its own pause and streak,
	// also where several keys are one server. [Pool.ResetNow] ends a pause. Redial must not
	// block; if it panics, DefaultRedial decides. Nil: [DefaultRedial].
	Redial func(cause error, streak int) time.Duration
	// MaxRetryAfter is the longest Retry-After of a server or proxy that is honoured; a longer
	// one counts as this. Zero: DefaultMaxRetryAfter.
	MaxRetryAfter time.Duration

	// Health checks idle connections beyond what their watcher sees; [resource.Health] says
	// when, and with what consequences. The Conn belongs to the check until the check
	// returns, which must leave the connection as a lease leaves it (see Exchange), or it
	// is destroyed. A check that has only written leaves it clean: that declares that no
	// answer will come. For a keepalive message use Heartbeat. Nil: none.
	Health resource.Health[*Conn]

	// The rest is as in [resource.Config], zero values included.

	SweepInterval time.Duration       // how often idle connections are checked against Eviction and MinIdle, at least resource.MinSweepInterval
	Order         resource.Order      // which idle connection is lent
	Queue         resource.Queue      // in what order callers wait
	Outage        resource.OutageMode // what callers get while dials keep failing
	Admission     resource.Admission  // may this caller acquire?
	MakeGate      resource.Admission  // may another dial begin now?
	Quota         resource.Admission  // may another connection exist?
	Eviction      resource.Eviction   // has it served long enough?
	Trace         *resource.Trace     // hooks for what happens; copied
	SampleLeases  int                 // one of so many leases is reported to Trace; zero: all if Reclaim is set

	// Reclaim destroys a connection, with the cause [ErrDropped], whose Conn the garbage
	// collector finds unreachable although its lease has not ended: the caller forgot to end
	// it, and its slot would be lost for good. It is found at the next collection, which in a
	// process that allocates little may be two minutes away. A Conn is in use, and not
	// dropped, while a goroutine has it or calls one of its methods, and while a goroutine has
	// a reader or writer from it, or its NetConn. A Conn that is reachable from the context of
	// its own open reader is not found. Reclaim is a safety net for a bug, which Trace.Ended
	// and Trace.Destroyed report and Stats counts, and no way to end leases; each lease takes
	// a little less than a microsecond longer with it. A leaked Conn that is still reachable,
	// from a slice or a blocked goroutine, is not found either: an operator can end its lease
	// with [Pool.Reclaim]. False: such a connection is never found.
	Reclaim bool

	observer bridge.Observer // of package cluster; nil: none
	given    *Config         // by the user of package cluster, without its hooks; nil: this Config
}

// check names every bad field.
func (c *Config) check() error {
	var bad complaints
	if c.URL != "" || c.Prepare == nil {
		bad.url(c.URL)
	}
	bad.subprotocols(c.Subprotocols)
	no := bad.no
	no(c.TLS == nil || !slices.ContainsFunc(c.TLS.NextProtos, func(p string) bool { return p != "http/1.1" }),
		"TLS.NextProtos must contain http/1.1 only")
	no(c.TLS == nil || c.TLS.Renegotiation == tls.RenegotiateNever, "TLS.Renegotiation must be tls.RenegotiateNever")
	no(c.Redirects >= 0 && c.Redirects <= MaxRedirects, "Redirects must be between 0 and %d, got %d", MaxRedirects, c.Redirects)
	no(c.MaxSize >= 1, "MaxSize must be at least 1, got %d", c.MaxSize)
	no(c.MinIdle >= 0, "MinIdle must be at least 0, got %d", c.MinIdle)
	no(c.MinIdle <= max(c.MaxSize, 0), "MinIdle must be at most MaxSize (%d), got %d", c.MaxSize, c.MinIdle)
	no(c.DialTimeout >= 0, "DialTimeout must be at least 0, got %v", c.DialTimeout)
	no(c.WriteTimeout >= 0, "WriteTimeout must be at least 0, got %v", c.WriteTimeout)
	no(c.CloseTimeout >= 0, "CloseTimeout must be at least 0, got %v", c.CloseTimeout)
	no(c.ReadLimit >= 0, "ReadLimit must be at least 0, got %d", c.ReadLimit)
	no(c.Exchange <= Unpaired, "Exchange must be ReplyLast, ReplyEach or Unpaired, got %d", c.Exchange)
	no(c.Quiet >= 0, "Quiet must be at least 0, got %v", c.Quiet)
	no(c.WriteFrameSize == 0 || c.WriteFrameSize >= MinWriteFrameSize && c.WriteFrameSize <= MaxWriteFrameSize,
		"WriteFrameSize must be 0 or between %d and %d, got %d", MinWriteFrameSize, MaxWriteFrameSize, c.WriteFrameSize)
	bad.heartbeat(&c.Heartbeat)
	no(c.UnsolicitedLimit >= 0, "UnsolicitedLimit must be at least 0, got %d", c.UnsolicitedLimit)
	no(c.ControlLimit >= 0, "ControlLimit must be at least 0, got %d", c.ControlLimit)
	no(c.PongWait >= 0, "PongWait must be at least 0, got %v", c.PongWait)
	no(c.MaxDials >= 0, "MaxDials must be at least 0, got %d", c.MaxDials)
	no(c.MaxRetryAfter >= 0, "MaxRetryAfter must be at least 0, got %v", c.MaxRetryAfter)
	no(c.SampleLeases >= 0, "SampleLeases must be at least 0, got %d", c.SampleLeases)
	no(c.SweepInterval == 0 || c.SweepInterval >= resource.MinSweepInterval, "SweepInterval must be 0 or at least %v, got %v", resource.MinSweepInterval, c.SweepInterval)
	no(c.Order <= resource.OldestFirst, "Order must be NewestFirst or OldestFirst, got %d", c.Order)
	no(c.Outage <= resource.KeepWaiting, "Outage must be FailFast or KeepWaiting, got %d", c.Outage)
	if bad == nil {
		return nil
	}
	return fmt.Errorf("wspool: bad Config: %w", errors.Join(bad...))
}

// sampleLeases returns one lease of how many is sampled. With Reclaim all are, so that a
// dropped lease is reported with the caller that acquired it; beside the cost of Reclaim a
// sample costs little.
func (c *Config) sampleLeases() int {
	if c.SampleLeases == 0 && c.Reclaim {
		return 1
	}
	return c.SampleLeases
}

// copyOf returns a copy of t, whose functions the user may set later while Inspect counts them.
func copyOf(t *resource.Trace) *resource.Trace {
	if t == nil {
		return nil
	}
	c := *t
	return &c
}

// withDefaults returns a copy in which zero values are replaced, and which shares nothing
// that a caller may change.
func (c Config) withDefaults() Config {
	c.Subprotocols = slices.Clone(c.Subprotocols)
	c.TLS = c.TLS.Clone()
	if c.TLS == nil {
		c.TLS = &tls.Config{}
	}
	if c.TLS.NextProtos == nil {
		c.TLS.NextProtos = []string{"http/1.1"} // without it some servers and proxies choose HTTP/2
	}
	if c.NetDial == nil {
		c.NetDial = (&net.Dialer{}).DialContext
		if c.Lookup == nil {
			c.Lookup = lookup
		}
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
	if c.KeepAlive == 0 {
		c.KeepAlive = DefaultKeepAlive
	}
	if c.PongWait == 0 {
		c.PongWait = DefaultPongWait
	}
	if c.WatchAfter == 0 {
		c.WatchAfter = DefaultWatchAfter
	}
	if c.MaxDials == 0 {
		c.MaxDials = DefaultMaxDials
	}
	if c.MaxRetryAfter == 0 {
		c.MaxRetryAfter = DefaultMaxRetryAfter
	}
	if c.Redial == nil {
		c.Redial = DefaultRedial
	}
	if c.UnsolicitedLimit == 0 {
		c.UnsolicitedLimit = DefaultUnsolicitedLimit
	}
	if c.ControlLimit == 0 {
		c.ControlLimit = DefaultControlLimit
	}
	if c.WriteFrameSize == 0 {
		c.WriteFrameSize = DefaultWriteFrameSize
	}
	c.Heartbeat.Message.Data = slices.Clone(c.Heartbeat.Message.Data)
	for _, d := range []*time.Duration{
		&c.DialTimeout, &c.WriteTimeout, &c.CloseTimeout, &c.KeepAlive, &c.PongWait, &c.WatchAfter, &c.Quiet, &c.Heartbeat.Every,
	} {
		*d = min(*d, forever)
	}
	return c
}

// String shows the fields that are set, without secrets: of URL its scheme and host, of
// Subprotocols how many there are, numbers and durations as they are, and of anything else
// its type. All verbs of fmt, slog and JSON show the same. They cannot protect a Config in
// an unexported field of another struct, whose fields fmt prints as they are.
func (c Config) String() string { return shownConfig(c).String() }

// Format writes String for every verb.
func (c Config) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue returns a group of what String shows.
func (c Config) LogValue() slog.Value { return shownConfig(c).LogValue() }

// MarshalJSON returns an object of what String shows. A Config cannot be read back.
func (c Config) MarshalJSON() ([]byte, error) { return shownConfig(c).MarshalJSON() }

// String shows h without secrets: the scheme and host of the URL, the names of headers, and
// how many subprotocols there are. All verbs of fmt, slog and JSON show the same.
func (h Handshake) String() string { return shownHandshake(h).String() }

// Format writes String for every verb.
func (h Handshake) Format(f fmt.State, _ rune) { io.WriteString(f, h.String()) }

// LogValue returns a group of what String shows.
func (h Handshake) LogValue() slog.Value { return shownHandshake(h).LogValue() }

// MarshalJSON returns an object of what String shows.
func (h Handshake) MarshalJSON() ([]byte, error) { return shownHandshake(h).MarshalJSON() }

// Format writes the kind of pool, and what String of its Config shows, for every verb: fmt
// would follow pointers, without a lock, and print everything behind them.
func (p *Pool) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "wspool.Pool{%v}", p.hub.cfg) }

// Format writes the kind of manager for every verb, as [Pool.Format] does.
func (m *Manager[K]) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "wspool.Manager[%T]", *new(K)) }

// Format writes the key for every verb.
func (v KeyView[K]) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "wspool.KeyView{%v}", v.key) }

// Format writes the kind of lease for every verb, as [Pool.Format] does.
func (c *Conn) Format(f fmt.State, _ rune) { io.WriteString(f, "wspool.Conn") }

// shown is a struct in a form that may be printed.
type shown struct {
	name   string
	fields []slog.Attr // strings, numbers, durations and bools
}

func (s shown) String() string {
	b := []byte(s.name + "{")
	for i, a := range s.fields {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = fmt.Appendf(b, "%s: %v", a.Key, a.Value)
	}
	return string(append(b, '}'))
}

func (s shown) LogValue() slog.Value { return slog.GroupValue(s.fields...) }

func (s shown) MarshalJSON() ([]byte, error) {
	b := []byte("{")
	for i, a := range s.fields {
		if i > 0 {
			b = append(b, ',')
		}
		key, _ := json.Marshal(a.Key) // marshalling a string or number cannot fail
		value, err := json.Marshal(a.Value.Any())
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, key...), ':'), value...)
	}
	return append(b, '}'), nil
}

// shownConfig returns what may be shown of c. A field that is added later shows only its
// type, unless it is a number.
func shownConfig(c Config) shown {
	s := shown{name: "wspool.Config"}
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		switch {
		case name == "URL":
			if c.URL != "" {
				s.fields = append(s.fields, slog.String(name, shownTarget(c.URL)))
			}
		case name == "Subprotocols":
			if len(c.Subprotocols) > 0 {
				s.fields = append(s.fields, slog.Int(name, len(c.Subprotocols)))
			}
		case f.IsZero() || !v.Type().Field(i).IsExported():
		default:
			s.fields = append(s.fields, shownField(name, f))
		}
	}
	return s
}

func shownField(name string, f reflect.Value) slog.Attr {
	if d, ok := f.Interface().(time.Duration); ok {
		return slog.Duration(name, d)
	}
	switch f.Kind() {
	case reflect.Bool:
		return slog.Bool(name, f.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return slog.Int64(name, f.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return slog.Uint64(name, f.Uint())
	case reflect.Float32, reflect.Float64:
		return slog.Float64(name, f.Float())
	case reflect.Func:
		return slog.String(name, "func")
	case reflect.Interface:
		return slog.String(name, f.Elem().Type().String())
	}
	return slog.String(name, f.Type().String())
}

func shownHandshake(h Handshake) shown {
	return shown{"wspool.Handshake", []slog.Attr{
		slog.String("URL", shownTarget(h.URL)), slog.String("Header", shownNames(h.Header)), slog.Int("Subprotocols", len(h.Subprotocols)),
	}}
}

// shownNames returns the names of the headers in h.
func shownNames(h http.Header) string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, redact.Clean(name, shownName))
	}
	slices.Sort(names)
	return fmt.Sprint(names)
}

// shownTarget returns a URL without everything that may be secret.
func shownTarget(s string) string {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return ""
	case err != nil || u.Host == "":
		return redact.Dots
	case u.Path == "" && u.RawQuery == "" && u.User == nil:
		return u.Scheme + "://" + u.Host
	}
	return u.Scheme + "://" + u.Host + "/" + redact.Dots
}
