package wspool_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/resource"
	"github.com/respool/respool/wspool"
)

// dialFails checks that the dial fails in a phase, and returns the error.
func dialFails(t *testing.T, cfg wspool.Config, phase string) *wspool.DialError {
	t.Helper()
	cfg.MaxSize = 1
	_, err := pool(t, cfg).Acquire(t.Context())
	var de *wspool.DialError
	if !errors.As(err, &de) || de.Phase != phase {
		t.Fatalf("Acquire: %v, want a DialError of phase %s", err, phase)
	}
	return de
}

// endless answers whatever comes first with a header that has no end.
func endless(c net.Conn) {
	if _, err := c.Read(make([]byte, 1<<12)); err != nil {
		return
	}
	io.WriteString(c, "HTTP/1.1 200 OK\r\n")
	for {
		if _, err := io.WriteString(c, "X: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
			return
		}
	}
}

// An answer whose head has no end is given up, long before DialTimeout.
func TestEndlessAnswer(t *testing.T) {
	e := dialFails(t, wspool.Config{URL: "ws://" + serveTCP(t, endless).String(), DialTimeout: patience}, "handshake")
	if !strings.Contains(e.Error(), "64 KiB") {
		t.Errorf("%v does not say why", e)
	}
}

// A server that refuses, and keeps the connection open without saying how long
// its answer's body is, is not waited for.
func TestRefusedWithoutEnd(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 403 Forbidden\r\n\r\n",
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 1000\r\n\r\nbegin",
		"HTTP/1.1 403 Forbidden\nX: y\n\n",
		"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		cfg := wspool.Config{URL: "ws://" + answers(t, answer), DialTimeout: time.Hour}
		if e := dialFails(t, cfg, "handshake"); e.Status != 403 {
			t.Errorf("%q: %v", answer, e)
		}
	}
}

// The bound holds for the answer alone: a message behind it may be larger, also
// if it is in one piece with it.
func TestLargeMessageBehindAnswer(t *testing.T) {
	big := strings.Repeat("x", 200<<10)
	peer := listen(t, false, func(ws *websocket.Conn) {
		if ws.WriteMessage(websocket.TextMessage, []byte(big)) == nil {
			drain(ws)
		}
	})
	peer.cfg.OnConnect = func(ctx context.Context, c *wspool.Conn) error {
		_, got, err := c.ReadMessage(ctx)
		if err == nil && string(got) != big {
			t.Errorf("read %d bytes, want %d", len(got), len(big))
		}
		return err
	}
	acquire(t, pool(t, peer.cfg)).Release()
}

// Prepare may send the dial anywhere and need not have been given a URL.
func TestPrepareEverything(t *testing.T) {
	peer := listen(t, false, echo)
	peer.upgrader.Subprotocols = []string{"second"}
	query := make(chan string, 2)
	peer.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
		query <- r.URL.RawQuery + " " + r.Header.Get("Sec-Websocket-Protocol") + " " + r.Host
		return false
	}
	cfg := peer.cfg
	cfg.URL = ""
	cfg.Subprotocols = []string{"first"}
	var n atomic.Int64
	cfg.Prepare = func(_ context.Context, h *wspool.Handshake) error {
		if h.URL != "" || len(h.Header) != 0 || len(h.Subprotocols) != 1 || h.Subprotocols[0] != "first" {
			t.Errorf("given %v", h)
		}
		h.URL = peer.cfg.URL + "/?signed=" + string(rune('0'+n.Add(1)))
		h.Subprotocols[0] = "other"
		h.Subprotocols = append(h.Subprotocols, "second")
		h.Header.Set("Host", "elsewhere")
		return nil
	}
	p := pool(t, cfg)
	for _, want := range []string{"signed=1 other, second elsewhere", "signed=2 other, second elsewhere"} {
		c := acquire(t, p)
		if got := <-query; got != want || c.Subprotocol() != "second" {
			t.Errorf("asked for %q, got subprotocol %q, want %q", got, c.Subprotocol(), want)
		}
		ask(t, c, "x")
		c.Discard(nil)
	}
}

// A NetDial that returns nothing at all fails the dial.
func TestNoConn(t *testing.T) {
	dialFails(t, wspool.Config{URL: "ws://host", NetDial: func(context.Context, string, string) (net.Conn, error) { return nil, nil }}, "connect")
}

