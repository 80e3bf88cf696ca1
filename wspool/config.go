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
)

// What zero means in a [Config].
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

// forever stands for a longer time, so that two can be added to the clock.
const forever = math.MaxInt64 / 4

// Config says where and how to connect and how the connections are pooled.
// [New] copies it. Only URL and MaxSize are required; every other zero value is
// a working default.
type Config struct {
	// URL is where to connect, ws://host[:port]/path or wss://… . Required,
	// unless Prepare is set and gives one. It carries no user name or password
	// (use Prepare to send them in a header) and no fragment.
	URL string
	// Subprotocols are those the client offers, the preferred first. The
	// server must choose one of them, or the dial fails, unless
	// SubprotocolOptional is set. Nil: none.
	Subprotocols []string
	// SubprotocolOptional accepts a server that chooses none of the subprotocols
	// offered, as RFC 6455, section 4.1, allows and browsers do;
	// [Conn.Subprotocol] is "" then. A subprotocol that was not offered always
	// fails the dial. False: the server must choose one.
	SubprotocolOptional bool
	// Redirects is how many redirects (status 301, 302, 303, 307 or 308) one dial
	// follows, MaxRedirects at most. A redirect may lead to the same host, or to
	// any host over TLS, but never from wss to ws. A redirect to another host, or
	// to another port (other than from 80 to 443, where TLS begins), drops the
	// credentials for the rest of the dial: of Prepare's headers only
	// Accept-Language, Origin and User-Agent are sent on, no client certificate
	// is, and TLS.ServerName is not used. Subprotocols are offered there too, and
	// Jar's cookies for that URL are sent. Zero: none is followed; the text of
	// the [DialError] shows where the redirect leads.
	Redirects int
	// Jar holds cookies: those for the URL, with http for ws and https for wss,
	// are sent with each handshake, and those of each answer, also of a refusal
	// or a redirect, are stored in it, as RFC 6265 says. It is called by many
	// goroutines at once, and must not block. Nil: no cookies but those that
	// Prepare sets.
	Jar http.CookieJar
	// Prepare makes one handshake ready. It is asked at every dial, and again for
	// each attempt beside the first one (see Lookup), so that a short-lived token
	// or a signed URL is always fresh, and finds what URL and Subprotocols say in
	// h, which is its own to change. It may block until ctx ends; an error fails
	// the dial, and its text is shown (see DialError). It is called by many
	// goroutines at once. Nil: nothing to change.
	Prepare func(ctx context.Context, h *Handshake) error
	// TLS configures wss; it is cloned for each dial. NextProtos must not name
	// anything but http/1.1, which is what ALPN offers if NextProtos is nil; if
	// it is empty and not nil nothing is offered. ServerName is the URL's host
	// unless it is set. If ClientSessionCache is nil the pool has one of its
	// own, so that a dial resumes the TLS session of an earlier one;
	// SessionTicketsDisabled prevents that. A resumed session keeps the client
	// certificate of its first handshake. So nothing is resumed if
	// GetClientCertificate is set, which is then asked at every dial, whatever
	// ClientSessionCache is; and no session from before a [Pool.Reset], or
	// before a dial that failed in its TLS handshake, with status 400, 401, 403,
	// 407, 495 or 496, or with close code 1008, 3000, 4401 or 4403 in OnConnect.
	// Nil: the defaults of crypto/tls.
	TLS *tls.Config
	// Proxy says through which proxy one dial goes; nil: none. It is asked as
	// net/http asks, with the URL's scheme http for ws and https for wss, so
	// [http.ProxyFromEnvironment] and [http.ProxyURL] fit. A proxy of scheme
	// http or https is asked for a tunnel by CONNECT, one of socks5 or socks5h
	// (the same) to connect to the host, whose name it looks up. User name and
	// password of the proxy's URL are sent to it. An https proxy is verified as
	// TLS says, but under its own name. Nil: no proxy.
	Proxy func(*http.Request) (*url.URL, error)
	// Lookup finds the addresses of the URL's host, the preferred one first, where
	// no proxy is used; the proxy looks names up itself. A dial connects to the
	// first, and goes on to the next, beside it, if it has not connected within
	// 250 ms (RFC 8305, "Happy Eyeballs"), or has connected and its TLS or
	// WebSocket handshake takes longer than they usually do (1 s while that is not
	// known), and at once if it fails without an answer. An address that stayed
	// silent is tried last for a minute. Prepare is asked for each such attempt;
	// TLS verifies, and the Host header names, the URL's host. It must return
	// when ctx ends. Nil: net.DefaultResolver, unless NetDial is set.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// ProxyConnectHeader returns headers to send to a proxy, of scheme http or
	// https, with the CONNECT to target, a host and port. It is asked at every
	// dial through one, and may block until ctx ends; an error fails the dial,
	// and its text is shown. A Proxy-Authorization in it is sent in place of the
	// one of the proxy's URL. Nil: no more headers.
	ProxyConnectHeader func(ctx context.Context, proxy *url.URL, target string) (http.Header, error)
	// NetDial opens the connection below TLS and WebSocket, to the server or to
	// the proxy, and must return when ctx ends. The pool closes what it
	// returned. If that is a *net.TCPConn or *net.UnixConn, a message that has
	// come in is known even before it is read; with another type it is known
	// some microseconds later.
	//
	// addr is an address and port if Lookup is set. If not it is the URL's host
	// and port, so that NetDial may look the name up anywhere. But if what it
	// returns is a TCP connection to one of the addresses that
	// net.DefaultResolver has for that name, and that stays silent, NetDial is
	// asked for the next of those addresses, as with Lookup. Nil: a net.Dialer.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Exchange says how the messages of a lease belong together, and so when a
	// lease that ends leaves the connection clean. Zero: ReplyLast.
	Exchange Exchange
	// OnConnect sets a new connection up before it is pooled: it signs in,
	// subscribes, reads a greeting. It has the connection to itself, until it
	// returns, and must return when ctx, which DialTimeout bounds, ends. An
	// error fails the dial. Exchange does not hold for it, and it may read
	// first, but a message that it leaves unread fails the dial too. What the
	// leases of this connection are to know of it, such as a session id, it
	// leaves with [Conn.SetValue]. Nil: nothing to set up.
	OnConnect func(ctx context.Context, c *Conn) error
	// Greeting says that the server speaks first: each dial waits for one
	// message, and fails if none has come within DialTimeout. OnConnect, if
	// there is one, is called after it and has it as [Conn.Greeting]; otherwise
	// it is dropped. False: a message that comes before the first lease has
	// written is unsolicited, and one that comes later passes for the answer to
	// what that lease has written.
	Greeting bool
	// Heartbeat is a message that keeps a connection alive for servers that do
	// not count pings. The zero value: none.
	Heartbeat Heartbeat
	// Quiet is for how long no message may have come in after a lease before
	// the connection is lent again. Until then the connection is in quarantine:
	// it is read, and every message is dropped, for it belongs to the lease that
	// ended; it reaches no other lease and does not count as unsolicited. If
	// OnUnsolicited is set, it is asked for an answer to each; its error does
	// not matter then. Release does not wait. Callers that wait get the
	// connection at the end of the quarantine, or another before that; one is
	// dialled for them, where there is room, if the quarantine takes longer than
	// 1.5 s. A lease that has written and read nothing is followed by no
	// quarantine. A message that a lease leaves unread does not cost the
	// connection, as long as Exchange is kept otherwise. A connection on which
	// messages still come [QuietPatience] after Quiet is destroyed with
	// [ErrUnread]. Zero: none.
	Quiet time.Duration
	// OnUnsolicited is given each message that belongs to no lease: one that
	// comes in while nobody has the connection, or, unless Exchange is
	// Unpaired, before the lease has written anything. It returns what to
	// answer, nil for nothing; an error destroys the connection, and so does a
	// panic.
	//
	// It is also given a message that a lease left unread which has otherwise
	// kept Exchange, if the message had come in whole. That can be a ping of
	// the application's protocol behind the reply, or a part of a reply. Only an
	// answer shows that OnUnsolicited knows the message: if it returns nil, the
	// connection is destroyed with [ErrUnread], for more of the reply may come.
	// So it must not answer what can be a reply.
	// It runs on the goroutine that reads the connection, which reads on
	// when it has returned, for many connections at once, and must return when
	// ctx ends, with the connection or after WriteTimeout. Meanwhile the
	// connection is not lent, and if a caller has come for it, it is destroyed
	// after 2 s, so OnUnsolicited must not wait for the pool either. A lease that has
	// written gets such messages itself. Nil: the connection is destroyed with
	// [ErrUnsolicited]. See also [DropUnsolicited].
	OnUnsolicited func(ctx context.Context, m Message) (answer *Message, err error)
	// UnsolicitedLimit is how many such messages a connection may send in a
	// minute; one more destroys it with [ErrFlooded]. It counts only where
	// OnUnsolicited is set. Zero: DefaultUnsolicitedLimit.
	UnsolicitedLimit int
	// ControlLimit is how many control frames (pings, pongs and close frames, RFC
	// 6455 section 5.5) a connection may send in a second, leased or not; one more
	// destroys it with [ErrFlooded]. Each costs a few microseconds and most pings
	// an answer, so that a peer that sends nothing else would keep a processor
	// busy. Zero: DefaultControlLimit.
	ControlLimit int
	// Compression offers permessage-deflate (RFC 7692) to the server, without
	// context takeover.
	Compression bool
	// Broken says which errors given to [Conn.Fail] or returned from the
	// function in [Pool.Do] mean that the connection must not be lent again.
	// Nil: every one. A connection that is not clean is never lent again,
	// whatever Broken says.
	Broken func(err error) bool

	// MaxSize is how many connections may exist at once. Required, at least 1.
	MaxSize int
	// MinIdle is how many to keep ready, MaxSize at most; they are dialled
	// ahead, in the background. Zero: none.
	MinIdle int

	// DialTimeout bounds one dial, from Prepare to the end of OnConnect. Zero:
	// DefaultDialTimeout.
	DialTimeout time.Duration
	// WriteTimeout is for how long the writing of a message may make no
	// progress: the peer, or the network before it, takes no byte. A long
	// message on a slow network may take longer; the ctx of the write bounds the
	// whole. That no byte was taken is seen up to an eighth of it late. It also
	// bounds the writing of a pong, which gets 5 s at most. Zero:
	// DefaultWriteTimeout.
	WriteTimeout time.Duration
	// CloseTimeout bounds the closing of one connection: the close frame, the
	// peer's answer and the moment it gets to hang up first. Zero:
	// DefaultCloseTimeout.
	CloseTimeout time.Duration
	// ReadLimit is how many bytes a received message may have, both as it was
	// sent and inflated. A longer one ends the connection with close code 1009
	// ([ErrReadLimit]). Zero: DefaultReadLimit.
	ReadLimit int64
	// WriteFrameSize is how many bytes of a message go into one frame; a longer
	// message is sent in fragments (RFC 6455, section 5.4), which some peers
	// mishandle. A buffer of this size is held while a message is written, also
	// for a short one; all connections share them. A writer of
	// [Conn.NextWriter] sends whenever it has a frame full, and at Close. From
	// MinWriteFrameSize to MaxWriteFrameSize. Zero: DefaultWriteFrameSize.
	WriteFrameSize int
	// CheckUTF8 has text messages checked for UTF-8, as RFC 6455, section 8.1,
	// asks for. One that the caller writes and that is no UTF-8 is not sent: see
	// [ErrNotUTF8]; one that the peer sends ends the connection with close code
	// 1007. [Conn.WritePrepared] is not checked. False: text is passed on as it
	// is, both ways, which saves the time to look at each byte.
	CheckUTF8 bool

	// KeepAlive is for how long nothing may come in before a ping is sent. Each
	// connection takes up to a tenth less, so that they do not beat together.
	// Where one connection is found stale ([ErrStale]) the others, silent since,
	// must answer a ping before they are lent, and so must one that has been silent
	// for longer than KeepAlive and PongWait together, since the process stood
	// still. Zero: DefaultKeepAlive; negative: no pings, but for [Conn.Ping], and
	// none of this.
	KeepAlive time.Duration
	// PongWait is how long after a ping something must come in, or the
	// connection is dead ([ErrSilent]). The time while a message waits for the
	// lease to read it does not count. Before a peer is called silent the pool looks
	// whether something has come that nobody has read yet; where it cannot look (see
	// NetDial), and its timer is late by a quarter of PongWait or more, the process
	// stood still, and the peer gets PongWait again, three times at most. Zero:
	// DefaultPongWait.
	PongWait time.Duration
	// WatchAfter is how long a connection that was given back clean stays hot:
	// read by nobody, so that a caller who comes at once reads it on its own
	// goroutine; nor is a ping of the server answered meanwhile. After it, or
	// up to twice as long, what comes in is read when it comes. Zero:
	// DefaultWatchAfter; negative: it is never hot.
	WatchAfter time.Duration

	// MaxDials is how many dials may run at once; who comes next waits in line.
	// What a dial tries beside its first attempt (see Lookup) is not counted.
	// Zero: DefaultMaxDials.
	MaxDials int
	// Redial says for how long no dial may begin after a connection ended, or
	// a dial failed, with cause: an [*EndError] or a [*DialError]. Zero is no
	// pause, and of several the one that ends last holds. streak is how many
	// have ended so in a row, this one included. The many that a server takes
	// with it count as one: once an end has counted, those of connections
	// dialled before it do not, and Redial is asked about them only if they
	// have another close code or status. The streak is 1 again after a
	// connection dialled later has answered a lease or stayed up for 5 s. What
	// the pool ends itself is not asked about. It must not block; if it panics,
	// DefaultRedial decides. Nil: [DefaultRedial].
	Redial func(cause error, streak int) time.Duration
	// MaxRetryAfter is the longest time for which a server's or a proxy's
	// Retry-After is honoured; one that asks for longer counts as this. Zero:
	// DefaultMaxRetryAfter.
	MaxRetryAfter time.Duration

	// Health checks idle connections beyond what their reader sees, when and
	// with what outcome [resource.Health] says. The Conn is the check's until
	// it returns, and has to be left as a lease leaves it (see Exchange), or it
	// is destroyed. A check that only writes says thereby that nobody answers,
	// and leaves it clean; but for a keepalive message see Heartbeat. Nil: none.
	Health resource.Health[*Conn]

	// The rest is as in [resource.Config], zero values included.

	SweepInterval time.Duration       // how often idle connections are held against Eviction and MinIdle, at least resource.MinSweepInterval
	Order         resource.Order      // which idle connection is lent
	Queue         resource.Queue      // in what order callers wait
	Outage        resource.OutageMode // what callers get while dials keep failing
	Admission     resource.Admission  // may this caller ask?
	MakeGate      resource.Admission  // may another dial begin now?
	Quota         resource.Admission  // may another connection exist?
	Eviction      resource.Eviction   // has it served long enough?
	Trace         *resource.Trace     // told what happens
	SampleLeases  int                 // of how many leases Trace is told; zero: all if Reclaim is set

	// Reclaim has a connection destroyed, with the cause [ErrDropped], whose
	// Conn the garbage collector finds unreachable though nobody has ended the
	// lease: a caller forgot to, and its place would be lost for good. It is
	// found at the next collection, which in a process that allocates little
	// may be two minutes away. In use, and not dropped, is a Conn that a
	// goroutine still has or calls a method of, a reader or writer from it, and
	// its NetConn. One that the context of its own open reader leads to is not
	// found. It is a net under a bug, which Trace.Ended and Trace.Destroyed
	// report and Stats counts, and no way to end leases; each lease takes a
	// little less than a microsecond more with it. False: such a connection is
	// never found.
	Reclaim bool
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
		"TLS.NextProtos names a protocol besides http/1.1")
	no(c.Redirects >= 0 && c.Redirects <= MaxRedirects, "Redirects is %d, not from 0 to %d", c.Redirects, MaxRedirects)
	no(c.MaxSize >= 1, "MaxSize is %d, not at least 1", c.MaxSize)
	no(c.MinIdle >= 0, "MinIdle is %d, not at least 0", c.MinIdle)
	no(c.MinIdle <= max(c.MaxSize, 0), "MinIdle is %d, over MaxSize %d", c.MinIdle, c.MaxSize)
	no(c.DialTimeout >= 0, "DialTimeout is %v, not at least 0", c.DialTimeout)
	no(c.WriteTimeout >= 0, "WriteTimeout is %v, not at least 0", c.WriteTimeout)
	no(c.CloseTimeout >= 0, "CloseTimeout is %v, not at least 0", c.CloseTimeout)
	no(c.ReadLimit >= 0, "ReadLimit is %d, not at least 0", c.ReadLimit)
	no(c.Exchange <= Unpaired, "Exchange is %d, not ReplyLast, ReplyEach or Unpaired", c.Exchange)
	no(c.Quiet >= 0, "Quiet is %v, not at least 0", c.Quiet)
	no(c.WriteFrameSize == 0 || c.WriteFrameSize >= MinWriteFrameSize && c.WriteFrameSize <= MaxWriteFrameSize,
		"WriteFrameSize is %d, not 0 or from %d to %d", c.WriteFrameSize, MinWriteFrameSize, MaxWriteFrameSize)
	bad.heartbeat(&c.Heartbeat)
	no(c.UnsolicitedLimit >= 0, "UnsolicitedLimit is %d, not at least 0", c.UnsolicitedLimit)
	no(c.ControlLimit >= 0, "ControlLimit is %d, not at least 0", c.ControlLimit)
	no(c.PongWait >= 0, "PongWait is %v, not at least 0", c.PongWait)
	no(c.MaxDials >= 0, "MaxDials is %d, not at least 0", c.MaxDials)
	no(c.MaxRetryAfter >= 0, "MaxRetryAfter is %v, not at least 0", c.MaxRetryAfter)
	no(c.SampleLeases >= 0, "SampleLeases is %d, not at least 0", c.SampleLeases)
	no(c.SweepInterval == 0 || c.SweepInterval >= resource.MinSweepInterval, "SweepInterval is %v, not 0 or at least %v", c.SweepInterval, resource.MinSweepInterval)
	no(c.Order <= resource.OldestFirst, "Order is %d, not NewestFirst or OldestFirst", c.Order)
	no(c.Outage <= resource.KeepWaiting, "Outage is %d, not FailFast or KeepWaiting", c.Outage)
	if bad == nil {
		return nil
	}
	return fmt.Errorf("wspool: bad Config: %w", errors.Join(bad...))
}

