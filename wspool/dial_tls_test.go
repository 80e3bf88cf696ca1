package wspool_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"testing"
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

// closeTold tells of its Close.
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
