package wspool_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// hop is a server that redirects, or echoes if it leads nowhere, and reports its
// requests.
type hop struct {
	url   string // http…
	to    string // where its path / leads; "": it echoes
	asked chan *http.Request
}

func listenHop(t *testing.T, cfg *tls.Config, status int, to string) *hop {
	h := &hop{to: to, asked: make(chan *http.Request, 50)}
	p := &peer{serve: echo, conns: map[*websocket.Conn]bool{}}
	p.upgrader.Subprotocols = []string{"chat"}
	p.upgrader.CheckOrigin = func(*http.Request) bool { return true }
	p.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		h.asked <- r
		if h.to == "" || r.URL.Path == "/end" {
			return false
		}
		w.Header().Set("Location", h.to)
		w.WriteHeader(status)
		return true
	}
	s := httptest.NewUnstartedServer(p)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if s.TLS = cfg; cfg != nil {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() { s.Close(); p.hangUp() })
	h.url = s.URL
	return h
}

// ws is the URL of h with the scheme of WebSocket, at localhost if local, which is
// another host than 127.0.0.1.
func (h *hop) ws(local bool) string {
	u := "ws" + strings.TrimPrefix(h.url, "http")
	if local {
		u = strings.Replace(u, "127.0.0.1", "localhost", 1)
	}
	return u
}

// credentials has Prepare send some.
func credentials(_ context.Context, h *wspool.Handshake) error {
	h.Header = http.Header{"Authorization": {"Bearer s3cret"}, "Cookie": {"a=s3cret"}, "X-Api-Key": {"s3cret"},
		"origin": {"https://me.example"}, "User-Agent": {"me"}, "Host": {"me.example"}}
	return nil
}

// A redirect is followed if it is asked for, with every status that is one; the
// same server gets what the first got.
func TestRedirects(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		h := listenHop(t, nil, status, "/end?more=1")
		cfg := wspool.Config{URL: h.ws(false) + "/?token=s3cret", Prepare: nil, Redirects: 1, MaxSize: 1, Subprotocols: []string{"chat"}}
		cfg.Prepare = credentials
		c := acquire(t, pool(t, cfg))
		ask(t, c, "x")
		c.Release()
		first, second := <-h.asked, <-h.asked
		if second.RequestURI != "/end?more=1" || second.Host != "me.example" || second.Header.Get("Authorization") != "Bearer s3cret" ||
			second.Header.Get("X-Api-Key") != "s3cret" || first.Header.Get("Sec-Websocket-Key") == second.Header.Get("Sec-Websocket-Key") {
			t.Errorf("%d: asked for %s with %v", status, second.RequestURI, second.Header)
		}
	}
}

// Another server, over TLS, gets no credentials: no header but harmless ones, no
// cookie that is not its own, no client certificate.
func TestRedirectToAnotherServer(t *testing.T) {
	ca := newAuthority(t)
	serving := func() *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "server")}, ClientCAs: ca.pool, ClientAuth: tls.VerifyClientCertIfGiven}
	}
	for name, local := range map[string]bool{"another host": true, "another port": false} {
		t.Run(name, func(t *testing.T) {
			last := listenHop(t, serving(), 0, "")
			back := listenHop(t, serving(), 302, strings.Replace(last.url, "127.0.0.1", "localhost", 1)+"/end")
			if !local {
				back.to = last.url + "/end"
			}
			jar, _ := cookiejar.New(nil)
			theirs, _ := url.Parse(back.to)
			jar.SetCookies(theirs, []*http.Cookie{{Name: "own", Value: "1"}})
			cfg := wspool.Config{URL: back.ws(false), Redirects: 3, MaxSize: 1, Prepare: credentials, Jar: jar,
				TLS: &tls.Config{RootCAs: ca.pool, ServerName: "localhost", Certificates: []tls.Certificate{ca.issue(t, "me")}}}
			c := acquire(t, pool(t, cfg))
			ask(t, c, "x")
			c.Release()
			first, r := <-back.asked, <-last.asked
			if len(first.TLS.PeerCertificates) != 1 || first.Header.Get("X-Api-Key") == "" {
				t.Error("the first server did not get the credentials")
			}
			if strings.Contains(fmt.Sprint(r.Header), "s3cret") || r.Host == "me.example" || len(r.TLS.PeerCertificates) != 0 {
				t.Errorf("the other server got %v for %s, and %d certificates", r.Header, r.Host, len(r.TLS.PeerCertificates))
			}
			if r.Header.Get("Origin") != "https://me.example" || r.UserAgent() != "me" {
				t.Errorf("it lacks what is harmless: %v", r.Header)
			}
			if got := r.Header.Get("Cookie"); local && got != "own=1" {
				t.Errorf("its own cookies are %q", got)
			}
		})
	}
}