// sampleLeases is how many leases one is sampled of. What is dropped shall be told
// with who took it, and beside what Reclaim costs a sample costs little.
func (c *Config) sampleLeases() int {
	if c.SampleLeases == 0 && c.Reclaim {
		return 1
	}
	return c.SampleLeases
}

// withDefaults returns a copy that shares nothing that a caller may change, in
// which zero values are replaced.
func (c Config) withDefaults() Config {
	c.Subprotocols = slices.Clone(c.Subprotocols)
	c.TLS = c.TLS.Clone()
	if c.TLS == nil {
		c.TLS = &tls.Config{}
	}
	if c.TLS.NextProtos == nil {
		c.TLS.NextProtos = []string{"http/1.1"} // some servers and proxies choose HTTP/2 unless told
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
	for _, d := range []*time.Duration{&c.KeepAlive, &c.PongWait, &c.WatchAfter, &c.Quiet, &c.Heartbeat.Every} {
		*d = min(*d, forever)
	}
	return c
}

// String shows what is set without secrets: of the URL its scheme and host, of
// Subprotocols how many there are, numbers and durations as they are, and of
// anything else its type. So do all verbs of fmt, slog and JSON. A Config in an
// unexported field of another struct is beyond its reach: fmt prints the fields
// of that as they are.
func (c Config) String() string { return shownConfig(c).String() }

// Format writes String for every verb.
func (c Config) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue is a group of what String shows.
func (c Config) LogValue() slog.Value { return shownConfig(c).LogValue() }

// MarshalJSON is an object of what String shows. A Config cannot be read back.
func (c Config) MarshalJSON() ([]byte, error) { return shownConfig(c).MarshalJSON() }

// String shows h without secrets: the scheme and host of the URL, the names of
// headers, and how many subprotocols there are. So do all verbs of fmt, slog and
// JSON.
func (h Handshake) String() string { return shownHandshake(h).String() }

// Format writes String for every verb.
func (h Handshake) Format(f fmt.State, _ rune) { io.WriteString(f, h.String()) }

// LogValue is a group of what String shows.
func (h Handshake) LogValue() slog.Value { return shownHandshake(h).LogValue() }

// MarshalJSON is an object of what String shows.
func (h Handshake) MarshalJSON() ([]byte, error) { return shownHandshake(h).MarshalJSON() }

// Format writes the kind of pool, and what String of its Config shows, for every
// verb: fmt would follow pointers, without a lock, and print all that is behind
// them.
func (p *Pool) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "wspool.Pool{%v}", p.hub.cfg) }

// Format writes the kind of manager for every verb, as [Pool.Format] does.
func (m *Manager[K]) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "wspool.Manager[%T]", *new(K)) }

// Format writes the key for every verb.
func (v KeyView[K]) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "wspool.KeyView{%v}", v.key) }

// Format writes the kind of lease for every verb, as [Pool.Format] does.
func (c *Conn) Format(f fmt.State, _ rune) { io.WriteString(f, "wspool.Conn") }

// shown is a struct as it may be printed.
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
		key, _ := json.Marshal(a.Key) // strings and numbers: it cannot fail
		value, err := json.Marshal(a.Value.Any())
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, key...), ':'), value...)
	}
	return append(b, '}'), nil
}

// shownConfig is what may be shown of c. A field that is added later shows nothing
// but its type, unless it is a number.
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
		case f.IsZero():
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

// shownNames is the names of the headers in h.
func shownNames(h http.Header) string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, redact.Clean(name, shownName))
	}
	slices.Sort(names)
	return fmt.Sprint(names)
}

// shownTarget is a URL without all that may be secret.
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