// The error of Prepare is the cause.
func TestPrepareFails(t *testing.T) {
	no := errors.New("no token")
	e := dialFails(t, wspool.Config{Prepare: func(context.Context, *wspool.Handshake) error { return no }}, "prepare")
	if !errors.Is(e, no) || e.Error() != "wspool: dial: prepare: no token" {
		t.Errorf("%v", e)
	}
	dialFails(t, wspool.Config{Prepare: func(context.Context, *wspool.Handshake) error { return nil }}, "prepare") // no URL
}

// A server may use compression if that was offered, and no other extension.
func TestExtensions(t *testing.T) {
	peer := listen(t, false, echo)
	peer.upgrader.EnableCompression = true
	acquire(t, pool(t, peer.cfg)).Release() // nothing offered, nothing chosen
	peer.cfg.Compression = true
	c := acquire(t, pool(t, peer.cfg))
	ask(t, c, strings.Repeat("x", 1000))
	c.Release()
	for _, tc := range []struct {
		offer  bool
		choice string
	}{
		{false, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
		{true, "x-other"},
		{true, "permessage-deflate; server_no_context_takeover; client_no_context_takeover, x-other"},
	} {
		addr := serveTCP(t, func(c net.Conn) {
			upgrade(c, "Sec-Websocket-Extensions: "+tc.choice+"\r\n")
			drainNet(c)
		})
		dialFails(t, wspool.Config{URL: "ws://" + addr.String(), Compression: tc.offer}, "handshake")
	}
}

// A connection that ends in the middle of an answer is not taken for a server that
// speaks another protocol.
func TestTornAnswer(t *testing.T) {
	whole := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
	for n := 1; n < len(whole); n++ {
		for _, want := range []error{io.ErrUnexpectedEOF, syscall.ECONNRESET} {
			e := dialFails(t, wspool.Config{URL: "ws://" + serveTCP(t, func(c net.Conn) {
				if want == syscall.ECONNRESET {
					c.(*net.TCPConn).SetLinger(0)
				}
				if _, err := c.Read(make([]byte, 1<<12)); err == nil {
					io.WriteString(c, whole[:n])
				}
			}).String()}, "handshake")
			if !errors.Is(e, want) {
				t.Errorf("%q and then %v: %v", whole[:n], want, e)
			}
		}
	}
}

// texts are the ways in which v may be printed or logged.
func texts(v any) map[string]string {
	all := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		all[verb] = fmt.Sprintf(verb, v)
		all["a field, "+verb] = fmt.Sprintf(verb, struct{ F any }{v})
	}
	for name, handler := range map[string]func(io.Writer) slog.Handler{
		"slog text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
		"slog JSON": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).Info("x", "v", v)
		all[name] = b.String()
	}
	j, err := json.Marshal(v)
	all["JSON"] = string(j)
	if err != nil {
		all["JSON"] = err.Error()
	}
	return all
}

// A refusal has the status, headers and the beginning of the body, in whatever way
// the server frames that.
func TestRefusal(t *testing.T) {
	long := strings.Repeat("0123456789", 1000)
	for name, tc := range map[string]struct {
		answer, body string
	}{
		"length":        {"Content-Length: 4\r\n\r\nbusy and more", "busy"},
		"chunked":       {"Transfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n", "busy"},
		"until it ends": {"Connection: close\r\n\r\nbusy", "busy"},
		"none":          {"Content-Length: 0\r\n\r\n", ""},
		"long":          {"Content-Length: 10000\r\n\r\n" + long, long[:wspool.MaxResponseBody]},
		"cut short":     {"Content-Length: 10000\r\n\r\nbusy", "busy"},
		"bad chunk":     {"Transfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\nzz", "busy"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := dialFails(t, wspool.Config{URL: "ws://mem", NetDial: scripted(false, func(c net.Conn, _ *http.Request) {
					io.WriteString(c, "HTTP/1.1 503 x\r\nX-Why: overload\r\n"+tc.answer)
				})}, "handshake")
				r := e.Response
				if e.Status != 503 || r == nil || r.Status != 503 || r.Header.Get("X-Why") != "overload" || string(r.Body) != tc.body {
					t.Fatalf("%v, %+v", e, r)
				}
				if !errors.Is(e, websocket.ErrBadHandshake) || !strings.Contains(e.Error(), tc.body[:min(len(tc.body), 200)]) || len(e.Error()) > 600 {
					t.Errorf("the text is %v", e)
				}
			})
		})
	}
}

