package endpoint

import (
	"net"
	"testing"
)

// NewTestDNS starts a DNS server on loopback. set replaces the addresses of a name, r asks only
// this server.
func NewTestDNS(t *testing.T) (set func(name string, ips ...string), r *net.Resolver) {
	s := newDNSServer(t)
	return s.set, s.resolver()
}
