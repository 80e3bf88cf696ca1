package wspool_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/internal/memnet"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// stuckDials are servers, proxies or networks, that never get on with it.
var stuckDials = []struct {
	name, phase string
	change      func(*wspool.Config)
}{
	{"prepare", "prepare", func(c *wspool.Config) {
		c.Prepare = func(ctx context.Context, _ *wspool.Handshake) error { <-ctx.Done(); return ctx.Err() }
	}},
	{"connect", "connect", func(c *wspool.Config) {
		c.NetDial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	}},
	{"tls", "tls", func(c *wspool.Config) { c.URL = "wss://mem/" }},
	{"handshake", "handshake", func(c *wspool.Config) {}},
	{"to proxy", "proxy", func(c *wspool.Config) {
		c.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy"})
		c.NetDial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	}},
	{"which proxy", "proxy", func(c *wspool.Config) {
		c.Proxy = func(r *http.Request) (*url.URL, error) { <-r.Context().Done(); return nil, nil }
	}},
	{"http proxy", "proxy", func(c *wspool.Config) { c.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy"}) }},
	{"https proxy", "proxy", func(c *wspool.Config) { c.Proxy = http.ProxyURL(&url.URL{Scheme: "https", Host: "proxy"}) }},
	{"socks5 proxy", "proxy", func(c *wspool.Config) { c.Proxy = http.ProxyURL(&url.URL{Scheme: "socks5", Host: "proxy"}) }},
	{"set-up", "set-up", func(c *wspool.Config) {
		c.NetDial = upgraded
		c.OnConnect = func(ctx context.Context, _ *wspool.Conn) error { <-ctx.Done(); return nil }
	}},
	{"set-up, deaf", "set-up", func(c *wspool.Config) { // woken by the end of the connection alone
		c.NetDial = upgraded
		c.OnConnect = func(_ context.Context, c *wspool.Conn) error {
			_, _, err := c.ReadMessage(context.Background())
			return err
		}
	}},
}

// muteServer accepts connections and says nothing.
func muteServer(t *testing.T) wspool.Config {
	l := memnet.Listen(1 << 16)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { drainNet(c) })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return wspool.Config{URL: "ws://mem/", NetDial: l.Dial, MaxSize: 1}
}

// A dial that hangs in any phase ends at DialTimeout and says where it was.
func TestDialTimeout(t *testing.T) {
	for _, tc := range stuckDials {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := muteServer(t)
				cfg.DialTimeout = 7 * time.Second
				tc.change(&cfg)
				p := pool(t, cfg)
				start := time.Now()
				_, err := p.Acquire(t.Context())
				took := time.Since(start)
				var de *wspool.DialError
				if !errors.As(err, &de) || de.Phase != tc.phase || took != 7*time.Second {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

// A dial that hangs in any phase ends with the pool.
func TestDialCanceled(t *testing.T) {
	for _, tc := range stuckDials {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := muteServer(t)
				cfg.DialTimeout = time.Hour
				tc.change(&cfg)
				p := pool(t, cfg)
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := p.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Acquire: %v", err)
				}
				if err := p.Close(t.Context()); err != nil {
					t.Errorf("Close: %v", err)
				}
				if took := time.Since(start); took != time.Second {
					t.Errorf("took %v, want the second that the caller waited", took)
				}
			})
		})
	}
}

// An answer that is no upgrade is reported with its status and its RetryAfter.
func TestHandshakeRefused(t *testing.T) {
	for _, tc := range []struct {
		status     int
		retryAfter string
		want       time.Duration
	}{
		{401, "", 0},
		{429, "7", 7 * time.Second},
		{503, "garbage", 0},
		{302, "-3", 0},
	} {
		peer := listen(t, false, drainAll)
		peer.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
			if tc.retryAfter != "" {
				w.Header().Set("Retry-After", tc.retryAfter)
			}
			w.WriteHeader(tc.status)
			return true
		}
		p := pool(t, peer.cfg)
		_, err := p.Acquire(t.Context())
		var de *wspool.DialError
		if !errors.As(err, &de) || de.Phase != "handshake" || de.Status != tc.status || de.RetryAfter != tc.want {
			t.Errorf("%d: %v", tc.status, err)
		}
		var ae *resource.AcquireError
		if !errors.Is(err, websocket.ErrBadHandshake) || !errors.As(err, &ae) {
			t.Errorf("%d: %v lacks its causes", tc.status, err)
		}
	}
}

