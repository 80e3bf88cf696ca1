package wspool_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/respool/respool/wspool"
)

// The second dial resumes the TLS session of the first, unless that is forbidden.
func TestSessionResumed(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*tls.Config)
		want   bool
	}{
		"as it is":       {func(*tls.Config) {}, true},
		"TLS 1.2":        {func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		"another name":   {func(c *tls.Config) { c.ServerName = "example.com" }, true},
		"without ticket": {func(c *tls.Config) { c.SessionTicketsDisabled = true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			peer := listen(t, true, echo)
			resumed := make(chan bool, 2)
			peer.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
				resumed <- r.TLS.DidResume
				return false
			}
			peer.cfg.TLS = peer.cfg.TLS.Clone()
			tc.change(peer.cfg.TLS)
			p := pool(t, peer.cfg)
			for i := range 2 {
				c := acquire(t, p)
				ask(t, c, "x") // reads the ticket, which comes behind the handshake
				c.Discard(nil)
				if got := <-resumed; got != (i == 1 && tc.want) {
					t.Errorf("dial %d: resumed %v", i+1, got)
				}
			}
			if peer.cfg.TLS.ClientSessionCache != nil {
				t.Error("the caller's Config was changed")
			}
		})
	}
}

// Code of the caller that breaks a TLS handshake leaves no connection behind.
func TestTLSBreaks(t *testing.T) {
	peer := listen(t, true, echo)
	closed := make(chan struct{}, 1)
	peer.cfg.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &closeTold{c, closed}, err
	}
	peer.cfg.TLS = peer.cfg.TLS.Clone()
	peer.cfg.TLS.VerifyConnection = func(tls.ConnectionState) error { panic("x") }
	peer.cfg.MaxSize = 1
	if _, err := pool(t, peer.cfg).Acquire(t.Context()); err == nil {
		t.Error("no error")
	}
	next(t, "close", closed)
}

// closeTold reports its Close.
type closeTold struct {
	net.Conn
	closed chan struct{}
}

func (c *closeTold) Close() error {
	select {
	case c.closed <- struct{}{}:
	default:
	}
	return c.Conn.Close()
}

// authority signs certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{key: newKey(t), pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue returns a certificate for a client of that name and a server of those
// hosts, on 127.0.0.1 too if there is none.
func (a *authority) issue(t testing.TB, name string, hosts ...string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if len(hosts) == 0 {
		template.DNSNames, template.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// mutual is a server that demands a certificate of its clients.
type mutual struct {
	cfg      wspool.Config
	accept   atomic.Pointer[string] // the one name that is let in; nil: all are
	sessions chan identity
}

// identity is the client that the server saw in a handshake.
type identity struct {
	name    string
	resumed bool
}

func listenMutual(t testing.TB, ca *authority, version uint16) *mutual {
	m := &mutual{sessions: make(chan identity, 100)}
	p := &peer{serve: echo, conns: map[*websocket.Conn]bool{}}
	p.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		name := r.TLS.PeerCertificates[0].Subject.CommonName
		m.sessions <- identity{name, r.TLS.DidResume}
		if want := m.accept.Load(); want != nil && *want != name {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	}
	s := httptest.NewUnstartedServer(p)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, "server")}, ClientCAs: ca.pool,
		ClientAuth: tls.RequireAndVerifyClientCert, MaxVersion: version,
	}
	s.StartTLS()
	t.Cleanup(func() { s.Close(); p.hangUp() })
	m.cfg = wspool.Config{URL: "wss" + strings.TrimPrefix(s.URL, "https"), MaxSize: 1, TLS: &tls.Config{RootCAs: ca.pool}}
	return m
}

// A certificate of the client's that was rotated is used by the next dial.
func TestClientCertificateRotates(t *testing.T) {
	ca := newAuthority(t)
	old, fresh := ca.issue(t, "old"), ca.issue(t, "new")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, cache := range map[string]tls.ClientSessionCache{"no cache": nil, "a cache": tls.NewLRUClientSessionCache(0)} {
			t.Run(tls.VersionName(version)+"/"+name, func(t *testing.T) {
				m := listenMutual(t, ca, version)
				var now atomic.Pointer[tls.Certificate]
				now.Store(&old)
				m.cfg.TLS.ClientSessionCache = cache
				m.cfg.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return now.Load(), nil }
				p := pool(t, m.cfg)
				for _, want := range []string{"old", "old", "new", "new"} {
					if want == "new" {
						now.Store(&fresh)
					}
					c := acquire(t, p)
					ask(t, c, "x") // reads the ticket
					c.Discard(nil)
					if got := <-m.sessions; got != (identity{want, false}) {
						t.Errorf("the server saw %+v, want %s", got, want)
					}
				}
			})
		}
	}
}

