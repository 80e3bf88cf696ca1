package wspool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/internal/foreign"
	"github.com/respool/respool/internal/making"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool/internal/wsconn"
)

// readBuffer is the size of the read buffer that a connection always holds. It holds a
// control frame's payload, which gorilla requires; FrameConn reads ahead into larger ones,
// which all connections share, as they share write buffers: see wsconn.WriteBuffers.
const readBuffer = 128

var (
	errAnswer      = errors.New("wspool: the server's answer is not a WebSocket handshake")
	errSubprotocol = errors.New("wspool: server chose none of the subprotocols offered")
	errUnoffered   = errors.New("wspool: server chose a subprotocol that was not offered")
	errNoConn      = errors.New("wspool: NetDial returned no connection")
	errBrokenOff   = errors.New("wspool: the dial did not return")
)

// dial makes one connection. The context that the pool gives to Make lives as long as
// the connection and has no deadline. A dial has one, DialTimeout, because dialers and
// TLS use it: net.Dialer divides the time among the addresses of a name.
func (h *hub) dial(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeoutCause(making.Context(ctx), h.cfg.DialTimeout, resource.ErrMakeTimeout)
	defer cancel()
	first := &dialing{hub: h, cfg: &h.cfg, ticket: newDialTicket(h.gate), start: time.Now()}
	d, l, err := first.connect(ctx)
	if err == nil {
		d.ticket.up()
		return l, nil
	}
	e := d.failed(err, causeOf(ctx, err))
	if refusedIdentity(e) {
		h.tls.renew()
	}
	return nil, e
}

// failed returns cause, the reason of err, with the facts about the dial.
func (d *dialing) failed(err, cause error) *DialError {
	e := &DialError{Phase: d.phase, Addr: d.addr(), Err: cause, text: d.secrets.text(cause)}
	if d.phase == "connect" && d.trace.resolving(err) {
		e.Phase = "resolve"
	}
	if d.url != nil {
		e.Host = d.url.Host
	}
	if r := d.answer; r != nil {
		e.Response, e.Status, e.location = r, r.Status, r.location(&d.secrets)
		e.RetryAfter, e.RetryAfterSet, e.RetryAfterErr = retryAfter(r.Header, time.Now(), d.cfg.MaxRetryAfter)
	}
	return e
}

// dialing is one attempt of a dial. It coordinates the phases from Prepare to OnConnect.
type dialing struct {
	hub     *hub
	cfg     *Config
	ticket  *dialTicket
	start   time.Time   // when the dial began
	phase   string      // as in DialError
	offer   Handshake   // what to ask for
	url     *url.URL    // offer.URL
	foreign bool        // a redirect led to another server
	raw     net.Conn    // the connection of NetDial; nil: none yet
	stop    func() bool // separates raw from the context
	trace   *dialTrace  // of the last NetDial; nil: none yet
	peer    string      // the address to which raw is or was connected; "": none yet
	secrets secrets
	answer  *Response // of the server or proxy that refused, or of the server that agreed

	// The result of the handshake.
	frames *wsconn.FrameConn
	ws     *websocket.Conn

	// Used by the race; unset if there is a proxy.
	ctx       context.Context
	cancel    context.CancelCauseFunc
	server    string                         // host and port of the first attempt's URL
	target    string                         // address to connect to; "": the URL's host, by name
	at        netip.Addr                     // the IP address of target, chosen by the race
	moved     atomic.Bool                    // Prepare chose another server, or a redirect was followed
	connected atomic.Bool                    // NetDial has returned
	remote    atomic.Pointer[netip.AddrPort] // the peer's address, if TCP reports one; of server
	began     int64                          // on the hub's clock
	scout     bool                           // guarded by race.mu, like ended and err
	ended     bool
	err       error // why it failed
}

func (d *dialing) secure() bool { return d.url.Scheme == "wss" }

// connect runs all phases. It returns the link and the attempt that led to it, or why no
// attempt did. If it fails, or if user code ends the goroutine, everything is closed.
func (d *dialing) connect(ctx context.Context) (won *dialing, l *link, err error) {
	won = d
	defer func() {
		if l == nil {
			won.drop()
		}
	}()
	if err := d.prepare(ctx); err != nil {
		return d, nil, err
	}
	through, err := d.proxy(ctx)
	switch {
	case err != nil:
		return d, nil, err
	case through != nil: // the proxy looks the host's name up
		err = d.reach(ctx, through)
	default:
		won, err = d.compete(ctx)
	}
	if err != nil {
		return won, nil, err
	}
	if !won.stop() {
		return won, nil, context.Cause(ctx) // the connection is closed already, or about to be
	}
	made := newLink(won.ws, won.frames, d.hub, d.ticket)
	if err := won.finish(ctx, made); err != nil {
		return won, nil, err
	}
	return won, made, nil
}