// Retry-After may be a date.
func TestRetryAfterDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := listenMem(t, 4096, drainAll)
		peer.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", time.Now().Add(90*time.Second).UTC().Format(http.TimeFormat))
			w.WriteHeader(503)
			return true
		}
		p := pool(t, peer.cfg)
		_, err := p.Acquire(t.Context())
		var de *wspool.DialError
		if !errors.As(err, &de) || de.RetryAfter != 90*time.Second {
			t.Errorf("%v", err)
		}
	})
}

func TestSubprotocol(t *testing.T) {
	for _, tc := range []struct {
		name          string
		offer, accept []string
		want          string // "": the dial fails
	}{
		{"second of two", []string{"a", "b"}, []string{"b"}, "b"},
		{"none in common", []string{"a"}, []string{"c"}, ""},
		{"server has none", []string{"a"}, nil, ""},
		{"none offered", nil, []string{"a"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			peer := listen(t, false, drainAll)
			peer.upgrader.Subprotocols = tc.accept
			if tc.offer == nil {
				peer.refuse = func(w http.ResponseWriter, r *http.Request) bool { // by choosing one all the same
					r.Header["Sec-Websocket-Protocol"] = tc.accept
					return false
				}
			}
			peer.cfg.Subprotocols = tc.offer
			p := pool(t, peer.cfg)
			c, err := p.Acquire(t.Context())
			if tc.want == "" {
				var de *wspool.DialError
				if !errors.As(err, &de) || de.Phase != "subprotocol" {
					t.Errorf("Acquire: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Subprotocol(); got != tc.want {
				t.Errorf("subprotocol %q, want %q", got, tc.want)
			}
			c.Release()
		})
	}
}

// Prepare is asked at each dial, so that a token is fresh.
func TestPreparePerDial(t *testing.T) {
	got := make(chan string, 10)
	peer := listen(t, false, drainAll)
	peer.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
		got <- r.Header.Get("Authorization")
		return false
	}
	var n atomic.Int64
	peer.cfg.Prepare = func(_ context.Context, h *wspool.Handshake) error {
		h.Header.Set("Authorization", "token "+string(rune('0'+n.Add(1))))
		return nil
	}
	p := pool(t, peer.cfg)
	for _, want := range []string{"token 1", "token 2"} {
		acquire(t, p).Discard(nil)
		if h := next(t, "handshake", got); h != want {
			t.Errorf("header %q, want %q", h, want)
		}
	}
}

// No error text, of whatever failure, shows what the URL or a header hides.
func TestSecrets(t *testing.T) {
	const secret = "s3cret"
	prepare := func(_ context.Context, h *wspool.Handshake) error {
		h.Header = http.Header{"Authorization": {secret}, "X-" + secret: {"1"}, "Cookie": {secret}}
		h.Subprotocols = append(h.Subprotocols, "bearer."+secret)
		return nil
	}
	check := func(name string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
		var de *wspool.DialError
		if errors.As(err, &de) && !strings.Contains(err.Error(), de.Host) {
			t.Errorf("%s: host missing: %v", name, err)
		}
	}
	for _, u := range []string{
		"ws://user:" + secret + "@host/",
		"ws://user:" + secret + "/x@host/", // the password looks like a port
		"ws://host:" + secret + "/",
		"http://host/?token=" + secret,
		"ws:///?token=" + secret,
		"ws://host/#" + secret,
		"ws://host/%zz" + secret,
		secret + "://host/",
	} {
		_, err := wspool.New(wspool.Config{URL: u, MaxSize: 1})
		check(u, err)
	}
	peer := listen(t, false, drainAll)
	refused := listen(t, false, drainAll)
	refused.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, r.RequestURI+r.Header.Get("Authorization"), http.StatusForbidden)
		return true
	}
	secure := listen(t, true, drainAll)
	through := func(proxy string) func(*http.Request) (*url.URL, error) {
		return func(*http.Request) (*url.URL, error) { return url.Parse(proxy) }
	}
	user := "user-" + secret + ":" + secret + "@"
	parrot := serveTCP(t, func(c net.Conn) { io.Copy(c, c) }).String()
	for name, tc := range map[string]struct {
		phase string
		cfg   wspool.Config
	}{
		"refused":    {"handshake", refused.cfg},
		"parrot":     {"handshake", wspool.Config{URL: "ws://" + parrot}},
		"untrusted":  {"tls", wspool.Config{URL: secure.cfg.URL, TLS: &tls.Config{}}},
		"not TLS":    {"tls", wspool.Config{URL: strings.Replace(peer.cfg.URL, "ws", "wss", 1)}},
		"not plain":  {"handshake", wspool.Config{URL: strings.Replace(secure.cfg.URL, "wss", "ws", 1)}},
		"no server":  {"connect", wspool.Config{URL: "ws://127.0.0.1:1"}},
		"no port":    {"connect", wspool.Config{URL: "ws://127.0.0.1:0"}},
		"no protcol": {"subprotocol", wspool.Config{URL: peer.cfg.URL, Subprotocols: []string{"x"}}},
		"bad header": {"prepare", wspool.Config{URL: peer.cfg.URL, Prepare: func(_ context.Context, h *wspool.Handshake) error {
			h.Header.Set("upgrade", secret)
			return nil
		}}},
		"bad subprotocol": {"prepare", wspool.Config{URL: peer.cfg.URL, Prepare: func(_ context.Context, h *wspool.Handshake) error {
			h.Subprotocols = []string{secret + ","}
			return nil
		}}},
		"bad URL": {"prepare", wspool.Config{URL: peer.cfg.URL, Prepare: func(_ context.Context, h *wspool.Handshake) error {
			h.URL = "ws://" + user + "host:port/" + secret
			return nil
		}}},
		"set-up": {"set-up", wspool.Config{URL: peer.cfg.URL, Prepare: func(context.Context, *wspool.Handshake) error { return nil },
			OnConnect: func(context.Context, *wspool.Conn) error { return io.ErrNoProgress }}},
		"no proxy":           {"proxy", wspool.Config{URL: peer.cfg.URL, Proxy: through("http://" + user + "127.0.0.1:1")}},
		"bad proxy":          {"proxy", wspool.Config{URL: peer.cfg.URL, Proxy: through("http://" + user + "host:" + secret)}},
		"proxy of no scheme": {"proxy", wspool.Config{URL: peer.cfg.URL, Proxy: through(secret + "://" + user + "host")}},
		"refused by proxy":   {"proxy", wspool.Config{URL: peer.cfg.URL, Proxy: through("http://" + user + refused.host())}},
		"parrot of a proxy":  {"proxy", wspool.Config{URL: peer.cfg.URL, Proxy: through("http://" + user + parrot)}},
		"parrot of SOCKS":    {"proxy", wspool.Config{URL: peer.cfg.URL, Proxy: through("socks5://" + user + parrot)}},
		"untrusted proxy": {"proxy", wspool.Config{URL: peer.cfg.URL, TLS: &tls.Config{},
			Proxy: through("https://" + user + secure.host())}},
	} {
		cfg := tc.cfg
		cfg.MaxSize = 1
		cfg.URL += "/path?token=" + secret
		if cfg.Prepare == nil {
			cfg.Prepare = prepare
		}
		p := pool(t, cfg)
		_, err := p.Acquire(t.Context())
		check(name, err)
		check(name, p.Stats().LastMake)
		var de *wspool.DialError
		if !errors.As(err, &de) || de.Phase != tc.phase {
			t.Errorf("%s: %v, want a DialError of phase %s", name, err, tc.phase)
		}
	}
}

