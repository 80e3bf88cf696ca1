package wspool

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"
)

// secure speaks TLS over c with the host of that name, which is verified. It
// returns when ctx ends; c is closed then.
func secure(ctx context.Context, c net.Conn, cfg *tls.Config, sessions tls.ClientSessionCache, host string) (*tls.Conn, error) {
	cfg = cfg.Clone()
	cfg.ServerName, cfg.ClientSessionCache = host, sessions
	t := tls.Client(c, cfg)
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.TLSHandshakeStart != nil {
		trace.TLSHandshakeStart()
	}
	err := t.HandshakeContext(ctx)
	if trace != nil && trace.TLSHandshakeDone != nil {
		trace.TLSHandshakeDone(t.ConnectionState(), err)
	}
	return t, err
}