// open connects to the server: through the proxy if there is one, and with TLS for wss.
// The connection that it returns is for the WebSocket handshake. When ctx ends the
// connection is closed, until d.stop is called.
func (d *dialing) open(ctx context.Context, through *url.URL) (_ *wsconn.FrameConn, err error) {
	var c net.Conn
	if through != nil {
		c, err = d.tunnel(ctx, through)
	} else {
		d.phase = "connect"
		addrs := []string{d.target}
		if d.target == "" {
			addrs, err = d.hub.lookedUp(ctx, d.url)
		}
		if err == nil {
			err = d.dialFirst(ctx, addrs)
		}
		c = d.raw
	}
	if err != nil {
		return nil, err
	}
	w := wsconn.NewRawConn(c, d.secure(), d.cfg.WriteTimeout)
	if !d.secure() {
		return d.follow(w, w), nil
	}
	d.phase = "tls"
	cfg, sessions, host := d.cfg.TLS, d.hub.tls.current(), d.cfg.TLS.ServerName
	if d.foreign { // another server must not learn the client's identity
		cfg, sessions, host = cfg.Clone(), nil, ""
		cfg.Certificates, cfg.GetClientCertificate = nil, nil
	}
	if host == "" {
		host = d.url.Hostname()
	}
	t, err := secure(ctx, w, cfg, sessions, host)
	if err != nil {
		return nil, err
	}
	return d.follow(t, w), nil
}

// follow returns the conn for gorilla over above, which is w or TLS over w.
func (d *dialing) follow(above net.Conn, w *wsconn.RawConn) *wsconn.FrameConn {
	return wsconn.NewFrameConn(above, w, d.hub.clock, d.hub.longestSilence(), d.cfg.ControlLimit, d.cfg.Compression)
}

