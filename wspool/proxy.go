package wspool

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"

	"golang.org/x/net/proxy"
)

var (
	errProxyURL     = errors.New("wspool: the proxy's URL has no host, or is not of scheme http, https, socks5 or socks5h")
	errProxyAnswer  = errors.New("wspool: proxy returned an invalid response to CONNECT")
	errProxyRefused = errors.New("wspool: proxy refused the connection")
)

// proxyError hides the text of an error of Config.Proxy: net/http's text contains the
// proxy's URL, password included.
type proxyError struct{ err error }

func (e *proxyError) Error() string { return "wspool: Config.Proxy failed" }
func (e *proxyError) Unwrap() error { return e.err }

// proxy returns the proxy of the dial; nil: none.
func (d *dialing) proxy(ctx context.Context) (*url.URL, error) {
	if d.cfg.Proxy == nil {
		return nil, nil
	}
	d.phase = "proxy"
	target := d.httpURL()
	req := &http.Request{Method: http.MethodGet, URL: target, Host: target.Host, Header: http.Header{}}
	u, err := d.cfg.Proxy(req.WithContext(ctx))
	switch {
	case err != nil:
		return nil, &proxyError{err}
	case u == nil:
		return nil, ctx.Err()
	case u.Hostname() == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme):
		return nil, errProxyURL
	}
	d.secrets.url(u)
	return u, ctx.Err()
}

// tunnel connects to the server through the proxy at u. It reads nothing of what the server
// sends.
func (d *dialing) tunnel(ctx context.Context, u *url.URL) (net.Conn, error) {
	d.phase = "proxy"
	if err := d.dialNet(ctx, hostPort(u), 1); err != nil {
		return nil, err
	}
	target := hostPort(d.url)
	switch u.Scheme {
	case "http":
		return d.raw, d.askTunnel(ctx, d.raw, u, target)
	case "https":
		t, err := secure(ctx, d.raw, d.cfg.TLS, d.hub.tls.current(), u.Hostname())
		if err != nil {
			return nil, err
		}
		return secureTunnel{t, d.raw}, d.askTunnel(ctx, t, u, target)
	}
	return d.raw, askSocks(ctx, d.raw, u, target)
}

// secureTunnel is a TLS connection to a proxy. Its Close sends no close alert, for which it
// might have to wait.
type secureTunnel struct {
	net.Conn
	raw net.Conn
}

// Close ends the connection at once.
func (t secureTunnel) Close() error { return t.raw.Close() }

// askTunnel requests a connection to target by CONNECT. If the proxy refuses, its answer is
// in d.answer.
func (d *dialing) askTunnel(ctx context.Context, c net.Conn, u *url.URL, target string) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target, Header: http.Header{}}
	req.Header.Set("User-Agent", "") // else net/http sends its own
	if name, password, ok := userinfo(u); ok {
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(name+":"+password)))
	}
	if err := d.connectHeader(ctx, req, u, target); err != nil {
		return err
	}
	d.secrets.header(req.Header)
	if err := req.Write(c); err != nil {
		return err
	}
	head, resp, err := readAnswer(c, req)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		raw := d.raw
		d.answer = readRefusal(head, c, http.MethodConnect, &d.secrets, func() { raw.Close() })
		return errProxyRefused
	}
	return nil
}

// connectHeader adds the headers of Config.ProxyConnectHeader to req.
func (d *dialing) connectHeader(ctx context.Context, req *http.Request, u *url.URL, target string) error {
	if d.cfg.ProxyConnectHeader == nil {
		return nil
	}
	copied := *u // u belongs to Config.Proxy
	more, err := d.cfg.ProxyConnectHeader(ctx, &copied, target)
	if err != nil {
		return err
	}
	var bad complaints
	if bad.header("the header of ProxyConnectHeader", more); bad != nil {
		return errors.Join(bad...)
	}
	for name, values := range more {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if host := req.Header.Get("Host"); host != "" { // net/http takes it from here
		req.Host = host
	}
	return ctx.Err()
}

// readAnswer reads the final answer to req, which is a CONNECT, and drops interim ones before
// it. It returns the head as well.
func readAnswer(c net.Conn, req *http.Request) (head []byte, resp *http.Response, err error) {
	for left := maxHead; ; left -= len(head) {
		if head, err = readHead(c, left); err != nil {
			return nil, nil, err
		}
		if resp, err = http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), req); err != nil {
			return nil, nil, errProxyAnswer // err may repeat what was sent
		}
		resp.Body.Close() // it is empty
		if !interim(resp) {
			return head, resp, nil
		}
	}
}

// readHead reads the head of an answer, of at most limit bytes, up to its empty line, and
// nothing behind it: that comes from the server, and the next reader must find it on c. So it
// reads one byte at a time, a few hundred in a dial.
func readHead(c net.Conn, limit int) ([]byte, error) {
	head := make([]byte, 0, 512)
	var b [1]byte
	for len(head) < limit {
		if _, err := io.ReadFull(c, b[:]); err == io.EOF {
			return nil, io.ErrUnexpectedEOF
		} else if err != nil {
			return nil, err
		}
		head = append(head, b[0])
		if bytes.HasSuffix(head, []byte("\n\r\n")) || bytes.HasSuffix(head, []byte("\n\n")) {
			return head, nil
		}
	}
	return nil, errHead
}

// askSocks asks the SOCKS5 proxy (RFC 1928) at the other end of c for a connection to
// target.
func askSocks(ctx context.Context, c net.Conn, u *url.URL, target string) error {
	var auth *proxy.Auth
	if name, password, ok := userinfo(u); ok {
		auth = &proxy.Auth{User: name, Password: password}
	}
	dialer, err := proxy.SOCKS5("tcp", hostPort(u), auth, connected{c})
	if err != nil {
		return err
	}
	// It returns a wrapper of c, and has read no more than the reply.
	_, err = dialer.(proxy.ContextDialer).DialContext(ctx, "tcp", target)
	return err
}

// connected is a proxy.Dialer and proxy.ContextDialer that is connected already.
type connected struct{ c net.Conn }

func (g connected) Dial(_, _ string) (net.Conn, error) { return g.c, nil }

func (g connected) DialContext(context.Context, string, string) (net.Conn, error) { return g.c, nil }

// userinfo returns the user name and password of u, if it has any.
func userinfo(u *url.URL) (name, password string, ok bool) {
	if u.User == nil || u.User.String() == "" {
		return "", "", false
	}
	password, _ = u.User.Password()
	return u.User.Username(), password, true
}

// hostPort returns the host and port of u.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "http": "80", "wss": "443", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
