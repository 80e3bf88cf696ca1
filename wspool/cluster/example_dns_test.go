package cluster_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/respool/respool/endpoint"
	"github.com/respool/respool/wspool"
	"github.com/respool/respool/wspool/cluster"
)

// loopback is a zone in which every name has the address of this machine.
type loopback struct{}

func (loopback) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
}

// Each address of a name is a server. The connection goes to the address, and the
// certificate of the server is verified for the name.
func ExampleNew_dns() {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			kind, p, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, append(p, r.TLS.ServerName...)) != nil {
				return
			}
		}
	}))
	defer server.Close()
	trust := &tls.Config{RootCAs: x509.NewCertPool()}
	trust.RootCAs.AddCert(server.Certificate())
	_, port, _ := strings.Cut(server.Listener.Addr().String(), ":")
	name := "example.com:" + port // the name in the certificate of httptest
	var zone loopback

	servers, err := endpoint.DNS(endpoint.DNSConfig{
		Addr:     name,  // "ws.example.com:443"
		Resolver: zone,  // leave it out to ask the system
		Network:  "ip4", // leave it out for both families
	})
	if err != nil {
		log.Fatal(err)
	}
	c, err := cluster.New(cluster.Config{
		Resolver: servers,
		Config: func(e endpoint.Endpoint) (wspool.Config, error) {
			at, err := netip.ParseAddrPort(e.Addr)
			return wspool.Config{
				URL: fmt.Sprintf("wss://%s:%d/v1", e.Name, at.Port()), // TLS and the Host header have the name
				TLS: trust,                                            // leave it out to trust what the system trusts
				Lookup: func(context.Context, string) ([]netip.Addr, error) {
					return []netip.Addr{at.Addr()}, nil // the connection goes to this address
				},
			}, err
		},
		MaxTotal: 100,
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer c.Close(ctx)

	_, reply, err := c.Exchange(ctx, websocket.TextMessage, []byte("TLS was asked for "))
	fmt.Printf("%s %v\n", reply, err)
	// Output:
	// TLS was asked for example.com <nil>
}