// A body that does not come is waited for half a second, and not for the rest of
// the dial.
func TestRefusalWithoutBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := wspool.Config{URL: "ws://mem/", MaxSize: 1, DialTimeout: time.Hour}
		cfg.NetDial = scripted(true, func(c net.Conn, _ *http.Request) {
			io.WriteString(c, "HTTP/1.1 403 x\r\nContent-Length: 100\r\n\r\nbecause")
		})
		begun := time.Now()
		_, err := pool(t, cfg).Acquire(t.Context())
		var de *wspool.DialError
		if !errors.As(err, &de) || de.Status != 403 || string(de.Response.Body) != "because" || time.Since(begun) != 500*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// No text of a refusal shows anything of ours that a server repeats, in whatever
// writing, nor what the server sent in headers; the header itself is unchanged.
func TestRefusalSecrets(t *testing.T) { synctest.Test(t, testRefusalSecrets) }

func testRefusalSecrets(t *testing.T) {
	const secret = `s3cret&"<é>`
	basic := base64.StdEncoding.EncodeToString([]byte("me:" + secret))
	quoted, _ := json.Marshal(secret)
	peer := listenMem(t, 1<<16, drainAll)
	peer.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Set-Cookie", "sid=s3cret-cookie")
		w.Header().Set("Www-Authenticate", `Negotiate s3cret-challenge`)
		w.Header().Set("Location", "https://u:s3cret@other.example/login?next="+url.QueryEscape(r.RequestURI)+"#s3cret")
		w.WriteHeader(401)
		var b bytes.Buffer
		fmt.Fprintf(&b, "%s %s %s %s %s %s ", r.RequestURI, r.URL.Query().Get("token"), url.QueryEscape(secret), basic, quoted, "me:"+secret)
		fmt.Fprintf(&b, "Bearer s3cret-bearer, %v ", r.Header)
		b.WriteString(strings.Repeat("x", wspool.MaxResponseBody-b.Len()-len("s3cret-")))
		b.WriteString("s3cret-tail") // which the limit cuts
		b.WriteTo(w)
		return true
	}
	cfg := peer.cfg
	cfg.URL += "private-path/0123456789abcdef-s3cret?a=1&token=" + url.QueryEscape(secret)
	cfg.Subprotocols = []string{"chat", "bearer.s3cret-protocol"}
	cfg.Prepare = func(_ context.Context, h *wspool.Handshake) error {
		h.Header = http.Header{"Authorization": {"Basic " + basic}, "Cookie": {"a=s3cret-a; b=\"s3cret-b\""}, "X-Api-Key": {"s3cret-bearer"}, "X-Tail": {"s3cret-tail"}}
		return nil
	}
	e := dialFails(t, cfg, "handshake")
	if e.Response.Header.Get("Set-Cookie") != "sid=s3cret-cookie" || len(e.Response.Body) < 3000 {
		t.Errorf("the answer is %v, %v", e.Response.Header, e.Response)
	}
	if text := e.Error(); !strings.Contains(text, "it leads to https://other.example/login") || !strings.Contains(text, "401 Unauthorized") {
		t.Errorf("the text is %s", text)
	}
	if !bytes.HasSuffix(e.Response.Body, []byte("x")) {
		t.Error("the end of the body is not what comes before the secret that was cut")
	}
	if i := bytes.Index(e.Response.Body, []byte("s3c")); i >= 0 {
		t.Errorf("the body has a secret: %q", e.Response.Body[i:min(i+100, len(e.Response.Body))])
	}
	_, err := pool(t, cfg).Acquire(t.Context())
	for what, v := range map[string]any{"DialError": e, "Response": e.Response, "value": *e.Response, "AcquireError": err} {
		for how, text := range texts(v) {
			if strings.Contains(text, "s3c") || strings.Contains(text, basic) || strings.Contains(text, "private-path") {
				t.Errorf("%s as %s: %s", what, how, text)
			}
		}
	}
}

// A proxy's refusal has its body, and nothing of the proxy's password in it.
func TestProxyRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := wspool.Config{URL: "ws://host", Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy", User: url.UserPassword("me", "s3cret")})}
		cfg.NetDial = scripted(false, func(c net.Conn, r *http.Request) {
			says := "no " + r.Header.Get("Proxy-Authorization") + " for s3cret"
			fmt.Fprintf(c, "HTTP/1.1 403 x\r\nX-Squid-Error: ERR_ACCESS_DENIED 0\r\nContent-Length: %d\r\n\r\n%s", len(says), says)
		})
		e := dialFails(t, cfg, "proxy")
		if e.Status != 403 || e.Response.Header.Get("X-Squid-Error") == "" || string(e.Response.Body) != "no … for …" || e.Addr != "mem" {
			t.Errorf("%v, %q at %s", e, e.Response.Body, e.Addr)
		}
	})
}