// Without GetClientCertificate sessions are resumed, but none from before a Reset
// or a refusal.
func TestFreshSessions(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue(t, "me")
	none := "none"
	for name, cache := range map[string]tls.ClientSessionCache{"no cache": nil, "a cache": tls.NewLRUClientSessionCache(0)} {
		for after, happens := range map[string]func(*testing.T, *mutual, *wspool.Pool){
			"Reset": func(_ *testing.T, _ *mutual, p *wspool.Pool) { p.Reset(nil) },
			"403": func(t *testing.T, m *mutual, p *wspool.Pool) {
				m.accept.Store(&none)
				var de *wspool.DialError
				if _, err := p.Acquire(t.Context()); !errors.As(err, &de) || de.Status != 403 {
					t.Errorf("Acquire: %v", err)
				}
				m.accept.Store(nil)
				if got := <-m.sessions; !got.resumed {
					t.Error("the dial that is refused was to resume")
				}
			},
		} {
			t.Run(name+"/"+after, func(t *testing.T) {
				m := listenMutual(t, ca, tls.VersionTLS13)
				m.cfg.TLS.Certificates = []tls.Certificate{cert}
				m.cfg.TLS.ClientSessionCache = cache
				m.cfg.Redial = func(error, int) time.Duration { return 0 }
				p := pool(t, m.cfg)
				dial := func(resumed bool) {
					t.Helper()
					c := acquire(t, p)
					ask(t, c, "x")
					c.Discard(nil)
					if got := <-m.sessions; got != (identity{"me", resumed}) {
						t.Errorf("the server saw %+v, want resumed %v", got, resumed)
					}
				}
				dial(false)
				dial(true)
				happens(t, m, p)
				dial(false)
				dial(true)
			})
		}
	}
}

// ResetKey of a Manager and its Reset renew sessions too.
func TestManagerFreshSessions(t *testing.T) {
	ca := newAuthority(t)
	m := listenMutual(t, ca, tls.VersionTLS13)
	m.cfg.TLS.Certificates = []tls.Certificate{ca.issue(t, "me")}
	all, err := wspool.NewManager(wspool.ManagerConfig[string]{
		Config: func(string) (wspool.Config, error) { return m.cfg, nil }, MaxTotal: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close(t.Context())
	dial := func(resumed bool) {
		t.Helper()
		c, err := all.Acquire(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		ask(t, c, "x")
		c.Discard(nil)
		if got := <-m.sessions; got.resumed != resumed {
			t.Errorf("the server saw %+v, want resumed %v", got, resumed)
		}
	}
	dial(false)
	dial(true)
	all.Reset(nil)
	dial(false)
	dial(true)
	if !all.ResetKey("k", nil) {
		t.Error("the key is not in use")
	}
	dial(false)
}

// ALPN offers http/1.1 unless TLS says what to offer.
func TestALPN(t *testing.T) {
	ca := newAuthority(t)
	for name, tc := range map[string]struct {
		offer []string
		want  string
	}{"by default": {nil, "http/1.1"}, "as set": {[]string{"http/1.1"}, "http/1.1"}, "nothing": {[]string{}, ""}} {
		t.Run(name, func(t *testing.T) {
			offered := make(chan string, 1)
			p := &peer{serve: echo, conns: map[*websocket.Conn]bool{}}
			s := httptest.NewUnstartedServer(p)
			s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "server")}}
			s.TLS.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				offered <- strings.Join(h.SupportedProtos, " ")
				return nil, nil
			}
			s.StartTLS()
			t.Cleanup(func() { s.Close(); p.hangUp() })
			c := acquire(t, pool(t, wspool.Config{URL: "wss" + strings.TrimPrefix(s.URL, "https"), MaxSize: 1,
				TLS: &tls.Config{RootCAs: ca.pool, NextProtos: tc.offer}}))
			ask(t, c, "x")
			c.Release()
			if got := <-offered; got != tc.want {
				t.Errorf("offered %q, want %q", got, tc.want)
			}
		})
	}
}

// badCache is a session cache that panics.
type badCache struct{}

func (badCache) Get(string) (*tls.ClientSessionState, bool) { panic("Get") }
func (badCache) Put(string, *tls.ClientSessionState)        { panic("Put") }

// A session cache that panics costs the resumption, and is counted.
func TestSessionCachePanics(t *testing.T) {
	peer := listen(t, true, echo)
	peer.cfg.TLS = peer.cfg.TLS.Clone()
	peer.cfg.TLS.ClientSessionCache = badCache{}
	panics := panicsOf(&peer.cfg)
	p := pool(t, peer.cfg)
	use(t, p)
	if err := next(t, "panic", panics); !strings.Contains(err.Error(), "Get") {
		t.Errorf("Panicked: %v", err)
	}
	if n := p.Stats().Panics; n == 0 {
		t.Error("none is counted")
	}
}

// listenCert is a server with a certificate for those names.
func listenCert(t testing.TB, ca *authority, names []string) wspool.Config {
	p := &peer{serve: echo, conns: map[*websocket.Conn]bool{}}
	s := httptest.NewUnstartedServer(p)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "server", names...)}}
	s.StartTLS()
	t.Cleanup(func() { s.Close(); p.hangUp() })
	host := strings.TrimPrefix(s.URL, "https://127.0.0.1")
	return wspool.Config{URL: "wss://localhost" + host, MaxSize: 1, TLS: &tls.Config{RootCAs: ca.pool}}
}
