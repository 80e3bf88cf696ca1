package wspool_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
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

// stuckDials are servers, or networks, that never get on with it.
var stuckDials = []struct {
	phase  string
	change func(*wspool.Config)
}{
	{"header", func(c *wspool.Config) {
		c.Header = func(ctx context.Context) (http.Header, error) { <-ctx.Done(); return nil, ctx.Err() }
	}},
	{"connect", func(c *wspool.Config) {
		c.NetDial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	}},
	{"tls", func(c *wspool.Config) { c.URL = "wss://mem/" }},
	{"handshake", func(c *wspool.Config) {}},
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

// drainNet reads until the other side hangs up.
func drainNet(c net.Conn) {
	defer c.Close()
	p := make([]byte, 1<<10)
	for {
		if _, err := c.Read(p); err != nil {
			return
		}
	}
}

// A dial that hangs in any phase ends at DialTimeout and says where it was.
func TestDialTimeout(t *testing.T) {
	for _, tc := range stuckDials {
		t.Run(tc.phase, func(t *testing.T) {
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
		t.Run(tc.phase, func(t *testing.T) {
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

// An answer that is no upgrade is told with its status and what it asks for.
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

func drainAll(ws *websocket.Conn) { drain(ws) }

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
	} {
		t.Run(tc.name, func(t *testing.T) {
			peer := listen(t, false, drainAll)
			peer.upgrader.Subprotocols = tc.accept
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

// The header is asked for at each dial, so that a token is fresh.
func TestHeaderPerDial(t *testing.T) {
	got := make(chan string, 10)
	peer := listen(t, false, drainAll)
	peer.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
		got <- r.Header.Get("Authorization")
		return false
	}
	var n atomic.Int64
	peer.cfg.Header = func(context.Context) (http.Header, error) {
		return http.Header{"Authorization": {"token " + string(rune('0'+n.Add(1)))}}, nil
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
	header := func(context.Context) (http.Header, error) {
		return http.Header{"Authorization": {secret}, "X-" + secret: {"1"}, "Cookie": {secret}}, nil
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
	for name, cfg := range map[string]wspool.Config{
		"refused":    refused.cfg,
		"untrusted":  {URL: secure.cfg.URL, TLS: &tls.Config{}},
		"not TLS":    {URL: strings.Replace(peer.cfg.URL, "ws", "wss", 1)},
		"not plain":  {URL: strings.Replace(secure.cfg.URL, "wss", "ws", 1)},
		"no server":  {URL: "ws://127.0.0.1:1"},
		"no port":    {URL: "ws://127.0.0.1:0"},
		"no protcol": {URL: peer.cfg.URL, Subprotocols: []string{"x"}},
		"bad header": {URL: peer.cfg.URL, Header: func(context.Context) (http.Header, error) {
			return http.Header{"Upgrade": {secret}}, nil
		}},
	} {
		cfg.MaxSize = 1
		cfg.URL += "/path?token=" + secret
		if cfg.Header == nil {
			cfg.Header = header
		}
		p := pool(t, cfg)
		_, err := p.Acquire(t.Context())
		check(name, err)
		check(name, p.Stats().LastMake)
	}
}