// An answer of status 101 that is no handshake says why.
func TestMisfit(t *testing.T) {
	for answer, says := range map[string]string{
		"Connection: Upgrade\r\n":                                                  "Upgrade is not websocket",
		"Upgrade: websocket\r\n":                                                   "Connection is not Upgrade",
		"Upgrade: websocket\r\nConnection: Upgrade\r\n":                            "no Sec-WebSocket-Accept",
		"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n": "does not fit the key",
	} {
		e := dialFails(t, wspool.Config{URL: "ws://" + answers(t, "HTTP/1.1 101 x\r\n"+answer+"\r\n")}, "handshake")
		if e.Status != 101 || !errors.Is(e, websocket.ErrBadHandshake) || !strings.Contains(e.Error(), says) {
			t.Errorf("%q: %v", answer, e)
		}
	}
}

// OnConnect sees the header of the answer; the pool does not keep it.
func TestResponseInOnConnect(t *testing.T) {
	addr := serveTCP(t, func(c net.Conn) { upgrade(c, "X-Session: 7\r\nSet-Cookie: a=b\r\n"); drainNet(c) })
	var kept *wspool.Conn
	got := ""
	cfg := wspool.Config{URL: "ws://" + addr.String(), MaxSize: 1, CloseTimeout: time.Millisecond}
	cfg.OnConnect = func(_ context.Context, c *wspool.Conn) error {
		kept, got = c, c.Response().Header.Get("X-Session")
		return nil
	}
	failing := cfg
	failing.OnConnect = func(context.Context, *wspool.Conn) error { return io.ErrNoProgress }
	if e := dialFails(t, failing, "set-up"); e.Status != 0 || e.Response != nil {
		t.Errorf("an answer that agreed is shown as one that refused: %v", e)
	}
	c := acquire(t, pool(t, cfg))
	if got != "7" || kept.Response() != nil || c.Response() != nil {
		t.Errorf("OnConnect saw %q; later there is %v, in a lease %v", got, kept.Response(), c.Response())
	}
	c.Release()
}

// A dial that hangs says at which address and where.
func TestTimeoutSaysWhere(t *testing.T) {
	lookUp := func(ctx context.Context, _, _ string) (net.Conn, error) { // as net.Dialer, which no bubble can hold
		httptrace.ContextClientTrace(ctx).DNSStart(httptrace.DNSStartInfo{})
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for phase, change := range map[string]struct {
		cfg  func(*wspool.Config)
		addr string
	}{
		"tls":       {func(c *wspool.Config) { c.URL = "wss://host.example" }, "host.example:443"},
		"handshake": {func(*wspool.Config) {}, "host.example:80"},
		"proxy":     {func(c *wspool.Config) { c.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy"}) }, "proxy:80"},
		"resolve":   {func(c *wspool.Config) { c.NetDial = lookUp }, ""},
	} {
		t.Run(phase, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := muteServer(t)
				cfg.URL, cfg.DialTimeout = "ws://host.example", time.Second
				change.cfg(&cfg)
				e, addr := dialFails(t, cfg, phase), change.addr
				if e.Addr != addr || !errors.Is(e, resource.ErrMakeTimeout) || !strings.Contains(e.Error(), phase) || addr != "" && !strings.Contains(e.Error(), "at "+addr) {
					t.Errorf("%v, at %q", e, e.Addr)
				}
			})
		})
	}
}

// A name that cannot be looked up is no connection that fails.
func TestNameNotFound(t *testing.T) {
	no := errors.New("no name server")
	d := &net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, no }}}
	e := dialFails(t, wspool.Config{URL: "ws://host.example", NetDial: d.DialContext}, "resolve")
	if e.Addr != "" || !strings.Contains(e.Error(), "host.example: resolve:") {
		t.Errorf("%v, at %q", e, e.Addr)
	}
}

// longError is an error with foreign text.
type longError struct{ panics bool }

func (e longError) Error() string {
	if e.panics {
		panic("no text")
	}
	return "name \x1b[31m\u202e" + strings.Repeat("z", 60_000) + "\r\n"
}

