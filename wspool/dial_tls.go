package wspool

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"
)

// secure speaks TLS over c with the host of that name, which is verified. It
// returns when ctx ends; c is closed then.
func secure(ctx context.Context, c net.Conn, cfg *tls.Config, host string) (*tls.Conn, error) {
	cfg = cfg.Clone() // a shallow one: the session cache is shared
	cfg.ServerName = host
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
