package wspool_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/respool/respool/wspool"
)

// proxyUser is the user that the proxies here accept.
var proxyUser = url.UserPassword("me", "pass:word@")

// testProxy is a proxy on loopback that records its targets.
type testProxy struct {
	url   *url.URL
	asked chan string
	all   sync.WaitGroup
}

// splice copies both ways until either side ends.
func splice(a, b net.Conn) {
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			io.Copy(way[0], way[1])
			a.Close()
			b.Close()
		})
	}
	both.Wait()
}

// listenConnect starts a proxy for CONNECT, which speaks TLS if its scheme is
// https.
func listenConnect(t *testing.T, scheme string) *testProxy {
	p := &testProxy{asked: make(chan string, 10)}
	s := httptest.NewUnstartedServer(p)
	if scheme == "https" {
		s.StartTLS()
	} else {
		s.Start()
	}
	p.url = &url.URL{Scheme: scheme, Host: s.Listener.Addr().String(), User: proxyUser}
	t.Cleanup(func() { s.Close(); p.all.Wait() })
	return p
}

func (p *testProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.all.Add(1)
	defer p.all.Done()
	login := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	user, password, _ := login.BasicAuth()
	if url.UserPassword(user, password).String() != proxyUser.String() {
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	p.asked <- r.Method + " " + r.Host + " " + r.RequestURI
	to, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		to.Close()
		return
	}
	io.WriteString(c, "HTTP/1.1 200 Connection established\r\nContent-Length: 7\r\n\r\n") // the length means nothing here
	splice(c, to)
}

// listenSocks starts a SOCKS5 proxy, which requires a password.
func listenSocks(t *testing.T) *testProxy {
	p := &testProxy{asked: make(chan string, 10)}
	addr := serveTCP(t, func(c net.Conn) {
		if err := p.socks(c); err != nil {
			t.Errorf("SOCKS: %v", err)
		}
	})
	p.url = &url.URL{Scheme: "socks5", Host: addr.String(), User: proxyUser}
	return p
}

// socks is RFC 1928 and RFC 1929 as far as a client needs them here.
func (p *testProxy) socks(c net.Conn) error {
	take := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(c, b); err != nil {
			runtime.Goexit() // the client left
		}
		return b
	}
	text := func() string { return string(take(int(take(1)[0]))) }
	if take(1)[0] != 5 || !strings.Contains(text(), "\x02") {
		c.Write([]byte{5, 0xff})
		return nil
	}
	c.Write([]byte{5, 2})
	take(1)
	if url.UserPassword(text(), text()).String() != proxyUser.String() {
		c.Write([]byte{1, 1})
		return nil
	}
	c.Write([]byte{1, 0})
	if r := take(3); r[0] != 5 || r[1] != 1 {
		return fmt.Errorf("asked %v", r)
	}
	var host string
	switch kind := take(1)[0]; kind {
	case 1:
		host = net.IP(take(4)).String()
	case 3:
		host = text()
	default:
		return fmt.Errorf("address of kind %d", kind)
	}
	target := net.JoinHostPort(host, fmt.Sprint(binary.BigEndian.Uint16(take(2))))
	p.asked <- target
	to, err := net.Dial("tcp", target)
	if err != nil {
		c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
		return nil
	}
	c.Write([]byte{5, 0, 0, 3, 4, 'h', 'o', 's', 't', 0, 1})
	splice(c, to)
	return nil
}

// ws and wss go through each kind of proxy, which is asked as net/http asks and
// gets the name, not an address, of the server.
func TestProxy(t *testing.T) {
	for _, scheme := range []string{"http", "https", "socks5", "socks5h"} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, secure %v", scheme, secure), func(t *testing.T) {
				peer := listen(t, secure, echo)
				_, port, _ := net.SplitHostPort(peer.host())
				var p *testProxy
				if strings.HasPrefix(scheme, "http") {
					p = listenConnect(t, scheme)
				} else {
					p = listenSocks(t)
					p.url.Scheme = scheme
				}
				cfg := peer.cfg
				target := "localhost:" + port
				cfg.URL = strings.Replace(cfg.URL, "127.0.0.1", "localhost", 1) + "/path?q"
				roots := listen(t, true, echo).cfg.TLS
				cfg.TLS = roots.Clone()
				cfg.TLS.ServerName = "example.com" // which the server's certificate is for
				cfg.Proxy = func(r *http.Request) (*url.URL, error) {
					want := strings.Replace(cfg.URL, "ws", "http", 1)
					if r.URL.String() != want || r.Context().Done() == nil {
						t.Errorf("asked for a proxy to %v, want %s", r.URL, want)
					}
					return p.url, nil
				}
				c := acquire(t, pool(t, cfg))
				ask(t, c, "x")
				c.Release()
				want := target
				if strings.HasPrefix(scheme, "http") {
					want = "CONNECT " + target + " " + target
				}
				if got := <-p.asked; got != want {
					t.Errorf("the proxy was asked for %q, want %q", got, want)
				}
			})
		}
	}
}