// A redirect that must not be followed is not, and the error says where it leads
// and why not.
func TestRedirectNotFollowed(t *testing.T) {
	ca := newAuthority(t)
	secure := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "server")}}
	plain := listenHop(t, nil, 302, "")
	for name, tc := range map[string]struct {
		secure    bool
		redirects int
		to        string
		says      string
	}{
		"not asked for":   {false, 0, "/end?s3cret", "it leads to /end"},
		"the same path":   {false, 0, "https://other.example/v1/s3cret-k%65y/", "it leads to https://other.example/v1/…/"},
		"within a path":   {false, 0, "https://other.example/login/%2Fk%2Fs3cret-key", "it leads to https://other.example/login/"},
		"query as path":   {false, 0, "https://other.example/k/s3cret-next", "it leads to https://other.example"},
		"query as URL":    {false, 0, "https://app.example/cb/s3cret-tok", "it leads to …"},
		"opaque":          {false, 0, "https:k/s3cret-key", "it leads to https:…"},
		"to plain":        {false, 2, strings.Replace(plain.url, "127.0.0.1", "localhost", 1) + "/s?s3cret", "another host without TLS"},
		"from TLS":        {true, 2, plain.url, "from wss to ws"},
		"without end":     {false, 2, "/again", "more than 2 redirects"},
		"with a password": {false, 2, "//me:s3cret@127.0.0.1/", "user name or password"},
		"to no URL":       {false, 2, "http://127.0.0.1:s3cret/", "does not parse"},
		"another scheme":  {false, 2, "ftp://127.0.0.1/s3cret", "not of scheme"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := wspool.Config{Redirects: tc.redirects, TLS: &tls.Config{RootCAs: ca.pool}}
			h := listenHop(t, map[bool]*tls.Config{true: secure}[tc.secure], 302, tc.to)
			cfg.URL = h.ws(false) + "/k/s3cret-key?next=%2Fk%2Fs3cret-next&back=https%3A%2F%2Fapp.example%2Fcb%2Fs3cret-tok"
			e := dialFails(t, cfg, "handshake")
			if e.Status != 302 || !errors.Is(e, websocket.ErrBadHandshake) || !strings.Contains(e.Error(), tc.says) || strings.Contains(strings.Replace(e.Error(), "/s3cret", "", 1), "s3cret") {
				t.Errorf("%v", e)
			}
			if n := len(h.asked); name == "without end" && n != 3 || name != "without end" && n != 1 {
				t.Errorf("it was asked %d times", n)
			}
		})
	}
	if len(plain.asked) != 0 {
		t.Error("a server was asked to which no redirect was to be followed")
	}
}

// Cookies are sent and stored as RFC 6265 says, also those of a refusal, beside
// those of Prepare.
func TestJar(t *testing.T) {
	asked := make(chan string, 10)
	peer := listen(t, false, echo)

	refused := false
	peer.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		asked <- r.Header.Get("Cookie")
		if !refused {
			refused = true
			w.Header().Add("Set-Cookie", "sid=1; Path=/a")
			w.Header().Add("Set-Cookie", "other=1; Path=/b")
			w.WriteHeader(401)
			return true
		}
		return false
	}
	jar, _ := cookiejar.New(nil)
	peer.cfg.Jar = jar
	peer.cfg.MaxSize = 1
	peer.cfg.URL += "/a/b"
	peer.cfg.Prepare = func(_ context.Context, h *wspool.Handshake) error {
		h.Header.Set("Cookie", "mine=2")
		return nil
	}
	p := pool(t, peer.cfg)
	if _, err := p.Acquire(t.Context()); err == nil {
		t.Error("no refusal")
	}
	use(t, p)
	if first, second := <-asked, <-asked; first != "mine=2" || second != "mine=2; sid=1" {
		t.Errorf("cookies %q, then %q", first, second)
	}
}

// The cookies of an upgrade are stored too.
func TestJarOfUpgrade(t *testing.T) {
	peer := listen(t, true, echo)
	h := http.Header{"Set-Cookie": {"sid=7; Secure"}}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := peer.upgrader.Upgrade(w, r, h); err == nil {
			echo(ws)
			ws.Close()
		}
	}))
	defer s.Close()
	jar, _ := cookiejar.New(nil)
	cfg := wspool.Config{URL: "wss" + strings.TrimPrefix(s.URL, "https"), Jar: jar, MaxSize: 1, TLS: s.Client().Transport.(*http.Transport).TLSClientConfig}
	p := pool(t, cfg)
	c := acquire(t, p)
	ask(t, c, "x")
	c.Discard(nil)
	u, _ := url.Parse(s.URL)
	if all := jar.Cookies(u); len(all) != 1 || all[0].Value != "7" {
		t.Errorf("the jar has %v", all)
	}
}