// dialFirst connects to the first of addrs to which NetDial can connect. The time that is left
// is divided among the addresses, as net.Dialer does. If all fail, it returns the last error.
func (d *dialing) dialFirst(ctx context.Context, addrs []string) (err error) {
	for i, addr := range addrs {
		if err = d.dialNet(ctx, addr, len(addrs)-i); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// dialNet connects to addr, in 1/share of the time that is left. NetDial heeds the context
// itself. After it only closing the connection unblocks reads and writes.
func (d *dialing) dialNet(ctx context.Context, addr string, share int) error {
	d.trace, d.peer = new(dialTrace), ""
	traced := d.trace.follow(ctx)
	if at, ok := ctx.Deadline(); ok && share > 1 {
		var cancel context.CancelFunc
		traced, cancel = context.WithTimeout(traced, time.Until(at)/time.Duration(share))
		defer cancel()
	}
	c, err := d.cfg.NetDial(traced, "tcp", addr)
	if err != nil {
		return err
	}
	if c == nil {
		return errNoConn
	}
	c = wsconn.Guard(c, d.hub.containedIn)
	d.raw, d.stop = c, context.AfterFunc(ctx, func() { c.Close() })
	d.peer = peerOf(c)
	if at, ok := remoteOf(c); ok && !d.moved.Load() {
		d.remote.Store(&at)
	}
	d.connected.Store(true)
	return nil
}

// handshake upgrades conn, and accepts only what was offered.
func (d *dialing) handshake(ctx context.Context, conn net.Conn) (*websocket.Conn, error) {
	d.phase = "handshake"
	header := d.header()
	limited := &answerConn{Conn: conn, amend: func(h http.Header) bool { return amendExtensions(h, d.cfg.Compression) }}
	dialed := &dialedConn{limited}
	given := func(context.Context, string, string) (net.Conn, error) { return dialed, nil }
	dialer := websocket.Dialer{
		NetDialContext:    given, // for ws
		NetDialTLSContext: given, // for wss
		ReadBufferSize:    readBuffer,
		WriteBufferSize:   d.cfg.WriteFrameSize,
		WriteBufferPool:   wsconn.WriteBuffers(d.cfg.WriteFrameSize),
		Subprotocols:      d.offer.Subprotocols,
		EnableCompression: d.cfg.Compression,
	}
	ws, resp, err := dialer.DialContext(ctx, d.offer.URL, header)
	if resp == nil {
		if limited.failed != nil {
			return nil, limited.failed
		}
		return nil, sanitized(err)
	}
	if !limited.agreed() {
		raw := d.raw
		d.answer = readRefusal(limited.head, limited.body(), http.MethodGet, &d.secrets, func() { raw.Close() })
		d.remember(resp)
		return nil, err
	}
	d.answer = &Response{Status: resp.StatusCode, Header: limited.answer.Header}
	d.remember(resp)
	if err := d.broken(limited, err); err != nil {
		return nil, err
	}
	dialed.keep(limited)
	return ws, nil
}

// broken returns why an answer with status 101 is not the handshake that was asked for;
// err is gorilla's verdict.
func (d *dialing) broken(c *answerConn, err error) error {
	h := c.answer.Header
	if foreign.Is(err, websocket.ErrBadHandshake) {
		return fmt.Errorf("%w: %s", err, upgradeFault(h))
	}
	if _, err := checkExtensions(h, d.cfg.Compression); err != nil {
		return err
	}
	if err != nil {
		return sanitized(err)
	}
	all := h["Sec-Websocket-Protocol"]
	chosen := h.Get("Sec-Websocket-Protocol")
	switch {
	case len(all) > 1, chosen != "" && !slices.Contains(d.offer.Subprotocols, chosen):
		d.phase = "subprotocol"
		return errUnoffered
	case chosen == "" && len(d.offer.Subprotocols) > 0 && !d.cfg.SubprotocolOptional:
		d.phase = "subprotocol"
		return errSubprotocol
	}
	return nil
}

// upgradeFault returns what of an answer with status 101 gorilla rejected.
func upgradeFault(h http.Header) string {
	has := func(name, token string) bool {
		for _, v := range h[name] {
			for one := range strings.SplitSeq(v, ",") {
				if strings.EqualFold(strings.TrimSpace(one), token) {
					return true
				}
			}
		}
		return false
	}
	switch {
	case !has("Upgrade", "websocket"):
		return "its Upgrade is not websocket"
	case !has("Connection", "upgrade"):
		return "its Connection is not Upgrade"
	case h.Get("Sec-Websocket-Accept") == "":
		return "it has no Sec-WebSocket-Accept"
	}
	return "its Sec-WebSocket-Accept does not fit the key that was sent"
}

// finish sets l up until it may be lent. If it fails, or if OnConnect ends the goroutine,
// l is closed.
func (d *dialing) finish(ctx context.Context, l *link) (err error) {
	stop := context.AfterFunc(ctx, l.raw.Abort)
	err = errBrokenOff
	defer func() {
		if err != nil {
			l.destroy(err)
		}
		// ctx.Err is not nil before ctx calls Abort: OnConnect may have returned in between.
		if ended := !stop() || ctx.Err() != nil; ended && err == nil {
			err = context.Cause(ctx)
			l.raw.Abort()
			l.destroy(err)
		}
	}()
	answer := d.answer
	d.answer = nil // it does not explain a failure from here on
	if !d.cfg.Greeting && d.cfg.OnConnect == nil {
		d.hub.adopt(l)
	} else if err := d.setUp(ctx, l, answer); err != nil {
		return err
	}
	// A server that closes the connection right behind its answer has not been reached.
	if err := l.settle(ctx, quietWait); err != nil {
		return err
	}
	l.mu.Lock()
	l.heartbeat.start(d.hub.clock.Now(), l.dialed, l.onHeartbeat)
	l.mu.Unlock()
	return nil
}

// sanitized replaces an error that contains what a server sent in place of an answer: it
// may repeat the URL's query or a header, and so a secret.
func sanitized(err error) error {
	var ne net.Error
	switch {
	case foreign.As(err, &ne), foreign.Is(err, websocket.ErrBadHandshake),
		foreign.Is(err, io.EOF), foreign.Is(err, io.ErrUnexpectedEOF), foreign.Is(err, net.ErrClosed),
		foreign.Is(err, context.Canceled), foreign.Is(err, context.DeadlineExceeded):
		return err
	}
	return errAnswer
}

// causeOf returns why ctx ended if that is the reason of err, and err otherwise. A
// deadline may reach the socket just before it reaches ctx.
func causeOf(ctx context.Context, err error) error {
	if at, ok := ctx.Deadline(); ok && foreign.Timeout(err) && !time.Now().Before(at) {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Handshake is what one dial asks for. [Config.Prepare] may change all of it.
type Handshake struct {
	// URL is where to connect, as in [Config.URL].
	URL string
	// Header is sent with the upgrade request, in addition to the headers of the protocol,
	// which it must not contain (use Subprotocols). It is empty at first. A "Host" in it
	// replaces the URL's; the cookies in it are sent before those of [Config.Jar]. A name or
	// value that HTTP does not allow fails the dial, with an error that names the header.
	Header http.Header
	// Subprotocols are those to offer, as in [Config.Subprotocols].
	Subprotocols []string
}

// prepare fills d's handshake and parses its URL.
func (d *dialing) prepare(ctx context.Context) error {
	d.phase = "prepare"
	d.offer = Handshake{URL: d.cfg.URL, Header: http.Header{}, Subprotocols: slices.Clone(d.cfg.Subprotocols)}
	if d.cfg.URL != "" {
		d.url, _ = url.Parse(d.cfg.URL) // New has checked that it parses
		d.secrets.url(d.url)
	}
	if d.cfg.Prepare == nil {
		return nil
	}
	if err := d.cfg.Prepare(ctx, &d.offer); err != nil {
		d.secrets.header(d.offer.Header) // the error may repeat it
		return err
	}
	var bad complaints
	bad.url(d.offer.URL)
	bad.subprotocols(d.offer.Subprotocols)
	bad.header("Header", d.offer.Header)
	if bad != nil {
		return fmt.Errorf("bad Handshake: %w", errors.Join(bad...))
	}
	d.url, _ = url.Parse(d.offer.URL)
	d.secrets.url(d.url)
	return ctx.Err() // Prepare may have ignored it
}

// complaints are errors about bad fields. They show nothing of a URL but its scheme, and
// nothing of a subprotocol or header value: text that does not parse may hold a password
// anywhere.
type complaints []error

// no adds a complaint unless ok.
func (bad *complaints) no(ok bool, format string, args ...any) {
	if !ok {
		*bad = append(*bad, fmt.Errorf(format, args...))
	}
}

// url checks where to connect.
func (bad *complaints) url(s string) {
	if s == "" {
		bad.no(false, "URL is empty")
		return
	}
	u, err := url.Parse(s)
	if err != nil {
		bad.no(false, "URL does not parse")
		return
	}
	bad.no(u.Scheme == "ws" || u.Scheme == "wss", "URL is not of scheme ws or wss")
	bad.no(u.Hostname() != "", "URL has no host")
	bad.no(u.User == nil, "URL has a user name or password")
	bad.no(u.Fragment == "", "URL has a fragment")
}

// subprotocols checks what to offer.
func (bad *complaints) subprotocols(all []string) {
	bad.no(!slices.Contains(all, ""), "Subprotocols has an empty one")
	bad.no(!slices.ContainsFunc(all, func(s string) bool { return strings.ContainsFunc(s, notOfToken) }),
		"Subprotocols has one with a character that none may have")
}

// notOfToken reports whether RFC 6455, section 4.1, excludes r from the name of a
// subprotocol.
func notOfToken(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
}

// dialTrace records how far one call of NetDial came, if NetDial supports
// net/http/httptrace, as net.Dialer does. Its hooks may be called after NetDial has
// returned.
type dialTrace struct {
	mu        sync.Mutex
	lookingUp int
	tried     string // the address that was tried last
}

// follow returns ctx with the hooks of t.
func (t *dialTrace) follow(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart:     func(httptrace.DNSStartInfo) { t.lookUp(1) },
		DNSDone:      func(httptrace.DNSDoneInfo) { t.lookUp(-1) },
		ConnectStart: func(_, addr string) { t.connect(addr) },
	})
}

func (t *dialTrace) lookUp(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lookingUp += n
}

func (t *dialTrace) connect(addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tried = addr
}

// resolving reports whether a dial that failed with err was looking a name up. t is nil if
// NetDial was not called.
func (t *dialTrace) resolving(err error) bool {
	var de *net.DNSError
	if foreign.As(err, &de) {
		return true
	}
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lookingUp > 0 && t.tried == ""
}

// last returns the address that was tried last, "" if none was.
func (t *dialTrace) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tried
}

// addr returns the address to which the dial is or was connected, or the last one tried.
func (d *dialing) addr() string {
	switch {
	case d.peer != "":
		return d.peer
	case d.trace != nil:
		return d.trace.last()
	}
	return ""
}

// peerOf returns the remote address of c, "" if it has none. It calls methods of a
// connection that NetDial returned, which may panic.
func peerOf(c net.Conn) (addr string) {
	defer func() { _ = recover() }()
	if a := c.RemoteAddr(); a != nil {
		addr = a.String()
	}
	return addr
}