// host returns where p listens.
func (p *peer) host() string { return p.cfg.URL[strings.LastIndex(p.cfg.URL, "/")+1:] }

// The server accepts the first connection and never answers its handshake: the
// first caller's time ends, and later callers are served by other dials, over real
// sockets.
func TestDial_FirstHandshakeHangs(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	peer := listen(t, false, echo)
	cfg := peer.cfg
	cfg.MaxSize = 8
	var dials atomic.Int64
	cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			addr = silent.Addr().String()
		}
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
	p := pool(t, cfg)
	const callers, wait = 14, 500 * time.Millisecond
	failed := 0
	for i := range callers {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		c, err := p.Acquire(ctx)
		if err == nil {
			ask(t, c, "hello")
			c.Release()
		} else if failed++; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("caller %d: %v", i, err)
		}
		cancel()
	}
	// A second, as no dial has succeeded yet, is the time of two callers.
	if failed > 2 || dials.Load() != 2 {
		t.Errorf("%d of %d callers failed, %d dials", failed, callers, dials.Load())
	}
	if s := p.Stats(); s.Outage {
		t.Errorf("an outage: %v", s)
	}
}

// A server that sends back what it got repeats secrets; the error does not.
func TestEchoedSecret(t *testing.T) {
	addr := serveTCP(t, func(c net.Conn) { io.Copy(c, c) })
	_, err := pool(t, wspool.Config{
		URL:     "ws://" + addr.String() + "/p?token=s3cret",
		MaxSize: 1,
		Prepare: func(_ context.Context, h *wspool.Handshake) error {
			h.Header.Set("Authorization", "s3cret")
			return nil
		},
	}).Acquire(t.Context())
	var de *wspool.DialError
	if !errors.As(err, &de) || de.Phase != "handshake" || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("Acquire: %v", err)
	}
}