// Foreign text is cleaned and bounded; a certificate's names are.
func TestForeignText(t *testing.T) {
	ca := newAuthority(t)
	names := []string{"a\x1b[31m.example", strings.Repeat("b", 30_000), strings.Repeat("c", 30_000)}
	peer := listenCert(t, ca, names)
	e := dialFails(t, peer, "tls")
	clean(t, e)
	clean(t, dialFails(t, wspool.Config{URL: "ws://x", NetDial: func(context.Context, string, string) (net.Conn, error) { return nil, longError{} }}, "connect"))
	if e := dialFails(t, wspool.Config{URL: "ws://x", Prepare: func(context.Context, *wspool.Handshake) error { return longError{true} }}, "prepare"); !strings.Contains(e.Error(), "whose text panics") {
		t.Errorf("%v", e)
	}
}

func clean(t *testing.T, e *wspool.DialError) {
	t.Helper()
	for how, text := range map[string]string{"Error": e.Error(), "%+v": fmt.Sprintf("%+v", e), "%#v": fmt.Sprintf("%#v", e)} {
		if len(text) > 1000 || strings.ContainsAny(text, "\x1b\u202e\r\n") || !strings.Contains(text, "name") && !strings.Contains(text, "valid for") {
			t.Errorf("%s: %d bytes, %.600q", how, len(text), text)
		}
	}
}

// An error of net/http has the whole URL of its request; that of a Prepare which
// fetches a token is shown without. The host that Prepare connects to is not the
// server.
func TestPrepareFetches(t *testing.T) {
	elsewhere := serveTCP(t, func(net.Conn) {}).String()
	fetch := func(ctx context.Context, _ *wspool.Handshake) error {
		r, err := http.NewRequestWithContext(ctx, "GET", "http://me:s3cret@"+elsewhere+"/?key=s3cret", nil)
		if err == nil {
			_, err = (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		}
		if err == nil {
			return nil
		}
		return &url.Error{Op: "Get", URL: r.URL.String(), Err: err}
	}
	e := dialFails(t, wspool.Config{URL: "ws://host.example", Prepare: fetch}, "prepare")
	if e.Addr != "" || strings.Contains(e.Error(), "s3cret") || !strings.Contains(e.Error(), elsewhere) {
		t.Errorf("%v, at %q", e, e.Addr)
	}
}

// prefixed is a connection on which other bytes arrive first.
type prefixed struct {
	net.Conn
	first io.Reader
}

func (c *prefixed) Read(p []byte) (int, error) {
	if n, err := c.first.Read(p); err == nil {
		return n, nil
	}
	return c.Conn.Read(p)
}

// Interim answers before the final one are dropped (RFC 9110, section 15.2), and count
// towards the greatest length of a head.
func TestInterimAnswers(t *testing.T) {
	const interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	before := func(cfg wspool.Config, s string) (wspool.Config, *atomic.Int32) {
		dials, dial := new(atomic.Int32), cfg.NetDial
		cfg.MaxSize = 1
		cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			c, err := dial(ctx, network, addr)
			return &prefixed{c, strings.NewReader(s)}, err
		}
		return cfg, dials
	}
	bubble(t, func(t *testing.T) {
		cfg, dials := before(listenMem(t, 1<<12, echo).cfg, interim)
		p := pool(t, cfg)
		use(t, p)
		use(t, p)
		if n := dials.Load(); n != 1 {
			t.Errorf("%d dials: the connection was not clean", n)
		}
		busy := listenMem(t, 1<<12, echo)
		busy.refuse = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true }
		cfg, _ = before(busy.cfg, interim)
		if e := dialFails(t, cfg, "handshake"); e.Status != 503 {
			t.Errorf("%v", e)
		}
		cfg, _ = before(busy.cfg, strings.Repeat(interim, 2000))
		if e := dialFails(t, cfg, "handshake"); e.Status != 0 || !strings.Contains(e.Error(), "over 64 KiB") {
			t.Errorf("%v", e)
		}
	})
}

// So are those of a proxy.
func TestInterimAnswersOfProxy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := wspool.Config{URL: "ws://service.test/", MaxSize: 1, Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test:3128"})}
		cfg.NetDial = scripted(true, func(c net.Conn, _ *http.Request) {
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
			upgrade(c, "")
		})
		acquire(t, pool(t, cfg)).Discard(nil)
	})
}