// A proxy gets the headers that are for it, and bad ones fail the dial.
func TestProxyConnectHeader(t *testing.T) {
	peer := listen(t, false, echo)
	p := listenConnect(t, "http")
	got := make(chan http.Header, 1)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Clone()
		r.Header.Set("Proxy-Authorization", "Basic bWU6cGFzczp3b3JkQA==")
		p.ServeHTTP(w, r)
	}))
	defer front.Close()
	address, _ := url.Parse(front.URL)
	address.User = url.UserPassword("me", "x")
	cfg := peer.cfg
	cfg.Proxy = http.ProxyURL(address)
	cfg.ProxyConnectHeader = func(ctx context.Context, proxy *url.URL, target string) (http.Header, error) {
		if proxy.Host != address.Host || target != peer.host() || ctx.Done() == nil {
			t.Errorf("asked for %v, %s", proxy, target)
		}
		return http.Header{"X-Tenant": {"7"}, "Proxy-Authorization": {"Bearer z"}}, nil
	}
	c := acquire(t, pool(t, cfg))
	ask(t, c, "x")
	c.Release()
	if h := <-got; h.Get("X-Tenant") != "7" || h.Get("Proxy-Authorization") != "Bearer z" {
		t.Errorf("the proxy got %v", h)
	}
	no := errors.New("no ticket")
	for name, tc := range map[string]struct {
		h    http.Header
		err  error
		says string
	}{
		"error":     {nil, no, "no ticket"},
		"bad value": {http.Header{"X-A": {"s3cret\r\nX: y"}}, nil, "X-A with a value"},
		"bad name":  {http.Header{"X A": {"s3cret"}}, nil, `"X A"`},
	} {
		cfg.ProxyConnectHeader = func(context.Context, *url.URL, string) (http.Header, error) { return tc.h, tc.err }
		if e := dialFails(t, cfg, "proxy"); !strings.Contains(e.Error(), tc.says) || strings.Contains(e.Error(), "s3cret") || tc.err != nil && !errors.Is(e, no) {
			t.Errorf("%s: %v", name, e)
		}
	}
}

// Headers that HTTP does not allow are named, and no value of theirs is shown.
func TestPrepareBadHeaders(t *testing.T) {
	asked := make(chan *http.Request, 100)
	peer := listen(t, false, echo)
	peer.refuse = func(_ http.ResponseWriter, r *http.Request) bool { asked <- r; return false }
	dial := func(h http.Header) wspool.Config {
		cfg := peer.cfg
		cfg.Prepare = func(_ context.Context, s *wspool.Handshake) error { s.Header = h; return nil }
		return cfg
	}
	for says, h := range map[string]http.Header{
		`"X Bad"`:                      {"X Bad": {"s3cret"}},
		`"X\u00e9"`:                    {"X\u00e9": {"s3cret"}},
		`name ""`:                      {"": {"s3cret"}},
		"X-Cr with a value":            {"X-Cr": {"s3cret\rx"}},
		"X-Lf with a value":            {"X-Lf": {"ok", "s3cret\nx"}},
		"X-Nul with a value":           {"x-nul": {"s3cret\x00"}},
		"X-Del with a value":           {"X-Del": {"s3cret\x7f"}},
		"Host, which is not one host":  {"Host": {"s3cret/x"}},
		"Host, which is not one":       {"Host": {"s3cret", "b"}},
		"Host, which is not":           {"host": {""}},
		"Host, which":                  {"Host": {"me:s3cret@h"}},
		"Host":                         {"Host": {"a b"}},
		"Host, which is not one h":     {"Host": {"h:s3cret"}},
		"has Host, which is not one h": {"Host": {"h"}, "host": {"s3cret"}},
		"Content-Length":               {"content-length": {"7"}},
		"Transfer-Encoding":            {"Transfer-Encoding": {"chunked"}},
		"Sec-Websocket-Key, which the": {"sec-websocket-key": {"s3cret"}},
	} {
		if says == `"X\u00e9"` {
			says = `"X` + "\u00e9" + `"`
		}
		if e := dialFails(t, dial(h), "prepare"); !strings.Contains(e.Error(), says) || strings.Contains(e.Error(), "s3cret") {
			t.Errorf("%q: %v", says, e)
		}
	}
	if len(asked) != 0 {
		t.Error("the server was asked")
	}
	for _, host := range []string{"example.com", "example.com:8080", "[::1]:80", "b\u00fccher.example"} {
		c := acquire(t, pool(t, dial(http.Header{"host": {host}, "X-Tab": {"a\tb \u00e9"}, "x-lower": {"1"}})))
		c.Discard(nil)
		if r := <-asked; r.Header.Get("X-Tab") != "a\tb \u00e9" || r.Header.Get("X-Lower") != "1" || !strings.HasSuffix(r.Host, host[len(host)-3:]) {
			t.Errorf("%s: the server got %s, %v", host, r.Host, r.Header)
		}
	}
}

