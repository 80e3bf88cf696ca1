package wspool

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/resource"
)

// readBuffer is what an idle connection reads through. Buffers for writing are
// shared by all connections and held during a write: see writeBuffers.
const readBuffer = 512

var (
	errExtension   = errors.New("wspool: server chose an extension that was not offered")
	errAnswer      = errors.New("wspool: the answer is no WebSocket handshake")
	errSubprotocol = errors.New("wspool: server chose none of the subprotocols offered")
	errNoConn      = errors.New("wspool: NetDial returned no connection")
	errBrokenOff   = errors.New("wspool: the dial did not return")
)

// dial makes one connection. The context of Make lives as long as the connection
// and has no deadline. That of a dial has one, the pool's DialTimeout, since
// dialers and TLS go by it: net.Dialer divides the time among the addresses of a
// name.
func (h *hub) dial(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.cfg.DialTimeout, resource.ErrMakeTimeout)
	defer cancel()
	d := &dialing{hub: h, cfg: &h.cfg, tie: h.gate.begin(), began: time.Now()}
	l, err := d.connect(ctx)
	if err == nil {
		d.tie.up()
		return l, nil
	}
	e := &DialError{Phase: d.phase, Err: causeOf(ctx, err)}
	if d.url != nil {
		e.Host = d.url.Host
	}
	if d.answer != nil {
		e.Status = d.answer.StatusCode
		e.RetryAfter = retryAfter(d.answer.Header, time.Now())
	}
	return nil, e
}

// dialing is one dial under way.
type dialing struct {
	hub    *hub
	cfg    *Config
	tie    *tie
	began  time.Time
	phase  string         // of DialError
	shake  Handshake      // what is asked for
	url    *url.URL       // shake.URL
	raw    net.Conn       // what NetDial gave; nil until then
	stop   func() bool    // unhooks raw from the context
	answer *http.Response // of a server or proxy that refused
}

func (d *dialing) secure() bool { return d.url.Scheme == "wss" }

// connect goes through all phases. If it fails, or if code that is not ours
// breaks it off, nothing is left.
func (d *dialing) connect(ctx context.Context) (*link, error) {
	if err := d.prepare(ctx); err != nil {
		return nil, err
	}
	var l *link
	defer func() {
		if l == nil && d.raw != nil {
			d.raw.Close()
			d.stop()
		}
	}()
	t, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	ws, err := d.handshake(ctx, t)
	if err != nil {
		return nil, err
	}
	if !d.stop() {
		return nil, context.Cause(ctx) // the connection is closed, or about to be
	}
	l = newLink(ws, t, d.hub, d.tie)
	if err := d.finish(ctx, l); err != nil {
		return nil, err
	}
	return l, nil
}

// open connects to the server: through the proxy if there is one, and with TLS
// for wss. What it returns is what the WebSocket protocol is spoken through. When
// ctx ends the connection is closed, until d.stop is called.
func (d *dialing) open(ctx context.Context) (*tap, error) {
	through, err := d.proxy(ctx)
	if err != nil {
		return nil, err
	}
	var c net.Conn
	if through != nil {
		c, err = d.tunnel(ctx, through)
	} else {
		d.phase = "connect"
		err = d.dialNet(ctx, hostPort(d.url))
		c = d.raw
	}
	if err != nil {
		return nil, err
	}
	w := newWire(c, d.secure(), d.cfg.WriteTimeout)
	if !d.secure() {
		return newTap(w, w, d.hub.clock), nil
	}
	d.phase = "tls"
	host := d.cfg.TLS.ServerName
	if host == "" {
		host = d.url.Hostname()
	}
	t, err := secure(ctx, w, d.cfg.TLS, host)
	if err != nil {
		return nil, err
	}
	return newTap(t, w, d.hub.clock), nil
}

// dialNet connects to addr. Up to here NetDial heeds ctx; from here on nothing
// does that waits for the other side, and only closing the connection wakes it.
func (d *dialing) dialNet(ctx context.Context, addr string) error {
	c, err := d.cfg.NetDial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	if c == nil {
		return errNoConn
	}
	d.raw = c
	d.stop = context.AfterFunc(ctx, func() { c.Close() })
	return nil
}

// handshake upgrades conn, and holds the server to what was offered.
func (d *dialing) handshake(ctx context.Context, conn net.Conn) (*websocket.Conn, error) {
	d.phase = "handshake"
	limited := &answerConn{Conn: conn}
	given := func(context.Context, string, string) (net.Conn, error) { return limited, nil }
	dialer := websocket.Dialer{
		NetDialContext:    given, // for ws
		NetDialTLSContext: given, // for wss
		ReadBufferSize:    readBuffer,
		WriteBufferSize:   d.cfg.WriteFrameSize,
		WriteBufferPool:   writeBuffers(d.cfg.WriteFrameSize),
		Subprotocols:      d.shake.Subprotocols,
		EnableCompression: d.cfg.Compression,
	}
	ws, resp, err := dialer.DialContext(ctx, d.shake.URL, d.shake.Header)
	if err != nil {
		d.answer = resp
		switch {
		case limited.over():
			return nil, errHead
		case limited.torn != nil: // to gorilla half a line is a bad one
			return nil, limited.torn
		}
		return nil, discreet(err)
	}
	limited.open = true
	if !d.offered(resp.Header.Values("Sec-Websocket-Extensions")) {
		return nil, errExtension
	}
	if chosen, offer := ws.Subprotocol(), d.shake.Subprotocols; !slices.Contains(offer, chosen) && (chosen != "" || len(offer) > 0) {
		d.phase = "subprotocol"
		return nil, errSubprotocol
	}
	return ws, nil
}

// offered reports whether no extension was chosen that was not offered.
func (d *dialing) offered(chosen []string) bool {
	if len(chosen) == 0 {
		return true
	}
	name, _, _ := strings.Cut(chosen[0], ";")
	return d.cfg.Compression && len(chosen) == 1 && !strings.Contains(chosen[0], ",") &&
		strings.EqualFold(strings.TrimSpace(name), "permessage-deflate")
}

// finish sees l through to where it may be lent. If it fails, or if OnConnect
// breaks it off, l is closed.
func (d *dialing) finish(ctx context.Context, l *link) (err error) {
	stop := context.AfterFunc(ctx, l.wire.abort)
	err = errBrokenOff
	defer func() {
		if err != nil {
			l.destroy(err)
		}
		if !stop() && err == nil {
			err = context.Cause(ctx)
			l.destroy(err)
		}
	}()
	d.hub.keeper.adopt(l)
	if d.cfg.Greeting {
		d.phase = "greeting"
		if err := l.greet(ctx); err != nil {
			return err
		}
	}
	if d.cfg.OnConnect != nil {
		d.phase = "set-up"
		if err := l.setUp(ctx, d.began); err != nil {
			return err
		}
	}
	// A server that hangs up behind its answer has not been reached.
	if err := l.settle(ctx, quietWait); err != nil {
		return err
	}
	l.startHeartbeat()
	return nil
}

// discreet keeps what a server said instead of an answer out of an error: it may
// repeat the URL's query or a header to us, and so a secret.
func discreet(err error) error {
	var ne net.Error
	switch {
	case errors.As(err, &ne), errors.Is(err, websocket.ErrBadHandshake),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return errAnswer
}

// causeOf returns why ctx ended if that is why err came about. A deadline may
// have reached the socket just before it reached ctx.
func causeOf(ctx context.Context, err error) error {
	var ne net.Error
	if at, ok := ctx.Deadline(); ok && errors.As(err, &ne) && ne.Timeout() && !time.Now().Before(at) {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