// No proxy means none.
func TestNoProxy(t *testing.T) {
	peer := listen(t, false, echo)
	peer.cfg.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	c := acquire(t, pool(t, peer.cfg))
	ask(t, c, "x")
	c.Release()
}

// A proxy that refuses is reported with its status and its RetryAfter.
func TestProxyRefuses(t *testing.T) {
	stranger := url.UserPassword("me", "s3cret")
	nowhere := wspool.Config{URL: "ws://127.0.0.1:1"}
	with := func(p *testProxy, user *url.Userinfo) wspool.Config {
		cfg := nowhere
		u := *p.url
		u.User = user
		cfg.Proxy = http.ProxyURL(&u)
		return cfg
	}
	connect, socks := listenConnect(t, "http"), listenSocks(t)
	for name, tc := range map[string]struct {
		cfg    wspool.Config
		status int
		after  time.Duration
	}{
		"no password":       {with(connect, nil), 407, 0},
		"wrong password":    {with(connect, stranger), 407, 0},
		"no server":         {with(connect, proxyUser), 502, 3 * time.Second},
		"socks, no name":    {with(socks, nil), 0, 0},
		"socks, wrong name": {with(socks, stranger), 0, 0},
		"socks, no server":  {with(socks, proxyUser), 0, 0},
		"socks, empty name": {with(socks, url.UserPassword("", "s3cret")), 0, 0},
	} {
		e := dialFails(t, tc.cfg, "proxy")
		if e.Status != tc.status || e.RetryAfter != tc.after || strings.Contains(e.Error(), "s3cret") || strings.Contains(e.Error(), "pass") && tc.status != 0 {
			t.Errorf("%s: %v", name, e)
		}
		if e.Host != "127.0.0.1:1" {
			t.Errorf("%s: host %q", name, e.Host)
		}
	}
}

// answers is a proxy that reads what it is asked first and answers this.
func answers(t *testing.T, s string) string {
	return serveTCP(t, func(c net.Conn) {
		if _, err := c.Read(make([]byte, 1<<12)); err != nil {
			return
		}
		io.WriteString(c, s)
		io.Copy(io.Discard, c)
	}).String()
}

// A proxy that answers anything else fails the dial.
func TestProxyAnswersGarbage(t *testing.T) {
	for name, tc := range map[string]struct {
		proxy, phase string
		status       int
	}{
		"another protocol": {"http://" + answers(t, "SSH-2.0-x\r\n\r\n"), "proxy", 0},
		"an upgrade":       {"http://" + answers(t, "HTTP/1.1 101 Switching Protocols\r\n\r\n"), "proxy", 101},
		"redirect":         {"http://" + answers(t, "HTTP/1.1 302 Found\r\nLocation: x\r\n\r\n"), "proxy", 302},
		"bare newlines":    {"http://" + answers(t, "HTTP/1.1 503 x\nRetry-After: x\n\n"), "proxy", 503},
		"endless header":   {"http://" + serveTCP(t, endless).String(), "proxy", 0},
		"no TLS":           {"https://" + answers(t, "HTTP/1.1 200 OK\r\n\r\n"), "proxy", 0},
		"no SOCKS":         {"socks5://" + answers(t, "HTTP/1.1 200 OK\r\n\r\n"), "proxy", 0},
		"SOCKS 4":          {"socks5://" + answers(t, "\x00\x5a\x00\x00\x00\x00\x00\x00"), "proxy", 0},
		"hangs up":         {"http://" + serveTCP(t, func(net.Conn) {}).String(), "proxy", 0},
		"hangs up, SOCKS":  {"socks5://" + serveTCP(t, func(net.Conn) {}).String(), "proxy", 0},

		// The bytes behind the head are the server's: not a byte of it is lost.
		"too much": {"http://" + answers(t, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 418 I'm a teapot\r\n\r\n"), "handshake", 418},
	} {
		t.Run(name, func(t *testing.T) {
			proxy, err := url.Parse(tc.proxy)
			if err != nil {
				t.Fatal(err)
			}
			e := dialFails(t, wspool.Config{URL: "ws://host", Proxy: http.ProxyURL(proxy), DialTimeout: patience}, tc.phase)
			if e.Status != tc.status {
				t.Errorf("%v, want status %d", e, tc.status)
			}
			if name == "endless header" && !strings.Contains(e.Error(), "64 KiB") {
				t.Errorf("%v does not say why", e)
			}
		})
	}
}