// Config decides whether a server may choose no subprotocol; one that was not
// offered fails either way.
func TestSubprotocolOptional(t *testing.T) {
	for name, tc := range map[string]struct {
		optional bool
		header   string
		want     string
		fails    string
	}{
		"none, required":   {false, "", "", "chose none"},
		"none, optional":   {true, "", "", ""},
		"one, optional":    {true, "Sec-WebSocket-Protocol: b\r\n", "b", ""},
		"alien, optional":  {true, "Sec-WebSocket-Protocol: c\r\n", "", "was not offered"},
		"alien, required":  {false, "Sec-WebSocket-Protocol: c\r\n", "", "was not offered"},
		"two, optional":    {true, "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n", "", "was not offered"},
		"a list, optional": {true, "Sec-WebSocket-Protocol: a, b\r\n", "", "was not offered"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := serveTCP(t, func(c net.Conn) { upgrade(c, tc.header); drainNet(c) })
			cfg := wspool.Config{URL: "ws://" + addr.String(), MaxSize: 1, Subprotocols: []string{"a", "b"},
				SubprotocolOptional: tc.optional, CloseTimeout: 10 * time.Millisecond}
			if tc.fails != "" {
				if e := dialFails(t, cfg, "subprotocol"); !strings.Contains(e.Error(), tc.fails) || e.Response == nil {
					t.Errorf("%v", e)
				}
				return
			}
			c := acquire(t, pool(t, cfg))
			if got := c.Subprotocol(); got != tc.want {
				t.Errorf("subprotocol %q, want %q", got, tc.want)
			}
			c.Release()
		})
	}
}

// Where a redirect leads, Lookup is asked too.
func TestRedirect_Lookup(t *testing.T) {
	peer := listen(t, false, echo)
	peer.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/next" {
			return false
		}
		http.Redirect(w, r, "/next", http.StatusTemporaryRedirect)
		return true
	}
	u, err := url.Parse(peer.cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	peer.cfg.URL, peer.cfg.Redirects, peer.cfg.MaxSize = "ws://service.invalid:"+u.Port()+"/", 2, 1
	peer.cfg.Lookup = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	peer.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if _, err := netip.ParseAddrPort(addr); err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	c := acquire(t, pool(t, peer.cfg))
	ask(t, c, "x")
	c.Release()
}

// Where a redirect leads, the next address is tried if the first one refuses, or does not
// accept for its share of the time.
func TestRedirect_NextAddress(t *testing.T) {
	for name, tc := range map[string]struct {
		first func(context.Context) (net.Conn, error)
		took  time.Duration
	}{"refuses": {refusing, 0}, "does not accept": {blackHole, 2 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				front, good := listenMem(t, 1<<12, echo), listenMem(t, 1<<12, echo)
				front.refuse = func(w http.ResponseWriter, r *http.Request) bool {
					http.Redirect(w, r, "http://service.test:8080/", http.StatusTemporaryRedirect)
					return true
				}
				cfg := wspool.Config{URL: "ws://service.test/", Redirects: 1, MaxSize: 1, DialTimeout: 4 * time.Second}
				cfg.Lookup = func(context.Context, string) ([]netip.Addr, error) {
					return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}, nil
				}
				cfg.NetDial = func(ctx context.Context, _, addr string) (net.Conn, error) {
					switch addr {
					case "192.0.2.1:8080":
						return tc.first(ctx)
					case "192.0.2.2:8080":
						return serving(good)(ctx)
					}
					return serving(front)(ctx)
				}
				began := time.Now()
				c := acquire(t, pool(t, cfg))
				if took := time.Since(began); took != tc.took {
					t.Errorf("after %v, want %v", took, tc.took)
				}
				ask(t, c, "x")
				c.Release()
			})
		})
	}
}
