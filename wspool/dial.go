package wspool

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Buffers. An idle connection keeps only the one it reads through; those for
// writing are shared by all and held during a write.
const (
	readBuffer  = 2 << 10
	writeBuffer = 16 << 10
)

var writeBuffers sync.Pool

var (
	errExtension   = errors.New("wspool: server chose an extension that was not offered")
	errAnswer      = errors.New("wspool: the answer is no WebSocket handshake")
	errSubprotocol = errors.New("wspool: server chose none of the subprotocols offered")
)

// dial makes one connection. ctx always has a deadline: the pool's DialTimeout.
func (p *Pool) dial(ctx context.Context) (*link, error) {
	d := &dialing{cfg: &p.hub.cfg, hub: p.hub, phase: "header"}
	u, err := url.Parse(p.hub.cfg.URL)
	if err != nil {
		return nil, errors.New("wspool: URL does not parse") // New has seen it parse
	}
	l, resp, err := d.connect(ctx, u.Scheme == "wss")
	if err == nil {
		return l, nil
	}
	e := &DialError{Host: u.Host, Phase: d.phase, Err: err}
	if resp != nil {
		e.Status = resp.StatusCode
		e.RetryAfter = retryAfter(resp.Header, time.Now())
	}
	return nil, e
}

// dialing is one dial under way.
type dialing struct {
	cfg   *Config
	phase string
	hub   *hub
	wire  *wire // nil until connected
	tap   *tap
	stop  func() bool // unhooks the wire from the context; nil until connected
}

func (d *dialing) connect(ctx context.Context, secure bool) (*link, *http.Response, error) {
	var header http.Header
	if d.cfg.Header != nil {
		var err error
		if header, err = d.cfg.Header(ctx); err != nil {
			return nil, nil, err
		}
	}
	d.phase = "connect"
	dialer := websocket.Dialer{
		NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := d.cfg.NetDial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			d.wire = newWire(c, secure, d.cfg.WriteTimeout)
			// gorilla heeds a cancellation up to the TLS handshake. Behind it
			// only closing the connection wakes it.
			d.stop = context.AfterFunc(ctx, d.wire.abort)
			d.phase = "handshake"
			if secure {
				d.phase = "tls"
			}
			if secure {
				cfg := &tls.Config{}
				if d.cfg.TLS != nil {
					cfg = d.cfg.TLS.Clone()
				}
				if cfg.ServerName == "" {
					cfg.ServerName, _, _ = net.SplitHostPort(addr)
				}
				tc := tls.Client(d.wire, cfg)
				if err := tc.HandshakeContext(ctx); err != nil {
					return nil, err
				}
				d.phase = "handshake"
				d.tap = newTap(tc, d.wire, d.hub.clock)
			} else {
				d.tap = newTap(d.wire, d.wire, d.hub.clock)
			}
			return d.tap, nil
		},
		ReadBufferSize:  readBuffer,
		WriteBufferSize: writeBuffer,
		WriteBufferPool: &writeBuffers,
		Subprotocols:    d.cfg.Subprotocols,
	}
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err == nil {
				d.phase = "handshake"
			}
		},
	})
	dialer.NetDialTLSContext = dialer.NetDialContext
	dialer.EnableCompression = d.cfg.Compression
	ws, resp, err := dialer.DialContext(traced, d.cfg.URL, header)
	if d.phase == "handshake" {
		err = discreet(err)
	}
	if d.stop != nil && !d.stop() && err == nil {
		err = context.Cause(ctx) // the connection is closed, or about to be
	}
	if err == nil {
		err = d.checkAnswer(ws, resp)
	}
	if err != nil {
		if d.wire != nil {
			d.wire.abort()
		}
		return nil, resp, causeOf(ctx, err)
	}
	l := newLink(ws, d.tap, d.hub)
	if err := l.setUp(ctx); err != nil {
		d.phase = "set-up"
		stop := context.AfterFunc(ctx, d.wire.abort)
		l.destroy(err)
		stop()
		return nil, nil, causeOf(ctx, err)
	}
	// The reader is at its post before anybody is lent the connection, and a
	// server that hangs up behind its answer has not been reached.
	if err := l.settle(ctx, quietWait); err != nil {
		stop := context.AfterFunc(ctx, d.wire.abort)
		l.destroy(err)
		stop()
		return nil, nil, causeOf(ctx, err)
	}
	return l, nil, nil
}

// discreet keeps what a server said instead of an answer out of an error: it may
// repeat the URL's query or a header to us, and so a secret.
func discreet(err error) error {
	var ne net.Error
	switch {
	case err == nil, errors.As(err, &ne), errors.Is(err, websocket.ErrBadHandshake),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return errAnswer
}

// checkAnswer holds the server to what was offered.
func (d *dialing) checkAnswer(ws *websocket.Conn, resp *http.Response) error {
	if len(resp.Header.Values("Sec-Websocket-Extensions")) > 0 && !d.cfg.Compression {
		return errExtension
	}
	if len(d.cfg.Subprotocols) > 0 && !slices.Contains(d.cfg.Subprotocols, ws.Subprotocol()) {
		d.phase = "subprotocol"
		return errSubprotocol
	}
	return nil
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
